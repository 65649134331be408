// SPDX-License-Identifier: Apache-2.0
/* Hostile framing: the claim of agree_http1.h. */
#include "agree_http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	http1_claim(data, size);
	return 0;
}
