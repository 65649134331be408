// SPDX-License-Identifier: Apache-2.0
/*
 * From the request's end to the event's acknowledgement, as metrics: how long it takes, what waits
 * where, and what had to be done again.
 */
#include <inttypes.h>

#include "lag.h"
#include "look.h"
#include "metrics.h"

/* Decimal text of integers: 1500000 is "0.0015". */
static void put_seconds(FILE *f, uint64_t ns)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%09" PRIu64, ns % 1000000000);

	while (n && text[n - 1] == '0')
		text[--n] = 0;
	fprintf(f, "%" PRIu64 "%s%s", ns / 1000000000, n ? "." : "", text);
}

static void put_lag(FILE *f, const char *name, const char *help, const struct weir_lag *l)
{
	uint64_t sum = 0;

	weir_metrics_head(f, name, "histogram", help);
	for (unsigned i = 0; i < WEIR_LAG_BUCKETS; i++) {
		sum += l->count[i];
		fprintf(f, "%s_bucket{le=\"", name);
		if (i < WEIR_LAG_BUCKETS - 1)
			put_seconds(f, weir_lag_bound_ns(i));
		else
			fputs("+Inf", f);
		fprintf(f, "\"} %" PRIu64 "\n", sum);
	}
	fprintf(f, "%s_sum ", name);
	put_seconds(f, l->sum_ns);
	fprintf(f, "\n%s_count %" PRIu64 "\n", name, sum);
}

static void put_lags(FILE *f, const struct weir_lags *l)
{
	put_lag(f, "weir_settled_seconds",
		"From a request's end, as the kernel saw it, until its balance moved.",
		&l->settled);
	put_lag(f, "weir_committed_seconds", "From a request's end to its durable ledger entry.",
		&l->committed);
	put_lag(f, "weir_published_seconds",
		"From a request's end until NATS had acknowledged its event.", &l->published);
}

static void put_ledger(FILE *f, const struct weir_look *l)
{
	const struct weir_writer_stats *w = &l->writer;
	const struct weir_status *s = &l->status;

	weir_metrics_one(f, "weir_ledger_healthy", "gauge", "1: the database takes writes.",
			 w->healthy);
	weir_metrics_one(f, "weir_ledger_failures_total", "counter",
			 "Times since start that it did not.", w->failures);
	weir_metrics_one(f, "weir_ledger_waiting", "gauge", "Finished requests not committed yet.",
			 w->waiting);
	weir_metrics_one(f, "weir_ledger_room", "gauge", "Further ones that there is room for.",
			 s->room.rows);
	weir_metrics_one(f, "weir_ledger_spill_used_bytes", "gauge",
			 "Memory of those that the queue has no room for.", s->room.spill_used);
	weir_metrics_one(f, "weir_ledger_spill_max_bytes", "gauge", "At most.", s->room.spill_max);
	weir_metrics_one(f, "weir_heartbeat", "gauge",
			 "0: stopped, for the ledger cannot be written: on_agent_down decides.",
			 !s->silent);
	weir_metrics_one(f, "weir_ledger_rows_total", "counter", "Requests committed since start.",
			 w->rows);
	weir_metrics_one(f, "weir_ledger_groups_total", "counter", "Commits since start.",
			 w->groups);
	weir_metrics_one(f, "weir_ledger_seq", "gauge", "Newest entry.", w->newest_seq);
	weir_metrics_one(f, "weir_ledger_commit_nanoseconds", "gauge",
			 "Duration of the last commit.", w->last_commit_ns);
}

static void put_clock(FILE *f, const struct weir_status *s)
{
	weir_metrics_one(f, "weir_clock_synchronised", "gauge",
			 "1: the kernel's clock is, as it says.", s->clock.synchronised);
	weir_metrics_one(f, "weir_clock_held", "gauge",
			 "1: the clock stepped, and is not followed.", s->clock.held);
	weir_metrics_one(f, "weir_gap", "gauge",
			 "1: requests before this start may be missing, as status says.",
			 s->gap.any);
	weir_metrics_one(f, "weir_restored", "gauge",
			 "1: the ledger is an older one that was put back, as status says.",
			 s->restored.any);
}

static void put_nats(FILE *f, const struct weir_publisher_status *n)
{
	weir_metrics_one(f, "weir_nats_connected", "gauge", "1: connected.", n->connected);
	weir_metrics_one(f, "weir_nats_stream_ok", "gauge", "1: stream METER can be published to.",
			 n->stream_ok);
	weir_metrics_one(f, "weir_nats_backlog", "gauge", "Ledger entries not acknowledged yet.",
			 n->backlog);
	weir_metrics_head(f, "weir_nats_lag_seconds", "gauge", "Age of the oldest of these.");
	fputs("weir_nats_lag_seconds ", f);
	put_seconds(f, n->lag_ns);
	fputc('\n', f);
	weir_metrics_one(f, "weir_nats_rate", "gauge",
			 "Events acknowledged per second, over the last ten.", n->rate);
	weir_metrics_one(f, "weir_nats_known_total", "counter",
			 "Events found on their stream, and not sent again.", n->known);
	weir_metrics_one(f, "weir_nats_again_total", "counter",
			 "Ledger entries that were acknowledged, and that a stream lost since.",
			 n->again);
	weir_metrics_one(f, "weir_nats_acked_total", "counter", "Usage events acknowledged.",
			 n->acked);
	weir_metrics_one(f, "weir_nats_denied_acked_total", "counter",
			 "Refusal events acknowledged.", n->denied);
	weir_metrics_one(f, "weir_nats_retried_total", "counter", "Events sent again.", n->retried);
	weir_metrics_one(f, "weir_nats_alerts_acked_total", "counter", "Alerts acknowledged.",
			 n->alerts);
	weir_metrics_one(f, "weir_nats_entries_acked_total", "counter",
			 "Other ledger entries acknowledged.", n->entries);
	weir_metrics_one(f, "weir_nats_skipped_total", "counter",
			 "Alerts, refusals and other entries that could not be published.",
			 n->skipped);
}

static void put_usage_in(FILE *f, const struct weir_meter_in_status *m)
{
	weir_metrics_one(f, "weir_usage_in_ready", "gauge", "1: usage is taken from NATS.",
			 m->ready);
	weir_metrics_one(f, "weir_usage_in_waiting", "gauge", "Messages of usage that wait.",
			 m->waiting);
	weir_metrics_one(f, "weir_usage_in_entered_total", "counter", "Usage entered from NATS.",
			 m->entered);
	weir_metrics_one(f, "weir_usage_in_repeated_total", "counter",
			 "Likewise, that was there before.", m->repeated);
	weir_metrics_one(f, "weir_usage_in_refused_total", "counter",
			 "Likewise, that makes no sense.", m->refused);
	weir_metrics_one(f, "weir_usage_in_retried_total", "counter",
			 "Likewise, put back into the queue.", m->retried);
}

void weir_metrics_delivery(const struct weir_agent_view *v, FILE *f, const struct weir_look *l)
{
	put_lags(f, &l->lags);
	put_ledger(f, l);
	put_clock(f, &l->status);
	if (v->publisher)
		put_nats(f, &l->nats);
	if (v->meter_in)
		put_usage_in(f, &l->usage);
}
