// SPDX-License-Identifier: Apache-2.0
/* Claims about what is taken for drift and what is not; at last, of a world where connections and
 * requests come, move and go between any two steps of a look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/compare.h"

#define SECOND	  UINT64_C(1000000000)
#define HALF_OPEN (5 * SECOND)
#define ENTRIES	  8

static struct weir_compare *c;
static struct weir_tenant tenants[ENTRIES];
static uint64_t now;

static int setup(void **state)
{
	memset(tenants, 0, sizeof(tenants));
	now = 1000 * SECOND;
	c = weir_compare_new(ENTRIES);
	return c ? 0 : -1;
}

static int teardown(void **state)
{
	weir_compare_free(c);
	return 0;
}

static struct weir_flow_key key_of(uint32_t n)
{
	struct weir_flow_key k = { .client_port_be = (uint16_t)n, .server_port_be = 8000 };

	memcpy(k.client + 12, &n, sizeof(n));
	return k;
}

static struct weir_flow_view open_flow(uint32_t tenant)
{
	return (struct weir_flow_view){ .opened_ns = now - 60 * SECOND,
					.tenant = tenant,
					.flags = WEIR_FLOW_COUNTED,
					.state = WEIR_FLOW_OPEN };
}

/* -- connections */

/* A round in which there is this flow and, maybe, its socket. What is to be given back. */
static size_t round_of(const struct weir_flow_view *f, bool socket)
{
	struct weir_flow_key k = key_of(1), other = key_of(2);
	const struct weir_reap *reap;
	size_t n;

	assert_int_equal(weir_compare_begin(c, now, HALF_OPEN), 0);
	assert_int_equal(weir_compare_socket(c, &other), 0);
	if (socket)
		assert_int_equal(weir_compare_socket(c, &k), 0);
	weir_compare_flow(c, &k, f);
	weir_compare_gauges(c, tenants);
	weir_compare_end(c, 0, 0);
	n = weir_compare_reap(c, &reap);
	if (n) {
		assert_memory_equal(&reap[0].key, &k, sizeof(k));
		assert_true(reap[0].opened_ns == f->opened_ns);
	}
	now += 10 * SECOND;
	return n;
}

static void twice_without_a_socket_and_it_is_given_back(void **state)
{
	struct weir_flow_view f = open_flow(1);

	assert_int_equal(round_of(&f, false), 0);
	assert_int_equal(round_of(&f, false), 1);
	/* Told once: if it is still there, it takes two more. */
	assert_int_equal(round_of(&f, false), 0);
	assert_int_equal(round_of(&f, false), 1);
}

static void a_socket_that_shows_again_begins_it_anew(void **state)
{
	struct weir_flow_view f = open_flow(1);

	for (int i = 0; i < 5; i++) {
		assert_int_equal(round_of(&f, false), 0);
		assert_int_equal(round_of(&f, true), 0);
	}
}

static void the_same_port_used_again_is_another_connection(void **state)
{
	struct weir_flow_view f = open_flow(1);

	for (int i = 0; i < 5; i++) {
		assert_int_equal(round_of(&f, false), 0);
		f.opened_ns = now - SECOND;
	}
}

static void an_abandoned_round_forgets_suspicions(void **state)
{
	struct weir_flow_view f = open_flow(1);

	assert_int_equal(round_of(&f, false), 0);
	weir_compare_abandon(c);
	assert_int_equal(round_of(&f, false), 0);
	assert_int_equal(round_of(&f, false), 1);
}

