// SPDX-License-Identifier: Apache-2.0
/*
 * Prices that depend on what came before: counters of steps, what a month's true-up needs,
 * sessions. Pricing looks, counting moves; both are in ledger order.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_book_priv.h"

/* ------------------------------------------------------------------------ tables */

static guint hash(const char *key, uint64_t number)
{
	return g_str_hash(key) ^ (guint)(number * 2654435761u);
}

static guint counter_hash(gconstpointer v)
{
	const struct weir_counter *c = v;

	return hash(c->key, c->month);
}

static gboolean counter_equal(gconstpointer a, gconstpointer c)
{
	const struct weir_counter *x = a, *y = c;

	return x->month == y->month && !strcmp(x->key, y->key);
}

static guint volume_hash(gconstpointer v)
{
	const struct weir_volume_sum *s = v;

	return hash(s->key, (uint64_t)s->month << 32 ^ (uint64_t)s->tenant << 8 ^ s->card);
}

static gboolean volume_equal(gconstpointer a, gconstpointer c)
{
	const struct weir_volume_sum *x = a, *y = c;

	return x->month == y->month && x->tenant == y->tenant && x->card == y->card &&
	       x->entry == y->entry && !strcmp(x->key, y->key);
}

static guint session_hash(gconstpointer v)
{
	const struct weir_session *s = v;

	return hash(s->key, s->tenant);
}

static gboolean session_equal(gconstpointer a, gconstpointer c)
{
	const struct weir_session *x = a, *y = c;

	return x->tenant == y->tenant && !strcmp(x->key, y->key);
}

int weir_book_init(struct weir_book *b)
{
	memset(b, 0, sizeof(*b));
	/* GLib ends the program when memory does: there are no errors to look at. */
	b->lots = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free);
	b->schedules = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free);
	b->counters = g_hash_table_new_full(counter_hash, counter_equal, NULL, free);
	b->volumes = g_hash_table_new_full(volume_hash, volume_equal, NULL, free);
	b->sessions = g_hash_table_new_full(session_hash, session_equal, NULL, free);
	b->refunds = g_hash_table_new_full(g_int64_hash, g_int64_equal, free, free);
	return 0;
}

void weir_book_clear(struct weir_book *b)
{
	GHashTable *const tables[] = { b->lots,	   b->schedules, b->counters,
				       b->volumes, b->sessions,	 b->refunds };

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (tables[i])
			g_hash_table_destroy(tables[i]);
	if (b->closing)
		g_ptr_array_unref(b->closing);
	for (size_t i = 0; i < b->n; i++)
		free(b->v[i].lots);
	free(b->v);
	free(b->due);
	free(b->undo);
	memset(b, 0, sizeof(*b));
}

int weir_book_load_schedule(struct weir_book *b, const struct weir_schedule *s)
{
	struct weir_schedule *mine = malloc(sizeof(*mine));

	if (!mine)
		return -ENOMEM;
	*mine = *s;
	mine->dirty = false;
	g_hash_table_replace(b->schedules, &mine->seq, mine);
	return book_due_schedule(b, mine);
}

static struct weir_counter *add_counter(struct weir_book *b, const char *key, uint32_t month,
					int64_t at)
{
	struct weir_counter *c = calloc(1, sizeof(*c) + strlen(key) + 1);

	if (!c)
		return NULL;
	c->month = month;
	c->at = at;
	strcpy(c->key, key);
	g_hash_table_replace(b->counters, c, c);
	return c;
}

int weir_book_load_counter(struct weir_book *b, const char *key, uint32_t month, int64_t at)
{
	return add_counter(b, key, month, at) ? 0 : -ENOMEM;
}

int weir_book_load_volume(struct weir_book *b, const struct weir_volume_sum *v, const char *key)
{
	struct weir_volume_sum *mine = calloc(1, sizeof(*mine) + strlen(key) + 1);

	if (!mine)
		return -ENOMEM;
	*mine = *v;
	mine->dirty = mine->gone = false;
	strcpy(mine->key, key);
	g_hash_table_replace(b->volumes, mine, mine);
	return book_due_month(b, mine->month);
}

int weir_book_load_session(struct weir_book *b, uint32_t tenant, const char *key,
			   uint64_t started_ns)
{
	struct weir_session *mine = calloc(1, sizeof(*mine) + strlen(key) + 1);

	if (!mine)
		return -ENOMEM;
	mine->tenant = tenant;
	mine->started_ns = started_ns;
	strcpy(mine->key, key);
	g_hash_table_replace(b->sessions, mine, mine);
	return 0;
}

