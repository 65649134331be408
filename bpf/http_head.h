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

#define WEIR_HEAD_MAX	16384 /* longest head that is judged */
#define WEIR_HEAD_LINES 256   /* most lines, without the empty one */
#define WEIR_HEAD_BLANK 64    /* most bytes of empty lines before the first */
#define WEIR_HEAD_LOAD	2048  /* bytes taken from a packet at a time */
#define WEIR_NAME_LOOK	18    /* bytes that tell every header we know, colon included */
#define WEIR_HEAD_SPACE                                                                            \
	(WEIR_HEAD_MAX + WEIR_HEAD_LOAD + 320) /* readable past the end: whole keys, whole words   \
						*/

/* Headers a verdict depends on. */
enum weir_header {
	WEIR_HDR_NONE,
	WEIR_HDR_AUTHORIZATION,
	WEIR_HDR_X_API_KEY,
	WEIR_HDR_API_KEY,
	WEIR_HDR_CONTENT_LENGTH,
	WEIR_HDR_TRANSFER_ENCODING,
	WEIR_HDR_UPGRADE,
	WEIR_HDR_TENANT, /* x-weir-tenant */
	WEIR_HDR_CONTENT_ENCODING,
	WEIR_HDR_MAX,
	WEIR_HDR_KEPT = 16, /* not one of them, but its line may be wanted */
};

/* Two more than there are: ABI 4's readers, which are taken over, knew two more headers. */
#define WEIR_HDR_PLACES 11

/* More than are ever shipped: what only begins like a wanted name is kept, too. */
#define WEIR_HEAD_KEPT 32

enum weir_head_phase {
	WEIR_HEAD_EMPTY, /* before the first line: CR and LF are skipped */
	WEIR_HEAD_FIRST, /* in the first line */
	WEIR_HEAD_NAME,	 /* pos is at the start of a header line */
	WEIR_HEAD_COLON, /* in the name of a header that we do not know */
	WEIR_HEAD_VALUE, /* looking for the line's end */
};

enum weir_head_result {
	WEIR_HEAD_MORE, /* the bytes at hand end inside the head */
	WEIR_HEAD_DONE, /* head_len is set */
	WEIR_HEAD_BAD,	/* of a form that servers read differently (forms.md) */
	WEIR_HEAD_TOO_LARGE,
};

