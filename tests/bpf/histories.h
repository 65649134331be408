/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold whatever happened: at a quiet point every gauge is the number of connections,
 * handshakes and requests that are there, and what is reserved is what open slots and END
 * records that nobody has settled hold; of each entry of `tenants` on its own. And a consumer
 * of the ring that may be killed at any instruction: it settles as the agent's does
 * (agent/consumer.c), with the agent's code for the ring and for the stores.
 */
#ifndef TEST_HISTORIES_H
#define TEST_HISTORIES_H

#include <signal.h>
#include <sys/wait.h>

#include "agent/ring.h"
#include "tests/bpf/levels.h"

/* Between the test and its consumers. */
struct shared {
	uint64_t settled; /* level by level */
	uint64_t again;	  /* found settled: somebody was killed behind it */
	uint64_t die_in;  /* levels until the consumer kills itself; 0: it does not */
};

static struct shared *shared;

enum { COMMIT_EVERY = 20 }; /* records, so that a killed consumer leaves some to do again */

static UNUSED void consume_end(const struct weir_rec_end *e, uint64_t pos)
{
	bool wallet_done = false;

	for (int i = 0; i < WEIR_LEVELS; i++) {
		uint32_t index = i ? e->others[i - 1] : e->tenant;
		struct weir_settlement s = {
			.ring_pos = pos,
			.released_nano = index == e->wallet ? e->reserved_nano : 0,
			.released_tokens = e->reserved_tokens,
			.now_ns = e->h.time_ns,
		};

		if (i && !index)
			continue;
		wallet_done |= index == e->wallet;
		if (shared->die_in && !--shared->die_in)
			kill(getpid(), SIGKILL);
		if (weir_settle(&lab.tenants[index], &s))
			shared->settled++;
		else
			shared->again++;
	}
	if (!wallet_done)
		weir_settle(&lab.tenants[e->wallet],
			    &(struct weir_settlement){ .ring_pos = pos,
						       .released_nano = e->reserved_nano });
}

/* Everything that is there. */
static UNUSED void consume(struct weir_ring *ring)
{
	const struct weir_record *h;
	uint32_t len, n = 0;
	uint64_t end;

	while ((h = weir_ring_next(ring, &len, &end))) {
		if (h->type == WEIR_REC_END)
			consume_end((const void *)h, end);
		if (++n % COMMIT_EVERY == 0)
			weir_ring_commit(ring);
	}
	weir_ring_commit(ring);
}

static UNUSED struct weir_ring map_ring(void)
{
	struct weir_ring ring;
	struct weir_error err;

	if (weir_ring_map(bpf_map__fd(lab.skel->maps.ring), RING_BYTES, &ring, &err))
		die("the ring");
	return ring;
}

/* A consumer in a process of its own, on whatever processor there is. */
static UNUSED pid_t start_consumer(uint64_t die_in)
{
	pid_t pid;

	shared->die_in = die_in;
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	sched_setaffinity(0, sizeof(lab.all_cpus), &lab.all_cpus);
	struct weir_ring ring = map_ring();

	for (;;) {
		consume(&ring);
		usleep(50);
	}
}

static UNUSED void kill_consumer(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* -- what there is, counted from maps */

struct held {
	int64_t nano;
	uint32_t tokens;
	int connections, half_open, inflight;
};

/* Slots that a connection has; an open one of nobody's is lost. */
static bool in_use[FLOWS];

static UNUSED void count_flows(struct held *held)
{
	struct bpf_map *map = lab.skel->maps.flows;
	struct weir_flow_key key, *at = NULL;

	memset(in_use, 0, sizeof(in_use));
	for (; !bpf_map_get_next_key(bpf_map__fd(map), at, &key); at = &key) {
		char value[256] __attribute__((aligned(8)));
		const struct weir_flow_view *f = (const void *)value;

		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), &key, value), 0);
		in_use[f->slot] = true;
		if (f->flags & WEIR_FLOW_HALF_OPEN)
			held[f->tenant].half_open++;
		if (!(f->flags & WEIR_FLOW_COUNTED))
			continue;
		held[f->tenant].connections++;
		for (int i = 0; i < WEIR_LEVELS - 1; i++)
			if (f->others[i])
				held[f->others[i]].connections++;
	}
}

