// SPDX-License-Identifier: Apache-2.0
/*
 * Where an event comes from: all of it follows from the ledger (delivery.md, 11), so that an
 * event is the same whoever makes it, and whenever.
 */
#include <errno.h>

#include "agent/event.h"
#include "agent/ledger_read.h"
#include "agent/naming.h"

#define METER  (1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER)
#define ALERT  (1u << WEIR_ENTRY_TOP_UP)
#define LEDGER (((1u << WEIR_ENTRY_KIND_MAX) - 2) & ~(METER | ALERT))

uint32_t weir_event_lane(enum weir_entry_kind kind)
{
	if (kind >= WEIR_ENTRY_KIND_MAX)
		return 0;
	return METER & 1u << kind    ? METER
	       : ALERT & 1u << kind  ? ALERT
	       : LEDGER & 1u << kind ? LEDGER
				     : 0;
}

/* Of what is in a month that was sealed and taken away, nobody can tell here. */
static int previous(struct weir_reader *r, const struct weir_entry *e, uint64_t *out,
		    struct weir_error *err)
{
	uint32_t kinds = weir_event_lane(e->kind);
	int ret = kinds ? weir_reader_previous(r, e->seq, kinds, out, err) : -ENOENT;

	if (ret != -ENOENT)
		return ret;
	*out = WEIR_EVENT_UNKNOWN_SEQ;
	return 0;
}

int weir_event_origin_of(struct weir_reader *r, const struct weir_entry *e, const char *node,
			 struct weir_event_origin *out, struct weir_error *err)
{
	struct weir_event_origin o = { .ledger_id = weir_reader_ledger_id(r), .node = node };
	int ret = previous(r, e, &o.previous_seq, err);

	if (!ret && e->row && e->row->service)
		ret = weir_reader_named(r, WEIR_NAMED_SERVICE, e->row->service, e->seq, &o.service,
					err);
	if (!ret)
		ret = weir_reader_named(r, WEIR_NAMED_PATH, e->tenant, e->seq, &o.path, err);
	if (!ret)
		*out = o;
	return ret;
}
