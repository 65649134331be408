// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about compressed bodies: the same text in any cut and of any encoder's making; what is
 * broken, endless or not asked for is an error.
 */
#include "decode_fixture.h"

static void same(struct weir_decoders *d, enum weir_body_coding coding, struct bytes b,
		 const char *text, size_t n, size_t from, size_t every)
{
	struct sink s = { .want = (const uint8_t *)text, .n = n };
	uint64_t t = weir_decoder_open(d, coding);

	assert_true(t != 0);
	assert_int_equal(decode_pieces(d, t, b, from, every, &s), 0);
	assert_false(s.differs);
	assert_int_equal(s.at, n);
	assert_true(weir_decoder_close(d, t));
}

/* Cut once at every byte, cut into single bytes, whole. */
static void any_cut(enum weir_body_coding coding, struct bytes b, const char *text, size_t n)
{
	struct weir_decoders *d = pool(POOL);

	for (size_t cut = 0; cut <= b.n; cut++)
		same(d, coding, b, text, n, cut, b.n);
	for (size_t every = 1; every < 8; every++)
		same(d, coding, b, text, n, 0, every);
	assert_int_equal(stats(d).open, 0);
	assert_int_equal(stats(d).bytes, 0);
	assert_int_equal(stats(d).failed, 0);
	weir_decoders_free(d);
	free(b.p);
}

static void test_any_cut(void **state)
{
	size_t n = 1500;
	char *text = chat(n);

	any_cut(WEIR_BODY_GZIP, deflated(text, n, 15 + 16, 6, 0), text, n);
	any_cut(WEIR_BODY_GZIP, deflated(text, n, 15 + 16, 6, 100), text, n);
	any_cut(WEIR_BODY_DEFLATE, deflated(text, n, 15, 6, 0), text, n);
	any_cut(WEIR_BODY_DEFLATE, deflated(text, n, 9, 1, 200), text, n);
	any_cut(WEIR_BODY_DEFLATE, deflated(text, n, -15, 6, 0), text, n);
	any_cut(WEIR_BODY_DEFLATE, deflated(text, n, -15, 0, 0), text, n);
	any_cut(WEIR_BODY_ZSTD, zstd(text, n, 0, 0), text, n);
	any_cut(WEIR_BODY_ZSTD, zstd(text, n, 17, 100), text, n);
	free(text);
}

static void test_nothing_compressed(void **state)
{
	any_cut(WEIR_BODY_GZIP, deflated("", 0, 15 + 16, 6, 0), "", 0);
	any_cut(WEIR_BODY_DEFLATE, deflated("", 0, 15, 6, 0), "", 0);
	any_cut(WEIR_BODY_ZSTD, zstd("", 0, 0, 0), "", 0);
}

/* RFC 1952 2.2: a file is members; RFC 8878 3.1: it is frames, of which some are to be skipped. */
static void test_members(void **state)
{
	static const uint8_t skip[] = { 0x5b, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 'w', 'e', 'i', 'r', 0 };
	struct bytes skipped = { .p = malloc(sizeof(skip)), .n = sizeof(skip) };
	size_t n = 600;
	char *text = chat(n);
	struct bytes b;

	assert_non_null(skipped.p);
	memcpy(skipped.p, skip, sizeof(skip));
	b = joined(deflated(text, 200, 15 + 16, 6, 0), deflated("", 0, 15 + 16, 6, 0));
	any_cut(WEIR_BODY_GZIP, joined(b, deflated(text + 200, n - 200, 15 + 16, 9, 0)), text, n);
	b = joined(skipped, zstd(text, 200, 0, 0));
	b = joined(b, zstd("", 0, 0, 0));
	any_cut(WEIR_BODY_ZSTD, joined(b, zstd(text + 200, n - 200, 12, 0)), text, n);
	free(text);
}

/* Text longer than any window and than the pieces it is handed on in. */
static void test_long(void **state)
{
	size_t n = 12 << 20;
	char *text = chat(n);
	struct weir_decoders *d = pool(POOL);
	struct bytes b[] = { deflated(text, n, 15 + 16, 1, 0), deflated(text, n, 15, 1, 70000),
			     zstd(text, n, 23, 0), zstd(text, n, 17, 70000) };
	static const enum weir_body_coding coding[] = { WEIR_BODY_GZIP, WEIR_BODY_DEFLATE,
							WEIR_BODY_ZSTD, WEIR_BODY_ZSTD };

	for (int i = 0; i < 4; i++) {
		same(d, coding[i], b[i], text, n, 0, 1200);
		same(d, coding[i], b[i], text, n, 0, b[i].n);
		free(b[i].p);
	}
	assert_int_equal(stats(d).given_up, 0);
	weir_decoders_free(d);
	free(text);
}

