// SPDX-License-Identifier: Apache-2.0
#include "agent/usage_by.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

const char *const weir_usage_key_names[WEIR_USAGE_KEY_MAX + 1] = {
	"tenant", "user", "team", "feature", "cost_center", "model", "session", "day", "hour", NULL
};

/* A tenant's number, a slash and the longest label; or a time. */
#define KEY_TEXT 160

struct weir_usage_by {
	enum weir_usage_key by;
	GHashTable *groups; /* by what key_of makes; "" of nobody */
	struct weir_usage_group total;
};

static void free_group(gpointer p)
{
	struct weir_usage_group *g = p;

	g_free((char *)g->tenant);
	g_free(g);
}

struct weir_usage_by *weir_usage_by_new(enum weir_usage_key key)
{
	struct weir_usage_by *u = g_new0(struct weir_usage_by, 1);

	u->by = key;
	u->groups = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_group);
	return u;
}

void weir_usage_by_free(struct weir_usage_by *u)
{
	if (!u)
		return;
	g_hash_table_destroy(u->groups);
	g_free(u);
}

/* ---------------------------------------------------------------------- whose it is */

/* Labels have no NUL at their end where they are full. */
static void copy(char text[static KEY_TEXT], const char *label, size_t max)
{
	snprintf(text, KEY_TEXT, "%.*s", (int)max, label);
}
#define COPY(text, label) copy(text, label, sizeof(label))

static void of_model(const struct weir_margin_item *i, char text[static KEY_TEXT])
{
	if (i->counter[0])
		snprintf(text, KEY_TEXT, "true-up");
	else if (!i->model[0] && i->meter[0])
		snprintf(text, KEY_TEXT, "meter:%s", i->meter);
	else
		copy(text, i->model, sizeof(i->entry->row->model));
}

/* Up to the day or to the hour. */
static void of_time(uint64_t wall_ns, size_t n, const char *rest, char text[static KEY_TEXT])
{
	char time[WEIR_TIME_TEXT];

	weir_time_format(wall_ns, time);
	snprintf(text, KEY_TEXT, "%.*s%s", (int)n, time, rest);
}

static void key_of(enum weir_usage_key by, const struct weir_margin_item *i,
		   char text[static KEY_TEXT])
{
	const struct weir_row *row = i->entry->row; /* NULL of a meter: it has few labels */
	size_t n;

	text[0] = 0;
	switch (by) {
	case WEIR_USAGE_BY_TENANT:
		if (i->tenant_name)
			snprintf(text, KEY_TEXT, "%s", i->tenant_name);
		break;
	case WEIR_USAGE_BY_USER:
		if (row)
			COPY(text, row->user);
		break;
	case WEIR_USAGE_BY_TEAM:
		if (row)
			COPY(text, row->team);
		break;
	case WEIR_USAGE_BY_COST_CENTER:
		if (row)
			COPY(text, row->cost_center);
		break;
	case WEIR_USAGE_BY_FEATURE:
		copy(text, i->feature, sizeof(row->feature));
		break;
	case WEIR_USAGE_BY_MODEL:
		of_model(i, text);
		break;
	case WEIR_USAGE_BY_SESSION:
		if (!i->session[0])
			break;
		n = (size_t)snprintf(text, KEY_TEXT, "%u/", i->tenant);
		snprintf(text + n, KEY_TEXT - n, "%.*s", (int)sizeof(row->session), i->session);
		break;
	case WEIR_USAGE_BY_DAY:
		of_time(i->started_ns, strlen("2026-11-21"), "", text);
		break;
	default:
		of_time(i->started_ns, strlen("2026-11-21T14"), ":00:00Z", text);
	}
}

/* NULL: there are too many. */
static struct weir_usage_group *group_of(struct weir_usage_by *u, const struct weir_margin_item *i)
{
	char text[KEY_TEXT], *key;
	struct weir_usage_group *g;