struct weir_head {
	weir_u32 pos;
	weir_u32 phase;	 /* enum weir_head_phase */
	weir_u32 result; /* enum weir_head_result */
	weir_u32 stuck;	 /* 1: the next step needs more bytes */
	weir_u32 len;	 /* bytes at hand */
	weir_u32 lines;
	weir_u32 header;    /* enum weir_header, of the line at hand */
	weir_u32 line;	    /* where the value of this line starts */
	weir_u32 start;	    /* of the first line */
	weir_u32 first_end; /* of the first line, without its line end */
	weir_u32 head_len;  /* with what is before the first line, and the empty line */
	weir_u32 repeated;  /* bit per enum weir_header that came twice */
	struct {
		weir_u16 off;	  /* of the value, blanks before it included */
		weir_u16 end;	  /* without CR LF */
	} value[WEIR_HDR_PLACES]; /* end 0: header not there; the first one counts */
	/* Lines that line_bits (weir_line_bit) has, of headers that we do not know. */
	weir_u64 line_bits;
	weir_u32 n_kept;
	weir_u32 pad_kept;
	struct {
		weir_u16 off; /* of its name */
		weir_u16 end; /* without CR LF */
	} kept[WEIR_HEAD_KEPT];
	weir_u32 digits; /* reading a number; in memory for the same reason */
	weir_u32 pad;
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

/* Index of the lowest byte marked by its high bit, 8 if none; marks above it may be false. */
weir_inline weir_u32 weir_word_first(weir_u64 hit)
{
	if (!hit)
		return 8;
	hit &= -hit;
	return ((((hit >> 7) - 1) & WEIR_ONES) * WEIR_ONES) >> 56;
}

/* Marks each zero byte of w, exactly. */
weir_inline weir_u64 weir_word_zeros(weir_u64 w)
{
	return ~(((w & ~WEIR_HIGHS) + ~WEIR_HIGHS) | w) & WEIR_HIGHS;
}

/* Marks each byte of w below 20, but for TAB. */
weir_inline weir_u64 weir_word_controls(weir_u64 w)
{
	return weir_word_zeros(w & (WEIR_ONES * 0xe0)) & ~weir_word_zeros(w ^ (WEIR_ONES * '\t'));
}

/* Index of the first byte of w that equals c, 8 if none. */
weir_inline weir_u32 weir_word_find(weir_u64 w, weir_u8 c)
{
	weir_u64 x = w ^ (WEIR_ONES * c);
	weir_u64 hit = (x - WEIR_ONES) & ~x & WEIR_HIGHS;

	return weir_word_first(hit);
}

/* Marks each byte of w below c (<= 80); exact for the lowest. */
weir_inline weir_u64 weir_word_below(weir_u64 w, weir_u8 c)
{
	return (w - WEIR_ONES * c) & ~w & WEIR_HIGHS;
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
	case WEIR_WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', ':'):
		*skip = 8;
		if (p[7] == ':')
			return WEIR_HDR_UPGRADE;
		break;
	case WEIR_WORD('x', '-', 'w', 'e', 'i', 'r', '-', 't'):
		*skip = 14;
		next = weir_load64(p + 8) | WEIR_FOLD(1, 1, 1, 1, 1, 0, 0, 0);
		if (next << 16 == WEIR_WORD(0, 0, 'e', 'n', 'a', 'n', 't', ':') && p[1] == '-' &&
		    p[6] == '-')
			return WEIR_HDR_TENANT;
		break;
	case WEIR_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-'):
		*skip = 15;
		next = weir_load64(p + 8) | WEIR_FOLD(1, 1, 1, 1, 1, 1, 0, 0);
		if (next << 8 == WEIR_WORD(0, 'l', 'e', 'n', 'g', 't', 'h', ':') && p[7] == '-')
			return WEIR_HDR_CONTENT_LENGTH;
		*skip = 17;
		next = weir_load64(p + 8) | WEIR_LOWER;
		if (next == WEIR_WORD('e', 'n', 'c', 'o', 'd', 'i', 'n', 'g') && p[16] == ':' &&
		    p[7] == '-')
			return WEIR_HDR_CONTENT_ENCODING;
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

/* Ready for the bytes of a head; of a request (blank lines may come first) or a response. Lines
 * are kept if line_bits is set behind it. */
weir_inline void weir_head_start(struct weir_head *h, bool request)
{
	h->pos = 0;
	h->phase = request ? WEIR_HEAD_EMPTY : WEIR_HEAD_FIRST;
	h->result = WEIR_HEAD_MORE;
	h->stuck = 0;
	h->len = 0;
	h->lines = 1;
	h->header = WEIR_HDR_NONE;
	h->line = 0;
	h->start = 0;
	h->first_end = 0;
	h->head_len = 0;
	h->repeated = 0;
	__builtin_memset(h->value, 0, sizeof(h->value));
	h->line_bits = 0;
	h->n_kept = 0;
}

/* A line has ended: its last byte is before `end`, the next line begins at `next`. */
weir_inline void weir_head_line(struct weir_head *h, weir_u32 end, weir_u32 next)
{
	weir_u32 header = h->header;

	h->pos = next;
	if (h->phase == WEIR_HEAD_FIRST) {
		h->first_end = end;
	} else if (header == WEIR_HDR_KEPT) {
		weir_u32 n = h->n_kept;

		weir_opaque(n);
		if (n < WEIR_HEAD_KEPT) {
			h->kept[n].off = h->line;
			h->kept[n].end = end;
			h->n_kept = n + 1;
		}
	} else if (header != WEIR_HDR_NONE) {
		weir_opaque(header); /* else both ends are tested in one, which 6.1 cannot follow */
		if (header < WEIR_HDR_MAX) {
			if (h->value[header].end) {
				h->repeated |= 1U << header;
			} else {
				h->value[header].off = h->line;
				h->value[header].end = end;
			}
		}
	}
	h->phase = WEIR_HEAD_NAME;
}

/* Index of the first LF of 24 bytes, 24 if none. */
weir_inline weir_u32 weir_line_feed(const weir_u8 *p)
{
	weir_u32 n = weir_word_find(weir_load64(p), '\n');

	if (n == 8)
		n += weir_word_find(weir_load64(p + 8), '\n');
	if (n == 16)
		n += weir_word_find(weir_load64(p + 16), '\n');
	return n;
}

/* At the start of a header line, of which `left` bytes are at hand. */
weir_inline void weir_head_name_step(struct weir_head *h, const weir_u8 *p, weir_u32 pos,
				     weir_u32 left)
{
	weir_u32 skip, header;

	if (p[0] == '\n' || p[0] == '\r') {
		weir_u32 total = pos + (p[0] == '\n' ? 1 : 2);

		if (p[0] == '\r' && left < 2) {
			h->stuck = 1;
			return;
		}
		h->result = WEIR_HEAD_DONE;
		if (p[0] == '\r' && p[1] != '\n')
			h->result = WEIR_HEAD_BAD;
		if (total > WEIR_HEAD_MAX)
			h->result = WEIR_HEAD_TOO_LARGE;
		h->head_len = total;
		return;
	}
	if (p[0] == ' ' || p[0] == '\t' || p[0] == ':') {
		h->result = WEIR_HEAD_BAD;
		return;
	}
	/* A name is looked at whole, or with the line's end: no name holds an LF. */
	if (left < WEIR_NAME_LOOK && weir_line_feed(p) >= left) {
		h->stuck = 1;
		return;
	}
	if (++h->lines > WEIR_HEAD_LINES) {
		h->result = WEIR_HEAD_TOO_LARGE;
		return;
	}
	header = weir_head_name(p, &skip);
	h->line = pos + skip;
	h->pos = pos + skip;
	h->phase = header == WEIR_HDR_NONE ? WEIR_HEAD_COLON : WEIR_HEAD_VALUE;
	if (header == WEIR_HDR_NONE && (h->line_bits & weir_line_bit(weir_load64(p) | WEIR_LOWER)))
		header = WEIR_HDR_KEPT;
	h->header = header;
}

/* One step: the start of a line, or eight bytes of one. */
weir_inline void weir_head_step(struct weir_head *h)
{
	weir_u32 pos = *(volatile weir_u32 *)&h->pos;
	weir_u32 at = pos, left = h->len - pos, phase = h->phase, n;
	weir_u64 w, hit;

	weir_opaque(at);
	if (at >= WEIR_HEAD_MAX + WEIR_HEAD_LOAD || at >= h->len) {
		h->stuck = 1;
		return;
	}
	const weir_u8 *p = h->bytes + at;

	if (phase == WEIR_HEAD_EMPTY) {
		if (p[0] != '\r' && p[0] != '\n') {
			h->start = pos;
			h->phase = WEIR_HEAD_FIRST;
			return;
		}
		h->pos = pos + 1;
		if (pos >= WEIR_HEAD_BLANK)
			h->result = WEIR_HEAD_BAD;
		return;
	}
	if (phase == WEIR_HEAD_NAME) {
		weir_head_name_step(h, p, pos, left);
		return;
	}
	w = weir_load64(p);
	if (phase == WEIR_HEAD_COLON) {
		weir_u64 x = w ^ (WEIR_ONES * ':');

		hit = ((x - WEIR_ONES) & ~x & WEIR_HIGHS) | weir_word_below(w, 0x21);
	} else {
		hit = phase == WEIR_HEAD_FIRST ? weir_word_below(w, 0x20) : weir_word_controls(w);
		/* A long value, 32 bytes at a time; TABs in it do not matter here. */
		if (!hit && left >= 32 && phase == WEIR_HEAD_VALUE) {
			hit = weir_word_below(weir_load64(p + 8), 0x20) |
			      weir_word_below(weir_load64(p + 16), 0x20) |
			      weir_word_below(weir_load64(p + 24), 0x20);
			h->pos = pos + (hit ? 8 : 32);
			return;
		}
	}
	n = weir_word_first(hit);
	if (n >= left) {
		h->stuck = 1;
		return;
	}
	if (n == 8) {
		h->pos = pos + 8;
		return;
	}
	weir_u8 c = p[n & 7];

	if (phase == WEIR_HEAD_COLON) {
		h->pos = pos + n + 1;
		h->phase = WEIR_HEAD_VALUE;
		if (c != ':')
			h->result = WEIR_HEAD_BAD;
		return;
	}
	if (c == '\n') {
		weir_head_line(h, pos + n, pos + n + 1);
	} else if (c == '\r') {
		if (n + 1 >= left)
			h->stuck = 1;
		else if (p[(n & 7) + 1] == '\n')
			weir_head_line(h, pos + n, pos + n + 2);
		else
			h->result = WEIR_HEAD_BAD;
	} else {
		h->result = WEIR_HEAD_BAD;
	}
}

#define WEIR_HEAD_STEPS 64

/* Up to WEIR_HEAD_STEPS steps. Returns 1 when the scan is over, or needs more bytes. */
weir_global int weir_head_run(struct weir_head *h)
{
	if (!h)
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_HEAD_STEPS; i++) {
		weir_head_step(h);
		if (*(volatile weir_u32 *)&h->result != WEIR_HEAD_MORE ||
		    *(volatile weir_u32 *)&h->stuck)
			return 1;
	}
	return 0;
}

/* For WEIR_HEAD_LOAD bytes: a step a word, and four a line. */
#define WEIR_HEAD_RUNS 24

/* Scan the `n` (<= WEIR_HEAD_LOAD) bytes that were added at h->bytes + h->len. Returns the
 * result so far. */
weir_inline weir_u32 weir_head_scan(struct weir_head *h, weir_u32 n)
{
	h->len += n;
	h->stuck = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_HEAD_RUNS; i++)
		if (weir_head_run(h))
			return h->result;
	/* Does not happen: never MORE for bytes that were not looked at. */
	h->result = WEIR_HEAD_BAD;
	return h->result;
}

/* The word-at-a-time hash by which a resent head is known again: keyed, so that nobody
 * outside can make two alike. */
weir_inline weir_u64 weir_hash_word(weir_u64 hash, weir_u64 w, weir_u64 key)
{
	hash = (hash ^ w) * (key | 1);
	return hash ^ hash >> 29;
}

#endif
