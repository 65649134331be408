// SPDX-License-Identifier: Apache-2.0
/*
 * Reading memory that the kernel writes on every CPU, without a lock. How a slot goes
 * (bpf/request.h, flow.h): OPEN -> IDLE by compare-and-swap, then the fields of the next
 * request, then OPEN. Reservations are taken out by exchange.
 */
#include "slots.h"

#include <string.h>

static uint32_t state_of(const struct weir_slot *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
}

static uint64_t start_of(const struct weir_slot *s)
{
	return __atomic_load_n(&s->started_wall_ns, __ATOMIC_ACQUIRE);
}

/* Is it the tenant's own, or of one below it? */
static bool is_below(const struct weir_open_request *r, uint32_t tenant)
{
	for (size_t i = 0; i < WEIR_LEVELS - 1; i++)
		if (tenant && r->others[i] == tenant)
			return true;
	return r->tenant == tenant;
}

static bool reserves_at(const struct weir_open_request *r, uint32_t tenant)
{
	return is_below(r, tenant) || (tenant && r->wallet == tenant);
}

/*
 * Start, state, fields, state, start. If the first start is that of an earlier request, the
 * last one must be too, so the second state was still that request's OPEN, and nothing had
 * been written over when the fields were read. If it is the request's own, the first state
 * cannot be the earlier one's OPEN any more, so it is this one's, and all fields are its own.
 */
bool weir_slot_read(const struct weir_kernel *k, uint32_t slot, struct weir_open_request *out)
{
	const struct weir_slot *s = &k->slots[slot];
	uint64_t started = start_of(s);
	struct weir_open_request r;

	if (state_of(s) != WEIR_SLOT_OPEN)
		return false;
	r = (struct weir_open_request){
		.slot = slot,
		.ordinal = __atomic_load_n(&s->ordinal, __ATOMIC_RELAXED),
		.tenant = __atomic_load_n(&s->tenant, __ATOMIC_RELAXED),
		.wallet = __atomic_load_n(&s->wallet, __ATOMIC_RELAXED),
		.service = __atomic_load_n(&s->service, __ATOMIC_RELAXED),
		.flags = __atomic_load_n(&s->flags, __ATOMIC_RELAXED),
		.cut = __atomic_load_n(&s->cut, __ATOMIC_RELAXED) == weir_cut_mark(started),
		.started_ns = __atomic_load_n(&s->started_ns, __ATOMIC_RELAXED),
		.started_wall_ns = started,
		.reserved_nano = __atomic_load_n(&s->reserved_nano, __ATOMIC_RELAXED),
		.reserved_tokens = __atomic_load_n(&s->reserved_tokens, __ATOMIC_RELAXED),
	};
	for (size_t i = 0; i < WEIR_LEVELS - 1; i++)
		r.others[i] = __atomic_load_n(&s->others[i], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (state_of(s) != WEIR_SLOT_OPEN || start_of(s) != started)
		return false;
	*out = r;
	return true;
}

/* Into a list of the oldest `max`, in order: shorter than a screen, so by insertion. */
static void insert(struct weir_open_request *list, size_t n, size_t max,
		   const struct weir_open_request *r)
{
	size_t at = n < max ? n : max;

	while (at && list[at - 1].started_wall_ns > r->started_wall_ns)
		at--;
	if (at == max)
		return;
	memmove(&list[at + 1], &list[at], ((n < max ? n : max - 1) - at) * sizeof(*list));
	list[at] = *r;
}

size_t weir_slots_of(const struct weir_kernel *k, uint32_t tenant, struct weir_open_request *out,
		     size_t max)
{
	struct weir_open_request r;
	size_t n = 0;

	for (uint32_t i = 0; i < k->max_flows; i++)
		if (weir_slot_read(k, i, &r) && reserves_at(&r, tenant))
			insert(out, n++, max, &r);
	return n;
}

void weir_slots_sums(const struct weir_kernel *k, struct weir_slots_sum *out)
{
	struct weir_open_request r;

	memset(out, 0, (size_t)k->max_tenants * sizeof(*out));
	for (uint32_t i = 0; i < k->max_flows; i++) {
		if (!weir_slot_read(k, i, &r))
			continue;
		if (r.wallet < k->max_tenants)
			out[r.wallet].reserved_nano += r.reserved_nano;
		for (size_t l = 0; l < WEIR_LEVELS; l++) {
			uint32_t level = l ? r.others[l - 1] : r.tenant;

			if ((l && !level) || level >= k->max_tenants)
				continue;
			out[level].reserved_tokens += r.reserved_tokens;
			out[level].inflight++;
		}
	}
}

/* The old value is read before the slot is known to be that request's: who marks the slot's
 * next request meanwhile is not undone. */
enum weir_cut_result weir_slot_cut(struct weir_kernel *k, uint32_t slot, uint64_t started_wall_ns)
{
	struct weir_slot *s = &k->slots[slot];
	uint32_t mark = weir_cut_mark(started_wall_ns);

	for (;;) {
		uint32_t old = __atomic_load_n(&s->cut, __ATOMIC_ACQUIRE);

		if (state_of(s) != WEIR_SLOT_OPEN || start_of(s) != started_wall_ns)
			return WEIR_CUT_NOT;
		if (old == mark)
			return WEIR_CUT_BEFORE;
		if (__atomic_compare_exchange_n(&s->cut, &old, mark, false, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return WEIR_CUT_NOW;
	}
}

uint32_t weir_slots_cut(struct weir_kernel *k, uint32_t tenant)
{
	struct weir_open_request r;
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->max_flows; i++) {
		if (!weir_slot_read(k, i, &r) || !is_below(&r, tenant))
			continue;
		n += weir_slot_cut(k, i, r.started_wall_ns) == WEIR_CUT_NOW;
	}
	return n;
}
