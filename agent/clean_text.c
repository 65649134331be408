// SPDX-License-Identifier: Apache-2.0
#include "clean_text.h"

#include <stdint.h>
#include <string.h>

/* Length of the character at s if it is one that may stand in a log or an event
 * (UTF-8, RFC 3629; no control), else 0. */
static size_t character(const uint8_t *s, size_t n)
{
	uint32_t c = s[0];
	size_t len, i;

	if (c < 0x80)
		return c >= 0x20 && c != 0x7f;
	len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (c < 0xc2 || c > 0xf4 || len > n)
		return 0;
	c &= 0x7f >> len;
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((len == 3 && c < 0x800) || (len == 4 && c < 0x10000) || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff) || c < 0xa0)
		return 0;
	return len;
}

void weir_clean_text(char *dst, size_t size, const char *text, size_t len)
{
	size_t used = 0, step;

	if (!len || (len < size && !memcmp(dst, text, len) && !dst[len]))
		return; /* the same in every event of a stream */
	if (len > size - 1)
		len = size - 1;
	while (used < len && (step = character((const uint8_t *)text + used, len - used)))
		used += step;
	if (!used)
		return;
	memcpy(dst, text, used);
	memset(dst + used, 0, size - used);
}
