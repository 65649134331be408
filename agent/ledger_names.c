// SPDX-License-Identifier: Apache-2.0
/*
 * What the log refers to by number, and what else the database keeps: tenants'
 * names, rate cards, API keys. Each write commits on its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/price.h"
#include "agent/store.h"

/* --------------------------------------------------------------------- tenants */

static int keep_name(struct weir_ledger *l, sqlite3_int64 index, const char *name)
{
	if (index <= 0 || index >= WEIR_ACCOUNT_MAX)
		return -ERANGE;
	return weir_names_put(&l->names, (uint32_t)index, name);
}

int weir_ledger_load_names(struct weir_ledger *l, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(l->db, "SELECT idx, name FROM tenant", -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading tenants");
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(st, 1);
		int r = name ? keep_name(l, sqlite3_column_int64(st, 0), name) : -ENOMEM;

		if (r == -ENOMEM)
			return weir_fail(err, ENOMEM, "ledger: out of memory for tenants");
		if (r)
			return weir_fail(err, EBADMSG, "ledger: tenant \"%s\": a damaged number",
					 name);
	}
	return rc == SQLITE_DONE ? 0 : weir_store_fail(l->db, err, "reading tenants");
}

const char *weir_ledger_tenant_name(struct weir_ledger *l, uint32_t index)
{
	return weir_names_get(&l->names, index);
}

/* A tenant's name, or a scope's: "tenant@service". */
static bool is_entry_name(const char *name)
{
	const char *at = strchr(name, '@');
	char tenant[WEIR_NAME_BYTES];

	if (!at)
		return weir_name_ok(name);
	if ((size_t)(at - name) >= sizeof(tenant))
		return false;
	memcpy(tenant, name, (size_t)(at - name));
	tenant[at - name] = 0;
	return weir_name_ok(tenant) && weir_name_ok(at + 1);
}

static int add_name(struct weir_ledger *l, sqlite3_stmt *put, const char *name, uint32_t *index,
		    struct weir_error *err)
{
	sqlite3_int64 made;
	int rc;

	if (!is_entry_name(name))
		return weir_fail(err, EINVAL, "tenant \"%s\": not a name ([a-z0-9_-]{1,63})", name);
	sqlite3_bind_text(put, 1, name, -1, SQLITE_STATIC);
	rc = sqlite3_step(put);
	sqlite3_reset(put);
	if (rc != SQLITE_DONE)
		return weir_store_fail(l->db, err, "adding a tenant");
	made = sqlite3_last_insert_rowid(l->db);
	rc = keep_name(l, made, name);
	if (rc)
		return weir_fail(err, -rc, "tenant \"%s\": %s", name,
				 rc == -ERANGE ? "too many tenants" : "out of memory");
	*index = (uint32_t)made;
	return 0;
}

static int check_number(const char *name, uint32_t index, uint32_t limit, struct weir_error *err)
{
	return index < limit
		       ? 0
		       : weir_fail(err, ERANGE, "tenant \"%s\": its number %u is past the last, %u",
				   name, index, limit - 1);
}

/* Those that have no number yet, in the order they are named. */
static int add_names(struct weir_ledger *l, const char *const *names, size_t n, uint32_t limit,
		     uint32_t *indexes, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *put = NULL;
	int r = weir_store_prepare(l->db, "INSERT INTO tenant (name) VALUES (?)", &put, err);

	for (size_t i = 0; i < n && !r; i++) {
		indexes[i] = weir_names_find(&l->names, names[i]);
		if (!indexes[i])
			r = add_name(l, put, names[i], &indexes[i], err);
		if (!r)
			r = check_number(names[i], indexes[i], limit, err);
	}
	return r;
}

/* In memory nothing may have a number that is not in the database. */
static void forget_names(struct weir_ledger *l, uint32_t after)
{
	for (uint32_t i = l->names.n; i-- > after;)
		weir_names_drop(&l->names, i);
}

