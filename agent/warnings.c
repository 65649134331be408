/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of warnings. A counter is worth one only where something can be done
 * about it; the rest is in the table of verdicts.
 */
#include "warnings.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clean_text.h"

__attribute__((format(printf, 2, 3))) static void warn(struct weir_status *s, const char *fmt, ...)
{
	va_list ap;

	if (s->n_warnings >= WEIR_STATUS_WARNINGS)
		return;
	va_start(ap, fmt);
	vsnprintf(s->warnings[s->n_warnings++], sizeof(s->warnings[0]), fmt, ap);
	va_end(ap);
}

static void of_enforcing(struct weir_status *s)
{
	static const char passed[] = "nothing is refused, all is metered";
	char when[WEIR_TIME_TEXT], actor[33] = "", reason[91] = "";

	if (s->enforcing == WEIR_ENFORCE_CONFIGURED_OFF)
		warn(s, "enforcement is off by \"enforce\" in agent.json: %s", passed);
	if (s->enforcing != WEIR_ENFORCE_SWITCHED_OFF)
		return;
	weir_time_format(s->enforce.time_ns - s->enforce.time_ns % WEIR_SECOND, when);
	/* Cut to fit, between characters. */
	weir_clean_text(actor, sizeof(actor), s->enforce.actor, strlen(s->enforce.actor));
	weir_clean_text(reason, sizeof(reason), s->enforce.reason, strlen(s->enforce.reason));
	warn(s, "enforcement is off since %s: %s; weirctl enforce on ends it (by %s%s%s)", when,
	     passed, actor, reason[0] ? ": " : "", reason);
}

static void of_counters(struct weir_status *s)
{
	const uint64_t *n = s->verdicts;

	if (s->ring_lost)
		warn(s, "ring: %" PRIu64 " records did not fit; raise \"ring_bytes\"",
		     s->ring_lost);
	/* pass_untracked is no sign of it: late packets of closed connections are in it too. */
	if (s->flows_max && s->flows_used >= s->flows_max - s->flows_max / 10)
		warn(s,
		     "connections: %" PRIu64 " of %" PRIu64
		     " that can be followed; more would pass unjudged; raise \"max_flows\"",
		     s->flows_used, s->flows_max);
	if (s->no_room_passed || s->no_room_reset)
		warn(s,
		     "connections: there is no room to follow more: %" PRIu64
		     " packets passed unjudged, %" PRIu64 " connections were reset; raise "
		     "\"max_flows\"",
		     s->no_room_passed, s->no_room_reset);
	if (n[WEIR_DENY_MAP_FULL])
		warn(s,
		     "kernel maps: %" PRIu64 " connections or refusals found one full; raise "
		     "\"max_flows\" and \"max_tenants\"",
		     n[WEIR_DENY_MAP_FULL]);
	if (n[WEIR_DROP_HEAD_ROOM])
		warn(s,
		     "heads in parts: %" PRIu64 " segments were dropped for want of room, to come "
		     "again; raise \"max_split_heads\"",
		     n[WEIR_DROP_HEAD_ROOM]);
	/* On a connection that is watched from its start every request is seen, if it comes
	 * in where we look. */
	if (n[WEIR_DROP_UNJUDGED])
		warn(s,
		     "%" PRIu64 " answers came to requests that nobody saw; they were billed and "
		     "their connections closed: see that requests and answers both go through "
		     "\"interfaces\"",
		     n[WEIR_DROP_UNJUDGED]);
}

/* There should be none, and each is in the log. */
static void of_drift(struct weir_status *s)
{
	const struct weir_drift_stats *d = &s->drift;
	uint64_t gauges = d->corrected_connections + d->corrected_half_open + d->corrected_inflight;

	if (d->reaped || gauges || d->reservations_off)
		warn(s,
		     "drift: %" PRIu64 " connections without a socket and %" PRIu64
		     " gauges were put right, %" PRIu64
		     " sums of reservations are off; please report it, with the agent's log",
		     d->reaped, gauges, d->reservations_off);
	if (d->failed > d->sweeps)
		warn(s,
		     "drift: sockets cannot be compared with connections (%" PRIu64
		     " rounds failed, see the log): what leaks is not given back",
		     d->failed);
}

static void of_service(struct weir_status *s, const struct weir_config_service *c, uint32_t seen)
{
	static const char passed[] = "refused, but for tenants with \"other_protocols\": \"pass\", "
				     "whom only connection limits hold";

	if (seen & WEIR_SEEN_TLS)
		warn(s,
		     "service %s (port %u): TLS was seen: only connection limits apply to it; "
		     "guard the port behind what ends TLS",
		     c->name, c->port);
	if (seen & WEIR_SEEN_H2C)
		warn(s, "service %s (port %u): HTTP/2 without TLS was seen: %s", c->name, c->port,
		     passed);
	if (seen & WEIR_SEEN_UPGRADE)
		warn(s, "service %s (port %u): Upgrade or CONNECT was seen: %s", c->name, c->port,
		     passed);
}

void weir_warnings_add(struct weir_status *s, const struct weir_config_service *services,
		       size_t n_services, const uint32_t *seen)
{
	of_enforcing(s);
	of_counters(s);
	of_drift(s);
	for (size_t i = 0; i < n_services; i++)
		of_service(s, &services[i], seen[i + 1]);
}
