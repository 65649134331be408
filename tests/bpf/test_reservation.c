/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request reserves before it is known what it costs (limits.md 6 to 8): tokens at every
 * level, credit of the wallet; who sees it, how a body's max_tokens changes it, and that the
 * settlement leaves nothing behind, whatever became of the limits meanwhile.
 */
#define LAB_TENANTS 512
#define LAB_FLOWS   1024
#define LAB_RING    (1 << 16) /* to be filled */
#include "tests/bpf/bodies.h"
#include "tests/bpf/levels.h"

enum { BODY = 6, OUTPUT = 100, ASKED = BODY + OUTPUT }; /* of chat(), in tokens */

static uint64_t ring_pos;

/* A chain whose requests reserve ASKED tokens, once there is a limit. */
static struct chain new_reserving(const char *key)
{
	struct chain c = new_chain(key);

	c.at[0]->reserve_output_tokens = OUTPUT;
	return c;
}

static void limit_tokens(struct weir_tenant *t, uint64_t burst)
{
	t->flags |= WEIR_TENANT_LIMIT_TOKENS;
	t->tokens_interval_ns = 3600 * SECOND;
	t->tokens_tau_ns = burst * t->tokens_interval_ns;
}

/* Tokens that each level holds for what is in flight or not settled. */
static void holds_tokens(const struct chain *c, int32_t tokens)
{
	for (int k = 0; k < WEIR_LEVELS; k++)
		if (weir_reserved_tokens_now(c->at[k]) != tokens)
			fail_msg("%s: %d tokens reserved, expected %d", level_names[k],
				 weir_reserved_tokens_now(c->at[k]), tokens);
}

/* The nth request that ended is settled. */
static void settle_end(size_t nth, uint64_t used)
{
	const struct weir_rec_end *e = record(WEIR_REC_END, nth);

	assert_non_null(e);
	settle(e, ++ring_pos, used);
}

/* -- tokens */

static void a_request_is_let_in_when_anything_is_left_and_the_next_is_not(void **state)
{
	for (int level = 0; level < WEIR_LEVELS; level++) {
		struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
		struct chain_copy was;
		struct chain chain;
		struct verdict v;
		char key[40];

		lab.n_records = 0;
		snprintf(key, sizeof(key), "sk-res-%d", level);
		chain = new_reserving(key);
		/* Less than one request: its own reservation need not fit. */
		limit_tokens(chain.at[level], 2);
		passes(send_text(&c, chat(key)));
		holds_tokens(&chain, ASKED);
		passes(send_text(&d, "GET /health HTTP/1.1\r\n\r\n"));
		answer_ok(&d);
		was = chain_copy(&chain);
		v = send_text(&d, chat(key));
		is_refused(&d, &v, 429);
		is_counted(WEIR_DENY_TOKENS, level + 1);
		for (int k = 0; k < WEIR_LEVELS; k++)
			was.at[k].connections++; /* the connection itself is let in */
		chain_is(&chain, &was, 1);
		hang_up(&d);
		answer_ok(&c);
		holds_tokens(&chain, ASKED); /* until it is settled */
		settle_end(0, 0);
		holds_tokens(&chain, 0);
		passes(send_text(&c, chat(key)));
		hang_up(&c);
		settle_end(1, 0);
		holds_tokens(&chain, 0);
	}
}

static void of_many_at_once_those_that_find_something_left_are_let_in(void **state)
{
	struct chain chain = new_reserving("sk-some");
	struct conn c[4];
	struct verdict v;

	limit_tokens(chain.at[WEIR_LEVEL_PARENT], 2 * ASKED + 1);
	for (int i = 0; i < 4; i++)
		c[i] = open_conn(nobody, host);
	for (int i = 0; i < 3; i++)
		passes(send_text(&c[i], chat("sk-some")));
	v = send_text(&c[3], chat("sk-some"));
	is_refused(&c[3], &v, 429);
	holds_tokens(&chain, 3 * ASKED);
	for (int i = 0; i < 4; i++)
		hang_up(&c[i]);
	for (int i = 0; i < 3; i++)
		settle_end(i, 0);
	holds_tokens(&chain, 0);
}

/* What was reserved goes, what was used comes, once. */
static void settling_puts_what_was_used_in_the_place_of_what_was_reserved(void **state)
{
	struct chain chain = new_reserving("sk-used");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_end *e;
	struct chain_copy was;
	struct verdict v;

	for (int k = 0; k < WEIR_LEVELS; k++)
		limit_tokens(chain.at[k], 50);
	passes(send_text(&c, chat("sk-used")));
	answer_ok(&c);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->reserved_tokens, ASKED);
	settle(e, ++ring_pos, 49);
	holds_tokens(&chain, 0);
	was = chain_copy(&chain);
	settle(e, ring_pos, 49); /* a restarted agent finds it again */
	chain_is(&chain, &was, 0);
	/* One token is left of fifty. */
	passes(send_text(&c, chat("sk-used")));
	answer_ok(&c);
	settle(record(WEIR_REC_END, 1), ++ring_pos, 2);
	v = send_text(&c, chat("sk-used"));
	is_refused(&c, &v, 429);
	hang_up(&c);
	holds_tokens(&chain, 0);
}

