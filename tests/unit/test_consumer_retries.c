// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about retries of a tenant of bill_retries: false: what repeats a request whose answer
 * broke off is free, and nothing else is.
 */
#include "tests/unit/consumer_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_retry_is_free_once_wherever_it_was_killed),
		cmocka_unit_test(what_is_not_certain_to_be_a_retry_is_billed),
		TEST(three_retries_are_free_and_errors_use_none_of_them),
		TEST(after_a_whole_answer_no_retry_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
