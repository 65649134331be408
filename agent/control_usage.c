/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handler of `usage`. By tenant and of all time it is a projection, and there at once. Anything
 * else is summed from the log: it may take long, says how far it is, and ends when the client goes.
 */
#include "control_call.h"

#include <errno.h>
#include <string.h>

#include "calendar.h"
#include "reason.h"
#include "usage_by.h"

/* --------------------------------------------------------------- what all rows have */

static int set(json_t *o, const char *name, json_t *value)
{
	return json_object_set_new(o, name, value);
}

static int set_tokens(json_t *o, const struct weir_usage *t, int64_t audio, int64_t image)
{
	return set(o, "input_tokens", json_integer(t->input)) ||
	       set(o, "cache_read_tokens", json_integer(t->cache_read)) ||
	       set(o, "cache_write_tokens", json_integer(t->cache_write)) ||
	       set(o, "output_tokens", json_integer(t->output)) ||
	       set(o, "reasoning_tokens", json_integer(t->reasoning)) ||
	       set(o, "audio_tokens", json_integer(audio)) ||
	       set(o, "image_tokens", json_integer(image));
}

static int set_money(json_t *o, int64_t price, int64_t cost, int64_t refunded)
{
	return set(o, "price", weir_json_money(price)) || set(o, "cost", weir_json_money(cost)) ||
	       set(o, "refunded", weir_json_money(refunded));
}

/* --------------------------------------------------------------- by tenant, of all time */

static uint64_t refused(const struct weir_agent_view *v, uint32_t tenant)
{
	uint64_t counts[WEIR_REASON_MAX] = { 0 }, sum = 0;

	if (v->denial_counts(v->ctx, tenant, false, counts))
		return 0;
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++)
		sum += weir_reason_is_denial(i) ? counts[i] : 0;
	return sum;
}

struct sums {
	struct weir_call *c;
	json_t *rows; /* by name, so that tenants without usage can join */
	json_t *seen;
};

/* Takes its place in rows, or is NULL: no memory. */
static int put_sum(struct sums *w, const char *key, uint64_t refusals,
		   const struct weir_usage_sum *s)
{
	json_t *o = json_object();

	if (set(o, "key", json_string(key)) || set(o, "requests", json_integer(s->requests)) ||
	    set(o, "refused", weir_json_count(refusals)) ||
	    set_tokens(o, &s->tokens, s->audio, s->image) ||
	    set(o, "estimated", json_integer(s->estimated)) ||
	    set(o, "partial", json_integer(s->partial)) ||
	    set_money(o, s->price_nano, s->cost_nano, s->refunded_nano)) {
		json_decref(o);
		return -ENOMEM;
	}
	json_object_set_new(w->seen, key, json_true());
	return json_array_append_new(w->rows, o) ? -ENOMEM : 0;
}

static int sum_row(const struct weir_usage_sum *s, void *ctx)
{
	struct sums *w = ctx;
	char name[WEIR_ENTRY_NAME_BYTES];

	if (w->c->view->tenant_name(w->c->view->ctx, s->tenant, name))
		return 0;
	return put_sum(w, name, refused(w->c->view, s->tenant), s);
}

/* Tenants that used nothing have their refusals to show, or a row of zeros. */
static int sum_rest(struct sums *w, const char *only)
{
	struct weir_policy *p = w->c->view->policy(w->c->view->ctx);
	static const struct weir_usage_sum none;
	uint32_t index;
	int r = 0;

	for (size_t i = 0; !r && i < p->n_tenants; i++) {
		const char *name = p->tenants[i].name;

		if ((only && strcmp(only, name)) || json_object_get(w->seen, name) ||
		    w->c->view->tenant_index(w->c->view->ctx, name, &index))
			continue;
		r = put_sum(w, name, refused(w->c->view, index), &none);
	}
	weir_policy_unref(p);
	/* It may have left the policy without ever having used anything. */
	if (!r && only && !json_object_get(w->seen, only))
		r = put_sum(w, only, 0, &none);
	return r;
}

static int usage_sums(struct weir_call *c, const char *tenant, uint32_t index,
		      struct weir_error *err)
{
	struct weir_reader *reader = weir_call_reader(c, err);
	struct sums w = { .c = c, .rows = json_array(), .seen = json_object() };
	int r = -EIO;

	if (reader)
		r = weir_reader_usage(reader, index, sum_row, &w, err);
	if (!r)
		r = sum_rest(&w, tenant);
	json_decref(w.seen);
	if (r) {
		json_decref(w.rows);
		return r;
	}
	return weir_call_result(c, w.rows);
}

