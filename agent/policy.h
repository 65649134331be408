/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files: tiers, tenants, rate cards, credit packs. All *.json of a folder, in name
 * order, are one document. Reading is all or
 * nothing: an unknown field, a wrong type, an overflow, a duplicate, a key or a
 * prefix that two tenants claim is an error that names file, path and value.
 * A policy is immutable once read, and reference counted.
 */
#ifndef WEIR_POLICY_H
#define WEIR_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "prefix.h"
#include "util.h"

enum weir_on_agent_down {
	WEIR_DOWN_HOLD,	 /* go on against the last figures */
	WEIR_DOWN_OPEN,	 /* credit and tokens are not checked */
	WEIR_DOWN_CLOSED /* refuse */
};

/* An answer whose client left in the middle of it is billed for … */
enum weir_abort {
	WEIR_ABORT_PRODUCED, /* what the server had produced by then */
	WEIR_ABORT_FULL,     /* all the output tokens it might have had */
	WEIR_ABORT_FREE,     /* nothing */
};

enum weir_credit { WEIR_CREDIT_NONE, WEIR_CREDIT_HARD, WEIR_CREDIT_SOFT };

/* A rate: `count` (to 1e9) per `period_ns`, at most `burst` (to 2^40; of requests and
 * connections to 2^32 - 1) at once. count 0: no such limit. An empty bucket fills within
 * a hundred years: burst x period_ns / count and a time added to it fit 63 bits. */
struct weir_rate {
	uint64_t count;
	uint64_t period_ns;
	uint64_t burst;
};

/* A tenant's limits with overrides applied; -1 / count 0 where there is none. */
struct weir_limits {
	int64_t connections; /* -1: no limit */
	int64_t concurrency; /* -1: no limit */
	struct weir_rate connect_rate;
	struct weir_rate requests;
	struct weir_rate tokens;
	uint32_t cached_weight_ppm; /* of a cached token against tokens/min: "0.1" is 100000;
				     * default "1": it counts like any other */
	enum weir_credit credit;
	int64_t overage_nano;	   /* soft: how far below zero */
	int64_t top_up_below_nano; /* somebody is to be asked when the balance falls below; */
	int64_t top_up_ask_nano;   /* for how much; 0: nobody is */
	uint32_t reserve_input_tokens;
	uint32_t reserve_output_tokens;
	bool drop; /* on_limit "drop" */
	bool shadow;
	int on_agent_down;	    /* enum weir_on_agent_down */
	uint32_t max_input_tokens;  /* 0: no limit */
	uint32_t max_output_tokens; /* 0: no limit */
	bool refuse_output;	    /* on_max_output "refuse"; default "rewrite" */
	bool degrade;		    /* on_exhausted "degrade": needs fallback_model and credit */
	bool pass_protocols;	    /* other_protocols "pass"; default "refuse" */
	char fallback_model[WEIR_MODEL_BYTES]; /* "": none */
	uint32_t half_open; /* handshakes not complete; default 1024, to 65535; 0: no bound */
	int64_t request_cost_cap_nano; /* an answer is cut when it costs more; 0: none */
	int abort;		       /* enum weir_abort; default "produced" */
	bool free_retries;	       /* bill_retries false; default true */
	bool free_cache_hits;	       /* bill_cache_hits false; default true */
};

/* Limits that hold besides the tenant's own for what comes to one service: connections,
 * connect_rate, concurrency, requests, tokens, shadow; the rest of `limits` is neutral. */
struct weir_scope_policy {
	const char *service; /* a name; the agent warns if it has no such service */
	bool own_shadow;     /* it says so itself: else it is the tenant's */
	struct weir_limits limits;
};

struct weir_tenant_policy {
	const char *name;
	const char *tier; /* name of its tier */
	struct weir_limits limits;
	const uint8_t (*keys)[32]; /* SHA-256 */
	size_t n_keys;
	const struct weir_source_prefix *sources;
	size_t n_sources;
	const char *parent; /* name of a tenant, two levels above at most; NULL: none */
	const char *wallet; /* name of the tenant that pays, itself paid by nobody; NULL: itself */
	const struct weir_scope_policy *scopes; /* of tier and overrides ("services"), by name */
	size_t n_scopes;
};

struct weir_card; /* price.h */

/* What `credit sell` sells: credit with a price. */
struct weir_pack {
	const char *name;
	int64_t amount_nano;
	int64_t bonus_nano;    /* on top, promo; 0: none */
	int64_t price_nano;    /* in nano of the currency */
	char currency[4];      /* "USD"; "": no price is said */
	uint32_t expires_days; /* from its sale on; 0: never */
	uint8_t source;	       /* enum weir_grant_source: paid, promo or trial */
	uint8_t priority;
};

struct weir_policy {
	struct weir_tenant_policy *tenants; /* sorted by name */
	size_t n_tenants;
	const char **tiers; /* names, sorted */
	size_t n_tiers;
	struct weir_card **cards; /* sorted by effective_from */
	size_t n_cards;
	uint64_t serial;	 /* no two policies that were read have the same; never 0 */
	struct weir_pack *packs; /* sorted by name */
	size_t n_packs;
	const char *default_tenant; /* NULL: none */
	bool unknown_key_default;   /* unknown_key "default"; else refuse */
	char *json;		    /* the merged document, canonical, for `policy show` */
	void *storage;		    /* private */
	int refs;		    /* private */
};

/*
 * Read every *.json of dir (not below it, not hidden files). On success *out has one
 * reference. A tier, a tenant, a pack, default_tenant or unknown_key that two files define is an
 * error, but 90-local.json replaces what files before it say, whole objects at a time;
 * what it replaces is not looked at. Rate cards add up. null for a limit means none. An
 * override replaces the tier's field whole: {"requests": {"per_minute": 5}} has burst 5.
 */
int weir_policy_load(const char *dir, struct weir_policy **out, struct weir_error *err);
struct weir_policy *weir_policy_ref(struct weir_policy *p);
void weir_policy_unref(struct weir_policy *p); /* NULL is fine */
const struct weir_tenant_policy *weir_policy_tenant(const struct weir_policy *p, const char *name);
const struct weir_pack *weir_policy_pack(const struct weir_policy *p, const char *name);

#endif