	key_of(u->by, i, text);
	g = g_hash_table_lookup(u->groups, text);
	if (g || g_hash_table_size(u->groups) >= WEIR_USAGE_GROUPS)
		return g;
	g = g_new0(struct weir_usage_group, 1);
	key = g_strdup(text);
	if (text[0])
		g->key = u->by == WEIR_USAGE_BY_SESSION ? strchr(key, '/') + 1 : key;
	if (text[0] && u->by == WEIR_USAGE_BY_SESSION)
		g->tenant = g_strdup(i->tenant_name);
	g_hash_table_insert(u->groups, key, g);
	return g;
}

/* ---------------------------------------------------------------------- sums */

static void add(int64_t *sum, int64_t v)
{
	if (__builtin_add_overflow(*sum, v, sum))
		*sum = v < 0 ? INT64_MIN : INT64_MAX;
}

static void add_count(int64_t *sum, int64_t v)
{
	if (v != WEIR_UNKNOWN)
		add(sum, v);
}

static void add_request(struct weir_usage_group *g, const struct weir_row *row)
{
	g->requests++;
	g->estimated += row->usage_source == WEIR_USAGE_ESTIMATED;
	g->partial += row->usage_source == WEIR_USAGE_PARTIAL;
	g->degraded += !!(row->flags & WEIR_ROW_DEGRADED);
	g->unjudged += !!(row->flags & WEIR_ROW_UNJUDGED);
	g->unbilled += !(row->flags & WEIR_ROW_BILLABLE);
	add_count(&g->tokens.input, row->usage.input);
	add_count(&g->tokens.cache_read, row->usage.cache_read);
	add_count(&g->tokens.cache_write, row->usage.cache_write);
	add_count(&g->tokens.output, row->usage.output);
	add_count(&g->tokens.reasoning, row->usage.reasoning);
	add_count(&g->audio, row->audio);
	add_count(&g->image, row->image);
}

static void add_item(struct weir_usage_group *g, const struct weir_margin_item *i)
{
	const struct weir_row *row = i->entry->row;
	uint64_t end_ns = row ? row->ended_wall_ns : i->started_ns;

	add(&g->refunded_nano, i->refund_nano);
	if (i->kind == WEIR_ENTRY_REFUND)
		return;
	if (!g->first_ns || i->started_ns < g->first_ns)
		g->first_ns = i->started_ns;
	if (end_ns > g->last_ns)
		g->last_ns = end_ns;
	if (row)
		add_request(g, row);
	g->meters += i->kind == WEIR_ENTRY_METER;
	g->unpriced += i->unpriced;
	add(&g->price_nano, i->price_nano);
	add(&g->cost_nano, i->cost_nano);
}

int weir_usage_by_add(struct weir_usage_by *u, const struct weir_margin_item *i)
{
	struct weir_usage_group *g = group_of(u, i);

	if (!g)
		return -E2BIG;
	add_item(g, i);
	add_item(&u->total, i);
	return 0;
}

const struct weir_usage_group *weir_usage_by_total(const struct weir_usage_by *u)
{
	return &u->total;
}

/* ---------------------------------------------------------------------- in order */

static gint by_key(gconstpointer a, gconstpointer b)
{
	const struct weir_usage_group *x = a, *y = b;

	if (!x->key || !y->key)
		return !x->key - !y->key;
	return strcmp(x->key, y->key);
}

static gint by_price(gconstpointer a, gconstpointer b)
{
	const struct weir_usage_group *x = a, *y = b;
	gint r;

	if (x->key && y->key && x->price_nano != y->price_nano)
		return x->price_nano < y->price_nano ? 1 : -1;
	r = by_key(a, b);
	return r ? r : g_strcmp0(x->tenant, y->tenant);
}

int weir_usage_by_each(const struct weir_usage_by *u,
		       int (*fn)(const struct weir_usage_group *g, void *ctx), void *ctx)
{
	bool in_time = u->by == WEIR_USAGE_BY_DAY || u->by == WEIR_USAGE_BY_HOUR;
	GList *all = g_list_sort(g_hash_table_get_values(u->groups), in_time ? by_key : by_price);
	int r = 0;

	for (GList *l = all; !r && l; l = l->next)
		r = fn(l->data, ctx);
	g_list_free(all);
	return r;
}
