// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the pool of decoders: its memory is bounded, whoever is unused longest goes, and a
 * ticket is good for one decoder of one process.
 */
#include "decode_fixture.h"

/* A decoder that has a window by now. */
static uint64_t begun(struct weir_decoders *d, struct bytes b, struct sink *s)
{
	uint64_t t = weir_decoder_open(d, WEIR_BODY_GZIP);

	*s = (struct sink){ 0 };
	assert_true(t != 0);
	assert_int_equal(weir_decode(d, t, b.p, b.n / 2, sink, s), 0);
	return t;
}

static void test_longest_unused_goes(void **state)
{
	size_t n = 2000;
	char *text = chat(n);
	struct bytes b = deflated(text, n, 15 + 16, 6, 0);
	struct weir_decoders *d = pool(1 << 20);
	uint64_t t[100];
	struct sink s[100];
	uint64_t first;
	size_t at_once;

	for (int i = 0; i < 100; i++) {
		t[i] = begun(d, b, &s[i]);
		assert_true(stats(d).bytes <= 1 << 20);
		/* the first is always in use, a few bytes at a time */
		assert_int_equal(weir_decode(d, t[0], b.p + b.n / 2 + i, 1, sink, &s[0]), 0);
	}
	at_once = stats(d).open;
	assert_true(at_once >= 20 && at_once <= 30); /* 40 KiB each, about */
	assert_int_equal(stats(d).given_up, 100 - at_once);
	assert_int_equal(stats(d).opened, 100);
	first = 100 - (at_once - 1);
	for (size_t i = 1; i < 100; i++) {
		int r = weir_decode(d, t[i], b.p + b.n / 2, b.n - b.n / 2, sink, &s[i]);

		assert_int_equal(r, i < first ? -ESTALE : 0);
		assert_int_equal(weir_decoder_close(d, t[i]), i >= first);
	}
	assert_int_equal(weir_decode(d, t[0], b.p + b.n / 2 + 100, b.n - b.n / 2 - 100, sink, s),
			 0);
	assert_int_equal(s[0].at, n);
	assert_true(weir_decoder_close(d, t[0]));
	assert_int_equal(stats(d).open, 0);
	assert_int_equal(stats(d).bytes, 0);
	weir_decoders_free(d);
	free(b.p);
	free(text);
}

/* More memory than there is for all of them: it goes itself, what it decoded till then is right. */
static void test_larger_than_the_pool(void **state)
{
	size_t n = 4 << 20;
	char *text = chat(n);
	struct bytes b = zstd(text, n, 23, 0);
	struct weir_decoders *d = pool(1 << 20);
	struct sink s = { .want = (const uint8_t *)text, .n = n };
	uint64_t t = weir_decoder_open(d, WEIR_BODY_ZSTD);

	assert_true(t != 0);
	assert_int_equal(decode_pieces(d, t, b, 0, 1200, &s), -ESTALE);
	assert_false(s.differs);
	assert_true(s.at > 400000);
	assert_int_equal(stats(d).given_up, 1);
	assert_int_equal(stats(d).open, 0);
	assert_int_equal(stats(d).bytes, 0);
	weir_decoders_free(d);
	free(b.p);
	free(text);
}

static void test_too_small(void **state)
{
	struct weir_decoders *d;
	struct weir_error err;

	assert_int_equal(weir_decoders_new(0, &d, &err), -EINVAL);
	assert_int_equal(weir_decoders_new(WEIR_DECODERS_LEAST - 1, &d, &err), -EINVAL);
}

static void test_stale_tickets(void **state)
{
	struct weir_decoders *a = pool(POOL), *b = pool(POOL);
	struct bytes gz = deflated("weir", 4, 15 + 16, 6, 0);
	struct sink s = { 0 };
	uint64_t t = weir_decoder_open(a, WEIR_BODY_GZIP), u;

	/* nobody's, and those of another pool, which stands for another process */
	assert_int_equal(weir_decode(a, 0, gz.p, gz.n, sink, &s), -ESTALE);
	assert_int_equal(weir_decode(b, t, gz.p, gz.n, sink, &s), -ESTALE);
	for (int i = 0; i < 1000; i++) {
		u = weir_decoder_open(b, WEIR_BODY_GZIP);
		assert_int_equal(weir_decode(b, t, gz.p, gz.n, sink, &s), -ESTALE);
		assert_false(weir_decoder_close(b, t));
		weir_decoder_close(b, u);
	}
	/* all that differ in a bit */
	for (int bit = 0; bit < 64; bit++) {
		uint64_t other = t ^ UINT64_C(1) << bit;

		assert_int_equal(weir_decode(a, other, gz.p, gz.n, sink, &s), -ESTALE);
		assert_false(weir_decoder_close(a, other));
	}
	/* closed, and the slot given to another */
	assert_true(weir_decoder_close(a, t));
	u = weir_decoder_open(a, WEIR_BODY_GZIP);
	assert_true(u != t);
	assert_int_equal(weir_decode(a, t, gz.p, gz.n, sink, &s), -ESTALE);
	assert_false(weir_decoder_close(a, t));
	assert_int_equal(s.at, 0);
	assert_int_equal(weir_decode(a, u, gz.p, gz.n, sink, &s), 0);
	assert_int_equal(s.at, 4);
	assert_int_equal(stats(a).open, 1);
	weir_decoders_free(b);
	weir_decoders_free(a); /* with one open */
	weir_decoders_free(NULL);
	free(gz.p);
}

/* As many as slots, and then some; by turns with others closed. */
static void test_many(void **state)
{
	struct weir_decoders *d = pool(4 << 20);
	uint64_t t[3000];

	for (int i = 0; i < 3000; i++) {
		t[i] = weir_decoder_open(d, i % 7 ? WEIR_BODY_GZIP : WEIR_BODY_ZSTD);
		assert_true(t[i] != 0);
		assert_true(stats(d).bytes <= 4 << 20);
		if (i % 3 == 2)
			weir_decoder_close(d, t[i - i % 10]);
	}
	assert_true(stats(d).given_up > 0);
	for (int i = 0; i < 3000; i++)
		weir_decoder_close(d, t[i]);
	assert_int_equal(stats(d).open, 0);
	assert_int_equal(stats(d).bytes, 0);
	assert_true(weir_decoder_open(d, WEIR_BODY_PLAIN) == 0);
	assert_true(weir_decoder_open(d, WEIR_BODY_CODED) == 0);
	assert_true(weir_decoder_open(d, WEIR_BODY_GZIP) != 0);
	weir_decoders_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_longest_unused_goes),
		cmocka_unit_test(test_larger_than_the_pool),
		cmocka_unit_test(test_too_small),
		cmocka_unit_test(test_stale_tickets),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
