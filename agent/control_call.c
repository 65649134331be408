/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What handlers share: arguments out of a request, values into a reply.
 */
#include "control_call.h"

#include <errno.h>
#include <string.h>

#include "money.h"
#include "suggest.h"

#define PROGRESS_NS (WEIR_SECOND / 4)

/* ------------------------------------------------------------------- arguments */

int weir_call_string(struct weir_call *c, const char *name, size_t max, const char **out,
		     struct weir_error *err)
{
	struct weir_json at;

	return weir_json_get(&c->args, name, &at) ? weir_json_string(&at, max, out, err) : 0;
}

int weir_call_int(struct weir_call *c, const char *name, int64_t min, int64_t max, int64_t *out,
		  struct weir_error *err)
{
	struct weir_json at;

	return weir_json_get(&c->args, name, &at) ? weir_json_int(&at, min, max, out, err) : 0;
}

int weir_call_bool(struct weir_call *c, const char *name, bool *out, struct weir_error *err)
{
	struct weir_json at;

	return weir_json_get(&c->args, name, &at) ? weir_json_bool(&at, out, err) : 0;
}

int weir_call_time(struct weir_call *c, const char *name, uint64_t *wall_ns, struct weir_error *err)
{
	struct weir_json at;
	const char *text;
	int r;

	if (!weir_json_get(&c->args, name, &at))
		return 0;
	r = weir_json_string(&at, WEIR_TIME_TEXT + 8, &text, err);
	if (!r && weir_time_parse(text, wall_ns))
		r = weir_json_refuse(&at, err, "is not a time such as 2026-11-01T00:00:00Z");
	return r;
}

int weir_call_tenant(struct weir_call *c, bool optional, const char **name, uint32_t *index,
		     struct weir_error *err)
{
	struct weir_policy *p;
	struct weir_suggest s;
	const char *wanted = NULL;
	int r = weir_call_string(c, "tenant", WEIR_NAME_BYTES - 1, &wanted, err);

	if (r)
		return r;
	if (!wanted && optional)
		return 0;
	if (!wanted)
		return weir_fail(err, EINVAL, "request: \"tenant\" is missing");
	/* Never ask for what cannot be one: the name is text from outside. */
	if (weir_name_ok(wanted) && !c->view->tenant_index(c->view->ctx, wanted, index)) {
		*name = wanted;
		return 0;
	}
	p = c->view->policy(c->view->ctx);
	weir_suggest_init(&s, wanted);
	for (size_t i = 0; i < p->n_tenants; i++)
		weir_suggest_offer(&s, p->tenants[i].name);
	if (s.best)
		weir_fail(err, ENOENT, "tenant \"%s\": no such tenant (did you mean \"%s\"?)",
			  wanted, s.best);
	else
		weir_fail(err, ENOENT, "tenant \"%s\": no such tenant", wanted);
	weir_policy_unref(p);
	return -ENOENT;
}

int weir_call_query(struct weir_call *c, struct weir_entry_query *q, bool tenant_optional,
		    const char **tenant, struct weir_error *err)
{
	int64_t limit = 0;
	int r = weir_call_tenant(c, tenant_optional, tenant, &q->tenant, err);

	if (!r)
		r = weir_call_time(c, "since", &q->since_ns, err);
	if (!r)
		r = weir_call_int(c, "limit", 1, INT64_C(1) << 40, &limit, err);
	q->limit = (size_t)limit;
	return r;
}

/* ---------------------------------------------------------------------- values */

json_t *weir_json_money(int64_t nano)
{
	char text[WEIR_MONEY_TEXT];

	weir_money_format(nano, text);
	return json_string(text);
}

json_t *weir_json_time(uint64_t wall_ns)
{
	char text[WEIR_TIME_TEXT];

	if (!wall_ns)
		return json_null();
	weir_time_format(wall_ns, text);
	return json_string(text);
}

