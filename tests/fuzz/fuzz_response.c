// SPDX-License-Identifier: Apache-2.0
/* Hostile answers: the claim of agree_response.h. Files of tests/corpus are inputs as they are. */
#include "agree_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	response_claim(data, size);
	return 0;
}
