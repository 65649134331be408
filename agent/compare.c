// SPDX-License-Identifier: Apache-2.0
/*
 * Memory: of a socket eight bytes, a keyed hash in a table at most half full; of a connection
 * nothing, it is looked up as it passes. Two connections with the same hash (one in 2^64) would
 * hide the lack of one's socket behind the other's, no more.
 */
#include "compare.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CANDIDATES_MAX 65536
#define SET_FIRST      1024

/* What one look found of an entry. The digests are sums of hashes: equal if the connections,
 * or the requests, are the same. */
struct count {
	uint64_t flows, slots;
	int64_t gauge[WEIR_GAUGES];
	uint32_t candidate; /* of the first look: 1 + index, once it is one */
};

struct candidate {
	uint32_t entry;
	struct count second;
	int64_t at_t[WEIR_GAUGES], min[WEIR_GAUGES], max[WEIR_GAUGES];
};

/* A gauge that was off in rounds before. */
struct row {
	uint32_t entry;
	enum weir_gauge_kind gauge;
	unsigned times;
	int64_t least;
};

struct suspects {
	struct weir_reap *list;
	size_t n;
};

struct weir_compare {
	uint32_t n_entries;
	uint64_t seed;

	uint64_t began_ns, half_open_ns;
	uint64_t *set; /* of sockets; 0: free */
	size_t set_mask;
	struct count *first;
	struct candidate *candidates;
	size_t n_candidates, candidates_room;
	bool second_look;
	uint64_t taken_until_t, taken_since_t, matched;
	struct weir_compare_seen seen;

	struct suspects before, now, reap; /* `before`: by opened_ns */
	struct row *rows;		   /* by entry and gauge */
	size_t n_rows;
	struct weir_off *off;
	size_t n_off;
};

struct weir_compare *weir_compare_new(uint32_t n_entries)
{
	struct weir_compare *c = calloc(1, sizeof(*c));
	struct suspects *all[] = { &c->before, &c->now, &c->reap };

	if (!c)
		return NULL;
	c->n_entries = n_entries;
	for (size_t i = 0; i < 3; i++) {
		all[i]->list = calloc(WEIR_COMPARE_SUSPECTS, sizeof(*all[i]->list));
		if (!all[i]->list) {
			weir_compare_free(c);
			return NULL;
		}
	}
	/* Who could choose hashes could have a lost connection held for ever. */
	if (getrandom(&c->seed, sizeof(c->seed), 0) != sizeof(c->seed)) {
		weir_compare_free(c);
		return NULL;
	}
	return c;
}

/* What a round needs and no longer. */
static void clear(struct weir_compare *c)
{
	free(c->set);
	free(c->first);
	free(c->candidates);
	c->set = NULL;
	c->first = NULL;
	c->candidates = NULL;
	c->n_candidates = c->candidates_room = 0;
}

void weir_compare_free(struct weir_compare *c)
{
	if (!c)
		return;
	clear(c);
	free(c->before.list);
	free(c->now.list);
	free(c->reap.list);
	free(c->rows);
	free(c->off);
	free(c);
}

void weir_compare_abandon(struct weir_compare *c)
{
	clear(c);
	c->before.n = c->now.n = c->reap.n = 0;
	c->n_rows = c->n_off = 0;
}

int weir_compare_begin(struct weir_compare *c, uint64_t now_ns, uint64_t half_open_ns)
{
	clear(c);
	c->began_ns = now_ns;
	c->half_open_ns = half_open_ns;
	c->now.n = c->reap.n = 0;
	c->n_off = 0;
	c->second_look = false;
	c->matched = 0;
	c->seen = (struct weir_compare_seen){};
	c->set_mask = SET_FIRST - 1;
	c->set = calloc(SET_FIRST, sizeof(*c->set));
	c->first = calloc(c->n_entries, sizeof(*c->first));
	return c->set && c->first ? 0 : -1;
}

/* -- sockets */

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* wyhash's step, keyed. Never 0. */
static uint64_t hash_of(const struct weir_compare *c, const struct weir_flow_key *key)
{
	const uint64_t odd = UINT64_C(0xa0761d6478bd642f), even = UINT64_C(0xe7037ed1a0b428db);
	uint64_t w[4], h;
	uint32_t ports;

	memcpy(w, key, sizeof(w));
	memcpy(&ports, (const uint8_t *)key + sizeof(w), sizeof(ports));
	h = mix(w[0] ^ odd, w[1] ^ c->seed);
	h = mix(w[2] ^ odd, w[3] ^ h ^ c->seed);
	h = mix(ports ^ even, h ^ c->seed);
	return h ? h : 1;
}

