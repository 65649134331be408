// SPDX-License-Identifier: Apache-2.0
/*
 * Buckets under any order of takers, waits and gifts back, at any time of the clock.
 * Claims: what is let in within any window is at most the burst and what the window
 * refills, beside what was given back; whoever may take is let in, and who waits as told is
 * let in then and no sooner; a bucket says what is left of it; and its time goes forward
 * only, but for what is given back.
 *
 * Input: interval, burst and the clock's start, then two bytes or more for each event.
 */
#include <stdbool.h>

#include "bpf/gcra.h"
#include "fuzz.h"

typedef __int128 exact;

#define EVENTS 96

/* An interval is the rate's denominator: in units of 1/interval all is whole. */
struct bucket {
	exact tokens, size; /* times interval */
	uint64_t at;
};

/* Until `now`: `elapsed / interval` tokens more, and never more than the burst. */
static void refill(struct bucket *b, uint64_t now)
{
	b->tokens += now - b->at;
	if (b->tokens > b->size)
		b->tokens = b->size;
	b->at = now;
}

struct admitted {
	uint64_t at;
	int by; /* 1, or -1: given back */
};

/* Every window from one event to another; gifts in it are tokens that came beside. */
static void check_windows(const struct admitted *a, size_t n, uint64_t interval, uint64_t burst)
{
	for (size_t i = 0; i < n; i++) {
		exact let_in = 0, gifts = 0;

		for (size_t j = i; j < n; j++) {
			let_in += a[j].by > 0;
			gifts += a[j].by < 0;
			CHECK((let_in - gifts) * interval <=
			      (exact)burst * interval + (a[j].at - a[i].at));
		}
	}
}

static void check_take(uint64_t *tat, struct bucket *b, uint64_t now, uint64_t interval,
		       uint64_t tau, struct admitted *a, size_t *n)
{
	uint64_t before = *tat;
	struct weir_gcra g = weir_gcra_peek(before, now, interval, tau);
	uint64_t wait = weir_gcra_take(tat, now, interval, tau);

	CHECK(g.wait_ns == wait);
	CHECK(*tat >= before);
	if (b->tokens >= interval) {
		CHECK(!wait);
		CHECK(*tat == g.tat_ns);
		b->tokens -= interval;
		a[(*n)++] = (struct admitted){ now, 1 };
		return;
	}
	CHECK(*tat == before);
	CHECK(wait == interval - b->tokens || !b->size);
	if (!b->size) {
		CHECK(wait);
		return;
	}
	CHECK(!weir_gcra_peek(before, now + wait, interval, tau).wait_ns);
	CHECK(weir_gcra_peek(before, now + wait - 1, interval, tau).wait_ns == 1);
}

/* Tokens are known afterwards: let in while the debt is below the burst. */
static void check_debt(uint64_t tat, uint64_t now, uint64_t tau)
{
	exact debt = (exact)tat - now, over = (debt > 0 ? debt : 0) - tau;
	uint64_t wait = weir_gcra_debt_wait(tat, now, tau);

	if (debt <= 0 || over < 0) {
		CHECK(!wait);
		return;
	}
	CHECK((exact)wait == over + 1);
	CHECK(!tau || !weir_gcra_debt_wait(tat, now + wait, tau));
}

/* A token bucket's interval is no whole number of nanoseconds: what is left is told with an
 * interval cut to one, never too low, never above the burst, all of it when nothing is owed. */
static void check_left(uint64_t tat, uint64_t now, uint64_t tau, uint64_t burst)
{
	exact owed = tat > now ? tat - now : 0;
	uint64_t left = weir_gcra_left(tat, now, tau, burst);

	if (owed >= tau || tau < burst) {
		CHECK(!left);
		return;
	}
	CHECK(left <= burst);
	CHECK((unsigned __int128)left >= (unsigned __int128)(tau - owed) * burst / tau);
	CHECK(owed || left == burst);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	/* From a nanosecond to the day; bursts and the clock so that the sum of all stays in
	 * the 584 years that there are. */
	uint64_t interval = 1 + take_scaled(&in) % 86400000000000ULL;
	uint64_t burst = take_scaled(&in) % 10000;
	uint64_t now = interval + take_scaled(&in) % (1ULL << 62);
	uint64_t tau = interval * burst, tat = take(&in, 1) & 1 ? 0 : now;
	struct bucket b = { (exact)tau, (exact)tau, now };
	struct admitted a[EVENTS];
	size_t n = 0, held = 0;

	check_left(take_scaled(&in), take_scaled(&in), take_scaled(&in), take_scaled(&in));
	check_debt(take_scaled(&in) >> 1, take_scaled(&in) >> 1, take_scaled(&in) >> 1);
	while (n < EVENTS && input_left(&in)) {
		uint8_t what = take(&in, 1);
		uint64_t before = n;

		if (what & 4) /* up to four intervals, or to the very edge */
			now += what & 8 ? take_scaled(&in) % (4 * interval)
					: (interval - (uint64_t)(b.tokens % interval));
		refill(&b, now);
		if ((what & 3) == 3 && held) {
			uint64_t was = tat;

			weir_gcra_give_back(&tat, interval);
			CHECK(was - tat == interval && tat < was);
			b.tokens += interval;
			refill(&b, now);
			a[n++] = (struct admitted){ now, -1 };
			held--;
		} else {
			check_take(&tat, &b, now, interval, tau, a, &n);
			held += n > before;
		}
		CHECK(weir_gcra_left(tat, now, tau, burst) == (uint64_t)(b.tokens / interval));
		CHECK(weir_gcra_full_in(tat, now) == (uint64_t)(b.size - b.tokens));
	}
	check_windows(a, n, interval, burst);
	return 0;
}
