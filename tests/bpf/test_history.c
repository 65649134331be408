/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random histories: connections opened, half opened, moved between tenants; requests admitted,
 * answered in parts, cut, aborted, refused for their bodies; limits and parents that change;
 * consumers of the ring killed at any moment. At every quiet point what is held is what is
 * there, and in the end nothing is held.
 *
 *   WEIR_HISTORY_STEPS   how many (a short run by default)
 *   WEIR_HISTORY_SEED    of the generator
 */
#include "tests/bpf/bodies.h"
#include "tests/bpf/histories.h"

enum { SHORT_RUN = 12000, CONNS = 20, FAMILIES = 3, QUIET_EVERY = 60 };

static const char *const keys[FAMILIES] = { "sk-hist-0", "sk-hist-1", "sk-hist-2" };

static struct history {
	uint64_t seed, state;
	struct chain chain[FAMILIES];
	struct client {
		struct conn c;
		enum { GONE, HALF_OPEN, OPEN, ASKING, ANSWERING, REFUSED } at;
	} client[CONNS];
	uint64_t steps;
	uint64_t did[8]; /* by what */
	uint64_t kills;
} history;

static const char *const deeds[] = { "admitted", "refused",   "answered", "aborted",
				     "cut",	 "half open", "reaped",	  "bodies refused" };
enum { ADMITTED, DENIED, ANSWERED, ABORTED, CUT, HALF, REAPED, BAD_BODY };

static uint32_t rnd(uint32_t below)
{
	history.state ^= history.state >> 12;
	history.state ^= history.state << 25;
	history.state ^= history.state >> 27;
	return (history.state * 0x2545f4914f6cdd1dULL >> 33) % below;
}

static bool chance(uint32_t percent)
{
	return rnd(100) < percent;
}

/* -- limits */

/* New limits at some level, and perhaps another parent, while requests run. */
static void change_limits(void)
{
	struct chain *chain = &history.chain[rnd(FAMILIES)];
	struct weir_tenant *t = chain->at[rnd(WEIR_LEVELS)];

	t->flags ^= chance(50) ? WEIR_TENANT_LIMIT_TOKENS : 0;
	t->flags ^= chance(30) ? WEIR_TENANT_LIMIT_INFLIGHT : 0;
	t->flags ^= chance(30) ? WEIR_TENANT_LIMIT_CONNS : 0;
	t->flags ^= chance(10) ? WEIR_TENANT_SHADOW : 0;
	if (chance(5) || t->flags & WEIR_TENANT_SUSPENDED)
		t->flags ^= WEIR_TENANT_SUSPENDED;
	t->max_inflight = 1 + rnd(12);
	t->max_connections = 3 + rnd(CONNS);
	t->max_half_open = chance(30) ? 1 + rnd(5) : 0;
	t->tokens_tau_ns = (100 + rnd(4000)) * t->tokens_interval_ns;
	if (chance(20))
		chain->at[0]->flags ^= WEIR_TENANT_SCOPED;
	if (chance(20))
		chain->at[0]->parent =
			history.chain[rnd(FAMILIES)]
				.index[chance(80) ? WEIR_LEVEL_PARENT : WEIR_LEVEL_TOP];
	if (chance(20))
		chain->at[0]->wallet =
			chance(50) ? chain->index[0]
				   : history.chain[rnd(FAMILIES)].index[rnd(WEIR_LEVELS)];
	chain->at[0]->reserve_nano_per_output_token = rnd(20);
	chain->at[0]->reserve_output_tokens = rnd(400);
	lab.config->enforce = chance(97);
}

/* What the agent does with what was settled. */
static void top_up(void)
{
	for (uint32_t i = 1; i < lab.next_tenant; i++)
		weir_ceiling_set(&lab.tenants[i], 300000, 0, lab.tenants[i].lost_nano);
}

