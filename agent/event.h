/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as text: ledger entries and refusals as CloudEvents 1.0 (structured JSON). Its own writer,
 * because a JSON library takes longer than everything else a request costs. It reads no database
 * and sends nothing.
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
struct weir_reader;

#define WEIR_EVENT_UNKNOWN_SEQ UINT64_MAX

/* Where an event comes from. Of refusals the first two only. */
struct weir_event_origin {
	const char *ledger_id; /* weir_reader_ledger_id */
	const char *node;
	const char *service; /* of the row's number; NULL: nobody said */
	const char *path;    /* "top/middle/tenant"; NULL: the tenant alone */
	/* The entry before it in its lane; 0: it is the first; WEIR_EVENT_UNKNOWN_SEQ: left out. */
	uint64_t previous_seq;
};

/* All but the node from the ledger, as it was when the entry was made. To be called with the entry
 * of a walk of r at hand; the strings live until it is called for another. */
int weir_event_origin_of(struct weir_reader *r, const struct weir_entry *e, const char *node,
			 struct weir_event_origin *out, struct weir_error *err);

/* Bits of the kinds that share a lane with this one; 0: it is not published. */
uint32_t weir_event_lane(enum weir_entry_kind kind);

#define WEIR_EVENT_ID_TEXT 33

/* The first word of the subject an entry is published on, "meter", "alert" or "ledger"; NULL:
 * it is not published. */
const char *weir_event_topic(const struct weir_entry *e);

/* "meter.v1.acme.gpu-01": what it is published on; a tenant without a name is its number, "~7". */
#define WEIR_EVENT_SUBJECT 256
void weir_event_subject(const struct weir_entry *e, const char *node,
			char out[static WEIR_EVENT_SUBJECT]);

/*
 * What an entry is told as; out is overwritten. card is that of weir_entry_card_id
 * (weir_reader_card), NULL if there is none: then no lines.
 *
 *	WEIR_ENTRY_USAGE	weir.usage.v1, one request
 *	WEIR_ENTRY_METER	weir.usage.v1 too, with `dimension` and `quantity` (a decimal
 *				string) in place of a request's counts; usage_id is its
 *				sender's id, request_id the entry's
 *	WEIR_ENTRY_TOP_UP	weir.topup.v1: {tenant, wallet, balance, threshold, ask}
 *	any other		weir.ledger.v1: the entry as weir_entry_json writes it
 *
 * 0, -EINVAL for another kind, -ENOMEM. One line, no newline.
 */
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
int weir_event_denied_json(const struct weir_denied *d, const struct weir_event_origin *o,
			   struct weir_text *out, char id[WEIR_EVENT_ID_TEXT]);

/* weir.usage_refused.v1: a message that said what was used (meter_in.h) and cannot be
 * entered. With its text, so that it can be put right and sent again. */
#define WEIR_REFUSED_SHOWN 4096 /* bytes of a message */
struct weir_usage_refused {
	const char *tenant; /* of its subject */
	const char *reason;
	const char *subject;
	const char *message; /* as it came, any bytes */
	size_t message_len;
	uint64_t stream_seq, received_wall_ns; /* where and when the stream has it */
};
/* The id is made of where and when the stream has the message. */
int weir_event_usage_refused_json(const struct weir_usage_refused *u,
				  const struct weir_event_origin *o, struct weir_text *out,
				  char id[WEIR_EVENT_ID_TEXT]);

#endif