/* Where h is, or would go. */
static size_t place_of(const uint64_t *set, size_t mask, uint64_t h)
{
	size_t i = h & mask;

	while (set[i] && set[i] != h)
		i = (i + 1) & mask;
	return i;
}

static bool grow(struct weir_compare *c)
{
	size_t mask = c->set_mask * 2 + 1;
	uint64_t *set = calloc(mask + 1, sizeof(*set));

	if (!set)
		return false;
	for (size_t i = 0; i <= c->set_mask; i++)
		if (c->set[i])
			set[place_of(set, mask, c->set[i])] = c->set[i];
	free(c->set);
	c->set = set;
	c->set_mask = mask;
	return true;
}

int weir_compare_socket(struct weir_compare *c, const struct weir_flow_key *key)
{
	uint64_t h = hash_of(c, key);
	size_t i;

	if (c->seen.sockets > c->set_mask / 2 && !grow(c))
		return -1;
	i = place_of(c->set, c->set_mask, h);
	if (c->set[i])
		return 0; /* two namespaces use the same addresses */
	c->set[i] = h;
	c->seen.sockets++;
	return 0;
}

/* -- connections */

static bool was_suspect(const struct weir_compare *c, const struct weir_reap *r)
{
	size_t low = 0, high = c->before.n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (c->before.list[mid].opened_ns < r->opened_ns)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < c->before.n && c->before.list[low].opened_ns == r->opened_ns; low++)
		if (!memcmp(&c->before.list[low].key, &r->key, sizeof(r->key)))
			return true;
	return false;
}

static void add(struct suspects *s, const struct weir_reap *r)
{
	if (s->n < WEIR_COMPARE_SUSPECTS)
		s->list[s->n++] = *r;
}

static void look_for_socket(struct weir_compare *c, const struct weir_flow_key *key, uint64_t h,
			    const struct weir_flow_view *f)
{
	struct weir_reap r = { .key = *key, .opened_ns = f->opened_ns };

	if (c->set[place_of(c->set, c->set_mask, h)]) {
		c->matched++;
		return;
	}
	if (f->state > WEIR_FLOW_OPEN || (f->flags & WEIR_FLOW_FORWARDED) ||
	    f->opened_ns >= c->began_ns)
		return;
	if (f->state == WEIR_FLOW_SYN && c->began_ns - f->opened_ns <= c->half_open_ns)
		return;
	add(was_suspect(c, &r) ? &c->reap : &c->now, &r);
}

/* Where this look counts for an entry. NULL: it does not. */
static struct count *count_of(struct weir_compare *c, uint32_t entry)
{
	struct count *first;

	if (entry >= c->n_entries)
		return NULL;
	first = &c->first[entry];
	if (!c->second_look)
		return first;
	return first->candidate ? &c->candidates[first->candidate - 1].second : NULL;
}

void weir_compare_flow(struct weir_compare *c, const struct weir_flow_key *key,
		       const struct weir_flow_view *f)
{
	uint32_t flags = f->flags & (WEIR_FLOW_COUNTED | WEIR_FLOW_HALF_OPEN);
	uint64_t h = hash_of(c, key), digest = mix(h ^ f->opened_ns, c->seed ^ flags);

	if (!c->second_look) {
		c->seen.flows++;
		look_for_socket(c, key, h, f);
	}
	for (int level = 0; level < WEIR_LEVELS; level++) {
		uint32_t entry = level ? f->others[level - 1] : f->tenant;
		struct count *n = level && !entry ? NULL : count_of(c, entry);

		if (!n)
			continue;
		n->flows += digest;
		n->gauge[WEIR_GAUGE_CONNECTIONS] += !!(flags & WEIR_FLOW_COUNTED);
		n->gauge[WEIR_GAUGE_HALF_OPEN] += !level && (flags & WEIR_FLOW_HALF_OPEN);
	}
}

