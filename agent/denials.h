/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was refused, lately. Owns two bounded memories of the kernel's DENY
 * records: the last few of each tenant, for `weirctl why`, and sums per
 * (tenant, reason, second), for deny.v1 events. What a limit in shadow would have
 * refused is kept beside, marked, and never in one sum with what was. Exact totals
 * are the kernel's (map `denials`), not kept here. Knows neither names nor NATS.
 *
 * weir_denials_note is for the ring thread; the rest may be called from any.
 */
#ifndef WEIR_DENIALS_H
#define WEIR_DENIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "util.h"

#define WEIR_DENIALS_KEPT    16	  /* per tenant */
#define WEIR_DENIALS_TENANTS 4096 /* with refusals kept; the one longest quiet makes room */
#define WEIR_DENIALS_PAIRS   8192 /* (tenant, reason, shadow) with an open second */
#define WEIR_DENIALS_QUEUE   4096 /* closed seconds nobody took yet; the oldest makes room */

struct weir_denials;

/* One refusal as it was shown to the client, or would have been. */
struct weir_refusal {
	uint64_t wall_ns;
	uint64_t count; /* of the pair so far, this one included */
	uint32_t reason;
	uint32_t level; /* entry whose limit it was, as in weir_rec_deny; 0: no limit of anybody */
	bool shadow;	/* nothing was refused */
	int64_t limit, value, asked; /* in the limit's unit; nano for credit */
	uint64_t retry_after_ns;
	uint8_t client[16];
};

/* What one reason refused one tenant within one second. */
struct weir_denial_sum {
	uint32_t tenant; /* WEIR_NO_TENANT: nobody */
	uint32_t reason;
	uint64_t count;
	uint64_t first_wall_ns, last_wall_ns; /* of those that were shown */
	int64_t limit;
	uint64_t total; /* the pair's count after them: makes an event's id unique */
	uint32_t level; /* whose limit: of the last one */
	bool shadow;	/* what would have been refused */
};

/* How to learn a pair's count in the kernel, of what was refused or of what would have
 * been: records skip refusals that follow within 100 ms, the count does not. As in
 * agent_view.h. */
typedef int weir_denial_counts_fn(void *ctx, uint32_t tenant, bool shadow,
				  uint64_t out[static WEIR_REASON_MAX]);

/* max_tenants: highest tenant index that can occur. sums: keep sums for events
 * (somebody calls weir_denials_take). */
int weir_denials_new(uint32_t max_tenants, bool sums, struct weir_denials **out,
		     struct weir_error *err);
void weir_denials_free(struct weir_denials *d);

/* Cheap, bounded, cannot fail: what does not fit is counted. */
void weir_denials_note(struct weir_denials *d, const struct weir_rec_deny *rec);

/* The last refusals of a tenant, newest first; returns how many were written. */
size_t weir_denials_last(struct weir_denials *d, uint32_t tenant, struct weir_refusal *out,
			 size_t max);

/* Close every second that ended at least 200 ms before now (~0: close all), asking
 * counts (may be NULL) for refusals that were not shown; then take up to max sums,
 * oldest first. Returns how many. */
size_t weir_denials_take(struct weir_denials *d, uint64_t now_wall_ns,
			 weir_denial_counts_fn *counts, void *ctx, struct weir_denial_sum *out,
			 size_t max);

/* Refusals whose sum found no room: seconds dropped, and records not summed. */
uint64_t weir_denials_dropped(struct weir_denials *d);

#endif
