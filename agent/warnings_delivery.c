// SPDX-License-Identifier: Apache-2.0
/*
 * The words of what stands between a request and its event (delivery.md): a ledger that cannot be
 * written, a clock that cannot be trusted, what a power loss cost, a database that was put back,
 * streams that do not take what they should.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "look.h"
#include "warnings.h"

/* What ends at the very end of a request's answer may be a moment ahead of us. */
#define AHEAD_NS (2 * WEIR_SECOND)

/* "3 h 20 min": two units at most, the second only if it says something. */
static const char *span(uint64_t seconds, char *out, size_t n)
{
	static const struct {
		uint64_t s;
		const char *name;
	} units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
	size_t i = 0;

	while (i < 3 && seconds < units[i].s)
		i++;
	if (i < 3 && seconds % units[i].s >= units[i + 1].s && seconds < 10 * units[i].s)
		snprintf(out, n, "%" PRIu64 " %s %" PRIu64 " %s", seconds / units[i].s,
			 units[i].name, seconds % units[i].s / units[i + 1].s, units[i + 1].name);
	else
		snprintf(out, n, "%" PRIu64 " %s", seconds / units[i].s, units[i].name);
	return out;
}

static const char *second_of(uint64_t wall_ns, char out[static WEIR_TIME_TEXT])
{
	weir_time_format(wall_ns - wall_ns % WEIR_SECOND, out);
	return out;
}

/* What to do is part of why. */
static void of_ledger(struct weir_look *l)
{
	const struct weir_writer_stats *w = &l->writer;
	const struct weir_state_room *room = &l->status.room;
	char since[WEIR_TIME_TEXT], left[48], when[96];

	if (w->healthy)
		return;
	if (!room->rows)
		snprintf(when, sizeof(when), "their room is full, the ring holds what follows");
	else if (l->full_in_s == UINT64_MAX)
		snprintf(when, sizeof(when), "there is room for %" PRIu64 " more", room->rows);
	else
		snprintf(when, sizeof(when), "their room is full in %s at this rate",
			 span(l->full_in_s, left, sizeof(left)));
	weir_warn(&l->status,
		  "ledger: not written since %s: %s; %zu finished requests wait in memory (spill: "
		  "%" PRIu64 " of %" PRIu64 " MiB), %s%s",
		  second_of(w->ill_since_ns, since), w->error[0] ? w->error : "not writable",
		  w->waiting, room->spill_used >> 20, room->spill_max >> 20, when,
		  l->status.silent ? "; new requests are judged by each tier's \"on_agent_down\""
				   : "");
}

static void of_clock(struct weir_look *l)
{
	const struct weir_clock_status *c = &l->status.clock;
	uint64_t now = weir_wall_ns(), newest = l->writer.newest_ns;
	char since[WEIR_TIME_TEXT], by[48];

	if (c->held)
		weir_warn(&l->status,
			  "clock: it was set %s by %s at %s, which is not followed, for nobody "
			  "synchronises it: entries go on by the time before. Synchronise it, set "
			  "it back, or restart the agent if it is right",
			  c->step_ns < 0 ? "back" : "ahead",
			  span((uint64_t)(c->step_ns < 0 ? -c->step_ns : c->step_ns) / WEIR_SECOND,
			       by, sizeof(by)),
			  second_of(c->since_ns, since));
	else if (c->error)
		weir_warn(&l->status,
			  "clock: the kernel does not say whether it is synchronised (%s): let the "
			  "agent call adjtimex",
			  strerror(c->error));
	else if (!c->synchronised)
		weir_warn(&l->status,
			  "clock: not synchronised: bills, expiries and days go by it; run chrony "
			  "or systemd-timesyncd");
	if (newest > now + AHEAD_NS)
		weir_warn(&l->status,
			  "clock: the ledger's last entry is of %s, which is to come: entries get "
			  "that time until the clock has come there; see that the clock is right",
			  second_of(newest, since));
}

static void of_gap(struct weir_look *l)
{
	const struct weir_run_gap *g = &l->status.gap;
	char from[WEIR_TIME_TEXT], to[WEIR_TIME_TEXT];

	if (!g->any)
		return;
	weir_warn(&l->status,
		  "%s between %s and %s: what was served then and up to 20 ms before is not in the "
		  "ledger, and %" PRIu64 " requests were open; compare with the model server's "
		  "log; the next clean start ends this message",
		  g->power_loss ? "the machine went down"
				: "what the agent keeps in memory was lost",
		  second_of(g->from_ns, from), second_of(g->to_ns, to), g->open);
}

/* Its text is made for people; cut to fit. */
static void of_restored(struct weir_look *l)
{
	if (l->status.restored.any)
		weir_warn(&l->status, "%s", l->status.restored.text);
}

static void of_nats(struct weir_look *l)
{
	const struct weir_publisher_status *n = &l->nats;

	if (n->warning[0])
		weir_warn(&l->status, "%s", n->warning);
	/* The worst of them is the warning. */
	for (size_t i = 0; i < WEIR_STREAM_PUBLISHED; i++)
		if (n->problem[i][0] && strcmp(n->problem[i], n->warning))
			weir_warn(&l->status, "%s", n->problem[i]);
	if (n->again)
		weir_warn(&l->status,
			  "nats: %" PRIu64 " events that were acknowledged were gone from their "
			  "stream, and were published again since the agent started: see that the "
			  "server's store is on a disk that keeps what it has synced",
			  n->again);
	if (n->skipped)
		weir_warn(&l->status,
			  "nats: %" PRIu64 " alerts, refusals and ledger entries were not "
			  "published since the agent started: their streams could not be had",
			  n->skipped);
}

static void of_usage(struct weir_look *l)
{
	const struct weir_meter_in_status *u = &l->usage;

	if (u->warning[0])
		weir_warn(&l->status, "%s", u->warning);
	if (u->refused)
		weir_warn(&l->status,
			  "nats: %" PRIu64 " report%s of usage refused since the agent started "
			  "(stream USAGE_REFUSED has them); the last: %s",
			  u->refused, u->refused == 1 ? "" : "s", u->refusal);
}

void weir_warnings_delivery(struct weir_look *l)
{
	of_ledger(l);
	of_clock(l);
	of_gap(l);
	of_restored(l);
	of_nats(l);
	of_usage(l);
}