int weir_book_load_refund(struct weir_book *b, uint64_t seq, int64_t nano)
{
	uint64_t *key = malloc(sizeof(*key));
	int64_t *sum = malloc(sizeof(*sum));

	if (!key || !sum) {
		free(key);
		free(sum);
		return -ENOMEM;
	}
	*key = seq;
	*sum = nano;
	g_hash_table_replace(b->refunds, key, sum);
	return 0;
}

/* ------------------------------------------------------------------------- looking */

int weir_counter_key(const struct weir_card *c, uint32_t entry, enum weir_dimension d,
		     uint32_t tenant, char out[static WEIR_COUNTER_KEY])
{
	const char *pool = NULL;
	char owner[80];

	weir_card_steps(c, entry, d, &pool);
	if (pool)
		snprintf(owner, sizeof(owner), "pool=%s", pool);
	else
		snprintf(owner, sizeof(owner), "tenant=%u", tenant);
	return snprintf(out, WEIR_COUNTER_KEY, "%s|%s|%s|%s", owner, c->name,
			weir_card_entry_key(c, entry), weir_dimension_names[d]) < WEIR_COUNTER_KEY
		       ? 0
		       : -ERANGE;
}

/* A lookup key with room for the text behind it. */
union counter_probe {
	struct weir_counter c;
	char room[sizeof(struct weir_counter) + WEIR_COUNTER_KEY];
};
union volume_probe {
	struct weir_volume_sum v;
	char room[sizeof(struct weir_volume_sum) + WEIR_COUNTER_KEY];
};
union session_probe {
	struct weir_session s;
	char room[sizeof(struct weir_session) + WEIR_COUNTER_KEY];
};

static struct weir_counter *find_counter(struct weir_book *b, const char *key, uint32_t month)
{
	union counter_probe probe = { .c = { .month = month } };

	strcpy(probe.c.key, key);
	return g_hash_table_lookup(b->counters, &probe);
}

int64_t book_counter_at(struct weir_book *b, const char *key, uint32_t month)
{
	const struct weir_counter *c = find_counter(b, key, month);

	if (c)
		return c->at;
	return b->counter_at ? b->counter_at(b->ctx, key, month) : 0;
}

static int session_key(const struct weir_sale *s, union session_probe *probe)
{
	int n = snprintf(probe->s.key, WEIR_COUNTER_KEY, "%s|%s|%s", s->card->name,
			 weir_card_entry_key(s->card, s->entry), s->session);

	probe->s.tenant = s->tenant;
	return n < WEIR_COUNTER_KEY ? 0 : -ERANGE;
}

static int session_begins(struct weir_book *b, const struct weir_sale *s, bool *begins)
{
	union session_probe probe = { 0 };
	const struct weir_session *was;
	int ret;

	*begins = weir_card_has_session(s->card, s->entry);
	if (!*begins || !s->session || !*s->session)
		return 0;
	ret = session_key(s, &probe);
	if (ret)
		return ret;
	was = g_hash_table_lookup(b->sessions, &probe);
	if (was && s->started_ns < was->started_ns + WEIR_SESSION_NS &&
	    s->time_ns < was->started_ns + 2 * WEIR_SESSION_NS)
		*begins = false;
	return 0;
}

int weir_book_price(struct weir_book *b, const struct weir_sale *s, struct weir_quantities *q,
		    struct weir_posting *post, struct weir_charge *charge)
{
	uint32_t month = weir_month_of(s->started_ns);
	int64_t positions[WEIR_DIM_MAX] = { 0 };
	char key[WEIR_COUNTER_KEY];
	int ret;

	post->n_positions = 0;
	ret = session_begins(b, s, &post->session_begins);
	if (ret)
		return ret;
	q->of[WEIR_DIM_SESSION] = post->session_begins;
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		if (weir_card_steps(s->card, s->entry, (enum weir_dimension)d, NULL) ==
		    WEIR_STEPS_NONE)
			continue;
		ret = weir_counter_key(s->card, s->entry, (enum weir_dimension)d, s->tenant, key);
		if (ret)
			return ret;
		positions[d] = book_counter_at(b, key, month);
		post->positions[post->n_positions++] =
			(struct weir_position){ .dimension = (uint8_t)d, .at = positions[d] };
	}
	return weir_card_charge(s->card, s->entry, s->discount_milli, q, positions, charge);
}

/* ------------------------------------------------------------------------ counting */

