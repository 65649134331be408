/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of a tier, which are also those of a tenant's overrides: names,
 * bounds, defaults. What a limit does is the kernel's.
 */
#include <inttypes.h>
#include <string.h>

#include "bpf/weir_abi.h"
#include "money.h"
#include "policy_read.h"

#define COUNT_MAX 1000000000
#define BURST_MAX (INT64_C(1) << 40) /* of tokens; of the others what struct weir_tenant holds */
/* A bucket's depth in time is a u64 of ns that is added to clocks: keep far from the end. */
#define FILL_MAX_NS (UINT64_C(100) * 366 * 86400 * WEIR_SECOND)
#define HALF_OPEN   1024
#define PPM_NANO    1000 /* one part in a million of WEIR_NANO */

/* ------------------------------------------------------------------------ rates */

/* Of {per_second | per_minute, burst}: what `fields` allows, exactly one of the two. */
static int read_rate(const struct weir_json *at, const char *const *fields, int64_t burst_max,
		     struct weir_rate *out, struct weir_error *err)
{
	struct weir_json second, minute, burst;
	bool has_second, has_minute;
	int64_t count, size;
	struct weir_rate rate;
	int r = weir_json_object(at, fields, err);

	if (r)
		return r;
	has_second = weir_json_get(at, "per_second", &second);
	has_minute = weir_json_get(at, "per_minute", &minute);
	if (has_second && has_minute)
		return weir_json_fail(at, err, "has both \"per_second\" and \"per_minute\"");
	if (!has_second && !has_minute)
		return weir_json_fail(at, err, "has no \"%s\"", fields[0]);
	r = weir_json_int(has_second ? &second : &minute, 1, COUNT_MAX, &count, err);
	if (r)
		return r;
	size = has_second ? count * 60 : count; /* a minute's worth */
	if (weir_json_get(at, "burst", &burst))
		r = weir_json_int(&burst, 1, burst_max, &size, err);
	else if (size > burst_max)
		return weir_json_fail(at, err,
				      "needs a \"burst\": a minute's worth is more than %" PRId64,
				      burst_max);
	if (r)
		return r;
	rate = (struct weir_rate){
		.count = (uint64_t)count,
		.period_ns = has_second ? WEIR_SECOND : 60 * WEIR_SECOND,
		.burst = (uint64_t)size,
	};
	if ((unsigned __int128)rate.burst * rate.period_ns >
	    (unsigned __int128)FILL_MAX_NS * rate.count)
		return weir_json_refuse(&burst, err, "takes more than a hundred years to fill");
	*out = rate;
	return 0;
}

/* A limit field that is a rate; null is none. */
static int read_rate_field(const struct weir_json *at, const char *field, struct weir_rate *out,
			   struct weir_error *err)
{
	static const char *const fields[] = { "per_minute", "per_second", "burst", NULL };
	struct weir_json child;

	if (!weir_json_get(at, field, &child))
		return 0;
	if (json_is_null(child.v)) {
		*out = (struct weir_rate){ 0 };
		return 0;
	}
	return read_rate(&child, fields, UINT32_MAX, out, err);
}

static int read_tokens(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	static const char *const fields[] = { "per_minute", "burst", "cached_weight", NULL };
	int64_t weight = WEIR_NANO;
	struct weir_rate rate = { 0 };
	struct weir_json child, w;
	int r;

	if (!weir_json_get(at, "tokens", &child))
		return 0;
	if (!json_is_null(child.v)) {
		r = read_rate(&child, fields, BURST_MAX, &rate, err);
		if (!r && weir_json_get(&child, "cached_weight", &w)) {
			r = weir_json_decimal(&w, 0, WEIR_NANO, &weight, err);
			if (!r && weight % PPM_NANO)
				return weir_json_refuse(&w, err, "has more than six decimals");
		}
		if (r)
			return r;
	}
	l->tokens = rate;
	l->cached_weight_ppm = (uint32_t)(weight / PPM_NANO);
	return 0;
}

/* ---------------------------------------------------------------- other fields */

/* A number that limits; null is none. */
static int read_gauge(const struct weir_json *at, const char *field, int64_t *out,
		      struct weir_error *err)
{
	struct weir_json child;

