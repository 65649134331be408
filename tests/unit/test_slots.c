// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about reading request slots: a copy is of one request, however fast the
 * kernel moves on; sums and marks are of those that are open.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/slots.h"

/* Every access of slots.c to shared memory is a place where the kernel may go on. */
static void before_access(void);
#define __atomic_load_n(p, order)    (before_access(), *(p))
#define __atomic_thread_fence(order) ((void)0)
#define __atomic_compare_exchange_n(p, old, new, weak, order, order2)                              \
	(before_access(), *(p) == *(old) ? (*(p) = (new), true) : (*(old) = *(p), false))
#include "agent/slots.c"

#define SLOTS	64
#define TENANTS 10

static struct weir_slot slots[SLOTS];
static struct weir_kernel k = { .slots = slots, .max_flows = SLOTS, .max_tenants = TENANTS };

static int setup(void **state)
{
	memset(slots, 0, sizeof(slots));
	return 0;
}

static struct weir_slot *put(uint32_t at, uint32_t tenant, uint64_t started)
{
	slots[at] = (struct weir_slot){ .state = WEIR_SLOT_OPEN,
					.tenant = tenant,
					.wallet = tenant,
					.ordinal = at + 1,
					.service = 2,
					.flags = WEIR_SLOT_DEGRADED,
					.started_ns = started - 1000,
					.started_wall_ns = started,
					.reserved_nano = 100,
					.reserved_tokens = 7 };
	return &slots[at];
}

static void a_slot_is_read_as_it_is(void **state)
{
	struct weir_open_request r;

	put(5, 3, 9000)->others[1] = 4;
	assert_true(weir_slot_read(&k, 5, &r));
	assert_int_equal(r.slot, 5);
	assert_int_equal(r.tenant, 3);
	assert_int_equal(r.wallet, 3);
	assert_int_equal(r.others[1], 4);
	assert_int_equal(r.ordinal, 6);
	assert_int_equal(r.service, 2);
	assert_int_equal(r.flags, WEIR_SLOT_DEGRADED);
	assert_int_equal(r.started_ns, 8000);
	assert_int_equal(r.started_wall_ns, 9000);
	assert_int_equal(r.reserved_nano, 100);
	assert_int_equal(r.reserved_tokens, 7);
	assert_false(r.cut);
	slots[5].cut = weir_cut_mark(8000); /* of an earlier one */
	assert_true(weir_slot_read(&k, 5, &r) && !r.cut);
	slots[5].cut = weir_cut_mark(9000);
	assert_true(weir_slot_read(&k, 5, &r) && r.cut);
	slots[5].state = WEIR_SLOT_FREE; /* counted nowhere */
	assert_false(weir_slot_read(&k, 5, &r));
	slots[5].state = WEIR_SLOT_IDLE;
	assert_false(weir_slot_read(&k, 5, &r));
}

/* ---------------------------------------------------------------- while it is written */

/* What becomes of a slot, store by store: the kernel ends request n and begins n + 1
 * (bpf/flow.h, request.h), then somebody marks that one, as a suspension does. Every field
 * says whose it is. */
enum { OPENED = 15, STORES };

static void kernel_store(struct weir_slot *s, unsigned step)
{
	uint32_t n = step / STORES + 1;

	switch (step % STORES) {
	case 0:
		s->state = WEIR_SLOT_IDLE;
		break;
	case 1:
		s->reserved_nano = 0;
		break;
	case 2:
		s->reserved_tokens = 0;
		break;
	case 3:
		s->tenant = n;
		break;
	case 4:
		memcpy(s->others, (uint32_t[]){ n, n, n }, sizeof(s->others));
		break;
	case 5:
		s->wallet = n;
		break;
	case 6:
		s->ordinal = n;
		break;
	case 7:
		s->service = (uint16_t)n;
		break;
	case 8:
		s->started_ns = n;
		break;
	case 9:
		s->started_wall_ns = 10 * n;
		break;
	case 10:
		s->reserved_nano = n;
		break;
	case 11:
		s->reserved_tokens = n;
		break;
	case 12:
		s->cut = 0;
		break;
	case 13:
		s->flags = (uint16_t)n;
		break;
	case 14:
		s->state = WEIR_SLOT_OPEN;
		break;
	case OPENED:
		s->cut = weir_cut_mark(10 * n);
		break;
	}
}