static UNUSED void count_slots(struct held *held)
{
	for (uint32_t n = 0; n < FLOWS; n++) {
		const struct weir_slot *s = &lab.slots[n];

		if (s->state != WEIR_SLOT_OPEN || !in_use[n])
			continue;
		held[s->wallet].nano += s->reserved_nano;
		for (int i = 0; i < WEIR_LEVELS; i++) {
			uint32_t index = i ? s->others[i - 1] : s->tenant;

			if (i && !index)
				continue;
			held[index].inflight++;
			held[index].tokens += s->reserved_tokens;
		}
	}
}

static UNUSED bool is_settled(uint32_t index, uint64_t pos)
{
	const struct weir_settled *s = lab.tenants[index].settled;

	return pos <= (s[0].ring_pos > s[1].ring_pos ? s[0].ring_pos : s[1].ring_pos);
}

/* END records that are not settled, at some level or at all. */
static UNUSED void count_ends(struct held *held)
{
	struct weir_ring ring = map_ring();
	const struct weir_record *h;
	uint32_t len;
	uint64_t end;

	while ((h = weir_ring_next(&ring, &len, &end))) {
		const struct weir_rec_end *e = (const void *)h;

		if (h->type != WEIR_REC_END)
			continue;
		if (!is_settled(e->wallet, end))
			held[e->wallet].nano += e->reserved_nano;
		for (int i = 0; i < WEIR_LEVELS; i++) {
			uint32_t index = i ? e->others[i - 1] : e->tenant;

			if ((!i || index) && !is_settled(index, end))
				held[index].tokens += e->reserved_tokens;
		}
	}
	weir_ring_unmap(&ring);
}

/* While no packet is on its way and no consumer runs. wrong: is told what is not so. */
static UNUSED void is_quiet_or(void (*wrong)(const char *format, ...))
{
	static struct held held[TENANTS];

	memset(held, 0, sizeof(held));
	count_flows(held);
	count_slots(held);
	count_ends(held);
	for (uint32_t i = 0; i < lab.next_tenant; i++) {
		const struct weir_tenant *t = &lab.tenants[i];
		const struct held *h = &held[i];

		if (weir_reserved_now(t) == h->nano &&
		    weir_reserved_tokens_now(t) == (int32_t)h->tokens &&
		    t->connections == h->connections && t->half_open == h->half_open &&
		    t->inflight == h->inflight)
			continue;
		wrong("entry %u has %lld nano and %d tokens reserved, %d connections, %d half "
		      "open, %d in flight; there are %lld, %d, %d, %d, %d",
		      i, (long long)weir_reserved_now(t), weir_reserved_tokens_now(t),
		      t->connections, t->half_open, t->inflight, (long long)h->nano,
		      (int32_t)h->tokens, h->connections, h->half_open, h->inflight);
	}
}

static UNUSED void quiet_wrong(const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fail_msg("%s", text);
}

static UNUSED void is_quiet(void)
{
	is_quiet_or(quiet_wrong);
}

static UNUSED void nothing_is_held(void)
{
	for (uint32_t i = 0; i < lab.next_tenant; i++) {
		const struct weir_tenant *t = &lab.tenants[i];

		if (weir_reserved_now(t) || weir_reserved_tokens_now(t) || t->connections ||
		    t->half_open || t->inflight)
			fail_msg("entry %u still has %lld nano and %d tokens reserved, %d "
				 "connections, %d half open, %d in flight",
				 i, (long long)weir_reserved_now(t), weir_reserved_tokens_now(t),
				 t->connections, t->half_open, t->inflight);
	}
}

#endif
