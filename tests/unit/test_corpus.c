// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about every answer of tests/corpus: the parser makes of it what is written beside it, in
 * whichever framing and coding it comes, wherever it is cut, whatever comes before and behind it;
 * and where bytes of it are missing, nothing wrong is called reported.
 */
#include "tests/unit/corpus_fixture.h"

#define STRIDE 64

/* ------------------------------------------------------------ feeding */

static int ascending(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

/* In n + 1 pieces, then the connection closes. */
static void feed_cut(struct weir_response *r, struct weir_decoders *d, const struct bytes *w,
		     size_t *cuts, size_t n)
{
	size_t i, at = 0;

	if (n)
		qsort(cuts, n, sizeof(*cuts), ascending);
	weir_response_init(r, false);
	for (i = 0; i <= n; i++) {
		size_t to = i < n ? cuts[i] : w->n;

		assert_int_equal(feed_piece(r, d, w->p + at, to - at), to - at);
		at = to;
	}
	weir_response_close(r);
	weir_response_end(r, d);
}

static void feed_random(struct weir_response *r, struct weir_decoders *d, const struct bytes *w,
			size_t cuts)
{
	size_t at[8], i;

	assert_true(cuts <= 8);
	for (i = 0; i < cuts; i++)
		at[i] = rnd() % (w->n + 1);
	feed_cut(r, d, w, at, cuts);
}

/* ------------------------------------------------------------ claims */

static void each_answer_means_what_is_written_beside_it(void **unused)
{
	struct weir_response r;
	int bad = 0;
	size_t i, f;

	assert_true(corpus.n > 150);
	for (i = 0; i < corpus.n; i++)
		for (f = 0; f < FRAMINGS; f++) {
			struct answer *a = &corpus.answers[i];
			struct bytes w;

			if (!can_be(a, f))
				continue;
			w = wire_of(a, f);
			feed_cut(&r, NULL, &w, NULL, 0);
			bad += differs(a, framing_names[f], &r);
			/* from here on it must not change */
			if (a->want.text_bytes < 0)
				a->want.text_bytes = r.seen.text_bytes;
			free(w.p);
		}
	assert_int_equal(bad, 0);
}

/*
 * The parser is plain data: if a cut between two marks has led to the very state that no cut led
 * to, what follows cannot differ. (If it is another state, what follows is tried out.)
 */
static int cut_between(const struct answer *a, const struct bytes *w,
		       const struct weir_response *from, const struct weir_response *to, size_t at,
		       size_t end)
{
	struct weir_response r;
	size_t cut;

	for (cut = at + 1; cut < end; cut++) {
		memcpy(&r, from, sizeof(r));
		feed_piece(&r, NULL, w->p + at, cut - at);
		feed_piece(&r, NULL, w->p + cut, end - cut);
		if (!memcmp(&r, to, sizeof(r)))
			continue;
		feed_piece(&r, NULL, w->p + end, w->n - end);
		weir_response_close(&r);
		if (differs(a, "cut in two", &r)) {
			print_error("%s: cut at byte %zu of %zu\n", a->name, cut, w->n);
			return 1;
		}
	}
	return 0;
}

static void a_cut_at_any_byte_changes_nothing(void **unused)
{
	struct weir_response from, to;
	size_t i, f, at, end;
	int bad = 0;

	for (i = 0; i < corpus.n; i++)
		for (f = 0; f <= CLOSE; f++) {
			const struct answer *a = &corpus.answers[i];
			struct bytes w;

			if (!can_be(a, f))
				continue;
			w = wire_of(a, f);
			weir_response_init(&from, false);
			for (at = 0; at < w.n; at = end) {
				end = at + STRIDE;
				if (w.n > BIG && at >= 2048 && at + 4096 < w.n)
					end = w.n - 2048; /* its middle in one */
				if (end > w.n)
					end = w.n;
				memcpy(&to, &from, sizeof(to));
				feed_piece(&to, NULL, w.p + at, end - at);
				if (end - at <= STRIDE)
					bad += cut_between(a, &w, &from, &to, at, end);
				memcpy(&from, &to, sizeof(to));
			}
			weir_response_close(&from);
			bad += differs(a, "in pieces of 64", &from);
			free(w.p);
		}
	assert_int_equal(bad, 0);
}

static void cuts_at_two_and_three_random_bytes_change_nothing(void **unused)
{
	struct weir_response r;
	int bad = 0;
	size_t i, f, k;

	for (i = 0; i < corpus.n; i++)
		for (f = 0; f < FRAMINGS; f++) {
			const struct answer *a = &corpus.answers[i];
			struct bytes w;
			size_t times;

			if (!can_be(a, f))
				continue;
			w = wire_of(a, f);
			times = w.n > BIG ? 2 : 24;
			for (k = 0; k < times; k++) {
				feed_random(&r, NULL, &w, 2 + k % 2);
				bad += differs(a, "cut twice or thrice", &r);
			}
			free(w.p);
		}
	assert_int_equal(bad, 0);
}

static struct bytes coded(const struct answer *a, int coding)
{
	size_t flush = a->want.stream ? 200 : 0;

	if (coding == 2)
		return zstd(a->body.p, a->body.n, flush ? 17 : 0, flush);
	return deflated(a->body.p, a->body.n, coding ? 15 : 15 + 16, 6, flush);
}

static void compressed_bodies_mean_the_same(void **unused)
{
	static const char *const names[] = { "gzip", "deflate", "zstd" };
	static const enum weir_body_coding codings[] = { WEIR_BODY_GZIP, WEIR_BODY_DEFLATE,
							 WEIR_BODY_ZSTD };
	struct weir_decoders *d = pool(POOL);
	struct weir_response r;
	int bad = 0, c;
	size_t i, f, k, all[8192];

	for (i = 0; i < corpus.n; i++)
		for (c = 0; c < 3; c++) {
			const struct answer *a = &corpus.answers[i];
			struct bytes body;

			if (a->cut || a->bodiless || a->coded)
				continue;
			body = coded(a, c);
			for (f = 0; f <= CLOSE; f++) {
				struct bytes w;

				if (!can_be(a, f))
					continue;
				w = wire_with(a, body, names[c], f);
				for (k = 0; k < (w.n > 8192 || a->body.n > BIG ? 1 : 4); k++) {
					feed_random(&r, d, &w, k * 2);
					bad += differs(a, names[c], &r);
					bad += differs_n(a, names[c], "coding", r.seen.coding,
							 codings[c]);
				}
				for (k = 0; k < w.n && w.n <= 8192; k++)
					all[k] = k;
				if (w.n <= 8192) {
					feed_cut(&r, d, &w, all, w.n);
					bad += differs(a, "compressed, byte by byte", &r);
				}
				free(w.p);
			}
			free(body.p);
		}
	assert_int_equal(bad, 0);
	assert_int_equal(stats(d).open, 0);
	weir_decoders_free(d);
}

static void answers_behind_interim_ones_mean_the_same(void **unused)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
				      "link: </x>\r\ncontent-length: 5\r\nx-request-id: no\r\n\r\n"
				      "HTTP/1.1 100\r\n\r\n";
	struct weir_response r;
	int bad = 0;
	size_t i;

	for (i = 0; i < corpus.n; i++) {
		const struct answer *a = &corpus.answers[i];
		struct bytes w = { 0 }, rest;

		rest = wire_of(a, a->closed ? CLOSE : i % 2 ? CHUNKED : LENGTH);
		append_text(&w, interim);
		append(&w, rest.p, rest.n);
		feed_random(&r, NULL, &w, 3);
		bad += differs(a, "behind 100 and 103", &r);
		free(w.p);
		free(rest.p);
	}
	assert_int_equal(bad, 0);
}

