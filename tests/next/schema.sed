# The next schema of the database, made up: the log is written anew, and in the midst of it, which
# takes long, there is none. For agent/store.c. Run with sed -E.
/^\/\* Ordered; a step is never edited/i\
static const char schema_7[] =\
	"CREATE TABLE copy_7 AS SELECT * FROM entry;"\
	"DROP TRIGGER entry_delete; DELETE FROM entry;"\
	"CREATE TABLE slow AS WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c"\
	" WHERE n < 6000000) SELECT max(n) AS n FROM c;"\
	"INSERT INTO entry SELECT * FROM copy_7;"\
	"DROP TABLE slow; DROP TABLE copy_7;"\
	"CREATE TRIGGER entry_delete BEFORE DELETE ON entry WHEN NOT EXISTS"\
	" (SELECT 1 FROM segment WHERE OLD.seq BETWEEN first AND last) BEGIN"\
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"\
	"ALTER TABLE account ADD COLUMN next INTEGER NOT NULL DEFAULT 7;";\

s/(\{ 6, schema_6 \},)/\1 { 7, schema_7 },/
