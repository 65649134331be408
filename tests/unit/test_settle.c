// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about settlement of what a request was charged at: each level by its own
 * terms, once, whatever comes between two of them; and of records whose layout is
 * not ours.
 */
#include "tests/unit/consumer_fixture.h"

#define SCOPE  5
#define PARENT 6
#define PURSE  7

/* An answer whose usage is 4 input, 6 from the cache, 4 output. */
static void put_cached_answer(struct node *b, uint32_t ordinal)
{
	static const char body[] = "{\"model\":\"small\",\"choices\":[{}],\"usage\":{"
				   "\"prompt_tokens\":10,\"completion_tokens\":4,"
				   "\"prompt_tokens_details\":{\"cached_tokens\":6}}}";
	struct {
		struct weir_rec_data r;
		char text[512];
	} rec = { .r.started_wall_ns = b->f->t0 + ordinal };
	int n = snprintf(rec.text, sizeof(rec.text),
			 "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
			 "content-length: %zu\r\n\r\n%s",
			 sizeof(body) - 1, body);

	rec.r.h = head_of(WEIR_REC_DATA, ordinal, (uint32_t)n);
	put(b, &rec, sizeof(rec.r) + (size_t)n);
}

/* One request, charged at its tenant, a scope and a parent, each with a rate of its own. */
static struct node *levelled(struct fixture *f)
{
	struct node *b = node_new(f);
	static const struct weir_rate rates[] = {
		{ .count = 1, .period_ns = 1000, .burst = 100 },
		{ .count = 3, .period_ns = 1000, .burst = 100 },
		{ 0 }, /* no limit of tokens, but they are reserved there too */
	};
	static const uint32_t weights[] = { 1000000, 500000, 0 };
	const uint32_t levels[] = { f->acme, SCOPE, PARENT };

	b->others[0] = SCOPE;
	b->others[2] = PARENT; /* a level that is not there may be between */
	b->tokens = TOKENS;
	for (size_t i = 0; i < 3; i++) {
		b->tenants[levels[i]].reserved_tokens = TOKENS;
		b->enforce.terms[levels[i]].tokens = rates[i];
		b->enforce.terms[levels[i]].cached_weight_ppm = weights[i];
	}
	put_request(b, 1, 0, "/v1/chat/completions");
	put_cached_answer(b, 1);
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	return b;
}

static void assert_settled(struct node *b)
{
	const uint32_t levels[] = { b->f->acme, SCOPE, PARENT };

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(weir_reserved_tokens_now(&b->tenants[levels[i]]), 0);
	/* 14 tokens; 11, the cached ones half, at 3 per 1000 ns, rounded up; none. */
	assert_int_equal(weir_tokens_tat(&b->tenants[b->f->acme]), ENDED_NS + 14000);
	assert_int_equal(weir_tokens_tat(&b->tenants[SCOPE]), ENDED_NS + 3667);
	assert_int_equal(weir_tokens_tat(&b->tenants[PARENT]), 0);
	/* Credit is the wallet's alone. */
	assert_int_equal(weir_released(&b->tenants[b->f->acme]), RESERVED);
	assert_int_equal(weir_released(&b->tenants[SCOPE]), 0);
	assert_int_equal(weir_released(&b->tenants[PARENT]), 0);
	assert_int_equal(b->tenants[SCOPE].ceiling_nano, 0);
	assert_int_equal(b->tenants[PARENT].ceiling_nano, 0);
}

static void each_level_is_settled_by_its_own_terms(void **state)
{
	struct node *b = levelled(*state);
	struct weir_tenant *t = &b->tenants[b->f->acme];

	show(b, b->n);
	run(b, true);
	assert_settled(b);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT - 10);
	/* Once: another agent that finds the records again changes nothing. */
	*consumer_at(b) = 0;
	run(b, true);
	assert_settled(b);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT - 10);
	assert_int_equal(all(b->f)->n, 1);
	node_free(b);
}

/* A kill -9 came when the first n levels were settled: the next agent does the rest. */
static void killed_between_two_levels_each_is_settled_once(void **state)
{
	for (size_t n = 0; n <= 3; n++) {
		struct weir_tenant untouched[TENANTS];
		struct fixture *f;
		struct node *b;

		fixture_up(state);
		f = *state;
		b = levelled(f);
		const uint32_t levels[] = { f->acme, SCOPE, PARENT };

		memcpy(untouched, b->tenants, sizeof(untouched));
		show(b, b->n);
		run(b, false);
		assert_settled(b);
		for (size_t i = n; i < 3; i++)
			b->tenants[levels[i]] = untouched[levels[i]];
		*consumer_at(b) = 0;
		run(b, false);
		assert_settled(b);
		assert_int_equal(all(f)->n, 1);
		node_free(b);
		fixture_down(state);
	}
}

static void a_wallet_that_is_no_level_is_given_its_credit_back(void **state)
{
	struct node *b = node_new(*state);
	struct weir_tenant *t = &b->tenants[b->f->acme], *purse = &b->tenants[PURSE];
	struct weir_rec_end r = { .h = head_of(WEIR_REC_END, 1, 0),
				  .started_wall_ns = b->f->t0 + 1,
				  .reserved_nano = RESERVED,
				  .reserved_tokens = TOKENS,
				  .tenant = b->f->acme,
				  .wallet = PURSE };

	t->reserved_nano = 0;
	t->reserved_tokens = TOKENS;
	purse->reserved_nano = RESERVED;
	weir_ceiling_set(purse, CREDIT, 0, 0);
	r.h.flags = WEIR_END_RESPONSE;
	put_request(b, 1, 0, "/v1/chat/completions");
	put_answer(b, 1, "small");
	put(b, &r, sizeof(r));
	show(b, b->n);
	run(b, true);
	assert_int_equal(weir_released(t), 0);
	assert_int_equal(weir_reserved_tokens_now(t), 0);
	assert_int_equal(weir_reserved_now(purse), 0);
	assert_int_equal(purse->ceiling_nano - (int64_t)purse->reserved_nano, CREDIT - 10);
	node_free(b);
}

