// SPDX-License-Identifier: Apache-2.0
/*
 * Reading ahead. Two threads, a handful of pages that go round between them: the reader fills a
 * free one, the other looks at a full one and gives it back.
 */
#include "agent/ledger_feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_log.h"
#include "agent/store.h"

#define PAGE_ROWS 4096
#define PAGES	  4

struct weir_feed {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct weir_page pages[PAGES];
	unsigned int filled, taken, given; /* counts: read, handed out, given back */
	bool with_hash, started, done, stop;
	int ret; /* of the reader */
	struct weir_error err;
	sqlite3 *db;
	struct weir_log log;
	struct weir_chain chain;
	uint64_t next, last;
	uint8_t hash[WEIR_HASH_BYTES]; /* of the last entry read */
};

/* ------------------------------------------------------------------ one page */

static int add_row(struct weir_page *p, const struct weir_entry_row *r)
{
	if (p->cap_bytes - p->n_bytes < r->n_body) {
		size_t cap = 2 * p->cap_bytes + r->n_body + (1 << 20);
		uint8_t *bytes = realloc(p->bytes, cap);

		if (!bytes)
			return -ENOMEM;
		p->bytes = bytes;
		p->cap_bytes = cap;
	}
	memcpy(p->bytes + p->n_bytes, r->body, r->n_body);
	p->rows[p->n] = *r;
	p->n_bytes += r->n_body;
	p->n++;
	return 0;
}

/* The bytes may have moved while they were added. */
static void place_bodies(struct weir_page *p)
{
	size_t at = 0;

	for (size_t i = 0; i < p->n; i++) {
		p->rows[i].body = p->bytes + at;
		at += p->rows[i].n_body;
	}
}

int weir_page_hash(struct weir_chain *chain, struct weir_page *p)
{
	const uint8_t *before = p->before;
	uint8_t hash[WEIR_HASH_BYTES];

	for (p->good = 0; p->good < p->n; p->good++) {
		const struct weir_entry_row *r = &p->rows[p->good];

		if (weir_chain_hash(chain, before, &r->head, r->body, r->n_body, hash))
			return -EIO;
		if (memcmp(hash, r->hash, sizeof(hash)))
			break;
		before = r->hash;
	}
	return 0;
}

static int read_rows(struct weir_feed *f, struct weir_page *p, sqlite3 *db, uint64_t last)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_entry_row r;
	int rc = SQLITE_DONE, ret;

	ret = weir_store_prepare(db,
				 "SELECT " WEIR_ENTRY_COLUMNS
				 " FROM entry WHERE seq BETWEEN ? AND ? ORDER BY seq",
				 &st, &f->err);
	if (ret)
		return ret;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)f->next);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)last);
	while (p->n < PAGE_ROWS && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (weir_entry_row_read(st, &r)) {
			p->garbled = (uint64_t)sqlite3_column_int64(st, 0);
			break;
		}
		if (add_row(p, &r))
			return weir_fail(&f->err, ENOMEM, "ledger: out of memory");
	}
	if (p->n < PAGE_ROWS && !p->garbled && rc != SQLITE_DONE)
		return weir_store_fail(db, &f->err, "reading the log");
	f->next = p->n == PAGE_ROWS ? p->rows[p->n - 1].head.seq + 1 : last + 1;
	return 0;
}

/* The segment that would have the next entry is not there: what is known of it without it. */
static int skip_segment(struct weir_feed *f, struct weir_page *p)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(f->db,
			       "SELECT last, until, closing FROM segment WHERE last >= ?"
			       " ORDER BY last LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(f->db, &f->err, "reading the log");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)f->next);
	if (sqlite3_step(st) != SQLITE_ROW || sqlite3_column_bytes(st, 2) != WEIR_HASH_BYTES)
		return weir_store_fail(f->db, &f->err, "reading the log");
	p->missing_first = f->next;
	p->missing_last = (uint64_t)sqlite3_column_int64(st, 0);
	p->missing_until_ns = (uint64_t)sqlite3_column_int64(st, 1);
	memcpy(p->missing_closing, sqlite3_column_blob(st, 2), WEIR_HASH_BYTES);
	snprintf(p->missing_why, sizeof(p->missing_why), "%s", f->err.text);
	memcpy(f->hash, p->missing_closing, WEIR_HASH_BYTES);
	f->next = p->missing_last + 1;
	return 0;
}

