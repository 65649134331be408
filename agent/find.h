/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the next byte that matters, fast: 16 bytes a step with SSE2, 8 with
 * plain words elsewhere. What the parsers of an answer spend their time in.
 * Never reads at or past `end`.
 */
#ifndef WEIR_FIND_H
#define WEIR_FIND_H

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum weir_find_class {
	WEIR_FIND_STRING_END, /* " and \ */
	WEIR_FIND_NESTING,    /* " [ ] { } */
	WEIR_FIND_LINE_END,   /* CR and LF */
};

#define WEIR_FIND_INLINE static inline __attribute__((always_inline))

WEIR_FIND_INLINE int weir_find_is(uint8_t c, enum weir_find_class what)
{
	switch (what) {
	case WEIR_FIND_STRING_END:
		return c == '"' || c == '\\';
	case WEIR_FIND_NESTING:
		/* [ and ] differ from { and } in one bit */
		return (c | 0x20) == '{' || (c | 0x20) == '}' || c == '"';
	default:
		return c == '\n' || c == '\r';
	}
}

#ifdef __SSE2__
#define WEIR_FIND_STEP 16

/* Bit i: byte i of the 16 at p is of the class. */
WEIR_FIND_INLINE uint32_t weir_find_mask(const uint8_t *p, enum weir_find_class what)
{
	__m128i v = _mm_loadu_si128((const __m128i *)p);
	__m128i folded, hit;

	switch (what) {
	case WEIR_FIND_STRING_END:
		hit = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
				   _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
		break;
	case WEIR_FIND_NESTING:
		folded = _mm_or_si128(v, _mm_set1_epi8(0x20));
		hit = _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')),
				   _mm_cmpeq_epi8(folded, _mm_set1_epi8('}')));
		hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
		break;
	default:
		hit = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')),
				   _mm_cmpeq_epi8(v, _mm_set1_epi8('\r')));
	}
	return (uint32_t)_mm_movemask_epi8(hit);
}

WEIR_FIND_INLINE unsigned weir_find_first(uint32_t mask)
{
	return (unsigned)__builtin_ctz(mask);
}

#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WEIR_FIND_STEP 8
#define WEIR_FIND_ONES UINT64_C(0x0101010101010101)

/* High bit of each zero byte. A byte above a zero byte may be marked wrongly
 * (the borrow), one below never: so the lowest mark is always right. */
WEIR_FIND_INLINE uint64_t weir_find_zero(uint64_t w)
{
	return (w - WEIR_FIND_ONES) & ~w & (WEIR_FIND_ONES << 7);
}

WEIR_FIND_INLINE uint64_t weir_find_mask(const uint8_t *p, enum weir_find_class what)
{
	uint64_t w, folded;

	memcpy(&w, p, sizeof(w));
	switch (what) {
	case WEIR_FIND_STRING_END:
		return weir_find_zero(w ^ WEIR_FIND_ONES * '"') |
		       weir_find_zero(w ^ WEIR_FIND_ONES * '\\');
	case WEIR_FIND_NESTING:
		folded = w | WEIR_FIND_ONES * 0x20;
		return weir_find_zero(folded ^ WEIR_FIND_ONES * '{') |
		       weir_find_zero(folded ^ WEIR_FIND_ONES * '}') |
		       weir_find_zero(w ^ WEIR_FIND_ONES * '"');
	default:
		return weir_find_zero(w ^ WEIR_FIND_ONES * '\n') |
		       weir_find_zero(w ^ WEIR_FIND_ONES * '\r');
	}
}

WEIR_FIND_INLINE unsigned weir_find_first(uint64_t mask)
{
	return (unsigned)__builtin_ctzll(mask) / 8;
}
#endif

/* The first byte of [p, end) that is of the class, or end. */
WEIR_FIND_INLINE const uint8_t *weir_find(const uint8_t *p, const uint8_t *end,
					  enum weir_find_class what)
{
#ifdef WEIR_FIND_STEP
	while (end - p >= WEIR_FIND_STEP) {
		__typeof__(weir_find_mask(p, what)) mask = weir_find_mask(p, what);

		if (mask)
			return p + weir_find_first(mask);
		p += WEIR_FIND_STEP;
	}
#endif
	while (p < end && !weir_find_is(*p, what))
		p++;
	return p;
}

#endif
