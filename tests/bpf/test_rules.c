/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies that are held to max_output_tokens (forms.md): a larger value is lowered in place,
 * whatever segments it comes in and however often; what cannot be lowered is refused, and what
 * the request took goes back.
 */
#include "tests/bpf/bodies.h"

static const struct weir_rules at_most_100 = { .max_output_tokens = 100 };

static void a_larger_value_is_lowered_however_it_is_cut(void **state)
{
	static const char body[] = "{\"model\":\"big\",\"max_tokens\":4096,\"n\":1}";
	static const char lower[] = "{\"model\":\"big\",\"max_tokens\":100 ,\"n\":1}";
	struct weir_tenant *t = ruled_tenant("sk-cut", at_most_100);
	char text[8192];
	size_t n = snprintf(text, sizeof(text), "%s", request_with("sk-cut", "", body));
	size_t value = strstr(text, "4096") - text;

	for (size_t cut = 1; cut <= n; cut++) {
		struct conn c = open_conn(nobody, host);
		uint64_t had = t->admitted, tat = t->request_tat_ns;
		struct verdict v;
		uint32_t part;

		take_records();
		lab.n_records = 0;
		got_nothing();
		passes(send_kept(&c, text, cut));
		part = c.next;
		if (cut < n)
			v = send_kept(&c, text + cut, n - cut);
		if (cut > value && cut <= value + 4) {
			/* Some of it, or its end, is in the server's hands already. */
			is_refused(&c, &v, 400);
			server_is_reset(&c, part);
			assert_int_equal(t->admitted, had);
			assert_int_equal(t->request_tat_ns, tat);
			assert_int_equal(t->inflight, 0);
			assert_int_equal(
				((const struct weir_rec_end *)record(WEIR_REC_END, 0))->h.flags,
				WEIR_END_REFUSED);
		} else {
			if (cut < n)
				passes(v);
			server_got(lower);
			assert_int_equal(t->admitted, had + 1);
			answer_ok(&c);
		}
	}
	is_counted(WEIR_REWRITE_TOKENS, n - 4);
	is_counted(WEIR_DENY_OUTPUT_TOKENS, 4);
}

static void what_the_body_said_is_told(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-told", at_most_100);
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	const struct weir_rec_request *r;
	const struct weir_rec_body *b;

	passes(ask(&c, "sk-told", "", "{\"max_tokens\":300,\"model\":\"big\",\"n_predict\":200}"));
	server_got("{\"max_tokens\":100,\"model\":\"big\",\"n_predict\":100}");
	r = record(WEIR_REC_REQUEST, 0);
	b = record(WEIR_REC_BODY, 0);
	assert_non_null(b);
	assert_int_equal(b->max_tokens, 300);
	assert_int_equal(b->flags, WEIR_BODY_TOKENS_CUT);
	assert_int_equal(b->model_len, 3);
	assert_string_equal(b->model, "big");
	assert_int_equal(b->h.slot, r->h.slot);
	assert_int_equal(b->h.ordinal, r->h.ordinal);
	assert_int_equal(b->started_wall_ns, r->started_wall_ns);
	answer_ok(&c);
	passes(ask(&d, "sk-told", "", "{\"messages\":[]}"));
	b = record(WEIR_REC_BODY, 1);
	assert_int_equal(b->max_tokens, ~0ULL);
	assert_int_equal(b->flags, 0);
	assert_int_equal(b->model_len, 0);
	answer_ok(&d);
	assert_int_equal(t->inflight, 0);
}

/* -- which values */

