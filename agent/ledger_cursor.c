// SPDX-License-Identifier: Apache-2.0
/* Where consumers of the log stand: table `cursor`, written by the ledger, read by readers. */
#include "agent/ledger_priv.h"
#include "agent/ledger_read.h"
#include "agent/ledger_read_priv.h"
#include "agent/store.h"

int weir_ledger_cursor_set(struct weir_ledger *l, const char *name, uint64_t seq,
			   struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(l->db,
			       "INSERT INTO cursor (name, seq) VALUES (?1, ?2)"
			       " ON CONFLICT (name) DO UPDATE SET seq = ?2",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "moving a cursor");
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)seq);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(l->db, err, "moving a cursor");
	return 0;
}

static int set_stream_cursors(sqlite3 *db, const char *const *names,
			      const struct weir_stream_cursor *c, size_t n, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db,
			       "INSERT OR REPLACE INTO cursor"
			       " (name, seq, stream_seq, stream_from, stream_made, stored)"
			       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "moving a cursor");
	for (size_t i = 0; i < n; i++) {
		sqlite3_bind_text(st, 1, names[i], -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 2, (sqlite3_int64)c[i].seq);
		sqlite3_bind_int64(st, 3, (sqlite3_int64)c[i].stream_seq);
		sqlite3_bind_int64(st, 4, (sqlite3_int64)c[i].stream_from);
		sqlite3_bind_int64(st, 5, (sqlite3_int64)c[i].made_ns);
		sqlite3_bind_int64(st, 6, (sqlite3_int64)weir_wall_ns());
		if (sqlite3_step(st) != SQLITE_DONE)
			return weir_store_fail(db, err, "moving a cursor");
		sqlite3_reset(st);
	}
	return 0;
}

int weir_ledger_stream_cursors_set(struct weir_ledger *l, const char *const *names,
				   const struct weir_stream_cursor *cursors, size_t n,
				   struct weir_error *err)
{
	int r = weir_store_exec(l->db, "BEGIN IMMEDIATE", err, "moving cursors");

	if (r)
		return r;
	r = set_stream_cursors(l->db, names, cursors, n, err);
	if (!r)
		r = weir_store_exec(l->db, "COMMIT", err, "moving cursors");
	if (r)
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int weir_reader_cursor(struct weir_reader *rd, const char *name, uint64_t *seq,
		       struct weir_error *err)
{
	return weir_store_number_of(rd->db, "SELECT seq FROM cursor WHERE name = ?", name, seq,
				    err);
}

int weir_reader_stream_cursor(struct weir_reader *rd, const char *name,
			      struct weir_stream_cursor *out, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT seq, stream_seq, stream_from, stream_made FROM cursor"
			       " WHERE name = ?",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading a cursor");
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	switch (sqlite3_step(st)) {
	case SQLITE_DONE:
		*out = (struct weir_stream_cursor){ 0 };
		return 0;
	case SQLITE_ROW:
		*out = (struct weir_stream_cursor){
			.seq = (uint64_t)sqlite3_column_int64(st, 0),
			.stream_seq = (uint64_t)sqlite3_column_int64(st, 1),
			.stream_from = (uint64_t)sqlite3_column_int64(st, 2),
			.made_ns = (uint64_t)sqlite3_column_int64(st, 3),
		};
		return 0;
	default:
		return weir_store_fail(rd->db, err, "reading a cursor");
	}
}
