// SPDX-License-Identifier: Apache-2.0
/* Hostile header lines, traceparent and baggage: the claim of agree_labels.h. */
#include "agree_labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	labels_claim(data, size);
	return 0;
}