int weir_ledger_tenants(struct weir_ledger *l, const char *const *names, size_t n, uint32_t limit,
			uint32_t *indexes, struct weir_error *err)
{
	uint32_t before = l->names.n;
	bool all = true;
	int r = 0;

	for (size_t i = 0; i < n && all && !r; i++) {
		indexes[i] = weir_names_find(&l->names, names[i]);
		all = indexes[i];
		r = check_number(names[i], indexes[i], limit, err);
	}
	if (r || all)
		return r;
	r = weir_store_exec(l->db, "BEGIN IMMEDIATE", err, "adding tenants");
	if (r)
		return r;
	r = add_names(l, names, n, limit, indexes, err);
	if (!r)
		r = weir_store_exec(l->db, "COMMIT", err, "adding tenants");
	if (!r)
		return 0;
	/* SQLite may have rolled back by itself already. */
	if (!sqlite3_get_autocommit(l->db))
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	forget_names(l, before);
	return r;
}

int weir_ledger_tenant(struct weir_ledger *l, const char *name, uint32_t *index,
		       struct weir_error *err)
{
	uint32_t found;
	int r = weir_ledger_tenants(l, &name, 1, WEIR_ACCOUNT_MAX, &found, err);

	if (!r)
		*index = found;
	return r;
}

/* ----------------------------------------------------------------------- cards */

/* 1 and *id: the very card is there. 0: nothing of that name and version. */
static int find_card(struct weir_ledger *l, const struct weir_card *c, uint32_t *id,
		     struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(l->db, "SELECT id, sha256 FROM card WHERE name = ? AND version = ?",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "looking up a rate card");
	sqlite3_bind_text(st, 1, c->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, c->version, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return weir_store_fail(l->db, err, "looking up a rate card");
	if (sqlite3_column_bytes(st, 1) != sizeof(c->sha256) ||
	    memcmp(sqlite3_column_blob(st, 1), c->sha256, sizeof(c->sha256)))
		return weir_fail(err, EEXIST,
				 "rate card \"%s\" version \"%s\" is in use with other content; a "
				 "card is immutable, give the change a new version",
				 c->name, c->version);
	*id = (uint32_t)sqlite3_column_int64(st, 0);
	return 1;
}

/* It may not have been in force when something began that is priced already. */
static int check_start(struct weir_ledger *l, const struct weir_card *c, struct weir_error *err)
{
	uint64_t latest = weir_ledger_latest_priced(l);
	char from[WEIR_TIME_TEXT], until[WEIR_TIME_TEXT];

	if (c->effective_from_ns >= latest)
		return 0;
	weir_time_format(c->effective_from_ns, from);
	weir_time_format(latest, until);
	return weir_fail(err, EINVAL,
			 "rate card \"%s\" version \"%s\": effective_from %s has passed: what "
			 "began until %s is priced already; let the card begin later",
			 c->name, c->version, from, until);
}

int weir_ledger_card(struct weir_ledger *l, const struct weir_card *c, uint32_t *id,
		     struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int ret;

	ret = find_card(l, c, id, err);
	if (ret)
		return ret < 0 ? ret : 0;
	ret = check_start(l, c, err);
	if (ret)
		return ret;
	if (sqlite3_prepare_v2(l->db,
			       "INSERT INTO card (name, version, sha256, json) VALUES (?,?,?,?)",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "storing a rate card");
	sqlite3_bind_text(st, 1, c->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, c->version, -1, SQLITE_STATIC);
	sqlite3_bind_blob(st, 3, c->sha256, sizeof(c->sha256), SQLITE_STATIC);
	sqlite3_bind_text(st, 4, c->json, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(l->db, err, "storing a rate card");
	*id = (uint32_t)sqlite3_last_insert_rowid(l->db);
	return 0;
}

void weir_cards_free(struct weir_card **cards, size_t n)
{
	for (size_t i = 0; i < n; i++)
		weir_card_free(cards[i]);
	free(cards);
}

/* st stands on a row: id, json. */
static int read_card(sqlite3_stmt *st, struct weir_card **out, struct weir_error *err)
{
	const char *json = (const char *)sqlite3_column_text(st, 1);
	char where[32];
	int ret;

	if (!json)
		return weir_fail(err, ENOMEM, "ledger: out of memory for rate cards");
	snprintf(where, sizeof(where), "ledger: card %lld", (long long)sqlite3_column_int64(st, 0));
	ret = weir_card_parse(json, where, out, err);
	if (!ret)
		(*out)->id = (uint32_t)sqlite3_column_int64(st, 0);
	return ret;
}

static int read_versions(struct weir_ledger *l, const char *name, struct weir_card ***v, size_t *n,
			 struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(l->db, "SELECT id, json FROM card WHERE name = ? ORDER BY id", -1,
			       &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading rate cards");
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct weir_card **more = reallocarray(*v, *n + 1, sizeof(*more));

		if (!more)
			return weir_fail(err, ENOMEM, "ledger: out of memory for rate cards");
		*v = more;
		ret = read_card(st, &more[*n], err);
		*n += !ret;
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(l->db, err, "reading rate cards");
	return ret;
}

int weir_ledger_cards_of(struct weir_ledger *l, const char *const *names, size_t n,
			 struct weir_card ***out, size_t *n_out, struct weir_error *err)
{
	struct weir_card **v = NULL;
	size_t count = 0;
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		ret = read_versions(l, names[i], &v, &count, err);
	if (ret) {
		weir_cards_free(v, count);
		return ret;
	}
	*out = v;
	*n_out = count;
	return 0;
}

/* ------------------------------------------------------------------------ keys */

int weir_ledger_key_add(struct weir_ledger *l, const struct weir_stored_key *k,
			struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (!weir_ledger_tenant_name(l, k->tenant))
		return weir_fail(err, ENOENT, "key %.15s…: no such tenant", k->hint);
	if (sqlite3_prepare_v2(l->db, "INSERT INTO apikey VALUES (?,?,?,?,?,?)", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(l->db, err, "adding a key");
	sqlite3_bind_blob(st, 1, k->sha256, sizeof(k->sha256), SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, k->tenant);
	sqlite3_bind_text(st, 3, k->hint, (int)strnlen(k->hint, sizeof(k->hint)), SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)k->created_ns);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)k->expires_ns);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)k->revoked_ns);
	rc = sqlite3_step(st);
	if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE)
		return weir_fail(err, EEXIST, "key %.15s…: there already", k->hint);
	return rc == SQLITE_DONE ? 0 : weir_store_fail(l->db, err, "adding a key");
}

