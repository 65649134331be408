// SPDX-License-Identifier: Apache-2.0
/*
 * Table `switches`. A throw is asked for under an id; asking again finds the first
 * one, so that a client that lost the answer can repeat.
 */
#include "agent/ledger_switch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/ledger_read_priv.h"
#include "agent/store.h"

#define COLUMNS "seq, id, name, tenant, is_on, now, time, actor, reason"

static const char *const names[] = {
	[WEIR_SWITCH_SUSPENDED] = "suspended",
	[WEIR_SWITCH_ENFORCE] = "enforce",
};

static struct weir_switch at_rest(enum weir_switch_name name, uint32_t tenant)
{
	return (struct weir_switch){
		.name = name,
		.tenant = tenant,
		.on = name == WEIR_SWITCH_ENFORCE,
	};
}

static void read_row(sqlite3_stmt *st, struct weir_switch *s)
{
	const char *name = (const char *)sqlite3_column_text(st, 2);

	*s = (struct weir_switch){
		.seq = (uint64_t)sqlite3_column_int64(st, 0),
		.name = name && !strcmp(name, names[WEIR_SWITCH_ENFORCE]) ? WEIR_SWITCH_ENFORCE
									  : WEIR_SWITCH_SUSPENDED,
		.tenant = (uint32_t)sqlite3_column_int64(st, 3),
		.on = sqlite3_column_int(st, 4),
		.now = sqlite3_column_int(st, 5),
		.time_ns = (uint64_t)sqlite3_column_int64(st, 6),
	};
	snprintf(s->id, sizeof(s->id), "%s", (const char *)sqlite3_column_text(st, 1));
	snprintf(s->actor, sizeof(s->actor), "%s", (const char *)sqlite3_column_text(st, 7));
	snprintf(s->reason, sizeof(s->reason), "%s", (const char *)sqlite3_column_text(st, 8));
}

/* -- reading */

/* Newest first. */
static int walk(sqlite3 *db, enum weir_switch_name name, uint32_t tenant, size_t limit,
		weir_switch_fn fn, void *ctx, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_switch s;
	int rc;

	if (sqlite3_prepare_v2(db,
			       "SELECT " COLUMNS " FROM switches WHERE name = ? AND tenant = ?"
			       " ORDER BY seq DESC LIMIT ?",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "reading switches");
	sqlite3_bind_text(st, 1, names[name], -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, tenant);
	sqlite3_bind_int64(st, 3, limit ? (sqlite3_int64)limit : -1);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		int r;

		read_row(st, &s);
		r = fn(&s, ctx);
		if (r)
			return r;
	}
	return rc == SQLITE_DONE ? 0 : weir_store_fail(db, err, "reading switches");
}

static int keep_one(const struct weir_switch *s, void *ctx)
{
	*(struct weir_switch *)ctx = *s;
	return 0;
}

static int state(sqlite3 *db, enum weir_switch_name name, uint32_t tenant, struct weir_switch *out,
		 struct weir_error *err)
{
	struct weir_switch s = at_rest(name, tenant);
	int r = walk(db, name, tenant, 1, keep_one, &s, err);

	if (!r)
		*out = s;
	return r;
}

int weir_ledger_switch_state(struct weir_ledger *l, enum weir_switch_name name, uint32_t tenant,
			     struct weir_switch *out, struct weir_error *err)
{
	return state(l->db, name, tenant, out, err);
}

int weir_reader_switch_state(struct weir_reader *r, enum weir_switch_name name, uint32_t tenant,
			     struct weir_switch *out, struct weir_error *err)
{
	return state(r->db, name, tenant, out, err);
}

int weir_reader_switch_history(struct weir_reader *r, enum weir_switch_name name, uint32_t tenant,
			       size_t limit, weir_switch_fn fn, void *ctx, struct weir_error *err)
{
	return walk(r->db, name, tenant, limit, fn, ctx, err);
}

