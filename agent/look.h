/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at all of a running agent, for status, metrics and the page: what the view's status
 * tells, how the writer, the publisher and reported usage are, and the warnings of them all.
 */
#ifndef WEIR_LOOK_H
#define WEIR_LOOK_H

#include "agent_view.h"
#include "meter_in.h"
#include "publisher.h"
#include "writer.h"

struct weir_look {
	struct weir_status status; /* with all warnings */
	struct weir_writer_stats writer;
	uint64_t full_in_s; /* until rows that cannot be committed have no room left at the rate
			     * at which they come; UINT64_MAX: never, or they can be */
	struct weir_publisher_status nats; /* zeros where the view has no publisher */
	struct weir_meter_in_status usage; /* likewise */
	struct weir_lags lags;
};

/* malloc'd; NULL when memory is short. */
struct weir_look *weir_look(const struct weir_agent_view *v);

#endif
