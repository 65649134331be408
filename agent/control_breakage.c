// SPDX-License-Identifier: Apache-2.0
/*
 * Handler of `credit breakage`: credit that was given and never used. From the log alone: what
 * expired, and what was voided, minus what requests that had begun in time took of it later.
 */
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_call.h"

#define LOOK_UP 4096 /* entries between two looks whether the agent stops */

enum by { BY_SOURCE, BY_MONTH, BY_TENANT };
static const char *const by_names[] = { "source", "month", "tenant", NULL };

struct sums {
	int64_t expired, voided, late; /* nano, >= 0 */
};

/* Of one lot, until its source is known. */
struct lot_sums {
	uint64_t lot; /* seq; 0: a refund that no lot could take any more */
	uint32_t wallet;
	struct sums s;
};

struct report {
	struct weir_call *c;
	struct weir_reader *reader;
	uint32_t wallet; /* only of this one; 0: of all */
	uint64_t seen;
	int by;
	GHashTable *rows; /* name -> struct sums */
	GHashTable *lots; /* seq -> struct lot_sums; BY_SOURCE only */
	bool over;
};

static void add(struct report *rep, struct sums *to, const struct sums *s)
{
	rep->over |= __builtin_add_overflow(to->expired, s->expired, &to->expired) ||
		     __builtin_add_overflow(to->voided, s->voided, &to->voided) ||
		     __builtin_add_overflow(to->late, s->late, &to->late);
}

static void add_row(struct report *rep, const char *name, const struct sums *s)
{
	struct sums *row = g_hash_table_lookup(rep->rows, name);

	if (!row) {
		row = g_new0(struct sums, 1);
		g_hash_table_insert(rep->rows, g_strdup(name), row);
	}
	add(rep, row, s);
}

static void add_lot(struct report *rep, const struct weir_entry *e, uint64_t lot,
		    const struct sums *s)
{
	struct lot_sums *l = g_hash_table_lookup(rep->lots, &lot);

	if (!l) {
		l = g_new0(struct lot_sums, 1);
		l->lot = lot;
		l->wallet = e->wallet;
		g_hash_table_insert(rep->lots, &l->lot, l);
	}
	add(rep, &l->s, s);
}

static void note(struct report *rep, const struct weir_entry *e, uint64_t lot, const struct sums *s)
{
	char month[WEIR_TIME_TEXT];

	switch (rep->by) {
	case BY_SOURCE:
		add_lot(rep, e, lot, s);
		break;
	case BY_MONTH:
		weir_time_format(e->time_ns, month);
		month[7] = 0; /* "2026-11" */
		add_row(rep, month, s);
		break;
	default:
		add_row(rep, e->wallet_name ? e->wallet_name : "?", s);
	}
}

/* What one move says; a void forfeits what it takes, of whatever purse. */
static int on_entry(const struct weir_entry *e, void *ctx)
{
	struct report *rep = ctx;
	int64_t given_back = 0;

	if (!(++rep->seen % LOOK_UP) && weir_call_stopping(rep->c))
		return -EPIPE;
	/* A tenant's entries are also those that somebody else paid. */
	if (rep->wallet && e->wallet != rep->wallet)
		return 0;
	for (size_t i = 0; i < e->n_moves; i++) {
		const struct weir_move *m = &e->moves[i];
		struct sums s = { 0 };

		if (m->purse == WEIR_PURSE_DEBT) {
			rep->over |= __builtin_sub_overflow(given_back, m->nano, &given_back);
			continue;
		}
		rep->over |= __builtin_add_overflow(given_back, m->nano, &given_back);
		if (e->kind == WEIR_ENTRY_VOID)
			s.voided = -m->nano;
		else if (m->purse == WEIR_PURSE_EXPIRED && m->nano > 0)
			s.expired = m->nano;
		else if (m->purse == WEIR_PURSE_EXPIRED)
			s.late = -m->nano;
		else
			continue;
		note(rep, e, m->lot, &s);
	}
	/* What a refund owed to a lot that was voided is forfeited like the rest of it. */
	if (e->kind == WEIR_ENTRY_REFUND && e->op && e->op->amount_nano > given_back)
		note(rep, e, 0, &(struct sums){ .voided = e->op->amount_nano - given_back });
	return 0;
}

/* ----------------------------------------------------------------- lots to sources */

