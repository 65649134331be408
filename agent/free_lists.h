/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists that the kernel takes numbers from (free_slots, free_readers) and the queue of
 * handshakes (half_open), made anew from the connections: stacks and queues cannot be read
 * without emptying them, and the old ones must stay as they are till the new ones are in force.
 */
#ifndef WEIR_FREE_LISTS_H
#define WEIR_FREE_LISTS_H

#include <bpf/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "util.h"

bool weir_is_free_list(const char *map);

struct weir_in_use;

/* flow_type: of the flows' values in btf. Readers below first_reader are the CPUs' own. */
int weir_in_use_new(const struct btf *btf, uint32_t flow_type, uint32_t slots,
		    uint32_t first_reader, uint32_t readers, struct weir_in_use **out,
		    struct weir_error *err);
void weir_in_use_free(struct weir_in_use *u);

/* A connection, as weir_map_copy and weir_map_each tell of it. 0, -ENOMEM, or -ENOSPC: it
 * holds a number that there will not be. */
int weir_in_use_add(void *in_use, const void *key, void *value);

/* Fill the list of that name, which is empty, with what none of them holds (half_open: with
 * those that are not complete, oldest first). */
int weir_in_use_fill(struct weir_in_use *u, const char *map, int fd, struct weir_error *err);

/* Numbers n down to first on top of what is in the stack, so that low ones are used first. */
int weir_stack_fill(int fd, const char *map, uint32_t first, uint32_t n, const uint8_t *taken,
		    struct weir_error *err);

#endif