static void what_has_no_socket_by_right_is_left_alone(void **state)
{
	struct weir_flow_view forwarded = open_flow(1), refused = forwarded, closed = forwarded,
			      handshake = forwarded, fresh = forwarded;

	forwarded.flags |= WEIR_FLOW_FORWARDED;
	refused.state = WEIR_FLOW_REFUSED;
	closed.state = WEIR_FLOW_CLOSED;
	handshake.state = WEIR_FLOW_SYN;
	for (int i = 0; i < 4; i++)
		assert_int_equal(round_of(&forwarded, false), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(round_of(&refused, false), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(round_of(&closed, false), 0);
	/* The same connection: the rounds are closer than what a handshake is given. */
	handshake.opened_ns = now;
	for (int i = 0; i < 4; i++) {
		now = handshake.opened_ns + HALF_OPEN / 4 * (uint64_t)i + 3;
		assert_int_equal(round_of(&handshake, false), 0);
	}
	fresh.opened_ns = now;
	for (int i = 0; i < 4; i++) {
		now = fresh.opened_ns;
		assert_int_equal(round_of(&fresh, false), 0);
	}
	now += 10 * SECOND;
	handshake.opened_ns = now - HALF_OPEN - 1;
	assert_int_equal(round_of(&handshake, false), 0);
	assert_int_equal(round_of(&handshake, false), 1);
}

static void a_suspicion_is_of_one_connection(void **state)
{
	struct weir_flow_view f = open_flow(1);
	const struct weir_reap *reap;

	for (uint32_t i = 0; i < 6; i++) { /* all opened at the same time */
		struct weir_flow_key k = key_of(i);

		assert_int_equal(weir_compare_begin(c, now, HALF_OPEN), 0);
		weir_compare_flow(c, &k, &f);
		weir_compare_gauges(c, tenants);
		weir_compare_end(c, 0, 0);
		assert_int_equal(weir_compare_reap(c, &reap), 0);
	}
}

static void sockets_are_found_among_a_hundred_thousand(void **state)
{
	const uint32_t n = 100000;
	struct weir_flow_view f = open_flow(1);
	struct weir_compare_seen seen;
	const struct weir_reap *reap;

	for (int round = 0; round < 2; round++) {
		assert_int_equal(weir_compare_begin(c, now, HALF_OPEN), 0);
		for (uint32_t i = 0; i < n; i++) {
			struct weir_flow_key k = key_of(i);

			assert_int_equal(weir_compare_socket(c, &k), 0);
			assert_int_equal(weir_compare_socket(c, &k), 0); /* twice is once */
		}
		for (uint32_t i = 10; i < n + 20; i++) {
			struct weir_flow_key k = key_of(i);

			weir_compare_flow(c, &k, &f);
		}
		weir_compare_gauges(c, tenants);
		weir_compare_end(c, 0, 0);
	}
	weir_compare_seen(c, &seen);
	assert_int_equal(seen.sockets, n);
	assert_int_equal(seen.flows, n + 10);
	assert_int_equal(seen.untracked, 10);
	assert_int_equal(weir_compare_reap(c, &reap), 20);
}

/* -- gauges */

struct looks {
	unsigned flows[2];	 /* of entry 1, in each look */
	bool others;		 /* in the second, other ones */
	int32_t gauge, moves_to; /* at T, and during the second look */
	uint64_t until_t, since_t;
};

/* What a round says of entry 1's connections: 0: nothing is to be done. */
static int64_t gauge_round(const struct looks *l)
{
	const struct weir_off *off;
	size_t n;

	tenants[1].connections = l->gauge;
	assert_int_equal(weir_compare_begin(c, now, HALF_OPEN), 0);
	for (int look = 0; look < 2; look++) {
		for (unsigned i = 0; i < l->flows[look]; i++) {
			struct weir_flow_key k = key_of(look && l->others ? i + 1 : i);
			struct weir_flow_view f = open_flow(1);

			f.opened_ns = 7;
			weir_compare_socket(c, &k);
			weir_compare_flow(c, &k, &f);
		}
		if (look)
			break;
		if (!weir_compare_gauges(c, tenants))
			break;
		tenants[1].connections = l->moves_to;
		weir_compare_watch(c, tenants);
	}
	weir_compare_end(c, l->until_t, l->since_t);
	now += 10 * SECOND;
	n = weir_compare_off(c, &off);
	assert_true(n <= 1);
	if (!n)
		return 0;
	assert_int_equal(off->entry, 1);
	assert_int_equal(off->gauge, WEIR_GAUGE_CONNECTIONS);
	return off->by;
}

static void three_in_a_row_and_the_least_of_them(void **state)
{
	struct looks l = { .flows = { 5, 5 }, .until_t = 99, .since_t = 99 };
	const int32_t gauges[] = { 9, 7, 8, 8, 9, 9 };

	for (int i = 0; i < 6; i++) {
		l.gauge = l.moves_to = gauges[i];
		assert_int_equal(gauge_round(&l), i == 2 ? 2 : i == 5 ? 3 : 0);
	}
	for (int i = 0; i < 3; i++) {
		l.gauge = l.moves_to = 5 - gauges[i];
		assert_int_equal(gauge_round(&l), i == 2 ? 5 - 7 - 5 : 0);
	}
}

static void a_gauge_that_is_right_or_off_the_other_way_begins_anew(void **state)
{
	struct looks l = { .flows = { 5, 5 } };
	const int32_t gauges[] = { 9, 9, 5, 9, 9, 3, 3, 9, 9, 5 };

	for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
		l.gauge = l.moves_to = gauges[i];
		assert_int_equal(gauge_round(&l), 0);
	}
}

static void one_that_moves_says_nothing_within_what_was_taken(void **state)
{
	struct looks l = {
		.flows = { 5, 6 }, .gauge = 9, .moves_to = 10, .until_t = 4, .since_t = 4
	};

	for (int i = 0; i < 9; i++)
		assert_int_equal(gauge_round(&l), 0);
	/* And is no reason to forget what was said before. */
	l.flows[1] = 5;
	l.moves_to = 9;
	assert_int_equal(gauge_round(&l), 0);
	l.moves_to = 8;
	assert_int_equal(gauge_round(&l), 0);
	l.moves_to = 9;
	assert_int_equal(gauge_round(&l), 0);
	assert_int_equal(gauge_round(&l), 4);
}

static void as_many_others_are_a_move_too(void **state)
{
	struct looks l = { .flows = { 5, 5 },
			   .others = true,
			   .gauge = 6,
			   .moves_to = 6,
			   .until_t = 1,
			   .since_t = 1 };

	for (int i = 0; i < 9; i++)
		assert_int_equal(gauge_round(&l), 0);
}

static void one_that_moves_is_off_beyond_what_was_taken(void **state)
{
	struct looks high = { .flows = { 5, 6 },
			      .gauge = 19,
			      .moves_to = 20,
			      .until_t = 4,
			      .since_t = 4 },
		     low = { .flows = { 15, 16 },
			     .gauge = 1,
			     .moves_to = 2,
			     .until_t = 4,
			     .since_t = 4 };

	assert_int_equal(gauge_round(&high), 0);
	assert_int_equal(gauge_round(&high), 0);
	assert_int_equal(gauge_round(&high), 19 - 5 - 4);
	assert_int_equal(gauge_round(&low), 0);
	assert_int_equal(gauge_round(&low), 0);
	assert_int_equal(gauge_round(&low), 1 - 16 + 4);
}

static void a_reservation_nobody_holds_is_told_once(void **state)
{
	const struct weir_off *off;

	tenants[3].reserved_nano = 50;
	tenants[3].settled[1] = (struct weir_settled){ .ring_pos = 9, .released_nano = 20 };
	tenants[3].lost_nano = 10;
	tenants[4].reserved_tokens = 5;
	tenants[4].released_tokens[0] = 7;
	for (int i = 0; i < 9; i++) {
		assert_int_equal(weir_compare_begin(c, now, HALF_OPEN), 0);
		assert_true(weir_compare_gauges(c, tenants));
		weir_compare_watch(c, tenants);
		weir_compare_end(c, 0, 0);
		assert_int_equal(weir_compare_off(c, &off), i == 2 ? 2 : 0);
		if (i != 2)
			continue;
		assert_int_equal(off[0].entry, 3);
		assert_int_equal(off[0].gauge, WEIR_GAUGE_NANO);
		assert_int_equal(off[0].by, 20);
		assert_int_equal(off[1].entry, 4);
		assert_int_equal(off[1].gauge, WEIR_GAUGE_TOKENS);
		assert_int_equal(off[1].by, -2);
	}
}

/* -- a world that does not stand still */

#define PLACES 96

struct conn {
	bool there, socket, lost;
	struct weir_flow_key key;
	struct weir_flow_view flow;
	struct weir_slot slot;
	uint64_t suspected_at; /* begin of the round before, in which it was there and lost */
};

static struct world {
	struct conn conns[PLACES];
	uint64_t taken;
	uint32_t serial;
	int32_t planted[ENTRIES][WEIR_GAUGES_CORRECTED];
	unsigned bustle; /* of 100 steps, how many something happens before */
} w;

static uint32_t below(uint32_t n)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32) % n;
}

