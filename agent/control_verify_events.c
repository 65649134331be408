/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handler of `events verify`: what METER has of this node, held to the ledger, over a connection to
 * NATS of its own.
 */
#include "control_call.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "entry_out.h"
#include "event.h"
#include "lane_verify.h"
#include "nats_connect.h"
#include "publisher.h"

struct work {
	struct weir_call *c;
	struct weir_reader *reader;
	struct weir_call_progress progress;
	char node[WEIR_NAME_BYTES];
	struct weir_error *err;
};

static int make_event(const struct weir_entry *e, struct weir_text *out, void *ctx)
{
	struct work *w = ctx;
	struct weir_event_origin o;
	int r = weir_event_origin_of(w->reader, e, w->node, &o, w->err);

	return r ? r
		 : weir_event_json(e, &o, weir_reader_card(w->reader, weir_entry_card_id(e)), out);
}

static int tell_page(const char *phase, uint64_t done, uint64_t all, void *ctx)
{
	struct work *w = ctx;

	w->progress.phase = phase;
	w->progress.newest = all;
	return weir_call_page(w->c, &w->progress, done);
}

/* ------------------------------------------------------------------------ answer */

static json_t *id_json(const struct weir_id *id)
{
	char text[2 * WEIR_ID_BYTES + 1];

	weir_hex(id->b, sizeof(id->b), text);
	return json_string(text);
}

static json_t *number_json(uint64_t n)
{
	return n ? weir_json_count(n) : json_null();
}

static json_t *findings_json(const struct weir_lane_verified *v)
{
	json_t *a = json_array();

	for (size_t i = 0; a && i < v->n_findings; i++) {
		const struct weir_lane_finding *f = &v->findings[i];

		json_array_append_new(
			a, json_pack("{s:s,s:o,s:o,s:o,s:o}", "wrong",
				     weir_lane_wrong_names[f->wrong], "id", id_json(&f->id),
				     "ledger_seq", number_json(f->ledger_seq), "stream_seq",
				     number_json(f->stream_seq), "why", weir_json_text(f->why)));
	}
	return a;
}

static json_t *sum_json(const struct weir_lane_sum *s)
{
	return json_pack("{s:o,s:o,s:o,s:o}", "events", weir_json_count(s->events), "entries",
			 weir_json_count(s->entries), "price_events",
			 weir_json_money(s->stream_nano), "price_entries",
			 weir_json_money(s->ledger_nano));
}

static json_t *sums_json(const struct work *w, const struct weir_lane_verified *v)
{
	json_t *a = json_array();

	for (size_t i = 0; a && i < v->n_sums; i++) {
		json_t *o = sum_json(&v->sums[i]);

		json_object_set_new(o, "tenant",
				    weir_entry_name_json(w->c->view, v->sums[i].tenant));
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *verified_json(const struct work *w, const struct weir_lane_verified *v)
{
	json_t *o = json_pack(
		"{s:b,s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "ok", (int)weir_lane_agrees(v), "stream",
		"METER", "node", w->node, "ledger", weir_reader_ledger_id(w->reader), "from_stream",
		weir_json_count(v->from_stream), "to_stream", weir_json_count(v->to_stream),
		"from_seq", weir_json_count(v->from_seq), "to_seq", weir_json_count(v->to_seq));
	const struct {
		const char *name;
		uint64_t n;
	} more[] = {
		{ "entries", v->entries },
		{ "events", v->events },
		{ "older", v->older },
		{ "newer", v->newer },
		{ "same", v->same },
		{ "reworded", v->reworded },
		{ "unlinked", v->unlinked },
		{ "renumbered", v->renumbered },
		{ "malformed", v->others.malformed },
		{ "foreign", v->others.foreign },
		{ "tenants", v->tenants },
		{ "tenants_wrong", v->tenants_wrong },
	};

	for (size_t i = 0; i < WEIR_LANE_WRONG_MAX; i++)
		json_object_set_new(o, weir_lane_wrong_names[i], weir_json_count(v->wrong[i]));
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		json_object_set_new(o, more[i].name, weir_json_count(more[i].n));
	json_object_set_new(o, "foreign_source",
			    v->others.foreign ? weir_json_text(v->others.foreign_source)
					      : json_null());
	json_object_set_new(o, "foreign_among", json_boolean(v->foreign_among));
	json_object_set_new(o, "total", sum_json(&v->all));
	json_object_set_new(o, "findings", findings_json(v));
	json_object_set_new(o, "sums", sums_json(w, v));
	return o;
}

/* -------------------------------------------------------------------------- work */

static int look(struct work *w, jsCtx *js, struct weir_lane_verified *v, struct weir_error *err)
{
	struct weir_stream_cursor confirmed;
	struct weir_publisher_status s;
	struct weir_lane_check check = {
		.js = js,
		.node = w->node,
		.reader = w->reader,
		.event = make_event,
		.page = tell_page,
		.ctx = w,
	};
	int r;

	/* Before the stream's end is looked at: all up to here is on it. */
	weir_publisher_status(w->c->view->publisher, &s);
	r = weir_reader_stream_cursor(w->reader, "nats", &confirmed, err);
	check.acked_seq = s.seq;
	check.confirmed_seq = confirmed.seq;
	return r ? r : weir_lane_verify(&check, v, err);
}

static int with_nats(struct work *w, struct weir_lane_verified *v, struct weir_error *err)
{
	char why[256] = "";
	natsConnection *nc = NULL;
	jsCtx *js = NULL;
	natsStatus s =
		weir_nats_connect(w->c->view->nats, "weir-agent verify", &nc, why, sizeof(why));
	int r;

	if (s != NATS_OK) {
		natsConnection_Destroy(nc);
		return weir_fail(err, EIO, "nats: %s", why);
	}
	s = natsConnection_JetStream(&js, nc, NULL);
	r = s == NATS_OK ? look(w, js, v, err)
			 : weir_fail(err, EIO, "nats: %s", natsStatus_GetText(s));
	jsCtx_Destroy(js);
	natsConnection_Destroy(nc);
	return r;
}

static int prepare(struct work *w, struct weir_error *err)
{
	const struct weir_agent_view *view = w->c->view;
	weir_autofree struct weir_status *s = calloc(1, sizeof(*s));
	int r = weir_call_bool(w->c, "progress", &w->progress.wanted, err);

	if (r)
		return r;
	if (!s)
		return -ENOMEM;
	if (!view->nats || !view->publisher)
		return weir_fail(err, ENOENT,
				 "events: no NATS is configured (\"nats\" in agent.json): there is "
				 "no stream to hold the ledger to");
	w->reader = weir_call_reader(w->c, err);
	if (!w->reader)
		return -EIO;
	view->status(view->ctx, s);
	strcpy(w->node, s->node);
	return 0;
}

int weir_do_events_verify(struct weir_call *c, struct weir_error *err)
{
	/* It reads a stream and a ledger from end to end: one at a time is enough work. */
	static atomic_flag running = ATOMIC_FLAG_INIT;
	weir_autofree struct weir_lane_verified *v = malloc(sizeof(*v));
	struct work w = { .c = c, .err = err };
	int r = v ? prepare(&w, err) : -ENOMEM;

	if (!r && atomic_flag_test_and_set(&running)) {
		r = weir_fail(err, EBUSY, "events: are being verified already");
	} else if (!r) {
		r = with_nats(&w, v, err);
		atomic_flag_clear(&running);
	}
	if (!r)
		r = weir_call_result(c, verified_json(&w, v));
	return r;
}
