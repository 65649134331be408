/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check all, commit all, at several levels, on all processors at once: two tenants below one
 * parent never have more than the parent allows, nothing is spent twice, and what is lost to a
 * race is given back to the last token. The race of one level is test_race.c's.
 */
#include "tests/bpf/races.h"

enum { ROUNDS = 12, OUTPUT = 100, ASKED = 6 + OUTPUT };

#define HOUR (3600 * SECOND)

static const char *const keys[] = { "sk-rival-a", "sk-rival-b" };

/* Two tenants with scopes of their own below one parent. */
struct family {
	struct chain a, b;
	uint64_t tat;
};

static struct family new_family(void)
{
	struct family f = { .tat = now_ns() + 100 * HOUR };

	lab.next_tenant = 1;
	f.a = new_chain(keys[0]);
	f.b = new_chain(keys[1]);
	for (int k = WEIR_LEVEL_PARENT; k < WEIR_LEVELS; k++) {
		f.b.index[k] = f.a.index[k];
		f.b.at[k] = f.a.at[k];
	}
	f.b.at[0]->parent = f.a.index[WEIR_LEVEL_PARENT];
	for (int k = 0; k < WEIR_LEVELS; k++) {
		limit_widely(f.a.at[k]);
		limit_widely(f.b.at[k]);
	}
	for (uint32_t i = 1; i < lab.next_tenant; i++) {
		lab.tenants[i].connect_tat_ns = lab.tenants[i].request_tat_ns = f.tat;
		lab.tenants[i].tokens_tau_ns = (1ULL << 20) * HOUR;
	}
	f.a.at[0]->reserve_output_tokens = f.b.at[0]->reserve_output_tokens = OUTPUT;
	return f;
}

static uint64_t busy(void)
{
	return counter(WEIR_DENY_BUSY) - lab.before[WEIR_DENY_BUSY];
}

/* Every gauge and bucket says what was admitted, to the last: of a, of b, and of both. */
static void all_is_as_admitted(const struct family *f, const int *of)
{
	for (int k = 0; k < WEIR_LEVELS; k++)
		for (int second = 0; second < 2; second++) {
			struct weir_tenant *t = second ? f->b.at[k] : f->a.at[k];
			int n = k >= WEIR_LEVEL_PARENT ? of[0] + of[1] : of[second];

			if (t->inflight != n || t->request_tat_ns != f->tat + n * HOUR ||
			    t->connect_tat_ns != f->tat + n * HOUR ||
			    weir_reserved_tokens_now(t) != n * ASKED)
				fail_msg("%s of %s: %d in flight, %lld requests, %lld connects, "
					 "%d tokens held; %d were admitted",
					 level_names[k], keys[second], t->inflight,
					 (long long)(t->request_tat_ns - f->tat) / (int64_t)HOUR,
					 (long long)(t->connect_tat_ns - f->tat) / (int64_t)HOUR,
					 weir_reserved_tokens_now(t), n);
		}
	assert_int_equal(f->a.at[0]->admitted, of[0]);
	assert_int_equal(f->b.at[0]->admitted, of[1]);
	assert_int_equal(f->a.at[0]->refused + f->b.at[0]->refused, SHOTS - of[0] - of[1]);
	assert_int_equal(f->a.at[WEIR_LEVEL_TOP]->connections, SHOTS);
}

static struct conn later[SHOTS + 1]; /* after the race */
static int n_later;

/* What a race left unused is there: one after the other they are let in, up to `most`. */
static void the_rest_is_still_there(int sum, int most)
{
	struct verdict v;

	for (n_later = 0; sum < most; sum++) {
		struct conn *c = &later[n_later++];

		*c = open_conn(nobody, host);
		if (send_text(c, chat(keys[0])).code == OUT_PASS)
			continue;
		hang_up(c);
		*c = open_conn(nobody, host);
		v = send_text(c, chat(keys[1]));
		if (v.code != OUT_PASS)
			fail_msg("%d of %d were admitted, and the next is refused; counted:%s", sum,
				 most, counted());
	}
	later[n_later] = open_conn(nobody, host);
	v = send_text(&later[n_later], chat(keys[0]));
	assert_int_equal(v.code, OUT_REDIRECT);
	hang_up(&later[n_later]);
}

