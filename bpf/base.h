/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the logic headers need to compile twice: into BPF after vmlinux.h, and
 * natively into unit tests, fuzzers and the reference model. No kernel call may
 * appear in a logic header.
 */
#ifndef WEIR_BASE_H
#define WEIR_BASE_H

#include "weir_abi.h"

#ifdef __bpf__
#define weir_inline static __always_inline
/* Verified once, by itself; its arguments are opaque to its callers. */
#define weir_global __attribute__((noinline))
#else
#include <stdbool.h>
/* gcc does not know clang's loop pragmas, which only matter to the verifier. */
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#define weir_inline static inline __attribute__((unused))
#define weir_global static inline __attribute__((unused))
#endif

/* Stops the compiler from merging or re-deriving a bounds check that the
 * verifier must see on this very register (6.1 loses the range otherwise). */
#define weir_opaque(x) asm volatile("" : "+r"(x))

/* Is *n within 1 to max, and does the verifier know it? A length given to a helper
 * must not be 0, and 6.1 learns nothing from "not 0": the test is made one lower. */
weir_inline bool weir_within(weir_u32 *n, weir_u32 max)
{
	weir_u32 last = *n - 1;

	weir_opaque(last);
	*n = last + 1;
	return last < max;
}

/* Unaligned words. BPF has unaligned loads (except on the stack), but clang
 * splits a memcpy of unknown alignment into bytes. */
#ifdef __bpf__
weir_inline weir_u64 weir_load64(const void *p)
{
	return *(const weir_u64 *)p;
}

weir_inline weir_u32 weir_load32(const void *p)
{
	return *(const weir_u32 *)p;
}

weir_inline void weir_store64(void *p, weir_u64 v)
{
	*(weir_u64 *)p = v;
}

weir_inline void weir_store32(void *p, weir_u32 v)
{
	*(weir_u32 *)p = v;
}

weir_inline void weir_store16(void *p, weir_u16 v)
{
	*(weir_u16 *)p = v;
}

weir_inline weir_u16 weir_load16(const void *p)
{
	return *(const weir_u16 *)p;
}
#else
weir_inline weir_u64 weir_load64(const void *p)
{
	weir_u64 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

weir_inline weir_u32 weir_load32(const void *p)
{
	weir_u32 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

weir_inline weir_u16 weir_load16(const void *p)
{
	weir_u16 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

weir_inline void weir_store64(void *p, weir_u64 v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

weir_inline void weir_store32(void *p, weir_u32 v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

weir_inline void weir_store16(void *p, weir_u16 v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}
#endif

/* An address; both ends 4-byte aligned at least. */
weir_inline void weir_copy16(void *to, const void *from)
{
	weir_u32 a = weir_load32(from), b = weir_load32((const weir_u8 *)from + 4);
	weir_u32 c = weir_load32((const weir_u8 *)from + 8);
	weir_u32 d = weir_load32((const weir_u8 *)from + 12);

	weir_store32(to, a);
	weir_store32((weir_u8 *)to + 4, b);
	weir_store32((weir_u8 *)to + 8, c);
	weir_store32((weir_u8 *)to + 12, d);
}

weir_inline weir_u16 weir_swap16(weir_u16 v)
{
	return __builtin_bswap16(v);
}

weir_inline weir_u32 weir_swap32(weir_u32 v)
{
	return __builtin_bswap32(v);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the word-at-a-time scanners assume a little-endian machine"
#endif

#endif
