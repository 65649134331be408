/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer before a ledger, with a queue that the test fills and an ear for what is told. For
 * the tests of the writer.
 */
#ifndef WEIR_WRITER_FIXTURE_H
#define WEIR_WRITER_FIXTURE_H

#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "agent/writer.h"

#define HOUR (3600 * SECOND)

/* A queue, and what the writer has told. */
struct bench {
	struct fixture *f;
	struct weir_writer *w;
	pthread_mutex_t lock;
	pthread_cond_t told;
	struct weir_row rows[20000];
	size_t head, tail; /* popped, put */
	size_t commits;
	uint64_t newest;
	bool ill;
	bool popped_early;
	int call_from_commit;
};

static inline const struct weir_row *peek(void *ctx, size_t *n)
{
	struct bench *b = ctx;
	size_t there;

	pthread_mutex_lock(&b->lock);
	there = b->tail - b->head;
	pthread_mutex_unlock(&b->lock);
	*n = there < *n ? there : *n;
	return &b->rows[b->head];
}

static inline void pop(void *ctx, size_t n)
{
	struct bench *b = ctx;

	pthread_mutex_lock(&b->lock);
	b->head += n;
	/* Every popped row is in the ledger. */
	if (weir_ledger_newest(b->f->l) < b->head)
		b->popped_early = true;
	pthread_mutex_unlock(&b->lock);
}

static inline size_t waiting(void *ctx)
{
	struct bench *b = ctx;
	size_t n;

	pthread_mutex_lock(&b->lock);
	n = b->tail - b->head;
	pthread_mutex_unlock(&b->lock);
	return n;
}

static inline int nothing(struct weir_ledger *l, void *arg)
{
	return 0;
}

static inline void on_commit(void *ctx, struct weir_ledger *l, uint64_t newest)
{
	struct bench *b = ctx;
	struct weir_writer *w;
	int ret;

	pthread_mutex_lock(&b->lock);
	w = b->w;
	pthread_mutex_unlock(&b->lock);
	ret = w ? weir_writer_call(w, nothing, NULL) : 0;
	pthread_mutex_lock(&b->lock);
	b->call_from_commit = ret;
	b->commits++;
	b->newest = newest;
	pthread_cond_broadcast(&b->told);
	pthread_mutex_unlock(&b->lock);
}

static inline void on_health(void *ctx, const char *error)
{
	struct bench *b = ctx;

	pthread_mutex_lock(&b->lock);
	b->ill = error;
	pthread_cond_broadcast(&b->told);
	pthread_mutex_unlock(&b->lock);
}

static inline struct bench *start(struct fixture *f, struct weir_writer_options o)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct weir_row_source src = { peek, pop, waiting, b };
	struct weir_writer *w;

	assert_non_null(b);
	b->f = f;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->told, NULL);
	o.on_commit = on_commit;
	o.on_health = on_health;
	o.ctx = b;
	ok(f, weir_writer_start(f->l, &src, &o, &w, &f->err));
	pthread_mutex_lock(&b->lock);
	b->w = w;
	pthread_mutex_unlock(&b->lock);
	return b;
}

static inline void put(struct bench *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct weir_row r = make_row(b->f, b->f->acme, b->f->t0 + i, "0.5");

		pthread_mutex_lock(&b->lock);
		b->rows[b->tail++] = r;
		pthread_mutex_unlock(&b->lock);
		weir_writer_kick(b->w);
	}
}

/* So that no look at the queue falls in between. */
static inline void put_at_once(struct bench *b, size_t n)
{
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < n; i++)
		b->rows[b->tail++] = make_row(b->f, b->f->acme, b->f->t0 + i, "0.5");
	pthread_mutex_unlock(&b->lock);
	weir_writer_kick(b->w);
}

static inline void await_newest(struct bench *b, uint64_t seq)
{
	pthread_mutex_lock(&b->lock);
	while (b->newest < seq)
		pthread_cond_wait(&b->told, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static inline void await_health(struct bench *b, bool ill)
{
	pthread_mutex_lock(&b->lock);
	while (b->ill != ill)
		pthread_cond_wait(&b->told, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static inline void stop(struct bench *b)
{
	weir_writer_stop(b->w);
	assert_false(b->popped_early);
	pthread_cond_destroy(&b->told);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

struct asked {
	struct weir_op g;
	uint64_t seq;
	pthread_t by;
};

static inline int grant_call(struct weir_ledger *l, void *arg)
{
	struct asked *a = arg;
	struct weir_error err;
	struct weir_done done = { 0 };
	int r;

	a->by = pthread_self();
	r = weir_ledger_post(l, &a->g, weir_wall_ns(), &done, &err);
	a->seq = done.seq;
	return r;
}

#endif
