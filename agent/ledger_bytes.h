/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of a body: varints (LEB128), signed ones zigzag, strings with a length. Shared by the
 * files that lay bodies down (ledger_encode*.c).
 */
#ifndef WEIR_LEDGER_BYTES_H
#define WEIR_LEDGER_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "agent/ledger_encode.h"

/* ------------------------------------------------------------------ writing */

/* So that `more` bytes fit behind len. 0 or -ENOMEM. */
int weir_bytes_reserve(struct weir_bytes *b, size_t more);

static inline uint8_t *weir_put(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

static inline uint8_t *weir_put_signed(uint8_t *p, int64_t v)
{
	return weir_put(p, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

static inline uint8_t *weir_put_str(uint8_t *p, const char *s, size_t max)
{
	size_t n = strnlen(s, max);

	p = weir_put(p, n);
	memcpy(p, s, n);
	return p + n;
}

/* ------------------------------------------------------------------ reading */

/* Reads past the end give zeros and set bad: checked once, at the end. */
struct weir_cursor {
	const uint8_t *p, *end;
	bool bad;
};

static inline uint64_t weir_get(struct weir_cursor *c)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; c->p < c->end && shift < 64; shift += 7) {
		uint8_t b = *c->p++;

		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

static inline uint64_t weir_get_max(struct weir_cursor *c, uint64_t max)
{
	uint64_t v = weir_get(c);

	if (v > max) {
		c->bad = true;
		return 0;
	}
	return v;
}

static inline int64_t weir_get_signed(struct weir_cursor *c)
{
	uint64_t v = weir_get(c);

	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline void weir_get_bytes(struct weir_cursor *c, void *out, size_t n)
{
	if ((size_t)(c->end - c->p) < n) {
		c->bad = true;
		return;
	}
	memcpy(out, c->p, n);
	c->p += n;
}

/* out is zero already, so that it comes out NUL padded. */
static inline void weir_get_str(struct weir_cursor *c, char *out, size_t max)
{
	weir_get_bytes(c, out, weir_get_max(c, max));
}

/* ------------------------------------------------------------- moves and positions */

/* Room that n moves take at most. */
#define WEIR_MOVES_MAX(n) (10 + 21 * (n))

uint8_t *weir_put_moves(uint8_t *p, const struct weir_posting *post);
/* 0 or -ENOMEM; what is wrong sets bad. */
int weir_get_moves(struct weir_cursor *c, struct weir_posting *post);
/* As it was before moves had purses: debt made (repaid: below 0), then lots burnt. */
int weir_get_burns(struct weir_cursor *c, struct weir_posting *post);

/* 0 to WEIR_DIM_MAX of them. */
uint8_t *weir_put_positions(uint8_t *p, const struct weir_posting *post);
void weir_get_positions(struct weir_cursor *c, struct weir_posting *post);

#endif
