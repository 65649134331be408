/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The string table of verdicts and reasons, from the list in weir_abi.h.
 */
#include "reason.h"

static const char *const names[] = {
#define X(id, name) [WEIR_##id] = name,
	WEIR_REASONS(X)
#undef X
};

const char *weir_reason_name(uint32_t reason)
{
	return reason < WEIR_REASON_MAX ? names[reason] : "unknown";
}

bool weir_reason_is_denial(uint32_t reason)
{
	return reason >= WEIR_DENY_CONNECTIONS && reason <= WEIR_DENY_MAP_FULL;
}

bool weir_reason_is_money(uint32_t reason)
{
	return reason == WEIR_DENY_CREDIT;
}
