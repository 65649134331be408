/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as text: a ledger entry as a CloudEvent 1.0 (structured JSON), a
 * refusal as one. Its own writer, because a JSON library takes longer than everything else a
 * request costs. It reads no database and sends nothing.
 */
#ifndef WEIR_EVENT_H
#define WEIR_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger_entry.h"
#include "text.h"
#include "util.h"

struct weir_card;

/* Who speaks. All strings must outlive the call only. */
struct weir_event_origin {
	const char *ledger_id; /* weir_reader_ledger_id */
	const char *node;
	const char *const *services; /* names by service number; may be NULL */
	size_t n_services;
};

/* weir.usage.v1 of a WEIR_ENTRY_USAGE; out is overwritten. card is that of
 * row->card_id (weir_reader_card), NULL if there is none: then no lines.
 * 0, -EINVAL for another kind, -ENOMEM. One line, no newline. */
int weir_event_json(const struct weir_entry *e, const struct weir_event_origin *o,
		    const struct weir_card *card, struct weir_text *out);

/* weir.denied.v1: one per tenant, reason and second. */
struct weir_denied {
	const char *tenant;
	const char *reason;   /* weir_reason_names */
	int64_t limit;	      /* in the limit's own unit */
	bool limit_is_nano;   /* credit: the limit is written as a decimal string */
	const char *limit_of; /* whose: the tenant, its scope, one above; NULL: nobody's */
	bool shadow;	      /* nothing was refused, it would have been */
	uint64_t count;
	uint64_t first_wall_ns, last_wall_ns;
};
/* The id is made from node, tenant, reason, whose limit, shadow and the second of
 * first_wall_ns, so that the same second told twice is recognised. id (may be NULL): for
 * Nats-Msg-Id. */
#define WEIR_DENIED_ID_TEXT 33
int weir_event_denied_json(const struct weir_denied *d, const struct weir_event_origin *o,
			   struct weir_text *out, char id[WEIR_DENIED_ID_TEXT]);

#endif
