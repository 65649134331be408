/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entries of usage does somebody mean by an id? Our own ids are looked up; those that others
 * gave (a server, a client, a tracer) are searched for, from the newest entry back. Reads the
 * ledger only.
 */
#ifndef WEIR_FIND_ENTRY_H
#define WEIR_FIND_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "ledger_read.h"
#include "util.h"

enum weir_found_by {
	WEIR_FOUND_REQUEST_ID, /* the entry's own, 32 hex digits; one entry */
	WEIR_FOUND_SEQ,	       /* "#" and its number; one entry */
	WEIR_FOUND_USAGE_ID,   /* under which a report of usage was entered; one entry */
	WEIR_FOUND_RESPONSE_ID,
	WEIR_FOUND_CLIENT_REQUEST_ID, /* x-request-id */
	WEIR_FOUND_TRACE_ID,	      /* 32 hex digits, or a whole traceparent */
	WEIR_FOUND_BY_MAX
};
extern const char *const weir_found_by_names[WEIR_FOUND_BY_MAX]; /* "request_id" … */

struct weir_find {
	const char *id;
	uint64_t since_ns; /* wall; how far back to search. What is looked up may be older. */
	size_t limit;	   /* at most so many; 0: all */
	/* Per entry, the newest first. Not 0 ends it; below 0 is its result. */
	int (*fn)(const struct weir_entry *e, enum weir_found_by by, void *ctx);
	int (*page)(uint64_t seq, void *ctx); /* of struct weir_entry_query; NULL: not wanted */
	void *ctx;
};

/* *found: how many were handed out; 0 is no error. -EINVAL: it is our own id of something else. */
int weir_find_entries(struct weir_reader *r, const struct weir_find *f, size_t *found,
		      struct weir_error *err);

#endif
