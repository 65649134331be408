/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two passes. Along the stream: events are gathered in batches, sorted by their entry, and held to
 * the ledger, which is read in its own order beside them; a bit per entry remembers who was seen.
 * Then along the ledger: who should have been seen and was not, and the sums.
 */
#include "lane_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "lane_compare.h"
#include "lane_verify_priv.h"
#include "publisher_stream.h"
#include "restored.h"

#define BATCH	    1024
#define BATCH_BYTES (8 << 20)
#define FAR	    10000 /* entries that nobody asks for are read over; more are skipped */
#define BITS_MAX    (UINT64_C(1) << 33)
#define KINDS	    (1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER)

const char *const weir_lane_wrong_names[WEIR_LANE_WRONG_MAX] = {
	[WEIR_LANE_IS_MISSING] = "missing",
	[WEIR_LANE_IS_DOUBLED] = "doubled",
	[WEIR_LANE_IS_UNKNOWN] = "unknown",
	[WEIR_LANE_IS_DIFFERENT] = "different",
};

struct item {
	uint64_t ledger_seq, stream_seq;
	struct weir_id id;
	size_t subject; /* where in bytes; NUL-ended */
	size_t at, n;	/* the event */
	bool stray;	/* the entry of that number, if there is one, has another id */
};

struct check {
	const struct weir_lane_check *c;
	struct weir_lane_verified *v;
	struct weir_error *err;
	uint64_t first_stream; /* of our events */
	uint64_t again_to;     /* stream: up to here entries may have been made once more */
	uint8_t *seen;	       /* bit per entry */
	uint64_t seen_bytes;
	struct weir_lane_sum *sums; /* by tenant */
	size_t n_sums;
	struct item items[BATCH];
	size_t n, next; /* items; the first that the walk has not passed */
	char *bytes;
	size_t len, cap;
	struct weir_text made;
};

bool weir_lane_agrees(const struct weir_lane_verified *v)
{
	uint64_t wrong = v->tenants_wrong + v->others.malformed + v->foreign_among;

	for (size_t i = 0; i < WEIR_LANE_WRONG_MAX; i++)
		wrong += v->wrong[i];
	return !wrong;
}

/* ------------------------------------------------------------------- findings */

static void find(struct check *k, enum weir_lane_wrong wrong, uint64_t ledger_seq,
		 uint64_t stream_seq, const struct weir_id *id, const char *why)
{
	struct weir_lane_verified *v = k->v;
	struct weir_lane_finding *f;

	v->wrong[wrong]++;
	if (v->n_findings == WEIR_LANE_SHOWN)
		return;
	f = &v->findings[v->n_findings++];
	*f = (struct weir_lane_finding){
		.wrong = wrong, .ledger_seq = ledger_seq, .stream_seq = stream_seq, .id = *id
	};
	snprintf(f->why, sizeof(f->why), "%s", why);
}

static int64_t sum_of(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? (b < 0 ? INT64_MIN : INT64_MAX) : sum;
}

static struct weir_lane_sum *sum_at(struct check *k, uint32_t tenant)
{
	if (tenant >= k->n_sums) {
		size_t n = k->n_sums ? k->n_sums : 64;
		struct weir_lane_sum *p;

		while (n <= tenant)
			n *= 2;
		p = realloc(k->sums, n * sizeof(*p));
		if (!p)
			return NULL;
		memset(p + k->n_sums, 0, (n - k->n_sums) * sizeof(*p));
		k->sums = p;
		k->n_sums = n;
	}
	return &k->sums[tenant];
}

static bool in_range(const struct check *k, uint64_t seq)
{
	return seq >= k->v->from_seq && seq <= k->v->to_seq;
}

static int add_event(struct check *k, uint64_t seq, uint32_t tenant, int64_t nano)
{
	struct weir_lane_sum *s;

	if (!in_range(k, seq))
		return 0;
	s = sum_at(k, tenant);
	if (!s)
		return -ENOMEM;
	s->events++;
	s->stream_nano = sum_of(s->stream_nano, nano);
	return 0;
}

/* As a subscriber would: by what the event says. */
static int add_as_told(struct check *k, const struct item *i)
{
	char tenant[64];
	uint32_t index;
	int64_t nano;

	if (weir_lane_price(k->bytes + i->at, i->n, tenant, &nano) ||
	    weir_reader_tenant(k->c->reader, tenant, &index, NULL))
		return 0; /* nobody's: the finding stands for it */
	return add_event(k, i->ledger_seq, index, nano);
}

/* ---------------------------------------------------------------- who was seen */

static int seen_room(struct check *k, uint64_t seq)
{
	uint64_t want = k->seen_bytes ? k->seen_bytes : 4096;
	uint8_t *p;

	if (seq >= BITS_MAX)
		return weir_fail(k->err, EFBIG, "events: entry %" PRIu64 " is past what it counts",
				 seq);
	while (want <= seq / 8)
		want *= 2;
	if (want == k->seen_bytes)
		return 0;
	p = realloc(k->seen, want);
	if (!p)
		return -ENOMEM;
	memset(p + k->seen_bytes, 0, want - k->seen_bytes);
	k->seen = p;
	k->seen_bytes = want;
	return 0;
}

