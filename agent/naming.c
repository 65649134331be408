// SPDX-License-Identifier: Apache-2.0
/*
 * Table `named`. A row holds from its from_seq on, up to the next of the same number; from_seq is
 * always past the newest entry when the row is written, so what an entry refers to never changes.
 * meta.named counts the writes: by that a reader knows whether what it remembers still is all.
 */
#include "agent/naming.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/ledger_read_priv.h"
#include "agent/policy.h"
#include "agent/store.h"

#define LEVELS_MAX 8 /* more than a policy may have */
#define PATH_BYTES (LEVELS_MAX * WEIR_NAME_BYTES)

static uint64_t key_of(enum weir_named kind, uint32_t number)
{
	return (uint64_t)kind << 32 | number;
}

/* A key that a table may own. */
static uint64_t *key_copy(uint64_t key)
{
	return g_memdup2(&key, sizeof(key));
}

/* --------------------------------------------------------------------- writing */

struct weir_naming {
	GHashTable *newest; /* key -> text */
	uint64_t serial;    /* of the policy whose paths are written; 0: of none */
};

struct change {
	uint64_t key;
	uint64_t from_seq;
	char *text; /* g_strdup */
};

static void change_clear(void *p)
{
	g_free(((struct change *)p)->text);
}

int weir_naming_new(struct weir_ledger *l, struct weir_naming **out, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_naming *n;
	int rc;

	if (sqlite3_prepare_v2(l->db,
			       "SELECT kind, number, text FROM named"
			       " ORDER BY kind, number, from_seq",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading table named");
	n = g_new0(struct weir_naming, 1);
	n->newest = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(st, 2);

		/* The last of a number stays. */
		g_hash_table_replace(n->newest,
				     key_copy(key_of(sqlite3_column_int(st, 0),
						     (uint32_t)sqlite3_column_int64(st, 1))),
				     g_strdup(text ? text : ""));
	}
	if (rc != SQLITE_DONE) {
		weir_naming_free(n);
		return weir_store_fail(l->db, err, "reading table named");
	}
	*out = n;
	return 0;
}

void weir_naming_free(struct weir_naming *n)
{
	if (!n)
		return;
	g_hash_table_destroy(n->newest);
	g_free(n);
}

static void find_services(const struct weir_naming *n, uint64_t next_seq,
			  const char *const *services, size_t n_services, GArray *changes)
{
	for (size_t i = 1; i < n_services; i++) {
		struct change c = { .key = key_of(WEIR_NAMED_SERVICE, (uint32_t)i) };
		const char *was = g_hash_table_lookup(n->newest, &c.key);

		if (!services[i] || (was && !strcmp(was, services[i])))
			continue;
		c.from_seq = was ? next_seq : 0;
		c.text = g_strdup(services[i]);
		g_array_append_val(changes, c);
	}
}

/* "top/middle/tenant" */
static void path_of(const struct weir_policy *policy, const struct weir_tenant_policy *t,
		    char out[static PATH_BYTES])
{
	const char *names[LEVELS_MAX] = { t->name };
	size_t n = 1, at = 0;

	for (; t && t->parent && n < LEVELS_MAX; n++) {
		names[n] = t->parent;
		t = weir_policy_tenant(policy, t->parent);
	}
	while (n--)
		at += (size_t)snprintf(out + at, PATH_BYTES - at, "%s%s", at ? "/" : "", names[n]);
}

static void find_paths(const struct weir_naming *n, struct weir_ledger *l, uint64_t from_seq,
		       const struct weir_policy *policy, GArray *changes)
{
	char path[PATH_BYTES];

	for (size_t i = 0; i < policy->n_tenants; i++) {
		const struct weir_tenant_policy *t = &policy->tenants[i];
		struct change c = { .from_seq = from_seq };
		uint32_t number;
		const char *was;

		number = weir_names_find(&l->names, t->name);
		c.key = key_of(WEIR_NAMED_PATH, number);
		was = g_hash_table_lookup(n->newest, &c.key);
		if (!number || (!was && !t->parent))
			continue;
		path_of(policy, t, path);
		if (was && !strcmp(was, path))
			continue;
		c.text = g_strdup(path);
		g_array_append_val(changes, c);
	}
}

static int insert(struct weir_ledger *l, const GArray *changes, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int r = weir_store_prepare(l->db,
				   "INSERT OR REPLACE INTO named (kind, number, from_seq, text)"
				   " VALUES (?, ?, ?, ?)",
				   &st, err);

	for (guint i = 0; !r && i < changes->len; i++) {
		const struct change *c = &g_array_index(changes, struct change, i);

		sqlite3_bind_int64(st, 1, (sqlite3_int64)(c->key >> 32));
		sqlite3_bind_int64(st, 2, (uint32_t)c->key);
		sqlite3_bind_int64(st, 3, (sqlite3_int64)c->from_seq);
		sqlite3_bind_text(st, 4, c->text, -1, SQLITE_STATIC);
		if (sqlite3_step(st) != SQLITE_DONE)
			r = weir_store_fail(l->db, err, "noting names");
		sqlite3_reset(st);
	}
	return r;
}

static int write_changes(struct weir_ledger *l, const GArray *changes, struct weir_error *err)
{
	int r = weir_store_exec(l->db, "BEGIN IMMEDIATE", err, "noting names");

	if (r)
		return r;
	r = insert(l, changes, err);
	if (!r)
		r = weir_store_exec(l->db,
				    "INSERT INTO meta VALUES ('named', '1') ON CONFLICT (key)"
				    " DO UPDATE SET value = CAST(value AS INTEGER) + 1",
				    err, "noting names");
	if (!r)
		r = weir_store_exec(l->db, "COMMIT", err, "noting names");
	if (r)
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int weir_naming_put(struct weir_naming *n, struct weir_ledger *l, const char *const *services,
		    size_t n_services, const struct weir_policy *policy, struct weir_error *err)
{
	uint64_t next_seq = weir_ledger_newest(l) + 1;
	GArray *changes = g_array_new(FALSE, FALSE, sizeof(struct change));
	int r = 0;

	g_array_set_clear_func(changes, change_clear);
	find_services(n, next_seq, services, n_services, changes);
	if (policy && policy->serial != n->serial)
		find_paths(n, l, g_hash_table_size(n->newest) ? next_seq : 0, policy, changes);
	if (changes->len)
		r = write_changes(l, changes, err);
	for (guint i = 0; !r && i < changes->len; i++) {
		struct change *c = &g_array_index(changes, struct change, i);

		g_hash_table_replace(n->newest, key_copy(c->key), g_steal_pointer(&c->text));
	}
	if (!r && policy)
		n->serial = policy->serial;
	g_array_unref(changes);
	return r;
}

/* --------------------------------------------------------------------- reading */

/* What a number stood for over a range of entries. */
struct range {
	uint64_t from, until; /* seqs; until is not in it */
	char *text;	      /* NULL: nobody said */
};

struct weir_named_cache {
	GHashTable *ranges;	  /* key -> struct range: the one that was asked for last */
	uint64_t writes, checked; /* meta.named, as it was when entry `checked` was the newest */
	sqlite3_stmt *at, *next;
};

static void range_free(void *p)
{
	struct range *r = p;

	g_free(r->text);
	g_free(r);
}

void weir_named_cache_free(struct weir_named_cache *c)
{
	if (!c)
		return;
	g_hash_table_destroy(c->ranges);
	sqlite3_finalize(c->at);
	sqlite3_finalize(c->next);
	g_free(c);
}

static int cache_new(struct weir_reader *rd, struct weir_error *err)
{
	struct weir_named_cache *c = g_new0(struct weir_named_cache, 1);
	int r = weir_store_prepare(rd->db,
				   "SELECT from_seq, text FROM named WHERE kind = ? AND number = ?"
				   " AND from_seq <= ? ORDER BY from_seq DESC LIMIT 1",
				   &c->at, err);

	c->ranges = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, range_free);
	if (!r)
		r = weir_store_prepare(rd->db,
				       "SELECT min(from_seq) FROM named WHERE kind = ?"
				       " AND number = ? AND from_seq > ?",
				       &c->next, err);
	if (r)
		weir_named_cache_free(c);
	else
		rd->named = c;
	return r;
}

/* Names that were written since hold for entries past what was the newest then. */
static int check(struct weir_reader *rd, uint64_t seq, struct weir_error *err)
{
	struct weir_named_cache *c = rd->named;
	uint64_t writes, newest;
	int r;

	if (seq <= c->checked)
		return 0;
	r = weir_reader_newest(rd, &newest, err);
	/* After it: names that come in between are then seen too early, not too late. */
	if (!r)
		r = weir_store_number_of(rd->db,
					 "SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?",
					 "named", &writes, err);
	if (r)
		return r;
	if (writes != c->writes)
		g_hash_table_remove_all(c->ranges);
	c->writes = writes;
	c->checked = newest;
	return 0;
}

static void bind(sqlite3_stmt *st, enum weir_named kind, uint32_t number, uint64_t seq)
{
	sqlite3_bind_int64(st, 1, kind);
	sqlite3_bind_int64(st, 2, number);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)seq);
}

