// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the ring's consumer: each record counts once, wherever a kill -9
 * came, and what bodies said reaches the ledger.
 */
#include "tests/unit/consumer_fixture.h"

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

#define BODY   "{\"model\":\"small\",\"user\":\"ann\",\"max_tokens\":90}"
#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/* As put_request, with a body of that length. */
static void put_post(struct node *b, uint32_t ordinal, size_t body_bytes)
{
	struct weir_rec_request r = { .h = head_of(WEIR_REC_REQUEST, ordinal, 0),
				      .started_wall_ns = b->f->t0 + ordinal,
				      .reserved_nano = RESERVED,
				      .body_bytes = body_bytes,
				      .tenant = b->f->acme,
				      .wallet = b->f->acme,
				      .method = "POST",
				      .path = "/v1/chat/completions" };

	put(b, &r, sizeof(r));
}

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

/* -- retries of a tenant of bill_retries: false */

/* An answer that the server breaks off in its middle. */
static void put_broken(struct node *b, uint32_t ordinal)
{
	static const char text[] =
		"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
		"transfer-encoding: chunked\r\n\r\n1000\r\n"
		"data: {\"model\":\"small\",\"choices\":[{\"delta\":{\"content\":\"x\"}}],"
		"\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1}}\n\n"
		"data: {\"choices\":[{\"delta\":{\"con";

	put_piece(b, WEIR_REC_DATA, ordinal, 0, text, strlen(text));
	put_end(b, ordinal, 0, WEIR_END_CLOSE);
}

static void put_asked(struct node *b, uint32_t ordinal, const char *body)
{
	put_post(b, ordinal, strlen(body));
	put_piece(b, WEIR_REC_ASKED, ordinal, 0, body, strlen(body));
}

static bool is_free(const struct weir_row *row)
{
	return row->flags2 & WEIR_ROW_RETRY_FREE;
}

/* The records' times are all alike, and a wall clock's nanosecond each in these tests: what came
 * after began when it had broken off, or later. */
static void retried(struct node *b)
{
	b->enforce.terms[b->f->acme].free_retries = true;
	b->tenants[b->f->acme].reserved_nano = 2 * RESERVED;
	put_asked(b, 1, BODY);
	put_broken(b, 1);
	put_asked(b, 2000, BODY);
	put_answer(b, 2000, "small");
	put_end(b, 2000, 0, WEIR_END_RESPONSE);
}

static void assert_retried(struct node *b)
{
	struct kept *k = all(b->f);

	assert_int_equal(k->n, 2);
	assert_false(is_free(&k->row[0]));
	assert_int_equal(k->row[0].price_nano, 10);
	assert_true(is_free(&k->row[1]));
	assert_int_equal(k->row[1].flags & WEIR_ROW_BILLABLE, 0);
	assert_int_equal(k->row[1].price_nano, 0);
	assert_int_equal(k->row[1].usage.input, 10);
}

static void assert_nothing(struct node *b)
{
	assert_int_equal(all(b->f)->n, 0);
}

/* Killed after any record, with the ring's position anywhere before that: the next
 * agent ends where one that was never killed does. */
