/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a scanned head says: the request line or the status, how the body is framed, where
 * the key is. Each is read once, by a function of its own.
 */
#ifndef WEIR_HTTP_VALUES_H
#define WEIR_HTTP_VALUES_H

#include "http_head.h"

/* What a request line says. */
struct weir_request_line {
	weir_u32 method_len;
	weir_u32 target; /* offset */
	weir_u32 target_end;
	weir_u32 minor; /* of HTTP/1.x */
};

#define WEIR_METHOD_MAX 24

/* Read the first line of a scanned head. false: it is no request line of HTTP/1.0 or 1.1. */
weir_inline bool weir_head_request_line(const struct weir_head *h, struct weir_request_line *l)
{
	weir_u32 start = h->start, end = h->first_end, n, v;
	weir_u64 version;

	weir_opaque(start);
	if (start > WEIR_HEAD_BLANK)
		return false;
	n = weir_word_find(weir_load64(h->bytes + start), ' ');
	if (n == 8)
		n += weir_word_find(weir_load64(h->bytes + start + 8), ' ');
	if (n == 16)
		n += weir_word_find(weir_load64(h->bytes + start + 16), ' ');
	if (n == 24 && h->bytes[start + 24] != ' ')
		return false;
	if (!n || end < start + n + 1 + 1 + 9)
		return false;
	v = end - 9; /* blank, HTTP/1.x */
	weir_opaque(v);
	if (v > WEIR_HEAD_MAX || h->bytes[v] != ' ')
		return false;
	version = weir_load64(h->bytes + v + 1);
	if ((version & 0x00ffffffffffffffULL) != WEIR_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0))
		return false;
	l->minor = (version >> 56) - '0';
	l->method_len = n;
	l->target = start + n + 1;
	l->target_end = end - 9;
	return l->minor <= 1;
}

/* May a request begin with this byte (a token character, RFC 9110 5.6.2)? If not, no
 * server takes what follows for a request. */
weir_inline bool weir_token_char(weir_u8 c)
{
	if (c >= '0' && c <= '9')
		return true;
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
		return true;
	return c == '!' || (c >= '#' && c <= '\'') || c == '*' || c == '+' || c == '-' ||
	       c == '.' || (c >= '^' && c <= '`') || c == '|' || c == '~';
}

/* The status of a response head: 100 to 599, or 0 if it is none. */
weir_inline weir_u32 weir_head_status(const struct weir_head *h)
{
	if ((weir_load64(h->bytes) & 0x00ffffffffffffffULL) !=
		    WEIR_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0) ||
	    h->bytes[8] != ' ' || h->len < 12)
		return 0;
	weir_u32 a = h->bytes[9] - '0', b = h->bytes[10] - '0', c = h->bytes[11] - '0';

	if (a < 1 || a > 5 || b > 9 || c > 9)
		return 0;
	return a * 100 + b * 10 + c;
}

#define WEIR_NO_LENGTH	  (~0ULL)
#define WEIR_LENGTH_CHARS 24	    /* digits and blanks of a Content-Length */
#define WEIR_LENGTH_OVER  (1U << 8) /* in `digits`: no more may come */

/* Content-Length, or WEIR_NO_LENGTH when absent or not a plain number below 10^18. */
weir_global weir_u64 weir_head_content_length(struct weir_head *h)
{
	if (!h)
		return WEIR_NO_LENGTH;
	weir_u32 at = h->value[WEIR_HDR_CONTENT_LENGTH].off;
	weir_u32 end = h->value[WEIR_HDR_CONTENT_LENGTH].end;

	*(volatile weir_u64 *)&h->number = 0;
	*(volatile weir_u32 *)&h->digits = 0;
	if (!end || end - at > WEIR_LENGTH_CHARS)
		return WEIR_NO_LENGTH;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_LENGTH_CHARS; i++) {
		weir_u32 p = at + i;

		weir_opaque(p);
		if (p >= end || p >= WEIR_HEAD_MAX)
			break;
		weir_u32 c = h->bytes[p];

		if (c == ' ' || (c == '\t' && !*(volatile weir_u32 *)&h->digits)) {
			/* Behind the number: "1 2" is none. */
			if (*(volatile weir_u32 *)&h->digits)
				*(volatile weir_u32 *)&h->digits |= WEIR_LENGTH_OVER;
			continue;
		}
		c -= '0';
		if (c > 9 || (*(volatile weir_u32 *)&h->digits & WEIR_LENGTH_OVER))
			return WEIR_NO_LENGTH;
		*(volatile weir_u64 *)&h->number = *(volatile weir_u64 *)&h->number * 10 + c;
		*(volatile weir_u32 *)&h->digits += 1;
	}
	weir_u32 digits = *(volatile weir_u32 *)&h->digits & ~WEIR_LENGTH_OVER;

	return digits && digits <= 18 ? *(volatile weir_u64 *)&h->number : WEIR_NO_LENGTH;
}

