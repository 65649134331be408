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

void weir_warn(struct weir_status *s, const char *fmt, ...)
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
		weir_warn(s, "enforcement is off by \"enforce\" in agent.json: %s", passed);
	if (s->enforcing != WEIR_ENFORCE_SWITCHED_OFF)
		return;
	weir_time_format(s->enforce.time_ns - s->enforce.time_ns % WEIR_SECOND, when);
	/* Cut to fit, between characters. */
	weir_clean_text(actor, sizeof(actor), s->enforce.actor, strlen(s->enforce.actor));
	weir_clean_text(reason, sizeof(reason), s->enforce.reason, strlen(s->enforce.reason));
	weir_warn(s, "enforcement is off since %s: %s; weirctl enforce on ends it (by %s%s%s)",
		  when, passed, actor, reason[0] ? ": " : "", reason);
}

static void of_counters(struct weir_status *s)
{
	const uint64_t *n = s->verdicts;

	if (s->ring_lost)
		weir_warn(s, "ring: %" PRIu64 " records did not fit; raise \"ring_bytes\"",
			  s->ring_lost);
	if (s->decoders.given_up)
		weir_warn(s,
			  "compressed answers: %" PRIu64
			  " were not read to their end for want of room, "
			  "and billed as far as they were; raise \"decoder_bytes\"",
			  s->decoders.given_up);
	/* pass_untracked is no sign of it: late packets of closed connections are in it too. */
	if (s->flows_max && s->flows_used >= s->flows_max - s->flows_max / 10)
		weir_warn(s,
			  "connections: %" PRIu64 " of %" PRIu64
			  " that can be followed; more would pass unjudged; raise \"max_flows\"",
			  s->flows_used, s->flows_max);
	if (s->no_room_passed || s->no_room_reset)
		weir_warn(s,
			  "connections: there is no room to follow more: %" PRIu64
			  " packets passed unjudged, %" PRIu64 " connections were reset; raise "
			  "\"max_flows\"",
			  s->no_room_passed, s->no_room_reset);
	if (n[WEIR_DENY_MAP_FULL])
		weir_warn(s,
			  "kernel maps: %" PRIu64 " connections or refusals found one full; raise "
			  "\"max_flows\" and \"max_tenants\"",
			  n[WEIR_DENY_MAP_FULL]);
	if (n[WEIR_DROP_HEAD_ROOM])
		weir_warn(s,
			  "heads in parts: %" PRIu64
			  " segments were dropped for want of room, to come "
			  "again; raise \"max_split_heads\"",
			  n[WEIR_DROP_HEAD_ROOM]);
	/* On a connection that is watched from its start every request is seen, if it comes
	 * in where we look. */
	if (n[WEIR_DROP_UNJUDGED])
		weir_warn(s,
			  "%" PRIu64
			  " answers came to requests that nobody saw; they were billed and "
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
		weir_warn(s,
			  "drift: %" PRIu64 " connections without a socket and %" PRIu64
			  " gauges were put right, %" PRIu64
			  " sums of reservations are off; please report it, with the agent's log",
			  d->reaped, gauges, d->reservations_off);
	if (d->failed > d->sweeps)
		weir_warn(s,
			  "drift: sockets cannot be compared with connections (%" PRIu64
			  " rounds failed, see the log): what leaks is not given back",
			  d->failed);
}

static void of_service(struct weir_status *s, const struct weir_config_service *c, uint32_t seen)
{
	static const char passed[] = "refused, but for tenants with \"other_protocols\": \"pass\", "
				     "whom only connection limits hold";

	if (seen & WEIR_SEEN_TLS)
		weir_warn(s,
			  "service %s (port %u): TLS was seen: only connection limits apply to it; "
			  "guard the port behind what ends TLS",
			  c->name, c->port);
	if (seen & WEIR_SEEN_H2C)
		weir_warn(s, "service %s (port %u): HTTP/2 without TLS was seen: %s", c->name,
			  c->port, passed);
	if (seen & WEIR_SEEN_UPGRADE)
		weir_warn(s, "service %s (port %u): Upgrade or CONNECT was seen: %s", c->name,
			  c->port, passed);
}

/* -------------------------------------------------------- answers that hide their usage */

#define ASK "let clients ask for it with stream_options.include_usage"

/* Who hides it, if all that do are of one kind. */
static enum weir_server server_of(const struct weir_hidden_counts *n)
{
	for (size_t i = 0; i < WEIR_SERVER_MAX; i++)
		if (n->of[i] == n->streamed_hidden + n->plain_hidden)
			return (enum weir_server)i;
	return WEIR_SERVER_MAX;
}

static const char *cure_of_streams(const struct weir_hidden_counts *n)
{
	static const char *const cures[WEIR_SERVER_MAX + 1] = {
		[WEIR_SERVER_VLLM] = "start vLLM (0.11.1 or later) with "
				     "--enable-force-include-usage",
		[WEIR_SERVER_SGLANG] = "start SGLang (0.5.10 or later) with "
				       "--stream-response-default-include-usage",
		[WEIR_SERVER_TGI] = "TGI has no flag for it: " ASK,
		[WEIR_SERVER_LLAMA_CPP] = "llama.cpp has no flag for it: " ASK,
		[WEIR_SERVER_OLLAMA] = "Ollama has no flag for it: " ASK,
		[WEIR_SERVER_TRITON] = "Triton's generate never tells it: serve the model by "
				       "Triton's OpenAI frontend",
		[WEIR_SERVER_MAX] = "start vLLM with --enable-force-include-usage, SGLang with "
				    "--stream-response-default-include-usage; with other "
				    "servers " ASK,
	};
	enum weir_server server = server_of(n);

	if (n->asked == n->streamed_hidden && server != WEIR_SERVER_TRITON)
		return "all of them were asked for it (stream_options.include_usage): upgrade the "
		       "server to one that knows the option";
	return cures[server];
}

static const char *cure_of_plain(const struct weir_hidden_counts *n)
{
	return server_of(n) == WEIR_SERVER_TRITON
		       ? "Triton's generate never tells it: serve the model by Triton's OpenAI "
			 "frontend"
		       : "serve the model by the server's OpenAI endpoints, which tell it";
}

static void of_hidden(struct weir_status *s, const struct weir_config_service *c,
		      const struct weir_hidden_counts *n)
{
	static const char text[] = "service %s (port %u): %" PRIu64 " of %" PRIu64
				   " %s answers of the last %d minutes did not tell their usage "
				   "and were estimated: %s";

	if (n->streamed_hidden)
		weir_warn(s, text, c->name, c->port, n->streamed_hidden, n->streamed, "streamed",
			  WEIR_HIDDEN_MINUTES, cure_of_streams(n));
	if (n->plain_hidden)
		weir_warn(s, text, c->name, c->port, n->plain_hidden, n->plain, "plain",
			  WEIR_HIDDEN_MINUTES, cure_of_plain(n));
	if (n->unread)
		weir_warn(s,
			  "service %s (port %u): %" PRIu64
			  " answers of the last %d minutes were in a "
			  "content coding that is not read, and were estimated by their length: "
			  "let the "
			  "server or the proxy before it use gzip, zstd or none",
			  c->name, c->port, n->unread, WEIR_HIDDEN_MINUTES);
}

void weir_warnings_add(struct weir_status *s, const struct weir_config_service *services,
		       size_t n_services, const uint32_t *seen)
{
	of_enforcing(s);
	of_counters(s);
	of_drift(s);
	for (size_t i = 0; i < n_services; i++) {
		of_service(s, &services[i], seen[i + 1]);
		of_hidden(s, &services[i], &s->hidden[i + 1]);
	}
}
