// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile heads. One claim: the scanner that works in words, in bounded steps, on a
 * buffer with leavings behind its bytes says what a slow and simple reader of lines
 * says: where the head ends, each header's value, the length, the key, the status.
 *
 * Input: two bytes that seed what lies behind, then the bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bpf/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(truth)                                                                               \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static const char *const names[WEIR_HDR_MAX] = {
	"", "authorization:", "x-api-key:", "api-key:", "content-length:", "transfer-encoding:",
};

/* Part of the bytes; from NULL: not there. */
struct part {
	const char *from;
	size_t len;
};

struct reading {
	size_t head_len; /* 0: the head is not over */
	size_t first_line_len;
	struct part value[WEIR_HDR_MAX]; /* without the line's LF */
};

static struct reading read_slowly(const char *p, size_t n)
{
	struct reading r = {};
	size_t at = 0, line = 0;

	for (;; line++) {
		const char *lf = memchr(p + at, '\n', n - at);
		size_t len;

		if (line && at < n && p[at] == '\r' && at + 1 < n && p[at + 1] == '\n') {
			r.head_len = at + 2;
			return r;
		}
		if (!lf)
			return r;
		len = lf - (p + at);
		if (line && !len) {
			r.head_len = at + 1;
			return r;
		}
		if (!line)
			r.first_line_len = len ? len : 1;
		for (int h = 1; line && h < WEIR_HDR_MAX; h++) {
			size_t skip = strlen(names[h]);

			if (len >= skip && !strncasecmp(p + at, names[h], skip) && !r.value[h].from)
				r.value[h] = (struct part){ p + at + skip, len - skip };
		}
		at = lf + 1 - p;
	}
}

static struct part trim(struct part v)
{
	while (v.len && (*v.from == ' ' || *v.from == '\t'))
		v.from++, v.len--;
	while (v.len && memchr(" \t\r", v.from[v.len - 1], 3))
		v.len--;
	return v;
}

static uint64_t length_slowly(struct part v)
{
	uint64_t n = 0;

	if (!v.from || v.len > WEIR_LENGTH_CHARS)
		return WEIR_NO_LENGTH;
	while (v.len && memchr(" \t\r", *v.from, 3))
		v.from++, v.len--;
	v = trim(v);
	if (!v.len || v.len > 18)
		return WEIR_NO_LENGTH;
	for (size_t i = 0; i < v.len; i++) {
		if (v.from[i] < '0' || v.from[i] > '9')
			return WEIR_NO_LENGTH;
		n = n * 10 + (v.from[i] - '0');
	}
	return n;
}

/* More blanks than four on a side are nobody's; what we then take for a key is
 * unknown to all. */
static bool plain_blanks(struct part v)
{
	return !(v.len > 4 && strspn(v.from, " \t") > 3) &&
	       !(v.len > 4 && memchr(" \t\r", v.from[v.len - 1], 3) &&
		 memchr(" \t\r", v.from[v.len - 2], 3) && memchr(" \t\r", v.from[v.len - 3], 3) &&
		 memchr(" \t\r", v.from[v.len - 4], 3));
}

static void check_key(const struct weir_head *h, const struct reading *r)
{
	uint32_t place = weir_head_key(h);
	struct part v = {};
	int from = 0;

	for (int i = WEIR_HDR_AUTHORIZATION; i <= WEIR_HDR_API_KEY && !v.from; i++) {
		v = r->value[i];
		from = i;
	}
	if (place)
		CHECK((place >> 16) + (place & 0xffff) <= h->len);
	if (!v.from) {
		CHECK(!place);
		return;
	}
	if (!plain_blanks(v))
		return;
	v = trim(v);
	if (from == WEIR_HDR_AUTHORIZATION) {
		if (v.len < 7 || strncasecmp(v.from, "bearer ", 7)) {
			CHECK(!place);
			return;
		}
		v.from += 7;
		v.len -= 7;
		if (v.len && *v.from == ' ' && strspn(v.from, " ") > 3)
			return;
		while (v.len && *v.from == ' ')
			v.from++, v.len--;
	}
	CHECK((place & 0xffff) == v.len);
	if (v.len)
		CHECK(!memcmp(h->bytes + (place >> 16), v.from, v.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct weir_head h;
	static char text[WEIR_HEAD_SPACE];
	struct reading r;
	uint32_t phase;

	if (size < 3)
		return 0;
	for (size_t i = 0; i < sizeof(h.bytes); i++)
		h.bytes[i] = i % 3 ? data[0] : data[1];
	data += 2;
	size -= 2;
	if (size > WEIR_HEAD_MAX)
		size = WEIR_HEAD_MAX;
	memcpy(text, data, size);
	text[size] = 0;
	memcpy(h.bytes, data, size);
	weir_head_start(&h, size);
	phase = weir_head_scan(&h);
	r = read_slowly(text, size);
	if (phase != WEIR_HEAD_DONE) {
		/* Steps are bounded: only a long head may be told short when it is not. */
		CHECK(!r.head_len || r.head_len > 1024);
		return 0;
	}
	CHECK(h.head_len == r.head_len);
	CHECK(h.first_line_len == r.first_line_len);
	for (int i = 1; i < WEIR_HDR_MAX; i++) {
		CHECK(!!h.value[i].end == !!r.value[i].from);
		if (!h.value[i].end)
			continue;
		CHECK(h.value[i].off == r.value[i].from - text);
		CHECK(h.value[i].end == r.value[i].from - text + r.value[i].len);
	}
	CHECK(weir_head_content_length(&h) == length_slowly(r.value[WEIR_HDR_CONTENT_LENGTH]));
	CHECK(weir_head_chunked(&h) == !!r.value[WEIR_HDR_TRANSFER_ENCODING].from);
	check_key(&h, &r);
	if (weir_head_is_request(&h))
		CHECK(memmem(text, r.first_line_len, " HTTP/1.", 8));
	if (weir_head_status(&h))
		CHECK(!memcmp(text, "HTTP/1.", 7));
	return 0;
}