/* --------------------------------------------------------------- from the log */

struct walk {
	struct weir_call *c;
	struct weir_usage_by *sums;
	enum weir_usage_key by;
	struct weir_call_progress far;
	struct weir_error *err;
};

static int page(uint64_t seq, void *ctx)
{
	struct walk *w = ctx;

	return weir_call_page(w->c, &w->far, seq);
}

static int item(const struct weir_margin_item *i, void *ctx)
{
	struct walk *w = ctx;
	int r = weir_usage_by_add(w->sums, i);

	if (r == -E2BIG)
		weir_fail(w->err, ERANGE,
			  "usage: there are more than %d of it; narrow it by a tenant or by "
			  "--since and --until",
			  WEIR_USAGE_GROUPS);
	return r ? -ERANGE : 0;
}

static json_t *group_json(const struct weir_usage_group *g, enum weir_usage_key by)
{
	json_t *o = json_object();

	if (set(o, "key", weir_json_text(g->key)) ||
	    (by == WEIR_USAGE_BY_SESSION && set(o, "tenant", weir_json_text(g->tenant))) ||
	    set(o, "first", weir_json_time(g->first_ns)) ||
	    set(o, "last", weir_json_time(g->last_ns)) ||
	    set(o, "requests", json_integer(g->requests)) ||
	    set(o, "meters", json_integer(g->meters)) ||
	    set_tokens(o, &g->tokens, g->audio, g->image) ||
	    set(o, "estimated", json_integer(g->estimated)) ||
	    set(o, "partial", json_integer(g->partial)) ||
	    set(o, "degraded", json_integer(g->degraded)) ||
	    set(o, "unjudged", json_integer(g->unjudged)) ||
	    set(o, "unbilled", json_integer(g->unbilled)) ||
	    set(o, "unpriced", json_integer(g->unpriced)) ||
	    set_money(o, g->price_nano, g->cost_nano, g->refunded_nano)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int put_group(const struct weir_usage_group *g, void *ctx)
{
	struct walk *w = ctx;

	return weir_call_item(w->c, group_json(g, w->by));
}

static int usage_walk(struct weir_call *c, struct walk *w, const struct weir_margin_query *q,
		      struct weir_error *err)
{
	struct weir_reader *reader = weir_call_reader(c, err);
	int r;

	if (!reader)
		return -EIO;
	w->sums = weir_usage_by_new(w->by);
	r = weir_reader_newest(reader, &w->far.newest, err);
	if (!r)
		r = weir_margin_walk(reader, q, item, w, err);
	if (!r)
		r = weir_usage_by_each(w->sums, put_group, w);
	if (!r)
		r = weir_call_result(
			c,
			json_pack("{s:s,s:o,s:o,s:o}", "by", weir_usage_key_names[w->by], "since",
				  weir_json_time(q->since_ns), "until", weir_json_time(q->until_ns),
				  "total",
				  group_json(weir_usage_by_total(w->sums), WEIR_USAGE_BY_TENANT)));
	weir_usage_by_free(w->sums);
	return r;
}

int weir_do_usage(struct weir_call *c, struct weir_error *err)
{
	struct walk w = { .c = c, .err = err, .far.told_ns = weir_mono_ns() };
	struct weir_margin_query q = { .page = page };
	int by = WEIR_USAGE_BY_TENANT;
	const char *tenant = NULL;
	struct weir_json at;
	bool walks;
	int r = weir_call_tenant(c, true, &tenant, &q.tenant, err);

	/* The month so far, if nothing else is said. */
	q.since_ns = weir_month_start_ns(weir_month_of(weir_wall_ns()));
	if (!r && weir_json_get(&c->args, "by", &at))
		r = weir_json_choice(&at, weir_usage_key_names, &by, err);
	if (!r)
		r = weir_call_time(c, "since", &q.since_ns, err);
	if (!r)
		r = weir_call_time(c, "until", &q.until_ns, err);
	if (!r)
		r = weir_call_bool(c, "progress", &w.far.wanted, err);
	if (!r && q.until_ns && q.until_ns <= q.since_ns)
		r = weir_fail(err, EINVAL, "request: until: is not after since");
	if (r)
		return r;
	w.by = (enum weir_usage_key)by;
	walks = by != WEIR_USAGE_BY_TENANT || weir_json_get(&c->args, "since", &at) ||
		weir_json_get(&c->args, "until", &at);
	return walks ? usage_walk(c, &w, &q, err) : usage_sums(c, tenant, q.tenant, err);
}
