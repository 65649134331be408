/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's request slots, read while it writes them: what is open, what it has
 * reserved, and how a request is marked to be cut short. Owns nothing; a look at all of
 * them takes some 10 ms per million, so it is for questions people ask, not for packets.
 */
#ifndef WEIR_SLOTS_H
#define WEIR_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "kernel.h"

/* A request in flight, as its slot has it. All of it is of one request. */
struct weir_open_request {
	uint32_t slot, ordinal;
	uint32_t tenant, wallet;
	uint32_t others[WEIR_LEVELS - 1]; /* levels charged besides the tenant; 0: none */
	uint16_t service, flags;	  /* enum weir_slot_flags */
	bool cut;			  /* marked, and not ended yet */
	uint64_t started_ns, started_wall_ns;
	int64_t reserved_nano;	  /* of the wallet */
	uint32_t reserved_tokens; /* at each level */
};

/* What is in a slot. false: nothing that is counted (idle, a free path), or it ended or
 * began while we looked. */
bool weir_slot_read(const struct weir_kernel *k, uint32_t slot, struct weir_open_request *out);

/* The open requests that reserve at a tenant, as its own, as those of one below it, or as
 * what it pays for: the oldest `max` of them, oldest first. Returns how many there are in all. */
size_t weir_slots_of(const struct weir_kernel *k, uint32_t tenant, struct weir_open_request *out,
		     size_t max);

/* What open requests have reserved. Every level's tokens and inflight, the wallet's nano. */
struct weir_slots_sum {
	int64_t reserved_nano;
	uint64_t reserved_tokens;
	uint32_t inflight;
};

/* Of every entry, into out[k->max_tenants]. While traffic runs a sum is of no one instant;
 * with none it is exact. */
void weir_slots_sums(const struct weir_kernel *k, struct weir_slots_sum *out);

enum weir_cut_result {
	WEIR_CUT_NOT,	 /* no such request is open */
	WEIR_CUT_BEFORE, /* it was marked already */
	WEIR_CUT_NOW
};

/* Mark the request of a slot that began then, so that the kernel ends it at the next packet
 * of its answer (WEIR_END_CUT). No other request is ever cut by it: a mark names its request.
 * Any thread. */
enum weir_cut_result weir_slot_cut(struct weir_kernel *k, uint32_t slot, uint64_t started_wall_ns);

/* Mark every open request of a tenant and of those below it. Returns how many it marked, those
 * marked before not counted again. One that was being judged when the tenant was suspended may
 * open behind this: look again. */
uint32_t weir_slots_cut(struct weir_kernel *k, uint32_t tenant);

#endif
