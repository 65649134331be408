// SPDX-License-Identifier: Apache-2.0
/*
 * Events become entries again: names become numbers, and requests that follow on one another are
 * one transaction. What came of it is counted from the ledger.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ledger_read_priv.h"
#include "agent/rederive_priv.h"
#include "agent/store.h"

static int card_id(struct weir_rederive_run *u, const struct weir_event_usage *e, uint32_t *id)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	char *key = g_strdup_printf("%s\n%s", e->card, e->version);
	gpointer have = g_hash_table_lookup(u->cards, key);
	sqlite3 *db = u->r->reader->db;
	int rc;

	if (have) {
		*id = GPOINTER_TO_UINT(have);
		g_free(key);
		return 0;
	}
	rc = sqlite3_prepare_v2(db, "SELECT id FROM card WHERE name = ? AND version = ?", -1, &st,
				NULL);
	if (rc == SQLITE_OK) {
		sqlite3_bind_text(st, 1, e->card, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 2, e->version, -1, SQLITE_STATIC);
		rc = sqlite3_step(st);
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
		g_free(key);
		return weir_store_fail(db, u->err, "looking up a rate card");
	}
	*id = rc == SQLITE_ROW ? (uint32_t)sqlite3_column_int64(st, 0) : 0;
	if (*id)
		g_hash_table_insert(u->cards, key, GUINT_TO_POINTER(*id));
	else
		g_free(key);
	return 0;
}

static uint16_t service_number(const struct weir_rederive_run *u, const char *name)
{
	for (size_t i = 1; i < u->r->n_services; i++)
		if (u->r->services[i] && !strcmp(u->r->services[i], name))
			return (uint16_t)i;
	return 0;
}

int weir_rederive_resolve(struct weir_rederive_run *u, struct weir_event_usage *e)
{
	uint32_t card = 0;
	int ret = e->card[0] ? card_id(u, e, &card) : 0;

	if (ret)
		return ret;
	e->row.service = service_number(u, e->service);
	e->row.card_id = e->op.card_id = card;
	if (!e->card[0] || card)
		return 0;
	e->row.flags |= WEIR_ROW_UNPRICED;
	e->row.card_entry = e->row.discount_milli = 0;
	return 0;
}

void weir_rederive_strange(struct weir_rederive_run *u, const char *what)
{
	if (u->report.strange++ < WEIR_REDERIVE_LOGS)
		weir_log(WEIR_WARN, "restored: %s", what);
}

/* ------------------------------------------------------------------ a batch */

static int numbers(struct weir_ledger *l, struct weir_event_usage *e, struct weir_error *err)
{
	uint32_t tenant, wallet;
	int ret = weir_ledger_tenant(l, e->tenant, &tenant, err);

	if (!ret)
		ret = weir_ledger_tenant(l, e->wallet, &wallet, err);
	if (ret)
		return ret;
	e->row.tenant = e->op.tenant = tenant;
	e->row.wallet = e->op.wallet = wallet;
	return 0;
}

static int enter_report(struct weir_ledger *l, struct weir_rederive_run *u,
			const struct weir_event_usage *e)
{
	struct weir_done done;
	uint64_t at = 0;
	char why[512];
	int ret;

	for (int i = 0; i < 8; i++)
		at = at << 8 | e->id.b[i];
	ret = weir_ledger_post_as(l, &e->op, &e->id, at, &done, u->err);
	if (ret != -EINVAL && ret != -EEXIST && ret != -ERANGE && ret != -ENOENT)
		return ret;
	/* Never ours, or its id means something else here: waiting would not help. */
	snprintf(why, sizeof(why), "a report of %s cannot be entered again: %.400s", e->tenant,
		 u->err->text);
	weir_rederive_strange(u, why);
	return 0;
}

static int append(struct weir_ledger *l, struct weir_rederive_run *u, const struct weir_row *rows,
		  size_t *n)
{
	size_t known, m = *n;

	*n = 0;
	return m ? weir_ledger_append(l, rows, m, &known, u->err) : 0;
}

/* Requests that follow on one another in one transaction. */
static int call_enter(struct weir_ledger *l, void *arg)
{
	static struct weir_row rows[WEIR_REDERIVE_BATCH]; /* one run at a time */
	struct weir_rederive_run *u = arg;
	size_t n = 0;
	int ret = 0;

	for (size_t i = 0; !ret && i < u->n; i++) {
		struct weir_event_usage *e = &u->batch[i];

		if (u->known[i])
			continue;
		ret = numbers(l, e, u->err);
		if (ret == -EINVAL) {
			weir_rederive_strange(u, u->err->text);
			ret = 0;
			continue;
		}
		if (!ret && e->kind == WEIR_ENTRY_USAGE) {
			rows[n++] = e->row;
			continue;
		}
		if (!ret)
			ret = append(l, u, rows, &n);
		if (!ret)
			ret = enter_report(l, u, e);
	}
	return ret ? ret : append(l, u, rows, &n);
}

static void add(int64_t *sum, int64_t nano)
{
	if (__builtin_add_overflow(*sum, nano, sum))
		*sum = nano < 0 ? INT64_MIN : INT64_MAX;
}

/* Counted from the ledger: so it is the same after a run that was cut short. */
static void count(struct weir_rederive_run *u, const struct weir_event_usage *e, int64_t nano)
{
	struct weir_restored_report *t = &u->report;

	t->usage++;
	t->usage_time_ns = e->time_ns > t->usage_time_ns ? e->time_ns : t->usage_time_ns;
	add(&t->price_nano, nano);
	t->no_card += e->card[0] && !e->row.card_id;
	t->differing += nano != e->price_nano;
	add(&t->difference_nano, nano - e->price_nano);
}

/* Entries come in the batch's order; between them may be what fell due. */
static int tally(const struct weir_entry *e, void *ctx)
{
	struct weir_rederive_run *u = ctx;

	for (size_t i = u->told; i < u->n; i++) {
		if (memcmp(&u->batch[i].id, &e->id, sizeof(e->id)) != 0)
			continue;
		count(u, &u->batch[i], e->row ? e->row->price_nano : e->op->price_nano);
		u->told = i + 1;
		break;
	}
	return 0;
}

static int tally_known(struct weir_rederive_run *u)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < u->n; i++) {
		u->told = i;
		if (u->known[i])
			ret = weir_reader_find(u->r->reader, &u->batch[i].id, tally, u, u->err);
	}
	return ret;
}

int weir_rederive_flush(struct weir_rederive_run *u)
{
	struct weir_entry_query q = { .kinds = 1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER };
	uint64_t before = 0;
	int ret = u->n ? weir_reader_newest(u->r->reader, &before, u->err) : 0;

	if (!ret && u->n)
		ret = tally_known(u);
	if (!ret && u->n)
		ret = u->r->call(u->r->ctx, call_enter, u);
	q.from_seq = before + 1;
	u->told = 0;
	if (!ret && u->n)
		ret = weir_reader_entries(u->r->reader, &q, tally, u, u->err);
	u->n = 0;
	return ret;
}
