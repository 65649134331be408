/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recent refusals and their sums per second. Everything is bounded when it is
 * made: a flood of refusals, or of tenants, costs older memory, never more of
 * it. One mutex; what is done under it is short, because the ring thread waits.
 */
#include "denials.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS  UINT64_C(1000000000)
#define SETTLE_NS  UINT64_C(200000000) /* a record may come this late */
#define PAIR_SLOTS (2 * WEIR_DENIALS_PAIRS)
#define NO_BLOCK   UINT16_MAX
#define TAKE_BATCH 256

_Static_assert((PAIR_SLOTS & (PAIR_SLOTS - 1)) == 0, "slots are masked");
_Static_assert(WEIR_DENIALS_TENANTS < NO_BLOCK, "block numbers are u16");

/* The last refusals of one tenant; in a list by how lately it was refused. */
struct block {
	uint32_t tenant;
	uint16_t newer, older;
	uint32_t n; /* ever noted; the last is at (n - 1) % KEPT */
	struct weir_refusal kept[WEIR_DENIALS_KEPT];
};

/* What a sum is of: the kernel's key of a count. */
struct pair_key {
	uint32_t tenant;
	uint16_t reason;
	bool shadow;
};

/* A second of one pair, and the count up to which all was summed. */
struct pair {
	struct pair_key key;
	bool used;
	bool open;
	uint64_t base; /* summed up to here */
	uint64_t seen; /* count of the last record */
	uint64_t second;
	uint64_t first_ns, last_ns;
	int64_t limit;
	uint32_t level;
};

struct weir_denials {
	pthread_mutex_t lock;

	uint32_t max_tenants;
	uint16_t *block_of; /* by tenant; block number + 1, 0: none */
	struct block *blocks[WEIR_DENIALS_TENANTS];
	uint16_t n_blocks;
	uint16_t newest, oldest;

	struct pair *pairs; /* open addressing, PAIR_SLOTS; NULL: no sums are kept */
	size_t n_pairs, n_open;
	struct weir_denial_sum *queue;
	size_t q_head, q_len;
	uint64_t dropped;
};

int weir_denials_new(uint32_t max_tenants, bool sums, struct weir_denials **out,
		     struct weir_error *err)
{
	struct weir_denials *d = calloc(1, sizeof(*d));

	if (!d)
		return weir_fail(err, ENOMEM, "denials: out of memory");
	d->max_tenants = max_tenants;
	d->newest = d->oldest = NO_BLOCK;
	pthread_mutex_init(&d->lock, NULL);
	d->block_of = calloc((size_t)max_tenants + 1, sizeof(*d->block_of));
	if (sums) {
		d->pairs = calloc(PAIR_SLOTS, sizeof(*d->pairs));
		d->queue = calloc(WEIR_DENIALS_QUEUE, sizeof(*d->queue));
	}
	if (!d->block_of || (sums && (!d->pairs || !d->queue))) {
		weir_denials_free(d);
		return weir_fail(err, ENOMEM, "denials: out of memory for %u tenants", max_tenants);
	}
	*out = d;
	return 0;
}

void weir_denials_free(struct weir_denials *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_blocks; i++)
		free(d->blocks[i]);
	free(d->block_of);
	free(d->pairs);
	free(d->queue);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* ------------------------------------------------------- last few per tenant */

static void block_unlink(struct weir_denials *d, uint16_t i)
{
	struct block *b = d->blocks[i];

	if (b->newer == NO_BLOCK)
		d->newest = b->older;
	else
		d->blocks[b->newer]->older = b->older;
	if (b->older == NO_BLOCK)
		d->oldest = b->newer;
	else
		d->blocks[b->older]->newer = b->newer;
}

static void block_to_front(struct weir_denials *d, uint16_t i)
{
	struct block *b = d->blocks[i];

	b->newer = NO_BLOCK;
	b->older = d->newest;
	if (d->newest == NO_BLOCK)
		d->oldest = i;
	else
		d->blocks[d->newest]->newer = i;
	d->newest = i;
}

static struct block *block_for(struct weir_denials *d, uint32_t tenant)
{
	uint16_t at = d->block_of[tenant];
	uint16_t i;