static void killed_anywhere(void **state, void (*fill)(struct node *b),
			    void (*check)(struct node *b))
{
	size_t n = 1;

	for (size_t seen = 0; seen <= n; seen++) {
		for (size_t kept = 0; kept <= seen; kept++) {
			struct fixture *f;
			struct node *b;

			fixture_up(state);
			f = *state;
			b = node_new(f);
			fill(b);
			n = b->n;
			show(b, seen);
			run(b, false);
			assert_int_equal(*consumer_at(b), seen ? b->ends[seen - 1] : 0);
			*consumer_at(b) = kept ? b->ends[kept - 1] : 0;
			show(b, n);
			run(b, false);
			check(b);
			assert_int_equal(weir_reserved_now(&b->tenants[f->acme]), 0);
			assert_true(weir_released(&b->tenants[f->acme]) >= RESERVED);
			assert_int_equal(weir_state_rows(b->state), 0);
			assert_verifies(f);
			node_free(b);
			fixture_down(state);
		}
	}
	assert_true(n >= 3);
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

static void a_retry_is_free_once_wherever_it_was_killed(void **state)
{
	killed_anywhere(state, retried, assert_retried);
}

/* As retried(), but for what is done between. */
static struct kept *retry_after(struct node *b, void (*second)(struct node *b))
{
	b->enforce.terms[b->f->acme].free_retries = true;
	put_asked(b, 1, BODY);
	put_broken(b, 1);
	second(b);
	put_answer(b, 2000, "small");
	put_end(b, 2000, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	run(b, true);
	return all(b->f);
}

static void another_body(struct node *b)
{
	put_asked(b, 2000, "{\"model\":\"small\",\"user\":\"bob\",\"max_tokens\":90}");
}

static void half_a_body(struct node *b)
{
	put_post(b, 2000, strlen(BODY));
	put_piece(b, WEIR_REC_ASKED, 2000, 0, BODY, strlen(BODY) - 1);
}

static void a_body_with_a_hole(struct node *b)
{
	put_post(b, 2000, strlen(BODY));
	put_piece(b, WEIR_REC_ASKED, 2000, 0, BODY, 10);
	put_piece(b, WEIR_REC_ASKED, 2000, 11, BODY + 11, strlen(BODY) - 11);
}

static void of_a_tier_that_bills_them(struct node *b)
{
	put_asked(b, 2000, BODY);
	b->enforce.terms[b->f->acme].free_retries = false;
}

static void what_is_not_certain_to_be_a_retry_is_billed(void **state)
{
	void (*const seconds[])(struct node *) = { another_body, half_a_body, a_body_with_a_hole,
						   of_a_tier_that_bills_them };

	for (size_t i = 0; i < sizeof(seconds) / sizeof(*seconds); i++) {
		struct fixture *f;
		struct node *b;
		struct kept *k;

		fixture_up(state);
		f = *state;
		b = node_new(f);
		k = retry_after(b, seconds[i]);
		assert_int_equal(k->n, 2);
		assert_false(is_free(&k->row[1]));
		assert_int_equal(k->row[1].price_nano, 10);
		node_free(b);
		fixture_down(state);
	}
}

/* Requests of the same body after one that broke off: 503, broken off again three times or whole
 * at once, and then whole. */
static struct kept *retry_often(struct node *b, int broken)
{
	static const char error[] = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
	uint32_t ordinal = 2000;

	b->enforce.terms[b->f->acme].free_retries = true;
	put_asked(b, 1, BODY);
	put_broken(b, 1);
	put_asked(b, ordinal, BODY);
	put_piece(b, WEIR_REC_DATA, ordinal, 0, error, strlen(error));
	put_end(b, ordinal++, 0, WEIR_END_RESPONSE);
	for (int i = 0; i < 4; i++) {
		put_asked(b, ordinal, BODY);
		if (i < broken) {
			put_broken(b, ordinal);
		} else {
			put_answer(b, ordinal, "small");
			put_end(b, ordinal, 0, WEIR_END_RESPONSE);
		}
		ordinal++;
	}
	show(b, b->n);
	run(b, true);
	return all(b->f);
}

static void three_retries_are_free_and_errors_use_none_of_them(void **state)
{
	struct node *b = node_new(*state);
	struct kept *k = retry_often(b, 3);

	assert_int_equal(k->n, 6);
	for (size_t i = 2; i < 5; i++)
		assert_true(is_free(&k->row[i]));
	assert_false(is_free(&k->row[5]));
	assert_int_equal(k->row[5].price_nano, 10);
	node_free(b);
}

static void after_a_whole_answer_no_retry_is_free(void **state)
{
	struct node *b = node_new(*state);
	struct kept *k = retry_often(b, 1);

	assert_int_equal(k->n, 6);
	assert_true(is_free(&k->row[2]));
	assert_true(is_free(&k->row[3]));
	assert_false(is_free(&k->row[4]));
	assert_false(is_free(&k->row[5]));
	node_free(b);
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
		cmocka_unit_test(a_retry_is_free_once_wherever_it_was_killed),
		cmocka_unit_test(what_is_not_certain_to_be_a_retry_is_billed),
		TEST(three_retries_are_free_and_errors_use_none_of_them),
		TEST(after_a_whole_answer_no_retry_is_free),
		TEST(what_a_request_says_is_its_own),
		cmocka_unit_test(a_refusal_in_the_body_is_settled_once_wherever_it_was_killed),
		TEST(a_refusal_in_the_body_gives_back_what_it_reserved),
		TEST(an_answer_before_the_refusal_is_billed),
		TEST(an_unjudged_answer_is_metered_and_priced),
		TEST(a_body_is_its_own_requests),
		TEST(labels_are_their_own_requests),
		TEST(what_is_not_posted_takes_nothing_off_the_ceiling),
		TEST(a_record_that_is_too_short_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