static bool was_seen(const struct check *k, uint64_t seq)
{
	return seq / 8 < k->seen_bytes && k->seen[seq / 8] >> seq % 8 & 1;
}

/* ---------------------------------------------------------- along the stream */

static int unknown(struct check *k, const struct item *i, const char *why)
{
	find(k, WEIR_LANE_IS_UNKNOWN, i->ledger_seq, i->stream_seq, &i->id, why);
	return add_as_told(k, i);
}

static int64_t price_of(const struct weir_entry *e)
{
	return e->row ? e->row->price_nano : e->op->price_nano;
}

/* The entry that the event names. */
static int compare(struct check *k, const struct weir_entry *e, const struct item *i)
{
	struct weir_lane_compared c = { .alike = WEIR_LANE_DIFFERENT };
	char subject[WEIR_EVENT_SUBJECT];
	int r = k->c->event(e, &k->made, k->c->ctx);

	if (r)
		return r;
	weir_event_subject(e, k->c->node, subject);
	if (strcmp(subject, k->bytes + i->subject))
		snprintf(c.why, sizeof(c.why), "it came on %.80s, not on %.80s",
			 k->bytes + i->subject, subject);
	else
		weir_lane_compare(k->bytes + i->at, i->n, k->made.p, k->made.len,
				  i->stream_seq <= k->again_to, &c);
	k->v->same += c.alike == WEIR_LANE_SAME;
	k->v->reworded += c.alike == WEIR_LANE_REWORDED;
	k->v->unlinked += c.unlinked;
	if (c.alike != WEIR_LANE_DIFFERENT)
		return add_event(k, e->seq, e->tenant, price_of(e));
	find(k, WEIR_LANE_IS_DIFFERENT, i->ledger_seq, i->stream_seq, &i->id, c.why);
	return add_as_told(k, i);
}

static int meet(struct check *k, const struct weir_entry *e, const struct item *i)
{
	int r = seen_room(k, e->seq);

	if (r)
		return r;
	if (was_seen(k, e->seq)) {
		find(k, WEIR_LANE_IS_DOUBLED, e->seq, i->stream_seq, &i->id,
		     "another event of the same entry came before it");
		return 0;
	}
	k->seen[e->seq / 8] |= (uint8_t)(1u << e->seq % 8);
	return compare(k, e, i);
}

#define SKIP 1 /* what a walk ends with: on from the next item */

static int entry_beside(const struct weir_entry *e, void *ctx)
{
	struct check *k = ctx;
	int r = 0;

	while (k->next < k->n && k->items[k->next].ledger_seq < e->seq)
		k->items[k->next++].stray = true;
	while (!r && k->next < k->n && k->items[k->next].ledger_seq == e->seq) {
		struct item *i = &k->items[k->next++];

		i->stray = memcmp(&e->id, &i->id, sizeof(e->id));
		if (!i->stray)
			r = meet(k, e, i);
	}
	if (r)
		return r;
	return k->next == k->n || k->items[k->next].ledger_seq - e->seq > FAR ? SKIP : 0;
}

/* Found by its id: the event says another number than it has now. */
static int entry_of_stray(const struct weir_entry *e, void *ctx)
{
	struct check *k = ctx;

	if (!(KINDS >> e->kind & 1))
		return -ENOENT;
	k->v->renumbered++;
	return meet(k, e, &k->items[k->next]);
}

static int look_for_strays(struct check *k)
{
	int r = 0;

	for (k->next = 0; !r && k->next < k->n; k->next++) {
		const struct item *i = &k->items[k->next];

		if (!i->stray)
			continue;
		r = -ENOENT;
		if (i->stream_seq <= k->again_to)
			r = weir_reader_find(k->c->reader, &i->id, entry_of_stray, k, k->err);
		if (r == -ENOENT)
			r = unknown(k, i, "the ledger has no usage of that number and id");
	}
	return r;
}

static int by_entry(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->ledger_seq != y->ledger_seq)
		return x->ledger_seq < y->ledger_seq ? -1 : 1;
	return x->stream_seq < y->stream_seq ? -1 : 1;
}

static int hold_to_ledger(struct check *k)
{
	int r = 0;

	qsort(k->items, k->n, sizeof(k->items[0]), by_entry);
	for (k->next = 0; k->next < k->n && !k->items[k->next].ledger_seq; k->next++)
		k->items[k->next].stray = true;
	while (!r && k->next < k->n) {
		struct weir_entry_query q = { .from_seq = k->items[k->next].ledger_seq,
					      .kinds = KINDS };

		r = weir_reader_entries(k->c->reader, &q, entry_beside, k, k->err);
		for (; !r && k->next < k->n; k->next++)
			k->items[k->next].stray = true;
		r = r == SKIP ? 0 : r;
	}
	if (!r)
		r = look_for_strays(k);
	k->n = 0;
	k->len = 0;
	return r;
}

