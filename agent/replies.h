/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of refusals: what a client is told, per API dialect and reason. The
 * kernel sends them and fills in the figures (bpf/reply_text.h); nothing here
 * runs while a request waits.
 */
#ifndef WEIR_REPLIES_H
#define WEIR_REPLIES_H

#include "bpf/weir_abi.h"

#define WEIR_REPLIES (WEIR_API_MAX * WEIR_REASON_MAX)

/* Render every template, indexed dialect x WEIR_REASON_MAX + reason. One that no
 * request can be refused with is empty: its first op is WEIR_OP_END. */
void weir_replies_build(struct weir_reply out[WEIR_REPLIES]);

#endif
