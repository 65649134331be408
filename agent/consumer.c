// SPDX-License-Identifier: Apache-2.0
/*
 * Order matters here, for a kill -9 may come between any two stores. When a
 * request ends: its row is queued (memory that survives), then it is settled at
 * each level (idempotent by ring position, each level by its own), then the
 * ceiling moves (recomputed at start). Only then may a later record reuse its
 * parser. The ring's position moves last. The row may be committed before the
 * ceiling moves: what it really cost is then made up for first, by a sum as well.
 */
#include "consumer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "account.h"
#include "cost_cap.h"
#include "finish.h"
#include "ring.h"
#include "settle.h"

#define BATCH	     512 /* records between two moves of the ring's position */
#define STOP_WAIT    (5 * WEIR_SECOND)
#define PRESSED_NICE (-10)
/*
 * The kernel does not wake us: a wake-up costs it more than a record. A nap costs us more than
 * ten records, so while nobody waits for what we settle it is a long one.
 */
#define POLL_NS	 1000000
#define CALM_NS	 4000000
#define HURRY_NS (100 * UINT64_C(1000000)) /* a tenant near a limit has requests for so long */

struct weir_consumer {
	struct weir_kernel *kernel;
	struct weir_enforce *enforce;
	struct weir_state *state;
	struct weir_denials *denials;
	struct weir_writer *writer;
	struct weir_ring ring;
	pthread_t thread;
	bool running;
	bool stop;	 /* atomic */
	bool recovering; /* ceilings are not moved */
	bool drained;	 /* by the thread when it ends: nothing is left in the ring */
	struct weir_consumer_stats stats; /* written by the thread, read by others */
	uint64_t ended;			  /* requests; likewise */
	struct weir_pricing *pricing;
	struct weir_cost_cap cap;
	uint64_t hurry_until_ns; /* monotonic: naps are short */
};

int weir_consumer_new(struct weir_kernel *k, struct weir_enforce *e, struct weir_state *s,
		      struct weir_denials *d, const char *const *services, size_t n_services,
		      struct weir_consumer **out, struct weir_error *err)
{
	struct weir_consumer *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_pricing_new(services, n_services, &c->pricing, err);
	if (r) {
		free(c);
		return r;
	}
	c->kernel = k;
	c->enforce = e;
	c->cap = (struct weir_cost_cap){ .kernel = k, .enforce = e, .pricing = c->pricing };
	c->state = s;
	c->denials = d;
	r = weir_ring_map(k->ring_fd, k->ring_bytes, &c->ring, err);
	if (r) {
		weir_pricing_free(c->pricing);
		free(c);
		return r;
	}
	*out = c;
	return 0;
}

static void count(uint64_t *n)
{
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

/* A tenant may be refused because of what we have not settled yet: do not keep it waiting. */
static void look_at_limits(struct weir_consumer *c, const struct weir_rec_request *rec)
{
	const struct weir_slot *s = &c->kernel->slots[rec->h.slot];
	const uint32_t entries[] = { rec->tenant, s->others[0], s->others[1], s->others[2],
				     s->wallet };

	if (rec->h.time_ns + HURRY_NS / 2 < c->hurry_until_ns)
		return; /* hurrying already */
	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		if (!entries[i] || entries[i] >= c->kernel->max_tenants ||
		    !weir_is_tight(&c->kernel->tenants[entries[i]], rec->h.time_ns))
			continue;
		c->hurry_until_ns = rec->h.time_ns + HURRY_NS;
		return;
	}
}

static void fold_request(struct weir_consumer *c, const struct weir_rec_request *rec, uint64_t end)
{
	struct weir_open *o;

	if (weir_state_open_of(c->state, rec->h.slot)->next_pos >= end)
		return; /* folded before a crash */
	o = weir_state_spare(c->state, rec->h.slot);
	o->next_pos = end;
	o->started_wall_ns = rec->started_wall_ns;
	o->started_ns = rec->h.time_ns;
	o->body_bytes = rec->body_bytes;
	o->offset = 0;
	o->ordinal = rec->h.ordinal;
	o->ttft_us = 0;
	memcpy(o->method, rec->method, sizeof(o->method));
	memcpy(o->path, rec->path, sizeof(o->path));
	memcpy(o->client, rec->client, sizeof(o->client));
	o->trusted = 0;
	memset(o->session, 0, sizeof(o->session));
	memset(o->feature, 0, sizeof(o->feature));
	weir_body_init(&o->body);
	weir_response_init(&o->response, rec->flags & WEIR_SLOT_HEAD_METHOD);
	weir_state_flip(c->state, rec->h.slot);
	look_at_limits(c, rec);
	count(&c->stats.open);
}

static bool is_of(const struct weir_open *o, const struct weir_record *h, uint64_t started_wall_ns)
{
	return o->started_wall_ns == started_wall_ns && o->ordinal == h->ordinal;
}