	if (!weir_json_get(at, field, &child))
		return 0;
	if (json_is_null(child.v)) {
		*out = -1;
		return 0;
	}
	return weir_json_int(&child, 1, COUNT_MAX, out, err);
}

/* Handshakes at once; null is no bound. */
static int read_half_open(const struct weir_json *at, uint32_t *out, struct weir_error *err)
{
	struct weir_json child;
	int64_t v = 0;
	int r = 0;

	if (!weir_json_get(at, "half_open", &child))
		return 0;
	if (!json_is_null(child.v))
		r = weir_json_int(&child, 1, UINT16_MAX, &v, err);
	if (!r)
		*out = (uint32_t)v;
	return r;
}

static int read_cost_cap(const struct weir_json *at, int64_t *out, struct weir_error *err)
{
	struct weir_json child;
	int64_t v = 0;
	int r = 0;

	if (!weir_json_get(at, "request_cost_cap", &child))
		return 0;
	if (!json_is_null(child.v))
		r = weir_json_decimal(&child, 1, INT64_MAX, &v, err);
	if (!r)
		*out = v;
	return r;
}

static int read_reserve(const struct weir_json *at, const char *field, uint32_t *out,
			struct weir_error *err)
{
	struct weir_json child;
	int64_t v;
	int r;

	if (!weir_json_get(at, field, &child))
		return 0;
	r = weir_json_int(&child, 0, COUNT_MAX, &v, err);
	if (!r)
		*out = (uint32_t)v;
	return r;
}

static int read_choice(const struct weir_json *at, const char *field, const char *const *words,
		       int *out, struct weir_error *err)
{
	struct weir_json child;

	return weir_json_get(at, field, &child) ? weir_json_choice(&child, words, out, err) : 0;
}

static int read_credit(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	static const char *const words[] = {
		[WEIR_CREDIT_NONE] = "none",
		[WEIR_CREDIT_HARD] = "hard",
		[WEIR_CREDIT_SOFT] = "soft",
		NULL,
	};
	int credit = l->credit;
	struct weir_json child;
	int r = read_choice(at, "credit", words, &credit, err);

	if (!r && weir_json_get(at, "overage_limit", &child)) {
		r = weir_json_decimal(&child, 0, INT64_MAX, &l->overage_nano, err);
		if (!r && l->overage_nano && credit != WEIR_CREDIT_SOFT)
			return weir_json_refuse(&child, err,
						"has no effect unless credit is \"soft\"");
	}
	if (r)
		return r;
	l->credit = (enum weir_credit)credit;
	if (credit != WEIR_CREDIT_SOFT)
		l->overage_nano = 0; /* an override made it hard: the tier's figure goes too */
	return 0;
}

/* After credit was read: without it there is no balance that anybody uses up. */
static int read_top_up(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	static const char *const fields[] = { "below", "ask", NULL };
	struct weir_json child, below, ask;
	int64_t b = 0, a = 0;
	int r = 0;

	if (l->credit == WEIR_CREDIT_NONE)
		l->top_up_below_nano = l->top_up_ask_nano = 0; /* came with the tier */
	if (!weir_json_get(at, "topup", &child))
		return 0;
	if (!json_is_null(child.v)) {
		r = weir_json_object(&child, fields, err);
		if (r)
			return r;
		if (!weir_json_get(&child, "below", &below))
			return weir_json_fail(&child, err, "has no \"below\"");
		if (!weir_json_get(&child, "ask", &ask))
			return weir_json_fail(&child, err, "has no \"ask\"");
		r = weir_json_decimal(&below, 0, INT64_MAX, &b, err);
		if (!r)
			r = weir_json_decimal(&ask, 1, INT64_MAX, &a, err);
		if (!r && l->credit == WEIR_CREDIT_NONE)
			return weir_json_fail(
				&child, err, "has no effect unless credit is \"hard\" or \"soft\"");
	}
	if (r)
		return r;
	l->top_up_below_nano = b;
	l->top_up_ask_nano = a;
	return 0;
}

