// SPDX-License-Identifier: Apache-2.0
/* Answers with holes: the claims of agree_tail.h. */
#include "agree_tail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	tail_claim(data, size);
	return 0;
}
