/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `backup` and `ledger seal`: long work on the database beside the writer, in the
 * client's own thread.
 */
#include "control_call.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "backup.h"
#include "ledger_keep.h"
#include "writer.h"

/* One at a time of both: a month that leaves the log while it is copied would be in neither. */
static atomic_flag busy = ATOMIC_FLAG_INIT;

#define PROGRESS_NS UINT64_C(200000000)

/* ------------------------------------------------------------------ backup */

struct telling {
	struct weir_call *c;
	uint64_t told_ns;
	bool wanted;
};

static int tell(void *ctx, enum weir_backup_phase phase, int done, int total)
{
	struct telling *t = ctx;
	uint64_t now_ns = weir_mono_ns();
	int r;

	/* A client that went away, or an agent that stops, ends it. */
	if (weir_call_over(t->c, 0))
		return -ECANCELED;
	if (!t->wanted || (phase == WEIR_BACKUP_COPYING && now_ns - t->told_ns < PROGRESS_NS))
		return 0;
	t->told_ns = now_ns;
	r = weir_call_item(t->c, json_pack("{s:s,s:i,s:i}", "phase",
					   phase == WEIR_BACKUP_COPYING ? "copying" : "checking",
					   "done", done, "total", total));
	return r ? r : weir_call_flush(t->c);
}

static json_t *info_json(const char *file, const struct weir_backup_info *i)
{
	char head[2 * WEIR_HASH_BYTES + 1];

	weir_hex(i->head, sizeof(i->head), head);
	return json_pack("{s:s,s:s,s:i,s:o,s:o,s:o,s:o,s:s,s:o}", "file", file, "ledger",
			 i->ledger_id, "schema", i->schema, "bytes", weir_json_count(i->bytes),
			 "entries", weir_json_count(i->entries), "newest",
			 weir_json_count(i->newest), "time", weir_json_time(i->time_ns), "head",
			 head, "segments", weir_json_count(i->segments));
}

int weir_do_backup(struct weir_call *c, struct weir_error *err)
{
	struct telling t = { .c = c };
	struct weir_backup_info info;
	const char *file = NULL;
	bool force = false;
	int r = weir_call_string(c, "file", 3000, &file, err);

	if (!r)
		r = weir_call_bool(c, "force", &force, err);
	if (!r)
		r = weir_call_bool(c, "progress", &t.wanted, err);
	if (r)
		return r;
	if (!file || file[0] != '/')
		return weir_fail(err, EINVAL, "request: \"file\" must be an absolute path");
	/* The agent writes it, and it has every key's hash in it. */
	if (!weir_call_by_root(c))
		return weir_fail(err, EPERM, "backup: only root may make one");
	if (atomic_flag_test_and_set(&busy))
		return weir_fail(err, EBUSY,
				 "backup: another one is being made, or a month sealed; try again "
				 "when it is done");
	r = weir_backup_make(c->view->writer, file, force, tell, &t, &info, err);
	atomic_flag_clear(&busy);
	if (r)
		return r;
	weir_log(WEIR_NOTE, "backup %s made by %s: up to entry %llu", file, c->actor,
		 (unsigned long long)info.newest);
	return weir_call_result(c, info_json(file, &info));
}

/* ------------------------------------------------------------------ sealing */

struct sealing {
	struct weir_segment s;
	bool left;
	struct weir_error *err;
};

static int enter(struct weir_ledger *l, void *arg)
{
	struct sealing *s = arg;

	return weir_ledger_seal(l, &s->s, s->err);
}

/* So many at once that a group waits some milliseconds at most. */
static int shed(struct weir_ledger *l, void *arg)
{
	struct sealing *s = arg;

	return weir_ledger_shed(l, 1000, &s->left, s->err);
}

static int shed_all(struct weir_call *c, struct sealing *s)
{
	int r = 0;

	for (s->left = true; s->left && !r;)
		r = weir_writer_call(c->view->writer, shed, s);
	return r;
}

static int month_of(const char *text, uint32_t *month, struct weir_error *err)
{
	unsigned int y = 0, m = 0;
	int end = 0;

	if (sscanf(text, "%4u-%2u%n", &y, &m, &end) != 2 || text[end] || end != 7 || y < 1970 ||
	    m < 1 || m > 12)
		return weir_fail(err, EINVAL, "month \"%.32s\": not a month such as 2026-10", text);
	*month = (y - 1970) * 12 + m - 1;
	return 0;
}

static int seal(struct weir_call *c, uint32_t month, struct sealing *s)
{
	int r;

	/* What a crash left of the last time. */
	r = shed_all(c, s);
	if (!r)
		/* Where NATS was once and is no more, nobody passes anything on. */
		r = weir_segment_make(c->view->db_path, month, weir_wall_ns(),
				      c->view->publisher != NULL, &s->s, s->err);
	if (!r)
		r = weir_writer_call(c->view->writer, enter, s);
	return r ? r : shed_all(c, s);
}

int weir_do_ledger_seal(struct weir_call *c, struct weir_error *err)
{
	struct sealing s = { .err = err };
	char sha[65], closing[2 * WEIR_HASH_BYTES + 1];
	const char *text = NULL;
	uint32_t month = 0;
	int r = weir_call_string(c, "month", 32, &text, err);

	if (!r && !text)
		r = weir_fail(err, EINVAL, "request: \"month\" is missing");
	if (!r)
		r = month_of(text, &month, err);
	if (r)
		return r;
	if (!weir_call_by_root(c))
		return weir_fail(err, EPERM, "ledger seal: only root may do that");
	if (atomic_flag_test_and_set(&busy))
		return weir_fail(
			err, EBUSY,
			"ledger seal: a backup is being made, or another month sealed; try "
			"again when it is done");
	r = seal(c, month, &s);
	atomic_flag_clear(&busy);
	if (r)
		return r;
	weir_log(WEIR_NOTE, "entries %llu-%llu sealed into %s by %s", (unsigned long long)s.s.first,
		 (unsigned long long)s.s.last, s.s.file, c->actor);
	weir_hex(s.s.sha256, sizeof(s.s.sha256), sha);
	weir_hex(s.s.closing, sizeof(s.s.closing), closing);
	return weir_call_result(
		c, json_pack("{s:s,s:o,s:o,s:o,s:o,s:s,s:s}", "file", s.s.file, "first",
			     weir_json_count(s.s.first), "last", weir_json_count(s.s.last), "since",
			     weir_json_time(s.s.since_ns), "until", weir_json_time(s.s.until_ns),
			     "sha256", sha, "closing", closing));
}