static void without_a_limit_at_any_level_nothing_is_reserved(void **state)
{
	struct chain chain = new_reserving("sk-none");
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, chat("sk-none")));
	holds_tokens(&chain, 0);
	/* A limit that appears finds nothing of it. */
	limit_tokens(chain.at[WEIR_LEVEL_TOP], 10);
	answer_ok(&c);
	assert_int_equal(((const struct weir_rec_end *)record(WEIR_REC_END, 0))->reserved_tokens,
			 0);
	settle_end(0, 0);
	holds_tokens(&chain, 0);
	hang_up(&c);
}

static void a_limit_that_goes_away_meanwhile_leaves_nothing_behind(void **state)
{
	struct chain chain = new_reserving("sk-goes"), elsewhere = new_chain(NULL);
	struct conn c = open_conn(nobody, host);

	limit_tokens(chain.at[WEIR_LEVEL_SCOPE], 10);
	passes(send_text(&c, chat("sk-goes")));
	holds_tokens(&chain, ASKED);
	chain.at[WEIR_LEVEL_SCOPE]->flags &= ~WEIR_TENANT_LIMIT_TOKENS;
	chain.at[0]->parent = elsewhere.index[WEIR_LEVEL_PARENT];
	scope_for(chain.index[0], SERVICE, elsewhere.index[WEIR_LEVEL_SCOPE]);
	answer_ok(&c);
	settle_end(0, 7);
	holds_tokens(&chain, 0);
	holds_tokens(&elsewhere, 0);
	hang_up(&c);
}

static void the_count_may_wrap(void **state)
{
	struct chain chain = new_reserving("sk-wrap");
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	limit_tokens(chain.at[0], 10);
	for (int k = 0; k < WEIR_LEVELS; k++) {
		struct weir_tenant *t = chain.at[k];

		t->reserved_tokens = t->released_tokens[0] = t->released_tokens[1] = 0xffffffd0;
	}
	passes(send_text(&c, chat("sk-wrap")));
	holds_tokens(&chain, ASKED);
	v = send_text(&d, chat("sk-wrap"));
	is_refused(&d, &v, 429);
	answer_ok(&c);
	settle_end(0, 0);
	holds_tokens(&chain, 0);
	passes(send_text(&c, chat("sk-wrap")));
	hang_up(&c);
	hang_up(&d);
}

static void a_body_of_unknown_length_reserves_the_configured_tokens(void **state)
{
	struct chain chain = new_reserving("sk-unknown");
	struct conn c = open_conn(nobody, host);

	limit_tokens(chain.at[WEIR_LEVEL_TOP], 10);
	chain.at[0]->reserve_input_tokens = 3000;
	passes(send_text(&c, "POST /v1/chat/completions HTTP/1.1\r\nx-api-key: sk-unknown\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n"));
	holds_tokens(&chain, 3000 + OUTPUT);
	hang_up(&c);
	settle_end(0, 0);
	holds_tokens(&chain, 0);
}

/* -- what a body says */

enum { PER_TOKEN = 10, PER_REQUEST = 5 };

/* Rules that let up to 5000 tokens be asked for; limits of tokens and credit. */
static struct chain new_ruled(const char *key, int64_t ceiling)
{
	struct chain chain = new_reserving(key);

	for (int k = 0; k < WEIR_LEVELS; k++)
		limit_widely(chain.at[k]);
	new_rules(chain.at[0], (struct weir_rules){ .max_output_tokens = 5000 });
	chain.at[0]->flags |= WEIR_TENANT_CREDIT;
	chain.at[0]->reserve_nano_per_output_token = PER_TOKEN;
	chain.at[0]->reserve_nano_per_request = PER_REQUEST;
	chain.at[0]->ceiling_nano = chain.at[0]->balance_nano = ceiling;
	return chain;
}

static int64_t price_of(uint32_t output)
{
	return (int64_t)output * PER_TOKEN + PER_REQUEST;
}

