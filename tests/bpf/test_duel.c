/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two requests at the same instant, on two processors, for room that is there for one: over and
 * over, for each kind of limit in turn, at a level that two tenants share. Never both get in,
 * and who does not leaves nothing behind. A crowd (test_admission_race.c) meets at the limit once
 * a round; these two meet there every time.
 *
 *   WEIR_DUEL_ROUNDS   how often
 */
#include "agent/ring.h"
#include "tests/bpf/races.h"

enum { DUELLISTS = 2, ROUNDS = 1600, OUTPUT = 100, ASKED = OUTPUT };

#define HOUR (3600 * SECOND)

enum kind { CONCURRENCY, REQUESTS, TOKENS, CREDIT, KINDS };
static const char *const kinds[] = { "concurrency", "requests", "tokens", "credit" };

static struct duel {
	struct chain chain[DUELLISTS];
	struct conn c[DUELLISTS];
	uint64_t rounds;
	int code[DUELLISTS];
	uint64_t won[KINDS], drawn[KINDS]; /* one let in; neither */
	uint64_t tat;
	uint32_t arrived[4]; /* at the meeting places of each round */
} duel;

/* Room for one at the top level, of one kind; plenty of the rest. */
static void make_room_for_one(enum kind kind)
{
	struct weir_tenant *top = duel.chain[0].at[WEIR_LEVEL_TOP];
	struct weir_tenant *wallet = top;

	duel.tat = now_ns() + 100 * HOUR;
	for (uint32_t i = 1; i < lab.next_tenant; i++) {
		struct weir_tenant *t = &lab.tenants[i];

		t->request_tat_ns = duel.tat;
		t->released_tokens[0] = t->released_tokens[1] = t->reserved_tokens;
	}
	top->max_inflight = kind == CONCURRENCY ? 1 : 1000;
	top->request_burst = kind == REQUESTS ? 101 : 1000;
	top->tokens_tau_ns = (kind == TOKENS ? 1 : 1 << 20) * HOUR;
	wallet->ceiling_nano = wallet->reserved_nano + (kind == CREDIT ? 19 : 1000000);
}

/* What each level holds is what was let in; while both stand still. */
static void look_at_it(enum kind kind)
{
	int in[DUELLISTS] = { duel.code[0] == OUT_PASS, duel.code[1] == OUT_PASS };
	int both = in[0] + in[1];

	if (both > 1)
		race_wrong("%s: both were let in", kinds[kind]);
	duel.won[kind] += both;
	duel.drawn[kind] += !both;
	for (int d = 0; d < DUELLISTS; d++)
		for (int k = 0; k < WEIR_LEVELS; k++) {
			struct weir_tenant *t = duel.chain[d].at[k];
			int n = k >= WEIR_LEVEL_PARENT ? both : in[d];

			if (t->inflight != n || t->request_tat_ns != duel.tat + n * HOUR ||
			    weir_reserved_tokens_now(t) != n * ASKED)
				race_wrong("%s: %s of %d: %d in flight, %lld requests, %d tokens "
					   "where %d were let in",
					   kinds[kind], level_names[k], d, t->inflight,
					   (long long)(t->request_tat_ns - duel.tat) /
						   (long long)HOUR,
					   weir_reserved_tokens_now(t), n);
		}
}

static void fight(size_t me)
{
	struct conn *c = &duel.c[me];
	struct weir_ring ring;
	struct weir_error err;

	if (weir_ring_map(bpf_map__fd(lab.skel->maps.ring), RING_BYTES, &ring, &err))
		die("the ring");
	for (uint32_t n = 0; n < duel.rounds && !race.failed; n++) {
		const char *text = me ? "POST / HTTP/1.1\r\nx-api-key: sk-duel-1\r\n\r\n"
				      : "POST / HTTP/1.1\r\nx-api-key: sk-duel-0\r\n\r\n";
		enum kind kind = n % KINDS;
		uint8_t frame[512];
		size_t len;

		len = conn_frame(c, true, TCP_PSH | TCP_ACK, c->next, c->sent, text, strlen(text),
				 frame);
		c->next += strlen(text);
		if (!me)
			make_room_for_one(kind);
		meet_two(&duel.arrived[0], n);
		duel.code[me] = shoot(lab.skel->progs.weir_ingress, frame, len);
		meet_two(&duel.arrived[1], n);
		if (!me)
			look_at_it(kind);
		/* Nobody moves before it was looked at. */
		meet_two(&duel.arrived[2], n);
		if (duel.code[me] == OUT_PASS) {
			racer_send(c, false, TCP_ACK | TCP_PSH,
				   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
			racer_send(c, true, TCP_ACK, "");
		} else {
			racer_reopen(c);
		}
		meet_two(&duel.arrived[3], n);
		if (!me) {
			const struct weir_record *h;
			uint32_t size;
			uint64_t end;

			while ((h = weir_ring_next(&ring, &size, &end)))
				;
			weir_ring_commit(&ring);
		}
	}
	weir_ring_unmap(&ring);
}

static void never_do_both_get_what_is_there_for_one(void **state)
{
	for (int d = 0; d < DUELLISTS; d++) {
		char key[40];

		snprintf(key, sizeof(key), "sk-duel-%d", d);
		duel.chain[d] = new_chain(key);
	}
	for (int k = WEIR_LEVEL_PARENT; k < WEIR_LEVELS; k++) {
		duel.chain[1].at[k] = duel.chain[0].at[k];
		duel.chain[1].index[k] = duel.chain[0].index[k];
	}
	duel.chain[1].at[0]->parent = duel.chain[0].index[WEIR_LEVEL_PARENT];
	for (int d = 0; d < DUELLISTS; d++) {
		struct weir_tenant *t = duel.chain[d].at[0];

		for (int k = 0; k < WEIR_LEVELS; k++) {
			limit_widely(duel.chain[d].at[k]);
			duel.chain[d].at[k]->flags &= ~WEIR_TENANT_LIMIT_CONN_RATE;
		}
		t->flags |= WEIR_TENANT_CREDIT;
		t->wallet = duel.chain[0].index[WEIR_LEVEL_TOP];
		t->reserve_nano_per_request = 10;
		t->reserve_output_tokens = OUTPUT;
		duel.c[d] = open_conn(nobody, host);
	}
	duel.rounds =
		getenv("WEIR_DUEL_ROUNDS") ? strtoull(getenv("WEIR_DUEL_ROUNDS"), NULL, 0) : ROUNDS;
	take_records();
	run_racers(DUELLISTS, fight);
	for (int kind = 0; kind < KINDS; kind++) {
		printf("# %s: %llu let in, %llu times neither\n", kinds[kind],
		       (unsigned long long)duel.won[kind], (unsigned long long)duel.drawn[kind]);
		assert_true(duel.won[kind] > duel.drawn[kind]);
	}
	for (int d = 0; d < DUELLISTS; d++)
		hang_up(&duel.c[d]);
	for (int d = 0; d < DUELLISTS; d++)
		chain_holds(&duel.chain[d], 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(never_do_both_get_what_is_there_for_one),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