enum weir_coding { WEIR_CODING_NONE, WEIR_CODING_CHUNKED, WEIR_CODING_OTHER };

/* First byte of a header's value that is no blank: of the first five. */
weir_inline weir_u32 weir_head_value(const struct weir_head *h, weir_u32 at)
{
	for (int i = 0; i < 4; i++) {
		weir_opaque(at);
		if (at >= WEIR_HEAD_MAX || (h->bytes[at] != ' ' && h->bytes[at] != '\t'))
			break;
		at++;
	}
	return at;
}

/* The value's end without blanks: up to four. A TAB stays: some servers take it for
 * part of the value. */
weir_inline weir_u32 weir_head_value_end(const struct weir_head *h, weir_u32 at, weir_u32 end)
{
	for (int i = 0; i < 4; i++) {
		weir_u32 last = end - 1;

		weir_opaque(last);
		if (last >= WEIR_HEAD_MAX || last < at)
			break;
		if (h->bytes[last] != ' ')
			break;
		end--;
	}
	return end;
}

/* Transfer-Encoding: a request's must be "chunked" and nothing else. */
weir_global weir_u32 weir_head_coding(const struct weir_head *h)
{
	if (!h)
		return WEIR_CODING_OTHER;
	weir_u32 at = h->value[WEIR_HDR_TRANSFER_ENCODING].off;
	weir_u32 end = h->value[WEIR_HDR_TRANSFER_ENCODING].end;
	weir_u64 w;

	if (!end)
		return WEIR_CODING_NONE;
	at = weir_head_value(h, at);
	end = weir_head_value_end(h, at, end);
	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX || end - at != 7)
		return WEIR_CODING_OTHER;
	w = weir_load64(h->bytes + at) << 8;
	return (w | WEIR_LOWER << 8) == WEIR_WORD(0, 'c', 'h', 'u', 'n', 'k', 'e', 'd')
		       ? WEIR_CODING_CHUNKED
		       : WEIR_CODING_OTHER;
}

/* Does Upgrade ask for something else than h2c? h2c is only an offer, on a request that
 * is served as HTTP/1.1 by whoever does not take it. */
weir_global weir_u32 weir_head_upgrades(const struct weir_head *h)
{
	if (!h || !h->value[WEIR_HDR_UPGRADE].end)
		return 0;
	weir_u32 at = weir_head_value(h, h->value[WEIR_HDR_UPGRADE].off);
	weir_u32 end = weir_head_value_end(h, at, h->value[WEIR_HDR_UPGRADE].end);

	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX || end - at != 3)
		return 1;
	return (weir_load32(h->bytes + at) & 0xffffff) != ('h' | '2' << 8 | 'c' << 16);
}

/* Is the body written in another way than plainly? */
weir_global weir_u32 weir_head_encoded(const struct weir_head *h)
{
	if (!h || !h->value[WEIR_HDR_CONTENT_ENCODING].end)
		return 0;
	weir_u32 at = weir_head_value(h, h->value[WEIR_HDR_CONTENT_ENCODING].off);
	weir_u32 end = weir_head_value_end(h, at, h->value[WEIR_HDR_CONTENT_ENCODING].end);

	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX || end - at != 8)
		return 1;
	return (weir_load64(h->bytes + at) | WEIR_LOWER) !=
	       WEIR_WORD('i', 'd', 'e', 'n', 't', 'i', 't', 'y');
}

/* The place of a bearer token in Authorization. offset << 16 | length; 0: none. */
weir_inline weir_u32 weir_head_bearer(const struct weir_head *h, weir_u32 at, weir_u32 end)
{
	weir_u64 w;

	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX)
		return 0;
	w = (weir_load64(h->bytes + at) | 0x0000202020202020ULL) & 0x00ffffffffffffffULL;
	if (w != WEIR_WORD('b', 'e', 'a', 'r', 'e', 'r', ' ', 0))
		return 0;
	at = weir_head_value(h, at + 7);
	return at < WEIR_HEAD_MAX && end > at ? at << 16 | (end - at) : 0;
}

/* The key's place: Authorization's bearer token, else x-api-key, else api-key;
 * blanks around it are not part of it. offset << 16 | length; 0: none. */
weir_global weir_u32 weir_head_key(const struct weir_head *h)
{
	if (!h)
		return 0;
#pragma clang loop unroll(full)
	for (weir_u32 i = WEIR_HDR_AUTHORIZATION; i <= WEIR_HDR_API_KEY; i++) {
		weir_u32 at, end, place;

		if (!h->value[i].end)
			continue;
		at = weir_head_value(h, h->value[i].off);
		end = weir_head_value_end(h, at, h->value[i].end);
		place = end > at ? at << 16 | (end - at) : 0;
		if (i == WEIR_HDR_AUTHORIZATION)
			place = weir_head_bearer(h, at, end);
		if (place)
			return place;
	}
	return 0;
}

#endif
