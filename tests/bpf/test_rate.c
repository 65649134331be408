/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests admitted in any window of time are no more than the rate allows: tenants are
 * hammered from all processors, and every pair of admissions is held against the limit. The
 * times are those the programs judged by, from the ring; limits that change meanwhile are
 * stored by the agent's own code.
 *
 *   WEIR_RATE_MS     how long each is hammered (half a second by default)
 *   WEIR_RATE_SEED   of pauses and limits
 */
#include "agent/enforce_limits.h"
#include "agent/ring.h"
#include "tests/bpf/races.h"

enum { HAMMERS = 3, READER = HAMMERS, TIMES = 1 << 16, CHANGES = 4096 };

#define US 1000ULL

/* A limit in force from `since` on; until `by` its stores were on their way. */
struct change {
	uint64_t since, by;
	uint64_t interval_ns;
	uint64_t burst;
};

static struct rate_run {
	uint64_t until, seed;
	const char *keys[HAMMERS];
	struct conn c[HAMMERS];
	struct weir_tenant *changing; /* NULL: the limit stays */
	uint64_t times[TIMES];
	size_t n_times;
	struct change changes[CHANGES];
	size_t n_changes;
	struct weir_ring ring;
} rate;

static uint32_t random_of(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*seed >> 33) % below;
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	return getenv(name) ? strtoull(getenv(name), NULL, 0) : otherwise;
}

/* -- three who ask, one who reads the ring and changes the limit */

