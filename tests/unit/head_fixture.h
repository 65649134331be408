/* SPDX-License-Identifier: Apache-2.0 */
/* Heads for tests of the scanner: taken in as the gate takes them from packets, into a buffer
 * that a hostile head was in before. */
#ifndef TEST_HEAD_FIXTURE_H
#define TEST_HEAD_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/http_values.h"

#define UNUSED __attribute__((unused))

static struct weir_head h;

/* What lies behind the bytes at hand is hostile. */
static UNUSED void spoil(void)
{
	static const char trap[] = "\nAuthorization: Bearer trap\r\n\r\nContent-Length: 9\r\n\r\n";

	for (size_t i = 0; i < sizeof(h.bytes); i++)
		h.bytes[i] = trap[i % (sizeof(trap) - 1)];
}

/* More of a head, in pieces as the gate takes them from a packet. */
static UNUSED uint32_t add(const char *text, size_t n)
{
	uint32_t result = h.result;

	while (n && result == WEIR_HEAD_MORE) {
		size_t piece = n < WEIR_HEAD_LOAD ? n : WEIR_HEAD_LOAD;

		if (h.len >= WEIR_HEAD_MAX)
			return WEIR_HEAD_TOO_LARGE;
		memcpy(h.bytes + h.len, text, piece);
		result = weir_head_scan(&h, piece);
		text += piece;
		n -= piece;
	}
	return result;
}

static UNUSED uint32_t scan(const char *text, size_t n)
{
	spoil();
	weir_head_start(&h, true);
	return add(text, n);
}

static UNUSED uint32_t scan_text(const char *text)
{
	return scan(text, strlen(text));
}

static UNUSED const char *key(void)
{
	static char out[WEIR_HEAD_MAX];
	uint32_t place = weir_head_key(&h);

	if (!place)
		return NULL;
	snprintf(out, sizeof(out), "%.*s", (int)(place & 0xffff), h.bytes + (place >> 16));
	return out;
}

#endif