static void values_and_what_becomes_of_them(void **state)
{
	static const struct {
		const char *body;
		const char *server; /* NULL: refused */
	} bodies[] = {
		{ "{\"max_tokens\":100}", "{\"max_tokens\":100}" },
		{ "{\"max_tokens\":101}", "{\"max_tokens\":100}" },
		{ "{\"max_tokens\":0000000099}", "{\"max_tokens\":0000000099}" },
		{ "{\"max_tokens\" : 99999999999999999999999 }",
		  "{\"max_tokens\" : 100                     }" },
		{ "{\"max_completion_tokens\":101}", "{\"max_completion_tokens\":100}" },
		{ "{\"max_output_tokens\":101}", "{\"max_output_tokens\":100}" },
		{ "{\"n_predict\":101}", "{\"n_predict\":100}" },
		{ "{\"Max_Tokens\":101}", "{\"Max_Tokens\":100}" },
		{ "{\"MAX_TOKENS\":101}", "{\"MAX_TOKENS\":100}" },
		{ "{\"max_tokens\":5,\"max_tokens\":101}",
		  "{\"max_tokens\":5,\"max_tokens\":100}" },
		{ "{\"max_tokens\":101,\"max_tokens\":5}",
		  "{\"max_tokens\":100,\"max_tokens\":5}" },
		{ "{\"a\":{\"max_tokens\":500},\"b\":[{\"max_tokens\":500}]}",
		  "{\"a\":{\"max_tokens\":500},\"b\":[{\"max_tokens\":500}]}" },
		{ "{\"a\":\"\\\"max_tokens\\\":500\"}", "{\"a\":\"\\\"max_tokens\\\":500\"}" },
		{ "{\"xmax_tokens\":500,\"max_tokensx\":500}",
		  "{\"xmax_tokens\":500,\"max_tokensx\":500}" },
		{ "{\"max_tokens\":-1}", "{\"max_tokens\":-1}" },
		{ "{\"max_tokens\":null}", "{\"max_tokens\":null}" },
		{ "{\"max_tokens\":true}", "{\"max_tokens\":true}" },
		{ "{\"max_tokens\":false}", "{\"max_tokens\":false}" },
		{ "{\"max_tokens\":{\"a\":500}}", "{\"max_tokens\":{\"a\":500}}" },
		{ "{\"max_tokens\":[500]}", "{\"max_tokens\":[500]}" },
		{ "[{\"max_tokens\":500}]", "[{\"max_tokens\":500}]" },
		{ "{\"a\":1}{\"max_tokens\":500}", "{\"a\":1}{\"max_tokens\":500}" },
		{ "max_tokens=500", "max_tokens=500" },
		{ "{}", "{}" },
		{ "{\"max_tokens\":1e9}", NULL },
		{ "{\"max_tokens\":1e0}", NULL },
		{ "{\"max_tokens\":40.5}", NULL },
		{ "{\"max_tokens\":\"5\"}", NULL },
		{ "{\"max_tokens\":\"500\"}", NULL },
		{ "{\"max_tokens\":+5}", NULL },
		{ "{\"max_tokens\":NaN}", NULL },
		{ "{\"max_tokens\":Infinity}", NULL },
	};
	struct weir_tenant *t = ruled_tenant("sk-values", at_most_100);

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct conn c = open_conn(nobody, host);
		struct verdict v = ask(&c, "sk-values", "", bodies[i].body);

		if ((v.code == OUT_PASS) != !!bodies[i].server)
			fail_msg("%s: verdict %d; counted:%s", bodies[i].body, v.code, counted());
		if (!bodies[i].server) {
			is_refused(&c, &v, 400);
			assert_int_equal(t->inflight, 0);
			continue;
		}
		server_got(bodies[i].server);
		answer_ok(&c);
	}
	is_counted(WEIR_DENY_OUTPUT_TOKENS, 8);
	is_counted(WEIR_DENY_BODY, 0);
}

/* On every place of a word, and of the sum's words. */
static void a_value_is_written_over_wherever_it_stands(void **state)
{
	ruled_tenant("sk-place", at_most_100);
	for (int digits = 3; digits <= 128; digits += digits < 12 ? 1 : 29)
		for (int pad = 0; pad < 9; pad++) {
			struct conn c = pad & 1 ? open_conn("2001:db8:41::7", "2001:db8::1")
						: open_conn(nobody, host);
			char body[400], lower[400];

			c.has_ts = digits & 1;
			snprintf(body, sizeof(body), "{\"%.*s\":0,\"max_tokens\":9%0*d}", pad,
				 "aaaaaaaaaa", digits - 1, 0);
			snprintf(lower, sizeof(lower), "{\"%.*s\":0,\"max_tokens\":%-*s}", pad,
				 "aaaaaaaaaa", digits, "100");
			passes(ask(&c, "sk-place", "", body));
			server_got(lower);
			answer_ok(&c);
		}
}

static void a_value_longer_than_128_digits_is_refused(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-digits", at_most_100);
	struct conn c = open_conn(nobody, host);
	char body[400];
	struct verdict v;

	snprintf(body, sizeof(body), "{\"max_tokens\":9%0128d}", 0);
	v = ask(&c, "sk-digits", "", body);
	is_refused(&c, &v, 400);
	is_counted(WEIR_DENY_OUTPUT_TOKENS, 1);
	took_it_back(t, 0);
}

static void eight_values_are_lowered_and_not_nine(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-nine", at_most_100);

	for (int n = 8; n <= 9; n++) {
		struct conn c = open_conn(nobody, host);
		char body[400] = "{\"a\":1", lower[400] = "{\"a\":1";
		struct verdict v;

		for (int i = 0; i < n; i++) {
			strcat(body, ",\"max_tokens\":555");
			strcat(lower, ",\"max_tokens\":100");
		}
		strcat(body, "}");
		strcat(lower, "}");
		v = ask(&c, "sk-nine", "", body);
		if (n == 8) {
			passes(v);
			server_got(lower);
			answer_ok(&c);
		} else {
			is_refused(&c, &v, 400);
		}
	}
	assert_int_equal(t->admitted, 1);
}