static int read_conduct(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	static const char *const limit_words[] = { "reject", "drop", NULL };
	static const char *const down_words[] = {
		[WEIR_DOWN_HOLD] = "hold",
		[WEIR_DOWN_OPEN] = "open",
		[WEIR_DOWN_CLOSED] = "closed",
		NULL,
	};
	int drop = l->drop;
	struct weir_json child;
	int r = read_choice(at, "on_limit", limit_words, &drop, err);

	if (!r)
		r = read_choice(at, "on_agent_down", down_words, &l->on_agent_down, err);
	if (!r && weir_json_get(at, "shadow", &child))
		r = weir_json_bool(&child, &l->shadow, err);
	l->drop = drop != 0;
	return r;
}

/* What answers that are not what they should be, or were there before, are billed. */
static int read_billing(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	static const char *const words[] = {
		[WEIR_ABORT_PRODUCED] = "produced",
		[WEIR_ABORT_FULL] = "full",
		[WEIR_ABORT_FREE] = "free",
		NULL,
	};
	bool retries = !l->free_retries, hits = !l->free_cache_hits;
	struct weir_json child;
	int r = read_choice(at, "abort", words, &l->abort, err);

	if (!r && weir_json_get(at, "bill_retries", &child))
		r = weir_json_bool(&child, &retries, err);
	if (!r && weir_json_get(at, "bill_cache_hits", &child))
		r = weir_json_bool(&child, &hits, err);
	l->free_retries = !retries;
	l->free_cache_hits = !hits;
	return r;
}

/* ------------------------------------------------ what requests and bodies may be */

/* A number of tokens that one request may ask for; null is none. */
static int read_tokens_max(const struct weir_json *at, const char *field, uint32_t *out,
			   struct weir_error *err)
{
	struct weir_json child;
	int64_t v = 0;
	int r = 0;

	if (!weir_json_get(at, field, &child))
		return 0;
	if (!json_is_null(child.v))
		r = weir_json_int(&child, 1, INT32_MAX, &v, err);
	if (!r)
		*out = (uint32_t)v;
	return r;
}

