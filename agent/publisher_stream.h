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
#include <stdint.h>

#include <nats/nats.h>

/* How long the server remembers message ids; a stream with less than the minimum
 * is reported: it would take an event twice that came late, by another way. */
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

enum weir_stream_state {
	WEIR_STREAM_READY,
	WEIR_STREAM_UNFIT,  /* it is, or would be, otherwise than it must be: somebody's work */
	WEIR_STREAM_SILENT, /* no answer, or not now */
};

/* Make the stream, with so many replicas, or check the one there. problem (n bytes) says what is
 * wrong, "" if nothing is; it may be set although it is ready. Blocks for some seconds at most. */
enum weir_stream_state weir_stream_look(jsCtx *js, enum weir_stream which, uint32_t replicas,
					char *problem, size_t n);

#endif
