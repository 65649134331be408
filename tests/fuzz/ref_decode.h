/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compressed body undone at once, by the libraries' one-call interfaces: member by member, frame
 * by frame, each from its first byte to its last.
 */
#ifndef WEIR_REF_DECODE_H
#define WEIR_REF_DECODE_H

#include <zlib.h>
#include <zstd.h>

#include "agent/decode.h"
#include "bytes.h"

#define REF_DECODED_MAX (1 << 20) /* more is not what this is about */

/* inflate of one member: its length, 0: not whole or none. */
static inline size_t ref_inflate(const uint8_t *p, size_t n, int window_bits, struct bytes *out)
{
	static uint8_t room[REF_DECODED_MAX];
	z_stream z = {
		.next_in = (uint8_t *)p, .avail_in = n, .next_out = room, .avail_out = sizeof(room)
	};
	int r;

	CHECK(inflateInit2(&z, window_bits) == Z_OK);
	r = inflate(&z, Z_FINISH);
	put(out, room, sizeof(room) - z.avail_out);
	inflateEnd(&z);
	return r == Z_STREAM_END ? z.total_in : 0;
}

/* A window that RFC 9659 does not let a sender have (RFC 8878 3.1.1.1). */
static inline bool ref_zstd_too_wide(const uint8_t *p, size_t n)
{
	uint64_t window;

	if (n < 6 || memcmp(p, "\x28\xb5\x2f\xfd", 4))
		return false;
	if (p[4] & 0x20) {
		static const uint8_t bytes[] = { 1, 2, 4, 8 };
		size_t at = 5 + (size_t)(p[4] & 3) + ((p[4] & 3) == 3);

		window = p[4] >> 6 == 1 ? 256 : 0;
		for (unsigned i = 0; i < bytes[p[4] >> 6] && at + i < n; i++)
			window += (uint64_t)p[at + i] << (8 * i);
	} else {
		window = UINT64_C(1) << (10 + (p[5] >> 3));
		window += window / 8 * (p[5] & 7);
	}
	return window > 8 << 20;
}

static inline size_t ref_unzstd(const uint8_t *p, size_t n, struct bytes *out)
{
	static uint8_t room[REF_DECODED_MAX];
	size_t frame = ZSTD_findFrameCompressedSize(p, n), len;

	/* what zstd was before RFC 8878 is not zstd */
	if (ZSTD_isError(frame) || (memcmp(p, "\x28\xb5\x2f\xfd", 4) &&
				    ((p[0] & 0xf0) != 0x50 || memcmp(p + 1, "\x2a\x4d\x18", 3))))
		return 0;
	len = ZSTD_decompress(room, sizeof(room), p, frame);
	if (ZSTD_isError(len))
		return 0;
	put(out, room, len);
	return frame;
}

/* true: all of it is whole, and out has it. */
static inline bool ref_decode(enum weir_body_coding coding, const uint8_t *p, size_t n,
			      struct bytes *out, bool *too_wide)
{
	size_t took;

	*too_wide = false;
	out->n = 0;
	put(out, "", 0);
	for (; n; p += took, n -= took) {
		switch (coding) {
		case WEIR_BODY_GZIP:
			took = ref_inflate(p, n, 15 + 16, out);
			break;
		case WEIR_BODY_DEFLATE: /* RFC 1950; some servers leave its two bytes out */
			took = ref_inflate(p, n,
					   n > 1 && (p[0] & 15) == 8 && p[0] < 0x80 &&
							   (p[0] * 256 + p[1]) % 31 == 0
						   ? 15
						   : -15,
					   out);
			if (took != n)
				return false;
			break;
		default:
			*too_wide |= ref_zstd_too_wide(p, n);
			took = ref_unzstd(p, n, out);
		}
		if (!took)
			return false;
	}
	return true;
}

#endif
