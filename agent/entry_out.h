/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger entry and the event made of it spell alike: the card and the lines of a
 * charge, recomputed from what the entry stores, and what it moved. Written with json_out.h;
 * the bounds are what to reserve for each.
 */
#ifndef WEIR_ENTRY_OUT_H
#define WEIR_ENTRY_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "json_out.h"
#include "ledger_entry.h"
#include "price.h"

#define WEIR_OUT_NAME_MAX    128 /* bytes shown of a card's name, and of its version */
#define WEIR_OUT_CARD_BYTES  (12 * WEIR_OUT_NAME_MAX + 256)
#define WEIR_OUT_LINES_BYTES (WEIR_LINES_MAX * 320 + 32)
#define WEIR_OUT_MOVE_BYTES  112 /* each, in "burn" or "moves" */

/* A charge, made again. */
struct weir_priced {
	const struct weir_card *card; /* NULL: nothing priced it */
	uint32_t entry;
	struct weir_charge charge;
};

/* Price an entry again with the card of its card_id (NULL: there is none), its quantities and
 * its positions (ledger.md, 20). usage and meter only. */
void weir_entry_priced(const struct weir_entry *e, const struct weir_card *card,
		       struct weir_priced *out);
/* Its card's id; 0: no card priced it. */
uint32_t weir_entry_card_id(const struct weir_entry *e);

/* "rate_card": {"name","version","entry"}, with "factor" if it is not 1. */
void weir_put_card(struct weir_out *o, const struct weir_priced *p);
/* "lines": [{"dimension","priced_as","quantity","unit_price","per","position","amount"}]; priced_as
 * if it is another, position where a dimension has steps. Seconds and units are decimal strings. */
void weir_put_lines(struct weir_out *o, const struct weir_priced *p);
/* "burn": [{"grant_seq","amount"}], what lots gave for it; "expired": true where they had expired.
 * Empty for what uses nothing (a void, an expiry). Then "debt", what it changed by, if it did. */
void weir_put_burn(struct weir_out *o, const struct weir_entry *e);

#endif
