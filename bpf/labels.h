/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a request says that it is for: the headers x-weir-session and x-weir-feature. They are
 * passed on and decide nothing here; whether they are to be believed is said with them.
 */
#ifndef WEIR_LABELS_H
#define WEIR_LABELS_H

#include "reader.h"
#include "tenant.h"

weir_inline bool weir_head_has_labels(const struct weir_head *h)
{
	return h->value[WEIR_HDR_SESSION].end | h->value[WEIR_HDR_FEATURE].end;
}

/* Tell user space what the request's head says that it is for. */
weir_global int weir_labels_tell(struct weir_flow *f)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	struct weir_rec_labels *rec;
	struct weir_reader *r;
	struct weir_slot *slot;
	int session, feature;

	if (!f || !c || !s)
		return 0;
	r = weir_reader(s->request.reader);
	slot = weir_slot(f);
	if (!r || !slot)
		return 0;
	session = weir_head_label(&r->head, WEIR_HDR_SESSION, WEIR_SESSION_BYTES, &s->session);
	feature = weir_head_label(&r->head, WEIR_HDR_FEATURE, WEIR_FEATURE_BYTES, &s->feature);
	if (!session && !feature)
		return 0;
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > c->ring_data_max)
		goto lost;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec)
		goto lost;
	rec->h.type = WEIR_REC_LABELS;
	rec->h.flags = 0;
	rec->h.service = slot->service;
	rec->h.slot = f->slot;
	rec->h.ordinal = slot->ordinal;
	rec->h.len = 0;
	rec->h.time_ns = s->request.now_ns;
	rec->started_wall_ns = slot->started_wall_ns;
	rec->flags = weir_trusted_peer(c, s->packet.src) ? WEIR_LABELS_TRUSTED : 0;
	rec->pad = 0;
	__builtin_memset(rec->session, 0, sizeof(rec->session));
	__builtin_memset(rec->feature, 0, sizeof(rec->feature));
	if (session)
		__builtin_memcpy(rec->session, s->session.text, sizeof(rec->session));
	if (feature)
		__builtin_memcpy(rec->feature, s->feature.text, sizeof(rec->feature));
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
	return 0;
lost:
	weir_count(WEIR_TAP_LOST);
	return 0;
}

#endif
