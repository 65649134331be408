// SPDX-License-Identifier: Apache-2.0
/*
 * Believing nothing: the log is read from its first entry and everything that follows from
 * something else is worked out again. The first disagreement is named. This file walks the log
 * and checks the chain; what an entry means is ledger_verify_entry.c's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_feed.h"
#include "agent/ledger_verify_priv.h"
#include "agent/money.h"
#include "agent/store.h"

int weir_check_wrong(struct weir_check *c, uint64_t seq, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->out->wrong, sizeof(c->out->wrong), fmt, ap);
	va_end(ap);
	c->out->wrong_seq = seq;
	return -EBADMSG;
}

int weir_check_money(struct weir_check *c, uint64_t seq, const char *what, int64_t is,
		     int64_t should)
{
	char a[WEIR_MONEY_TEXT], b[WEIR_MONEY_TEXT];

	weir_money_format(is, a);
	weir_money_format(should, b);
	return weir_check_wrong(c, seq, "%s is %s, but recomputed it is %s", what, a, b);
}

/* ------------------------------------------------------------------ walking */

static int check_row(struct weir_check *c, const struct weir_entry_row *r, bool good_hash,
		     struct weir_error *err)
{
	const struct weir_entry_head *h = &r->head;
	int ret = 0;

	if (h->seq != c->seq + 1)
		return weir_check_wrong(c, c->seq + 1, "missing; the next one is %" PRIu64, h->seq);
	if (h->time_ns < c->time_ns)
		return weir_check_wrong(c, h->seq,
					"its time is before that of the entry before it");
	if (!good_hash)
		return weir_check_wrong(c, h->seq,
					"its hash does not match its content and the one before");
	if (c->replay)
		ret = weir_check_entry(c, r, err);
	if (ret)
		return ret;
	c->seq = h->seq;
	c->time_ns = h->time_ns;
	memcpy(c->hash, r->hash, sizeof(c->hash));
	c->out->entries++;
	return 0;
}

/* A segment was moved away: the chain goes on from what was noted, and what was worked out so far
 * is of no use any more. */
static void go_on_behind(struct weir_check *c, const struct weir_page *p)
{
	if (!c->out->missing)
		snprintf(c->out->missing_why, sizeof(c->out->missing_why), "%s", p->missing_why);
	c->out->missing += p->missing_last - p->missing_first + 1;
	c->replay = false;
	c->seq = p->missing_last;
	c->time_ns = p->missing_until_ns;
	memcpy(c->hash, p->missing_closing, sizeof(c->hash));
}

static int check_page(struct weir_check *c, const struct weir_page *p, struct weir_error *err)
{
	int ret = 0;

	if (p->missing_first) {
		go_on_behind(c, p);
		return 0;
	}
	for (size_t i = 0; i < p->n && !ret; i++)
		ret = check_row(c, &p->rows[i], i < p->good, err);
	if (!ret && p->garbled)
		ret = weir_check_wrong(c, p->garbled, "a column is not of the kind it must be");
	return ret;
}

/* From the entry after the last one checked up to `last`. */
static int check_log(struct weir_check *c, uint64_t last, struct weir_error *err)
{
	const char *path = sqlite3_db_filename(c->rd->db, "main");
	struct weir_feed *feed = NULL;
	struct weir_chain chain = { 0 };
	struct weir_page *p;
	int ret;

	/* The chain alone: both threads have half of the work if this one does the hashing. */
	if (weir_chain_init(&chain))
		return weir_fail(err, ENOMEM, "ledger: SHA-256 is not to be had from libcrypto");
	ret = weir_feed_start(path, c->seq + 1, last, c->replay, &feed, err);
	if (!ret) {
		bool hashed = c->replay;

		while ((ret = weir_feed_next(feed, &p, err)) > 0) {
			ret = hashed ? 0 : weir_page_hash(&chain, p);
			if (!ret)
				ret = check_page(c, p, err);
			if (ret)
				break;
		}
	}
	weir_feed_stop(feed);
	weir_chain_clear(&chain);
	if (!ret && c->seq != last)
		ret = weir_check_wrong(c, c->seq + 1, "missing; the log goes on to %" PRIu64, last);
	return ret;
}

/* ------------------------------------------------------------------ all of it */

/* What came since, and the tables, of one snapshot: nothing more is committed in it. */
static int check_rest(struct weir_check *c, struct weir_error *err)
{
	uint64_t newest;
	bool begun;
	int ret;

	ret = weir_reader_begin(c->rd, &begun, err);
	if (ret)
		return ret;
	ret = weir_reader_newest(c->rd, &newest, err);
	if (!ret && newest > c->seq)
		ret = check_log(c, newest, err);
	if (!ret && c->replay)
		ret = weir_check_tables(c, err);
	weir_reader_end(c->rd, begun);
	return ret;
}

static const struct weir_card *book_card(void *ctx, uint32_t id)
{
	return weir_reader_card(ctx, id);
}

static int check_all(struct weir_check *c, struct weir_error *err)
{
	uint64_t newest;
	int ret;

	c->book.keep = true;
	c->book.card = book_card;
	c->book.ctx = c->rd;
	ret = weir_store_prepare(c->rd->db, "SELECT seq, content FROM write WHERE key = ?",
				 &c->find_write, err);
	if (!ret)
		ret = weir_reader_newest(c->rd, &newest, err);
	if (!ret && newest)
		ret = check_log(c, newest, err);
	return ret ? ret : check_rest(c, err);
}

static int verify(struct weir_reader *rd, bool replay, struct weir_verify *out,
		  struct weir_error *err)
{
	struct weir_check c = { .rd = rd, .out = out, .replay = replay };
	int ret;

	*out = (struct weir_verify){ 0 };
	if (weir_book_init(&c.book))
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	c.unpriced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	ret = check_all(&c, err);
	memcpy(out->head, c.hash, sizeof(out->head));
	if (ret == -EBADMSG && out->wrong_seq)
		weir_fail(err, EBADMSG, "entry %" PRIu64 ": %s", out->wrong_seq, out->wrong);
	else if (ret == -EBADMSG && out->wrong[0])
		weir_fail(err, EBADMSG, "%s", out->wrong);
	else if (ret == -ENOMEM)
		weir_fail(err, ENOMEM, "ledger: out of memory");
	sqlite3_finalize(c.find_write);
	g_hash_table_destroy(c.unpriced);
	weir_book_clear(&c.book);
	free(c.is.moves);
	free(c.should.moves);
	free(c.taken.moves);
	return ret;
}

int weir_reader_verify(struct weir_reader *rd, struct weir_verify *out, struct weir_error *err)
{
	return verify(rd, true, out, err);
}

int weir_reader_verify_chain(struct weir_reader *rd, struct weir_verify *out,
			     struct weir_error *err)
{
	return verify(rd, false, out, err);
}
