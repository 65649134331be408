/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads of answers and framings of bodies, made of an input's decisions: mostly right, sometimes
 * nearly.
 */
#ifndef WEIR_MAKE_HTTP1_H
#define WEIR_MAKE_HTTP1_H

#include "bytes.h"

static const char *const make_eols[] = { "\r\n", "\r\n", "\r\n", "\n" };

static const char *const make_field_lines[] = {
	"x: y",
	"Date: Sat, 21 Nov 2026 22:00:00 GMT",
	"content-type: application/json",
	"Content-Type: text/event-stream; charset=utf-8",
	"content-type:application/x-ndjson",
	"cache-status: ExampleCache; hit; ttl=3",
	"x-cache: MISS from cache.example",
	"x-request-id: 1f0e-77",
	"connection: keep-alive",
	"content-length-x: 7",
	"content-type : text/event-stream",
	":",
	"no colon",
	" folded: 1",
};

/* Lines that frame, and ways to get them wrong. */
static const char *const make_framing_lines[] = {
	"transfer-encoding: gzip",
	"Transfer-Encoding: gzip, chunked",
	"transfer-encoding:chunked;q=1",
	"transfer-encoding: chunked, ",
	"transfer-encoding : chunked",
	"transfer-encoding: chunked, chunked",
	"transfer-encoding: xchunked",
	"content-length: 5, 5",
	"content-length: 5,",
	"content-length: 5, 6",
	"content-length : 5",
	"content-length: +5",
	"content-length: 00005",
	"content-length:",
	"content-length: 9223372036854775808",
	"content-length:                                      5",
	"content-length: 5\r\n 6",
	"transfer-encoding: x\r\n\tchunked",
};

static inline void put_head(struct bytes *b, struct input *in, const char *status)
{
	const char *eol = PICK(in, make_eols);

	put_text(b, status);
	put_text(b, eol);
	for (size_t n = choose(in, 4); n--;) {
		put_text(b, PICK(in, make_field_lines));
		put_text(b, eol);
	}
}

static inline void put_chunks(struct bytes *b, struct input *in, const uint8_t *p, size_t n)
{
	static const char *const extensions[] = { "", "", "", ";a", " ;a=\"b\"", "\t", ";\r;" };
	static const char *const trailers[] = { "", "", "x: y\r\n", "a: b\nc\n", "\r\r\n" };
	uint32_t how = take(in, 2);
	struct cut cut = { how, how & 1 ? 0 : 1 + how % 64 };

	if (how % 64 == 63) { /* more than there are bytes, or than there can be */
		static const char *const sizes[] = { "fffffffff", "7fffffffffffffff",
						     "8000000000000000", "10000000000000001" };

		put_text(b, PICK(in, sizes));
		put_text(b, "\r\n");
	}
	for (size_t at = 0, len; at < n; at += len) {
		len = cut_next(&cut, n - at);
		put_format(b, how & 2 ? "%zX" : how & 4 ? "0%zx" : "%zx", len);
		put_text(b, PICK(in, extensions));
		put_text(b, PICK(in, make_eols));
		put(b, p + at, len);
		put_text(b, PICK(in, make_eols));
	}
	put_text(b, how & 8 ? "000" : "0");
	put_text(b, PICK(in, extensions));
	put_text(b, PICK(in, make_eols));
	put_text(b, PICK(in, trailers));
	put_text(b, PICK(in, make_eols));
}

/* The lines that frame a body of n bytes in one of the ways there are, the empty line, and it. */
static inline void put_framed(struct bytes *b, struct input *in, const uint8_t *p, size_t n)
{
	switch (choose(in, 8)) {
	case 0:
	case 1:
		put_format(b, "content-length: %zu\r\n\r\n", n);
		put(b, p, n);
		break;
	case 2:
	case 3:
		put_text(b, "transfer-encoding: chunked\r\n\r\n");
		put_chunks(b, in, p, n);
		break;
	case 4:
		put_text(b, "\r\n");
		put(b, p, n);
		break;
	case 5:
		put_format(b, "Content-Length:%zu\r\nTransfer-Encoding: Chunked\r\n\r\n", n / 2);
		put_chunks(b, in, p, n);
		break;
	case 6:
		put_text(b, PICK(in, make_framing_lines));
		put_format(b, "\r\ncontent-length: %zu\r\n\r\n", n);
		put(b, p, n);
		break;
	default:
		put_text(b, PICK(in, make_framing_lines));
		put_text(b, "\r\n\r\n");
		put_chunks(b, in, p, n);
	}
}

/* What comes before the answer: now and then interim ones, or a stray line end. */
static inline void put_interim(struct bytes *b, struct input *in)
{
	switch (choose(in, 12)) {
	case 8:
		put_text(b, "\r\n");
		break;
	case 9:
		put_text(b, "HTTP/1.1 100 Continue\r\n\r\n");
		break;
	case 10:
		put_head(b, in, "HTTP/1.1 103 Early Hints");
		put_text(b, "content-length: 9\r\n\r\n");
		break;
	case 11:
		put_text(b, "HTTP/1.1 102 \r\n\r\nHTTP/1.1 100 \n\n");
		break;
	default:
		break;
	}
}

#endif