static void begin(void)
{
	for (int f = 0; f < FAMILIES; f++) {
		struct chain *chain = &history.chain[f];

		*chain = new_chain(keys[f]);
		for (int k = 0; k < WEIR_LEVELS; k++) {
			chain->at[k]->tokens_interval_ns = 1000;
			chain->at[k]->wallet = chain->index[k];
		}
		chain->at[0]->flags |= WEIR_TENANT_CREDIT;
		chain->at[0]->reserve_nano_per_request = 3;
	}
	new_rules(history.chain[2].at[0], (struct weir_rules){ .max_output_tokens = 5000 });
	/* Sources: the first two are known by address too. */
	add_source("198.51.100.0", 26, history.chain[0].index[0]);
	add_source("198.51.100.64", 26, history.chain[1].index[0]);
	top_up();
	history.steps = SHORT_RUN;
	history.seed =
		getenv("WEIR_HISTORY_SEED") ? strtoull(getenv("WEIR_HISTORY_SEED"), NULL, 0) : 1;
	if (getenv("WEIR_HISTORY_STEPS"))
		history.steps = strtoull(getenv("WEIR_HISTORY_STEPS"), NULL, 0);
	history.state = history.seed * 0x9e3779b97f4a7c15ULL + 1;
	lab.config->ring_request_max = RING_BYTES * 3 / 4;
}

/* -- steps */

static void gone(struct client *p)
{
	hang_up(&p->c);
	p->at = GONE;
}

static void open_one(struct client *p)
{
	static const char *const from[] = { "198.51.100.7", "198.51.100.70", "198.51.100.200" };
	struct weir_flow_view f;

	p->c = new_conn(from[rnd(3)], host);
	if (lab.next_port > 60000)
		lab.next_port = 20000;
	send_syn(&p->c, chance(30));
	if (!flow_of(&p->c, &f))
		return;
	p->at = HALF_OPEN;
	history.did[HALF]++;
}

static void complete(struct client *p)
{
	if (chance(20)) {
		gone(p);
		return;
	}
	p->c.next++;
	from_server(&p->c, TCP_SYN | TCP_ACK, p->c.sent++, p->c.next, NULL, 0);
	from_client(&p->c, TCP_ACK, p->c.next, p->c.sent, NULL, 0);
	p->at = OPEN;
}

static void ask_one(struct client *p)
{
	static const char *const bodies[] = {
		"{\"messages\":[]}",
		"{\"max_tokens\":12}",
		"{\"max_tokens\":3000,\"messages\":[]}",
		"{\"max_tokens\":99999}",
		"{'max_tokens':1}", /* refused by who reads it */
	};
	const char *body = bodies[rnd(5)], *text = request_with(keys[rnd(FAMILIES)], "", body);
	size_t len = strlen(text), head = body_of(text) - text, cut = chance(40) ? head : len;
	uint64_t bad = counter(WEIR_DENY_BODY);
	struct verdict v;

	if (chance(10)) {
		text = "GET /health HTTP/1.1\r\n\r\n";
		len = cut = strlen(text);
	}
	v = send_bytes(&p->c, text, cut);
	if (v.code == OUT_PASS && cut < len)
		v = send_bytes(&p->c, text + cut, len - cut);
	history.did[BAD_BODY] += counter(WEIR_DENY_BODY) - bad;
	history.did[v.code == OUT_PASS ? ADMITTED : DENIED]++;
	p->at = v.code == OUT_PASS ? ASKING : REFUSED;
	if (v.code == OUT_PASS && chance(80))
		from_server(&p->c, TCP_ACK, p->c.sent, p->c.next, NULL, 0);
}

