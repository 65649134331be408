// SPDX-License-Identifier: Apache-2.0
/*
 * The table `run`. A run without an end was ended by somebody else; whether the machine went with
 * it is told by the boot's id.
 */
#include "run_record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ledger_priv.h"
#include "store.h"

#define KEPT_RUNS "1000"
#define LOOK_BACK "64"

void weir_boot_id(char out[static WEIR_BOOT_ID])
{
	weir_autoclose int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, WEIR_BOOT_ID - 1);

	out[n > 0 ? n : 0] = 0;
	out[strcspn(out, "\n")] = 0;
}

struct past {
	char boot[WEIR_BOOT_ID];
	uint64_t started_ns, alive_ns, ended_ns, open;
	bool kept;
};

static void read_past(sqlite3_stmt *st, struct past *p)
{
	const char *boot = (const char *)sqlite3_column_text(st, 0);

	snprintf(p->boot, sizeof(p->boot), "%s", boot ? boot : "");
	p->started_ns = (uint64_t)sqlite3_column_int64(st, 1);
	p->alive_ns = (uint64_t)sqlite3_column_int64(st, 2);
	p->ended_ns = (uint64_t)sqlite3_column_int64(st, 3);
	p->open = (uint64_t)sqlite3_column_int64(st, 4);
	p->kept = sqlite3_column_int(st, 5);
}

/* How it ended, seen from the run after it. */
static enum weir_run_last end_of(const struct past *p, const char *next_boot, bool maps_are_new)
{
	bool machine = strcmp(p->boot, next_boot);

	/* Its limits went on without it: what they let in was in memory only. */
	if (p->ended_ns && !(p->kept && machine))
		return WEIR_RUN_ENDED;
	if (machine)
		return WEIR_RUN_POWER;
	return maps_are_new ? WEIR_RUN_TAKEN : WEIR_RUN_KILLED;
}

/* Back to the last clean start: what was lost since, the latest of it. */
static int look_back(sqlite3 *db, const struct weir_run *run, enum weir_run_last *last,
		     struct weir_run_gap *gap, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct past next = { .started_ns = run->started_ns }, p;
	bool maps_are_new = run->maps_are_new, first = true;
	int rc;

	/* Runs from before a database was put back are not the past of this one. */
	if (weir_store_prepare(db,
			       "SELECT boot, started, alive, ended, open, kept FROM run"
			       " WHERE alive > (SELECT ifnull(max(time), 0) FROM restored)"
			       " ORDER BY seq DESC LIMIT " LOOK_BACK,
			       &st, err))
		return weir_store_fail(db, err, "reading the last runs");
	snprintf(next.boot, sizeof(next.boot), "%s", run->boot);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		enum weir_run_last how;

		read_past(st, &p);
		how = end_of(&p, next.boot, maps_are_new);
		if (first)
			*last = how;
		if (!gap->any && (how == WEIR_RUN_POWER || how == WEIR_RUN_TAKEN))
			*gap = (struct weir_run_gap){ .any = true,
						      .power_loss = how == WEIR_RUN_POWER,
						      .from_ns =
							      p.ended_ns ? p.ended_ns : p.alive_ns,
						      .to_ns = next.started_ns,
						      .open = p.open };
		if (how == WEIR_RUN_ENDED)
			return 0;
		next = p;
		maps_are_new = false; /* of those before nobody knows; it was said then */
		first = false;
	}
	return rc == SQLITE_DONE ? 0 : weir_store_fail(db, err, "reading the last runs");
}

