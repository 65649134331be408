/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other rules that bodies are held to (forms.md): max_input_tokens, the fall-back model of
 * a tenant out of credit, and bodies that cannot be read as every server reads them.
 */
#include "tests/bpf/bodies.h"

static const struct weir_rules at_most_100 = { .max_output_tokens = 100 };

/* -- bodies that servers read differently */

static void what_servers_read_differently_is_refused(void **state)
{
	static const char *const bodies[] = {
		"{\"max\\u005ftokens\":500}",
		"{\"a\\\"\":1}",
		"{\"max_to\\kens\":500}",
		"{\"max_tokens\x01\":500}",
		"{\"max_to\xc5\xbfkens\":500}",
		"{\"\x7f\":1}",
		"\xef\xbb\xbf{\"max_tokens\":500}",
		"\xff\xfe{",
		"/**/{\"max_tokens\":500}",
		"# c\n{\"max_tokens\":500}",
		")]}'\n{\"max_tokens\":500}",
		"{/**/\"max_tokens\":500}",
		"{'max_tokens':500}",
		"{max_tokens:500}",
		"{\"a\":1 \"max_tokens\":500}",
		"{\"a\":1,,\"max_tokens\":500}",
		"{\"a\" 1}",
		"{\"a\":}",
		"{\"a\":'b'}",
		"{\"a\":[x\"]\"]}",
		"{\"a\":[1 /* */]}",
		"{,}",
	};
	struct weir_tenant *t = ruled_tenant("sk-bad", at_most_100);

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct conn c = open_conn(nobody, host);
		uint32_t seq = c.next;
		struct verdict v = ask(&c, "sk-bad", "", bodies[i]);

		if (v.code == OUT_PASS)
			fail_msg("passes: %s; counted:%s", bodies[i], counted());
		is_refused(&c, &v, 400);
		server_is_reset(&c, seq);
		took_it_back(t, i);
	}
	is_counted(WEIR_DENY_BODY, sizeof(bodies) / sizeof(bodies[0]));
}

static void a_nul_before_the_object_is_refused(void **state)
{
	struct conn c = open_conn(nobody, host);
	struct verdict v;
	uint32_t part;

	ruled_tenant("sk-nul", at_most_100);
	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-nul\r\nContent-Length: 4\r\n\r\n"));
	part = c.next;
	v = send_bytes(&c, "\0{}\0", 4);
	is_refused(&c, &v, 400);
	server_is_reset(&c, part);
}

static void the_refusal_of_a_part_resets_the_server_at_that_part(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-mid", at_most_100);
	struct conn c = open_conn(nobody, host);
	struct answer a;
	struct verdict v;
	uint32_t part;

	passes(send_text(&c, "POST /v1/messages HTTP/1.1\r\nx-api-key: sk-mid\r\n"
			     "Content-Length: 1000\r\n\r\n{\"a\":"));
	server_acks(&c);
	assert_int_equal(t->inflight, 1);
	part = c.next;
	v = send_text(&c, "'b',");
	a = is_refused(&c, &v, 400);
	/* In the dialect of the head's path. */
	assert_string_equal(json_at(&a, NULL, "type"), "error");
	assert_int_equal(a.tcp.ack, c.next);
	server_is_reset(&c, part);
	took_it_back(t, 0);
	/* And it lingers as any other. */
	v = send_text(&c, "more");
	is_refused(&c, &v, 400);
	is_counted(WEIR_LINGER_REPLY, 1);
}

/* Not those of another connection's, between its head and its body. */
static void a_refusal_tells_its_own_figures(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-own", at_most_100), *u;
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	const struct weir_rec_deny *deny = NULL;
	struct verdict v;

	u = ruled_tenant("sk-other", (struct weir_rules){ .max_output_tokens = 55,
							  .flags = WEIR_RULE_REFUSE_OUTPUT });
	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-own\r\n"
			     "Content-Length: 1000\r\n\r\n{\"a\":"));
	v = ask(&d, "sk-other", "", "{\"max_tokens\":4321}");
	is_refused(&d, &v, 400);
	v = send_text(&c, "'b',");
	is_refused(&c, &v, 400);
	for (size_t i = 0; (deny = record(WEIR_REC_DENY, i)); i++)
		if (deny->tenant == (uint32_t)(t - lab.tenants))
			break;
	assert_non_null(deny);
	assert_int_equal(deny->reason, WEIR_DENY_BODY);
	assert_int_equal(deny->asked, 0);
	assert_int_equal(u->admitted, 0);
}

static void an_encoded_body_is_refused(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-gzip", at_most_100);
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host),
		    e = open_conn(nobody, host);
	struct verdict v = ask(&c, "sk-gzip", "Content-Encoding: gzip\r\n", "xyz");

	is_refused(&c, &v, 400);
	is_counted(WEIR_DENY_BODY, 1);
	assert_int_equal(t->admitted, 0);
	passes(ask(&d, "sk-gzip", "Content-Encoding: Identity\r\n", "{\"n_predict\":500}"));
	server_got("{\"n_predict\":100}");
	answer_ok(&d);
	/* Without a body there is nothing to read. */
	passes(ask(&e, "sk-gzip", "Content-Encoding: gzip\r\n", ""));
	answer_ok(&e);
}

