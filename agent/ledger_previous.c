// SPDX-License-Identifier: Apache-2.0
/*
 * Which entry of some kinds comes before another one: what links the events of a lane. Of usage it
 * is mostly the row before; of what is rare an index tells (entry_rare), but in sealed months,
 * which are walked. Asked in rising order, as a publisher does, nothing is looked at twice.
 */
#include <errno.h>

#include "agent/ledger_read_priv.h"
#include "agent/store.h"

#define RARE ~(1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER)

/* The newest before seq, not before `from`, within one database; 0: none. */
static int by_walking(sqlite3 *db, sqlite3_stmt **st, uint64_t from, uint64_t seq, uint32_t kinds,
		      uint64_t *out, struct weir_error *err)
{
	int rc = SQLITE_OK, r = 0;

	*out = 0;
	if (!*st)
		r = weir_store_prepare(db,
				       "SELECT seq FROM entry WHERE seq >= ? AND seq < ?"
				       " AND (1 << kind) & ? ORDER BY seq DESC LIMIT 1",
				       st, err);
	if (r)
		return r;
	sqlite3_bind_int64(*st, 1, (sqlite3_int64)from);
	sqlite3_bind_int64(*st, 2, (sqlite3_int64)seq);
	sqlite3_bind_int64(*st, 3, kinds);
	rc = sqlite3_step(*st);
	if (rc == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(*st, 0);
	else if (rc != SQLITE_DONE)
		r = weir_store_fail(db, err, "reading the log");
	sqlite3_reset(*st);
	return r;
}

/* In the main database; 0: none. The condition is the index's own, word by word. */
static int by_index(sqlite3 *db, uint64_t from, uint64_t seq, uint32_t kinds, uint64_t *out,
		    struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int r = weir_store_prepare(db,
				   "SELECT max(seq) FROM entry WHERE kind NOT IN (1, 9)"
				   " AND kind = ? AND seq >= ? AND seq < ?",
				   &st, err);

	*out = 0;
	for (unsigned int kind = 1; !r && kind < WEIR_ENTRY_KIND_MAX; kind++) {
		uint64_t found = 0;

		if (!(kinds & 1u << kind))
			continue;
		sqlite3_bind_int64(st, 1, kind);
		sqlite3_bind_int64(st, 2, (sqlite3_int64)from);
		sqlite3_bind_int64(st, 3, (sqlite3_int64)seq);
		if (sqlite3_step(st) == SQLITE_ROW)
			found = (uint64_t)sqlite3_column_int64(st, 0);
		else
			r = weir_store_fail(db, err, "reading the log");
		if (found > *out)
			*out = found;
		sqlite3_reset(st);
	}
	return r;
}

/* As far back as `from`; seq > from. */
static int find(struct weir_reader *rd, uint64_t from, uint64_t seq, uint32_t kinds, uint64_t *out,
		struct weir_error *err)
{
	struct weir_log_part part;
	int r = 0;

	for (*out = 0; !r && !*out && seq > from; seq = part.first) {
		r = weir_log_at(&rd->log, seq - 1, &part, err);
		if (r)
			return r;
		if (part.first < from)
			part.first = from;
		if (part.db == rd->db && !(kinds & ~RARE)) {
			r = by_index(part.db, part.first, seq, kinds, out, err);
		} else if (part.db == rd->db) {
			r = by_walking(part.db, &rd->walk_back, part.first, seq, kinds, out, err);
		} else {
			weir_autostmt sqlite3_stmt *st = NULL;

			r = by_walking(part.db, &st, part.first, seq, kinds, out, err);
		}
	}
	return r;
}

/* The slot of these kinds, or one to use for them. */
static struct weir_reader_previous *slot_of(struct weir_reader *rd, uint32_t kinds)
{
	struct weir_reader_previous *p = rd->previous;

	for (size_t i = 0; i < WEIR_READER_PREVIOUS; i++) {
		if (rd->previous[i].kinds == kinds)
			return &rd->previous[i];
		if (!rd->previous[i].kinds)
			p = &rd->previous[i];
	}
	*p = (struct weir_reader_previous){ .kinds = kinds };
	return p;
}

static int remember(struct weir_reader_previous *p, uint64_t seq, uint64_t found, uint64_t *out)
{
	p->seq = seq;
	p->found = *out = found;
	return 0;
}

int weir_reader_previous(struct weir_reader *rd, uint64_t seq, uint32_t kinds, uint64_t *out,
			 struct weir_error *err)
{
	struct weir_reader_previous *p = slot_of(rd, kinds);
	uint64_t found = 0;
	bool begun;
	int r;

	if (!seq || !kinds)
		return weir_fail(err, EINVAL, "ledger: no entry comes before nothing");
	if (p->seq == seq) {
		*out = p->found;
		return 0;
	}
	/* Mostly the row before. Entries leave the main database from its lower end: what is found
	 * there is the newest there is. */
	if (kinds & ~RARE && p->seq && p->seq < seq) {
		r = by_walking(rd->db, &rd->walk_back, p->seq, seq, kinds, &found, err);
		if (r || found)
			return r ? r : remember(p, seq, found, out);
	}
	r = weir_reader_begin(rd, &begun, err);
	if (r)
		return r;
	/* What is before p->seq is known. */
	if (p->seq && p->seq < seq)
		r = find(rd, p->seq, seq, kinds, &found, err);
	if (!r && !found && p->seq && p->seq < seq)
		found = p->found;
	else if (!r && !found)
		r = find(rd, 1, seq, kinds, &found, err);
	weir_reader_end(rd, begun);
	return r ? r : remember(p, seq, found, out);
}

void weir_reader_walked(struct weir_reader *rd, const struct weir_entry *e)
{
	for (size_t i = 0; i < WEIR_READER_PREVIOUS; i++) {
		struct weir_reader_previous *p = &rd->previous[i];

		if (!p->kinds || p->seq != e->seq)
			continue;
		if (p->kinds & 1u << e->kind)
			p->found = e->seq;
		p->seq = e->seq + 1;
	}
}
