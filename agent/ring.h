/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's ring buffer, consumed by hand: libbpf's consumer moves the
 * position after every record, ours moves it once a batch is folded in. A
 * position counts bytes since the ring was made and never repeats, so it also
 * serves as a record's sequence number.
 */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "util.h"

struct weir_ring {
	uint64_t *consumer;	  /* ours, shared with the kernel */
	const uint64_t *producer; /* the kernel's */
	const uint8_t *data;	  /* mapped twice in a row: a record never wraps */
	size_t bytes;
	size_t page;
	uint64_t at; /* next record to read; >= *consumer */
};

int weir_ring_map(int fd, size_t bytes, struct weir_ring *out, struct weir_error *err);
void weir_ring_unmap(struct weir_ring *r);

/* The next record, or NULL if there is none yet. *len: its bytes; *end: the
 * position behind it. Reads on from r->at; discarded records are passed over. */
const struct weir_record *weir_ring_next(struct weir_ring *r, uint32_t *len, uint64_t *end);

/* Everything before r->at is done with: the kernel may write there again. */
void weir_ring_commit(struct weir_ring *r);

/* Bytes written and not committed. */
uint64_t weir_ring_used(const struct weir_ring *r);

#endif
