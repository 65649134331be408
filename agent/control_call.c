/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What handlers share: arguments out of a request, values into a reply.
 */
#include "control_call.h"

#include <errno.h>
#include <string.h>

#include "money.h"
#include "suggest.h"

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

/* The kernel takes the later of the two copies (weir_abi.h, struct weir_settled). */
static const struct weir_settled *settled(const struct weir_tenant *t)
{
	return &t->settled[t->settled[1].ring_pos > t->settled[0].ring_pos];
}

void weir_live_figures(const struct weir_tenant *t, uint64_t mono_ns, struct weir_live *out)
{
	const struct weir_settled *s = settled(t);

	*out = (struct weir_live){ -1, -1, (int64_t)(t->reserved_nano - s->released_nano) };
	if ((t->flags & WEIR_TENANT_LIMIT_REQUESTS) && t->request_interval_ns) {
		uint64_t ahead = t->request_tat_ns > mono_ns ? t->request_tat_ns - mono_ns : 0;

		out->requests_remaining =
			ahead >= t->request_interval_ns * t->request_burst
				? 0
				: (int64_t)((t->request_interval_ns * t->request_burst - ahead) / t->request_interval_ns);
	}
	if ((t->flags & WEIR_TENANT_LIMIT_TOKENS) && t->tokens_tau_ns) {
		uint64_t debt = s->tokens_tat_ns > mono_ns ? s->tokens_tat_ns - mono_ns : 0;

		out->tokens_remaining =
			debt >= t->tokens_tau_ns
				? 0
				: (int64_t)((unsigned __int128)t->tokens_burst *
					    (t->tokens_tau_ns - debt) / t->tokens_tau_ns);
	}
}

static json_t *remaining(int64_t n)
{
	return n < 0 ? json_null() : json_integer(n);
}

json_t *weir_live_json(const struct weir_agent_view *v, uint32_t tenant)
{
	struct weir_tenant t, wallet;
	struct weir_live live, paying;
	uint64_t now_ns = weir_mono_ns();

	if (v->tenant_live(v->ctx, tenant, &t))
		return json_null();
	if (!t.wallet || t.wallet == tenant || v->tenant_live(v->ctx, t.wallet, &wallet))
		wallet = t;
	weir_live_figures(&t, now_ns, &live);
	weir_live_figures(&wallet, now_ns, &paying);
	return json_pack("{s:i,s:i,s:o,s:o,s:o,s:o}", "connections", (int)t.connections, "inflight",
			 (int)t.inflight, "requests_remaining", remaining(live.requests_remaining),
			 "tokens_remaining", remaining(live.tokens_remaining), "balance",
			 weir_json_money(wallet.balance_nano), "reserved",
			 weir_json_money(paying.reserved_nano));
}