static int look_up(struct weir_reader *rd, enum weir_named kind, uint32_t number, uint64_t seq,
		   struct range *out, struct weir_error *err)
{
	sqlite3_stmt *at = rd->named->at, *next = rd->named->next;
	int rc, next_rc;

	*out = (struct range){ .until = UINT64_MAX };
	bind(at, kind, number, seq);
	bind(next, kind, number, seq);
	rc = sqlite3_step(at);
	if (rc == SQLITE_ROW) {
		out->from = (uint64_t)sqlite3_column_int64(at, 0);
		out->text = g_strdup((const char *)sqlite3_column_text(at, 1));
	}
	next_rc = sqlite3_step(next);
	if (next_rc == SQLITE_ROW && sqlite3_column_type(next, 0) == SQLITE_INTEGER)
		out->until = (uint64_t)sqlite3_column_int64(next, 0);
	if ((rc == SQLITE_ROW || rc == SQLITE_DONE) && next_rc == SQLITE_ROW)
		rc = 0;
	else
		rc = weir_store_fail(rd->db, err, "reading table named");
	sqlite3_reset(at);
	sqlite3_reset(next);
	if (rc)
		g_free(out->text);
	return rc;
}

int weir_reader_named(struct weir_reader *rd, enum weir_named kind, uint32_t number, uint64_t seq,
		      const char **out, struct weir_error *err)
{
	uint64_t key = key_of(kind, number);
	struct range *have, found;
	int r = rd->named ? 0 : cache_new(rd, err);

	if (!r)
		r = check(rd, seq, err);
	if (r)
		return r;
	have = g_hash_table_lookup(rd->named->ranges, &key);
	if (!have || seq < have->from || seq >= have->until) {
		r = look_up(rd, kind, number, seq, &found, err);
		if (r)
			return r;
		have = g_memdup2(&found, sizeof(found));
		g_hash_table_replace(rd->named->ranges, key_copy(key), have);
	}
	*out = have->text;
	return 0;
}
