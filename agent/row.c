// SPDX-License-Identifier: Apache-2.0
#include "agent/row.h"

const char *const weir_cache_status_names[WEIR_CACHE_STATUS_MAX] = {
	[WEIR_CACHE_HIT] = "hit",	[WEIR_CACHE_MISS] = "miss",
	[WEIR_CACHE_BYPASS] = "bypass", [WEIR_CACHE_EXPIRED] = "expired",
	[WEIR_CACHE_STALE] = "stale",	[WEIR_CACHE_REVALIDATED] = "revalidated",
};
