// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the answers of tests/corpus of which bytes are missing: nothing wrong is called
 * reported, wherever the hole is; what is known in spite of it, is.
 */
#include "tests/unit/corpus_fixture.h"

static void feed_hole(struct weir_response *r, const struct bytes *w, size_t from, size_t size)
{
	weir_response_init(r, false);
	feed_piece(r, NULL, w->p, from);
	weir_response_skip(r, size);
	feed_piece(r, NULL, w->p + from + size, w->n - from - size);
	weir_response_close(r);
}

/* Unknown, or right. */
static int wrong(const struct answer *a, const char *field, int64_t got, int64_t want)
{
	return got == WEIR_UNKNOWN ? 0
				   : differs_n(a, "reported in spite of a hole", field, got, want);
}

static int wrong_report(const struct answer *a, const struct weir_response *r)
{
	const struct weir_usage *got = &r->seen.usage, *want = &a->want.usage;

	if (weir_response_source(r) != WEIR_USAGE_REPORTED || a->want.refined)
		return 0;
	return wrong(a, "input", got->input, want->input) +
	       wrong(a, "cache_read", got->cache_read, want->cache_read) +
	       wrong(a, "cache_write", got->cache_write, want->cache_write) +
	       wrong(a, "output", got->output, want->output) +
	       wrong(a, "reasoning", got->reasoning, want->reasoning) +
	       wrong(a, "audio", r->seen.audio, a->want.audio) +
	       wrong(a, "image", r->seen.image, a->want.image);
}

static void a_hole_anywhere_reports_nothing_wrong(void **unused)
{
	struct weir_response r;
	size_t i, f, k;
	int bad = 0;

	for (i = 0; i < corpus.n; i++)
		for (f = 0; f <= CLOSE; f++) {
			const struct answer *a = &corpus.answers[i];
			struct bytes w = wire_of(a, f);
			/* every byte where usage is most likely, and some longer ones anywhere */
			size_t each = w.n < 3000 ? w.n : 600, times = w.n > BIG ? 8 : each + 60;

			for (k = 0; k < times; k++) {
				size_t from = k < each && w.n <= BIG ? w.n - each + k : rnd() % w.n;
				size_t most = w.n - from;
				size_t size = rnd() % (k % 2 && most > 40 ? 40 : most) + 1;
				int n;

				feed_hole(&r, &w, from, size);
				n = wrong_report(a, &r);
				if (n)
					print_error("%s, %s: %zu bytes missing at %zu of %zu\n",
						    a->name, framing_names[f], size, from, w.n);
				bad += n;
			}
			free(w.p);
		}
	assert_int_equal(bad, 0);
}

static void a_stream_is_right_again_with_its_next_report(void **unused)
{
	static const char *const names[] = { "vllm/chat_stream_usage", "llamacpp/chat_stream",
					     "ollama/chat_stream", "cohere/v2_stream" };
	size_t i, n, found = 0;
	int bad = 0;

	for (i = 0; i < corpus.n; i++)
		for (n = 0; n < 4; n++) {
			const struct answer *a = &corpus.answers[i];
			struct weir_response r;
			struct bytes w;
			size_t start;

			if (strcmp(a->name, names[n]))
				continue;
			found++;
			w = wire_of(a, CLOSE);
			start = w.n - a->body.n;
			feed_hole(&r, &w, start + 20, 30); /* of the first event */
			bad += differs_n(a, "picked up", "source", weir_response_source(&r),
					 WEIR_USAGE_REPORTED);
			bad += wrong_report(a, &r);
			assert_int_equal(r.seen.usage.input, a->want.usage.input);
			assert_int_equal(r.seen.usage.output, a->want.usage.output);
			free(w.p);
		}
	assert_int_equal(found, 4);
	assert_int_equal(bad, 0);
}

/* What the kernel skips of an answer with a Content-Length. */
static void a_hole_in_a_vector_changes_nothing(void **unused)
{
	struct weir_response r;
	size_t i, k, vectors = 0;
	int bad = 0;

	for (i = 0; i < corpus.n; i++) {
		const struct answer *a = &corpus.answers[i];
		struct bytes w = wire_of(a, LENGTH);
		size_t head = w.n - a->body.n, from, size;

		if (strstr(a->name, "embed") && a->fill_size) {
			vectors++;
			for (k = 0; k < 20; k++) {
				from = rnd() % (a->fill_size - 1);
				size = rnd() % (a->fill_size - from) + 1;
				feed_hole(&r, &w, head + a->fill_from + from, size);
				bad += differs(a, "without its vector", &r);
			}
		}
		free(w.p);
	}
	assert_true(vectors >= 6);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hole_anywhere_reports_nothing_wrong),
		cmocka_unit_test(a_stream_is_right_again_with_its_next_report),
		cmocka_unit_test(a_hole_in_a_vector_changes_nothing),
	};

	return cmocka_run_group_tests_name("corpus, holes", tests, setup, teardown);
}
