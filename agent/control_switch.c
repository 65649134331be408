/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `tenant suspend`, `tenant resume` and `enforce`. A throw is in the ledger
 * before it is in the kernel; one that is repeated is put in force again, so that
 * repeating heals whatever came between the two.
 */
#include "control_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clean_text.h"
#include "writer.h"

#define HISTORY 16 /* throws that `enforce` lists */

struct throw_write {
	struct weir_switch s;
	struct weir_switch holds; /* may be a later throw than s, if s is repeated */
	bool repeated;
	const struct weir_agent_view *view;
	struct weir_error *err;
};

static int call_throw(struct weir_ledger *l, void *arg)
{
	struct throw_write *w = arg;
	int r = weir_ledger_switch(l, &w->s, &w->repeated, w->err);

	if (!r)
		r = weir_ledger_switch_state(l, w->s.name, w->s.tenant, &w->holds, w->err);
	return r ? r : w->view->switch_thrown(w->view->ctx, &w->holds, w->err);
}

static int throw_switch(struct weir_call *c, struct throw_write *w, struct weir_error *err)
{
	const char *id = NULL, *reason = "";
	int r = weir_call_string(c, "reason", sizeof(w->s.reason) - 1, &reason, err);

	if (!r)
		r = weir_call_string(c, "id", sizeof(w->s.id) - 1, &id, err);
	if (r)
		return r;
	if (!id)
		return weir_fail(err, EINVAL,
				 "request: \"id\" is missing: it makes a repetition safe");
	snprintf(w->s.id, sizeof(w->s.id), "%s", id);
	/* It is shown to operators for as long as the switch holds. */
	weir_clean_text(w->s.reason, sizeof(w->s.reason), reason, strlen(reason));
	if (strcmp(w->s.reason, reason))
		return weir_fail(err, EINVAL, "request: reason: has a control character");
	snprintf(w->s.actor, sizeof(w->s.actor), "%s", c->actor);
	w->view = c->view;
	w->err = err;
	return weir_writer_call(c->view->writer, call_throw, w);
}

/* -- tenants */

static int suspend(struct weir_call *c, bool on, struct weir_error *err)
{
	struct throw_write w = { .s = { .name = WEIR_SWITCH_SUSPENDED, .on = on } };
	struct weir_cut done = { 0 };
	struct weir_error why = { "" };
	const char *tenant = NULL;
	bool cuts;
	int r = weir_call_tenant(c, false, &tenant, &w.s.tenant, err);

	if (!r)
		r = weir_call_bool(c, "now", &w.s.now, err);
	if (!r)
		r = throw_switch(c, &w, err);
	if (r)
		return r;
	if (!w.repeated)
		weir_log(WEIR_NOTE, "tenant %s %s by %s%s%s (id %s)", tenant,
			 on ? "suspended" : "resumed", c->actor, w.s.reason[0] ? ": " : "",
			 w.s.reason, w.s.id);
	/* Nothing of what a later throw has let in again. */
	cuts = w.s.now && w.holds.on;
	if (cuts && c->view->cut(c->view->ctx, w.s.tenant, &done, &why))
		return weir_fail(err, EIO,
				 "tenant \"%s\": is suspended, but what it has in flight could not "
				 "be cut: %s; repeat with id %s",
				 tenant, why.text, w.s.id);
	return weir_call_result(
		c, json_pack("{s:s,s:s,s:b,s:b,s:o,s:o,s:o}", "id", w.s.id, "tenant", tenant,
			     "suspended", (int)w.holds.on, "repeated", (int)w.repeated, "cut",
			     cuts ? json_integer(done.answers) : json_null(), "destroyed",
			     cuts && !done.warning[0] ? json_integer(done.sockets) : json_null(),
			     "warning", weir_json_text(done.warning[0] ? done.warning : NULL)));
}

int weir_do_tenant_suspend(struct weir_call *c, struct weir_error *err)
{
	return suspend(c, true, err);
}

int weir_do_tenant_resume(struct weir_call *c, struct weir_error *err)
{
	return suspend(c, false, err);
}

/* -- the node */

static json_t *throw_json(const struct weir_switch *s)
{
	return json_pack("{s:b,s:o,s:o,s:o,s:o}", "on", (int)s->on, "since",
			 weir_json_time(s->time_ns), "actor", weir_json_text(s->actor), "reason",
			 weir_json_text(s->reason[0] ? s->reason : NULL), "id",
			 weir_json_text(s->id));
}

json_t *weir_enforce_json(const struct weir_status *s)
{
	return json_pack("{s:b,s:b,s:o}", "enforcing", s->enforcing == WEIR_ENFORCING, "configured",
			 s->enforcing != WEIR_ENFORCE_CONFIGURED_OFF, "switch",
			 s->enforce.seq ? throw_json(&s->enforce) : json_null());
}

static int history_item(const struct weir_switch *s, void *ctx)
{
	return json_array_append_new(ctx, throw_json(s)) ? -ENOMEM : 0;
}

int weir_do_enforce_show(struct weir_call *c, struct weir_error *err)
{
	weir_autofree struct weir_status *s = calloc(1, sizeof(*s));
	struct weir_reader *reader = weir_call_reader(c, err);
	json_t *history, *o;
	int r;

	if (!s || !reader)
		return s ? -EIO : -ENOMEM;
	history = json_array();
	r = weir_reader_switch_history(reader, WEIR_SWITCH_ENFORCE, 0, HISTORY, history_item,
				       history, err);
	if (r) {
		json_decref(history);
		return r;
	}
	c->view->status(c->view->ctx, s);
	o = weir_enforce_json(s);
	json_object_set_new(o, "history", history);
	return weir_call_result(c, o);
}

int weir_do_enforce_set(struct weir_call *c, struct weir_error *err)
{
	struct throw_write w = { .s = { .name = WEIR_SWITCH_ENFORCE } };
	weir_autofree struct weir_status *s = calloc(1, sizeof(*s));
	struct weir_json at;
	json_t *o;
	int r;

	if (!s)
		return -ENOMEM;
	if (!weir_json_get(&c->args, "on", &at))
		return weir_fail(err, EINVAL, "request: \"on\" is missing");
	r = weir_call_bool(c, "on", &w.s.on, err);
	if (!r)
		r = throw_switch(c, &w, err);
	if (r)
		return r;
	if (!w.repeated)
		weir_log(WEIR_NOTE, "enforcement turned %s by %s%s%s (id %s)",
			 w.s.on ? "on" : "off", c->actor, w.s.reason[0] ? ": " : "", w.s.reason,
			 w.s.id);
	c->view->status(c->view->ctx, s);
	o = weir_enforce_json(s);
	if (o) {
		json_object_set_new(o, "id", weir_json_text(w.s.id));
		json_object_set_new(o, "repeated", json_boolean(w.repeated));
	}
	return weir_call_result(c, o);
}
