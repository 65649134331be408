// SPDX-License-Identifier: Apache-2.0
/*
 * Chunk framing, as answers are followed and as requests are judged. Three claims: through
 * windows and segments cut anywhere the walk ends at the byte, and as, a reader of the whole
 * text does; data is stepped over whatever it is; and what is good enough for a request
 * ends an answer at the very same byte.
 *
 * Input: two bytes that say how it is cut, then the text.
 */
#include <stdbool.h>

#include "bpf/chunked.h"
#include "fuzz.h"

#define TEXT_MAX 4096

/* ---------------------------------------------------------------- the slow reader */

enum ending { GOES_ON, DONE, BAD };

struct text {
	const uint8_t *p;
	size_t n, at;
	bool strict;
	enum ending ending;
};

/* The next byte, -1: there is none. */
static int next(struct text *t)
{
	return t->at < t->n ? t->p[t->at++] : -1;
}

static bool bad(struct text *t)
{
	t->ending = BAD;
	return false;
}

/* The rest of a line, what was its last byte being `c`. For a request CR LF ends it, and
 * there are no controls but TAB; for an answer any LF does. false: no line. */
static bool line_ends(struct text *t, int c)
{
	while (c >= 0 && c != '\n' && !(t->strict && c == '\r')) {
		if (t->strict && c < ' ' && c != '\t')
			return bad(t);
		c = next(t);
	}
	if (c < 0)
		return false;
	if (!t->strict)
		return true;
	if (c == '\n')
		return bad(t);
	c = next(t);
	return c == '\n' || (c >= 0 && bad(t));
}

static bool size_line(struct text *t, uint64_t *size)
{
	char digits[14];
	size_t n = 0;
	int c;

	while ((c = next(t)) >= 0 && c && strchr("0123456789abcdefABCDEF", c)) {
		if (n == 12)
			return bad(t);
		digits[n++] = c;
	}
	if (c < 0)
		return false;
	digits[n] = 0;
	*size = strtoull(digits, NULL, 16);
	if (!n || !c || !strchr("\r\n; \t", c))
		return bad(t);
	return line_ends(t, c);
}

static bool data_ends(struct text *t)
{
	int c = next(t);

	if (t->strict && c != '\r')
		return c >= 0 && bad(t);
	if (t->strict)
		c = next(t);
	while (!t->strict && c == '\r')
		c = next(t);
	return c == '\n' || (c >= 0 && bad(t));
}

static void read_slowly(struct text *t)
{
	uint64_t size;

	for (;;) {
		if (!size_line(t, &size))
			return;
		if (!size)
			break;
		if (size > t->n - t->at) {
			t->at = t->n;
			return;
		}
		t->at += size;
		if (!data_ends(t))
			return;
	}
	for (;;) { /* trailers, up to an empty line */
		size_t from = t->at;

		if (!line_ends(t, next(t)))
			return;
		if (t->at - from == 1 || (t->at - from == 2 && t->p[from] == '\r')) {
			t->ending = DONE;
			return;
		}
	}
}

/* ------------------------------------------------------------------------ the walk */

/* A segment, from memory of its own. Returns how many bytes were used. */
static size_t walk(struct weir_chunk *c, const uint8_t *p, size_t n, bool strict)
{
	size_t off = 0;

	while (off < n && c->phase < WEIR_CHUNK_DONE) {
		size_t rest = n - off, look = rest < WEIR_CHUNK_WINDOW ? rest : WEIR_CHUNK_WINDOW;
		uint8_t *window = own_copy(p + off, look);
		uint32_t used = weir_chunk_window(c, window, look, rest, strict);

		free(window);
		CHECK(used && used <= rest);
		off += used;
	}
	return off;
}

static struct text check(const uint8_t *p, size_t n, bool strict, size_t longest, uint32_t chance)
{
	struct text t = { .p = p, .n = n, .strict = strict };
	struct weir_chunk c = {};
	size_t at = 0, used = 0, len = 0;

	read_slowly(&t);
	while (at < n && used == len) {
		chance = chance * 1664525 + 1013904223;
		len = 1 + (chance >> 8) % longest;
		if (len > n - at)
			len = n - at;
		used = walk(&c, p + at, len, strict);
		at += used;
	}
	CHECK((c.phase == WEIR_CHUNK_DONE) == (t.ending == DONE));
	CHECK((c.phase == WEIR_CHUNK_BAD) == (t.ending == BAD));
	CHECK(at == t.at);
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	size_t longest = 1 + take(&in, 1), n;
	uint32_t chance = take(&in, 1);
	struct text strict, lenient;

	n = input_left(&in) < TEXT_MAX ? input_left(&in) : TEXT_MAX;
	for (size_t cut = 0; cut < 3; cut++) {
		static const size_t cuts[] = { 1, 0, TEXT_MAX };

		strict = check(in.p, n, true, cuts[cut] ? cuts[cut] : longest, chance);
		lenient = check(in.p, n, false, cuts[cut] ? cuts[cut] : longest, chance);
	}
	if (strict.ending == DONE)
		CHECK(lenient.ending == DONE && lenient.at == strict.at);
	if (strict.ending == GOES_ON)
		CHECK(lenient.ending == GOES_ON);
	return 0;
}
