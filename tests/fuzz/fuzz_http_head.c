// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile heads. Two claims. The scanner that works in words, in bounded steps, on a buffer
 * with leavings behind its bytes says what a slow and simple reader of bytes says: where the
 * head ends or is bad, each header's value, the length, the coding, the key, the request
 * line, the status. And it says the same however the bytes are cut into segments.
 *
 * Input: two bytes that lie behind, one whose low bit tells a request from an answer, one that
 * seeds the cuts, then the bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bpf/http_values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(truth)                                                                               \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static const char *const names[WEIR_HDR_MAX] = {
	"",	    "authorization:",  "x-api-key:",
	"api-key:", "content-length:", "transfer-encoding:",
	"upgrade:", "x-weir-tenant:",  "content-encoding:",
};

/* Bytes of a head that a name may need before it is looked at. */
enum { LOOK = 18 };

struct part {
	size_t from, end;
	bool there;
};

struct reading {
	enum weir_head_result result;
	size_t at; /* DONE: the head's length; else the byte that decided */
	size_t start, first_end;
	uint32_t repeated;
	struct part value[WEIR_HDR_MAX];
	struct part others[WEIR_HEAD_LINES + 1]; /* whole lines of headers that are not in names */
	size_t n_others;
};

/* The end of the line that begins at `at`, without its line end. BAD: the byte that is. */
static size_t line_end(const uint8_t *p, size_t n, size_t at, bool tabs, struct reading *r)
{
	for (; at < n; at++) {
		if (p[at] == '\n')
			return at;
		if (p[at] == '\r') {
			if (at + 1 < n && p[at + 1] != '\n')
				r->result = WEIR_HEAD_BAD;
			return at + 1 < n ? at : n;
		}
		if (p[at] < 0x20 && !(tabs && p[at] == '\t')) {
			r->result = WEIR_HEAD_BAD;
			return at;
		}
	}
	return n;
}

static struct reading read_slowly(const uint8_t *p, size_t n, bool request)
{
	struct reading r = { .result = WEIR_HEAD_MORE };
	size_t at = 0, end, name, lines = 1;

	for (; request && at < n && (p[at] == '\r' || p[at] == '\n'); at++)
		if (at >= WEIR_HEAD_BLANK) {
			r.result = WEIR_HEAD_BAD;
			r.at = at;
			return r;
		}
	r.start = at;
	for (;;) {
		bool first = lines == 1;

		name = at;
		if (!first) {
			while (name < n && p[name] > 0x20 && p[name] != ':')
				name++;
			if (name < n && (p[name] != ':' || name == at)) {
				r.result = WEIR_HEAD_BAD;
				r.at = name;
				return r;
			}
			name = name < n ? name + 1 : n;
		}
		end = line_end(p, n, name, !first, &r);
		r.at = end;
		if (r.result == WEIR_HEAD_BAD || end >= n)
			return r;
		if (first)
			r.first_end = end;
		bool known = first;

		for (int h = 1; !first && h < WEIR_HDR_MAX; h++) {
			if (name - at != strlen(names[h]) ||
			    strncasecmp((const char *)p + at, names[h], name - at))
				continue;
			known = true;
			if (r.value[h].there)
				r.repeated |= 1U << h;
			else
				r.value[h] = (struct part){ name, end, true };
		}
		if (!known) {
			CHECK(r.n_others <= WEIR_HEAD_LINES);
			r.others[r.n_others++] = (struct part){ at, end, true };
		}
		at = end + (p[end] == '\r' ? 2 : 1);
		r.at = at;
		if (at >= n)
			return r;
		if (p[at] == '\n' || p[at] == '\r') {
			if (p[at] == '\r' && at + 1 >= n)
				return r;
			r.result =
				p[at] == '\n' || p[at + 1] == '\n' ? WEIR_HEAD_DONE : WEIR_HEAD_BAD;
			r.at = at + (p[at] == '\n' ? 1 : 2);
			if (r.at > WEIR_HEAD_MAX)
				r.result = WEIR_HEAD_TOO_LARGE;
			return r;
		}
		if (p[at] != ' ' && p[at] != '\t' && p[at] != ':' && ++lines > WEIR_HEAD_LINES) {
			r.result = WEIR_HEAD_TOO_LARGE;
			return r;
		}
		if (lines == 1)
			lines = 2;
	}
}

