// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the ring's consumer: each record counts once, wherever a kill -9
 * came, and what bodies said reaches the ledger.
 */
#include "tests/unit/consumer_fixture.h"

#include <zlib.h>

/* ------------------------------------------------------------------------ claims */

static void degraded(struct node *b)
{
	put_request(b, 1, WEIR_SLOT_DEGRADED, "/v1/chat/completions");
	put_body(b, 1, "big", WEIR_BODY_MODEL_REPLACED | WEIR_BODY_TOKENS_CUT);
	put_answer(b, 1, "small");
	put_end(b, 1, WEIR_SLOT_DEGRADED, WEIR_END_RESPONSE);
}

static void refused(struct node *b)
{
	put_request(b, 1, 0, "/v1/chat/completions");
	put_body(b, 1, "big", 0);
	put_end(b, 1, 0, WEIR_END_REFUSED);
}

static void assert_degraded(struct node *b)
{
	struct kept *k = all(b->f);

	assert_int_equal(k->n, 1);
	assert_string_equal(k->row[0].model_requested, "big");
	assert_string_equal(k->row[0].model, "small");
	assert_int_equal(k->row[0].max_tokens_requested, 9000);
	assert_int_equal(k->row[0].usage_source, WEIR_USAGE_REPORTED);
	assert_int_equal(k->row[0].flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_DEGRADED |
						  WEIR_ROW_TOKENS_CUT);
	assert_int_equal(k->row[0].price_nano, 10);
}

static void labelled(struct node *b)
{
	put_request(b, 1, 0, "/v1/chat/completions");
	put_labels(b, 1, "s-4711", "chat", WEIR_LABELS_TRUSTED);
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
}

static void assert_labelled(struct node *b)
{
	struct kept *k = all(b->f);

	assert_int_equal(k->n, 1);
	assert_string_equal(k->row[0].session, "s-4711");
	assert_string_equal(k->row[0].feature, "chat");
	assert_true(k->row[0].flags & WEIR_ROW_TRUSTED);
	assert_int_equal(k->row[0].price_nano, 10);
}

/* -- of what the head and the body say now */

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void said(struct node *b)
{
	put_post(b, 1, strlen(BODY));
	put_line(b, 1, "X-Weir-Team: ml", WEIR_LABELS_TRUSTED);
	put_line(b, 1, "baggage: session.id=s-1,cost_center=cc%2D7", WEIR_LABELS_TRUSTED);
	put_line(b, 1, "traceparent: " PARENT, WEIR_LABELS_TRUSTED);
	put_line(b, 1, "x-stainless-retry-count: 2", WEIR_LABELS_TRUSTED);
	put_piece(b, WEIR_REC_ASKED, 1, 0, BODY, 20);
	put_piece(b, WEIR_REC_ASKED, 1, 20, BODY + 20, strlen(BODY) - 20);
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
}

static void assert_said(struct node *b)
{
	struct kept *k = all(b->f);

	assert_int_equal(k->n, 1);
	assert_string_equal(k->row[0].user, "ann");
	assert_string_equal(k->row[0].team, "ml");
	assert_string_equal(k->row[0].cost_center, "cc-7");
	assert_string_equal(k->row[0].session, "s-1");
	assert_string_equal(k->row[0].feature, "");
	assert_int_equal(k->row[0].retry_count, 2);
	assert_int_equal(k->row[0].trace_id[0], 0x0a);
	assert_int_equal(k->row[0].trace_id[15], 0x9c);
	assert_string_equal(k->row[0].model_requested, "small");
	assert_int_equal(k->row[0].max_tokens_requested, 90);
	assert_true(k->row[0].flags & WEIR_ROW_TRUSTED);
	assert_int_equal(k->row[0].price_nano, 10);
}

static void assert_nothing(struct node *b)
{
	assert_int_equal(all(b->f)->n, 0);
}

