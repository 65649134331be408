// SPDX-License-Identifier: Apache-2.0
/* Hostile compressed bodies: the claim of agree_decode.h. */
#include "agree_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	decode_claim(data, size);
	return 0;
}
