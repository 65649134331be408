// SPDX-License-Identifier: Apache-2.0
/* Hostile event streams: the claim of agree_sse.h. */
#include "agree_sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	sse_claim(data, size);
	return 0;
}