static void what_the_body_said_is_billed_once_wherever_it_was_killed(void **state)
{
	killed_anywhere(state, degraded, assert_degraded);
}

static void labels_are_kept_wherever_it_was_killed(void **state)
{
	killed_anywhere(state, labelled, assert_labelled);
}

static void what_head_and_body_say_is_kept_wherever_it_was_killed(void **state)
{
	killed_anywhere(state, said, assert_said);
}

static void a_refusal_in_the_body_is_settled_once_wherever_it_was_killed(void **state)
{
	killed_anywhere(state, refused, assert_nothing);
}

static void a_refusal_in_the_body_gives_back_what_it_reserved(void **state)
{
	struct node *b = node_new(*state);
	struct weir_tenant *t = &b->tenants[b->f->acme];
	struct weir_consumer_stats stats;

	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT - RESERVED);
	refused(b);
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT);
	assert_int_equal(t->balance_nano, CREDIT);
	assert_int_equal(stats.open, 0);
	assert_int_equal(stats.rows, 0);
	assert_nothing(b);
	/* Once: another agent that finds the record again changes nothing. */
	*consumer_at(b) = 0;
	run(b, true);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT);
	node_free(b);
}

static void an_answer_before_the_refusal_is_billed(void **state)
{
	struct node *b = node_new(*state);
	struct weir_tenant *t = &b->tenants[b->f->acme];
	struct kept *k;

	put_request(b, 1, 0, "/v1/chat/completions");
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_REFUSED);
	show(b, b->n);
	run(b, true);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_int_equal(k->row[0].price_nano, 10);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT - 10);
	node_free(b);
}

static void an_unjudged_answer_is_metered_and_priced(void **state)
{
	struct node *b = node_new(*state);
	struct kept *k;

	put_request(b, 1, WEIR_SLOT_UNJUDGED, "-");
	put_answer(b, 1, "small");
	put_end(b, 1, WEIR_SLOT_UNJUDGED, WEIR_END_CLOSE);
	show(b, b->n);
	run(b, true);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_string_equal(k->row[0].method, "-");
	assert_string_equal(k->row[0].path, "-");
	assert_int_equal(k->row[0].flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_UNJUDGED);
	assert_int_equal(k->row[0].price_nano, 10);
	assert_int_equal(k->row[0].request_bytes, UINT64_MAX);
	node_free(b);
}

