// SPDX-License-Identifier: Apache-2.0
/*
 * How answers were counted, as metrics: what was reported and what is ours, what was not billed and
 * why, which service hides its usage, and what undoes compressed bodies.
 */
#include <inttypes.h>

#include "metrics.h"

struct figure {
	const char *label;
	uint64_t n;
};

static void by_label(FILE *f, const char *name, const char *help, const char *label,
		     const struct figure *v, size_t n)
{
	weir_metrics_head(f, name, "counter", help);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, v[i].label, v[i].n);
}

#define BY_LABEL(f, name, help, label, v)                                                          \
	by_label(f, name, help, label, v, sizeof(v) / sizeof(*(v)))

static void write_tally(FILE *f, const struct weir_tally *t)
{
	const struct figure sources[] = {
		{ "reported", t->sources[WEIR_USAGE_REPORTED] },
		{ "estimated", t->sources[WEIR_USAGE_ESTIMATED] },
		{ "partial", t->sources[WEIR_USAGE_PARTIAL] },
		{ "none", t->sources[WEIR_USAGE_NONE] },
	};
	const struct figure guessed[] = {
		{ "input", t->input_guessed },
		{ "output", t->output_guessed },
	};
	const struct figure unbilled[] = {
		{ "retry", t->retry_free },
		{ "cache_hit", t->cache_free },
		{ "abort", t->abort_free },
	};

	BY_LABEL(f, "weir_answers_total", "Requests that ended, by where their usage is from.",
		 "usage", sources);
	BY_LABEL(f, "weir_guessed_total", "Counts of tokens that nobody reported.", "count",
		 guessed);
	BY_LABEL(f, "weir_unbilled_total", "Answers that the tier's terms made free, by which.",
		 "reason", unbilled);
	weir_metrics_one(f, "weir_billed_full_total", "counter",
			 "Answers whose client left, billed for all that was asked for.",
			 t->abort_full);
	weir_metrics_one(f, "weir_left_total", "counter",
			 "Answers whose client left before their end.", t->left);
	weir_metrics_one(f, "weir_lost_bytes_total", "counter", "Answers of which bytes were lost.",
			 t->lost);
	weir_metrics_one(f, "weir_compressed_total", "counter", "Answers that were compressed.",
			 t->encoded);
}

static void write_decoders(FILE *f, const struct weir_decoders_stats *d)
{
	weir_metrics_one(f, "weir_decoders", "gauge", "Compressed answers being read.", d->open);
	weir_metrics_one(f, "weir_decoders_bytes", "gauge", "Memory of their decoders.", d->bytes);
	weir_metrics_one(f, "weir_decoders_opened_total", "counter",
			 "Compressed answers that were begun.", d->opened);
	weir_metrics_one(f, "weir_decoders_given_up_total", "counter",
			 "Of them, not read on for want of room.", d->given_up);
	weir_metrics_one(f, "weir_decoders_failed_total", "counter",
			 "Of them, not of their coding.", d->failed);
}

static void put_hidden(FILE *f, const char *service, const char *form, uint64_t n)
{
	fputs("weir_usage_hidden{service=\"", f);
	weir_metrics_label(f, service);
	fprintf(f, "\",form=\"%s\"} %" PRIu64 "\n", form, n);
}

static void write_hidden(const struct weir_agent_view *v, FILE *f, const struct weir_status *s)
{
	weir_metrics_head(f, "weir_usage_hidden", "gauge",
			  "Answers of the last ten minutes that did not tell their usage.");
	for (size_t i = 1; i < v->n_services && i < WEIR_MAX_SERVICES; i++) {
		put_hidden(f, v->services[i], "streamed", s->hidden[i].streamed_hidden);
		put_hidden(f, v->services[i], "plain", s->hidden[i].plain_hidden);
		put_hidden(f, v->services[i], "unread", s->hidden[i].unread);
	}
}

void weir_metrics_usage(const struct weir_agent_view *v, FILE *f, const struct weir_status *s)
{
	write_tally(f, &s->tally);
	write_decoders(f, &s->decoders);
	write_hidden(v, f, s);
}