static int gather(const struct weir_lane_event *e, void *ctx)
{
	struct check *k = ctx;
	struct weir_lane_verified *v = k->v;
	size_t subject = strlen(e->subject) + 1;
	int r = 0;

	if (k->n == BATCH || k->len + subject + e->n > BATCH_BYTES) {
		r = hold_to_ledger(k);
		if (!r)
			r = k->c->page("stream", e->stream_seq - v->from_stream,
				       v->to_stream - v->from_stream, k->c->ctx);
	}
	if (r)
		return r;
	if (k->len + subject + e->n > k->cap) {
		char *p = realloc(k->bytes, k->len + subject + e->n + BATCH_BYTES);

		if (!p)
			return -ENOMEM;
		k->cap = k->len + subject + e->n + BATCH_BYTES;
		k->bytes = p;
	}
	k->items[k->n++] = (struct item){ .ledger_seq = e->ledger_seq,
					  .stream_seq = e->stream_seq,
					  .id = e->id,
					  .subject = k->len,
					  .at = k->len + subject,
					  .n = e->n };
	memcpy(k->bytes + k->len, e->subject, subject);
	memcpy(k->bytes + k->len + subject, e->json, e->n);
	k->len += subject + e->n;
	if (!v->events++)
		k->first_stream = e->stream_seq;
	v->older += e->ledger_seq < v->from_seq;
	v->newer += e->ledger_seq > v->to_seq;
	return 0;
}

/* ---------------------------------------------------------- along the ledger */

static int entry_expected(const struct weir_entry *e, void *ctx)
{
	struct check *k = ctx;
	struct weir_lane_sum *s;

	if (e->seq > k->v->to_seq)
		return SKIP;
	k->v->entries++;
	if (!was_seen(k, e->seq))
		find(k, WEIR_LANE_IS_MISSING, e->seq, 0, &e->id, "it is not on the stream");
	s = sum_at(k, e->tenant);
	if (!s)
		return -ENOMEM;
	s->entries++;
	s->ledger_nano = sum_of(s->ledger_nano, price_of(e));
	return 0;
}

static int ledger_page(uint64_t seq, void *ctx)
{
	struct check *k = ctx;
	const struct weir_lane_verified *v = k->v;

	return k->c->page("ledger", seq - v->from_seq, v->to_seq - v->from_seq, k->c->ctx);
}

static int look_for_missing(struct check *k)
{
	struct weir_entry_query q = { .from_seq = k->v->from_seq,
				      .kinds = KINDS,
				      .page = ledger_page };
	int r = 0;

	if (k->v->from_seq <= k->v->to_seq)
		r = weir_reader_entries(k->c->reader, &q, entry_expected, k, k->err);
	return r == SKIP ? 0 : r;
}

static void add_up(struct check *k)
{
	struct weir_lane_verified *v = k->v;

	for (size_t i = 0; i < k->n_sums; i++) {
		struct weir_lane_sum *s = &k->sums[i];

		if (!s->events && !s->entries)
			continue;
		s->tenant = (uint32_t)i;
		v->tenants++;
		v->all.events += s->events;
		v->all.entries += s->entries;
		v->all.stream_nano = sum_of(v->all.stream_nano, s->stream_nano);
		v->all.ledger_nano = sum_of(v->all.ledger_nano, s->ledger_nano);
		if (s->events == s->entries && s->stream_nano == s->ledger_nano)
			continue;
		if (v->tenants_wrong++ < WEIR_LANE_SHOWN)
			v->sums[v->n_sums++] = *s;
	}
}

static int verify(struct check *k)
{
	struct weir_lane_query q = {
		.stream = weir_stream_name(WEIR_STREAM_METER),
		.topic = "meter",
		.node = k->c->node,
		.ledger_id = weir_reader_ledger_id(k->c->reader),
	};
	uint64_t start = 0;
	int r = weir_lane_stream(k->c->js, q.stream, &k->v->stream, k->err);

	if (!r)
		r = weir_restored_read_to(k->c->reader, &k->again_to, k->err);
	if (!r)
		r = weir_lane_expect(k->c, &q, k->v, &start, k->err);
	q.data = true;
	q.from_seq = k->v->from_stream;
	if (!r)
		r = weir_lane_read(k->c->js, &q, gather, k, &k->v->others, k->err);
	if (!r)
		r = hold_to_ledger(k);
	if (!r)
		r = look_for_missing(k);
	if (!r)
		r = weir_lane_expect_still(k->c, k->v, start, k->err);
	if (r)
		return r;
	add_up(k);
	k->v->foreign_among = k->v->events && k->v->others.foreign_seq > k->first_stream;
	return 0;
}

int weir_lane_verify(const struct weir_lane_check *c, struct weir_lane_verified *out,
		     struct weir_error *err)
{
	struct check *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	memset(out, 0, sizeof(*out));
	k->c = c;
	k->v = out;
	k->err = err;
	r = verify(k);
	free(k->seen);
	free(k->sums);
	free(k->bytes);
	weir_text_free(&k->made);
	free(k);
	return r;
}
