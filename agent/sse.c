// SPDX-License-Identifier: Apache-2.0
/*
 * The SSE splitter: lines end in CRLF, LF or CR; a line `data: x` adds to the
 * event, an empty line ends it. An event that the stream's end cuts is never
 * reported, as the standard says.
 */
#include "sse.h"

#include <stdbool.h>
#include <string.h>

#include "find.h"

enum phase {
	MARK, /* a byte order mark may open the stream */
	LINE_START,
	NAME,	     /* matched of "data" */
	VALUE_START, /* one blank after the colon is not data */
	VALUE,
	SKIP, /* to the end of the line */
};

static const uint8_t mark[3] = { 0xef, 0xbb, 0xbf };
static const uint8_t newline[1] = { '\n' };

/* At a line's end: eats it. True if the event ended. */
static bool line_end(struct weir_sse *s, const uint8_t **p)
{
	bool blank = s->phase == LINE_START;

	s->after_cr = *(*p)++ == '\r';
	s->phase = LINE_START;
	s->matched = 0;
	if (!blank || !s->has_data)
		return false;
	s->has_data = 0;
	return true;
}

/* The start of a data line's value: with a line before it, the joint comes first. */
static bool value_start(struct weir_sse *s, const uint8_t **data, size_t *len)
{
	bool joint = s->has_data;

	s->has_data = 1;
	*data = newline;
	*len = 1;
	return joint;
}

enum weir_sse_item weir_sse_next(struct weir_sse *s, const uint8_t **p, const uint8_t *end,
				 const uint8_t **data, size_t *len)
{
	while (*p < end) {
		uint8_t c = **p;

		if (s->after_cr) {
			s->after_cr = 0;
			if (c == '\n') {
				++*p;
				continue;
			}
		}
		switch (s->phase) {
		case MARK:
			if (c == mark[s->matched]) {
				++*p;
				if (++s->matched < sizeof(mark))
					break;
				s->phase = LINE_START;
			} else {
				/* part of a mark is the start of some unknown field */
				s->phase = s->matched ? SKIP : LINE_START;
			}
			s->matched = 0;
			break;
		case LINE_START:
			if (end - *p > 6 && !memcmp(*p, "data: ", 6)) {
				*p += 6;
				s->phase = VALUE;
				if (value_start(s, data, len))
					return WEIR_SSE_DATA;
				break;
			}
			if (c == '\n' || c == '\r') {
				if (line_end(s, p))
					return WEIR_SSE_EVENT;
				break;
			}
			s->phase = NAME;
			s->matched = 0;
			/* fall through */
		case NAME:
			if ((c == '\n' || c == '\r') && s->matched == 4) {
				s->phase = VALUE; /* "data" alone is a data line, of nothing */
				if (value_start(s, data, len))
					return WEIR_SSE_DATA;
			} else if (c == '\n' || c == '\r') {
				line_end(s, p);
			} else if (s->matched < 4 && c == "data"[s->matched]) {
				s->matched++;
				++*p;
			} else if (s->matched == 4 && c == ':') {
				++*p;
				s->phase = VALUE_START;
				if (value_start(s, data, len))
					return WEIR_SSE_DATA;
			} else {
				s->phase = SKIP;
			}
			break;
		case VALUE_START:
			s->phase = VALUE;
			if (c == ' ')
				++*p;
			break;
		case VALUE:
			if (c == '\n' || c == '\r') {
				line_end(s, p);
				break;
			}
			*data = *p;
			*p = weir_find(*p, end, WEIR_FIND_LINE_END);
			*len = (size_t)(*p - *data);
			return WEIR_SSE_DATA;
		default:
			*p = weir_find(*p, end, WEIR_FIND_LINE_END);
			if (*p < end)
				line_end(s, p);
		}
	}
	return WEIR_SSE_MORE;
}

void weir_sse_lost(struct weir_sse *s)
{
	s->phase = SKIP;
	s->after_cr = 0;
	s->has_data = 1; /* whatever it was, it ends with the next empty line */
}
