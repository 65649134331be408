/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lines of an admitted request's head that the agent wants (weir_config's line_names), told as
 * they are: who the request is for is for user space to read. Nobody is judged by them here.
 *
 * Only the line leaves, not a byte of what is beside it in the head: that may be a key.
 */
#ifndef WEIR_LINES_H
#define WEIR_LINES_H

#include "reader.h"
#include "tenant.h"

/* The wanted name that a kept line begins with; WEIR_LINE_NAMES: none. */
weir_global weir_u32 weir_line_name(const struct weir_head *h, weir_u32 kept)
{
	const struct weir_config *c = weir_config();
	weir_u64 first, second;
	weir_u32 at, end, next;

	if (!h || !c || kept >= WEIR_HEAD_KEPT)
		return WEIR_LINE_NAMES;
	at = h->kept[kept].off;
	end = h->kept[kept].end;
	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX)
		return WEIR_LINE_NAMES;
	first = weir_load64(h->bytes + at) | WEIR_LOWER;
	second = weir_load64(h->bytes + at + 8) | WEIR_LOWER;
	next = c->line_first[weir_line_hash(first)];
#pragma clang loop unroll(disable)
	for (int k = 0; k < WEIR_LINE_NAMES; k++) {
		const struct weir_line_name *n;
		weir_u32 i = next - 1, colon;

		weir_opaque(i);
		if (i >= WEIR_LINE_NAMES)
			break;
		n = &c->line_names[i];
		next = n->next;
		if (((first & n->mask[0]) ^ n->word[0]) | ((second & n->mask[1]) ^ n->word[1]))
			continue;
		colon = at + n->len - 1;
		weir_opaque(colon);
		if (colon >= end || colon >= WEIR_HEAD_MAX || h->bytes[colon] != ':')
			continue;
		return i;
	}
	return WEIR_LINE_NAMES;
}

/* Is the value, from `at` to `end` of the head, just "0"? */
weir_inline bool weir_line_zero(const struct weir_head *h, weir_u32 at, weir_u32 end)
{
	at = weir_head_value(h, at);
	end = weir_head_value_end(h, at, end);
	weir_opaque(at);
	return at < WEIR_HEAD_MAX && end - at == 1 && h->bytes[at] == '0';
}

/* From the last but n of the ones on: a mask of n bytes, and zeros. A table, for a branch at each
 * word is too much for 6.1's verifier. */
static const weir_u8 weir_line_mask[2 * WEIR_LINE_LARGE] = { [0 ... WEIR_LINE_LARGE - 1] = 0xff };

/* A record of CLASS bytes of text; a macro, since both must be constants. What is behind the line
 * must be zeros, not the head's next line nor what the ring held before. */
#define WEIR_LINE_CLASS(CLASS)                                                                     \
	do {                                                                                       \
		struct weir_rec_line *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec) + (CLASS), 0); \
		if (!rec)                                                                          \
			goto lost;                                                                 \
		if (len > (CLASS)) {                                                               \
			len = (CLASS);                                                             \
			flags |= WEIR_LINE_CUT;                                                    \
		}                                                                                  \
		rec->h.type = WEIR_REC_LINE;                                                       \
		rec->h.flags = 0;                                                                  \
		rec->h.service = slot->service;                                                    \
		rec->h.slot = f->slot;                                                             \
		rec->h.ordinal = slot->ordinal;                                                    \
		rec->h.len = len;                                                                  \
		rec->h.time_ns = s->request.now_ns;                                                \
		rec->started_wall_ns = slot->started_wall_ns;                                      \
		rec->flags = flags;                                                                \
		rec->name = name;                                                                  \
		skip = WEIR_LINE_LARGE - len;                                                      \
		weir_opaque(skip);                                                                 \
		if (skip > WEIR_LINE_LARGE)                                                        \
			skip = WEIR_LINE_LARGE;                                                    \
		_Pragma("clang loop unroll(full)") for (weir_u32 i = 0; i < (CLASS); i += 8)       \
			weir_store64((weir_u8 *)(rec + 1) + i,                                     \
				     weir_load64(line + i) &                                       \
					     weir_load64(weir_line_mask + skip + i));              \
		bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);                                         \
	} while (0)

/* The kept line of that number, which has that name. 1: it was told, or lost. flags: enum
 * weir_label_flags. */
weir_global int weir_line_tell(struct weir_flow *f, weir_u32 kept, weir_u32 name, weir_u32 flags)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	const struct weir_slot *slot;
	const struct weir_reader *r;
	const struct weir_line_name *wanted;
	weir_u32 at, end, len, skip, index;
	const weir_u8 *line;

	if (!f || !c || !s)
		return 0;
	r = weir_reader(s->request.reader);
	slot = weir_slot(f);
	if (!r || !slot || kept >= WEIR_HEAD_KEPT)
		return 0;
	at = r->head.kept[kept].off;
	end = r->head.kept[kept].end;
	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX || end <= at)
		return 0;
	len = end - at;
	line = r->head.bytes + at;
	index = name; /* 6.1 forgets the bound of what was on the stack meanwhile */
	weir_opaque(index);
	if (index >= WEIR_LINE_NAMES)
		return 0;
	wanted = &c->line_names[index];
	if ((wanted->flags & WEIR_LINE_NOT_ZERO) && weir_line_zero(&r->head, at + wanted->len, end))
		return 0;
	/* The last of the room is kept for END records. */
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > c->ring_data_max)
		goto lost;
	if (len <= WEIR_LINE_SMALL)
		WEIR_LINE_CLASS(WEIR_LINE_SMALL);
	else
		WEIR_LINE_CLASS(WEIR_LINE_LARGE);
	return 1;
lost:
	weir_count(WEIR_TAP_LOST);
	return 1;
}

/* All of the head in the request's reader. */
weir_global int weir_lines_tell(struct weir_flow *f)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	weir_u32 n, flags, told = 0;
	const struct weir_reader *r;

	if (!f || !c || !s)
		return 0;
	r = weir_reader(s->request.reader);
	if (!r)
		return 0;
	n = r->head.n_kept;
	if (!n)
		return 0;
	flags = weir_trusted_peer(c, s->packet.src) ? WEIR_LABELS_TRUSTED : 0;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_HEAD_KEPT; i++) {
		weir_u32 name;

		if (i >= n || told >= WEIR_HEAD_LINES_MAX)
			break;
		name = weir_line_name(&r->head, i);
		if (name < WEIR_LINE_NAMES)
			told += weir_line_tell(f, i, name, flags);
	}
	return 0;
}

#endif