/* As the gate takes segments in: weir_reader_add. */
static uint32_t add(struct weir_head *h, const uint8_t *p, size_t n)
{
	while (n) {
		size_t piece = n < WEIR_HEAD_LOAD ? n : WEIR_HEAD_LOAD;

		if (h->len >= WEIR_HEAD_MAX)
			return WEIR_HEAD_TOO_LARGE;
		memcpy(h->bytes + h->len, p, piece);
		if (weir_head_scan(h, piece) != WEIR_HEAD_MORE)
			return h->result;
		p += piece;
		n -= piece;
	}
	return WEIR_HEAD_MORE;
}

/* Without up to four blanks or TABs in front, and up to four blanks behind. */
static struct part trim(const uint8_t *p, struct part v)
{
	for (int i = 0; i < 4 && v.from < v.end && (p[v.from] == ' ' || p[v.from] == '\t'); i++)
		v.from++;
	for (int i = 0; i < 4 && v.end > v.from && p[v.end - 1] == ' '; i++)
		v.end--;
	return v;
}

static bool part_is(const uint8_t *p, struct part v, const char *text, bool any_case)
{
	if (v.end - v.from != strlen(text))
		return false;
	return any_case ? !strncasecmp((const char *)p + v.from, text, strlen(text))
			: !memcmp(p + v.from, text, strlen(text));
}

static uint64_t length_slowly(const uint8_t *p, struct part v)
{
	uint64_t n = 0;
	size_t digits = 0;

	if (!v.there || v.end - v.from > WEIR_LENGTH_CHARS)
		return WEIR_NO_LENGTH;
	while (v.from < v.end && (p[v.from] == ' ' || p[v.from] == '\t'))
		v.from++;
	while (v.end > v.from && p[v.end - 1] == ' ')
		v.end--;
	for (; v.from < v.end; v.from++, digits++) {
		if (p[v.from] < '0' || p[v.from] > '9' || digits == 18)
			return WEIR_NO_LENGTH;
		n = n * 10 + (p[v.from] - '0');
	}
	return digits ? n : WEIR_NO_LENGTH;
}

static struct part key_slowly(const uint8_t *p, const struct reading *r)
{
	for (int h = WEIR_HDR_AUTHORIZATION; h <= WEIR_HDR_API_KEY; h++) {
		struct part v = trim(p, r->value[h]);

		if (!v.there)
			continue;
		if (h == WEIR_HDR_AUTHORIZATION) {
			if (v.end - v.from < 7 ||
			    strncasecmp((const char *)p + v.from, "bearer ", 7))
				continue;
			v.from += 7;
			for (int i = 0;
			     i < 4 && v.from < v.end && (p[v.from] == ' ' || p[v.from] == '\t');
			     i++)
				v.from++;
		}
		if (v.end > v.from)
			return v;
	}
	return (struct part){};
}

static void check_request_line(const struct weir_head *h, const uint8_t *p, const struct reading *r)
{
	const char *line = (const char *)p + r->start;
	size_t n = r->first_end - r->start, method = 0;
	struct weir_request_line l;
	bool is;

	while (method < n && line[method] != ' ')
		method++;
	is = method && method <= WEIR_METHOD_MAX && n >= method + 11 &&
	     (!memcmp(line + n - 9, " HTTP/1.0", 9) || !memcmp(line + n - 9, " HTTP/1.1", 9));
	CHECK(weir_head_request_line(h, &l) == is);
	if (!is)
		return;
	CHECK(l.method_len == method);
	CHECK(l.target == r->start + method + 1);
	CHECK(l.target_end == r->first_end - 9);
	CHECK(l.minor == (uint32_t)(line[n - 1] - '0'));
}

/* Lines whose first eight bytes are of those asked for, in order; how many there is room for. A
 * line so short that what is behind it is looked at as well, be it there yet or not, may be among
 * them or not: names as short as that set every bit (weir_label_lines). */
static void check_kept(const struct weir_head *h, const uint8_t *p, const struct reading *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_others; i++) {
		struct part line = r->others[i];
		bool kept = n < h->n_kept && h->kept[n].off == line.from;
		uint64_t word = 0;
		bool bit;

		memcpy(&word, h->bytes + line.from, sizeof(word));
		bit = h->line_bits & weir_line_bit(word | 0x2020202020202020ULL);
		if (line.from + sizeof(word) <= line.end)
			CHECK(kept == (bit && n < WEIR_HEAD_KEPT));
		if (!kept)
			continue;
		CHECK(h->kept[n].end == line.end);
		n++;
	}
	CHECK(n == h->n_kept);
}

