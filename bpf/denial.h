/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tells user space who was refused and why: exact counts in a map, and now and
 * then a record in the ring with the figures of the last one.
 */
#ifndef WEIR_DENIAL_H
#define WEIR_DENIAL_H

#include "maps.h"

#define WEIR_DENY_RECORD_EVERY_NS 100000000ULL

weir_inline void weir_note_denial(const struct weir_config *c, const struct weir_refusal *r,
				  const weir_u8 *client, weir_u64 now_ns)
{
	struct weir_denial_key key = {
		.tenant = r->tenant,
		.reason = r->reason,
		.shadow = r->shadow,
	};
	struct weir_denial *d = bpf_map_lookup_elem(&denials, &key);
	struct weir_tenant *t = weir_tenant(r->tenant);
	struct weir_rec_deny *rec;
	weir_u64 count;

	if (t && !r->shadow)
		__sync_fetch_and_add(&t->refused, 1);
	if (!d) {
		struct weir_denial none = {};

		/* Two CPUs may both try: one makes it, both then find it. */
		bpf_map_update_elem(&denials, &key, &none, BPF_NOEXIST);
		d = bpf_map_lookup_elem(&denials, &key);
		if (!d) {
			weir_count(WEIR_DENY_MAP_FULL);
			return;
		}
	}
	count = __sync_fetch_and_add(&d->count, 1) + 1;
	weir_u64 shown = d->shown_ns;

	if (shown && now_ns - shown < WEIR_DENY_RECORD_EVERY_NS)
		return;
	if (__sync_val_compare_and_swap(&d->shown_ns, shown, now_ns) != shown)
		return;
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > c->ring_data_max)
		return;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec)
		return;
	__builtin_memset(&rec->h, 0, sizeof(rec->h));
	rec->h.type = WEIR_REC_DENY;
	rec->h.time_ns = now_ns;
	rec->wall_ns = now_ns + c->wall_offset_ns;
	rec->count = count;
	rec->tenant = r->tenant;
	rec->reason = r->reason;
	rec->limit = r->limit;
	rec->value = r->value;
	rec->asked = r->asked;
	rec->retry_after_ns = r->retry_ns;
	rec->level = r->level;
	rec->shadow = r->shadow;
	weir_copy16(rec->client, client);
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

#endif