static int count_volume(struct weir_book *b, const struct weir_sale *s, enum weir_dimension d,
			const char *key, const struct weir_volume *by)
{
	union volume_probe probe = { .v = { .month = weir_month_of(s->started_ns),
					    .tenant = s->tenant,
					    .wallet = s->wallet,
					    .card = s->card->id,
					    .entry = s->entry,
					    .dimension = (uint8_t)d,
					    .posted = s->posted } };
	struct weir_volume_sum *v;
	bool made;
	int ret = 0;

	/* The month is closed: what comes later is not trued up. */
	if (s->time_ns >= weir_month_start_ns(probe.v.month + 1) + WEIR_CLOSE_NS)
		return 0;
	strcpy(probe.v.key, key);
	v = g_hash_table_lookup(b->volumes, &probe);
	made = !v;
	if (made) {
		ret = weir_book_load_volume(b, &probe.v, key);
		v = g_hash_table_lookup(b->volumes, &probe);
	}
	if (!ret)
		ret = book_touch_volume(b, v, made);
	if (ret)
		return ret;
	v->wallet = s->wallet;
	v->posted = s->posted;
	if (__builtin_add_overflow(v->sum.weighted, by->weighted, &v->sum.weighted) ||
	    __builtin_add_overflow(v->sum.charged, by->charged, &v->sum.charged))
		return -ERANGE;
	return 0;
}

static int count_dimension(struct weir_book *b, const struct weir_sale *s, enum weir_dimension d,
			   const struct weir_charge *charge)
{
	uint32_t month = weir_month_of(s->started_ns);
	char key[WEIR_COUNTER_KEY];
	struct weir_counter *c;
	bool made;
	int ret = weir_counter_key(s->card, s->entry, d, s->tenant, key);

	if (ret)
		return ret;
	c = find_counter(b, key, month);
	made = !c;
	if (made)
		c = add_counter(b, key, month, book_counter_at(b, key, month));
	if (!c)
		return -ENOMEM;
	ret = book_touch_counter(b, c, made);
	if (ret)
		return ret;
	if (__builtin_add_overflow(c->at, charge->counted[d], &c->at))
		return -ERANGE;
	if (weir_card_steps(s->card, s->entry, d, NULL) == WEIR_STEPS_VOLUME)
		ret = count_volume(b, s, d, key, &charge->volume[d]);
	return ret;
}

static int count_session(struct weir_book *b, const struct weir_sale *s)
{
	union session_probe probe = { 0 };
	struct weir_session *was;
	bool made;
	int ret = session_key(s, &probe);

	if (ret)
		return ret;
	was = g_hash_table_lookup(b->sessions, &probe);
	made = !was;
	if (made) {
		ret = weir_book_load_session(b, s->tenant, probe.s.key, s->started_ns);
		was = g_hash_table_lookup(b->sessions, &probe);
	}
	if (!ret)
		ret = book_touch_session(b, was, made);
	if (!ret)
		was->started_ns = s->started_ns;
	return ret;
}

int weir_book_count(struct weir_book *b, const struct weir_sale *s, const struct weir_posting *post,
		    const struct weir_charge *charge)
{
	int ret = 0;

	for (size_t i = 0; i < post->n_positions && !ret; i++) {
		enum weir_dimension d = (enum weir_dimension)post->positions[i].dimension;

		if (charge->counted[d])
			ret = count_dimension(b, s, d, charge);
	}
	if (!ret && post->session_begins && s->session && *s->session)
		ret = count_session(b, s);
	return ret;
}

/* ---------------------------------------------------------------------- forgetting */

static gboolean is_over(gpointer key, gpointer v, gpointer now_ns)
{
	const struct weir_session *s = v;

	return s->started_ns + 2 * WEIR_SESSION_NS <= *(const uint64_t *)now_ns;
}

static gboolean is_of_old(gpointer key, gpointer v, gpointer month)
{
	const struct weir_counter *c = v;

	return c->month + 1 < *(const uint32_t *)month;
}

/* Long expired: it gives to nobody any more (ledger.md, 6). */
static bool is_past(const struct weir_lot *lot, uint64_t now_ns)
{
	return !lot->pending && !lot->remaining && lot->expires_ns &&
	       lot->expires_ns + WEIR_LATE_NS <= now_ns;
}

void weir_book_prune(struct weir_book *b, uint64_t now_ns)
{
	uint32_t month = weir_month_of(now_ns);

	if (b->keep)
		return;
	for (size_t i = 0; i < b->n; i++) {
		for (uint32_t k = b->v[i].n_lots; k--;) {
			if (is_past(b->v[i].lots[k], now_ns))
				book_drop_lot(b, b->v[i].lots[k]);
		}
	}
	g_hash_table_foreach_remove(b->sessions, is_over, &now_ns);
	g_hash_table_foreach_remove(b->counters, is_of_old, &month);
}
