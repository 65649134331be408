/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CLI's files share: the table of commands, a parsed command line, and
 * one request to the agent. The table (commands.c) is the only list of what
 * there is: parsing, help, man page and completion are made from it.
 */
#ifndef WEIR_CTL_H
#define WEIR_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/util.h"

#define CTL_SOCKET	"/run/weir/agent.sock"
#define CTL_MAX_ARGS	4
#define CTL_MAX_OPTIONS 16

enum ctl_exit {
	CTL_DONE = 0,
	CTL_REFUSED = 1,     /* by the agent, or a check failed */
	CTL_USAGE = 2,	     /* the command line */
	CTL_UNREACHABLE = 3, /* no agent */
	CTL_UNKNOWN = 4,     /* a write was sent, no answer came */
};

struct ctl_option {
	const char *name; /* "--source" */
	const char *arg;  /* "SOURCE", NULL: a flag */
	const char *help;
};

struct ctl;

struct ctl_command {
	const char *noun;
	const char *verb; /* one word or two ("recur list"); NULL: the noun alone */
	const char *args; /* "TENANT [AMOUNT]"; TENANT and DIR are completed */
	size_t min_args, max_args;
	const char *summary; /* one line, lower case, no full stop */
	const char *details; /* NULL, or sentences for help and man page */
	bool writes;	     /* takes --id */
	int (*run)(struct ctl *c);
	struct ctl_option options[CTL_MAX_OPTIONS]; /* ends at name NULL; --json is everywhere */
};

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_n_commands;
extern const struct ctl_option ctl_global_options[]; /* ends at name NULL */

struct ctl {
	const char *socket;
	bool json;
	const struct ctl_command *command;
	size_t n_args;
	const char *args[CTL_MAX_ARGS];
	const char *values[CTL_MAX_OPTIONS]; /* of command->options; a flag's is "" */
	char id[64];			     /* of a write */
	bool id_made_up;
	char again[192]; /* of a write: what to give besides --id, so that it is the same again */
	int fd;		 /* to the agent; -1: not connected */
	char *in;
	size_t in_len, in_cap, in_used;
};

/* Parses into *c; prints what is wrong. CTL_DONE or CTL_USAGE. */
int ctl_parse(struct ctl *c, int argc, char **argv);

/* How many of the words name the command: noun and verb. 0: they name another. */
size_t ctl_match(const struct ctl_command *m, const char *const *words, size_t n);

/* Value of an option of the command ("" for a flag), NULL if not given. */
const char *ctl_value(const struct ctl *c, const char *option);

/* "weirctl: …" on stderr; returns status, so: return ctl_fail(CTL_USAGE, "…"). */
int ctl_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- requests --------------------------------------------------------------- */

/* Called per item; not 0 ends the request and is the exit status. */
typedef int (*ctl_item_fn)(json_t *item, void *ctx);

/* Send a request (taken) and read the whole reply. Errors are printed. *result
 * (may be NULL) is the caller's. Returns an enum ctl_exit, or item's status. */
int ctl_request(struct ctl *c, json_t *request, ctl_item_fn item, void *ctx, json_t **result);
/* The same without printing, for completion and top: *why is set on failure. */
int ctl_try(struct ctl *c, json_t *request, ctl_item_fn item, void *ctx, json_t **result,
	    struct weir_error *why);
void ctl_disconnect(struct ctl *c);

/* {"op":op} with the command's TENANT, and its id if it is a write. */
json_t *ctl_op(const struct ctl *c, const char *op);
/* Set a member if text is not NULL. */
void ctl_set(json_t *o, const char *name, const char *text);

/* --- output ------------------------------------------------------------------ */

/* One line of compact JSON; value is borrowed. Returns CTL_DONE. */
int ctl_print_json(const json_t *value);
int ctl_print_item(json_t *item, void *ctx); /* a ctl_item_fn */
/* Print the result of a request as JSON, or hand it to `show`. */
int ctl_show(struct ctl *c, json_t *request, int (*show)(struct ctl *c, const json_t *result));

/* Members for people: "-" for null or a missing one; integers in decimal. Up to
 * CTL_CELL bytes, control characters replaced: model names come from outside. */