/* All hang up, all is settled: nothing is held by anybody. */
static void all_comes_back(void)
{
	const struct weir_rec_end *e;
	uint64_t pos = 0;

	take_records();
	lab.n_records = 0;
	for (int i = 0; i < SHOTS + n_later; i++) {
		hang_up(i < SHOTS ? &shots[i].c : &later[i - SHOTS]);
		for (size_t n = 0; (e = record(WEIR_REC_END, n)); n++)
			settle(e, ++pos, 0);
		lab.n_records = 0;
	}
	n_later = 0;
	for (uint32_t i = 0; i < lab.next_tenant; i++) {
		const struct weir_tenant *t = &lab.tenants[i];

		assert_int_equal(t->inflight, 0);
		assert_int_equal(t->connections, 0);
		assert_int_equal(t->half_open, 0);
		assert_int_equal(weir_reserved_tokens_now(t), 0);
		assert_int_equal(weir_reserved_now(t), 0);
	}
}

static void two_children_never_have_more_in_flight_than_their_parent_allows(void **state)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct family f = new_family();
		int of[2], sum;

		lab_reset(NULL);
		f.a.at[0]->max_inflight = f.b.at[WEIR_LEVEL_SCOPE]->max_inflight = 30;
		f.a.at[WEIR_LEVEL_PARENT]->max_inflight = 50;
		f.a.at[WEIR_LEVEL_TOP]->max_inflight = 41;
		sum = all_at_once(keys, 2, of);
		assert_true(of[0] <= 30 && of[1] <= 30);
		assert_true(sum <= 41);
		all_is_as_admitted(&f, of);
		the_rest_is_still_there(sum, 41);
		all_comes_back();
	}
}

static void a_shared_rate_of_requests_gives_as_many_as_it_has(void **state)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct family f = new_family();
		int of[2], sum;

		lab_reset(NULL);
		/* 100 are used (limit_widely): 37 are left; an hour each, so none comes back. */
		f.a.at[WEIR_LEVEL_TOP]->request_burst = 137;
		sum = all_at_once(keys, 2, of);
		assert_true(sum <= 37);
		assert_true(sum == 37 || busy());
		all_is_as_admitted(&f, of);
		all_comes_back();
	}
}

static void a_shared_wallet_is_not_spent_twice(void **state)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct family f = new_family();
		struct weir_tenant *wallet = f.a.at[WEIR_LEVEL_TOP];
		int of[2], sum;

		lab_reset(NULL);
		for (int second = 0; second < 2; second++) {
			struct weir_tenant *t = second ? f.b.at[0] : f.a.at[0];

			t->flags |= WEIR_TENANT_CREDIT;
			t->wallet = f.a.index[WEIR_LEVEL_TOP];
			t->reserve_nano_per_request = 10;
		}
		wallet->ceiling_nano = 439;
		sum = all_at_once(keys, 2, of);
		/* Credit comes last: who finds it gone finds it spent. */
		assert_int_equal(sum, 43);
		assert_int_equal(weir_reserved_now(wallet), sum * 10);
		all_is_as_admitted(&f, of);
		wallet->ceiling_nano = INT64_MAX / 2;
		for (int i = 0; i < SHOTS; i++)
			hang_up(&shots[i].c);
		assert_int_equal(wallet->inflight, 0);
	}
}

/* The nth is let in if the n - 1 before it left something: 10 here, of 1000 tokens. */
static void tokens_of_many_at_once_are_those_that_are_left(void **state)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct family f = new_family();
		struct weir_tenant *parent = f.a.at[WEIR_LEVEL_PARENT];
		int most = (1000 + ASKED - 1) / ASKED, of[2], sum;

		lab_reset(NULL);
		parent->tokens_tau_ns = 1000 * HOUR;
		sum = all_at_once(keys, 2, of);
		assert_true(sum >= 1 && sum <= most);
		all_is_as_admitted(&f, of);
		the_rest_is_still_there(sum, most);
		all_comes_back();
	}
}

static void with_every_limit_at_once_no_level_is_passed_and_nothing_is_lost(void **state)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct family f = new_family();
		int of[2], sum;

		lab_reset(NULL);
		f.a.at[0]->max_inflight = 25;
		f.b.at[WEIR_LEVEL_SCOPE]->request_burst = 100 + 22;
		f.a.at[WEIR_LEVEL_PARENT]->max_inflight = 40;
		f.a.at[WEIR_LEVEL_TOP]->request_burst = 100 + 39;
		f.a.at[WEIR_LEVEL_TOP]->tokens_tau_ns = 38 * ASKED * HOUR;
		sum = all_at_once(keys, 2, of);
		assert_true(of[0] <= 25 && of[1] <= 22 && sum <= 38);
		all_is_as_admitted(&f, of);
		all_comes_back();
	}
}

