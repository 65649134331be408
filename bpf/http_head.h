/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Finds what a verdict needs in an HTTP/1.1 head: where it ends, how its body is
 * framed, and where the key is. Request and response heads have the same shape,
 * so one scanner serves the request gate and the response tap.
 *
 * It works a word at a time on a copy of the head in map memory. Position and
 * phase live in that memory too and are read again at each step: the verifier
 * then sees every step alike and does not follow the paths of all before it
 * (held in registers the same loop passes a million instructions).
 */
#ifndef WEIR_HTTP_HEAD_H
#define WEIR_HTTP_HEAD_H

#include "base.h"

#define WEIR_HEAD_MAX	4096		      /* longest head that is judged */
#define WEIR_HEAD_SPACE (WEIR_HEAD_MAX + 320) /* readable past the end: whole keys, whole words */

/* Headers a verdict depends on. */
enum weir_header {
	WEIR_HDR_NONE,
	WEIR_HDR_AUTHORIZATION,
	WEIR_HDR_X_API_KEY,
	WEIR_HDR_API_KEY,
	WEIR_HDR_CONTENT_LENGTH,
	WEIR_HDR_TRANSFER_ENCODING,
	WEIR_HDR_MAX
};

enum weir_head_phase {
	WEIR_HEAD_NAME,	 /* pos is at the start of a line */
	WEIR_HEAD_SEEK,	 /* looking for the line's end */
	WEIR_HEAD_DONE,	 /* head_len is set */
	WEIR_HEAD_SHORT, /* the bytes at hand end inside the head */
};

struct weir_head {
	weir_u32 pos;
	weir_u32 phase;		 /* enum weir_head_phase */
	weir_u32 len;		 /* bytes at hand */
	weir_u32 header;	 /* enum weir_header, of the line at hand */
	weir_u32 first_line_len; /* without its line end; 0: not known yet */
	weir_u32 head_len;	 /* with the empty line */
	struct {
		weir_u16 off; /* of the value, blanks before it included */
		weir_u16 end;
	} value[WEIR_HDR_MAX]; /* end 0: header not there; the first one counts */
	weir_u32 line;	       /* where the value of this line starts */
	weir_u32 digits;       /* reading a number; in memory for the same reason */
	weir_u64 number;
	weir_u8 bytes[WEIR_HEAD_SPACE] __attribute__((aligned(8)));
};

#define WEIR_ONES  0x0101010101010101ULL
#define WEIR_HIGHS 0x8080808080808080ULL
#define WEIR_LOWER 0x2020202020202020ULL

/* Eight characters as a little-endian word. */
#define WEIR_WORD(a, b, c, d, e, f, g, h)                                                          \
	((weir_u64)(a) | (weir_u64)(b) << 8 | (weir_u64)(c) << 16 | (weir_u64)(d) << 24 |          \
	 (weir_u64)(e) << 32 | (weir_u64)(f) << 40 | (weir_u64)(g) << 48 | (weir_u64)(h) << 56)

/* Index of the first byte of w that equals c, 8 if none. */
weir_inline weir_u32 weir_word_find(weir_u64 w, weir_u8 c)
{
	weir_u64 x = w ^ (WEIR_ONES * c);
	weir_u64 hit = (x - WEIR_ONES) & ~x & WEIR_HIGHS;

	if (!hit)
		return 8;
	hit &= -hit; /* the lowest one; higher ones may be false */
	return ((((hit >> 7) - 1) & WEIR_ONES) * WEIR_ONES) >> 56;
}

/* Lower case for the letters of a name, by 32 where it has one. Nothing for '-'
 * and ':', which CR and 1a would turn into. */
#define WEIR_FOLD(a, b, c, d, e, f, g, h)                                                          \
	WEIR_WORD((a) ? 32 : 0, (b) ? 32 : 0, (c) ? 32 : 0, (d) ? 32 : 0, (e) ? 32 : 0,            \
		  (f) ? 32 : 0, (g) ? 32 : 0, (h) ? 32 : 0)

/* Which header does a line start with? Names in any case; *skip: the name's
 * length with its colon. */
