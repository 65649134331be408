/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table `restored`: that an older database was put in the place of the ledger, and what came of it
 * (delivery.md, 21). The mark is left by the restore itself; rederive.c works it off.
 */
#ifndef WEIR_RESTORED_H
#define WEIR_RESTORED_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledger_entry.h"
#include "util.h"

struct weir_ledger;
struct weir_reader;

/* What a mark says. */
struct weir_restored_mark {
	uint64_t seq;	  /* of the mark; 0: there is none that is not worked off */
	uint64_t time_ns; /* when it was put back, or found to be older than its stream */
	uint64_t newest, newest_time_ns; /* the last entry it had */
	uint8_t head[WEIR_HASH_BYTES];
};

/* What came of it. */
struct weir_restored_report {
	bool stream;		       /* there was a stream to look at */
	uint64_t usage, usage_time_ns; /* entered again; when the last of it was used */
	int64_t price_nano;	       /* of these, by the cards of the ledger */
	uint64_t differing;	       /* whose price is another than the event says */
	int64_t difference_nano;       /* what they cost more now */
	uint64_t no_card;	       /* whose card is not in the ledger: without a price */
	uint64_t gaps;	       /* places where the stream lacks events, by their previous_seq */
	uint64_t strange;      /* messages of ours that cannot be read, or not be entered */
	uint64_t acts;	       /* of others: on the stream, not in the ledger */
	uint64_t read_to;      /* stream sequence number: the lane was read so far */
	char first_acts[1024]; /* the first of them, for people; "" */
};

/* The restore itself: into a database that nobody uses. Of any schema. */
int weir_restored_put_mark(const char *path, const struct weir_restored_mark *m,
			   struct weir_error *err);

/* At a start: a mark that was left in a schema without the table is moved into it. */
int weir_restored_adopt(struct weir_ledger *l, struct weir_error *err);

int weir_restored_pending(struct weir_reader *r, struct weir_restored_mark *out,
			  struct weir_error *err);
/* How far the lane was read by the last that was worked off; 0: none was. */
int weir_restored_read_to(struct weir_reader *r, uint64_t *stream_seq, struct weir_error *err);

/* In the thread that owns the ledger. done: all marks are worked off. */
int weir_restored_mark_put(struct weir_ledger *l, const struct weir_restored_mark *m,
			   struct weir_error *err);
int weir_restored_done(struct weir_ledger *l, uint64_t now_ns,
		       const struct weir_restored_report *report, struct weir_error *err);

/* For status: shown until a run began after one that ended by itself. */
struct weir_restored_status {
	bool any;
	bool pending;	   /* the stream could not be looked at yet */
	uint64_t at_ns;	   /* when it was put back */
	uint64_t from_ns;  /* what the ledger has ends here … */
	uint64_t to_ns;	   /* … and begins again here, at the latest: when it was put back */
	uint64_t known_ns; /* between them, up to here it is known from the stream; from_ns: none */
	struct weir_restored_report report;
	char text[2048]; /* all of it, for people: one line */
};
int weir_restored_look(struct weir_reader *r, struct weir_restored_status *out,
		       struct weir_error *err);

#endif