static void a_chunked_body_needs_a_length(void **state)
{
	struct weir_tenant *t = ruled_tenant("sk-411", at_most_100);
	struct conn c = open_conn(nobody, host);
	struct verdict v = send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-411\r\n"
					 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");

	is_refused(&c, &v, 411);
	is_counted(WEIR_DENY_LENGTH_REQUIRED, 1);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(t->admitted, 0);
}

/* -- max_input_tokens */

static void a_larger_body_is_refused_by_its_length(void **state)
{
	struct weir_tenant *t =
		ruled_tenant("sk-in", (struct weir_rules){ .max_input_tokens = 10 });

	for (int n = 40; n <= 44; n++) {
		struct conn c = open_conn(nobody, host);
		char body[64];
		struct verdict v;
		struct answer a;

		snprintf(body, sizeof(body), "{\"a\":%0*d}", n - 6, 0);
		v = ask(&c, "sk-in", "", body);
		if (n < 44) {
			passes(v);
			answer_ok(&c);
			continue;
		}
		a = is_refused(&c, &v, 400);
		assert_string_equal(json_at(&a, "error", "code"), "context_length_exceeded");
	}
	is_counted(WEIR_DENY_INPUT_TOKENS, 1);
	assert_int_equal(t->admitted, 4);
}

static void a_chunked_one_when_it_has_passed_that(void **state)
{
	struct weir_tenant *t =
		ruled_tenant("sk-inch", (struct weir_rules){ .max_input_tokens = 10 });
	struct conn c = open_conn(nobody, host);
	struct answer a;
	struct verdict v;
	uint32_t part;

	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-inch\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n"));
	passes(send_text(&c, "64\r\n012345678901234567890123456789012345"));
	part = c.next;
	v = send_text(&c, "0123456789");
	a = is_refused(&c, &v, 400);
	assert_string_equal(json_at(&a, "error", "code"), "context_length_exceeded");
	server_is_reset(&c, part);
	is_counted(WEIR_DENY_INPUT_TOKENS, 1);
	took_it_back(t, 0);
}

/* -- out of credit */

/* A tenant whose credit is out, and that goes on with a model of its own. */
static struct weir_tenant *poor_tenant(const char *key)
{
	struct weir_tenant *t = ruled_tenant(
		key, (struct weir_rules){ .flags = WEIR_RULE_DEGRADE, .fallback_model = "small" });

	t->flags |= WEIR_TENANT_CREDIT;
	t->ceiling_nano = 6; /* less than a request reserves */
	return t;
}

static void out_of_credit_the_model_is_replaced(void **state)
{
	struct weir_tenant *t = poor_tenant("sk-poor");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_request *r;
	const struct weir_rec_body *b;

	passes(ask(&c, "sk-poor", "", "{\"model\":\"a-large-one\",\"messages\":[]}"));
	server_got("{\"model\":\"small\"      ,\"messages\":[]}");
	is_counted(WEIR_REWRITE_MODEL, 1);
	r = record(WEIR_REC_REQUEST, 0);
	assert_int_equal(r->flags, WEIR_SLOT_DEGRADED | WEIR_SLOT_FIRST);
	b = record(WEIR_REC_BODY, 0);
	assert_int_equal(b->flags, WEIR_BODY_MODEL_REPLACED);
	assert_string_equal(b->model, "a-large-one");
	assert_int_equal(t->inflight, 1);
	answer_ok(&c);
	/* With credit it is left alone. */
	t->ceiling_nano = 1000;
	passes(ask(&c, "sk-poor", "", "{\"model\":\"a-large-one\"}"));
	server_got("{\"model\":\"a-large-one\"}");
	answer_ok(&c);
}

static void models_and_what_becomes_of_them(void **state)
{
	static const struct {
		const char *body;
		const char *server; /* NULL: refused */
	} bodies[] = {
		{ "{\"model\":\"exact\"}", "{\"model\":\"small\"}" },
		{ "{\"model\":\"small\"}", "{\"model\":\"small\"}" },
		{ "{\"model\":\"larger\"}", "{\"model\":\"small\" }" },
		{ "{\"Model\":\"larger\"}", "{\"Model\":\"small\" }" },
		{ "{\"model\":\"a\\\"b\\\\ c\"}", "{\"model\":\"small\"   }" },
		{ "{\"model\":\"first1\",\"model\":\"second\"}",
		  "{\"model\":\"small\" ,\"model\":\"small\" }" },
		{ "{\"a\":{\"model\":\"nested\"},\"model\":\"larger\"}",
		  "{\"a\":{\"model\":\"nested\"},\"model\":\"small\" }" },
		{ "{\"model\":\"larger\"}trailing", "{\"model\":\"small\" }trailing" },
		{ "{\"model\":\"tiny\"}", NULL },
		{ "{\"model\":\"\"}", NULL },
		{ "{\"model\":5}", NULL },
		{ "{\"model\":null}", NULL },
		{ "{\"a\":\"model\"}", NULL },
		{ "{\"a\":{\"model\":\"nested\"}}", NULL },
		{ "{}", NULL },
		{ "{} {\"model\":\"larger\"}", NULL },
		{ "[{\"model\":\"larger\"}]", NULL },
		{ "model=larger", NULL },
		{ "{\"messages\":[", NULL },
		{ "   ", NULL },
	};
	struct weir_tenant *t = poor_tenant("sk-models");
	size_t refused = 0;

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct conn c = open_conn(nobody, host);
		struct verdict v = ask(&c, "sk-models", "", bodies[i].body);

		if ((v.code == OUT_PASS) != !!bodies[i].server)
			fail_msg("%s: verdict %d; counted:%s", bodies[i].body, v.code, counted());
		if (!bodies[i].server) {
			is_refused(&c, &v, 429);
			assert_int_equal(t->inflight, 0);
			refused++;
			continue;
		}
		server_got(bodies[i].server);
		answer_ok(&c);
	}
	is_counted(WEIR_DENY_FALLBACK, refused);
}

