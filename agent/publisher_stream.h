/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two streams events go to: METER (usage, kept until it is old; full means
 * "refuse", so that nothing is dropped unseen) and DENY (refusals, the oldest
 * make room). They are created when missing and otherwise only looked at.
 */
#ifndef WEIR_PUBLISHER_STREAM_H
#define WEIR_PUBLISHER_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <nats/nats.h>

#define WEIR_STREAM_METER	  "METER"
#define WEIR_STREAM_METER_SUBJECT "meter.v1.>"
#define WEIR_STREAM_DENY	  "DENY"
#define WEIR_STREAM_DENY_SUBJECT  "deny.v1.>"

/* How long the server remembers message ids; a stream with less than the minimum
 * is reported: after a longer outage it would take an event twice. */
#define WEIR_STREAM_DEDUP_NS	 (INT64_C(2) * 3600 * 1000000000)
#define WEIR_STREAM_DEDUP_MIN_NS (INT64_C(3600) * 1000000000)

enum weir_stream { WEIR_STREAM_IS_METER, WEIR_STREAM_IS_DENY };

/* Make the stream or check the one there. True: it can be published to. problem
 * (n bytes) says what is wrong, "" if nothing is; it may be set although the
 * result is true. Blocks for some seconds at most. */
bool weir_stream_ready(jsCtx *js, enum weir_stream which, char *problem, size_t n);

#endif
