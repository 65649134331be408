/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events as WHATWG HTML 9.2.6 has them: the stream is cut into lines, the lines are
 * read one by one. The whole stream at hand.
 */
#ifndef WEIR_REF_SSE_H
#define WEIR_REF_SSE_H

#include "bytes.h"

/* The length of the line at p, *end behind its end; *whole: it has one. */
static inline size_t ref_line(const uint8_t *p, size_t n, size_t *end, bool *whole)
{
	size_t len = 0;

	while (len < n && p[len] != '\r' && p[len] != '\n')
		len++;
	*whole = len < n;
	*end = len;
	if (*whole)
		*end += len + 1 < n && p[len] == '\r' && p[len + 1] == '\n' ? 2 : 1;
	return len;
}

/* Each event's data goes to `event`; of one that the stream's end cuts, what there is, with
 * whole false. */
static inline void ref_sse(const uint8_t *p, size_t n,
			   void (*event)(void *ctx, const struct bytes *data, bool whole),
			   void *ctx)
{
	struct bytes data = { 0 };
	bool lines = false;

	if (n >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3, n -= 3;
	while (n) {
		bool whole;
		size_t end, len = ref_line(p, n, &end, &whole), name = 0, value;

		while (name < len && p[name] != ':')
			name++;
		value = name < len ? name + 1 : name;
		if (value < len && p[value] == ' ')
			value++;
		if (!len && whole) {
			if (lines)
				event(ctx, &data, true);
			lines = false;
			data.n = 0;
		} else if (name == 4 && !memcmp(p, "data", 4) && (whole || name < len)) {
			if (lines)
				put_byte(&data, '\n');
			put(&data, p + value, len - value);
			lines = true;
		}
		p += end;
		n -= end;
	}
	if (lines)
		event(ctx, &data, false);
	bytes_free(&data);
}

#endif
