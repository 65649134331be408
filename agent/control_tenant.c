/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `tenant list` and `tenant show`: limits from the policy, live figures
 * from the kernel, suspensions from the ledger.
 */
#include "control_call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "finish.h"
#include "slots.h"

#define REQUESTS_SHOWN 20

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

/* The limits that a service may have of its own, too. */
static json_t *window_limits_json(const struct weir_limits *l)
{
	json_t *tokens = rate_json(&l->tokens);

	if (json_is_object(tokens))
		json_object_set_new(tokens, "cached_weight", weight_json(l->cached_weight_ppm));
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:b}", "connections", limit_json(l->connections),
			 "connect_rate", rate_json(&l->connect_rate), "concurrency",
			 limit_json(l->concurrency), "requests", rate_json(&l->requests), "tokens",
			 tokens, "shadow", (int)l->shadow);
}

static json_t *services_json(const struct weir_tenant_policy *tp)
{
	json_t *o = json_object();

	for (size_t i = 0; o && i < tp->n_scopes; i++)
		json_object_set_new(o, tp->scopes[i].service,
				    window_limits_json(&tp->scopes[i].limits));
	return o;
}

static json_t *top_up_json(const struct weir_limits *l)
{
	if (!l->top_up_ask_nano)
		return json_null();
	return json_pack("{s:o,s:o}", "below", weir_json_money(l->top_up_below_nano), "ask",
			 weir_json_money(l->top_up_ask_nano));
}

static json_t *limits_json(const struct weir_tenant_policy *tp)
{
	static const char *const credit[] = { "none", "hard", "soft" };
	static const char *const down[] = { "hold", "open", "closed" };
	static const char *const abort[] = { "produced", "full", "free" };
	const struct weir_limits *l = &tp->limits;
	json_t *o = window_limits_json(l);
	json_t *rest = json_pack(
		"{s:i,s:s,s:o,s:o,s:o,s:o,s:o,s:s,s:o,s:o,s:s,s:s,s:o,s:s,s:s,s:s,s:b,s:b,s:o}",
		"half_open", (int)l->half_open, "credit", credit[l->credit], "overage_limit",
		weir_json_money(l->overage_nano), "topup", top_up_json(l), "request_cost_cap",
		l->request_cost_cap_nano ? weir_json_money(l->request_cost_cap_nano) : json_null(),
		"max_input_tokens", tokens_json(l->max_input_tokens), "max_output_tokens",
		tokens_json(l->max_output_tokens), "on_max_output",
		l->refuse_output ? "refuse" : "rewrite", "reserve_input_tokens",
		weir_json_count(l->reserve_input_tokens), "reserve_output_tokens",
		weir_json_count(l->reserve_output_tokens), "on_limit", l->drop ? "drop" : "reject",
		"on_exhausted", l->degrade ? "degrade" : "reject", "fallback_model",
		weir_json_text(l->fallback_model[0] ? l->fallback_model : NULL), "other_protocols",
		l->pass_protocols ? "pass" : "refuse", "on_agent_down", down[l->on_agent_down],
		"abort", abort[l->abort], "bill_retries", !l->free_retries, "bill_cache_hits",
		!l->free_cache_hits, "services", services_json(tp));

	if (rest)
		json_object_update_missing(o, rest);
	json_decref(rest);
	return o;
}

/* -- levels */

static uint32_t parent_of(const struct weir_agent_view *v, uint32_t entry)
{
	struct weir_tenant t;

	return !entry || v->tenant_live(v->ctx, entry, &t) ? WEIR_NO_TENANT : t.parent;
}

static void add_level(json_t *list, const struct weir_agent_view *v, const char *level,
		      uint32_t entry, const char *service)
{
	struct weir_live live;
	struct weir_tenant t;
	json_t *o;

	if (!entry || v->tenant_live(v->ctx, entry, &t))
		return;
	weir_live_figures(&t, weir_mono_ns(), &live);
	o = json_pack("{s:s,s:o,s:o,s:b,s:b}", "level", level, "name",
		      weir_entry_name_json(v, entry), "service", weir_json_text(service),
		      "suspended", !!(t.flags & WEIR_TENANT_SUSPENDED), "shadow",
		      !!(t.flags & WEIR_TENANT_SHADOW));
	if (o) {
		json_t *gauges = weir_gauges_json(&t, &live);

		json_object_update(o, gauges);
		json_decref(gauges);
	}
	json_array_append_new(list, o);
}

/* Where a request of the tenant's is charged: one of the scopes, all of the others. */
static json_t *levels_json(const struct weir_agent_view *v, uint32_t index,
			   const struct weir_tenant_policy *tp)
{
	uint32_t parent = parent_of(v, index);
	json_t *list = json_array();

	add_level(list, v, "own", index, NULL);
	for (size_t i = 0; tp && i < tp->n_scopes; i++) {
		uint32_t scope;

		if (!v->scope_index(v->ctx, index, tp->scopes[i].service, &scope))
			add_level(list, v, "scope", scope, tp->scopes[i].service);
	}
	add_level(list, v, "parent", parent, NULL);
	add_level(list, v, "top", parent_of(v, parent), NULL);
	return list;
}