void weir_compare_slot(struct weir_compare *c, uint32_t index, const struct weir_slot *s)
{
	uint64_t digest;
	struct count *n;

	if (s->state != WEIR_SLOT_OPEN)
		return;
	digest = mix(index ^ s->started_wall_ns, c->seed ^ s->ordinal);
	digest += mix((uint64_t)s->reserved_nano, c->seed ^ s->reserved_tokens);
	for (int level = 0; level < WEIR_LEVELS; level++) {
		uint32_t entry = level ? s->others[level - 1] : s->tenant;

		n = level && !entry ? NULL : count_of(c, entry);
		if (!n)
			continue;
		n->slots += digest;
		n->gauge[WEIR_GAUGE_INFLIGHT]++;
		n->gauge[WEIR_GAUGE_TOKENS] += s->reserved_tokens;
	}
	n = count_of(c, s->wallet);
	if (n) {
		n->slots += digest;
		n->gauge[WEIR_GAUGE_NANO] += s->reserved_nano;
	}
}

/* -- gauges */

static void read_gauges(const struct weir_tenant *t, int64_t out[static WEIR_GAUGES])
{
	uint64_t pos[2] = { __atomic_load_n(&t->settled[0].ring_pos, __ATOMIC_ACQUIRE),
			    __atomic_load_n(&t->settled[1].ring_pos, __ATOMIC_ACQUIRE) };
	int valid = pos[1] > pos[0];

	out[WEIR_GAUGE_CONNECTIONS] = __atomic_load_n(&t->connections, __ATOMIC_RELAXED);
	out[WEIR_GAUGE_HALF_OPEN] = __atomic_load_n(&t->half_open, __ATOMIC_RELAXED);
	out[WEIR_GAUGE_INFLIGHT] = __atomic_load_n(&t->inflight, __ATOMIC_RELAXED);
	out[WEIR_GAUGE_TOKENS] =
		(int32_t)(__atomic_load_n(&t->reserved_tokens, __ATOMIC_RELAXED) -
			  __atomic_load_n(&t->released_tokens[valid], __ATOMIC_RELAXED));
	out[WEIR_GAUGE_NANO] =
		(int64_t)(__atomic_load_n(&t->reserved_nano, __ATOMIC_RELAXED) -
			  __atomic_load_n(&t->settled[valid].released_nano, __ATOMIC_RELAXED) -
			  __atomic_load_n(&t->lost_nano, __ATOMIC_RELAXED));
}

/* Out of memory, or too many: not judged this time. */
static void add_candidate(struct weir_compare *c, uint32_t entry, const int64_t *gauge)
{
	struct candidate *new;

	if (c->n_candidates == CANDIDATES_MAX)
		return;
	if (c->n_candidates == c->candidates_room) {
		size_t room = c->candidates_room ? c->candidates_room * 2 : 16;
		struct candidate *more = reallocarray(c->candidates, room, sizeof(*more));

		if (!more)
			return;
		c->candidates = more;
		c->candidates_room = room;
	}
	new = &c->candidates[c->n_candidates++];
	*new = (struct candidate){ .entry = entry };
	memcpy(new->at_t, gauge, sizeof(new->at_t));
	memcpy(new->min, gauge, sizeof(new->min));
	memcpy(new->max, gauge, sizeof(new->max));
	c->first[entry].candidate = (uint32_t)c->n_candidates;
}

bool weir_compare_gauges(struct weir_compare *c, const struct weir_tenant *tenants)
{
	int64_t gauge[WEIR_GAUGES];

	assert(!c->second_look);
	for (uint32_t i = 0; i < c->n_entries; i++) {
		read_gauges(&tenants[i], gauge);
		if (memcmp(gauge, c->first[i].gauge, sizeof(gauge)))
			add_candidate(c, i, gauge);
	}
	c->second_look = c->n_candidates > 0;
	return c->second_look;
}

void weir_compare_watch(struct weir_compare *c, const struct weir_tenant *tenants)
{
	for (size_t i = 0; i < c->n_candidates; i++) {
		struct candidate *k = &c->candidates[i];
		int64_t gauge[WEIR_GAUGES];

		read_gauges(&tenants[k->entry], gauge);
		for (int g = 0; g < WEIR_GAUGES; g++) {
			if (gauge[g] < k->min[g])
				k->min[g] = gauge[g];
			if (gauge[g] > k->max[g])
				k->max[g] = gauge[g];
		}
	}
}

