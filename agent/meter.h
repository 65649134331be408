/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage that no request was: gigabytes stored, GPU seconds, documents. Somebody says how much
 * of what a tenant used; this checks it, finds the card that prices it and the wallet that
 * pays. `weirctl meter add` and usage over NATS are both this; entering it is the ledger's.
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

/* How far ahead of ours the clock of who reports may be. */
#define WEIR_METER_AHEAD_NS (5 * 60 * WEIR_SECOND)

/* As it was said, text from outside; NULL or "" where nothing was. */
struct weir_meter_use {
	const char *tenant;    /* a name that the policy or the ledger knows */
	const char *dimension; /* the name of a meter: [a-z0-9_-], at most 47 bytes */
	int64_t quantity_nano; /* above 0 */
	const char *model;
	const char *service; /* whose cards are asked; not kept */
	const char *feature;
	const char *session;
	bool trusted;	     /* the session is to be believed */
	uint64_t started_ns; /* wall */
	bool said_when;	     /* started_ns was asked for; else it is when it came, WEIR_OP_NOW is
			      * set, and a repetition at another time is the same */
	const char *key;     /* of the write: the same twice is entered once */
	const char *actor;
	const char *reason;
};

/*
 * The op to be entered, whole: what is asked, and, by the policy in force, wallet, card, entry,
 * discount, and whether the wallet pays (a tenant that left the policy has no terms: what it
 * used is kept, and nobody pays). -EINVAL, -ENOENT (no such tenant): err says which field.
 */
int weir_meter_op(const struct weir_agent_view *view, const struct weir_meter_use *use,
		  struct weir_op *op, struct weir_error *err);

#endif
