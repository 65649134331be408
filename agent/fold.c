// SPDX-License-Identifier: Apache-2.0
#include "fold.h"

#include <string.h>

/* What a record of each type had at first. One that is shorter than ours is of an older
 * kernel program, and what it does not have is zero; one that is longer, of a newer. */
static const uint32_t least_bytes[] = {
	[WEIR_REC_REQUEST] = 152, [WEIR_REC_DATA] = 40,	 [WEIR_REC_END] = 72,
	[WEIR_REC_DENY] = 96,	  [WEIR_REC_BODY] = 112, [WEIR_REC_LABELS] = 152,
	[WEIR_REC_LINE] = 40,	  [WEIR_REC_ASKED] = 40,
};

/* The record as ours, in the ring or in `room`. */
static const void *ours(const struct weir_record *rec, uint32_t len, void *room, size_t size)
{
	if (len >= size)
		return rec;
	memset(room, 0, size);
	return memcpy(room, rec, len);
}

int weir_fold(struct weir_fold *f, const struct weir_record *rec, uint32_t len, uint64_t end)
{
	union {
		struct weir_rec_request request;
		struct weir_rec_body body;
		struct weir_rec_labels labels;
		struct weir_rec_end end;
		struct weir_rec_deny deny;
	} r;

	weir_fold_count(&f->n.records);
	if (len < sizeof(*rec) || rec->slot >= f->kernel->max_flows ||
	    rec->type >= sizeof(least_bytes) / sizeof(least_bytes[0]) ||
	    len < least_bytes[rec->type])
		return 0;
	switch (rec->type) {
	case WEIR_REC_REQUEST:
		weir_fold_request(f, ours(rec, len, &r, sizeof(r.request)), end);
		return 0;
	case WEIR_REC_LINE: /* these have bytes behind them, and never change */
		weir_fold_line(f, (const void *)rec, len, end);
		return 0;
	case WEIR_REC_ASKED:
		weir_fold_asked(f, (const void *)rec, len, end);
		return 0;
	case WEIR_REC_BODY:
		weir_fold_body(f, ours(rec, len, &r, sizeof(r.body)), end);
		return 0;
	case WEIR_REC_LABELS:
		weir_fold_labels(f, ours(rec, len, &r, sizeof(r.labels)), end);
		return 0;
	case WEIR_REC_DATA:
		weir_fold_answer(f, (const void *)rec, len, end);
		return 0;
	case WEIR_REC_END:
		return weir_fold_end(f, ours(rec, len, &r, sizeof(r.end)), end);
	case WEIR_REC_DENY:
		weir_denials_note(f->denials, ours(rec, len, &r, sizeof(r.deny)));
		return 0;
	}
	return 0;
}
