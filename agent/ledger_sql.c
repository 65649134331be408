// SPDX-License-Identifier: Apache-2.0
/*
 * Columns of table `entry`. A file may have been edited by hand, so sizes are
 * checked before anything is copied.
 */
#include "agent/ledger_sql.h"

#include <errno.h>
#include <string.h>

int weir_entry_row_read(sqlite3_stmt *st, struct weir_entry_row *out)
{
	struct weir_entry_head *h = &out->head;
	sqlite3_int64 kind, tenant, wallet;

	if (sqlite3_column_bytes(st, 1) != WEIR_ID_BYTES ||
	    sqlite3_column_bytes(st, 10) != WEIR_HASH_BYTES)
		return -EBADMSG;
	kind = sqlite3_column_int64(st, 2);
	tenant = sqlite3_column_int64(st, 4);
	wallet = sqlite3_column_int64(st, 5);
	if (kind <= 0 || kind > UINT8_MAX || tenant < 0 || tenant > UINT32_MAX || wallet < 0 ||
	    wallet > UINT32_MAX)
		return -EBADMSG;
	h->seq = (uint64_t)sqlite3_column_int64(st, 0);
	memcpy(h->id.b, sqlite3_column_blob(st, 1), WEIR_ID_BYTES);
	h->kind = (uint8_t)kind;
	h->time_ns = (uint64_t)sqlite3_column_int64(st, 3);
	h->tenant = (uint32_t)tenant;
	h->wallet = (uint32_t)wallet;
	h->amount_nano = sqlite3_column_int64(st, 6);
	h->before_nano = sqlite3_column_int64(st, 7);
	h->after_nano = sqlite3_column_int64(st, 8);
	out->body = sqlite3_column_blob(st, 9);
	out->n_body = (size_t)sqlite3_column_bytes(st, 9);
	memcpy(out->hash, sqlite3_column_blob(st, 10), WEIR_HASH_BYTES);
	return out->body ? 0 : -EBADMSG;
}

void weir_entry_row_bind(sqlite3_stmt *st, const struct weir_entry_row *r)
{
	const struct weir_entry_head *h = &r->head;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)h->seq);
	sqlite3_bind_blob(st, 2, h->id.b, WEIR_ID_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, h->kind);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)h->time_ns);
	sqlite3_bind_int64(st, 5, h->tenant);
	sqlite3_bind_int64(st, 6, h->wallet);
	sqlite3_bind_int64(st, 7, h->amount_nano);
	sqlite3_bind_int64(st, 8, h->before_nano);
	sqlite3_bind_int64(st, 9, h->after_nano);
	sqlite3_bind_blob(st, 10, r->body, (int)r->n_body, SQLITE_STATIC);
	sqlite3_bind_blob(st, 11, r->hash, WEIR_HASH_BYTES, SQLITE_STATIC);
}
