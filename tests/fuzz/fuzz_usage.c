// SPDX-License-Identifier: Apache-2.0
/* Hostile documents of usage: the claim of agree_usage.h. */
#include "agree_usage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	usage_claim(data, size);
	return 0;
}
