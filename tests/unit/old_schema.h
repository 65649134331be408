/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database as the program of schema 2 made it, for tests of what became of it.
 */
#ifndef WEIR_OLD_SCHEMA_H
#define WEIR_OLD_SCHEMA_H

static const char schema_2_as_it_was[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE tenant (idx INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE card (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL,"
	" sha256 BLOB NOT NULL UNIQUE, json TEXT NOT NULL, UNIQUE (name, version));"
	"CREATE TABLE entry (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
	" kind INTEGER NOT NULL, time INTEGER NOT NULL, tenant INTEGER NOT NULL,"
	" wallet INTEGER NOT NULL, amount INTEGER NOT NULL, before INTEGER NOT NULL,"
	" after INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);"
	"CREATE TRIGGER entry_update BEFORE UPDATE ON entry BEGIN"
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
	"CREATE TRIGGER entry_delete BEFORE DELETE ON entry BEGIN"
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
	"CREATE TRIGGER card_update BEFORE UPDATE ON card BEGIN"
	" SELECT RAISE(ABORT, 'a rate card is immutable'); END;"
	"CREATE TRIGGER card_delete BEFORE DELETE ON card BEGIN"
	" SELECT RAISE(ABORT, 'a rate card is immutable'); END;"
	"CREATE TABLE account (idx INTEGER PRIMARY KEY, debt INTEGER NOT NULL,"
	" requests INTEGER NOT NULL, estimated INTEGER NOT NULL, partial INTEGER NOT NULL,"
	" input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,"
	" output INTEGER NOT NULL, reasoning INTEGER NOT NULL, price INTEGER NOT NULL,"
	" cost INTEGER NOT NULL);"
	"CREATE TABLE credit (seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
	" wallet INTEGER NOT NULL, amount INTEGER NOT NULL, remaining INTEGER NOT NULL"
	" CHECK (remaining BETWEEN 0 AND amount));"
	"CREATE INDEX credit_wallet ON credit (wallet);"
	"CREATE TABLE apikey (sha256 BLOB PRIMARY KEY, tenant INTEGER NOT NULL,"
	" hint TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
	" revoked INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE cursor (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;"
	"PRAGMA user_version=2; PRAGMA application_id=1466263922;";

#endif