/* The kernel writes it into JSON as it is, over the name that was asked for. */
static int read_fallback(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	struct weir_json child;
	const char *model = "";
	int r = 0;

	if (!weir_json_get(at, "fallback_model", &child))
		return 0;
	if (!json_is_null(child.v))
		r = weir_json_string(&child, sizeof(l->fallback_model) - 1, &model, err);
	if (r)
		return r;
	for (const char *c = model; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			return weir_json_refuse(
				&child, err,
				"is not printable ASCII without quotes and backslashes");
	/* zeros behind its end too: rules are compared as bytes */
	memset(l->fallback_model, 0, sizeof(l->fallback_model));
	memcpy(l->fallback_model, model, strlen(model));
	return 0;
}

/* After credit was read: degrading is what happens where it runs out. */
static int read_exhausted(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	static const char *const words[] = { "reject", "degrade", NULL };
	struct weir_json child;
	int degrade = l->degrade;
	int r = read_fallback(at, l, err);

	if (!r)
		r = read_choice(at, "on_exhausted", words, &degrade, err);
	if (r)
		return r;
	if (!weir_json_get(at, "on_exhausted", &child)) {
		/* It came with the tier; an override without credit has nothing to run out of. */
		if (l->credit == WEIR_CREDIT_NONE)
			degrade = false;
		else if (degrade && !l->fallback_model[0] &&
			 weir_json_get(at, "fallback_model", &child))
			return weir_json_refuse(&child, err,
						"leaves the tier's \"on_exhausted\" \"degrade\" "
						"without a model");
	} else if (degrade && !l->fallback_model[0]) {
		return weir_json_refuse(&child, err, "needs a \"fallback_model\"");
	} else if (degrade && l->credit == WEIR_CREDIT_NONE) {
		return weir_json_refuse(&child, err,
					"has no effect unless credit is \"hard\" or \"soft\"");
	}
	l->degrade = degrade;
	return 0;
}

static int read_forms(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	static const char *const output_words[] = { "rewrite", "refuse", NULL };
	static const char *const protocol_words[] = { "refuse", "pass", NULL };
	int refuse = l->refuse_output, pass = l->pass_protocols;
	int r = read_tokens_max(at, "max_input_tokens", &l->max_input_tokens, err);

	if (!r)
		r = read_tokens_max(at, "max_output_tokens", &l->max_output_tokens, err);
	if (!r)
		r = read_choice(at, "on_max_output", output_words, &refuse, err);
	if (!r)
		r = read_choice(at, "other_protocols", protocol_words, &pass, err);
	if (!r)
		r = read_exhausted(at, l, err);
	l->refuse_output = refuse;
	l->pass_protocols = pass;
	return r;
}

void policy_limits_init(struct weir_limits *l)
{
	*l = (struct weir_limits){
		.connections = -1,
		.concurrency = -1,
		.cached_weight_ppm = WEIR_NANO / PPM_NANO,
		.credit = WEIR_CREDIT_NONE,
		.reserve_input_tokens = 1000,
		.reserve_output_tokens = 512,
		.on_agent_down = WEIR_DOWN_HOLD,
		.half_open = HALF_OPEN,
		.abort = WEIR_ABORT_PRODUCED,
	};
}

/* What can be limited for one service alone, too. */
static int read_counts(const struct weir_json *at, struct weir_limits *l, struct weir_error *err)
{
	int r = read_gauge(at, "connections", &l->connections, err);

	if (!r)
		r = read_rate_field(at, "connect_rate", &l->connect_rate, err);
	if (!r)
		r = read_gauge(at, "concurrency", &l->concurrency, err);
	if (!r)
		r = read_rate_field(at, "requests", &l->requests, err);
	if (!r)
		r = read_tokens(at, l, err);
	return r;
}

int policy_limits_read(const struct weir_json *at, struct weir_limits *out, struct weir_error *err)
{
	static const char *const fields[] = {
		"connections",
		"connect_rate",
		"half_open",
		"concurrency",
		"requests",
		"tokens",
		"services",
		"credit",
		"overage_limit",
		"topup",
		"request_cost_cap",
		"max_output_tokens",
		"max_input_tokens",
		"reserve_input_tokens",
		"reserve_output_tokens",
		"on_limit",
		"on_max_output",
		"on_exhausted",
		"fallback_model",
		"other_protocols",
		"on_agent_down",
		"abort",
		"bill_retries",
		"bill_cache_hits",
		"shadow",
		NULL,
	};
	struct weir_limits l = *out;
	int r = weir_json_object(at, fields, err);

	if (!r)
		r = read_counts(at, &l, err);
	if (!r)
		r = read_half_open(at, &l.half_open, err);
	if (!r)
		r = read_credit(at, &l, err);
	if (!r)
		r = read_top_up(at, &l, err);
	if (!r)
		r = read_cost_cap(at, &l.request_cost_cap_nano, err);
	if (!r)
		r = read_reserve(at, "reserve_input_tokens", &l.reserve_input_tokens, err);
	if (!r)
		r = read_reserve(at, "reserve_output_tokens", &l.reserve_output_tokens, err);
	if (!r)
		r = read_conduct(at, &l, err);
	if (!r)
		r = read_billing(at, &l, err);
	if (!r)
		r = read_forms(at, &l, err);
	if (!r)
		*out = l;
	return r;
}

int policy_scope_limits_read(const struct weir_json *at, struct weir_scope_policy *out,
			     struct weir_error *err)
{
	static const char *const fields[] = { "connections", "connect_rate", "concurrency",
					      "requests",    "tokens",	     "shadow",
					      NULL };
	struct weir_limits l;
	struct weir_json child;
	int r = weir_json_object(at, fields, err);

	policy_limits_init(&l);
	l.half_open = 0; /* these are reserved, bounded and priced at the tenant */
	l.reserve_input_tokens = 0;
	l.reserve_output_tokens = 0;
	if (!r)
		r = read_counts(at, &l, err);
	if (!r && weir_json_get(at, "shadow", &child))
		r = weir_json_bool(&child, &l.shadow, err);
	if (r)
		return r;
	out->limits = l;
	out->own_shadow = json_object_get(at->v, "shadow");
	return 0;
}