/* What a server flushes is handed on then, not with the bytes that come next. */
static void test_flushed(void **state)
{
	size_t n = 200000, flush = 100000;
	char *text = chat(n);
	struct weir_decoders *d = pool(POOL);
	struct bytes b[] = { deflated(text, n, 15 + 16, 6, flush), deflated(text, n, 15, 6, flush),
			     zstd(text, n, 20, flush) };
	static const enum weir_body_coding coding[] = { WEIR_BODY_GZIP, WEIR_BODY_DEFLATE,
							WEIR_BODY_ZSTD };

	for (int i = 0; i < 3; i++) {
		struct sink s = { .want = (const uint8_t *)text, .n = n };
		uint64_t t = weir_decoder_open(d, coding[i]);

		assert_int_equal(weir_decode(d, t, b[i].p, b[i].flushed, sink, &s), 0);
		assert_false(s.differs);
		assert_int_equal(s.at, flush);
		free(b[i].p);
	}
	weir_decoders_free(d);
	free(text);
}

/* ------------------------------------------------------------------------ hostile */

/* -EBADMSG in one go, and byte by byte; closed after that. */
static void is_bad(enum weir_body_coding coding, const void *p, size_t n)
{
	struct bytes b = { .p = (uint8_t *)p, .n = n };

	for (size_t every = 1; every <= n; every += n - 1 ? n - 1 : 1) {
		struct weir_decoders *d = pool(POOL);
		struct sink s = { 0 };
		uint64_t t = weir_decoder_open(d, coding);

		assert_int_equal(decode_pieces(d, t, b, 0, every, &s), -EBADMSG);
		assert_int_equal(weir_decode(d, t, p, n, sink, &s), -ESTALE);
		assert_false(weir_decoder_close(d, t));
		assert_int_equal(stats(d).failed, 1);
		assert_int_equal(stats(d).open, 0);
		weir_decoders_free(d);
	}
}

static void test_garbage(void **state)
{
	static const char json[] = "{\"usage\":{\"prompt_tokens\":1}}";
	static const uint8_t dictionary[] = { 0x78, 0xbb, 1, 2, 3, 4, 5 };
	/* zstd 0.7, which Debian's library reads, with no limit for windows */
	static const uint8_t old[] = { 0x27, 0xb5, 0x2f, 0xfd, 0, 0x40, 0, 0 };
	/* a frame whose window is 16 MiB, and one that needs dictionary 7 */
	static const uint8_t wide[] = { 0x28, 0xb5, 0x2f, 0xfd, 0, 14 << 3, 0x01, 0, 0 };
	static const uint8_t needs[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 0, 0x01, 0, 0 };
	static const uint8_t widest[] = { 0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 0x01, 0, 0 };
	struct weir_decoders *d = pool(POOL);

	is_bad(WEIR_BODY_GZIP, json, sizeof(json));
	is_bad(WEIR_BODY_DEFLATE, json, sizeof(json));
	is_bad(WEIR_BODY_ZSTD, json, sizeof(json));
	is_bad(WEIR_BODY_DEFLATE, dictionary, sizeof(dictionary));
	is_bad(WEIR_BODY_ZSTD, old, sizeof(old));
	is_bad(WEIR_BODY_ZSTD, wide, sizeof(wide));
	is_bad(WEIR_BODY_ZSTD, needs, sizeof(needs));
	same(d, WEIR_BODY_ZSTD, (struct bytes){ .p = (uint8_t *)widest, .n = sizeof(widest) }, "",
	     0, 0, 9);
	weir_decoders_free(d);
}

static void test_bytes_behind_the_end(void **state)
{
	char *text = chat(100);
	struct bytes b[] = { deflated(text, 100, 15 + 16, 6, 0), deflated(text, 100, 15, 6, 0),
			     deflated(text, 100, -15, 6, 0), zstd(text, 100, 0, 0) };
	static const enum weir_body_coding coding[] = { WEIR_BODY_GZIP, WEIR_BODY_DEFLATE,
							WEIR_BODY_DEFLATE, WEIR_BODY_ZSTD };

	for (int i = 0; i < 4; i++) {
		struct bytes tail = { .p = calloc(1, 16), .n = 16 };

		assert_non_null(tail.p);
		b[i] = joined(b[i], tail);
		is_bad(coding[i], b[i].p, b[i].n);
		free(b[i].p);
	}
	free(text);
}

/* Cut short it is no error, what was decoded stands, but it is not whole. */
static void test_cut_short(void **state)
{
	size_t n = 1000;
	char *text = chat(n);
	struct weir_decoders *d = pool(POOL);
	struct bytes b[] = { deflated(text, n, 15 + 16, 6, 0), deflated(text, n, 15, 6, 0),
			     zstd(text, n, 0, 0) };
	static const enum weir_body_coding coding[] = { WEIR_BODY_GZIP, WEIR_BODY_DEFLATE,
							WEIR_BODY_ZSTD };

	for (int i = 0; i < 3; i++) {
		for (size_t len = 1; len < b[i].n; len++) {
			struct sink s = { .want = (const uint8_t *)text, .n = n };
			uint64_t t = weir_decoder_open(d, coding[i]);

			assert_int_equal(weir_decode(d, t, b[i].p, len, sink, &s), 0);
			assert_false(s.differs);
			assert_false(weir_decoder_close(d, t));
		}
		free(b[i].p);
	}
	assert_true(weir_decoder_close(d, weir_decoder_open(d, WEIR_BODY_GZIP)));
	weir_decoders_free(d);
	free(text);
}