#define CTL_CELL 96
const char *ctl_text(const json_t *o, const char *name, char out[static CTL_CELL]);
int64_t ctl_int(const json_t *o, const char *name); /* 0 if it is none */
void ctl_bytes(uint64_t n, char out[static CTL_CELL]);
void ctl_duration(uint64_t seconds, char out[static CTL_CELL]);
/* "2026-11-01T10:20:30Z", decimals left out. */
const char *ctl_when(const json_t *o, const char *name, char out[static CTL_CELL]);

/* Text and a newline, in lines of at most 80 bytes, each from column `indent` on; the cursor is at
 * column `at`. */
void ctl_wrap(const char *text, size_t at, size_t indent);

/* A table for people: columns as wide as they need be. A name that starts with
 * ">" is a column of figures, aligned right. */
struct ctl_table;
struct ctl_table *ctl_table_new(size_t columns, const char *const *names);
void ctl_table_cell(struct ctl_table *t, const char *text); /* the next one, row by row */
void ctl_table_field(struct ctl_table *t, const json_t *o, const char *name);
void ctl_table_print(struct ctl_table *t, const char *empty); /* and frees it */

/* How far a walk through the ledger is, on stderr if that is a terminal: ask for it, and hand each
 * item to it (true: it was of that). ctl_request takes it away again. */
void ctl_progress_ask(json_t *request);
bool ctl_progress(const json_t *item);
int ctl_progress_item(json_t *item, void *ctx); /* a ctl_item_fn of nothing but these */
void ctl_progress_end(void);

/* A time of the command line: RFC 3339, a date, or a span such as 90m, 12h, 7d
 * before (sign -1) or after (sign 1) now. CTL_DONE or CTL_USAGE, printed. */
int ctl_time(const char *option, const char *text, int sign, char out[static WEIR_TIME_TEXT]);

/* --- the commands ------------------------------------------------------------- */

int ctl_status(struct ctl *c);
int ctl_top(struct ctl *c);
int ctl_policy_check(struct ctl *c);
int ctl_policy_apply(struct ctl *c);
int ctl_policy_show(struct ctl *c);
int ctl_tenant_list(struct ctl *c);
int ctl_tenant_show(struct ctl *c);
int ctl_tenant_suspend(struct ctl *c);
int ctl_tenant_resume(struct ctl *c);
int ctl_enforce_show(struct ctl *c);
int ctl_enforce_off(struct ctl *c);
int ctl_enforce_on(struct ctl *c);
int ctl_key_add(struct ctl *c);
int ctl_key_list(struct ctl *c);
int ctl_key_revoke(struct ctl *c);
int ctl_credit_grant(struct ctl *c);
int ctl_credit_packs(struct ctl *c);
int ctl_credit_sell(struct ctl *c);
int ctl_credit_recur(struct ctl *c);
int ctl_credit_recur_list(struct ctl *c);
int ctl_credit_recur_stop(struct ctl *c);
int ctl_credit_void(struct ctl *c);
int ctl_credit_refund(struct ctl *c);
int ctl_credit_adjust(struct ctl *c);
int ctl_credit_deduct(struct ctl *c);
int ctl_credit_balance(struct ctl *c);
int ctl_credit_breakage(struct ctl *c);
int ctl_ledger_list(struct ctl *c);
int ctl_ledger_verify(struct ctl *c);
int ctl_ledger_seal(struct ctl *c);
int ctl_backup(struct ctl *c);
int ctl_usage(struct ctl *c);
int ctl_trace(struct ctl *c);
int ctl_events(struct ctl *c);
int ctl_events_verify(struct ctl *c);
int ctl_why(struct ctl *c);
int ctl_price_list(struct ctl *c);
int ctl_price_show(struct ctl *c);
int ctl_price_estimate(struct ctl *c);
int ctl_price_import(struct ctl *c);
int ctl_price_unpriced(struct ctl *c);
int ctl_margin(struct ctl *c);
int ctl_meter_add(struct ctl *c);
int ctl_help(struct ctl *c);
int ctl_version(struct ctl *c);
int ctl_complete(int argc, char **argv);

#endif
