/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Readers: where heads are taken apart, and what is remembered of segments that the
 * server has not acknowledged yet. A reader is named by its index in the map; the
 * functions that do the work take it by that name, so that each is verified once.
 */
#ifndef WEIR_READER_H
#define WEIR_READER_H

#include "flow.h"

weir_inline struct weir_reader *weir_reader(weir_u32 index)
{
	return bpf_map_lookup_elem(&readers, &index);
}

/* More of a body that is followed came: its time begins anew. A tick's precision will do. */
weir_inline void weir_reader_goes_on(const struct weir_flow *f)
{
	struct weir_reader *r = weir_reader(f->reader);

	if (r)
		r->began_ns = bpf_ktime_get_coarse_ns();
}

/* This CPU's own, for what is whole in one packet. */
weir_inline weir_u32 weir_reader_own(void)
{
	return bpf_get_smp_processor_id();
}

/* One more head in parts of this client's address. false: it has as many as it may. */
weir_inline bool weir_head_place_take(const struct weir_scratch *s, struct weir_reader *r)
{
	const struct weir_config *c = weir_config();
	const weir_u8 *client = s->key.client;
	weir_u64 hash = s->packet.v6 ? weir_load32(client) | (weir_u64)weir_load32(client + 4) << 32
				     : weir_load32(client + 12);
	weir_u32 place, *n;

	if (!c)
		return true;
	hash = (hash ^ c->hash_key) * 0x9e3779b97f4a7c15ULL;
	place = hash >> 52;
	n = bpf_map_lookup_elem(&heads_waiting, &place);
	if (!n)
		return true;
	if (__sync_fetch_and_add(n, 1) >= c->max_heads_per_source) {
		__sync_fetch_and_add(n, -1);
		return false;
	}
	r->place = place + 1;
	return true;
}

/* Take a free one. 0: there is none. */
weir_inline weir_u32 weir_reader_take(weir_u64 now_ns)
{
	struct weir_reader *r;
	weir_u32 index = 0;

	if (bpf_map_pop_elem(&free_readers, &index))
		return 0;
	r = weir_reader(index);
	if (!r)
		return 0;
	r->n_parts = 0;
	r->place = 0;
	r->began_ns = now_ns;
	r->until = 0;
	r->data_seq = 0;
	r->n_data = 0;
	r->rule = 0;
	r->body_bytes = 0;
	r->degrade = 0;
	r->n_edits = 0;
	r->max_tokens = ~0ULL;
	r->told = 0;
	r->body.state.model_len = 0;
	return index;
}

/* Done with, once the server has all that was read? */
weir_inline void weir_reader_settle(struct weir_flow *f)
{
	struct weir_reader *r = weir_reader(f->reader);

	if (f->request_phase == WEIR_REQ_HEAD && r && (weir_s32)(f->acked - r->until) >= 0)
		weir_reader_drop(f);
}

/* Add len bytes at off of the packet to the head in a reader. Returns enum weir_head_result;
 * BAD also if the bytes cannot be read. */
weir_global int weir_reader_add(struct __sk_buff *skb, weir_u32 index, weir_u32 off, weir_u32 len)
{
	struct weir_reader *r = weir_reader(index);
	struct weir_head *h;

	if (!r)
		return WEIR_HEAD_BAD;
	h = &r->head;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_HEAD_MAX / WEIR_HEAD_LOAD + 1; i++) {
		weir_u32 n = len < WEIR_HEAD_LOAD ? len : WEIR_HEAD_LOAD;
		weir_u32 at = h->len, taken;

		if (!len)
			return WEIR_HEAD_MORE;
		weir_opaque(at);
		if (at >= WEIR_HEAD_MAX)
			break;
		if (!weir_within(&n, WEIR_HEAD_LOAD))
			return WEIR_HEAD_BAD;
		taken = n;
		if (bpf_skb_load_bytes(skb, off, h->bytes + at, n))
			return WEIR_HEAD_BAD;
		if (weir_head_scan(h, taken) != WEIR_HEAD_MORE)
			return h->result;
		off += taken;
		len -= taken;
	}
	return WEIR_HEAD_TOO_LARGE;
}