static void a_body_is_its_own_requests(void **state)
{
	struct node *b = node_new(*state);
	struct weir_consumer_stats stats;
	struct kept *k;

	put_request(b, 1, 0, "/v1/chat/completions");
	put_body(b, 7, "big", WEIR_BODY_MODEL_REPLACED); /* of a request that is not known */
	put_body(b, 1, "small", 0);
	put_answer(b, 1, "");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	put_body(b, 1, "big", 0); /* after the end: the answer did not wait for it */
	put_request(b, 2, 0, "/v1/chat/completions");
	put_answer(b, 2, "");
	put_end(b, 2, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(stats.orphans, 1);
	assert_int_equal(stats.open, 0);
	k = all(b->f);
	assert_int_equal(k->n, 2);
	assert_string_equal(k->row[0].model, "small");
	assert_string_equal(k->row[0].model_requested, "small");
	assert_int_equal(k->row[0].price_nano, 10);
	assert_int_equal(k->row[0].flags & (WEIR_ROW_DEGRADED | WEIR_ROW_UNPRICED), 0);
	/* The next request on the connection begins with nothing known. */
	assert_string_equal(k->row[1].model_requested, "");
	assert_int_equal(k->row[1].max_tokens_requested, WEIR_UNKNOWN);
	assert_true(k->row[1].flags & WEIR_ROW_UNPRICED);
	node_free(b);
}

/* Of the longest, and of the next request on the connection, which says nothing. */
static void labels_are_their_own_requests(void **state)
{
	struct node *b = node_new(*state);
	char session[64] = "", feature[48] = "";
	struct weir_consumer_stats stats;
	struct kept *k;

	memset(session, 's', sizeof(session) - 1);
	memset(feature, 'f', sizeof(feature) - 1);
	put_request(b, 1, 0, "/v1/chat/completions");
	put_labels(b, 7, "not", "mine", WEIR_LABELS_TRUSTED); /* of one that is not known */
	put_labels(b, 1, session, feature, 0);
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	put_request(b, 2, 0, "/v1/chat/completions");
	put_answer(b, 2, "small");
	put_end(b, 2, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(stats.orphans, 1);
	k = all(b->f);
	assert_int_equal(k->n, 2);
	assert_string_equal(k->row[0].session, session);
	assert_string_equal(k->row[0].feature, feature);
	assert_int_equal(k->row[0].flags & WEIR_ROW_TRUSTED, 0);
	assert_string_equal(k->row[1].session, "");
	assert_string_equal(k->row[1].feature, "");
	assert_int_equal(k->row[1].flags & WEIR_ROW_TRUSTED, 0);
	node_free(b);
}

/* Lines and pieces of a request that is not known, of another, and cut short in the ring. */
static void what_a_request_says_is_its_own(void **state)
{
	struct node *b = node_new(*state);
	struct weir_consumer_stats stats;
	struct weir_rec_line cut = { .h = head_of(WEIR_REC_LINE, 1, 500),
				     .started_wall_ns = b->f->t0 + 1 };
	struct kept *k;

	put_line(b, 1, "x-weir-team: early", 0);
	put_post(b, 1, strlen(BODY));
	put_line(b, 7, "x-weir-team: theirs", WEIR_LABELS_TRUSTED);
	put_piece(b, WEIR_REC_ASKED, 7, 0, BODY, strlen(BODY));
	put(b, &cut, sizeof(cut));
	put_line(b, 1, "x-weir-team: ml", 0);
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	put_post(b, 2, strlen(BODY));
	put_answer(b, 2, "small");
	put_end(b, 2, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(stats.orphans, 4);
	k = all(b->f);
	assert_int_equal(k->n, 2);
	assert_string_equal(k->row[0].team, "ml");
	assert_string_equal(k->row[0].user, "");
	assert_int_equal(k->row[0].flags & WEIR_ROW_TRUSTED, 0);
	assert_string_equal(k->row[1].team, "");
	node_free(b);
}

/* -- compressed answers: what undoes them is not in the state */

/* put_answer's, compressed; its first `part` bytes, or all of them. */
static void put_gzip(struct node *b, uint32_t ordinal, size_t part)
{
	static const char body[] = "{\"model\":\"small\",\"choices\":[{}],\"usage\":"
				   "{\"prompt_tokens\":10,\"completion_tokens\":4}}";
	uint8_t packed[512];
	z_stream z = { .next_in = (Bytef *)(uintptr_t)body,
		       .avail_in = sizeof(body) - 1,
		       .next_out = packed,
		       .avail_out = sizeof(packed) };
	char text[1024];
	size_t n;

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = (size_t)snprintf(text, sizeof(text),
			     "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
			     "content-encoding: gzip\r\ncontent-length: %lu\r\n\r\n",
			     z.total_out);
	memcpy(text + n, packed, z.total_out);
	n += z.total_out;
	deflateEnd(&z);
	if (part < n)
		n = part;
	for (size_t at = 0; at < n; at += 150)
		put_piece(b, WEIR_REC_DATA, ordinal, at, text + at, n - at < 150 ? n - at : 150);
}

static void compressed_answers_are_read(void **state)
{
	struct node *b = node_new(*state);
	struct weir_consumer_stats stats;
	struct kept *k;

	put_request(b, 1, 0, "/v1/chat/completions");
	put_gzip(b, 1, SIZE_MAX);
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(stats.decoders.opened, 1);
	assert_int_equal(stats.decoders.open, 0);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_int_equal(k->row[0].usage_source, WEIR_USAGE_REPORTED);
	assert_int_equal(k->row[0].price_nano, 10);
	node_free(b);
}

/* Its own END, or that of nobody: the next request on the connection came. */
static void decoders_are_given_back(void **state)
{
	for (int end = 0; end < 3; end++) {
		struct weir_consumer_stats stats;
		struct fixture *f;
		struct node *b;

		fixture_up(state);
		f = *state;
		b = node_new(f);
		put_request(b, 1, 0, "/v1/chat/completions");
		put_gzip(b, 1, 160);
		if (end == 1)
			put_end(b, 1, 0, WEIR_END_CLOSE);
		else if (end == 2)
			put_request(b, 2, 0, "/v1/chat/completions");
		show(b, b->n);
		stats = run(b, true);
		assert_int_equal(stats.decoders.opened, 1);
		assert_int_equal(stats.decoders.open, end ? 0 : 1);
		node_free(b);
		fixture_down(state);
	}
}

/* What undid it died with the agent: its next one does not guess. */
static void after_a_kill_a_compressed_answer_is_partial(void **state)
{
	struct node *b = node_new(*state);
	struct kept *k;

	put_request(b, 1, 0, "/v1/chat/completions");
	put_gzip(b, 1, SIZE_MAX);
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	show(b, 2);
	run(b, false);
	show(b, b->n);
	run(b, true);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_int_equal(k->row[0].usage_source, WEIR_USAGE_PARTIAL);
	assert_int_equal(k->row[0].usage.input, WEIR_UNKNOWN);
	node_free(b);
}

/* Priced, and the reservation comes back, but the wallet does not pay. */
static void what_is_not_posted_takes_nothing_off_the_ceiling(void **state)
{
	struct node *b = node_new(*state);
	struct weir_tenant *t = &b->tenants[b->f->acme];
	struct kept *k;

	b->enforce.terms[b->f->acme].credit = WEIR_CREDIT_NONE;
	put_request(b, 1, 0, "/v1/chat/completions");
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	run(b, true);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_int_equal(k->row[0].price_nano, 10);
	assert_int_equal(k->row[0].flags & WEIR_ROW_POSTED, 0);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT);
	assert_int_equal(t->balance_nano, CREDIT);
	node_free(b);
}

static void a_record_that_is_too_short_is_passed_over(void **state)
{
	struct node *b = node_new(*state);
	struct weir_rec_body r = { .h = head_of(WEIR_REC_BODY, 1, 0),
				   .started_wall_ns = b->f->t0 + 1,
				   .model_len = 3,
				   .model = "big" };

	put_request(b, 1, 0, "/v1/chat/completions");
	put(b, &r, sizeof(r) - 8);
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	run(b, true);
	assert_string_equal(all(b->f)->row[0].model_requested, "");
	node_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_body_said_is_billed_once_wherever_it_was_killed),
		cmocka_unit_test(labels_are_kept_wherever_it_was_killed),
		cmocka_unit_test(what_head_and_body_say_is_kept_wherever_it_was_killed),
		TEST(what_a_request_says_is_its_own),
		cmocka_unit_test(a_refusal_in_the_body_is_settled_once_wherever_it_was_killed),
		TEST(a_refusal_in_the_body_gives_back_what_it_reserved),
		TEST(an_answer_before_the_refusal_is_billed),
		TEST(an_unjudged_answer_is_metered_and_priced),
		TEST(a_body_is_its_own_requests),
		TEST(labels_are_their_own_requests),
		TEST(compressed_answers_are_read),
		cmocka_unit_test(decoders_are_given_back),
		TEST(after_a_kill_a_compressed_answer_is_partial),
		TEST(what_is_not_posted_takes_nothing_off_the_ceiling),
		TEST(a_record_that_is_too_short_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
