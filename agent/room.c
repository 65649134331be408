// SPDX-License-Identifier: Apache-2.0
#include "room.h"

#include <inttypes.h>

#include "util.h"

#define QUIET (60 * WEIR_SECOND)

void weir_room_init(struct weir_room *r)
{
	*r = (struct weir_room){ .grew_ns = 0 };
	pthread_mutex_init(&r->lock, NULL);
}

void weir_room_destroy(struct weir_room *r)
{
	pthread_mutex_destroy(&r->lock);
}

static bool goes_on(const struct weir_room *r, uint64_t now_ns)
{
	return r->grew_ns && now_ns - r->grew_ns < QUIET;
}

void weir_room_look(struct weir_room *r, const uint64_t verdicts[static WEIR_REASON_MAX],
		    uint64_t used, uint64_t max, uint64_t now_ns)
{
	uint64_t passed = verdicts[WEIR_PASS_UNTRACKED] - r->seen_passed;
	uint64_t reset = verdicts[WEIR_DENY_MAP_FULL] - r->seen_reset;
	bool first = !r->looked;

	r->looked = true;
	r->seen_passed = verdicts[WEIR_PASS_UNTRACKED];
	r->seen_reset = verdicts[WEIR_DENY_MAP_FULL];
	if (used < max - max / 10)
		passed = 0;
	/* What an earlier agent's time has cost is in the counters, and no news. */
	if (first || !(passed | reset))
		return;
	pthread_mutex_lock(&r->lock);
	if (!goes_on(r, now_ns))
		r->passed = r->reset = r->told_ns = 0;
	r->passed += passed;
	r->reset += reset;
	r->grew_ns = now_ns;
	if (!r->told_ns || now_ns - r->told_ns >= QUIET) {
		r->told_ns = now_ns;
		weir_log(WEIR_WARN,
			 "connections: no room to follow more (%" PRIu64 " of %" PRIu64
			 "): %" PRIu64 " packets of others passed unjudged, %" PRIu64
			 " connections were reset; raise \"max_flows\"",
			 used, max, r->passed, r->reset);
	}
	pthread_mutex_unlock(&r->lock);
}

void weir_room_now(struct weir_room *r, uint64_t now_ns, uint64_t *passed, uint64_t *reset)
{
	pthread_mutex_lock(&r->lock);
	*passed = goes_on(r, now_ns) ? r->passed : 0;
	*reset = goes_on(r, now_ns) ? r->reset : 0;
	pthread_mutex_unlock(&r->lock);
}