/* -- empty lines */

/* Are the n (<= WEIR_HEAD_BLANK) bytes at off of the packet all CR or LF? */
weir_global int weir_blank_bytes(struct __sk_buff *skb, weir_u32 off, weir_u32 n)
{
	struct weir_scratch *s = weir_scratch();

	if (!s)
		return 0;
	__builtin_memset(s->old_bytes, '\n', sizeof(s->old_bytes));
	if (!weir_within(&n, WEIR_HEAD_BLANK) || bpf_skb_load_bytes(skb, off, s->old_bytes, n))
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_HEAD_BLANK; i++)
		if (s->old_bytes[i] != '\r' && s->old_bytes[i] != '\n')
			return 0;
	return 1;
}

/* Behind the body's end, `rest` bytes at off: CR LF of old clients, else another request. */
weir_inline bool weir_only_blank(struct __sk_buff *skb, weir_u32 off, weir_u32 rest)
{
	return !rest || (rest <= 4 && weir_blank_bytes(skb, off, rest));
}

/* -- hashes */

/* Of n (<= WEIR_HEAD_LOAD) bytes at `at` in a reader's buffer: four lanes side by side, for
 * a multiplication takes longer than a load. Longer runs are hashed in such pieces. */
weir_global weir_u64 weir_reader_hash(weir_u32 index, weir_u32 at, weir_u32 n, weir_u64 hash)
{
	const struct weir_config *c = weir_config();
	struct weir_reader *r = weir_reader(index);
	weir_u64 key, h1 = hash + 1, h2 = hash + 2, h3 = hash + 3;
	const weir_u8 *p;
	weir_u32 done;

	weir_opaque(at);
	if (!r || !c || at >= WEIR_HEAD_MAX)
		return 0;
	key = c->hash_key;
	p = r->head.bytes + at;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_HEAD_LOAD / 32; i++) {
		if (i >= n / 32)
			break;
		hash = weir_hash_word(hash, weir_load64(p + i * 32), key);
		h1 = weir_hash_word(h1, weir_load64(p + i * 32 + 8), key);
		h2 = weir_hash_word(h2, weir_load64(p + i * 32 + 16), key);
		h3 = weir_hash_word(h3, weir_load64(p + i * 32 + 24), key);
	}
	hash = weir_hash_word(weir_hash_word(weir_hash_word(hash, h1, key), h2, key), h3, key);
	done = n & ~31U;
#pragma clang loop unroll(full)
	for (weir_u32 i = 0; i < 4; i++) {
		weir_u32 off = at + done + i * 8, left = n - done - i * 8;
		weir_u64 w;

		if (done + i * 8 >= n)
			break;
		weir_opaque(off);
		if (off >= WEIR_HEAD_MAX + WEIR_HEAD_LOAD)
			break;
		w = weir_load64(r->head.bytes + off);
		if (left < 8)
			w &= (1ULL << (left * 8)) - 1;
		hash = weir_hash_word(hash, w, key);
	}
	return hash;
}

/* Of the first n (<= WEIR_HEAD_MAX) bytes in a reader's buffer: what weir_packet_hash gives for
 * the same bytes. */
weir_global weir_u64 weir_head_hash(weir_u32 index, weir_u32 n)
{
	weir_u64 hash = n;

#pragma clang loop unroll(disable)
	for (weir_u32 at = 0; at < WEIR_HEAD_MAX; at += WEIR_HEAD_LOAD) {
		weir_u32 left = n - at;

		if (at >= n)
			break;
		hash = weir_reader_hash(index, at, left < WEIR_HEAD_LOAD ? left : WEIR_HEAD_LOAD,
					hash);
	}
	return hash | 1;
}

#define WEIR_HASH_PIECES 260 /* of WEIR_HEAD_LOAD: 512 KiB (BIG TCP), and some */

/* The next piece of s->span, through this CPU's own reader. 0: there is more; 1: it is
 * hashed; -1: it cannot be read. */
