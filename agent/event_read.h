/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A weir.usage.v1 event read back into what it was made of: the other direction of event.c. What an
 * event does not say (the path, addresses, bytes) is not known then. It reads no database.
 */
#ifndef WEIR_EVENT_READ_H
#define WEIR_EVENT_READ_H

#include <stddef.h>
#include <stdint.h>

#include "ledger_entry.h"
#include "util.h"

/* A request's row, or the op of a report of usage; names where these have numbers. */
struct weir_event_usage {
	enum weir_entry_kind kind; /* WEIR_ENTRY_USAGE or _METER */
	struct weir_id id;
	struct weir_row row; /* but tenant, wallet, service, card_id */
	struct weir_op op;   /* likewise */
	char tenant[WEIR_NAME_BYTES];
	char wallet[WEIR_NAME_BYTES];  /* the tenant's name if it pays for itself */
	char service[WEIR_NAME_BYTES]; /* "": it does not say */
	char card[129], version[129];  /* "": no card priced it */
	uint64_t time_ns;	       /* of the event */
	int64_t price_nano, cost_nano; /* as it says */
	uint64_t ledger_seq;
};

/* -EINVAL with err: it is no such event, or says what we never would. */
int weir_event_read(const char *json, size_t n, struct weir_event_usage *out,
		    struct weir_error *err);

#endif