static int sources_of_wallet(struct report *rep, uint32_t wallet, struct weir_error *err)
{
	struct weir_balance b = { 0 };
	int r = weir_reader_balance(rep->reader, wallet, weir_wall_ns(), &b, err);

	for (size_t i = 0; !r && i < b.n_lots; i++) {
		struct lot_sums *l = g_hash_table_lookup(rep->lots, &b.lots[i].seq);
		uint8_t source = b.lots[i].source;

		if (!l)
			continue;
		add_row(rep, source < WEIR_GRANT_SOURCE_MAX ? weir_grant_source_names[source] : "?",
			&l->s);
		l->wallet = 0; /* told */
	}
	weir_balance_clear(&b);
	return r;
}

static int sources(struct report *rep, struct weir_error *err)
{
	GHashTable *seen = g_hash_table_new(g_direct_hash, g_direct_equal);
	GHashTableIter it;
	struct lot_sums *l;
	gpointer value;
	int r = 0;

	g_hash_table_iter_init(&it, rep->lots);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		l = value;
		g_hash_table_add(seen, GUINT_TO_POINTER(l->wallet));
	}
	g_hash_table_iter_init(&it, seen);
	while (!r && g_hash_table_iter_next(&it, &value, NULL))
		r = sources_of_wallet(rep, GPOINTER_TO_UINT(value), err);
	g_hash_table_destroy(seen);
	g_hash_table_iter_init(&it, rep->lots);
	while (!r && g_hash_table_iter_next(&it, NULL, &value)) {
		l = value;
		if (l->wallet)
			add_row(rep, "refund", &l->s);
	}
	return r;
}

/* ------------------------------------------------------------------------- answer */

static json_t *sums_json(struct report *rep, const char *key, const struct sums *s)
{
	int64_t all = 0;

	rep->over |= __builtin_sub_overflow(s->expired, s->late, &all) ||
		     __builtin_add_overflow(all, s->voided, &all);
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "key", weir_json_text(key), "expired",
			 weir_json_money(s->expired), "voided", weir_json_money(s->voided), "late",
			 weir_json_money(s->late), "breakage", weir_json_money(all));
}

static json_t *report_json(struct report *rep, const struct weir_entry_query *q)
{
	GList *keys = g_list_sort(g_hash_table_get_keys(rep->rows), (GCompareFunc)strcmp);
	json_t *rows = json_array();
	struct sums total = { 0 };

	for (GList *k = keys; k; k = k->next) {
		const struct sums *s = g_hash_table_lookup(rep->rows, k->data);

		add(rep, &total, s);
		json_array_append_new(rows, sums_json(rep, k->data, s));
	}
	g_list_free(keys);
	return json_pack("{s:s,s:o,s:o,s:o,s:o}", "by", by_names[rep->by], "since",
			 weir_json_time(q->since_ns), "until", weir_json_time(q->until_ns), "rows",
			 rows, "total", sums_json(rep, NULL, &total));
}

int weir_do_credit_breakage(struct weir_call *c, struct weir_error *err)
{
	struct weir_entry_query q = { .kinds = 1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_VOID |
					       1u << WEIR_ENTRY_REFUND | 1u << WEIR_ENTRY_ADJUST |
					       1u << WEIR_ENTRY_EXPIRE | 1u << WEIR_ENTRY_DEDUCT |
					       1u << WEIR_ENTRY_METER | 1u << WEIR_ENTRY_TRUE_UP };
	struct report rep = { .c = c, .by = BY_SOURCE };
	const char *tenant = NULL;
	struct weir_json at;
	json_t *o;
	int r = weir_call_tenant(c, true, &tenant, &q.tenant, err);

	if (!r)
		r = weir_call_time(c, "since", &q.since_ns, err);
	if (!r)
		r = weir_call_time(c, "until", &q.until_ns, err);
	if (!r && weir_json_get(&c->args, "by", &at))
		r = weir_json_choice(&at, by_names, &rep.by, err);
	if (!r && q.until_ns && q.until_ns <= q.since_ns)
		r = weir_fail(err, EINVAL, "request: until: is not after since");
	if (r)
		return r;
	rep.wallet = q.tenant;
	rep.reader = weir_call_reader(c, err);
	if (!rep.reader)
		return -EIO;
	rep.rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	rep.lots = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	r = weir_reader_entries(rep.reader, &q, on_entry, &rep, err);
	if (!r && rep.by == BY_SOURCE)
		r = sources(&rep, err);
	if (!r) {
		o = report_json(&rep, &q);
		if (rep.over) {
			json_decref(o);
			r = weir_fail(err, ERANGE, "breakage: the sums do not fit");
		} else {
			r = weir_call_result(c, o);
		}
	}
	g_hash_table_destroy(rep.lots);
	g_hash_table_destroy(rep.rows);
	return r;
}