static int32_t *gauge_of(uint32_t entry, int gauge)
{
	struct weir_tenant *t = &tenants[entry];

	return gauge == WEIR_GAUGE_CONNECTIONS ? &t->connections
	       : gauge == WEIR_GAUGE_HALF_OPEN ? &t->half_open
					       : &t->inflight;
}

static void add(uint32_t tenant, const uint32_t *others, int gauge, int n)
{
	*gauge_of(tenant, gauge) += n;
	for (int i = 0; i < WEIR_LEVELS - 1; i++)
		if (others[i])
			*gauge_of(others[i], gauge) += n;
}

static void charge(struct weir_flow_view *f, uint32_t tenant)
{
	f->tenant = tenant;
	f->others[0] = 0;
	f->others[1] = tenant >= 1 && tenant <= 3 ? 6 : 0;
	f->others[2] = f->others[1] ? 7 : 0;
	add(f->tenant, f->others, WEIR_GAUGE_CONNECTIONS, 1);
}

static void end_request(struct conn *k)
{
	struct weir_slot *s = &k->slot;

	if (s->state != WEIR_SLOT_OPEN)
		return;
	s->state = WEIR_SLOT_IDLE;
	add(s->tenant, s->others, WEIR_GAUGE_INFLIGHT, -1);
	tenants[s->wallet].settled[0].released_nano += (uint64_t)s->reserved_nano;
	tenants[s->tenant].released_tokens[0] += s->reserved_tokens;
	for (int i = 0; i < WEIR_LEVELS - 1; i++)
		if (s->others[i])
			tenants[s->others[i]].released_tokens[0] += s->reserved_tokens;
}