weir_global int weir_hash_piece(struct __sk_buff *skb)
{
	weir_u32 index = weir_reader_own(), n, taken;
	struct weir_reader *r = weir_reader(index);
	struct weir_scratch *s = weir_scratch();

	if (!r || !s)
		return -1;
	n = s->span.len;
	if (!n)
		return 1;
	if (n > WEIR_HEAD_LOAD)
		n = WEIR_HEAD_LOAD;
	if (!weir_within(&n, WEIR_HEAD_LOAD))
		return -1;
	taken = n;
	if (bpf_skb_load_bytes(skb, s->span.off, r->head.bytes, n))
		return -1;
	s->span.hash = weir_reader_hash(index, 0, taken, s->span.hash);
	s->span.off += taken;
	s->span.len -= taken;
	return 0;
}

/* Of len bytes at off of the packet. 0: cannot be read. */
weir_global weir_u64 weir_packet_hash(struct __sk_buff *skb, weir_u32 off, weir_u32 len)
{
	struct weir_scratch *s = weir_scratch();

	if (!s)
		return 0;
	s->span.off = off;
	s->span.len = len;
	s->span.hash = len;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_HASH_PIECES; i++) {
		int done = weir_hash_piece(skb);

		if (done)
			return done > 0 ? s->span.hash | 1 : 0;
	}
	return 0;
}

/* -- parts */

/* Remember a segment that a flow's reader took in. */
weir_inline void weir_part_add(struct weir_reader *r, weir_u32 seq, weir_u32 end, weir_u64 hash)
{
	weir_u32 at = r->n_parts & (WEIR_PARTS - 1);

	weir_opaque(at);
	at &= WEIR_PARTS - 1;
	r->parts[at].seq = seq;
	r->parts[at].end = end;
	r->parts[at].hash = hash;
	r->n_parts++;
}

/* The chunk at hand is over: its data was all from data_seq to `end`. */
weir_inline void weir_data_add(struct weir_reader *r, weir_u32 end)
{
	weir_u32 at = r->n_data & (WEIR_DATA_RANGES - 1);

	if (r->data_seq == end)
		return;
	weir_opaque(at);
	at &= WEIR_DATA_RANGES - 1;
	r->data[at].seq = r->data_seq;
	r->data[at].end = end;
	r->n_data++;
}

/* Does [from, upto) lie wholly in the data of a chunk that is over? */
weir_inline bool weir_data_covers(const struct weir_reader *r, weir_u32 from, weir_u32 upto)
{
#pragma clang loop unroll(full)
	for (weir_u32 i = 0; i < WEIR_DATA_RANGES; i++)
		if (i < r->n_data && (weir_s32)(from - r->data[i].seq) >= 0 &&
		    (weir_s32)(r->data[i].end - upto) >= 0)
			return true;
	return false;
}

/* The latest part that begins at seq. NULL: none is remembered. */
weir_inline const struct weir_part *weir_part_at(const struct weir_reader *r, weir_u32 seq)
{
#pragma clang loop unroll(full)
	for (weir_u32 i = 1; i <= WEIR_PARTS; i++) {
		weir_u32 at = (r->n_parts - i) & (WEIR_PARTS - 1);

		if (i > r->n_parts)
			break;
		weir_opaque(at);
		at &= WEIR_PARTS - 1;
		if (r->parts[at].seq == seq)
			return &r->parts[at];
	}
	return NULL;
}

/* Are the packet's bytes from `start` to `upto` a row of parts that the reader remembers?
 * `off` is where `start` is in the packet. */
weir_global int weir_parts_same(struct __sk_buff *skb, weir_u32 index, weir_u32 off, weir_u32 start,
				weir_u32 upto)
{
	struct weir_reader *r = weir_reader(index);

	if (!r)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_PARTS; i++) {
		const struct weir_part *part = weir_part_at(r, start);
		weir_u32 len;

		if (!part || (weir_s32)(upto - part->end) < 0)
			return 0;
		len = part->end - start;
		if (part->hash != weir_packet_hash(skb, off, len))
			return 0;
		start += len;
		off += len;
		if (start == upto)
			return 1;
	}
	return 0;
}

#endif
