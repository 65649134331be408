// SPDX-License-Identifier: Apache-2.0
/*
 * Order matters here, for a kill -9 may come between any two stores. When a
 * request ends (fold_end.c): its row is queued (memory that survives), then it is settled at
 * each level (idempotent by ring position, each level by its own), then the
 * ceiling moves (recomputed at start). Only then may a later record reuse its
 * parser. The ring's position moves last. The row may be committed before the
 * ceiling moves: what it really cost is then made up for first, by a sum as well.
 */
#include "consumer.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fold.h"
#include "ring.h"

#define BATCH	     512 /* records between two moves of the ring's position */
#define STOP_WAIT    (5 * WEIR_SECOND)
#define PRESSED_NICE (-10)
/*
 * The kernel does not wake us: a wake-up costs it more than a record. A nap costs us more than
 * ten records, so it is a short one only while somebody waits for what we settle; while requests
 * are open, or come and go, one after which their balances have moved within 5 ms; and a long one
 * else.
 */
#define POLL_NS	  1000000
#define BUSY_NS	  2000000
#define CALM_NS	  4000000
#define LATELY_NS 100000000
#define SLICE_NS  500000

#define LEARNT_MODELS 1024

struct weir_consumer {
	struct weir_fold fold;
	struct weir_writer *writer;
	struct weir_ring ring;
	pthread_t thread;
	bool running;
	bool stop;    /* atomic */
	bool drained; /* by the thread when it ends: nothing is left in the ring */
};

static void free_parts(struct weir_consumer *c)
{
	weir_ring_unmap(&c->ring);
	weir_hidden_free(c->fold.hidden);
	weir_learnt_free(c->fold.learnt);
	weir_decoders_free(c->fold.decoders);
	weir_pricing_free(c->fold.pricing);
	free(c);
}

int weir_consumer_new(const struct weir_consumer_parts *p, struct weir_consumer **out,
		      struct weir_error *err)
{
	struct weir_consumer *c = calloc(1, sizeof(*c));
	struct weir_fold *f = &c->fold;
	int r;

	if (!c)
		return weir_fail(err, ENOMEM, "out of memory");
	f->kernel = p->kernel;
	f->enforce = p->enforce;
	f->state = p->state;
	f->denials = p->denials;
	f->labels = p->labels;
	f->lag = p->lag;
	r = weir_pricing_new(p->services, p->n_services, &f->pricing, err);
	if (!r)
		r = weir_decoders_new(p->decoder_bytes, &f->decoders, err);
	if (!r) {
		f->learnt = weir_learnt_new(LEARNT_MODELS);
		f->hidden = weir_hidden_new();
		if (!f->learnt || !f->hidden)
			r = weir_fail(err, ENOMEM, "out of memory");
	}
	if (!r)
		r = weir_ring_map(p->kernel->ring_fd, p->kernel->ring_bytes, &c->ring, err);
	if (r) {
		free_parts(c);
		return r;
	}
	f->cap = (struct weir_cost_cap){ .kernel = p->kernel,
					 .enforce = p->enforce,
					 .pricing = f->pricing,
					 .learnt = f->learnt };
	*out = c;
	return 0;
}

/* Up to BATCH records. Returns how many; *full: stopped at a full row queue. */
static size_t run_batch(struct weir_consumer *c, bool *full)
{
	struct weir_card *const *cards;
	size_t n_cards, n = 0;

	*full = false;
	weir_enforce_read_lock(c->fold.enforce);
	cards = weir_enforce_cards_locked(c->fold.enforce, &n_cards);
	weir_pricing_set(c->fold.pricing, cards, n_cards,
			 weir_enforce_policy_locked(c->fold.enforce)->serial);
	while (n < BATCH) {
		uint64_t before = c->ring.at, end;
		const struct weir_record *rec;
		uint32_t len;

		rec = weir_ring_next(&c->ring, &len, &end);
		if (!rec)
			break;
		if (weir_fold(&c->fold, rec, len, end)) {
			c->ring.at = before;
			*full = true;
			break;
		}
		n++;
	}
	weir_enforce_read_unlock(c->fold.enforce);
	weir_ring_commit(&c->ring);
	return n;
}

/*
 * Not while the ledger cannot be written: once that has been so for as long as an agent may be
 * silent, the kernel goes by on_agent_down, as if there were none (delivery.md, rule 4).
 */
static uint64_t beat(struct weir_consumer *c)
{
	uint64_t now_ns = weir_mono_ns();

	if (!weir_writer_ill_ns(c->writer))
		__atomic_store_n(&c->fold.kernel->config->heartbeat_ns, now_ns, __ATOMIC_RELAXED);
	return now_ns;
}

/* Of those that ended, some began before this agent did. */
static uint64_t open_requests(const struct weir_fold_counts *n)
{
	uint64_t begun = __atomic_load_n(&n->begun, __ATOMIC_RELAXED);
	uint64_t ended = __atomic_load_n(&n->ended, __ATOMIC_RELAXED);

	return begun > ended ? begun - ended : 0;
}