static void fold_data(struct weir_consumer *c, const struct weir_rec_data *rec, uint32_t len,
		      uint64_t end)
{
	const struct weir_open *now = weir_state_open_of(c->state, rec->h.slot);
	struct weir_open *o;

	if (now->next_pos >= end)
		return;
	if (!is_of(now, &rec->h, rec->started_wall_ns) || sizeof(*rec) + rec->h.len > len) {
		count(&c->stats.orphans);
		return;
	}
	o = weir_state_spare(c->state, rec->h.slot);
	*o = *now;
	o->next_pos = end;
	if (rec->offset > o->offset)
		weir_response_skip(&o->response, rec->offset - o->offset);
	weir_response_feed(&o->response, rec + 1, rec->h.len);
	o->offset = rec->offset + rec->h.len;
	if (!o->ttft_us && o->response.seen.body_started)
		o->ttft_us = (rec->h.time_ns - o->started_ns) / 1000;
	/* Before the flip: killed in between, the record is folded again and the mark is stored
	 * again, which names the same request and so changes nothing. */
	weir_cost_cap_check(&c->cap, now, o, rec->h.slot);
	weir_state_flip(c->state, rec->h.slot);
}

static void fold_body(struct weir_consumer *c, const struct weir_rec_body *rec, uint64_t end)
{
	const struct weir_open *now = weir_state_open_of(c->state, rec->h.slot);
	struct weir_open *o;

	if (now->next_pos >= end)
		return;
	if (!is_of(now, &rec->h, rec->started_wall_ns)) {
		count(&c->stats.orphans);
		return;
	}
	o = weir_state_spare(c->state, rec->h.slot);
	*o = *now;
	o->next_pos = end;
	weir_body_fold(&o->body, rec);
	weir_state_flip(c->state, rec->h.slot);
}

static void fold_labels(struct weir_consumer *c, const struct weir_rec_labels *rec, uint64_t end)
{
	const struct weir_open *now = weir_state_open_of(c->state, rec->h.slot);
	struct weir_open *o;

	if (now->next_pos >= end)
		return;
	if (!is_of(now, &rec->h, rec->started_wall_ns)) {
		count(&c->stats.orphans);
		return;
	}
	o = weir_state_spare(c->state, rec->h.slot);
	*o = *now;
	o->next_pos = end;
	o->trusted = rec->flags & WEIR_LABELS_TRUSTED;
	memcpy(o->session, rec->session, sizeof(o->session) - 1);
	memcpy(o->feature, rec->feature, sizeof(o->feature) - 1);
	weir_state_flip(c->state, rec->h.slot);
}

/* Everywhere it was charged; and what it is known to cost so far is off the ceiling, until the
 * ledger says what it was. */
static void settle(struct weir_consumer *c, const struct weir_rec_end *rec,
		   const struct weir_row *row, uint64_t pos)
{
	int64_t posted = row->flags & WEIR_ROW_POSTED ? row->price_nano : 0;
	bool now = weir_settle_levels(c->kernel, c->enforce, rec, row, pos);

	if (now && !c->recovering)
		weir_ceiling_add(&c->kernel->tenants[rec->wallet], rec->reserved_nano - posted,
				 -posted);
}

/* -EAGAIN: the row queue is full; the record must be folded again later. */
static int fold_end(struct weir_consumer *c, const struct weir_rec_end *rec, uint64_t end)
{
	const struct weir_open *o = weir_state_open_of(c->state, rec->h.slot);
	const struct weir_terms *terms = weir_enforce_terms(c->enforce, rec->tenant);
	struct weir_row row = { 0 };

	if (!terms)
		return 0;
	/* Nobody's leave no row: let through unlimited, with enforcement off. But what their
	 * entry reserved is given back like any other's. */
	if (rec->tenant != WEIR_NO_TENANT) {
		if (!is_of(o, &rec->h, rec->started_wall_ns)) {
			count(&c->stats.orphans);
			o = NULL;
		}
		weir_finish(o, rec, terms, c->pricing, c->kernel->config->instance_boot, &row);
		if (weir_finish_leaves_row(&row)) {
			if (!weir_state_put_row(c->state, &row))
				return -EAGAIN;
			count(&c->stats.rows);
		}
	}
	settle(c, rec, &row, end);
	return 0;
}

/* What a record of each type had at first. One that is shorter than ours is of an older
 * kernel program, and what it does not have is zero; one that is longer, of a newer. */
static const uint32_t least_bytes[] = {
	[WEIR_REC_REQUEST] = 152, [WEIR_REC_DATA] = 40,	 [WEIR_REC_END] = 72,
	[WEIR_REC_DENY] = 96,	  [WEIR_REC_BODY] = 112, [WEIR_REC_LABELS] = 152,
};

