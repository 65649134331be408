/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: in any cut, the splitter (agent/sse.c) hands on the events that a reader of the whole
 * stream sees, byte for byte.
 */
#ifndef WEIR_AGREE_SSE_H
#define WEIR_AGREE_SSE_H

#include "agent/sse.h"
#include "ref_sse.h"

/* Events as text, told from each other by bytes that no data holds: a line end is "\n". */
static inline void sse_event(void *ctx, const struct bytes *data, bool whole)
{
	put(ctx, data->p, data->n);
	if (whole)
		put_byte(ctx, '\r');
}

static inline void sse_agrees(const uint8_t *p, size_t n)
{
	struct bytes expected = { 0 };

	ref_sse(p, n, sse_event, &expected);
	for (size_t i = 0; i < CUTS; i++) {
		struct cut cut = { seed_of(p, n), cut_longest[i] };
		struct weir_sse s = { 0 };
		struct bytes got = { 0 };

		for (size_t at = 0, take; at < n; at += take) {
			const uint8_t *piece, *from, *end, *data;
			enum weir_sse_item item;
			size_t len;

			take = cut_next(&cut, n - at);
			piece = from = own_copy(p + at, take);
			end = piece + take;
			while ((item = weir_sse_next(&s, &from, end, &data, &len)) !=
			       WEIR_SSE_MORE) {
				if (item == WEIR_SSE_EVENT)
					put_byte(&got, '\r');
				else
					put(&got, data, len);
			}
			AGREE(p, n, from == end);
			free((void *)piece);
		}
		AGREE(p, n, bytes_same(&got, &expected));
		bytes_free(&got);
	}
	bytes_free(&expected);
}

static inline void put_sse(struct bytes *b, struct input *in)
{
	static const char *const pieces[] = {
		"",	    "\n",      "\r",
		"\r\n",	    "data",    "data:",
		"data: ",   "data:  ", " data",
		"dat",	    "Data: ",  "datax",
		": ",	    ":",       "event: ",
		"id: 1",    "retry",   "\n\n",
		"\r\n\r\n", "\r\r",    "{\"a\": \"b\"}",
		"[DONE]",   "x",       "\xef\xbb\xbf",
		"\xef\xbb", "\n\r",    "data: a long line of more than sixteen bytes",
		" ",
	};
	size_t c = choose(in, 8);

	put_text(b, c == 6 ? "\xef\xbb\xbf" : c == 7 ? "\xef\xbb" : "");
	while ((c = take(in, 1)))
		c < sizeof(pieces) / sizeof(pieces[0]) ? put_text(b, pieces[c])
						       : put_byte(b, (uint8_t)c);
}

/* Input: pieces, or (first byte odd) the stream itself. */
static inline void sse_claim(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct bytes b = { 0 };

	if (take(&in, 1) & 1)
		put_rest(&b, &in);
	else
		put_sse(&b, &in);
	sse_agrees(b.p, b.n);
	bytes_free(&b);
}

#endif