static void a_tier_may_refuse_instead(void **state)
{
	struct weir_tenant *t =
		ruled_tenant("sk-refuse", (struct weir_rules){ .max_output_tokens = 100,
							       .flags = WEIR_RULE_REFUSE_OUTPUT });
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v = ask(&c, "sk-refuse", "", "{\"max_tokens\":101}");
	const struct weir_rec_deny *deny;

	is_refused(&c, &v, 400);
	took_it_back(t, 0);
	deny = record(WEIR_REC_DENY, 0);
	assert_int_equal(deny->reason, WEIR_DENY_OUTPUT_TOKENS);
	assert_int_equal(deny->limit, 100);
	assert_int_equal(deny->asked, 101);
	passes(ask(&d, "sk-refuse", "", "{\"max_tokens\":100}"));
	answer_ok(&d);
}

static void only_where_rules_are_enforced(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-shadow", at_most_100);

	for (int i = 0; i < 2; i++) {
		struct conn c = open_conn(nobody, host);

		lab.config->enforce = i;
		t->flags |= i ? WEIR_TENANT_SHADOW : 0;
		passes(ask(&c, "sk-shadow", "", "{\"max_tokens\":4096}"));
		server_got("{\"max_tokens\":4096}");
		answer_ok(&c);
	}
	is_counted(WEIR_REWRITE_TOKENS, 0);
}

/* -- many segments */

static void a_body_in_many_segments_is_read_as_one(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-seg", at_most_100);
	char body[4000], lower[4000], text[8192];
	size_t n, head, value;

	n = sprintf(body,
		    "{\"messages\":[{\"content\":\"%01500d \\\"max_tokens\\\":9\"}],"
		    "\"max_tokens\":4096,\"b\":[%01000d]}",
		    0, 0);
	strcpy(lower, body);
	memcpy(strstr(lower, ":4096") + 1, "100 ", 4);
	n = snprintf(text, sizeof(text), "%s", request_with("sk-seg", "", body));
	head = body_of(text) - text;
	value = strstr(text, ":4096") + 1 - text;
	srand(12);
	for (int round = 1; round <= 200; round++) {
		struct conn c = open_conn(nobody, host);
		size_t at = 0;

		got_nothing();
		while (at < n) {
			size_t to = at + 1 + rand() % (round % 2 ? 900 : 90);

			if (at == 0 && round % 3)
				to = head; /* as most clients send it */
			if (to > value && to <= value + 4)
				to = value;
			if (to > n)
				to = n;
			passes(send_kept(&c, text + at, to - at));
			at = to;
			if (rand() % 4 == 0)
				server_acks(&c);
		}
		server_got(lower);
		assert_int_equal(t->admitted, round);
		answer_ok(&c);
	}
}

static void segments_ahead_of_their_turn_are_dropped(void **state)
{
	static const char body[] = "{\"a\":1,\"max_tokens\":555}";
	struct conn c = open_conn(nobody, host);
	const char *text = request_with("sk-ahead", "", body);
	size_t n = strlen(text), head = n - strlen(body);

	ruled_tenant("sk-ahead", at_most_100);
	got_nothing();
	passes(send_kept(&c, text, head));
	drops(text_at(&c, c.next + 7, body + 7));
	is_counted(WEIR_DROP_OUT_OF_ORDER, 1);
	passes(send_kept(&c, body, 7));
	passes(send_kept(&c, body + 7, strlen(body + 7)));
	server_got("{\"a\":1,\"max_tokens\":100}");
	answer_ok(&c);
}

/* -- again */

static void again(const struct conn *c, uint32_t seq, const char *bytes, const char *server)
{
	struct verdict v = text_at(c, seq, bytes);
	struct segment s;

	passes(v);
	assert_null(read_frame(v.frame, v.frame_len, &s));
	assert_int_equal(s.len, strlen(server));
	assert_memory_equal(s.payload, server, s.len);
}

