// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes of answers into their parsers. A parser is plain data, but what it remembers of compressed
 * bytes is in the decoders: who takes the slot gives that back.
 */
#include <string.h>

#include "fold.h"

void weir_fold_forget(struct weir_fold *f, uint32_t slot)
{
	weir_response_end(&weir_state_open_of(f->state, slot)->response, f->decoders);
}

bool weir_fold_begin(struct weir_fold *f, const struct weir_rec_request *rec, uint64_t end)
{
	const struct weir_open *now = weir_state_open_of(f->state, rec->h.slot);
	struct weir_open *o;

	if (now->next_pos >= end)
		return false;
	weir_fold_forget(f, rec->h.slot); /* one whose END was lost */
	o = weir_state_spare(f->state, rec->h.slot);
	o->next_pos = end;
	o->started_wall_ns = rec->started_wall_ns;
	o->started_ns = rec->h.time_ns;
	o->offset = 0;
	o->ordinal = rec->h.ordinal;
	o->ttft_us = 0;
	weir_response_init(&o->response, rec->flags & WEIR_SLOT_HEAD_METHOD);
	weir_state_flip(f->state, rec->h.slot);
	return true;
}

void weir_fold_answer(struct weir_fold *f, const struct weir_rec_data *rec, uint32_t len,
		      uint64_t end)
{
	const struct weir_open *now = weir_state_open_of(f->state, rec->h.slot);
	struct weir_open *o;

	if (now->next_pos >= end)
		return;
	if (now->started_wall_ns != rec->started_wall_ns || now->ordinal != rec->h.ordinal ||
	    rec->h.len > len - sizeof(*rec)) {
		weir_fold_count(&f->n.orphans);
		return;
	}
	o = weir_state_spare(f->state, rec->h.slot);
	*o = *now;
	o->next_pos = end;
	if (rec->offset > o->offset)
		weir_response_skip(&o->response, rec->offset - o->offset);
	weir_response_feed(&o->response, f->decoders, rec + 1, rec->h.len);
	o->offset = rec->offset + rec->h.len;
	if (!o->ttft_us && o->response.seen.body_started)
		o->ttft_us = (rec->h.time_ns - o->started_ns) / 1000;
	/* Before the flip: killed in between, the record is folded again and the mark is stored
	 * again, which names the same request and so changes nothing. */
	weir_cost_cap_check(&f->cap, weir_state_asked_of(f->state, rec->h.slot), now, o,
			    rec->h.slot);
	weir_state_flip(f->state, rec->h.slot);
}