static void nap(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

int weir_consumer_recover(struct weir_consumer *c, struct weir_writer *w)
{
	uint64_t until = __atomic_load_n(c->ring.producer, __ATOMIC_ACQUIRE);
	uint64_t deadline = weir_mono_ns() + 60 * WEIR_SECOND;
	bool full;

	c->fold.recovering = true;
	while (c->ring.at < until) {
		/* A record reserved and never submitted would be in the way for ever; the
		 * kernel submits each within its program, so this only waits. */
		if (!run_batch(c, &full)) {
			if (weir_mono_ns() > deadline)
				return -ETIMEDOUT;
			nap(POLL_NS);
		}
		if (full)
			weir_writer_kick(w);
	}
	c->fold.recovering = false;
	weir_writer_kick(w);
	return 0;
}

/* What does not fit into the ring is lost: when it fills, go before others until it
 * is all but empty. */
static void press(struct weir_consumer *c, bool *pressed)
{
	uint64_t used = weir_ring_used(&c->ring);
	bool want = used > (*pressed ? c->ring.bytes / 64 : c->ring.bytes / 8);

	if (want == *pressed)
		return;
	*pressed = want;
	setpriority(PRIO_PROCESS, gettid(), want ? PRESSED_NICE : 0);
}

/* A short slice makes us due sooner than those with long ones whenever we wake, for the same share
 * of the time in all: what is settled late is judged late. Linux 6.12 and later; others ignore it.
 */
static void ask_for_short_slices(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} a = { .size = sizeof(a), .policy = SCHED_OTHER, .runtime = SLICE_NS };

	syscall(SYS_sched_setattr, 0, &a, 0);
}

static void *run(void *arg)
{
	struct weir_consumer *c = arg;
	bool full, pressed = false;
	uint64_t give_up = 0, busy_until_ns = 0;

	ask_for_short_slices();
	for (;;) {
		/* Read before the batch: what came until then is folded before we end. */
		bool stop = __atomic_load_n(&c->stop, __ATOMIC_ACQUIRE);
		uint64_t now_ns = beat(c);
		bool filling = weir_ring_used(&c->ring) > c->ring.bytes / 64;
		size_t n;

		n = run_batch(c, &full);
		if (weir_state_rows(c->fold.state))
			weir_writer_kick(c->writer);
		press(c, &pressed);
		if (n == BATCH)
			continue;
		if (stop && !full) {
			c->drained = true;
			return NULL;
		}
		if (stop && !give_up)
			give_up = weir_mono_ns() + STOP_WAIT;
		if (stop && weir_mono_ns() > give_up)
			return NULL;
		if (n || open_requests(&c->fold.n))
			busy_until_ns = now_ns + LATELY_NS;
		if (filling || stop || now_ns < c->fold.hurry_until_ns)
			nap(POLL_NS);
		else
			nap(now_ns < busy_until_ns ? BUSY_NS : CALM_NS);
	}
}

int weir_consumer_start(struct weir_consumer *c, struct weir_writer *w, struct weir_error *err)
{
	int r;

	c->writer = w;
	beat(c);
	r = pthread_create(&c->thread, NULL, run, c);
	if (r)
		return weir_fail(err, r, "cannot start the consumer thread: %s", strerror(r));
	pthread_setname_np(c->thread, "weir-ring");
	c->running = true;
	return 0;
}

void weir_consumer_stats(struct weir_consumer *c, struct weir_consumer_stats *out)
{
	const struct weir_fold *f = &c->fold;
	const struct weir_config *config = f->kernel->config;

	out->records = __atomic_load_n(&f->n.records, __ATOMIC_RELAXED);
	out->rows = __atomic_load_n(&f->n.rows, __ATOMIC_RELAXED);
	out->orphans = __atomic_load_n(&f->n.orphans, __ATOMIC_RELAXED);
	out->capped = __atomic_load_n(&f->cap.cut, __ATOMIC_RELAXED);
	out->capped_shadow = __atomic_load_n(&f->cap.cut_in_shadow, __ATOMIC_RELAXED);
	out->ring_used = weir_ring_used(&c->ring);
	out->open = open_requests(&f->n);
	out->silent = c->running &&
		      weir_mono_ns() - __atomic_load_n(&config->heartbeat_ns, __ATOMIC_RELAXED) >
			      config->agent_timeout_ns;
	weir_tally_read(&f->tally, &out->tally);
	weir_decoders_stats(f->decoders, &out->decoders);
}

struct weir_hidden *weir_consumer_hidden(struct weir_consumer *c)
{
	return c->fold.hidden;
}

bool weir_consumer_stop(struct weir_consumer *c)
{
	bool drained = true;

	if (!c)
		return true;
	if (c->running) {
		__atomic_store_n(&c->stop, true, __ATOMIC_RELEASE);
		pthread_join(c->thread, NULL);
		drained = c->drained;
	}
	free_parts(c);
	return drained;
}