static void over_half_open(struct conn *k)
{
	if (k->flow.flags & WEIR_FLOW_HALF_OPEN)
		tenants[k->flow.tenant].half_open--;
	k->flow.flags &= ~(uint32_t)WEIR_FLOW_HALF_OPEN;
}

static void release(struct conn *k)
{
	end_request(k);
	over_half_open(k);
	add(k->flow.tenant, k->flow.others, WEIR_GAUGE_CONNECTIONS, -1);
	k->there = k->socket = false;
}

static void begin(struct conn *k)
{
	*k = (struct conn){ .there = true, .lost = below(40) == 0, .key = key_of(w.serial++) };
	k->flow = (struct weir_flow_view){ .opened_ns = now,
					   .flags = WEIR_FLOW_COUNTED | WEIR_FLOW_HALF_OPEN,
					   .state = WEIR_FLOW_SYN };
	charge(&k->flow, below(3) ? 0 : 3);
	tenants[k->flow.tenant].half_open++;
	w.taken++;
}

static void ask(struct conn *k)
{
	struct weir_slot *s = &k->slot;
	uint32_t to = 1 + below(5);

	over_half_open(k);
	k->flow.state = WEIR_FLOW_OPEN;
	w.taken++;
	if (k->flow.tenant != to) { /* by its key it is another's */
		add(k->flow.tenant, k->flow.others, WEIR_GAUGE_CONNECTIONS, -1);
		charge(&k->flow, to);
	}
	end_request(k);
	*s = (struct weir_slot){ .state = WEIR_SLOT_OPEN,
				 .tenant = to,
				 .ordinal = s->ordinal + 1,
				 .started_wall_ns = now,
				 .reserved_nano = below(100),
				 .reserved_tokens = below(100),
				 .wallet = to };
	memcpy(s->others, k->flow.others, sizeof(s->others));
	add(to, s->others, WEIR_GAUGE_INFLIGHT, 1);
	tenants[to].reserved_nano += (uint64_t)s->reserved_nano;
	tenants[to].reserved_tokens += s->reserved_tokens;
	for (int i = 0; i < WEIR_LEVELS - 1; i++)
		if (s->others[i])
			tenants[s->others[i]].reserved_tokens += s->reserved_tokens;
}

/* Something may happen between any two steps. */
static void step(void)
{
	struct conn *k = &w.conns[below(PLACES)];

	now += 1000;
	while (below(100) < w.bustle) {
		if (!k->there)
			begin(k);
		else if (k->flow.state == WEIR_FLOW_SYN && !k->lost && !k->socket)
			k->socket = true;
		else if (k->flow.state == WEIR_FLOW_SYN) /* the handshake is complete */
			over_half_open(k), k->flow.state = WEIR_FLOW_OPEN;
		else if (below(3) == 0 && !k->lost)
			release(k);
		else if (below(2))
			ask(k);
		else
			end_request(k);
		k = &w.conns[below(PLACES)];
	}
}

static void look(bool second)
{
	for (uint32_t i = 0; i < PLACES; i++) {
		step();
		if (w.conns[i].there)
			weir_compare_flow(c, &w.conns[i].key, &w.conns[i].flow);
		if (second && i % 8 == 0)
			weir_compare_watch(c, tenants);
	}
	for (uint32_t i = 0; i < PLACES; i++) {
		step();
		weir_compare_slot(c, i, &w.conns[i].slot);
		if (second && i % 8 == 0)
			weir_compare_watch(c, tenants);
	}
	if (second)
		weir_compare_watch(c, tenants);
}

static struct conn *find(const struct weir_flow_key *key)
{
	for (size_t i = 0; i < PLACES; i++)
		if (w.conns[i].there && !memcmp(&w.conns[i].key, key, sizeof(*key)))
			return &w.conns[i];
	return NULL;
}

static size_t check_reaped(void)
{
	const struct weir_reap *reap;
	size_t n = weir_compare_reap(c, &reap);

	for (size_t i = 0; i < n; i++) {
		struct conn *k = find(&reap[i].key);

		assert_non_null(k);
		assert_true(k->lost); /* never one that lives */
		assert_true(k->suspected_at);
		release(k);
	}
	return n;
}