/* By how much a gauge is off. False: nothing can be said. */
static bool judge(const struct weir_compare *c, const struct candidate *k, enum weir_gauge_kind g,
		  int64_t *off)
{
	const struct count *a = &c->first[k->entry], *b = &k->second;
	bool same = g <= WEIR_GAUGE_HALF_OPEN ? a->flows == b->flows : a->slots == b->slots;
	int64_t over, under;

	if (same && a->gauge[g] == b->gauge[g] && k->min[g] == k->max[g]) {
		*off = k->at_t[g] - b->gauge[g];
		return true;
	}
	over = k->at_t[g] - a->gauge[g] - (int64_t)c->taken_until_t;  /* at the least */
	under = k->at_t[g] - b->gauge[g] + (int64_t)c->taken_since_t; /* at the most */
	*off = over > 0 ? over : under;
	return g < WEIR_GAUGES_CORRECTED && (over > 0 || under < 0);
}

static const struct row *row_of(const struct weir_compare *c, uint32_t entry,
				enum weir_gauge_kind gauge)
{
	size_t low = 0, high = c->n_rows;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct row *r = &c->rows[mid];

		if (r->entry < entry || (r->entry == entry && r->gauge < gauge))
			low = mid + 1;
		else
			high = mid;
	}
	return low < c->n_rows && c->rows[low].entry == entry && c->rows[low].gauge == gauge
		       ? &c->rows[low]
		       : NULL;
}

static int64_t nearer_to_0(int64_t a, int64_t b)
{
	return (a < 0 ? a > b : a < b) ? a : b;
}

/* The row goes on with what this round says of it. False: it is over. */
static bool go_on(struct weir_compare *c, struct row *r, int64_t off)
{
	if (!off)
		return false;
	if (r->times && (off > 0) == (r->least > 0)) {
		r->least = nearer_to_0(r->least, off);
		r->times++;
	} else {
		r->least = off;
		r->times = 1;
	}
	if (r->times != WEIR_COMPARE_CORRECT)
		return true;
	c->off[c->n_off++] =
		(struct weir_off){ .entry = r->entry, .gauge = r->gauge, .by = r->least };
	return r->gauge >= WEIR_GAUGES_CORRECTED; /* told once, as long as it lasts */
}

static void judge_all(struct weir_compare *c)
{
	size_t room = c->n_candidates * WEIR_GAUGES, n = 0;
	struct row *rows = calloc(room ? room : 1, sizeof(*rows));
	struct weir_off *off = calloc(room ? room : 1, sizeof(*off));

	free(c->off);
	c->off = off;
	if (!rows || !off) { /* nothing is known, so nothing is done */
		free(rows);
		c->n_rows = 0;
		return;
	}
	for (size_t i = 0; i < c->n_candidates; i++) {
		const struct candidate *k = &c->candidates[i];

		for (int g = 0; g < WEIR_GAUGES; g++) {
			const struct row *before = row_of(c, k->entry, g);
			struct row r = { .entry = k->entry, .gauge = g };
			int64_t by;
			bool sure = judge(c, k, g, &by);

			if (before)
				r = *before;
			if (!sure && k->at_t[g] != c->first[k->entry].gauge[g])
				c->seen.unsure++;
			if (sure ? go_on(c, &r, by) : before != NULL)
				rows[n++] = r;
		}
	}
	free(c->rows);
	c->rows = rows;
	c->n_rows = n;
}

static int by_time(const void *a, const void *b)
{
	const struct weir_reap *x = a, *y = b;

	return (x->opened_ns > y->opened_ns) - (x->opened_ns < y->opened_ns);
}

void weir_compare_end(struct weir_compare *c, uint64_t taken_until_t, uint64_t taken_since_t)
{
	struct suspects before = c->before;

	c->taken_until_t = taken_until_t;
	c->taken_since_t = taken_since_t;
	judge_all(c);
	c->seen.untracked = c->seen.sockets - c->matched;
	c->before = c->now;
	c->now = before;
	qsort(c->before.list, c->before.n, sizeof(*c->before.list), by_time);
	clear(c);
}

size_t weir_compare_reap(const struct weir_compare *c, const struct weir_reap **out)
{
	*out = c->reap.list;
	return c->reap.n;
}

size_t weir_compare_off(const struct weir_compare *c, const struct weir_off **out)
{
	*out = c->off;
	return c->n_off;
}

void weir_compare_seen(const struct weir_compare *c, struct weir_compare_seen *out)
{
	*out = c->seen;
}