weir_inline weir_u32 weir_head_name(const weir_u8 *p, weir_u32 *skip)
{
	weir_u64 raw = weir_load64(p), next;

	switch (raw | WEIR_LOWER) {
	case WEIR_WORD('a', 'u', 't', 'h', 'o', 'r', 'i', 'z'):
		*skip = 14;
		next = weir_load64(p + 8) | WEIR_FOLD(1, 1, 1, 1, 1, 0, 0, 0);
		if (next << 16 == WEIR_WORD(0, 0, 'a', 't', 'i', 'o', 'n', ':'))
			return WEIR_HDR_AUTHORIZATION;
		break;
	case WEIR_WORD('x', '-', 'a', 'p', 'i', '-', 'k', 'e'):
		*skip = 10;
		next = weir_load64(p + 8) | WEIR_FOLD(1, 0, 0, 0, 0, 0, 0, 0);
		if (next << 48 == WEIR_WORD(0, 0, 0, 0, 0, 0, 'y', ':') && p[1] == '-' &&
		    p[5] == '-')
			return WEIR_HDR_X_API_KEY;
		break;
	case WEIR_WORD('a', 'p', 'i', '-', 'k', 'e', 'y', ':'):
		*skip = 8;
		if (p[3] == '-' && p[7] == ':')
			return WEIR_HDR_API_KEY;
		break;
	case WEIR_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-'):
		*skip = 15;
		next = weir_load64(p + 8) | WEIR_FOLD(1, 1, 1, 1, 1, 1, 0, 0);
		if (next << 8 == WEIR_WORD(0, 'l', 'e', 'n', 'g', 't', 'h', ':') && p[7] == '-')
			return WEIR_HDR_CONTENT_LENGTH;
		break;
	case WEIR_WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r'):
		*skip = 18;
		next = weir_load64(p + 8) | WEIR_FOLD(0, 1, 1, 1, 1, 1, 1, 1);
		if (next == WEIR_WORD('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n') &&
		    (p[16] | 0x20) == 'g' && p[17] == ':')
			return WEIR_HDR_TRANSFER_ENCODING;
		break;
	}
	*skip = 0;
	return WEIR_HDR_NONE;
}

/* Ready to scan len bytes already copied to h->bytes. */
weir_inline void weir_head_start(struct weir_head *h, weir_u32 len)
{
	h->pos = 0;
	h->phase = WEIR_HEAD_SEEK; /* the first line is no header */
	h->len = len;
	h->header = WEIR_HDR_NONE;
	h->first_line_len = 0;
	h->head_len = 0;
	h->line = 0;
	__builtin_memset(h->value, 0, sizeof(h->value));
}

/* One step: classify the start of a line, or look at eight bytes for its end. */
weir_inline void weir_head_step(struct weir_head *h)
{
	weir_u32 pos = *(volatile weir_u32 *)&h->pos;
	weir_u32 at = pos;

	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX || at >= h->len) {
		h->phase = WEIR_HEAD_SHORT;
		return;
	}
	const weir_u8 *p = h->bytes + at;

	if (h->phase == WEIR_HEAD_NAME) {
		weir_u32 skip;

		/* An empty line ends the head; a bare LF is read as servers read it. */
		if (p[0] == '\n' || (p[0] == '\r' && p[1] == '\n')) {
			weir_u32 total = pos + (p[0] == '\n' ? 1 : 2);

			h->phase = total <= h->len ? WEIR_HEAD_DONE : WEIR_HEAD_SHORT;
			h->head_len = total;
			return;
		}
		h->header = weir_head_name(p, &skip);
		h->line = pos + skip;
		h->pos = pos + skip;
		h->phase = WEIR_HEAD_SEEK;
		return;
	}

	weir_u32 n = weir_word_find(weir_load64(p), '\n');

	if (n == 8) {
		h->pos = pos + 8;
		return;
	}
	weir_u32 lf = pos + n;

	if (lf >= h->len) {
		h->phase = WEIR_HEAD_SHORT;
		return;
	}
	if (!h->first_line_len)
		h->first_line_len = lf ? lf : 1;
	weir_u32 header = h->header;

	if (header != WEIR_HDR_NONE) {
		weir_opaque(header); /* else both ends are tested in one, which 6.1 cannot follow */
		if (header < WEIR_HDR_MAX && !h->value[header].end) {
			h->value[header].off = h->line;
			h->value[header].end = lf;
		}
	}
	h->pos = lf + 1;
	h->phase = WEIR_HEAD_NAME;
}

#define WEIR_HEAD_STEPS 64