static void answer_one(struct client *p)
{
	struct weir_flow_view f;
	struct weir_slot *slot;

	if (p->at == ASKING) {
		from_server(&p->c, TCP_ACK, p->c.sent, p->c.next, NULL, 0);
		if (chance(50)) {
			answer_text(&p->c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
			p->at = OPEN;
			history.did[ANSWERED]++;
		} else {
			answer_text(&p->c, chance(50) ? "HTTP/1.1 200 OK\r\n\r\nwords"
						      : "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
							"chunked\r\n\r\n4\r\nabcd\r\n");
			p->at = ANSWERING;
		}
		return;
	}
	assert_true(flow_of(&p->c, &f));
	slot = &lab.slots[f.slot];
	if (chance(20)) {
		slot->cut = weir_cut_mark(slot->started_wall_ns);
		history.did[CUT]++;
	} else if (chance(30)) {
		ask_one(p); /* the next one ends it, or is one too many */
		return;
	}
	answer_text(&p->c, chance(50) ? "0\r\n\r\n" : "4\r\nefgh\r\n");
	if (!flow_of(&p->c, &f))
		p->at = GONE;
	else if (f.state >= WEIR_FLOW_REFUSED)
		p->at = REFUSED;
	else if (slot->state == WEIR_SLOT_IDLE)
		p->at = OPEN;
}

/* However it stands, its socket closes, or the sweep finds it. */
static void abort_one(struct client *p)
{
	struct weir_flow_view f;

	if (p->at != REFUSED) {
		history.did[p->at == ANSWERING ? ABORTED : REAPED]++;
		gone(p);
		return;
	}
	if (flow_of(&p->c, &f) && f.state == WEIR_FLOW_CLOSED) {
		/* The ports are used again. */
		p->c.next += 5000;
		send_syn(&p->c, false);
		if (flow_of(&p->c, &f)) {
			p->at = HALF_OPEN;
			return;
		}
	} else {
		hang_up(&p->c);
	}
	p->at = GONE;
}

static void step(void)
{
	struct client *p = &history.client[rnd(CONNS)];

	if (chance(3))
		change_limits();
	switch (p->at) {
	case GONE:
		open_one(p);
		break;
	case HALF_OPEN:
		complete(p);
		break;
	case OPEN:
		chance(90) ? ask_one(p) : abort_one(p);
		break;
	case ASKING:
	case ANSWERING:
		chance(85) ? answer_one(p) : abort_one(p);
		break;
	case REFUSED:
		abort_one(p);
		break;
	}
}

static void what_is_held_is_what_is_there_whoever_dies(void **state)
{
	pid_t consumer = 0;

	begin();
	printf("# WEIR_HISTORY_SEED=%llu WEIR_HISTORY_STEPS=%llu\n",
	       (unsigned long long)history.seed, (unsigned long long)history.steps);
	fflush(stdout);
	for (uint64_t n = 1; n <= history.steps; n++) {
		if (!consumer && chance(1))
			consumer = start_consumer(chance(50) ? 1 + rnd(200) : 0);
		step();
		if (n % QUIET_EVERY)
			continue;
		/* Now and then it has something to do at the moment it dies. */
		if (!consumer)
			consumer = start_consumer(chance(70) ? 1 + rnd(100) : 0);
		usleep(rnd(1000));
		kill_consumer(consumer);
		consumer = 0;
		shared->die_in = 0;
		history.kills++;
		is_quiet();
		top_up();
	}
	if (consumer)
		kill_consumer(consumer);
	shared->die_in = 0;
	lab.config->half_open_ns = 0;
	for (int i = 0; i < CONNS; i++) {
		struct client *p = &history.client[i];

		while (p->at != GONE)
			abort_one(p);
	}
	is_quiet();

	struct weir_ring ring = map_ring();

	consume(&ring);
	weir_ring_unmap(&ring);
	nothing_is_held();
	printf("# %llu consumers killed, %llu levels settled, %llu found settled;",
	       (unsigned long long)history.kills, (unsigned long long)shared->settled,
	       (unsigned long long)shared->again);
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
		printf(" %llu %s", (unsigned long long)history.did[i], deeds[i]);
	printf("\n");
	/* That nothing happened would be held, too. */
	assert_true(shared->settled > history.steps / 20);
	assert_true(shared->again);
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
		assert_true(history.did[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_held_is_what_is_there_whoever_dies, lab_reset),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("shared memory");
	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
