/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holding a lane to its ledger (delivery.md, 19). It reads both, writes to neither, and holds one
 * bit per ledger entry, two counts per tenant and a batch of events in memory, however long they
 * are. Entries and events may be added meanwhile.
 */
#ifndef WEIR_LANE_VERIFY_H
#define WEIR_LANE_VERIFY_H

#include "lane.h"
#include "ledger_read.h"
#include "text.h"

/* What is asked for, and whom to ask. */
struct weir_lane_check {
	jsCtx *js;
	const char *node;
	struct weir_reader *reader;
	/* The publisher's cursors: all up to it must be there. Of a stream with replicas an
	 * acknowledgement may be taken back: then it is the one that is stored. */
	uint64_t acked_seq, confirmed_seq;
	/* An entry as it is published. 0 or -errno. */
	int (*event)(const struct weir_entry *e, struct weir_text *out, void *ctx);
	/* How far it is with "stream" or "ledger": done of all. Not 0 ends it and is its result. */
	int (*page)(const char *phase, uint64_t done, uint64_t all, void *ctx);
	void *ctx;
};

enum weir_lane_wrong {
	WEIR_LANE_IS_MISSING,	/* in the ledger, not on the stream */
	WEIR_LANE_IS_DOUBLED,	/* on the stream more than once */
	WEIR_LANE_IS_UNKNOWN,	/* on the stream, not in the ledger */
	WEIR_LANE_IS_DIFFERENT, /* on both, and not the same */
	WEIR_LANE_WRONG_MAX
};
extern const char *const weir_lane_wrong_names[WEIR_LANE_WRONG_MAX];

#define WEIR_LANE_SHOWN 32 /* of each list */

struct weir_lane_finding {
	enum weir_lane_wrong wrong;
	uint64_t ledger_seq; /* 0: it says none */
	uint64_t stream_seq; /* 0: it is not there */
	struct weir_id id;
	char why[192];
};

/* One whose sums are not the same. Of entries in the range; events that came twice count once. */
struct weir_lane_sum {
	uint32_t tenant;
	uint64_t events, entries;
	int64_t stream_nano, ledger_nano;
};

struct weir_lane_verified {
	struct weir_lane_stream stream;
	uint64_t from_stream, to_stream; /* sequence numbers that were read */
	uint64_t from_seq, to_seq;	 /* entries that must be there; from > to: none */
	uint64_t entries;		 /* of usage, in the range */
	uint64_t events;		 /* of this ledger, that were read */
	uint64_t older, newer;		 /* of these, outside of the range */
	uint64_t same, reworded;	 /* of these, as the ledger has them */
	uint64_t unlinked;		 /* of these, without previous_seq */
	uint64_t renumbered;		 /* of these, of an entry that has another number since an
					  * older database was put back */
	uint64_t wrong[WEIR_LANE_WRONG_MAX];
	struct weir_lane_others others;
	bool foreign_among; /* not only from before this ledger's first */
	uint64_t tenants, tenants_wrong;
	struct weir_lane_sum all; /* tenant 0 */
	size_t n_findings, n_sums;
	struct weir_lane_finding findings[WEIR_LANE_SHOWN];
	struct weir_lane_sum sums[WEIR_LANE_SHOWN];
};

bool weir_lane_agrees(const struct weir_lane_verified *v);

/* 0: it was looked at, see out. -EAGAIN: the stream dropped or lost what was to be looked at
 * meanwhile. Else -errno. */
int weir_lane_verify(const struct weir_lane_check *c, struct weir_lane_verified *out,
		     struct weir_error *err);

#endif