/* The others' part of an interleaving: they have done `at` stores, and before our access
 * number when[i] they have done to[i]. */
static struct {
	bool on;
	unsigned at, accesses, when[2], to[2];
} kernel;

static void kernel_goes_to(unsigned step)
{
	while (kernel.at < step)
		kernel_store(&slots[1], kernel.at++);
}

static void before_access(void)
{
	for (int i = 0; kernel.on && i < 2; i++)
		if (kernel.accesses == kernel.when[i])
			kernel_goes_to(kernel.to[i]);
	kernel.accesses++;
}

/* Calls f for each way in which they may stand somewhere when we begin, and go on twice while
 * we are at it: past the end of two requests at most. */
static void each_interleaving(unsigned accesses, void (*f)(void))
{
	const unsigned last = 3 * STORES;

	for (unsigned start = OPENED; start <= last; start++)
		for (unsigned a = start; a <= last; a++)
			for (unsigned b = a; b <= last; b++)
				for (unsigned i = 0; i < accesses; i++)
					for (unsigned j = i + 1; j < accesses; j++) {
						memset(&slots[1], 0, sizeof(slots[1]));
						memset(&kernel, 0, sizeof(kernel));
						kernel_goes_to(start);
						kernel.when[0] = i;
						kernel.to[0] = a;
						kernel.when[1] = j;
						kernel.to[1] = b;
						kernel.on = true;
						f();
						if (a == b) /* they went on once */
							break;
					}
	kernel.on = false;
}

static unsigned whole, not_read;

static void read_it(void)
{
	struct weir_open_request r;
	uint32_t n;

	if (!weir_slot_read(&k, 1, &r)) {
		not_read++;
		return;
	}
	whole++;
	n = r.tenant;
	if (r.wallet != n || r.others[0] != n || r.others[1] != n || r.others[2] != n ||
	    r.ordinal != n || r.service != n || r.flags != n || r.started_ns != n ||
	    r.started_wall_ns != 10 * n || r.reserved_nano != n || r.reserved_tokens != n)
		fail_msg("tenant %u, started %llu, reserved %lld and %u tokens: stores %u and %u "
			 "came before our accesses %u and %u",
			 n, (unsigned long long)r.started_wall_ns, (long long)r.reserved_nano,
			 r.reserved_tokens, kernel.to[0], kernel.to[1], kernel.when[0],
			 kernel.when[1]);
}

static void a_copy_is_of_one_request(void **state)
{
	whole = not_read = 0;
	each_interleaving(16, read_it);
	assert_true(whole > 1000 && not_read > 1000);
}

static unsigned marked;

/* Of the first request. Where they have come to the next one's mark, that one stands. */
static void mark_the_first(void)
{
	enum weir_cut_result r = weir_slot_cut(&k, 1, 10);
	uint32_t n = (kernel.at - 1) / STORES + 1;

	marked += r == WEIR_CUT_NOW;
	if (slots[1].state == WEIR_SLOT_OPEN && kernel.at % STORES != OPENED &&
	    slots[1].cut != weir_cut_mark(10 * n))
		fail_msg("request %u lost its mark", n);
	if (kernel.at == 2 * STORES - 1 && slots[1].cut == weir_cut_mark(20))
		fail_msg("the first request's mark is the second's");
}

static void a_mark_takes_no_other_requests_place(void **state)
{
	marked = 0;
	each_interleaving(7, mark_the_first);
	assert_true(marked > 1000);
}

/* ------------------------------------------------------------------ lists, sums, marks */

