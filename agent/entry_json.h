/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger entry as `weirctl ledger --json` prints it. It reads no database.
 */
#ifndef WEIR_ENTRY_JSON_H
#define WEIR_ENTRY_JSON_H

#include "ledger_entry.h"
#include "text.h"

struct weir_card;

/*
 * One object, one line without newline, of any kind; out is overwritten. card is that of
 * weir_entry_card_id (entry_out.h), NULL if there is none: then no lines. 0 or -ENOMEM.
 *
 * Always: seq, time, kind, amount, balance_before, balance_after, event_id, rate_card (null, or
 * {"name","version","entry"}), lines, burn, tenant, actor, prev_hash, hash; what else a kind has
 * to say stands before actor (ctl/protocol.md).
 */
int weir_entry_json(const struct weir_entry *e, const struct weir_card *card,
		    struct weir_text *out);

#endif
