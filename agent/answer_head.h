/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of an answer that are not about its framing: what a body is coded with, what a cache in
 * front of the model said, the answer's id, and the counts that TGI puts there.
 */
#ifndef WEIR_ANSWER_HEAD_H
#define WEIR_ANSWER_HEAD_H

#include <stdbool.h>

#include "usage.h"

/* A header line of a final answer; cut: it goes on. request_ids: how many were seen. */
void weir_answer_head(const char *line, bool cut, struct weir_usage_scan *u,
		      struct weir_response_seen *seen, uint8_t *request_ids);

#endif