int weir_ledger_key_revoke(struct weir_ledger *l, const uint8_t sha256[static 32],
			   struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	/* The first time counts, so that a repeat changes nothing. */
	if (sqlite3_prepare_v2(l->db,
			       "UPDATE apikey SET revoked = CASE revoked WHEN 0 THEN ?1"
			       " ELSE revoked END WHERE sha256 = ?2",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "revoking a key");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)weir_wall_ns());
	sqlite3_bind_blob(st, 2, sha256, 32, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(l->db, err, "revoking a key");
	if (!sqlite3_changes(l->db))
		return weir_fail(err, ENOENT, "no such key in the ledger");
	return 0;
}

static int read_keys(struct weir_ledger *l, sqlite3_stmt *st, struct weir_stored_key **v, size_t *n,
		     struct weir_error *err)
{
	size_t cap = 0;
	int rc;

	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct weir_stored_key *k;

		if (*n == cap) {
			cap = cap ? 2 * cap : 16;
			k = reallocarray(*v, cap, sizeof(*k));
			if (!k)
				return weir_fail(err, ENOMEM, "ledger: out of memory for keys");
			*v = k;
		}
		k = &(*v)[*n];
		*k = (struct weir_stored_key){ 0 };
		if (sqlite3_column_bytes(st, 0) != sizeof(k->sha256))
			return weir_fail(err, EBADMSG, "ledger: a damaged key");
		memcpy(k->sha256, sqlite3_column_blob(st, 0), sizeof(k->sha256));
		k->tenant = (uint32_t)sqlite3_column_int64(st, 1);
		strncpy(k->hint, (const char *)sqlite3_column_text(st, 2), sizeof(k->hint) - 1);
		k->created_ns = (uint64_t)sqlite3_column_int64(st, 3);
		k->expires_ns = (uint64_t)sqlite3_column_int64(st, 4);
		k->revoked_ns = (uint64_t)sqlite3_column_int64(st, 5);
		(*n)++;
	}
	return rc == SQLITE_DONE ? 0 : weir_store_fail(l->db, err, "reading keys");
}

int weir_ledger_keys(struct weir_ledger *l, struct weir_stored_key **out, size_t *n,
		     struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	weir_autofree struct weir_stored_key *v = NULL;
	size_t count = 0;
	int ret;

	if (sqlite3_prepare_v2(l->db,
			       "SELECT sha256, tenant, hint, created, expires, revoked FROM apikey"
			       " ORDER BY created, sha256",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading keys");
	ret = read_keys(l, st, &v, &count, err);
	if (ret)
		return ret;
	*out = v;
	*n = count;
	v = NULL;
	return 0;
}