	if (at) {
		i = at - 1;
		block_unlink(d, i);
		block_to_front(d, i);
		return d->blocks[i];
	}
	if (d->n_blocks < WEIR_DENIALS_TENANTS) {
		struct block *b = malloc(sizeof(*b));

		if (!b)
			return NULL;
		i = d->n_blocks++;
		d->blocks[i] = b;
	} else {
		i = d->oldest;
		block_unlink(d, i);
		d->block_of[d->blocks[i]->tenant] = 0;
	}
	d->blocks[i]->tenant = tenant;
	d->blocks[i]->n = 0;
	d->block_of[tenant] = i + 1;
	block_to_front(d, i);
	return d->blocks[i];
}

size_t weir_denials_last(struct weir_denials *d, uint32_t tenant, struct weir_refusal *out,
			 size_t max)
{
	size_t n = 0;

	if (tenant > d->max_tenants)
		return 0;
	pthread_mutex_lock(&d->lock);
	if (d->block_of[tenant]) {
		const struct block *b = d->blocks[d->block_of[tenant] - 1];
		size_t have = b->n < WEIR_DENIALS_KEPT ? b->n : WEIR_DENIALS_KEPT;

		for (; n < have && n < max; n++)
			out[n] = b->kept[(b->n - 1 - n) % WEIR_DENIALS_KEPT];
	}
	pthread_mutex_unlock(&d->lock);
	return n;
}

/* --------------------------------------------------------- sums per second */

static bool same_pair(struct pair_key a, struct pair_key b)
{
	return a.tenant == b.tenant && a.reason == b.reason && a.shadow == b.shadow;
}

static size_t pair_slot(const struct pair *pairs, struct pair_key key)
{
	size_t at = ((key.tenant * UINT64_C(0x9e3779b97f4a7c15) + (key.reason << 1) + key.shadow) *
		     UINT64_C(0xd6e8feb86659fd93)) >>
		    40;

	for (;; at++) {
		const struct pair *p = &pairs[at & (PAIR_SLOTS - 1)];

		if (!p->used || same_pair(p->key, key))
			return at & (PAIR_SLOTS - 1);
	}
}

/* Forget the pairs that have no open second. Nothing is lost: all of theirs was
 * summed, and the first refusal after a pause is always shown. */
static void pairs_compact(struct weir_denials *d)
{
	struct pair *fresh = calloc(PAIR_SLOTS, sizeof(*fresh));
	size_t n = 0;

	if (!fresh)
		return;
	for (size_t i = 0; i < PAIR_SLOTS; i++) {
		const struct pair *p = &d->pairs[i];

		if (p->used && p->open) {
			fresh[pair_slot(fresh, p->key)] = *p;
			n++;
		}
	}
	free(d->pairs);
	d->pairs = fresh;
	d->n_pairs = n;
}

static void pair_close(struct weir_denials *d, struct pair *p, uint64_t total)
{
	struct weir_denial_sum *s;

	if (total < p->seen)
		total = p->seen;
	if (d->q_len == WEIR_DENIALS_QUEUE) {
		d->q_head = (d->q_head + 1) % WEIR_DENIALS_QUEUE;
		d->q_len--;
		d->dropped++;
	}
	s = &d->queue[(d->q_head + d->q_len++) % WEIR_DENIALS_QUEUE];
	*s = (struct weir_denial_sum){
		.tenant = p->key.tenant,
		.reason = p->key.reason,
		.shadow = p->key.shadow,
		.level = p->level,
		.count = total - p->base,
		.first_wall_ns = p->first_ns,
		.last_wall_ns = p->last_ns,
		.limit = p->limit,
		.total = total,
	};
	p->base = p->seen = total;
	p->open = false;
	d->n_open--;
}

static void sum_note(struct weir_denials *d, const struct weir_rec_deny *rec)
{
	uint64_t second = rec->wall_ns / SECOND_NS;
	struct pair_key key = { rec->tenant, (uint16_t)rec->reason, rec->shadow };
	struct pair *p = &d->pairs[pair_slot(d->pairs, key)];

	if (!p->used) {
		/* Only where it makes room for long: it costs a megabyte's copy. */
		if (d->n_pairs >= WEIR_DENIALS_PAIRS && d->n_open < WEIR_DENIALS_PAIRS / 4 * 3)
			pairs_compact(d);
		if (d->n_pairs >= WEIR_DENIALS_PAIRS) {
			d->dropped++;
			return;
		}
		p = &d->pairs[pair_slot(d->pairs, key)];
		*p = (struct pair){
			.key = key,
			.used = true,
			.base = rec->count ? rec->count - 1 : 0,
		};
		p->seen = p->base;
		d->n_pairs++;
	}
	/* The kernel's map was made anew under us (detach, then attach). */
	if (rec->count && rec->count < p->base / 2)
		p->base = p->seen = rec->count - 1;
	/* Counted with the second before: its sum was read after this refusal. */
	if (rec->count <= p->base)
		return;
	if (p->open && p->second != second)
		pair_close(d, p, p->seen);
	if (!p->open) {
		p->open = true;
		p->second = second;
		p->first_ns = rec->wall_ns;
		d->n_open++;
	}
	if (rec->count > p->seen)
		p->seen = rec->count;
	p->last_ns = rec->wall_ns;
	p->limit = rec->limit;
	p->level = rec->level;
}