static int read_page(struct weir_feed *f, struct weir_page *p)
{
	struct weir_log_part part;
	int ret;

	p->n = p->n_bytes = p->good = 0;
	p->garbled = p->missing_first = 0;
	memcpy(p->before, f->hash, sizeof(p->before));
	ret = weir_store_exec(f->db, "BEGIN", &f->err, "reading the log");
	if (ret)
		return ret;
	ret = weir_log_at(&f->log, f->next, &part, &f->err);
	if (ret == -ENOENT)
		ret = skip_segment(f, p);
	else if (!ret)
		ret = read_rows(f, p, part.db, part.last < f->last ? part.last : f->last);
	sqlite3_exec(f->db, "COMMIT", NULL, NULL, NULL);
	if (ret)
		return ret;
	place_bodies(p);
	if (p->n)
		memcpy(f->hash, p->rows[p->n - 1].hash, sizeof(f->hash));
	if (f->with_hash && weir_page_hash(&f->chain, p))
		return weir_fail(&f->err, EIO, "ledger: SHA-256 failed in libcrypto");
	return 0;
}

/* ------------------------------------------------------------------ both threads */

static void *run(void *arg)
{
	struct weir_feed *f = arg;
	int ret = 0;

	while (!ret && f->next <= f->last) {
		struct weir_page *p;

		pthread_mutex_lock(&f->lock);
		while (!f->stop && f->filled - f->given == PAGES)
			pthread_cond_wait(&f->moved, &f->lock);
		p = f->stop ? NULL : &f->pages[f->filled % PAGES];
		pthread_mutex_unlock(&f->lock);
		if (!p)
			break;
		ret = read_page(f, p);
		if (ret)
			break;
		pthread_mutex_lock(&f->lock);
		f->filled++;
		pthread_cond_signal(&f->moved);
		pthread_mutex_unlock(&f->lock);
		if (p->garbled)
			break;
	}
	pthread_mutex_lock(&f->lock);
	f->ret = ret;
	f->done = true;
	pthread_cond_signal(&f->moved);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int weir_feed_next(struct weir_feed *f, struct weir_page **page, struct weir_error *err)
{
	int ret = 0;

	pthread_mutex_lock(&f->lock);
	if (f->taken != f->given) {
		f->given = f->taken;
		pthread_cond_signal(&f->moved);
	}
	while (f->filled == f->taken && !f->done)
		pthread_cond_wait(&f->moved, &f->lock);
	if (f->filled != f->taken) {
		*page = &f->pages[f->taken++ % PAGES];
		ret = 1;
	} else if (f->ret) {
		*err = f->err;
		ret = f->ret;
	}
	pthread_mutex_unlock(&f->lock);
	return ret;
}

int weir_feed_start(const char *path, uint64_t first, uint64_t last, bool hash,
		    struct weir_feed **out, struct weir_error *err)
{
	struct weir_feed *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	f->next = first;
	f->last = last;
	f->with_hash = hash;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->moved, NULL);
	ret = weir_store_open_read(path, &f->db, err);
	weir_log_init(&f->log, f->db);
	if (!ret && weir_chain_init(&f->chain))
		ret = weir_fail(err, ENOMEM, "ledger: SHA-256 is not to be had from libcrypto");
	if (!ret)
		ret = weir_log_hash(&f->log, first - 1, f->hash, err);
	for (int i = 0; i < PAGES && !ret; i++) {
		f->pages[i].rows = calloc(PAGE_ROWS, sizeof(*f->pages[i].rows));
		if (!f->pages[i].rows)
			ret = weir_fail(err, ENOMEM, "ledger: out of memory");
	}
	if (!ret) {
		ret = -pthread_create(&f->thread, NULL, run, f);
		if (ret)
			weir_fail(err, -ret, "ledger: no thread: %s", strerror(-ret));
	}
	f->started = !ret;
	if (ret) {
		weir_feed_stop(f);
		return ret;
	}
	*out = f;
	return 0;
}

void weir_feed_stop(struct weir_feed *f)
{
	if (!f)
		return;
	if (f->started) {
		pthread_mutex_lock(&f->lock);
		f->stop = true;
		pthread_cond_signal(&f->moved);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->thread, NULL);
	}
	for (int i = 0; i < PAGES; i++) {
		free(f->pages[i].rows);
		free(f->pages[i].bytes);
	}
	weir_log_clear(&f->log);
	weir_store_close(f->db);
	weir_chain_clear(&f->chain);
	pthread_cond_destroy(&f->moved);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