json_t *weir_json_count(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

json_t *weir_json_text(const char *text)
{
	weir_autofree char *clean = NULL;
	json_t *v;

	if (!text)
		return json_null();
	v = json_string(text);
	if (v)
		return v;
	clean = strdup(text);
	for (char *p = clean; p && *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return clean ? json_string(clean) : NULL;
}

json_t *weir_entry_name_json(const struct weir_agent_view *v, uint32_t entry)
{
	char name[WEIR_ENTRY_NAME_BYTES];

	if (!entry)
		return json_null();
	return v->tenant_name(v->ctx, entry, name) ? json_sprintf("~%u", entry) : json_string(name);
}

/* The kernel takes the later of the two copies (weir_abi.h, struct weir_settled). */
static int settled_copy(const struct weir_tenant *t)
{
	return t->settled[1].ring_pos > t->settled[0].ring_pos;
}

/* Whole units that are left of a bucket; as weir_gcra_left has them (bpf/gcra.h). */
static int64_t units_left(uint64_t tat_ns, uint64_t now_ns, uint64_t tau_ns, uint64_t burst)
{
	uint64_t used = tat_ns > now_ns ? tat_ns - now_ns : 0;
	uint64_t interval = burst ? tau_ns / burst : 0, n;

	if (used >= tau_ns || !interval)
		return 0;
	n = (tau_ns - used) / interval;
	return (int64_t)(n < burst ? n : burst);
}

/* Past this many tokens in flight the kernel counts no further (bpf/admit.h). */
#define TOKENS_FLIGHT_MAX (1 << 25)

/* What is in flight counts as if it had been settled as reserved. */
static uint64_t tokens_ahead(const struct weir_tenant *t, uint64_t now_ns, int32_t in_flight)
{
	uint64_t tat = t->settled[settled_copy(t)].tokens_tat_ns;

	if (in_flight <= 0)
		return tat;
	if (in_flight > TOKENS_FLIGHT_MAX)
		in_flight = TOKENS_FLIGHT_MAX;
	return (tat > now_ns ? tat : now_ns) + (uint64_t)in_flight * t->tokens_interval_ns;
}

void weir_live_figures(const struct weir_tenant *t, uint64_t mono_ns, struct weir_live *out)
{
	int copy = settled_copy(t);
	int32_t in_flight = (int32_t)(t->reserved_tokens - t->released_tokens[copy]);

	*out = (struct weir_live){
		.requests_remaining = -1,
		.tokens_remaining = -1,
		/* What was lost with an END record was given back by raising the ceiling. */
		.reserved_nano =
			(int64_t)(t->reserved_nano - t->settled[copy].released_nano - t->lost_nano),
		.reserved_tokens = in_flight > 0 ? in_flight : 0,
	};
	if (t->flags & WEIR_TENANT_LIMIT_REQUESTS)
		out->requests_remaining =
			units_left(t->request_tat_ns, mono_ns,
				   t->request_interval_ns * t->request_burst, t->request_burst);
	if (t->flags & WEIR_TENANT_LIMIT_TOKENS)
		out->tokens_remaining = units_left(tokens_ahead(t, mono_ns, in_flight), mono_ns,
						   t->tokens_tau_ns, weir_tokens_burst(t));
}

static json_t *remaining(int64_t n)
{
	return n < 0 ? json_null() : json_integer(n);
}

json_t *weir_gauges_json(const struct weir_tenant *t, const struct weir_live *live)
{
	return json_pack("{s:i,s:i,s:i,s:o,s:o,s:o}", "connections", (int)t->connections,
			 "half_open", (int)t->half_open, "inflight", (int)t->inflight,
			 "requests_remaining", remaining(live->requests_remaining),
			 "tokens_remaining", remaining(live->tokens_remaining), "reserved_tokens",
			 json_integer(live->reserved_tokens));
}

json_t *weir_live_json(const struct weir_agent_view *v, uint32_t tenant)
{
	struct weir_tenant t, wallet;
	struct weir_live live, paying;
	uint64_t now_ns = weir_mono_ns();
	json_t *o;

	if (v->tenant_live(v->ctx, tenant, &t))
		return json_null();
	if (!t.wallet || t.wallet == tenant || v->tenant_live(v->ctx, t.wallet, &wallet))
		wallet = t;
	weir_live_figures(&t, now_ns, &live);
	weir_live_figures(&wallet, now_ns, &paying);
	o = weir_gauges_json(&t, &live);
	if (o) {
		json_object_set_new(o, "balance", weir_json_money(wallet.balance_nano));
		json_object_set_new(o, "reserved", weir_json_money(paying.reserved_nano));
	}
	return o;
}

/* --- walks of the log ------------------------------------------------------- */

int weir_call_page(struct weir_call *c, struct weir_call_progress *p, uint64_t seq)
{
	uint64_t now_ns = weir_mono_ns();
	json_t *far;
	int r;

	if (now_ns - p->told_ns < PROGRESS_NS)
		return 0;
	p->told_ns = now_ns;
	if (weir_call_gone(c))
		return -EPIPE;
	if (!p->wanted)
		return 0;
	far = json_pack("{s:o,s:o}", "seq", weir_json_count(seq < p->newest ? seq : p->newest),
			"newest", weir_json_count(p->newest));
	if (p->phase)
		json_object_set_new(far, "phase", json_string(p->phase));
	if (p->oldest)
		json_object_set_new(far, "oldest", weir_json_count(p->oldest));
	r = weir_call_item(c, far);
	return r ? r : weir_call_flush(c);
}