/* A bit flipped anywhere: an error or other text, within bounds (ASan looks on). */
static void test_flipped_bits(void **state)
{
	size_t n = 800;
	char *text = chat(n);
	struct weir_decoders *d = pool(POOL);
	struct bytes b[] = { deflated(text, n, 15 + 16, 6, 0), zstd(text, n, 0, 0) };
	static const enum weir_body_coding coding[] = { WEIR_BODY_GZIP, WEIR_BODY_ZSTD };
	size_t bad = 0;

	for (int i = 0; i < 2; i++) {
		for (size_t bit = 0; bit < b[i].n * 8; bit++) {
			struct sink s = { 0 };
			uint64_t t = weir_decoder_open(d, coding[i]);

			b[i].p[bit / 8] ^= 1 << bit % 8;
			bad += decode_pieces(d, t, b[i], 0, 97, &s) == -EBADMSG;
			b[i].p[bit / 8] ^= 1 << bit % 8;
			weir_decoder_close(d, t);
		}
		assert_true(bad > b[i].n * 7); /* checksums: nearly all */
		bad = 0;
		free(b[i].p);
	}
	assert_int_equal(stats(d).open, 0);
	weir_decoders_free(d);
	free(text);
}

static int feed_until_error(struct bytes b, enum weir_body_coding coding, struct sink *s)
{
	struct weir_decoders *d = pool(POOL);
	int r = decode_pieces(d, weir_decoder_open(d, coding), b, 0, 1200, s);

	assert_int_equal(stats(d).failed, r != 0);
	weir_decoders_free(d);
	free(b.p);
	return r;
}

static void test_bombs(void **state)
{
	size_t n = 64 << 20;
	char *zeros = calloc(1, n);
	struct sink s = { 0 };

	assert_non_null(zeros);
	/* a block of 128 KiB in four bytes */
	assert_int_equal(feed_until_error(zstd(zeros, n, 20, 0), WEIR_BODY_ZSTD, &s), -EFBIG);
	assert_true(s.at <= 2 * WEIR_DECODED_FREE);
	/* 8 MiB of anything are fine, and deflate does not get much beyond the ratio */
	s = (struct sink){ .want = (const uint8_t *)zeros, .n = WEIR_DECODED_FREE };
	assert_int_equal(
		feed_until_error(zstd(zeros, WEIR_DECODED_FREE, 20, 0), WEIR_BODY_ZSTD, &s), 0);
	assert_false(s.differs);
	assert_int_equal(s.at, WEIR_DECODED_FREE);
	s = (struct sink){ 0 };
	assert_int_equal(feed_until_error(deflated(zeros, n, 15 + 16, 9, 0), WEIR_BODY_GZIP, &s),
			 -EFBIG);
	assert_true(s.at < n);
	free(zeros);
}

static void test_names(void **state)
{
	static const struct {
		const char *value;
		enum weir_body_coding coding;
	} is[] = {
		{ "", WEIR_BODY_PLAIN },
		{ "identity", WEIR_BODY_PLAIN },
		{ " \tIdentity ", WEIR_BODY_PLAIN },
		{ " , ,", WEIR_BODY_PLAIN },
		{ "gzip", WEIR_BODY_GZIP },
		{ " GZip\t", WEIR_BODY_GZIP },
		{ "x-gzip", WEIR_BODY_GZIP },
		{ "identity, gzip", WEIR_BODY_GZIP },
		{ ",gzip,", WEIR_BODY_GZIP },
		{ "deflate", WEIR_BODY_DEFLATE },
		{ "zstd", WEIR_BODY_ZSTD },
		{ "br", WEIR_BODY_CODED },
		{ "gzip, gzip", WEIR_BODY_CODED },
		{ "gzip,deflate", WEIR_BODY_CODED },
		{ "gzip zstd", WEIR_BODY_CODED },
		{ "gzip;q=1", WEIR_BODY_CODED },
		{ "zst", WEIR_BODY_CODED },
		{ "gzipp", WEIR_BODY_CODED },
	};

	for (size_t i = 0; i < sizeof(is) / sizeof(is[0]); i++) {
		size_t n = strlen(is[i].value);
		char *copy = malloc(n + 1); /* no end but len */

		assert_non_null(copy);
		memcpy(copy, is[i].value, n);
		copy[n] = 'x';
		assert_int_equal(weir_body_coding_of(copy, n), is[i].coding);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_cut),
		cmocka_unit_test(test_nothing_compressed),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_flushed),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_bytes_behind_the_end),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
