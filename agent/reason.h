/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of verdicts and reasons in user space: the string table that goes with
 * enum weir_reason.
 */
#ifndef WEIR_REASON_H
#define WEIR_REASON_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/weir_abi.h"

/* "connections", "pass_body", …; "unknown" past the table. */
const char *weir_reason_name(uint32_t reason);

/* A refusal of a connection or request that is counted per tenant. */
bool weir_reason_is_denial(uint32_t reason);

/* limit, value and asked of such a refusal are nano-credits. */
bool weir_reason_is_money(uint32_t reason);

#endif
