/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on the control socket, as its handler sees it. Handlers
 * (control_<noun>.c) read arguments through a strict cursor, answer through
 * these calls, and never touch the socket.
 *
 * A handler returns 0 after at most one weir_call_result, or -errno with err
 * filled in: that becomes the reply's error. -EPIPE means that the client is
 * gone and nothing need be said.
 */
#ifndef WEIR_CONTROL_CALL_H
#define WEIR_CONTROL_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_view.h"
#include "json.h"
#include "ledger_read.h"
#include "util.h"

struct weir_client; /* control.c */
struct weir_writes; /* control_key.c */

struct weir_call {
	const struct weir_agent_view *view;
	struct weir_json args; /* the request, an object */
	const char *actor;     /* who asks: a user's name or "uid 1000" */
	struct weir_writes *writes;
	struct weir_client *client; /* control.c's */
	json_t *result;		    /* control.c's */
};

typedef int weir_call_fn(struct weir_call *c, struct weir_error *err);

struct weir_operation {
	const char *name;
	weir_call_fn *run;
	const char *const *fields; /* that the request may have, besides "op" */
	bool endless;		   /* may run until the client goes */
};

/* control_table.c. NULL: there is none of that name, err suggests one. */
const struct weir_operation *weir_operation_find(const char *name, struct weir_error *err);

/* One of possibly many items, sent as it comes. item is taken, also on failure;
 * NULL is -ENOMEM. The text is one JSON value without newline. */
int weir_call_item(struct weir_call *c, json_t *item);
int weir_call_item_text(struct weir_call *c, const char *text, size_t len);
int weir_call_flush(struct weir_call *c); /* what was sent so far reaches the client */

/* The reply's result; taken. NULL is -ENOMEM, so json_pack's result may be passed. */
int weir_call_result(struct weir_call *c, json_t *result);

/* Wait so long for the client to go (or to send something, which ends a request
 * without end) or for the agent to stop: true if either came. */
bool weir_call_over(struct weir_call *c, unsigned wait_ms);

/* Does the agent stop? For what takes long and sends nothing meanwhile: then end with -EPIPE. */
bool weir_call_stopping(struct weir_call *c);

/* Has the client hung up, or does the agent stop? Likewise. One that has only nothing more to say
 * (shutdown) is still there. */
bool weir_call_gone(struct weir_call *c);

/* How far a walk of the log is: a line to the client four times a second, if it asked for it. */
struct weir_call_progress {
	bool wanted;
	const char *phase;	 /* of several walks; NULL: there is one */
	uint64_t newest, oldest; /* entries it is between; oldest 0 is not told */
	uint64_t told_ns;	 /* monotonic; 0: now */
};

/* At each page: entry seq is looked at. Not 0 ends the walk: -EPIPE, the client has hung up, which
 * is looked for as often, so that nobody's walk keeps the disk busy. */
int weir_call_page(struct weir_call *c, struct weir_call_progress *p, uint64_t seq);

/* Is the client root, or whoever the agent runs as? Others may be of the socket's group. */
bool weir_call_by_root(struct weir_call *c);

/* This client's reader of the ledger, opened when first wanted; NULL with err. */
struct weir_reader *weir_call_reader(struct weir_call *c, struct weir_error *err);

/* --- arguments ------------------------------------------------------------ */

/* Optional string / integer / flag / RFC 3339 time: untouched when absent. */
int weir_call_string(struct weir_call *c, const char *name, size_t max, const char **out,
		     struct weir_error *err);
int weir_call_int(struct weir_call *c, const char *name, int64_t min, int64_t max, int64_t *out,
		  struct weir_error *err);
int weir_call_bool(struct weir_call *c, const char *name, bool *out, struct weir_error *err);
int weir_call_time(struct weir_call *c, const char *name, uint64_t *wall_ns,
		   struct weir_error *err);

/* "tenant": a name the policy or the ledger knows; with a suggestion if neither
 * does. Required unless `optional`: then *name stays NULL and *index 0. */
int weir_call_tenant(struct weir_call *c, bool optional, const char **name, uint32_t *index,
		     struct weir_error *err);

/* "tenant", "since" and "limit" into a query. */
int weir_call_query(struct weir_call *c, struct weir_entry_query *q, bool tenant_optional,
		    const char **tenant, struct weir_error *err);

/* --- values ---------------------------------------------------------------- */

json_t *weir_json_money(int64_t nano);	  /* decimal string */
json_t *weir_json_time(uint64_t wall_ns); /* RFC 3339; null for 0 */
json_t *weir_json_count(uint64_t n);	  /* integer, held below 2^63 */
json_t *weir_json_text(const char *text); /* null for NULL; bytes that are not UTF-8 become ? */

/* What a tenant has left, from its kernel entry (weir_abi.h). */
struct weir_live {
	int64_t requests_remaining; /* -1: no limit */
	int64_t tokens_remaining;   /* -1: no limit */
	int64_t reserved_nano;
	int64_t reserved_tokens;
};
void weir_live_figures(const struct weir_tenant *t, uint64_t mono_ns, struct weir_live *out);
/* {"connections","inflight","requests_remaining",…}, with the wallet's balance. */
json_t *weir_live_json(const struct weir_agent_view *v, uint32_t tenant);
/* The same of one entry, tenant or scope, without money. */
json_t *weir_gauges_json(const struct weir_tenant *t, const struct weir_live *live);
/* status --json; used by the page too. */
json_t *weir_status_json(const struct weir_agent_view *v);
/* Does the node enforce, who switched it, and when. */
json_t *weir_enforce_json(const struct weir_status *s);
/* An entry's name; null for nobody, "~7" for a number without a name. */
json_t *weir_entry_name_json(const struct weir_agent_view *v, uint32_t entry);

/* --- memory of writes that the ledger does not remember by id --------------- */

struct weir_writes *weir_writes_new(void);
void weir_writes_free(struct weir_writes *w);

/* --- the handlers ----------------------------------------------------------- */

weir_call_fn weir_do_status, weir_do_top;
weir_call_fn weir_do_policy_show, weir_do_policy_apply;
weir_call_fn weir_do_tenant_list, weir_do_tenant_show;
weir_call_fn weir_do_tenant_suspend, weir_do_tenant_resume;
weir_call_fn weir_do_enforce_show, weir_do_enforce_set;
weir_call_fn weir_do_key_add, weir_do_key_list, weir_do_key_revoke;
weir_call_fn weir_do_credit_grant, weir_do_credit_adjust, weir_do_credit_deduct;
weir_call_fn weir_do_credit_packs, weir_do_credit_sell;
weir_call_fn weir_do_credit_void, weir_do_credit_stop, weir_do_credit_refund;
weir_call_fn weir_do_credit_recur, weir_do_credit_schedules;
weir_call_fn weir_do_credit_balance, weir_do_credit_breakage;
weir_call_fn weir_do_ledger_list, weir_do_ledger_verify;
weir_call_fn weir_do_usage, weir_do_trace, weir_do_events, weir_do_why;
weir_call_fn weir_do_events_verify;
weir_call_fn weir_do_price_list, weir_do_price_show, weir_do_price_unpriced;
weir_call_fn weir_do_price_estimate, weir_do_margin, weir_do_meter_add;
weir_call_fn weir_do_backup, weir_do_ledger_seal;

#endif
