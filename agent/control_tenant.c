/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `tenant`: limits from the policy, live figures from the kernel.
 */
#include "control_call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* As policy files write it. A decimal of parts per million. */
static json_t *weight_json(uint32_t ppm)
{
	return weir_json_money((int64_t)ppm * 1000);
}

static json_t *limit_json(int64_t n)
{
	return n < 0 ? json_null() : json_integer(n);
}

/* Of one request; 0 is none. */
static json_t *tokens_json(uint32_t n)
{
	return n ? json_integer(n) : json_null();
}

static json_t *rate_json(const struct weir_rate *r)
{
	static const struct {
		uint64_t ns;
		const char *name;
	} periods[] = {
		{ UINT64_C(1000000000), "per_second" },
		{ UINT64_C(60000000000), "per_minute" },
		{ UINT64_C(3600000000000), "per_hour" },
		{ UINT64_C(86400000000000), "per_day" },
	};

	if (!r->count)
		return json_null();
	for (size_t i = 0; i < sizeof(periods) / sizeof(*periods); i++) {
		if (r->period_ns == periods[i].ns)
			return json_pack("{s:o,s:o}", periods[i].name, weir_json_count(r->count),
					 "burst", weir_json_count(r->burst));
	}
	return json_pack("{s:o,s:o,s:o}", "count", weir_json_count(r->count), "period_ns",
			 weir_json_count(r->period_ns), "burst", weir_json_count(r->burst));
}

static json_t *limits_json(const struct weir_limits *l)
{
	static const char *const credit[] = { "none", "hard", "soft" };
	static const char *const down[] = { "hold", "open", "closed" };
	json_t *tokens = rate_json(&l->tokens);

	if (json_is_object(tokens))
		json_object_set_new(tokens, "cached_weight", weight_json(l->cached_weight_ppm));
	return json_pack(
		"{s:o,s:o,s:o,s:o,s:o,s:s,s:o,s:o,s:o,s:s,s:o,s:o,s:s,s:s,s:o,s:s,s:s,s:b}",
		"connections", limit_json(l->connections), "connect_rate",
		rate_json(&l->connect_rate), "concurrency", limit_json(l->concurrency), "requests",
		rate_json(&l->requests), "tokens", tokens, "credit", credit[l->credit],
		"overage_limit", weir_json_money(l->overage_nano), "max_input_tokens",
		tokens_json(l->max_input_tokens), "max_output_tokens",
		tokens_json(l->max_output_tokens), "on_max_output",
		l->refuse_output ? "refuse" : "rewrite", "reserve_input_tokens",
		weir_json_count(l->reserve_input_tokens), "reserve_output_tokens",
		weir_json_count(l->reserve_output_tokens), "on_limit", l->drop ? "drop" : "reject",
		"on_exhausted", l->degrade ? "degrade" : "reject", "fallback_model",
		weir_json_text(l->fallback_model[0] ? l->fallback_model : NULL), "other_protocols",
		l->pass_protocols ? "pass" : "refuse", "on_agent_down", down[l->on_agent_down],
		"shadow", (int)l->shadow);
}

static bool suspended(const struct weir_agent_view *v, uint32_t index)
{
	struct weir_tenant t;

	return !v->tenant_live(v->ctx, index, &t) && (t.flags & WEIR_TENANT_SUSPENDED);
}

/* tp NULL: the tenant left the policy, its history did not. */
static json_t *tenant_json(const struct weir_agent_view *v, const char *name, uint32_t index,
			   const struct weir_tenant_policy *tp)
{
	return json_pack("{s:s,s:o,s:n,s:o,s:o,s:b}", "tenant", name, "tier",
			 weir_json_text(tp ? tp->tier : NULL), "parent", "limits",
			 tp ? limits_json(&tp->limits) : json_null(), "live",
			 weir_live_json(v, index), "suspended", (int)suspended(v, index));
}

int weir_do_tenant_show(struct weir_call *c, struct weir_error *err)
{
	struct weir_policy *p;
	const char *name = NULL;
	uint32_t index = 0;
	int r = weir_call_tenant(c, false, &name, &index, err);

	if (r)
		return r;
	p = c->view->policy(c->view->ctx);
	r = weir_call_result(c, tenant_json(c->view, name, index, weir_policy_tenant(p, name)));
	weir_policy_unref(p);
	return r;
}

int weir_do_tenant_list(struct weir_call *c, struct weir_error *err)
{
	struct weir_policy *p = c->view->policy(c->view->ctx);
	int r = 0;

	for (size_t i = 0; !r && i < p->n_tenants; i++) {
		const struct weir_tenant_policy *tp = &p->tenants[i];
		uint32_t index = 0;

		if (!c->view->tenant_index(c->view->ctx, tp->name, &index))
			r = weir_call_item(c, tenant_json(c->view, tp->name, index, tp));
	}
	weir_policy_unref(p);
	return r;
}