static void a_tenants_requests_come_oldest_first(void **state)
{
	struct weir_open_request r[4];

	put(1, 3, 5000);
	put(2, 3, 1000);
	put(3, 4, 500); /* another's */
	put(4, 4, 3000)->others[2] = 3;
	put(5, 4, 4000)->wallet = 3;
	put(6, 3, 2000);
	put(7, 3, 100)->state = WEIR_SLOT_IDLE;
	assert_int_equal(weir_slots_of(&k, 3, r, 4), 5);
	assert_int_equal(r[0].slot, 2);
	assert_int_equal(r[1].slot, 6);
	assert_int_equal(r[2].slot, 4);
	assert_int_equal(r[3].slot, 5);
	assert_int_equal(weir_slots_of(&k, 3, r, 1), 5);
	assert_int_equal(r[0].slot, 2);
	assert_int_equal(weir_slots_of(&k, 3, NULL, 0), 5);
	assert_int_equal(weir_slots_of(&k, 4, r, 4), 3);
	assert_int_equal(r[0].slot, 3);
	/* Nobody is a tenant too, not the level that others do not have. */
	assert_int_equal(weir_slots_of(&k, WEIR_NO_TENANT, r, 4), 0);
	put(8, WEIR_NO_TENANT, 1);
	assert_int_equal(weir_slots_of(&k, WEIR_NO_TENANT, r, 4), 1);
}

static void every_level_is_in_the_sums(void **state)
{
	struct weir_slots_sum s[TENANTS];

	put(1, 3, 1000)->others[0] = 4;
	put(2, 3, 2000)->others[2] = 5;
	put(3, 5, 3000)->wallet = 6;
	put(4, 5, 4000)->state = WEIR_SLOT_FREE;
	put(5, TENANTS, 5000); /* no such entry */
	weir_slots_sums(&k, s);
	assert_int_equal(s[3].inflight, 2);
	assert_int_equal(s[3].reserved_tokens, 14);
	assert_int_equal(s[3].reserved_nano, 200);
	assert_int_equal(s[4].inflight, 1);
	assert_int_equal(s[4].reserved_tokens, 7);
	assert_int_equal(s[4].reserved_nano, 0); /* only a wallet's */
	assert_int_equal(s[5].inflight, 2);
	assert_int_equal(s[5].reserved_tokens, 14);
	assert_int_equal(s[5].reserved_nano, 0);
	assert_int_equal(s[6].inflight, 0);
	assert_int_equal(s[6].reserved_nano, 100);
	assert_int_equal(s[WEIR_NO_TENANT].inflight, 0);
}

static void a_request_is_marked_once(void **state)
{
	put(1, 3, 0x500000000);
	assert_int_equal(weir_slot_cut(&k, 1, 0x500000002), WEIR_CUT_NOT);
	assert_int_equal(slots[1].cut, 0);
	assert_int_equal(weir_slot_cut(&k, 1, 0x500000000), WEIR_CUT_NOW);
	assert_int_equal(slots[1].cut, 1); /* never 0, which is no mark */
	assert_int_equal(weir_slot_cut(&k, 1, 0x500000000), WEIR_CUT_BEFORE);
	slots[1].state = WEIR_SLOT_FREE;
	assert_int_equal(weir_slot_cut(&k, 1, 0x500000000), WEIR_CUT_NOT);
}

static void suspension_marks_all_of_a_tenant_and_below(void **state)
{
	put(1, 3, 1000);
	put(2, 4, 2000)->others[1] = 3;
	put(3, 4, 3000);
	put(4, 3, 4000)->state = WEIR_SLOT_IDLE;
	put(5, 4, 5000)->wallet = 3; /* pays for it, and is not above it */
	assert_int_equal(weir_slots_cut(&k, 3), 2);
	assert_int_equal(slots[1].cut, weir_cut_mark(1000));
	assert_int_equal(slots[2].cut, weir_cut_mark(2000));
	assert_int_equal(slots[3].cut | slots[4].cut | slots[5].cut, 0);
	assert_int_equal(weir_slots_cut(&k, 3), 0); /* they are marked already */
	assert_int_equal(weir_slots_cut(&k, 9), 0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		CLAIM(a_slot_is_read_as_it_is),
		CLAIM(a_copy_is_of_one_request),
		CLAIM(a_mark_takes_no_other_requests_place),
		CLAIM(a_tenants_requests_come_oldest_first),
		CLAIM(every_level_is_in_the_sums),
		CLAIM(a_request_is_marked_once),
		CLAIM(suspension_marks_all_of_a_tenant_and_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