static int enter(sqlite3 *db, struct weir_run *run, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (weir_store_prepare(db,
			       "INSERT INTO run (boot, pid, version, started, alive, ended, open,"
			       " kept) VALUES (?, ?, '" WEIR_VERSION "', ?3, ?3, 0, 0, 0)",
			       &st, err))
		return weir_store_fail(db, err, "entering this run");
	sqlite3_bind_text(st, 1, run->boot, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, getpid());
	sqlite3_bind_int64(st, 3, (sqlite3_int64)run->started_ns);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(db, err, "entering this run");
	run->seq = (uint64_t)sqlite3_last_insert_rowid(db);
	return weir_store_exec(
		db, "DELETE FROM run WHERE seq <= (SELECT max(seq) FROM run) - " KEPT_RUNS, err,
		"forgetting old runs");
}

int weir_run_begin(struct weir_ledger *l, struct weir_run *run, enum weir_run_last *last,
		   struct weir_run_gap *gap, struct weir_error *err)
{
	enum weir_run_last how = WEIR_RUN_FIRST;
	struct weir_run_gap lost = { 0 };
	int ret = weir_store_exec(l->db, "BEGIN IMMEDIATE", err, "entering this run");

	if (ret)
		return ret;
	ret = look_back(l->db, run, &how, &lost, err);
	if (!ret)
		ret = enter(l->db, run, err);
	if (!ret)
		ret = weir_store_exec(l->db, "COMMIT", err, "entering this run");
	if (ret) {
		if (!sqlite3_get_autocommit(l->db))
			sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
		return ret;
	}
	*last = how;
	*gap = lost;
	return 0;
}

static int update(struct weir_ledger *l, const struct weir_run *run, bool ends, bool kept,
		  uint64_t open, uint64_t now_ns, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (weir_store_prepare(l->db,
			       "UPDATE run SET alive = ?2, ended = ?3, open = ?4, kept = ?5"
			       " WHERE seq = ?1",
			       &st, err))
		return weir_store_fail(l->db, err, "a sign of life");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)run->seq);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)now_ns);
	sqlite3_bind_int64(st, 3, ends ? (sqlite3_int64)now_ns : 0);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)open);
	sqlite3_bind_int(st, 5, kept);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(l->db, err, "a sign of life");
	return 0;
}

int weir_run_alive(struct weir_ledger *l, const struct weir_run *run, uint64_t open,
		   uint64_t now_ns, struct weir_error *err)
{
	return update(l, run, false, false, open, now_ns, err);
}

int weir_run_end(struct weir_ledger *l, const struct weir_run *run, bool kept, uint64_t open,
		 uint64_t now_ns, struct weir_error *err)
{
	return update(l, run, true, kept, open, now_ns, err);
}

int weir_run_forget(struct weir_ledger *l, const struct weir_run *run, struct weir_error *err)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "DELETE FROM run WHERE seq = %" PRIu64, run->seq);
	return weir_store_exec(l->db, sql, err, "forgetting this run");
}

void weir_run_tell(enum weir_run_last last, const struct weir_run_gap *gap)
{
	char from[WEIR_TIME_TEXT], to[WEIR_TIME_TEXT];

	weir_time_format(gap->from_ns, from);
	weir_time_format(gap->to_ns, to);
	switch (last) {
	case WEIR_RUN_KILLED:
		weir_log(WEIR_NOTE, "the last run was ended from outside; nothing is lost: what it "
				    "had not committed is in its memory and in the ring, and is "
				    "metered now");
		break;
	case WEIR_RUN_POWER:
		weir_log(WEIR_WARN,
			 "the machine went down with limits in force; the agent's last sign of "
			 "life is of %s. Not in the ledger: the %" PRIu64
			 " requests that were open then, what ended in the last 20 ms that it ran, "
			 "and what was served from then on until this start, %s",
			 from, gap->open, to);
		break;
	case WEIR_RUN_TAKEN:
		weir_log(WEIR_WARN,
			 "the last run was ended from outside, its last sign of life is of %s, and "
			 "its maps or its memory in /run/weir are gone. Not in the ledger: the "
			 "%" PRIu64 " requests that were open then, what it had not committed, and "
			 "what was served from then on until this start, %s",
			 from, gap->open, to);
		break;
	default:
		break;
	}
}