void weir_denials_note(struct weir_denials *d, const struct weir_rec_deny *rec)
{
	struct block *b;

	pthread_mutex_lock(&d->lock);
	b = rec->tenant <= d->max_tenants && rec->reason < WEIR_REASON_MAX
		    ? block_for(d, rec->tenant)
		    : NULL;
	if (!b) {
		d->dropped++;
		pthread_mutex_unlock(&d->lock);
		return;
	}
	b->kept[b->n++ % WEIR_DENIALS_KEPT] = (struct weir_refusal){
		.wall_ns = rec->wall_ns,
		.count = rec->count,
		.reason = rec->reason,
		.level = rec->level,
		.shadow = rec->shadow,
		.limit = rec->limit,
		.value = rec->value,
		.asked = rec->asked,
		.retry_after_ns = rec->retry_after_ns,
	};
	memcpy(b->kept[(b->n - 1) % WEIR_DENIALS_KEPT].client, rec->client, 16);
	/* n stays below 2 x KEPT, so that it never wraps; the remainder is what matters. */
	if (b->n >= 2 * WEIR_DENIALS_KEPT)
		b->n -= WEIR_DENIALS_KEPT;
	if (d->pairs)
		sum_note(d, rec);
	pthread_mutex_unlock(&d->lock);
}

/* Close up to TAKE_BATCH seconds that are over; returns how many it found. The
 * kernel's counts are read without the lock. */
static size_t close_due(struct weir_denials *d, uint64_t now_wall_ns, weir_denial_counts_fn *counts,
			void *ctx)
{
	struct {
		struct pair_key key;
		uint64_t second;
	} due[TAKE_BATCH];
	size_t n = 0;

	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; d->n_open && i < PAIR_SLOTS && n < TAKE_BATCH; i++) {
		const struct pair *p = &d->pairs[i];

		if (!p->used || !p->open)
			continue;
		if (now_wall_ns && (p->second + 1) * SECOND_NS + SETTLE_NS > now_wall_ns)
			continue;
		due[n].key = p->key;
		due[n++].second = p->second;
	}
	pthread_mutex_unlock(&d->lock);

	for (size_t i = 0; i < n; i++) {
		uint64_t in_kernel[WEIR_REASON_MAX] = { 0 };
		struct pair *p;

		if (counts && counts(ctx, due[i].key.tenant, due[i].key.shadow, in_kernel))
			memset(in_kernel, 0, sizeof(in_kernel));
		pthread_mutex_lock(&d->lock);
		p = &d->pairs[pair_slot(d->pairs, due[i].key)];
		if (p->used && p->open && p->second == due[i].second)
			pair_close(d, p, in_kernel[due[i].key.reason]);
		pthread_mutex_unlock(&d->lock);
	}
	return n;
}

size_t weir_denials_take(struct weir_denials *d, uint64_t now_wall_ns,
			 weir_denial_counts_fn *counts, void *ctx, struct weir_denial_sum *out,
			 size_t max)
{
	size_t n = 0;

	if (!d->pairs)
		return 0;
	while (close_due(d, now_wall_ns, counts, ctx) == TAKE_BATCH)
		;
	pthread_mutex_lock(&d->lock);
	for (; n < max && d->q_len; n++) {
		out[n] = d->queue[d->q_head];
		d->q_head = (d->q_head + 1) % WEIR_DENIALS_QUEUE;
		d->q_len--;
	}
	pthread_mutex_unlock(&d->lock);
	return n;
}

uint64_t weir_denials_dropped(struct weir_denials *d)
{
	uint64_t n;

	pthread_mutex_lock(&d->lock);
	n = d->dropped;
	pthread_mutex_unlock(&d->lock);
	return n;
}
