// SPDX-License-Identifier: Apache-2.0
/*
 * Which of its streams the publisher can have. METER it waits for, for ever; the others
 * are done without after some seconds.
 */
#include "publisher_window.h"

#include <string.h>

#define CHECK_AGAIN_NS UINT64_C(2000000000) /* a stream that was not ready */
#define STREAM_WAIT_NS (3 * WEIR_SECOND)    /* so long usage waits for another stream */

void weir_pub_check_streams(struct weir_publisher *p, uint64_t now_ns)
{
	if (now_ns < p->check_at_ns)
		return;
	p->check_at_ns = now_ns + CHECK_AGAIN_NS;
	for (int i = 0; i < WEIR_STREAM_PUBLISHED; i++) {
		char before[sizeof(p->problem[i])];

		if (p->ready[i])
			continue;
		memcpy(before, p->problem[i], sizeof(before));
		p->ready[i] = weir_stream_ready(p->js, i, p->problem[i], sizeof(p->problem[i]));
		if (p->ready[i])
			p->unready_ns[i] = 0;
		else if (!p->unready_ns[i])
			p->unready_ns[i] = now_ns;
		if (p->problem[i][0] && strcmp(before, p->problem[i]))
			weir_log(WEIR_WARN, "%s", p->problem[i]);
	}
}

bool weir_pub_given_up(const struct weir_publisher *p, enum weir_stream which)
{
	uint64_t since = p->unready_ns[which], now_ns = weir_mono_ns();

	return which != WEIR_STREAM_METER &&
	       ((since && now_ns - since > STREAM_WAIT_NS) || now_ns < p->refusing_until_ns[which]);
}

const char *weir_pub_stream_problem(const struct weir_publisher *p)
{
	static const enum weir_stream order[] = { WEIR_STREAM_METER, WEIR_STREAM_LEDGER,
						  WEIR_STREAM_ALERT, WEIR_STREAM_DENY };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (p->problem[order[i]][0])
			return p->problem[order[i]];
	}
	return "";
}