static void the_reservation_becomes_what_the_body_asks_for(void **state)
{
	static const struct {
		const char *body;
		uint32_t output;
	} cases[] = {
		{ "{\"max_tokens\":40}", 40 },
		{ "{\"max_tokens\":100}", 100 },
		{ "{\"max_tokens\":4321}", 4321 },
		{ "{\"max_tokens\":999999}", 5000 }, /* lowered */
		{ "{\"max_completion_tokens\":41}", 41 },
		{ "{\"max_tokens\":0}", 0 },
		{ "{\"messages\":[]}", OUTPUT },
		{ "{\"a\":{\"max_tokens\":3}}", OUTPUT },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int parts = 0; parts < 2; parts++) {
			const char *body = cases[i].body;
			struct conn c = open_conn(nobody, host);
			const struct weir_rec_end *e;
			uint32_t tokens;
			struct chain chain;
			const char *text;
			char key[40];

			lab.n_records = 0;
			snprintf(key, sizeof(key), "sk-body-%zu-%d", i, parts);
			chain = new_ruled(key, 1000000);
			text = request_with(key, "", body);
			tokens = strlen(body) / 4;
			if (parts) {
				size_t head = body_of(text) - text;

				passes(send_bytes(&c, text, head));
				server_acks(&c);
				holds_tokens(&chain, tokens + OUTPUT);
				assert_int_equal(weir_reserved_now(chain.at[0]), price_of(OUTPUT));
				passes(send_bytes(&c, text + head, 9));
				passes(send_text(&c, text + head + 9));
			} else {
				passes(send_text(&c, text));
			}
			holds_tokens(&chain, tokens + cases[i].output);
			assert_int_equal(weir_reserved_now(chain.at[0]), price_of(cases[i].output));
			server_acks(&c);
			answer_ok(&c);
			e = record(WEIR_REC_END, 0);
			assert_int_equal(e->reserved_tokens, tokens + cases[i].output);
			assert_int_equal(e->reserved_nano, price_of(cases[i].output));
			settle_end(0, 0);
			holds_tokens(&chain, 0);
			assert_int_equal(weir_reserved_now(chain.at[0]), 0);
			hang_up(&c);
		}
}

/* The same bytes again do not ask for the difference again. */
static void a_body_that_is_sent_again_asks_once(void **state)
{
	struct chain chain = new_ruled("sk-twice", 1000000);
	struct conn c = open_conn(nobody, host);
	const char *body = "{\"max_tokens\":4000}";
	const char *text = request_with("sk-twice", "", body);
	uint32_t seq = c.next;

	passes(send_text(&c, text));
	passes(text_at(&c, seq, text));
	holds_tokens(&chain, strlen(body) / 4 + 4000);
	assert_int_equal(weir_reserved_now(chain.at[0]), price_of(4000));
	hang_up(&c);
	settle_end(0, 0);
	holds_tokens(&chain, 0);
	assert_int_equal(weir_reserved_now(chain.at[0]), 0);
}

static void a_difference_that_is_not_there_refuses_and_takes_all_back(void **state)
{
	struct chain chain = new_ruled("sk-more", price_of(4000));
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_deny *d;
	const struct weir_rec_end *e;
	struct chain_copy was;
	struct verdict v;
	struct answer a;

	was = chain_copy(&chain);
	v = ask(&c, "sk-more", "", "{\"max_tokens\":4001}");
	a = is_refused(&c, &v, 429);
	assert_string_equal(json_at(&a, "error", "code"), "insufficient_quota");
	d = record(WEIR_REC_DENY, 0);
	assert_int_equal(d->reason, WEIR_DENY_CREDIT);
	assert_int_equal(d->level, chain.index[0]);
	assert_int_equal(d->limit, price_of(4000));
	assert_int_equal(d->value, price_of(4000));
	assert_int_equal(d->asked, price_of(4001));
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->h.flags, WEIR_END_REFUSED);
	settle_end(0, 0);
	holds_tokens(&chain, 0);
	assert_int_equal(weir_reserved_now(chain.at[0]), 0);
	for (int k = 0; k < WEIR_LEVELS; k++) {
		assert_int_equal(chain.at[k]->request_tat_ns, was.at[k].request_tat_ns);
		assert_int_equal(chain.at[k]->connect_tat_ns, was.at[k].connect_tat_ns);
	}
	assert_int_equal(chain.at[0]->admitted, 0);
	chain_holds(&chain, 1, 0);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
	/* One token fewer is let in. */
	chain.at[0]->ceiling_nano += price_of(OUTPUT); /* settled: comes back */
	c = open_conn(nobody, host);
	passes(ask(&c, "sk-more", "", "{\"max_tokens\":4000}"));
	hang_up(&c);
	settle_end(1, 0);
	assert_int_equal(weir_reserved_now(chain.at[0]), 0);
}

