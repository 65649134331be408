// SPDX-License-Identifier: Apache-2.0
/*
 * The projections against what follows from the log: every row must be what was worked out, and
 * there must be as many. Whoever reads a balance reads these tables and not the log.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_verify_priv.h"
#include "agent/store.h"

static const char *tenant(struct weir_check *c, uint32_t index)
{
	const char *name = weir_reader_tenant_name(c->rd, index);

	return name ? name : "(no name)";
}

/* Each row of a query; n: how many there were. */
static int each(struct weir_check *c, const char *sql,
		int (*fn)(struct weir_check *c, sqlite3_stmt *st), size_t *n,
		struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc, ret = 0;

	*n = 0;
	if (sqlite3_prepare_v2(c->rd->db, sql, -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(c->rd->db, err, "reading projections");
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && !ret) {
		ret = fn(c, st);
		(*n)++;
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(c->rd->db, err, "reading projections");
	return ret;
}

static int same_number(struct weir_check *c, const char *what, size_t is, size_t should)
{
	if (is == should)
		return 0;
	return weir_check_wrong(c, 0, "table %s has %zu rows, but by the log it has %zu", what, is,
				should);
}

/* ------------------------------------------------------------------ accounts */

static int check_account(struct weir_check *c, sqlite3_stmt *st)
{
	static const struct weir_figures none;
	uint32_t idx = (uint32_t)sqlite3_column_int64(st, 0);
	struct weir_account *acc = weir_book_account(&c->book, idx, false);
	const struct weir_figures *f = acc ? &acc->f : &none;
	int64_t should[WEIR_N_FIGURES];

	memcpy(should, f, sizeof(should));
	for (int i = 0; i < WEIR_N_FIGURES; i++) {
		int64_t is = sqlite3_column_int64(st, i + 1);

		if (is != should[i])
			return weir_check_wrong(c, 0,
						"tenant %s: %s is %" PRId64
						" in its account, but by the log it is %" PRId64,
						tenant(c, idx), sqlite3_column_name(st, i + 1), is,
						should[i]);
	}
	if (acc)
		acc->f = none; /* seen; what is left over has no row */
	return 0;
}

static int check_accounts(struct weir_check *c, struct weir_error *err)
{
	static const struct weir_figures none;
	size_t n;
	int ret;

	ret = each(c, "SELECT idx, " WEIR_FIGURE_COLUMNS " FROM account", check_account, &n, err);
	for (size_t i = 0; !ret && i < c->book.n; i++) {
		if (memcmp(&c->book.v[i].f, &none, sizeof(none)))
			ret = weir_check_wrong(c, 0, "tenant %s has entries but no account",
					       tenant(c, (uint32_t)i));
	}
	return ret;
}

/* ------------------------------------------------------------------ lots and schedules */

static int check_terms(struct weir_check *c, sqlite3_stmt *st, const struct weir_lot *lot)
{
	const int64_t should[] = {
		lot->wallet,
		lot->source,
		lot->priority,
		lot->voided,
		(int64_t)lot->effective_ns,
		(int64_t)lot->expires_ns,
		(int64_t)lot->created_ns,
		(int64_t)lot->schedule,
	};

	for (int i = 0; i < (int)(sizeof(should) / sizeof(should[0])); i++) {
		int64_t is = sqlite3_column_int64(st, i + 1);

		if (is != should[i])
			return weir_check_wrong(c, lot->seq,
						"%s of the grant is kept as %" PRId64
						", but by the log it is %" PRId64,
						sqlite3_column_name(st, i + 1), is, should[i]);
	}
	return 0;
}

static int check_lot(struct weir_check *c, sqlite3_stmt *st)
{
	uint64_t seq = (uint64_t)sqlite3_column_int64(st, 0);
	const struct weir_lot *lot = weir_book_lot(&c->book, seq);
	int ret;

	if (!lot)
		return weir_check_wrong(c, seq, "table lot has it, but it granted nothing");
	const struct {
		const char *what;
		int64_t should;
	} money[] = {
		{ "what was granted", lot->amount },
		{ "what is pending of the grant", lot->pending },
		{ "what remains of the grant", lot->remaining },
		{ "what expired of the grant", lot->expired },
	};

	ret = check_terms(c, st, lot);
	for (int i = 0; i < 4 && !ret; i++) {
		int64_t is = sqlite3_column_int64(st, 9 + i);

		if (is != money[i].should)
			ret = weir_check_money(c, seq, money[i].what, is, money[i].should);
	}
	return ret;
}

static int check_schedule(struct weir_check *c, sqlite3_stmt *st)
{
	static const struct weir_posting none;
	uint64_t seq = (uint64_t)sqlite3_column_int64(st, 0);
	const struct weir_schedule *s = weir_book_schedule(&c->book, seq);
	struct weir_bytes body = { 0 };
	int ret = 0;

	if (!s)
		return weir_check_wrong(c, seq, "table schedule has it, but it made no schedule");
	if (weir_encode_op(&body, &s->op, &none))
		return -ENOMEM;
	if ((uint32_t)sqlite3_column_int64(st, 1) != s->wallet ||
	    (uint64_t)sqlite3_column_int64(st, 2) != s->next_ns ||
	    (size_t)sqlite3_column_bytes(st, 3) != body.len ||
	    memcmp(sqlite3_column_blob(st, 3), body.p, body.len))
		ret = weir_check_wrong(c, seq, "its schedule is not kept as the log has it");
	free(body.p);
	return ret;
}

/* ------------------------------------------------------------------ counting */

static int check_counter(struct weir_check *c, sqlite3_stmt *st)
{
	const char *key = (const char *)sqlite3_column_text(st, 0);
	weir_autofree struct weir_counter *probe = calloc(1, sizeof(*probe) + strlen(key) + 1);
	const struct weir_counter *n;

	if (!probe)
		return -ENOMEM;
	probe->month = (uint32_t)sqlite3_column_int64(st, 1);
	strcpy(probe->key, key);
	n = g_hash_table_lookup(c->book.counters, probe);
	if (!n || n->at != sqlite3_column_int64(st, 2))
		return weir_check_wrong(c, 0,
					"counter %s is kept as %lld, but by the log it is %" PRId64,
					key, (long long)sqlite3_column_int64(st, 2), n ? n->at : 0);
	return 0;
}

static int check_volume(struct weir_check *c, sqlite3_stmt *st)
{
	const char *key = (const char *)sqlite3_column_text(st, 0);
	weir_autofree struct weir_volume_sum *probe = calloc(1, sizeof(*probe) + strlen(key) + 1);
	const struct weir_volume_sum *v;

	if (!probe)
		return -ENOMEM;
	probe->month = (uint32_t)sqlite3_column_int64(st, 1);
	probe->tenant = (uint32_t)sqlite3_column_int64(st, 2);
	probe->card = (uint32_t)sqlite3_column_int64(st, 3);
	probe->entry = (uint32_t)sqlite3_column_int64(st, 4);
	strcpy(probe->key, key);
	v = g_hash_table_lookup(c->book.volumes, probe);
	if (!v || v->wallet != (uint32_t)sqlite3_column_int64(st, 5) ||
	    v->posted != (bool)sqlite3_column_int64(st, 6) ||
	    v->dimension != sqlite3_column_int64(st, 7) || sqlite3_column_bytes(st, 8) != 16 ||
	    sqlite3_column_bytes(st, 9) != 16 ||
	    memcmp(sqlite3_column_blob(st, 8), &v->sum.weighted, 16) ||
	    memcmp(sqlite3_column_blob(st, 9), &v->sum.charged, 16))
		return weir_check_wrong(
			c, 0, "what a true-up of %s needs is not kept as the log has it", key);
	return 0;
}

/* One that is over changes no price any more; the ledger forgets it when it likes. */
static bool is_over(const struct weir_check *c, uint64_t started_ns)
{
	return started_ns + 2 * WEIR_SESSION_NS <= c->time_ns;
}

static int check_session(struct weir_check *c, sqlite3_stmt *st)
{
	const char *key = (const char *)sqlite3_column_text(st, 1);
	weir_autofree struct weir_session *probe = calloc(1, sizeof(*probe) + strlen(key) + 1);
	uint64_t started_ns = (uint64_t)sqlite3_column_int64(st, 2);
	const struct weir_session *s;

	if (!probe)
		return -ENOMEM;
	if (is_over(c, started_ns))
		return 0;
	probe->tenant = (uint32_t)sqlite3_column_int64(st, 0);
	strcpy(probe->key, key);
	s = g_hash_table_lookup(c->book.sessions, probe);
	if (!s || s->started_ns != started_ns)
		return weir_check_wrong(c, 0, "tenant %s: session %s is not kept as the log has it",
					tenant(c, probe->tenant), key);
	c->sessions++;
	return 0;
}

static int count_sessions(struct weir_check *c)
{
	size_t live = 0;
	GHashTableIter it;
	void *s;

	g_hash_table_iter_init(&it, c->book.sessions);
	while (g_hash_table_iter_next(&it, NULL, &s))
		live += !is_over(c, ((struct weir_session *)s)->started_ns);
	return same_number(c, "session", c->sessions, live);
}

static int check_refund(struct weir_check *c, sqlite3_stmt *st)
{
	uint64_t seq = (uint64_t)sqlite3_column_int64(st, 0);

	if (sqlite3_column_int64(st, 1) != weir_book_refunded(&c->book, seq))
		return weir_check_money(c, seq, "what was refunded of it",
					sqlite3_column_int64(st, 1),
					weir_book_refunded(&c->book, seq));
	return 0;
}

static int check_unpriced(struct weir_check *c, sqlite3_stmt *st)
{
	char *key = g_strdup_printf("%lld|%s", (long long)sqlite3_column_int64(st, 1),
				    (const char *)sqlite3_column_text(st, 0));
	const struct weir_check_unpriced *u = g_hash_table_lookup(c->unpriced, key);
	int ret = 0;

	if (!u || u->count != sqlite3_column_int64(st, 2) ||
	    u->first_ns != (uint64_t)sqlite3_column_int64(st, 3) ||
	    u->last_ns != (uint64_t)sqlite3_column_int64(st, 4))
		ret = weir_check_wrong(c, 0,
				       "unpriced \"%s\": %lld requests are kept, but by the log "
				       "there are %" PRId64 " (or at other times)",
				       (const char *)sqlite3_column_text(st, 0),
				       (long long)sqlite3_column_int64(st, 2), u ? u->count : 0);
	g_free(key);
	return ret;
}

/* Each was looked at when its entry was. */
static int count_write(struct weir_check *c, sqlite3_stmt *st)
{
	return (uint64_t)sqlite3_column_int64(st, 0) == c->writes
		       ? 0
		       : same_number(c, "write", (size_t)sqlite3_column_int64(st, 0), c->writes);
}

/* ------------------------------------------------------------------ what is not projected */

static int check_card(struct weir_check *c, sqlite3_stmt *st)
{
	uint8_t hash[EVP_MAX_MD_SIZE];

	if (EVP_Digest(sqlite3_column_text(st, 2), (size_t)sqlite3_column_bytes(st, 2), hash, NULL,
		       EVP_sha256(), NULL) != 1)
		return -EIO;
	if (sqlite3_column_bytes(st, 1) != WEIR_HASH_BYTES ||
	    memcmp(sqlite3_column_blob(st, 1), hash, WEIR_HASH_BYTES))
		return weir_check_wrong(c, 0, "rate card %lld does not match its hash",
					(long long)sqlite3_column_int64(st, 0));
	return 0;
}

static int check_meta(struct weir_check *c, struct weir_error *err)
{
	char text[24];
	int ret = weir_store_meta(c->rd->db, "checkpoint", text, sizeof(text), err);

	if (!ret && strtoull(text, NULL, 10) != c->seq)
		ret = weir_check_wrong(c, c->seq + 1, "missing; the checkpoint is at %s", text);
	if (ret || !c->priced_ns)
		return ret;
	ret = weir_store_meta(c->rd->db, "latest_priced", text, sizeof(text), err);
	if (!ret && strtoull(text, NULL, 10) != c->priced_ns)
		ret = weir_check_wrong(
			c, 0,
			"the latest start of what is priced is kept as %s, but by the "
			"log it is %" PRIu64,
			text, c->priced_ns);
	return ret;
}

static const struct table {
	const char *name, *sql;
	int (*row)(struct weir_check *c, sqlite3_stmt *st);
	size_t book; /* where the GHashTable of it is in the book; 0: of none */
} tables[] = {
	{ "lot",
	  "SELECT seq, wallet, source, priority, voided, effective, expires, created, schedule,"
	  " amount, pending, remaining, expired FROM lot",
	  check_lot, offsetof(struct weir_book, lots) },
	{ "schedule", "SELECT seq, wallet, next, body FROM schedule", check_schedule,
	  offsetof(struct weir_book, schedules) },
	{ "counter", "SELECT key, month, at FROM counter", check_counter,
	  offsetof(struct weir_book, counters) },
	{ "volume",
	  "SELECT key, month, tenant, card, entry, wallet, posted, dimension, weighted, charged"
	  " FROM volume",
	  check_volume, offsetof(struct weir_book, volumes) },
	{ "session", "SELECT tenant, key, started FROM session", check_session, 0 },
	{ "refund", "SELECT seq, nano FROM refund", check_refund,
	  offsetof(struct weir_book, refunds) },
	{ "write", "SELECT count(*) FROM write", count_write, 0 },
	{ "card", "SELECT id, sha256, json FROM card", check_card, 0 },
};

static int check_table(struct weir_check *c, const struct table *t, struct weir_error *err)
{
	GHashTable *book = NULL;
	size_t n;
	int ret = each(c, t->sql, t->row, &n, err);

	if (ret || !t->book)
		return ret;
	memcpy(&book, (const char *)&c->book + t->book, sizeof(book));
	return same_number(c, t->name, n, g_hash_table_size(book));
}

int weir_check_tables(struct weir_check *c, struct weir_error *err)
{
	size_t n;
	int ret = check_meta(c, err);

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && !ret; i++)
		ret = check_table(c, &tables[i], err);
	if (!ret)
		ret = count_sessions(c);
	if (!ret)
		ret = each(c, "SELECT what, service, count, first, last FROM unpriced",
			   check_unpriced, &n, err);
	if (!ret)
		ret = same_number(c, "unpriced", n, g_hash_table_size(c->unpriced));
	return ret ? ret : check_accounts(c, err);
}
