/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switches that outlive the agent: a tenant is suspended, a node enforces. Each throw
 * is a row that stays; the last one of a switch holds, and one never thrown is in its
 * rest position. Knows the table, not the kernel.
 */
#ifndef WEIR_LEDGER_SWITCH_H
#define WEIR_LEDGER_SWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"
#include "util.h"

struct weir_reader; /* ledger_read.h */

enum weir_switch_name {
	WEIR_SWITCH_SUSPENDED, /* of a tenant; rests off */
	WEIR_SWITCH_ENFORCE,   /* of the node (tenant 0); rests on */
};

struct weir_switch {
	uint64_t seq; /* 0: never thrown */
	char id[64];  /* of the write */
	enum weir_switch_name name;
	uint32_t tenant; /* 0: the node */
	bool on;
	bool now;	  /* what was in flight was to be cut */
	uint64_t time_ns; /* wall */
	char actor[64];
	char reason[128];
};

/*
 * Throw it: durable on return, seq and time_ns filled in. The same id again with the same
 * content (name, tenant, on, now, reason) changes nothing and fills *s with what was
 * written then, *repeated; with other content it is -EEXIST. -ENOENT: no such tenant.
 */
int weir_ledger_switch(struct weir_ledger *l, struct weir_switch *s, bool *repeated,
		       struct weir_error *err);

/* Its state: the last throw, or seq 0 and the rest position. */
int weir_ledger_switch_state(struct weir_ledger *l, enum weir_switch_name name, uint32_t tenant,
			     struct weir_switch *out, struct weir_error *err);
int weir_reader_switch_state(struct weir_reader *r, enum weir_switch_name name, uint32_t tenant,
			     struct weir_switch *out, struct weir_error *err);

/* The last throw of every switch ever thrown, by tenant. *out is the caller's to free. */
int weir_ledger_switches(struct weir_ledger *l, enum weir_switch_name name,
			 struct weir_switch **out, size_t *n, struct weir_error *err);

/* Called per throw; not 0 ends the walk and is its result. */
typedef int (*weir_switch_fn)(const struct weir_switch *s, void *ctx);

/* Every throw of one switch, newest first, at most `limit` of them (0: all). */
int weir_reader_switch_history(struct weir_reader *r, enum weir_switch_name name, uint32_t tenant,
			       size_t limit, weir_switch_fn fn, void *ctx, struct weir_error *err);

#endif