static void ask_on(size_t racer)
{
	uint64_t seed = rate.seed * HAMMERS + racer;
	struct conn *c = &rate.c[racer];
	char text[200];

	snprintf(text, sizeof(text),
		 "POST /v1/x HTTP/1.1\r\nx-api-key: %s\r\nContent-Length: 0\r\n\r\n",
		 rate.keys[racer]);
	while (now_ns() < rate.until && !race.failed) {
		uint64_t pause = 0;

		if (racer_send(c, true, TCP_ACK | TCP_PSH, text) == OUT_PASS) {
			racer_send(c, false, TCP_ACK | TCP_PSH,
				   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
			racer_send(c, true, TCP_ACK, "");
		} else {
			racer_reopen(c);
		}
		if (!random_of(&seed, 20))
			pause = random_of(&seed, 300 * US);
		else if (!random_of(&seed, 200))
			pause = random_of(&seed, 20000 * US);
		for (pause += now_ns(); now_ns() < pause;)
			;
	}
}

static void read_times(void)
{
	const struct weir_record *h;
	uint32_t len;
	uint64_t end;

	while ((h = weir_ring_next(&rate.ring, &len, &end))) {
		if (h->type == WEIR_REC_REQUEST && rate.n_times < TIMES)
			rate.times[rate.n_times++] = h->time_ns;
	}
	weir_ring_commit(&rate.ring);
}

static void change_rate(uint64_t *seed)
{
	struct weir_limits l = {
		.connections = -1,
		.concurrency = -1,
		.requests = { .count = 1,
			      .period_ns = (100 + random_of(seed, 2000)) * US,
			      .burst = 1 + random_of(seed, 40) },
	};
	struct change *c = &rate.changes[rate.n_changes];

	if (rate.n_changes == CHANGES)
		return;
	c->since = now_ns();
	weir_limits_store(rate.changing, rate.changing - lab.tenants, &l, NULL, c->since);
	c->by = now_ns();
	c->interval_ns = rate.changing->request_interval_ns;
	c->burst = rate.changing->request_burst;
	rate.n_changes++;
}

static void hammer_on(size_t racer)
{
	uint64_t seed = rate.seed * 7 + 5, next = 0;

	if (racer != READER) {
		ask_on(racer);
		return;
	}
	while (now_ns() < rate.until) {
		read_times();
		if (rate.changing && now_ns() > next) {
			change_rate(&seed);
			next = now_ns() + random_of(&seed, 30000 * US);
		}
		usleep(200);
	}
}

/* -- every window */

static int earlier(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Units (in 2^-20) that flow back into the bucket from `from` to `to`, at the faster rate of two
 * while one replaces the other; *burst: the largest in force meanwhile. */
static uint64_t flows_back(uint64_t from, uint64_t to, uint64_t *burst)
{
	uint64_t units = 0, most = 0;

	for (size_t i = 0; i < rate.n_changes; i++) {
		const struct change *c = &rate.changes[i];
		uint64_t a = c->since > from ? c->since : from;
		/* It still may be in force while the next one is stored. */
		uint64_t b = i + 1 < rate.n_changes ? rate.changes[i + 1].by : ~0ULL;

		if (b > to)
			b = to;
		if (i && a > to)
			break;
		if (!i)
			a = from;
		if (b < a)
			continue;
		units += ((b - a) << 20) / c->interval_ns + 1;
		if (c->burst > most)
			most = c->burst;
	}
	*burst = most;
	return units;
}

/* Was it judged while limits were being stored? By a mix of the two, then: such do not count. */
static bool amid_a_change(uint64_t time)
{
	for (size_t i = 1; i < rate.n_changes; i++)
		if (time + 300 * US > rate.changes[i].since && time <= rate.changes[i].by)
			return true;
	return false;
}

static void no_window_has_more_than_the_limit(void)
{
	static uint64_t counted_to[TIMES];
	uint64_t n = 0;

	qsort(rate.times, rate.n_times, sizeof(rate.times[0]), earlier);
	for (size_t i = 0; i < rate.n_times; i++) {
		n += !amid_a_change(rate.times[i]);
		counted_to[i] = n;
	}
	/* A burst and more, or the windows prove nothing. */
	assert_true(n > 2 * rate.changes[0].burst);
	for (size_t i = 0; i < rate.n_times; i++)
		for (size_t k = i; k < rate.n_times; k += 1 + k / 4096) {
			uint64_t in = counted_to[k] - (i ? counted_to[i - 1] : 0), burst;
			uint64_t back = flows_back(rate.times[i], rate.times[k], &burst);

			if (in <= burst + (back >> 20))
				continue;
			fail_msg("%llu admitted within %llu us, where a burst of %llu and %llu "
				 "more may be; WEIR_RATE_SEED=%llu",
				 (unsigned long long)in,
				 (unsigned long long)(rate.times[k] - rate.times[i]) / US,
				 (unsigned long long)burst, (unsigned long long)(back >> 20),
				 (unsigned long long)rate.seed);
		}
}

static void set_rate(struct weir_tenant *t, uint64_t interval_ns, uint32_t burst)
{
	t->flags |= WEIR_TENANT_LIMIT_REQUESTS;
	t->request_interval_ns = interval_ns;
	t->request_burst = burst;
	rate.changes[0] = (struct change){ .since = 0, .interval_ns = interval_ns, .burst = burst };
	rate.n_changes = 1;
}

/* Hammered for a while; what was admitted is in rate.times. */
static void hammer(void)
{
	rate.n_times = 0;
	rate.seed = from_env("WEIR_RATE_SEED", 1);
	for (int i = 0; i < HAMMERS; i++)
		rate.c[i] = open_conn(nobody, host);
	take_records();
	rate.ring.at = *rate.ring.consumer;
	rate.until = now_ns() + from_env("WEIR_RATE_MS", 500) * 1000 * US;
	run_racers(HAMMERS + 1, hammer_on);
	read_times();
	assert_true(rate.n_times < TIMES);
	printf("# %zu admitted, %zu limits\n", rate.n_times, rate.n_changes);
	for (int i = 0; i < HAMMERS; i++)
		hang_up(&rate.c[i]);
	read_times();
}

static void of_one_tenant_no_window_has_more_than_its_limit(void **state)
{
	struct weir_tenant *t = tenant_with("sk-hammer");

	for (int i = 0; i < HAMMERS; i++)
		rate.keys[i] = "sk-hammer";
	set_rate(t, 700 * US, 20);
	hammer();
	assert_int_equal(rate.n_times, t->admitted);
	no_window_has_more_than_the_limit();
}

static void of_two_tenants_no_window_has_more_than_their_parents_limit(void **state)
{
	struct chain a = new_chain("sk-hammer-a"), b = new_chain("sk-hammer-b");

	b.at[0]->parent = a.index[WEIR_LEVEL_PARENT];
	for (int i = 0; i < HAMMERS; i++)
		rate.keys[i] = i % 2 ? "sk-hammer-b" : "sk-hammer-a";
	/* Own limits that are in the way now and then, and give back what was taken above. */
	set_rate(a.at[0], 1500 * US, 6);
	set_rate(b.at[WEIR_LEVEL_SCOPE], 1100 * US, 9);
	set_rate(a.at[WEIR_LEVEL_TOP], 800 * US, 12);
	hammer();
	assert_int_equal(rate.n_times, a.at[0]->admitted + b.at[0]->admitted);
	assert_true(a.at[0]->admitted && b.at[0]->admitted);
	no_window_has_more_than_the_limit();
	chain_holds(&a, 0, 0);
	chain_holds(&b, 0, 0);
}

static void while_the_limit_changes_no_window_has_more_than_what_was_in_force(void **state)
{
	struct weir_tenant *t = tenant_with("sk-hammer-live");

	for (int i = 0; i < HAMMERS; i++)
		rate.keys[i] = "sk-hammer-live";
	set_rate(t, 900 * US, 10);
	rate.changing = t;
	hammer();
	rate.changing = NULL;
	assert_true(rate.n_changes > 5);
	no_window_has_more_than_the_limit();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(of_one_tenant_no_window_has_more_than_its_limit),
		STREAM_CLAIM(of_two_tenants_no_window_has_more_than_their_parents_limit),
		STREAM_CLAIM(while_the_limit_changes_no_window_has_more_than_what_was_in_force),
	};
	struct weir_error err;

	lab_open();
	if (weir_ring_map(bpf_map__fd(lab.skel->maps.ring), RING_BYTES, &rate.ring, &err))
		die("the ring");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