/* Corrections go towards what is right, and not past it. */
static size_t check_corrected(void)
{
	const struct weir_off *off;
	size_t n = weir_compare_off(c, &off);

	for (size_t i = 0; i < n; i++) {
		int32_t *planted;

		assert_true(off[i].gauge < WEIR_GAUGES_CORRECTED); /* reservations are right */
		planted = &w.planted[off[i].entry][off[i].gauge];
		assert_true(off[i].by > 0 ? off[i].by <= *planted : off[i].by >= *planted);
		*planted -= (int32_t)off[i].by;
		*gauge_of(off[i].entry, off[i].gauge) -= (int32_t)off[i].by;
	}
	return n;
}

static void one_round(size_t *reaped, size_t *corrected)
{
	uint64_t began, before, at_t;

	for (int i = 0; i < PLACES; i++) /* the programs end what took too long */
		if (w.conns[i].there && w.conns[i].flow.state == WEIR_FLOW_SYN &&
		    now - w.conns[i].flow.opened_ns > HALF_OPEN)
			release(&w.conns[i]);
	began = now;
	assert_int_equal(weir_compare_begin(c, now, HALF_OPEN), 0);
	for (int i = 0; i < PLACES; i++) {
		step();
		if (w.conns[i].there && w.conns[i].socket)
			assert_int_equal(weir_compare_socket(c, &w.conns[i].key), 0);
	}
	before = w.taken;
	look(false);
	at_t = w.taken;
	if (weir_compare_gauges(c, tenants))
		look(true);
	weir_compare_end(c, at_t - before, w.taken - at_t);
	*reaped += check_reaped();
	*corrected += check_corrected();
	for (int i = 0; i < PLACES; i++) {
		struct conn *k = &w.conns[i];
		bool suspect = k->there && k->lost && k->flow.state == WEIR_FLOW_OPEN &&
			       k->flow.opened_ns < began;

		/* The second round gives back whoever the first one saw. */
		if (suspect)
			assert_true(!k->suspected_at);
		k->suspected_at = suspect ? began : 0;
	}
	now += 10 * SECOND;
}

static void in_a_world_that_moves_nothing_that_lives_is_touched(void **state)
{
	static const unsigned bustles[] = { 0, 1, 5, 30, 70 };
	size_t reaped = 0, corrected = 0;

	memset(&w, 0, sizeof(w));
	for (int round = 0; round < 4000; round++) {
		if (round % 20 == 0)
			w.bustle = bustles[below(5)];
		if (below(50) == 0) {
			uint32_t entry = below(ENTRIES), gauge = below(WEIR_GAUGES_CORRECTED);
			int32_t by = (int32_t)below(9) - 4;

			w.planted[entry][gauge] += by;
			*gauge_of(entry, (int)gauge) += by;
		}
		one_round(&reaped, &corrected);
	}
	assert_true(reaped > 100);
	assert_true(corrected > 20);
	w.bustle = 0;
	for (int round = 0; round < 3 * 20; round++)
		one_round(&reaped, &corrected);
	for (int i = 0; i < ENTRIES; i++)
		for (int g = 0; g < WEIR_GAUGES_CORRECTED; g++)
			assert_int_equal(w.planted[i][g], 0);
	for (int i = 0; i < PLACES; i++)
		if (w.conns[i].there)
			release(&w.conns[i]);
	for (int i = 0; i < ENTRIES; i++)
		for (int g = 0; g < WEIR_GAUGES_CORRECTED; g++)
			assert_int_equal(*gauge_of((uint32_t)i, g), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(twice_without_a_socket_and_it_is_given_back),
		TEST(a_socket_that_shows_again_begins_it_anew),
		TEST(the_same_port_used_again_is_another_connection),
		TEST(an_abandoned_round_forgets_suspicions),
		TEST(what_has_no_socket_by_right_is_left_alone),
		TEST(a_suspicion_is_of_one_connection),
		TEST(sockets_are_found_among_a_hundred_thousand),
		TEST(three_in_a_row_and_the_least_of_them),
		TEST(a_gauge_that_is_right_or_off_the_other_way_begins_anew),
		TEST(one_that_moves_says_nothing_within_what_was_taken),
		TEST(as_many_others_are_a_move_too),
		TEST(one_that_moves_is_off_beyond_what_was_taken),
		TEST(a_reservation_nobody_holds_is_told_once),
		TEST(in_a_world_that_moves_nothing_that_lives_is_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
