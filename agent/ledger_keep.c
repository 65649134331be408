// SPDX-License-Identifier: Apache-2.0
/*
 * The copy is made through the writer's own connection: SQLite then carries into it what the
 * writer commits meanwhile. Through another one each commit would start the copy over, or a
 * snapshot would have to be held as long as it takes, for which the WAL grows.
 */
#include "agent/ledger_keep.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/ledger_priv.h"
#include "agent/store.h"

struct weir_copy {
	sqlite3 *to;
	sqlite3_backup *backup;
};

int weir_ledger_copy_start(struct weir_ledger *l, const char *path, struct weir_copy **out,
			   struct weir_error *err)
{
	struct weir_copy *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return weir_fail(err, ENOMEM, "%s: out of memory", path);
	ret = weir_store_connect(path, SQLITE_OPEN_READWRITE, &c->to, err);
	/* Whoever asked makes it durable when it is complete, in his own thread. */
	if (!ret)
		ret = weir_store_exec(c->to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", err,
				      "starting a backup");
	if (!ret) {
		c->backup = sqlite3_backup_init(c->to, "main", l->db, "main");
		if (!c->backup)
			ret = weir_store_fail(c->to, err, "starting a backup");
	}
	if (ret) {
		weir_ledger_copy_end(c);
		return ret;
	}
	*out = c;
	return 0;
}

int weir_ledger_copy_step(struct weir_copy *c, int pages, int *left, int *total,
			  struct weir_error *err)
{
	int rc = sqlite3_backup_step(c->backup, pages);

	if (rc != SQLITE_OK && rc != SQLITE_DONE) {
		/* Only finishing puts it into the connection where weir_store_fail looks. */
		sqlite3_backup_finish(c->backup);
		c->backup = NULL;
		return weir_store_fail(c->to, err, "copying");
	}
	*left = rc == SQLITE_DONE ? 0 : sqlite3_backup_remaining(c->backup);
	/* Not done yet, even if no page is left: the last step writes the header. */
	if (rc == SQLITE_OK && !*left)
		*left = 1;
	*total = sqlite3_backup_pagecount(c->backup);
	return 0;
}

void weir_ledger_copy_end(struct weir_copy *c)
{
	if (!c)
		return;
	if (c->backup)
		sqlite3_backup_finish(c->backup);
	weir_store_close(c->to);
	free(c);
}

int weir_ledger_seal(struct weir_ledger *l, const struct weir_segment *s, struct weir_error *err)
{
	return weir_segment_enter(l->db, s, err);
}

int weir_ledger_shed(struct weir_ledger *l, int max, bool *left, struct weir_error *err)
{
	return weir_segment_shed(l->db, max, left, err);
}
