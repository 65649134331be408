/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Walks over the chunk framing in one packet, through small windows.
 */
#ifndef WEIR_CHUNK_WALK_H
#define WEIR_CHUNK_WALK_H

#include "maps.h"

#define WEIR_WALK_STEPS 32
#define WEIR_WALKS	64 /* of so many steps: what one packet may hold of framing */

/* Walk over chunk framing from w->off towards w->end. Returns 1 when the segment
 * or the body is over. */
weir_global int weir_walk_chunks(struct __sk_buff *skb, struct weir_chunk_walk *w)
{
	if (!w)
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_WALK_STEPS; i++) {
		weir_u32 off = *(volatile weir_u32 *)&w->off;
		weir_u32 rest = w->end - off, n = rest;

		if (off >= w->end || w->chunk.phase >= WEIR_CHUNK_DONE)
			return 1;
		if (n > WEIR_CHUNK_WINDOW)
			n = WEIR_CHUNK_WINDOW;
		if (!weir_within(&n, WEIR_CHUNK_WINDOW) ||
		    bpf_skb_load_bytes(skb, off, w->window, n)) {
			w->chunk.phase = WEIR_CHUNK_BAD;
			return 1;
		}
		w->off = off + weir_chunk_window(&w->chunk, w->window, n, rest, w->strict);
	}
	return 0;
}

#endif