static void answers_on_one_connection_are_told_apart(void **unused)
{
	struct weir_response r;
	struct bytes w = { 0 };
	size_t i, at = 0, bad = 0;

	for (i = 0; i < corpus.n; i++) {
		struct bytes one = wire_of(&corpus.answers[i], rnd() % 2 ? CHUNKED : LENGTH);

		if (!corpus.answers[i].cut && !corpus.answers[i].closed)
			append(&w, one.p, one.n);
		free(one.p);
	}
	for (i = 0; i < corpus.n; i++) {
		if (corpus.answers[i].cut || corpus.answers[i].closed)
			continue;
		weir_response_init(&r, false);
		while (!r.seen.done && !r.seen.bad && at < w.n) {
			size_t n = rnd() % 5000;

			at += feed_piece(&r, NULL, w.p + at, n < w.n - at ? n : w.n - at);
		}
		bad += differs(&corpus.answers[i], "among others", &r);
	}
	assert_int_equal(at, w.n);
	assert_int_equal(bad, 0);
	free(w.p);
}

static void an_answer_to_head_is_over_with_its_head(void **unused)
{
	struct weir_response r;
	size_t i;

	for (i = 0; i < corpus.n; i++) {
		const struct answer *a = &corpus.answers[i];
		struct bytes w = wire_of(a, LENGTH);
		size_t head = w.n - (a->body.n - a->cut);

		weir_response_init(&r, true);
		assert_int_equal(feed_piece(&r, NULL, w.p, w.n), head);
		assert_true(r.seen.done && !r.seen.bad && !r.seen.body_started);
		assert_int_equal(r.seen.status, a->want.status);
		assert_int_equal(r.seen.chunks, 0);
		free(w.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_answer_means_what_is_written_beside_it),
		cmocka_unit_test(a_cut_at_any_byte_changes_nothing),
		cmocka_unit_test(cuts_at_two_and_three_random_bytes_change_nothing),
		cmocka_unit_test(compressed_bodies_mean_the_same),
		cmocka_unit_test(answers_behind_interim_ones_mean_the_same),
		cmocka_unit_test(answers_on_one_connection_are_told_apart),
		cmocka_unit_test(an_answer_to_head_is_over_with_its_head),
	};

	return cmocka_run_group_tests_name("corpus", tests, setup, teardown);
}