/* Up to WEIR_HEAD_STEPS steps. Returns 1 when the scan is over. */
weir_global int weir_head_run(struct weir_head *h)
{
	if (!h)
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_HEAD_STEPS; i++) {
		weir_head_step(h);
		if (*(volatile weir_u32 *)&h->phase >= WEIR_HEAD_DONE)
			return 1;
	}
	return 0;
}

/* The whole scan: a head of WEIR_HEAD_MAX bytes takes at most one step a word
 * and one a line. Returns the phase it ended in. */
weir_inline weir_u32 weir_head_scan(struct weir_head *h)
{
	for (int i = 0; i < 16; i++)
		if (weir_head_run(h))
			break;
	return h->phase == WEIR_HEAD_DONE ? WEIR_HEAD_DONE : WEIR_HEAD_SHORT;
}

/* Does the first line end like a request's ("… HTTP/1.x")? */
weir_inline bool weir_head_is_request(const struct weir_head *h)
{
	weir_u32 end = h->first_line_len;

	weir_opaque(end);
	if (end < 14 || end > WEIR_HEAD_MAX)
		return false;
	weir_u8 c = h->bytes[0];

	if (c < 'A' || c > 'Z')
		return false;
	if (h->bytes[end - 1] == '\r')
		end--;
	weir_opaque(end);
	if (end < 9 || end > WEIR_HEAD_MAX)
		return false;
	/* blank, then HTTP/1.x */
	return h->bytes[end - 9] == ' ' &&
	       (weir_load64(h->bytes + end - 8) & 0x00ffffffffffffffULL) ==
		       WEIR_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0);
}

/* Could these first bytes be the start of a request line? Cheap look before a copy. */
weir_inline bool weir_head_maybe_request(weir_u64 first8)
{
	/* A method is upper-case letters; the shortest, "GET /", has four before its slash. */
	weir_u64 upper = first8 & 0x00000000e0e0e0ULL;

	return upper == 0x404040;
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

		if (c == ' ' || c == '\t' || c == '\r') {
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

weir_inline bool weir_head_chunked(const struct weir_head *h)
{
	return h->value[WEIR_HDR_TRANSFER_ENCODING].end != 0;
}

/* The key's place: Authorization's bearer token, else x-api-key, else api-key;
 * blanks around it are not part of it. offset << 16 | length; 0: none. */
weir_global weir_u32 weir_head_key(const struct weir_head *h)
{
	if (!h)
		return 0;
	weir_u32 at, end;
	bool bearer = false;

	if (h->value[WEIR_HDR_AUTHORIZATION].end) {
		at = h->value[WEIR_HDR_AUTHORIZATION].off;
		end = h->value[WEIR_HDR_AUTHORIZATION].end;
		bearer = true;
	} else if (h->value[WEIR_HDR_X_API_KEY].end) {
		at = h->value[WEIR_HDR_X_API_KEY].off;
		end = h->value[WEIR_HDR_X_API_KEY].end;
	} else if (h->value[WEIR_HDR_API_KEY].end) {
		at = h->value[WEIR_HDR_API_KEY].off;
		end = h->value[WEIR_HDR_API_KEY].end;
	} else {
		return 0;
	}
	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX)
		return 0;
	for (int i = 0; i < 4; i++) {
		if (at >= WEIR_HEAD_MAX || (h->bytes[at] != ' ' && h->bytes[at] != '\t'))
			break;
		at++;
		weir_opaque(at);
	}
	if (at >= WEIR_HEAD_MAX)
		return 0;
	if (bearer) {
		weir_u64 w = (weir_load64(h->bytes + at) | 0x0000202020202020ULL) &
			     0x00ffffffffffffffULL;

		if (w != WEIR_WORD('b', 'e', 'a', 'r', 'e', 'r', ' ', 0))
			return 0;
		at += 7;
		for (int i = 0; i < 4; i++) {
			weir_opaque(at);
			if (at >= WEIR_HEAD_MAX || h->bytes[at] != ' ')
				break;
			at++;
		}
	}
	for (int i = 0; i < 4; i++) {
		weir_u32 last = end - 1;

		weir_opaque(last);
		if (last >= WEIR_HEAD_MAX || last < at)
			break;
		weir_u8 c = h->bytes[last];

		if (c != '\r' && c != ' ' && c != '\t')
			break;
		end--;
	}
	if (end <= at)
		return 0;
	return at << 16 | (end - at);
}

#endif
