// SPDX-License-Identifier: Apache-2.0
/* Hostile documents: the claim of agree_json.h. */
#include "agree_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_claim(data, size);
	return 0;
}
