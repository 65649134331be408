// SPDX-License-Identifier: Apache-2.0
/* Hostile request bodies: the claims of agree_asked.h. */
#include "agree_asked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	asked_claim(data, size);
	return 0;
}