/* The record as ours, in the ring or in `room`. */
static const void *ours(const struct weir_record *rec, uint32_t len, void *room, size_t size)
{
	if (len >= size)
		return rec;
	memset(room, 0, size);
	return memcpy(room, rec, len);
}

static int fold(struct weir_consumer *c, const struct weir_record *rec, uint32_t len, uint64_t end)
{
	union {
		struct weir_rec_request request;
		struct weir_rec_body body;
		struct weir_rec_labels labels;
		struct weir_rec_end end;
		struct weir_rec_deny deny;
	} r;

	count(&c->stats.records);
	if (len < sizeof(*rec) || rec->slot >= c->kernel->max_flows ||
	    rec->type >= sizeof(least_bytes) / sizeof(least_bytes[0]) ||
	    len < least_bytes[rec->type])
		return 0;
	switch (rec->type) {
	case WEIR_REC_REQUEST:
		fold_request(c, ours(rec, len, &r, sizeof(r.request)), end);
		return 0;
	case WEIR_REC_DATA:
		fold_data(c, (const void *)rec, len, end);
		return 0;
	case WEIR_REC_BODY:
		fold_body(c, ours(rec, len, &r, sizeof(r.body)), end);
		return 0;
	case WEIR_REC_LABELS:
		fold_labels(c, ours(rec, len, &r, sizeof(r.labels)), end);
		return 0;
	case WEIR_REC_END:
		if (fold_end(c, ours(rec, len, &r, sizeof(r.end)), end))
			return -EAGAIN;
		count(&c->ended);
		return 0;
	case WEIR_REC_DENY:
		weir_denials_note(c->denials, ours(rec, len, &r, sizeof(r.deny)));
		return 0;
	}
	return 0;
}

/* Up to BATCH records. Returns how many; *full: stopped at a full row queue. */
static size_t run_batch(struct weir_consumer *c, bool *full)
{
	struct weir_card *const *cards;
	size_t n_cards, n = 0;

	*full = false;
	weir_enforce_read_lock(c->enforce);
	cards = weir_enforce_cards_locked(c->enforce, &n_cards);
	weir_pricing_set(c->pricing, cards, n_cards,
			 weir_enforce_policy_locked(c->enforce)->serial);
	while (n < BATCH) {
		uint64_t before = c->ring.at, end;
		const struct weir_record *rec;
		uint32_t len;

		rec = weir_ring_next(&c->ring, &len, &end);
		if (!rec)
			break;
		if (fold(c, rec, len, end)) {
			c->ring.at = before;
			*full = true;
			break;
		}
		n++;
	}
	weir_enforce_read_unlock(c->enforce);
	weir_ring_commit(&c->ring);
	__atomic_store_n(&c->stats.ring_used, weir_ring_used(&c->ring), __ATOMIC_RELAXED);
	return n;
}

static uint64_t beat(struct weir_consumer *c)
{
	uint64_t now_ns = weir_mono_ns();

	__atomic_store_n(&c->kernel->config->heartbeat_ns, now_ns, __ATOMIC_RELAXED);
	return now_ns;
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

	c->recovering = true;
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
	c->recovering = false;
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

static void *run(void *arg)
{
	struct weir_consumer *c = arg;
	bool full, pressed = false;
	uint64_t give_up = 0;

	for (;;) {
		/* Read before the batch: what came until then is folded before we end. */
		bool stop = __atomic_load_n(&c->stop, __ATOMIC_ACQUIRE);
		uint64_t now_ns = beat(c);
		bool filling = weir_ring_used(&c->ring) > c->ring.bytes / 64;
		size_t n;

		n = run_batch(c, &full);
		if (weir_state_rows(c->state))
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
		nap(filling || stop || now_ns < c->hurry_until_ns ? POLL_NS : CALM_NS);
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
	uint64_t ended;

	out->records = __atomic_load_n(&c->stats.records, __ATOMIC_RELAXED);
	out->rows = __atomic_load_n(&c->stats.rows, __ATOMIC_RELAXED);
	out->orphans = __atomic_load_n(&c->stats.orphans, __ATOMIC_RELAXED);
	out->capped = __atomic_load_n(&c->cap.cut, __ATOMIC_RELAXED);
	out->capped_shadow = __atomic_load_n(&c->cap.cut_in_shadow, __ATOMIC_RELAXED);
	out->ring_used = weir_ring_used(&c->ring);
	out->open = __atomic_load_n(&c->stats.open, __ATOMIC_RELAXED);
	ended = __atomic_load_n(&c->ended, __ATOMIC_RELAXED);
	/* Of those that ended, some began before this agent did. */
	out->open = out->open > ended ? out->open - ended : 0;
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
	weir_ring_unmap(&c->ring);
	weir_pricing_free(c->pricing);
	free(c);
	return drained;
}