static void check_values(struct weir_head *h, const uint8_t *p, const struct reading *r)
{
	struct part coding = trim(p, r->value[WEIR_HDR_TRANSFER_ENCODING]);
	struct part upgrade = trim(p, r->value[WEIR_HDR_UPGRADE]);
	struct part encoding = trim(p, r->value[WEIR_HDR_CONTENT_ENCODING]);
	struct part key = key_slowly(p, r);

	for (int i = 1; i < WEIR_HDR_MAX; i++) {
		CHECK(!!h->value[i].end == r->value[i].there);
		if (!r->value[i].there)
			continue;
		CHECK(h->value[i].off == r->value[i].from);
		CHECK(h->value[i].end == r->value[i].end);
	}
	CHECK(h->repeated == r->repeated);
	check_kept(h, p, r);
	CHECK(weir_head_content_length(h) == length_slowly(p, r->value[WEIR_HDR_CONTENT_LENGTH]));
	CHECK(weir_head_coding(h) == (!coding.there			    ? WEIR_CODING_NONE
				      : part_is(p, coding, "chunked", true) ? WEIR_CODING_CHUNKED
									    : WEIR_CODING_OTHER));
	CHECK(!!weir_head_upgrades(h) == (upgrade.there && !part_is(p, upgrade, "h2c", false)));
	CHECK(!!weir_head_encoded(h) ==
	      (encoding.there && !part_is(p, encoding, "identity", true)));
	if (key.there)
		CHECK(weir_head_key(h) == (key.from << 16 | (key.end - key.from)));
	else
		CHECK(!weir_head_key(h));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct weir_head whole, cut;
	struct reading r;
	uint32_t result, again, seed;
	uint64_t bits;
	bool request;

	if (size < 5)
		return 0;
	for (size_t i = 0; i < sizeof(whole.bytes); i++) {
		whole.bytes[i] = i % 3 ? data[0] : data[1];
		cut.bytes[i] = i % 5 ? data[1] : '\n';
	}
	request = data[2] & 1;
	bits = data[2] & 2 ? ~0ULL : data[2] * 0x0101010101010101ULL;
	seed = data[3];
	data += 4;
	size -= 4;
	weir_head_start(&whole, request);
	whole.line_bits = bits;
	result = add(&whole, data, size);
	r = read_slowly(data, size, request);
	if (r.result == WEIR_HEAD_MORE) {
		/* More than the longest head is none, even before its end. */
		CHECK(result == WEIR_HEAD_MORE || size > WEIR_HEAD_MAX);
		CHECK(result == WEIR_HEAD_MORE || result == WEIR_HEAD_TOO_LARGE);
	} else if (r.result == WEIR_HEAD_DONE) {
		CHECK(result == WEIR_HEAD_DONE);
		CHECK(whole.head_len == r.at);
		CHECK(whole.start == r.start);
		CHECK(whole.first_end == r.first_end);
		check_values(&whole, data, &r);
		if (request)
			check_request_line(&whole, data, &r);
		else if (weir_head_status(&whole))
			CHECK(!memcmp(data, "HTTP/1.", 7));
	} else {
		/* Told at once, or when the name it is in can be looked at. */
		CHECK(result == r.result || result == WEIR_HEAD_TOO_LARGE ||
		      (result == WEIR_HEAD_MORE && size < r.at + LOOK));
		CHECK(result != WEIR_HEAD_TOO_LARGE || size > WEIR_HEAD_MAX ||
		      r.result == WEIR_HEAD_TOO_LARGE);
	}

	weir_head_start(&cut, request);
	cut.line_bits = bits;
	again = WEIR_HEAD_MORE;
	for (size_t at = 0; at < size && again == WEIR_HEAD_MORE;) {
		size_t n = 1;

		seed = seed * 1103515245 + 12345;
		if (seed >> 28)
			n += (seed >> 16) % (seed >> 31 ? 24 : 3000);
		if (n > size - at)
			n = size - at;
		again = add(&cut, data + at, n);
		at += n;
	}
	if (size <= WEIR_HEAD_MAX)
		CHECK(again == result);
	if (again == WEIR_HEAD_DONE && result == WEIR_HEAD_DONE) {
		CHECK(cut.head_len == whole.head_len);
		CHECK(cut.start == whole.start && cut.first_end == whole.first_end);
		check_values(&cut, data, &r);
	}
	return 0;
}
