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

/* Refusals stand in two runs and one by itself, since the list is only ever appended to. */
_Static_assert(WEIR_DENY_MAP_FULL - WEIR_DENY_CONNECTIONS == 11, "limits and who it is");
_Static_assert(WEIR_DENY_BODY - WEIR_DENY_MALFORMED == 7, "request forms");

bool weir_reason_is_denial(uint32_t reason)
{
	return (reason >= WEIR_DENY_CONNECTIONS && reason <= WEIR_DENY_MAP_FULL) ||
	       (reason >= WEIR_DENY_MALFORMED && reason <= WEIR_DENY_BODY) ||
	       reason == WEIR_DENY_HALF_OPEN;
}

bool weir_reason_is_money(uint32_t reason)
{
	/* The second is the first, of a request that could have gone on. */
	return reason == WEIR_DENY_CREDIT || reason == WEIR_DENY_FALLBACK;
}