/* -- what reserves */

static json_t *request_json(const struct weir_agent_view *v, uint32_t tenant,
			    const struct weir_open_request *q)
{
	uint64_t now_ns = weir_mono_ns();
	struct weir_id id;
	char hex[2 * WEIR_ID_BYTES + 1];

	weir_request_id(q->started_wall_ns, v->boot, q->slot, q->ordinal, &id);
	weir_hex(id.b, sizeof(id.b), hex);
	return json_pack(
		"{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "request_id", hex, "tenant",
		weir_entry_name_json(v, q->tenant), "service",
		weir_json_text(q->service < v->n_services ? v->services[q->service] : NULL),
		"started_at", weir_json_time(q->started_wall_ns), "age_ms",
		weir_json_count(now_ns > q->started_ns ? (now_ns - q->started_ns) / 1000000 : 0),
		/* Another wallet's is no reservation of this one's. */
		"credits", weir_json_money(q->wallet == tenant ? q->reserved_nano : 0), "tokens",
		weir_json_count(q->reserved_tokens), "cut", (int)q->cut);
}

static void add_requests(json_t *o, const struct weir_agent_view *v, uint32_t tenant)
{
	struct weir_open_request open[REQUESTS_SHOWN];
	size_t all = v->open_requests(v->ctx, tenant, open, REQUESTS_SHOWN);
	json_t *list = json_array();

	for (size_t i = 0; i < all && i < REQUESTS_SHOWN; i++)
		json_array_append_new(list, request_json(v, tenant, &open[i]));
	json_object_set_new(o, "requests", list);
	json_object_set_new(o, "requests_open", weir_json_count(all));
}

/* -- a tenant */

/* The first level that is suspended, from the tenant up; 0: it is let in. */
static uint32_t suspended_by(const struct weir_agent_view *v, uint32_t entry)
{
	struct weir_tenant t;

	for (int i = 0; entry && i < 3 && !v->tenant_live(v->ctx, entry, &t); i++) {
		if (t.flags & WEIR_TENANT_SUSPENDED)
			return entry;
		entry = t.parent;
	}
	return WEIR_NO_TENANT;
}

/* tp NULL: the tenant left the policy, its history did not. */
static json_t *tenant_json(const struct weir_agent_view *v, const char *name, uint32_t index,
			   const struct weir_tenant_policy *tp)
{
	struct weir_tenant t = { .flags = 0 };

	v->tenant_live(v->ctx, index, &t);
	return json_pack("{s:s,s:o,s:o,s:s,s:o,s:o,s:b,s:o}", "tenant", name, "tier",
			 weir_json_text(tp ? tp->tier : NULL), "parent",
			 weir_json_text(tp ? tp->parent : NULL), "wallet",
			 tp && tp->wallet ? tp->wallet : name, "limits",
			 tp ? limits_json(tp) : json_null(), "live", weir_live_json(v, index),
			 "suspended", !!(t.flags & WEIR_TENANT_SUSPENDED), "suspended_by",
			 weir_entry_name_json(v, suspended_by(v, index)));
}

/* Since when, by whom and why; null if it is not. */
static int add_suspension(json_t *o, struct weir_call *c, uint32_t index, struct weir_error *err)
{
	struct weir_reader *reader = weir_call_reader(c, err);
	struct weir_switch s;
	int r = reader ? weir_reader_switch_state(reader, WEIR_SWITCH_SUSPENDED, index, &s, err)
		       : -EIO;

	if (r)
		return r;
	json_object_set_new(o, "suspension",
			    !s.on ? json_null()
				  : json_pack("{s:o,s:o,s:o}", "since", weir_json_time(s.time_ns),
					      "actor", weir_json_text(s.actor), "reason",
					      weir_json_text(s.reason[0] ? s.reason : NULL)));
	return 0;
}

int weir_do_tenant_show(struct weir_call *c, struct weir_error *err)
{
	const struct weir_tenant_policy *tp;
	struct weir_policy *p;
	const char *name = NULL;
	uint32_t index = 0;
	json_t *o;
	int r = weir_call_tenant(c, false, &name, &index, err);

	if (r)
		return r;
	p = c->view->policy(c->view->ctx);
	tp = weir_policy_tenant(p, name);
	o = tenant_json(c->view, name, index, tp);
	if (o) {
		json_object_set_new(o, "levels", levels_json(c->view, index, tp));
		add_requests(o, c->view, index);
		r = add_suspension(o, c, index, err);
	}
	weir_policy_unref(p);
	if (r) {
		json_decref(o);
		return r;
	}
	return weir_call_result(c, o);
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
