/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SHA-256 (FIPS 180-4) of a short message, for API keys. Keys are stored and
 * compared only as their hash. One block, rounds unrolled, costs about 0.36 µs;
 * keys of up to 55 bytes are one block.
 */
#ifndef WEIR_SHA256_H
#define WEIR_SHA256_H

#include "base.h"

#define WEIR_SHA_MAX 247 /* longest message: four blocks with padding */

struct weir_sha256 {
	weir_u32 state[8];
	weir_u32 w[64];	      /* message schedule; on the stack it does not fit */
	weir_u8 message[256]; /* padded, whole blocks */
	weir_u32 len;
	weir_u32 at; /* padding: next word */
};

/* A global and not static: clang 14 gives a static array a BTF the kernel refuses. */
#ifndef __bpf__
static
#endif
	const weir_u32 weir_sha256_k[64] = {
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
		0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
		0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
		0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
		0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
		0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
		0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
		0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
		0xc67178f2,
	};

#define WEIR_ROTR(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

/* One round; the caller rotates the names instead of the values. */
#define WEIR_SHA_ROUND(a, b, c, d, e, f, g, h, i)                                                  \
	do {                                                                                       \
		weir_u32 t1 = (h) + (WEIR_ROTR(e, 6) ^ WEIR_ROTR(e, 11) ^ WEIR_ROTR(e, 25)) +      \
			      ((g) ^ ((e) & ((f) ^ (g)))) + weir_sha256_k[i] + s->w[i];            \
		(d) += t1;                                                                         \
		(h) = t1 + (WEIR_ROTR(a, 2) ^ WEIR_ROTR(a, 13) ^ WEIR_ROTR(a, 22)) +               \
		      (((a) & (b)) | ((c) & ((a) | (b))));                                         \
	} while (0)

/* Fold block number `block` of s->message into s->state. Returns 0. */
weir_global int weir_sha256_block(struct weir_sha256 *s, weir_u32 block)
{
	if (!s || block > 3)
		return 0;
	const weir_u8 *m = s->message + block * 64;

#pragma clang loop unroll(full)
	for (int i = 0; i < 16; i++)
		s->w[i] = weir_swap32(weir_load32(m + i * 4));
#pragma clang loop unroll_count(8)
	for (int i = 16; i < 64; i++) {
		weir_u32 x = s->w[i - 15], y = s->w[i - 2];

		s->w[i] = s->w[i - 16] + (WEIR_ROTR(x, 7) ^ WEIR_ROTR(x, 18) ^ (x >> 3)) +
			  s->w[i - 7] + (WEIR_ROTR(y, 17) ^ WEIR_ROTR(y, 19) ^ (y >> 10));
	}

	weir_u32 a = s->state[0], b = s->state[1], c = s->state[2], d = s->state[3];
	weir_u32 e = s->state[4], f = s->state[5], g = s->state[6], h = s->state[7];

#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i += 8) {
		WEIR_SHA_ROUND(a, b, c, d, e, f, g, h, i);
		WEIR_SHA_ROUND(h, a, b, c, d, e, f, g, i + 1);
		WEIR_SHA_ROUND(g, h, a, b, c, d, e, f, i + 2);
		WEIR_SHA_ROUND(f, g, h, a, b, c, d, e, i + 3);
		WEIR_SHA_ROUND(e, f, g, h, a, b, c, d, i + 4);
		WEIR_SHA_ROUND(d, e, f, g, h, a, b, c, i + 5);
		WEIR_SHA_ROUND(c, d, e, f, g, h, a, b, i + 6);
		WEIR_SHA_ROUND(b, c, d, e, f, g, h, a, i + 7);
	}

	s->state[0] += a;
	s->state[1] += b;
	s->state[2] += c;
	s->state[3] += d;
	s->state[4] += e;
	s->state[5] += f;
	s->state[6] += g;
	s->state[7] += h;
	return 0;
}

/* Write the next word of the padded message: whole ones, then the cut one with the
 * 1 bit behind its bytes, then zeros. true: `end` is reached. Length and place are
 * read from memory at each step, or 6.1 follows every pair of them (see http_head.h). */
weir_inline bool weir_sha256_pad(struct weir_sha256 *s, const weir_u8 *from, weir_u32 end)
{
	weir_u32 at = *(volatile weir_u32 *)&s->at, len = *(volatile weir_u32 *)&s->len;
	weir_u64 word = 0;

	if (at >= end)
		return true;
	weir_opaque(at);
	if (at > sizeof(s->message) - 8)
		return true;
	if (at <= len) {
		weir_u32 left = len - at;

		word = weir_load64(from + at);
		if (left < 8)
			word = (word & ((1ULL << (left * 8)) - 1)) | 0x80ULL << (left * 8);
	}
	weir_store64(s->message + at, word);
	s->at = at + 8;
	return false;
}

/* Hash `len` (<= WEIR_SHA_MAX) bytes at from, of which 256 must be readable. Result: state[], as
 * words (weir_sha256_digest gives the bytes). Returns 0, or -1 for a message that is too long. */
weir_inline int weir_sha256_short(struct weir_sha256 *s, const weir_u8 *from, weir_u32 len)
{
	weir_u32 blocks = (len + 9 + 63) / 64;

	if (len > WEIR_SHA_MAX)
		return -1;
	s->state[0] = 0x6a09e667;
	s->state[1] = 0xbb67ae85;
	s->state[2] = 0x3c6ef372;
	s->state[3] = 0xa54ff53a;
	s->state[4] = 0x510e527f;
	s->state[5] = 0x9b05688c;
	s->state[6] = 0x1f83d9ab;
	s->state[7] = 0x5be0cd19;
	*(volatile weir_u32 *)&s->len = len;
	*(volatile weir_u32 *)&s->at = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 32; i++)
		if (weir_sha256_pad(s, from, blocks * 64))
			break;
	/* Length in bits, big-endian, in the last two bytes: it is below 2^16. */
	weir_u32 tail = (blocks * 64 - 2) & 255;

	weir_opaque(tail);
	if (tail > 254)
		return -1;
	s->message[tail] = len >> 5;
	s->message[tail + 1] = len << 3;
	for (weir_u32 i = 0; i < 4; i++) {
		if (i >= blocks)
			break;
		weir_sha256_block(s, i);
	}
	return 0;
}

weir_inline void weir_sha256_digest(const struct weir_sha256 *s, weir_u8 out[32])
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++)
		weir_store32(out + i * 4, weir_swap32(s->state[i]));
}

#endif