static void what_was_rewritten_is_rewritten_again(void **state)
{
	static const char first[] = "{\"a\":1,\"max_tokens\":555", then[] = ",\"n_predict\":999}";
	static const char lower[] = "{\"a\":1,\"max_tokens\":100", last[] = ",\"n_predict\":100}";
	struct conn c = open_conn(nobody, host);
	char body[100], text[8192], both[100];
	uint32_t seq;
	size_t n;

	ruled_tenant("sk-again", at_most_100);
	/* The number's end must be in its segment. */
	snprintf(body, sizeof(body), "%s %s", first, then);
	snprintf(text, sizeof(text), "%s", request_with("sk-again", "", body));
	n = body_of(text) - text;
	passes(send_bytes(&c, text, n));
	seq = c.next;
	snprintf(body, sizeof(body), "%s ", first);
	snprintf(both, sizeof(both), "%s ", lower);
	passes(send_text(&c, body));
	again(&c, seq, body, both);
	again(&c, seq, body, both);
	passes(send_text(&c, then));
	/* Its end has been read, and still: as it was. */
	again(&c, seq, body, both);
	again(&c, seq + strlen(body), then, last);
	/* Both in one. */
	strcat(body, then);
	strcat(both, last);
	again(&c, seq, body, both);
	is_counted(WEIR_PASS_REPEAT, 5);
	answer_ok(&c);
}

static void a_changed_repeat_closes_both_ends(void **state)
{
	static const char body[] = "{\"a\":1,\"max_tokens\":555}";

	ruled_tenant("sk-changed", at_most_100);
	for (size_t i = 0; i < sizeof(body) - 1; i++) {
		struct conn c = open_conn(nobody, host);
		const char *text = request_with("sk-changed", "", body);
		char other[sizeof(body)];
		uint32_t seq;

		passes(send_bytes(&c, text, body_of(text) - text));
		seq = c.next;
		server_acks(&c);
		passes(send_text(&c, body));
		memcpy(other, body, sizeof(body));
		other[i] ^= 1;
		change_closes(&c, seq, other, seq);
	}
}

static void behind_a_body_a_next_request_is_judged(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-next", at_most_100);
	struct conn c = open_conn(nobody, host);

	for (int i = 1; i <= 20; i++) {
		passes(ask(&c, "sk-next", "", "{\"max_tokens\":4096}"));
		server_got("{\"max_tokens\":100 }");
		assert_int_equal(t->admitted, i);
		answer_ok(&c);
		assert_int_equal(free_readers(), readers_before);
	}
}

/* The body's last segment may end in an empty line, and in nothing else. */
static void nothing_hides_behind_a_body_that_is_read(void **state)
{
	static const char body[] = "{\"max_tokens\":4096,\"messages\":[]}";
	static const char *const behind[] = { "", "\r\n", "POST / HTTP/1.1\r\n\r\n", "\r\n\r\nx" };
	struct weir_tenant *t = ruled_tenant("sk-behind", at_most_100);
	size_t half = 5; /* before the value */
	char last[200];

	for (size_t i = 0; i < 4; i++)
		for (int parts = 1; parts <= 2; parts++) {
			const char *request = request_with("sk-behind", "", body);
			struct conn c = open_conn(nobody, host);
			struct verdict v;
			int before = t->admitted;

			if (parts == 1) {
				char whole[8400];

				snprintf(whole, sizeof(whole), "%s%s", request, behind[i]);
				v = send_text(&c, whole);
			} else {
				passes(send_bytes(&c, request, body_of(request) - request + half));
				snprintf(last, sizeof(last), "%s%s", body + half, behind[i]);
				v = send_text(&c, last);
			}
			assert_int_equal(v.code, i < 2 ? OUT_PASS : OUT_REDIRECT);
			is_counted(WEIR_DROP_PIPELINED, i < 2 ? 0 : (i - 2) * 2 + parts);
			if (i >= 2)
				continue;
			answer_ok(&c);
			passes(send_text(&c, request));
			assert_int_equal(t->admitted, before + 2);
			answer_ok(&c);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(nothing_hides_behind_a_body_that_is_read),
		STREAM_CLAIM(a_larger_value_is_lowered_however_it_is_cut),
		STREAM_CLAIM(what_the_body_said_is_told),
		STREAM_CLAIM(values_and_what_becomes_of_them),
		STREAM_CLAIM(a_value_is_written_over_wherever_it_stands),
		STREAM_CLAIM(a_value_longer_than_128_digits_is_refused),
		STREAM_CLAIM(eight_values_are_lowered_and_not_nine),
		STREAM_CLAIM(a_tier_may_refuse_instead),
		STREAM_CLAIM(only_where_rules_are_enforced),
		STREAM_CLAIM(a_body_in_many_segments_is_read_as_one),
		STREAM_CLAIM(segments_ahead_of_their_turn_are_dropped),
		STREAM_CLAIM(what_was_rewritten_is_rewritten_again),
		STREAM_CLAIM(a_changed_repeat_closes_both_ends),
		STREAM_CLAIM(behind_a_body_a_next_request_is_judged),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
