/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Follows the chunks of a chunked body (RFC 9112 7.1) to find its end, without
 * looking at the data: the state is what is left of the chunk and where in its
 * framing the next byte stands. It sees a body through small windows, and says
 * how far to move each time, so that data is stepped over and never read.
 */
#ifndef WEIR_CHUNKED_H
#define WEIR_CHUNKED_H

#include "base.h"

enum weir_chunk_phase {
	WEIR_CHUNK_SIZE,
	WEIR_CHUNK_EXTENSION, /* behind the size, up to its LF */
	WEIR_CHUNK_DATA,
	WEIR_CHUNK_DATA_END,   /* the CR LF behind the data */
	WEIR_CHUNK_TRAILER,    /* start of a trailer line; an empty one is the end */
	WEIR_CHUNK_TRAILER_CR, /* a CR at the start of a line */
	WEIR_CHUNK_TRAILER_LINE,
	WEIR_CHUNK_SIZE_LF,	/* strict: an LF must follow */
	WEIR_CHUNK_DATA_LF,	/* as above */
	WEIR_CHUNK_TRAILER_END, /* as above, of a trailer line */
	WEIR_CHUNK_DONE,
	WEIR_CHUNK_BAD,
};

struct weir_chunk {
	weir_u64 left; /* SIZE: digits so far; DATA: bytes to go */
	weir_u32 phase;
	weir_u32 digits;
};

weir_inline void weir_chunk_byte(struct weir_chunk *c, weir_u8 b)
{
	weir_u32 digit;

	switch (c->phase) {
	case WEIR_CHUNK_SIZE:
		if (b >= '0' && b <= '9')
			digit = b - '0';
		else if ((b | 0x20) >= 'a' && (b | 0x20) <= 'f')
			digit = (b | 0x20) - 'a' + 10;
		else
			digit = 16;
		if (digit < 16) {
			/* Twelve digits are 256 TiB: more is an attack on our arithmetic. */
			if (++c->digits > 12)
				c->phase = WEIR_CHUNK_BAD;
			c->left = c->left << 4 | digit;
			return;
		}
		if (!c->digits) {
			c->phase = WEIR_CHUNK_BAD;
			return;
		}
		c->digits = 0;
		if (b != '\n') {
			c->phase = b == '\r' || b == ';' || b == ' ' || b == '\t'
					   ? WEIR_CHUNK_EXTENSION
					   : WEIR_CHUNK_BAD;
			return;
		}
		c->phase = c->left ? WEIR_CHUNK_DATA : WEIR_CHUNK_TRAILER;
		return;
	case WEIR_CHUNK_EXTENSION:
		if (b == '\n')
			c->phase = c->left ? WEIR_CHUNK_DATA : WEIR_CHUNK_TRAILER;
		return;
	case WEIR_CHUNK_DATA_END:
		if (b == '\n')
			c->phase = WEIR_CHUNK_SIZE;
		else if (b != '\r')
			c->phase = WEIR_CHUNK_BAD;
		return;
	case WEIR_CHUNK_TRAILER:
	case WEIR_CHUNK_TRAILER_CR:
		if (b == '\n')
			c->phase = WEIR_CHUNK_DONE;
		else
			c->phase = b == '\r' && c->phase == WEIR_CHUNK_TRAILER
					   ? WEIR_CHUNK_TRAILER_CR
					   : WEIR_CHUNK_TRAILER_LINE;
		return;
	case WEIR_CHUNK_TRAILER_LINE:
		if (b == '\n')
			c->phase = WEIR_CHUNK_TRAILER;
		return;
	}
}

/* The same for requests, where a framing that servers read differently would let a second
 * request through behind this one: CR LF or nothing, no control characters. */
weir_inline void weir_chunk_byte_strict(struct weir_chunk *c, weir_u8 b)
{
	weir_u32 phase = c->phase;

	if (phase == WEIR_CHUNK_SIZE) {
		weir_chunk_byte(c, b);
		if (c->phase == WEIR_CHUNK_EXTENSION && b == '\r')
			c->phase = WEIR_CHUNK_SIZE_LF;
		if (b == '\n')
			c->phase = WEIR_CHUNK_BAD;
		return;
	}
	if (phase == WEIR_CHUNK_SIZE_LF) {
		c->phase = b != '\n' ? WEIR_CHUNK_BAD
			   : c->left ? WEIR_CHUNK_DATA
				     : WEIR_CHUNK_TRAILER;
		return;
	}
	if (phase == WEIR_CHUNK_DATA_END) {
		c->phase = b == '\r' ? WEIR_CHUNK_DATA_LF : WEIR_CHUNK_BAD;
		return;
	}
	if (phase == WEIR_CHUNK_DATA_LF) {
		c->phase = b == '\n' ? WEIR_CHUNK_SIZE : WEIR_CHUNK_BAD;
		return;
	}
	if (phase == WEIR_CHUNK_TRAILER_CR) {
		c->phase = b == '\n' ? WEIR_CHUNK_DONE : WEIR_CHUNK_BAD;
		return;
	}
	if (phase == WEIR_CHUNK_TRAILER_END) {
		c->phase = b == '\n' ? WEIR_CHUNK_TRAILER : WEIR_CHUNK_BAD;
		return;
	}
	/* an extension, or a trailer line */
	if (b == '\r') {
		c->phase = phase == WEIR_CHUNK_EXTENSION ? WEIR_CHUNK_SIZE_LF
			   : phase == WEIR_CHUNK_TRAILER ? WEIR_CHUNK_TRAILER_CR
							 : WEIR_CHUNK_TRAILER_END;
		return;
	}
	if (b < 0x20 && b != '\t')
		c->phase = WEIR_CHUNK_BAD;
	else if (phase == WEIR_CHUNK_TRAILER)
		c->phase = WEIR_CHUNK_TRAILER_LINE;
}

/* One byte of framing; by itself, or the verifier follows all eight in every order. */
weir_global int weir_chunk_step(struct weir_chunk *c, weir_u32 b, weir_u32 strict)
{
	if (!c)
		return 0;
	if (strict)
		weir_chunk_byte_strict(c, b);
	else
		weir_chunk_byte(c, b);
	return 0;
}

#define WEIR_CHUNK_WINDOW 8

/* Look at a window of n <= WEIR_CHUNK_WINDOW bytes with `rest` bytes at hand from
 * its start. Returns how many bytes are done with: up to rest, never 0 unless
 * the phase is DONE or BAD. */
weir_inline weir_u32 weir_chunk_window(struct weir_chunk *c, const weir_u8 *window, weir_u32 n,
				       weir_u32 rest, bool strict)
{
	weir_u32 used = 0;

#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_CHUNK_WINDOW; i++) {
		if (i >= n || c->phase == WEIR_CHUNK_DATA || c->phase >= WEIR_CHUNK_DONE)
			break;
		weir_chunk_step(c, window[i], strict);
		used++;
	}
	if (c->phase == WEIR_CHUNK_DATA) {
		weir_u64 step = rest - used;

		if (step >= c->left) {
			step = c->left;
			c->phase = WEIR_CHUNK_DATA_END;
		}
		c->left -= step;
		used += step;
	}
	return used;
}

#endif
