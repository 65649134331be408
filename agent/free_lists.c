// SPDX-License-Identifier: Apache-2.0
#include "free_lists.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

static const char slots_name[] = "free_slots", readers_name[] = "free_readers",
		  half_open_name[] = "half_open";

struct handshake {
	uint64_t opened_ns;
	struct weir_flow_key key;
};

struct weir_in_use {
	uint32_t n_slots, first_reader, n_readers;
	uint8_t *slots, *readers; /* a byte for each: 1 if taken */
	struct handshake *half;
	size_t n_half, room;
	/* Places in a flow's value. */
	size_t slot_at, state_at, opened_at, reader_at[2];
};

bool weir_is_free_list(const char *map)
{
	return !strcmp(map, slots_name) || !strcmp(map, readers_name) ||
	       !strcmp(map, half_open_name);
}

static bool find(const struct btf *btf, uint32_t type, const char *name, size_t want, size_t *at)
{
	size_t bytes;

	return weir_layout_field(btf, type, name, at, &bytes) && bytes == want;
}

int weir_in_use_new(const struct btf *btf, uint32_t flow_type, uint32_t slots,
		    uint32_t first_reader, uint32_t readers, struct weir_in_use **out,
		    struct weir_error *err)
{
	struct weir_in_use *u = calloc(1, sizeof(*u));

	if (u) {
		u->n_slots = slots;
		u->first_reader = first_reader;
		u->n_readers = readers;
		u->slots = calloc(slots ? slots : 1, 1);
		u->readers = calloc(first_reader + readers + 1, 1);
	}
	if (!u || !u->slots || !u->readers) {
		weir_in_use_free(u);
		return weir_fail(err, ENOMEM, "out of memory");
	}
	if (!find(btf, flow_type, "slot", 4, &u->slot_at) ||
	    !find(btf, flow_type, "state", 1, &u->state_at) ||
	    !find(btf, flow_type, "opened_ns", 8, &u->opened_at) ||
	    !find(btf, flow_type, "reader", 4, &u->reader_at[0]) ||
	    !find(btf, flow_type, "resp_reader", 4, &u->reader_at[1])) {
		weir_in_use_free(u);
		return weir_fail(err, ENOTSUP, "map flows: not what it was");
	}
	*out = u;
	return 0;
}

void weir_in_use_free(struct weir_in_use *u)
{
	if (!u)
		return;
	free(u->slots);
	free(u->readers);
	free(u->half);
	free(u);
}

static int add_handshake(struct weir_in_use *u, const void *key, uint64_t opened_ns)
{
	if (u->n_half == u->room) {
		size_t room = u->room ? 2 * u->room : 256;
		struct handshake *more = realloc(u->half, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		u->half = more;
		u->room = room;
	}
	u->half[u->n_half].opened_ns = opened_ns;
	memcpy(&u->half[u->n_half].key, key, sizeof(u->half[0].key));
	u->n_half++;
	return 0;
}

int weir_in_use_add(void *in_use, const void *key, void *value)
{
	struct weir_in_use *u = in_use;
	const char *flow = value;
	uint64_t opened_ns;
	uint32_t number;

	memcpy(&number, flow + u->slot_at, sizeof(number));
	if (number >= u->n_slots)
		return -ENOSPC;
	u->slots[number] = 1;
	for (int i = 0; i < 2; i++) {
		memcpy(&number, flow + u->reader_at[i], sizeof(number));
		if (number >= u->first_reader + u->n_readers)
			return -ENOSPC;
		u->readers[number] = 1; /* 0 is none */
	}
	if (flow[u->state_at] != WEIR_FLOW_SYN)
		return 0;
	memcpy(&opened_ns, flow + u->opened_at, sizeof(opened_ns));
	return add_handshake(u, key, opened_ns);
}

static int older(const void *a, const void *b)
{
	uint64_t x = ((const struct handshake *)a)->opened_ns;
	uint64_t y = ((const struct handshake *)b)->opened_ns;

	return (x > y) - (x < y);
}

/* Those that find no room are left to weir_sweep, as in the kernel. */
static int fill_half_open(struct weir_in_use *u, int fd, struct weir_error *err)
{
	if (u->n_half)
		qsort(u->half, u->n_half, sizeof(u->half[0]), older);
	for (size_t i = 0; i < u->n_half; i++) {
		struct weir_half_open h = { .key = u->half[i].key };

		h.opened_ms = (uint32_t)(u->half[i].opened_ns / 1000000);
		if (!bpf_map_update_elem(fd, NULL, &h, BPF_ANY))
			continue;
		return errno == E2BIG ? 0
				      : weir_fail(err, errno, "map half_open: cannot be filled: %s",
						  strerror(errno));
	}
	return 0;
}

int weir_stack_fill(int fd, const char *map, uint32_t first, uint32_t n, const uint8_t *taken,
		    struct weir_error *err)
{
	for (uint32_t i = first + n; i-- > first;)
		if (!(taken && taken[i]) && bpf_map_update_elem(fd, NULL, &i, BPF_ANY))
			return weir_fail(err, errno, "map %s: cannot be filled: %s", map,
					 strerror(errno));
	return 0;
}

int weir_in_use_fill(struct weir_in_use *u, const char *map, int fd, struct weir_error *err)
{
	if (!strcmp(map, slots_name))
		return weir_stack_fill(fd, map, 0, u->n_slots, u->slots, err);
	if (!strcmp(map, readers_name))
		return weir_stack_fill(fd, map, u->first_reader, u->n_readers, u->readers, err);
	return fill_half_open(u, fd, err);
}