int weir_ledger_switches(struct weir_ledger *l, enum weir_switch_name name,
			 struct weir_switch **out, size_t *n, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	weir_autofree struct weir_switch *v = NULL;
	size_t count = 0, cap = 0;
	int rc;

	if (sqlite3_prepare_v2(l->db,
			       "SELECT " COLUMNS " FROM switches WHERE seq IN (SELECT max(seq)"
			       " FROM switches WHERE name = ? GROUP BY tenant) ORDER BY tenant",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading switches");
	sqlite3_bind_text(st, 1, names[name], -1, SQLITE_STATIC);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (count == cap) {
			struct weir_switch *p;

			cap = cap ? 2 * cap : 16;
			p = reallocarray(v, cap, sizeof(*v));
			if (!p)
				return weir_fail(err, ENOMEM, "ledger: out of memory for switches");
			v = p;
		}
		read_row(st, &v[count++]);
	}
	if (rc != SQLITE_DONE)
		return weir_store_fail(l->db, err, "reading switches");
	*out = v;
	*n = count;
	v = NULL;
	return 0;
}

/* -- writing */

static int check(struct weir_ledger *l, const struct weir_switch *s, struct weir_error *err)
{
	if (!s->id[0] || !memchr(s->id, 0, sizeof(s->id)) ||
	    !memchr(s->actor, 0, sizeof(s->actor)) || !memchr(s->reason, 0, sizeof(s->reason)))
		return weir_fail(err, EINVAL, "switch: its id is empty, or a text too long");
	if (s->name == WEIR_SWITCH_ENFORCE ? s->tenant != 0
					   : !weir_ledger_tenant_name(l, s->tenant))
		return weir_fail(err, ENOENT, "switch \"%s\": no such tenant", s->id);
	return 0;
}

/* Whoever asks a second time may be somebody else: the actor does not count. */
static bool same_content(const struct weir_switch *x, const struct weir_switch *y)
{
	return x->name == y->name && x->tenant == y->tenant && x->on == y->on && x->now == y->now &&
	       !strcmp(x->reason, y->reason);
}

/* What was written under that id before: 1 and *was, 0 if nothing was, or an error. */
static int find_earlier(struct weir_ledger *l, const struct weir_switch *s, struct weir_switch *was,
			struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(l->db, "SELECT " COLUMNS " FROM switches WHERE id = ?", -1, &st,
			       NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "looking up a switch");
	sqlite3_bind_text(st, 1, s->id, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return weir_store_fail(l->db, err, "looking up a switch");
	read_row(st, was);
	if (!same_content(was, s))
		return weir_fail(err, EEXIST,
				 "id \"%s\" was used for another switch (\"%s\" turned %s); repeat "
				 "it unchanged, or take another id",
				 s->id, names[was->name], was->on ? "on" : "off");
	return 1;
}

int weir_ledger_switch(struct weir_ledger *l, struct weir_switch *s, bool *repeated,
		       struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_switch was;
	uint64_t now_ns = weir_wall_ns();
	int r = check(l, s, err);

	if (!r)
		r = find_earlier(l, s, &was, err);
	if (r < 0)
		return r;
	if (r) {
		*s = was;
		*repeated = true;
		return 0;
	}
	/* One statement, so a transaction of its own. */
	if (sqlite3_prepare_v2(l->db,
			       "INSERT INTO switches (id, name, tenant, is_on, now, time, actor,"
			       " reason) VALUES (?,?,?,?,?,?,?,?)",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "throwing a switch");
	sqlite3_bind_text(st, 1, s->id, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, names[s->name], -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, s->tenant);
	sqlite3_bind_int(st, 4, s->on);
	sqlite3_bind_int(st, 5, s->now);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)now_ns);
	sqlite3_bind_text(st, 7, s->actor, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 8, s->reason, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(l->db, err, "throwing a switch");
	s->seq = (uint64_t)sqlite3_last_insert_rowid(l->db);
	s->time_ns = now_ns;
	*repeated = false;
	return 0;
}
