/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of Weir. Ours to fill: METER (usage, kept until it is old; full means
 * "refuse", so that nothing is dropped unseen), LEDGER (all else that moves credit),
 * ALERT, DENY and USAGE_REFUSED (the oldest make room). Others fill USAGE, a work queue: what is
 * acknowledged is gone. They are created when missing and otherwise only looked at.
 */
#ifndef WEIR_PUBLISHER_STREAM_H
#define WEIR_PUBLISHER_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <nats/nats.h>

/* How long the server remembers message ids; a stream with less than the minimum
 * is reported: after a longer outage it would take an event twice. */
#define WEIR_STREAM_DEDUP_NS	 (INT64_C(2) * 3600 * 1000000000)
#define WEIR_STREAM_DEDUP_MIN_NS (INT64_C(3600) * 1000000000)

enum weir_stream {
	WEIR_STREAM_METER,
	WEIR_STREAM_DENY,
	WEIR_STREAM_ALERT,
	WEIR_STREAM_LEDGER,
	WEIR_STREAM_PUBLISHED, /* by the publisher: those before */
	WEIR_STREAM_USAGE = WEIR_STREAM_PUBLISHED,
	WEIR_STREAM_USAGE_REFUSED,
	WEIR_STREAM_MAX
};

const char *weir_stream_name(enum weir_stream which);

/* Make the stream or check the one there. True: it can be published to. problem
 * (n bytes) says what is wrong, "" if nothing is; it may be set although the
 * result is true. Blocks for some seconds at most. */
bool weir_stream_ready(jsCtx *js, enum weir_stream which, char *problem, size_t n);

#endif
