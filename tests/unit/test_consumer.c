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
			assert_int_equal(weir_released(&b->tenants[f->acme]), RESERVED);
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