/* Tokens are a rate, of which one's own reservation need not fit. */
static void more_tokens_than_the_limit_has_do_not_refuse_the_body(void **state)
{
	struct chain chain = new_ruled("sk-rate", 1000000);
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	limit_tokens(chain.at[WEIR_LEVEL_PARENT], 3000);
	passes(ask(&c, "sk-rate", "", "{\"max_tokens\":4000}"));
	/* But now nothing is left for others. */
	v = ask(&d, "sk-rate", "", "{\"max_tokens\":4}");
	is_refused(&d, &v, 429);
	is_counted(WEIR_DENY_TOKENS, 1);
	hang_up(&c);
	hang_up(&d);
	settle_end(0, 0);
	holds_tokens(&chain, 0);
}

/* -- what time has given back */

static void wait_until(uint64_t time_ns)
{
	while (now_ns() <= time_ns)
		usleep(500);
}

/* A slow body is refused when its token of the rate has long come back by itself: others have
 * used it since. A millisecond is what the programs round to. */
static void a_token_that_time_gave_back_is_not_given_back_again(void **state)
{
	struct chain chain = new_ruled("sk-slow", 1000000);
	struct conn slow = open_conn(nobody, host), other = open_conn(nobody, host);
	struct weir_tenant *top = chain.at[WEIR_LEVEL_TOP];
	uint64_t tat, begun;
	struct verdict v;

	for (int k = 0; k < WEIR_LEVELS; k++) {
		chain.at[k]->request_tat_ns = 0;
		chain.at[k]->request_interval_ns = 20000000;
	}
	passes(send_text(&slow, "POST / HTTP/1.1\r\nx-api-key: sk-slow\r\n"
				"Content-Length: 1000\r\n\r\n{\"a\":"));
	server_acks(&slow);
	begun = top->request_tat_ns;
	wait_until(begun + 2000000);
	passes(ask(&other, "sk-slow", "", "{}"));
	tat = top->request_tat_ns;
	assert_true(tat > begun + 20000000);
	v = send_text(&slow, "'b',");
	is_refused(&slow, &v, 400);
	for (int k = 0; k < WEIR_LEVELS; k++)
		assert_int_equal(chain.at[k]->request_tat_ns, tat);
	hang_up(&slow);
	hang_up(&other);
	settle_end(0, 0);
	settle_end(1, 0);
	holds_tokens(&chain, 0);
}

/* -- an END record that is lost */

static void what_a_lost_end_record_held_is_not_held_for_ever(void **state)
{
	struct chain chain = new_ruled("sk-lost", 1000000000), filler = new_chain("sk-fill");
	struct conn c = open_conn(nobody, host), f = open_conn(nobody, host);
	uint64_t lost = counter(WEIR_END_LOST);

	lab.config->ring_request_max = lab.config->ring_data_max = RING_BYTES;
	passes(ask(&c, "sk-lost", "", "{\"max_tokens\":4000}"));
	holds_tokens(&chain, 4 + 4000);
	/* Nobody reads the ring: requests and answers until no END fits. */
	for (int i = 0; counter(WEIR_END_LOST) == lost; i++) {
		assert_true(i < 4000);
		passes(send_text(&f, chat("sk-fill")));
		answer_ok(&f);
	}
	server_acks(&c);
	answer_ok(&c);
	assert_true(counter(WEIR_END_LOST) > lost + 1);
	holds_tokens(&chain, 0);
	chain_holds(&chain, 1, 0);
	assert_int_equal(chain.at[0]->lost_nano, price_of(4000));
	assert_int_equal(weir_reserved_now(chain.at[0]), 0);
	hang_up(&c);
	hang_up(&f);
	chain_holds(&filler, 0, 0);
	take_records();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(a_request_is_let_in_when_anything_is_left_and_the_next_is_not),
		STREAM_CLAIM(of_many_at_once_those_that_find_something_left_are_let_in),
		STREAM_CLAIM(settling_puts_what_was_used_in_the_place_of_what_was_reserved),
		STREAM_CLAIM(without_a_limit_at_any_level_nothing_is_reserved),
		STREAM_CLAIM(a_limit_that_goes_away_meanwhile_leaves_nothing_behind),
		STREAM_CLAIM(the_count_may_wrap),
		STREAM_CLAIM(a_body_of_unknown_length_reserves_the_configured_tokens),
		STREAM_CLAIM(the_reservation_becomes_what_the_body_asks_for),
		STREAM_CLAIM(a_body_that_is_sent_again_asks_once),
		STREAM_CLAIM(a_difference_that_is_not_there_refuses_and_takes_all_back),
		STREAM_CLAIM(more_tokens_than_the_limit_has_do_not_refuse_the_body),
		STREAM_CLAIM(a_token_that_time_gave_back_is_not_given_back_again),
		STREAM_CLAIM(what_a_lost_end_record_held_is_not_held_for_ever),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