/* -- requests that come and go */

enum { CHURN_CONNS = 24, CHURN = 1500, MOST = 9 };

static struct churn {
	struct conn c[CHURN_CONNS];
	bool asking[CHURN_CONNS];
	uint64_t seed;
	int admitted, refused;
} churns[RACERS];

static int in_flight; /* admitted and not answered, no more than there are */

static uint32_t churn_rnd(struct churn *h, uint32_t below)
{
	h->seed = h->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (h->seed >> 33) % below;
}

static void churn_on(size_t racer)
{
	static const char *const requests[] = {
		"POST /v1/chat/completions HTTP/1.1\r\nx-api-key: sk-rival-a\r\n"
		"Content-Length: 0\r\n\r\n",
		"POST /v1/chat/completions HTTP/1.1\r\nx-api-key: sk-rival-b\r\n"
		"Content-Length: 0\r\n\r\n",
	};
	struct churn *h = &churns[racer];

	for (int n = 0; n < CHURN && !race.failed; n++) {
		uint32_t i = churn_rnd(h, CHURN_CONNS);
		struct conn *c = &h->c[i];

		if (h->asking[i]) {
			/* Told before it ends, so that the count is never above what is. */
			__atomic_fetch_sub(&in_flight, 1, __ATOMIC_SEQ_CST);
			racer_send(c, false, TCP_ACK | TCP_PSH,
				   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
			racer_send(c, true, TCP_ACK, "");
			h->asking[i] = false;
		} else if (racer_send(c, true, TCP_ACK | TCP_PSH, requests[churn_rnd(h, 2)]) ==
			   OUT_PASS) {
			int now = __atomic_add_fetch(&in_flight, 1, __ATOMIC_SEQ_CST);

			h->asking[i] = true;
			h->admitted++;
			if (now > MOST)
				race_wrong("%d in flight at once, of %d", now, MOST);
		} else {
			h->refused++;
			racer_reopen(c);
		}
	}
}

static void never_more_at_once_while_requests_come_and_go(void **state)
{
	struct family f = new_family();
	int admitted = 0, refused = 0;
	uint8_t frame[64] = {};

	lab_reset(NULL);
	lab.config->ring_request_max = lab.config->ring_data_max = RING_BYTES;
	for (uint32_t i = 1; i < lab.next_tenant; i++)
		lab.tenants[i].flags &= ~(WEIR_TENANT_LIMIT_REQUESTS | WEIR_TENANT_LIMIT_TOKENS |
					  WEIR_TENANT_LIMIT_CONN_RATE);
	f.a.at[WEIR_LEVEL_TOP]->max_inflight = MOST;
	f.a.at[0]->max_inflight = MOST - 2;
	memset(churns, 0, sizeof(churns));
	for (int r = 0; r < RACERS; r++) {
		churns[r].seed = r + 1;
		for (int i = 0; i < CHURN_CONNS; i++)
			churns[r].c[i] = open_conn(nobody, host);
	}
	run_racers(RACERS, churn_on);
	for (int r = 0; r < RACERS; r++) {
		admitted += churns[r].admitted;
		refused += churns[r].refused;
	}
	assert_true(admitted > CHURN / 4 && refused > 100);
	assert_int_equal(f.a.at[0]->admitted + f.b.at[0]->admitted, admitted);
	assert_int_equal(f.a.at[WEIR_LEVEL_TOP]->inflight, in_flight);
	for (int r = 0; r < RACERS; r++)
		for (int i = 0; i < CHURN_CONNS; i++)
			hang_up(&churns[r].c[i]);
	lab.config->half_open_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	take_records();
	chain_holds(&f.a, 0, 0);
	chain_holds(&f.b, 0, 0);
	in_flight = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(two_children_never_have_more_in_flight_than_their_parent_allows),
		STREAM_CLAIM(a_shared_rate_of_requests_gives_as_many_as_it_has),
		STREAM_CLAIM(a_shared_wallet_is_not_spent_twice),
		STREAM_CLAIM(tokens_of_many_at_once_are_those_that_are_left),
		STREAM_CLAIM(with_every_limit_at_once_no_level_is_passed_and_nothing_is_lost),
		STREAM_CLAIM(never_more_at_once_while_requests_come_and_go),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
