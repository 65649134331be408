/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage that no request was: gigabytes stored, GPU seconds, documents. Somebody says how much
 * of what a tenant used; this finds the card that prices it and the wallet that pays, and has
 * the writer enter it. `weirctl meter add` and usage over NATS are both this.
 *
 * What no card prices is entered all the same, flagged, at price 0, and alarmed: it is not
 * refused, because it was used.
 */
#ifndef WEIR_METER_H
#define WEIR_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "agent_view.h"
#include "ledger_entry.h"
#include "util.h"

/* As it was asked, text from outside; NULL or "" where nothing was said. */
struct weir_meter {
	const char *tenant;    /* a name that the policy or the ledger knows */
	const char *dimension; /* the name of a meter: [a-z0-9_-], at most 47 bytes */
	const char *quantity;  /* decimal above 0 with at most nine decimals, such as "1.5" */
	const char *model;
	const char *service; /* whose cards are asked; not kept */
	const char *feature;
	const char *session;
	bool trusted;	  /* the session is to be believed */
	uint64_t used_ns; /* wall, not in the future; 0: now */
	const char *key;  /* of the write: the same twice is entered once */
	const char *actor;
	const char *reason;
};

/* What came of it, besides struct weir_done. */
struct weir_metered {
	struct weir_done done;
	bool unpriced;		    /* no card in force has a price for it */
	char card[64], version[64]; /* that priced it; "": none */
	uint32_t entry;
};

/*
 * Check it, price it, and enter it durably. Any thread but the writer's. 0, or as
 * weir_ledger_post, and -EINVAL, -ENOENT for what is wrong with m; err says which field.
 */
int weir_meter_post(const struct weir_agent_view *view, const struct weir_meter *m,
		    struct weir_metered *out, struct weir_error *err);

/* The first half, for tests: the op as it is entered when it is now_ns (wall). *out's card,
 * version, entry and unpriced are filled in. */
int weir_meter_op(const struct weir_agent_view *view, const struct weir_meter *m, uint64_t now_ns,
		  struct weir_op *op, struct weir_metered *out, struct weir_error *err);

#endif