static void a_model_cut_or_too_long_is_refused(void **state)
{
	struct weir_tenant *t = poor_tenant("sk-long");
	char body[300];
	const char *text;

	for (int n = 127; n <= 128; n++) {
		struct conn c = open_conn(nobody, host);
		struct verdict v;

		snprintf(body, sizeof(body), "{\"model\":\"%0*d\"}", n, 0);
		v = ask(&c, "sk-long", "", body);
		if (n == 127)
			passes(v);
		else
			is_refused(&c, &v, 429);
		answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
	text = request_with("sk-long", "", "{\"model\":\"a-large-one\"}");
	for (size_t cut = 1; cut < strlen(text); cut++) {
		size_t value = strstr(text, "a-large-one") - text;
		struct conn c = open_conn(nobody, host);
		struct verdict v;

		got_nothing();
		passes(send_kept(&c, text, cut));
		v = send_kept(&c, text + cut, strlen(text + cut));
		if (cut > value && cut <= value + strlen("a-large-one")) {
			is_refused(&c, &v, 429);
			continue;
		}
		passes(v);
		server_got("{\"model\":\"small\"      }");
		answer_ok(&c);
	}
	assert_int_equal(t->inflight, 0);
}

static void without_a_body_that_can_be_read_credit_refuses(void **state)
{
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	poor_tenant("sk-none");
	v = send_text(&c, "GET /v1/x HTTP/1.1\r\nx-api-key: sk-none\r\n\r\n");
	is_refused(&c, &v, 429);
	is_counted(WEIR_DENY_CREDIT, 1);
	v = send_text(&d, "POST / HTTP/1.1\r\nx-api-key: sk-none\r\nTransfer-Encoding: chunked\r\n"
			  "\r\n0\r\n\r\n");
	is_refused(&d, &v, 411);
}

/* Credit is what degrades; the other limits refuse as ever. */
static void other_limits_still_refuse_it(void **state)
{
	struct weir_tenant *t = poor_tenant("sk-limits");
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	v = ask(&c, "sk-limits", "", "{\"model\":\"a-large-one\"}");
	is_refused(&c, &v, 429);
	is_counted(WEIR_DENY_CONCURRENCY, 1);
	is_counted(WEIR_REWRITE_MODEL, 0);
}

static void both_rules_hold_at_once(void **state)
{
	struct weir_tenant *t = tenant_with("sk-both");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_body *b;

	new_rules(t, (struct weir_rules){ .max_input_tokens = 1000,
					  .max_output_tokens = 100,
					  .flags = WEIR_RULE_DEGRADE,
					  .fallback_model = "small" });
	t->flags |= WEIR_TENANT_CREDIT;
	t->reserve_nano_per_request = 7;
	passes(ask(&c, "sk-both", "", "{\"max_tokens\":500,\"model\":\"larger\",\"a\":1}"));
	server_got("{\"max_tokens\":100,\"model\":\"small\" ,\"a\":1}");
	b = record(WEIR_REC_BODY, 0);
	assert_int_equal(b->flags, WEIR_BODY_TOKENS_CUT | WEIR_BODY_MODEL_REPLACED);
	answer_ok(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(what_servers_read_differently_is_refused),
		STREAM_CLAIM(a_nul_before_the_object_is_refused),
		STREAM_CLAIM(the_refusal_of_a_part_resets_the_server_at_that_part),
		STREAM_CLAIM(a_refusal_tells_its_own_figures),
		STREAM_CLAIM(an_encoded_body_is_refused),
		STREAM_CLAIM(a_chunked_body_needs_a_length),
		STREAM_CLAIM(a_larger_body_is_refused_by_its_length),
		STREAM_CLAIM(a_chunked_one_when_it_has_passed_that),
		STREAM_CLAIM(out_of_credit_the_model_is_replaced),
		STREAM_CLAIM(models_and_what_becomes_of_them),
		STREAM_CLAIM(a_model_cut_or_too_long_is_refused),
		STREAM_CLAIM(without_a_body_that_can_be_read_credit_refuses),
		STREAM_CLAIM(other_limits_still_refuse_it),
		STREAM_CLAIM(both_rules_hold_at_once),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