/* Let through with enforcement off: no row, but a reservation like any other. */
static void what_nobody_reserved_is_given_back(void **state)
{
	struct node *b = node_new(*state);
	struct weir_rec_end r = { .h = head_of(WEIR_REC_END, 1, 0),
				  .started_wall_ns = b->f->t0 + 1,
				  .reserved_tokens = TOKENS };

	b->tenants[WEIR_NO_TENANT].reserved_tokens = TOKENS;
	put_request(b, 1, 0, "/v1/chat/completions");
	put(b, &r, sizeof(r));
	show(b, b->n);
	run(b, true);
	assert_int_equal(weir_reserved_tokens_now(&b->tenants[WEIR_NO_TENANT]), 0);
	assert_int_equal(all(b->f)->n, 0);
	node_free(b);
}

/* ----------------------------------------------------------------------- layouts */

struct any_record {
	uint8_t bytes[256];
};

static void put_resized(struct node *b, const void *rec, size_t n, size_t wanted)
{
	struct any_record r;

	memset(&r, 0xa5, sizeof(r)); /* what a newer kernel adds is not zero */
	memcpy(&r, rec, n < wanted ? n : wanted);
	put(b, &r, wanted);
}

/* A request whose END has this many bytes. */
static struct node *ended_in(struct fixture *f, size_t bytes)
{
	struct node *b = levelled(f);
	struct weir_rec_end r = { .h = head_of(WEIR_REC_END, 1, 0),
				  .started_wall_ns = f->t0 + 1,
				  .reserved_nano = RESERVED,
				  .tenant = f->acme,
				  .wallet = f->acme,
				  .others = { SCOPE, 0, PARENT },
				  .reserved_tokens = TOKENS };

	b->n--;
	put_resized(b, &r, sizeof(r), bytes);
	show(b, b->n);
	run(b, true);
	return b;
}

static void an_end_of_a_newer_kernel_is_settled_by_what_we_know(void **state)
{
	struct node *b = ended_in(*state, sizeof(struct weir_rec_end) + 40);

	assert_settled(b);
	assert_int_equal(all(b->f)->n, 1);
	node_free(b);
}

/* It reserved no tokens and knew no levels; nothing behind its end is believed. */
static void an_end_of_an_older_kernel_is_settled_by_what_it_knew(void **state)
{
	struct node *b = ended_in(*state, offsetof(struct weir_rec_end, others));
	struct weir_tenant *t = &b->tenants[b->f->acme];

	assert_int_equal(all(b->f)->n, 1);
	assert_int_equal(weir_reserved_now(t), 0);
	assert_int_equal(weir_reserved_tokens_now(t), TOKENS);
	assert_int_equal(weir_tokens_tat(t), ENDED_NS + 14000);
	assert_int_equal(weir_reserved_tokens_now(&b->tenants[SCOPE]), TOKENS);
	node_free(b);
}

static void an_end_shorter_than_any_is_passed_over(void **state)
{
	struct node *b = ended_in(*state, offsetof(struct weir_rec_end, others) - 8);

	assert_int_equal(all(b->f)->n, 0);
	assert_int_equal(weir_released(&b->tenants[b->f->acme]), 0);
	node_free(b);
}

static void a_denial_of_either_is_noted(void **state)
{
	struct node *b = node_new(*state);
	struct weir_refusal last[4];
	struct weir_rec_deny r = { .h = head_of(WEIR_REC_DENY, 1, 0),
				   .wall_ns = b->f->t0,
				   .tenant = b->f->acme,
				   .reason = WEIR_DENY_TOKENS,
				   .level = PARENT,
				   .shadow = 1 };

	for (r.count = 1; r.count <= 3; r.count++) {
		static const size_t bytes[] = { offsetof(struct weir_rec_deny, level), sizeof(r),
						sizeof(r) + 16 };

		put_resized(b, &r, sizeof(r), bytes[r.count - 1]);
	}
	show(b, b->n);
	run(b, true);
	assert_int_equal(weir_denials_last(b->denials, b->f->acme, last, 4), 3);
	for (size_t i = 0; i < 3; i++) {
		bool old = i == 2; /* newest first */

		assert_int_equal(last[i].count, 3 - i);
		assert_int_equal(last[i].level, old ? 0 : PARENT);
		assert_int_equal(last[i].shadow, !old);
	}
	node_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_level_is_settled_by_its_own_terms),
		cmocka_unit_test(killed_between_two_levels_each_is_settled_once),
		TEST(a_wallet_that_is_no_level_is_given_its_credit_back),
		TEST(what_nobody_reserved_is_given_back),
		TEST(an_end_of_a_newer_kernel_is_settled_by_what_we_know),
		TEST(an_end_of_an_older_kernel_is_settled_by_what_it_knew),
		TEST(an_end_shorter_than_any_is_passed_over),
		TEST(a_denial_of_either_is_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
