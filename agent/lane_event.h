/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message of a lane as bytes: which event it says it is. Anybody may have written it: it is read
 * once, in constant memory, and believed only where it says all that ours say. lane.c's.
 */
#ifndef WEIR_LANE_EVENT_H
#define WEIR_LANE_EVENT_H

#include "lane.h"

enum weir_lane_kind {
	WEIR_LANE_OURS,
	WEIR_LANE_MALFORMED,
	WEIR_LANE_FOREIGN,
};

#define WEIR_LANE_SOURCE 128

/* id, ledger_seq, previous_seq of out, if it is an event of that source. found: the source that it
 * has, cut; "" if it says none that can be read. */
enum weir_lane_kind weir_lane_event_read(const char *json, size_t n, const char *source,
					 struct weir_lane_event *out,
					 char found[static WEIR_LANE_SOURCE]);

#endif
