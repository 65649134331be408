/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that come unasked or too early (forms.md, rules 11 and 12), and answers that
 * switch protocols: what let them happen is not known, so nothing of the client's passes
 * behind them.
 */
#include "tests/bpf/streams.h"

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
static const char too_large[] = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n";
static const char timed_out[] = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";

static struct verdict server_says(const struct conn *c, const char *text)
{
	return from_server(c, TCP_PSH | TCP_ACK, c->sent, c->next, text, strlen(text));
}

/* -- unasked */

static void an_unasked_answer_is_metered_and_closes_both_ends(void **state)
{
	struct weir_tenant *t = default_tenant();
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_request *r;
	const struct weir_rec_data *d;
	const struct weir_rec_end *e;
	struct verdict v;

	v = server_says(&c, ok);
	closes_from_server(&c, &v, strlen(ok));
	is_counted(WEIR_TAP_UNJUDGED, 1);
	is_counted(WEIR_DROP_UNJUDGED, 1);
	r = record(WEIR_REC_REQUEST, 0);
	assert_non_null(r);
	assert_int_equal(r->flags, WEIR_SLOT_UNJUDGED);
	assert_int_equal(r->tenant, t - lab.tenants);
	assert_string_equal(r->method, "-");
	assert_string_equal(r->path, "-");
	assert_int_equal(r->body_bytes, 0);
	assert_int_equal(r->reserved_nano, 0);
	d = record(WEIR_REC_DATA, 0);
	assert_non_null(d);
	assert_int_equal(d->h.len, strlen(ok));
	assert_memory_equal(d + 1, ok, strlen(ok));
	assert_int_equal(d->h.ordinal, r->h.ordinal);
	e = record(WEIR_REC_END, 0);
	assert_non_null(e);
	assert_int_equal(e->flags, WEIR_SLOT_UNJUDGED);
	assert_int_equal(e->h.flags, WEIR_END_CLOSE);
	assert_int_equal(e->response_bytes, strlen(ok));
	assert_int_equal(t->inflight, 0);
	assert_int_equal(t->reserved_nano, 0);
}

static void unasked_answers_of_all_statuses(void **state)
{
	static const struct {
		const char *text;
		bool closes;
	} answers[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", true },
		{ "HTTP/1.1 301 Moved\r\n\r\n", true },
		{ "HTTP/1.0 204 No\r\n\r\n", true },
		{ "HTTP/1.1", true },
		{ "H", true },
		{ "HTTP/1.1 100 Continue\r\n\r\n", false },
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", false },
		{ "HTTP/1.1 503 No\r\n\r\n", false },
		{ "220 smtp ready\r\n", false },
		{ "HTTP/2", false },
		{ "hello", false },
	};

	default_tenant();
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct conn c = open_conn(nobody, host);
		struct verdict v = server_says(&c, answers[i].text);

		if (answers[i].closes) {
			closes_from_server(&c, &v, strlen(answers[i].text));
			continue;
		}
		passes(v);
		assert_int_equal(v.frame_len, 14 + 20 + 32 + strlen(answers[i].text));
	}
	is_counted(WEIR_TAP_UNJUDGED, sizeof(answers) / sizeof(answers[0]));
	is_counted(WEIR_DROP_UNJUDGED, 5);
}

static void an_interim_answer_does_not_cover_a_real_one(void **state)
{
	struct verdict v;
	struct conn c;

	default_tenant();
	c = open_conn(nobody, host);
	passes(answer_text(&c, "HTTP/1.1 100 Continue\r\n\r\n"));
	v = server_says(&c, ok);
	closes_from_server(&c, &v, strlen(ok));
}

static void behind_an_answer_another_is_unasked(void **state)
{
	struct weir_tenant *t = tenant_with("sk-behind");
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;
	char two[200];

	default_tenant();
	passes(send_text(&c, chat("sk-behind")));
	answer_ok(&c);
	v = server_says(&c, ok);
	closes_from_server(&c, &v, strlen(ok));
	/* In one segment. */
	passes(send_text(&d, chat("sk-behind")));
	snprintf(two, sizeof(two), "%s%s", ok, ok);
	v = server_says(&d, two);
	closes_from_server(&d, &v, strlen(two));
	is_counted(WEIR_DROP_UNJUDGED, 2);
	assert_int_equal(t->inflight, 0);
	/* To the tenant whose connection it is. */
	assert_int_equal(((const struct weir_rec_request *)record(WEIR_REC_REQUEST, 1))->tenant,
			 t - lab.tenants);
}

static void in_shadow_an_unasked_answer_passes(void **state)
{
	struct weir_tenant *t = default_tenant();

	for (int i = 0; i < 2; i++) {
		struct conn c = open_conn(nobody, host);

		t->flags = WEIR_TENANT_LIVE | (i ? WEIR_TENANT_SHADOW : 0);
		lab.config->enforce = i;
		passes(answer_text(&c, ok));
		passes(answer_text(&c, "more"));
		/* And what is asked next is metered. */
		passes(send_text(&c, chat(NULL)));
		assert_int_equal(t->inflight, 1);
		answer_ok(&c);
		assert_int_equal(t->inflight, 0);
	}
	is_counted(WEIR_DROP_UNJUDGED, 0);
}

/* -- too early */

/* The client's next bytes close both ends; what the server has may still come again. */
static void nothing_passes_any_more(struct conn *c, uint32_t server_has)
{
	struct verdict v;

	passes(text_at(c, server_has - 5, "xxxxx"));
	passes(from_client(c, TCP_ACK, c->next, c->sent, NULL, 0));
	v = send_text(c, "0123456789");
	closes(c, &v, server_has, c->next);
	is_counted(WEIR_DROP_AFTER_ANSWER, 1);
}

static void behind_a_server_that_gave_up_waiting_nothing_passes(void **state)
{
	struct conn c;

	default_tenant();
	c = open_conn(nobody, host);
	passes(answer_text(&c, timed_out));
	next_closes(&c, chat(NULL), WEIR_DROP_AFTER_ANSWER);
}

static void an_answer_to_a_head_in_parts(void **state)
{
	struct conn c;

	default_tenant();
	c = open_conn(nobody, host);
	passes(send_text(&c, "POST / HTTP/1.1\r\nHost: "));
	server_acks(&c);
	passes(answer_text(&c, timed_out));
	nothing_passes_any_more(&c, c.next);
}

static void an_answer_before_the_body_is_there(void **state)
{
	struct weir_tenant *t = tenant_with("sk-early");
	const char *answers[] = { ok, too_large, "HTTP/1.1 503 No\r\n\r\n" };

	for (int i = 0; i < 3; i++) {
		struct conn c = open_conn(nobody, host);
		uint32_t has;

		stream_recount();
		passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-early\r\n"
				     "Content-Length: 100\r\n\r\n0123456789"));
		server_acks(&c);
		has = c.next;
		passes(answer_text(&c, answers[i]));
		assert_int_equal(t->inflight, i == 2);
		nothing_passes_any_more(&c, has);
		assert_int_equal(t->inflight, 0);
	}
}

/* The client has sent it all, the server has not got it all. */
static void an_answer_before_the_bodys_end_is_acknowledged(void **state)
{
	struct conn c;
	uint32_t has;

	tenant_with("sk-early2");
	c = open_conn(nobody, host);
	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-early2\r\n"
			     "Content-Length: 10\r\n\r\n"));
	has = c.next;
	passes(send_text(&c, "0123456789"));
	passes(from_server(&c, TCP_PSH | TCP_ACK, c.sent, has, ok, strlen(ok)));
	c.sent += strlen(ok);
	nothing_passes_any_more(&c, has);
}

static void an_answer_before_the_last_chunk(void **state)
{
	struct weir_tenant *t = tenant_with("sk-early3");
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-early3\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
	server_acks(&c);
	passes(answer_text(&c, ok));
	assert_int_equal(t->inflight, 0);
	nothing_passes_any_more(&c, c.next);
}

/* It began in time: a server that streams while it reads. */
static void an_answer_that_only_begins_early_is_no_end(void **state)
{
	struct weir_tenant *t = tenant_with("sk-early4");
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-early4\r\n"
			     "Content-Length: 10\r\n\r\n"));
	server_acks(&c);
	passes(answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"));
	passes(send_text(&c, "0123456789"));
	passes(answer_text(&c, "67890"));
	assert_int_equal(t->inflight, 0);
	passes(send_text(&c, chat("sk-early4")));
	assert_int_equal(t->admitted, 2);
}

static void an_interim_answer_before_the_body_is_no_end(void **state)
{
	struct weir_tenant *t = tenant_with("sk-expect");
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-expect\r\nExpect: 100-continue\r\n"
			     "Content-Length: 10\r\n\r\n"));
	passes(answer_text(&c, "HTTP/1.1 100 Continue\r\n\r\n"));
	passes(send_text(&c, "0123456789"));
	answer_ok(&c);
	passes(send_text(&c, chat("sk-expect")));
	assert_int_equal(t->admitted, 2);
}

/* -- 101 */

static void a_switch_of_protocols_by_tier(void **state)
{
	static const char upgrade[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";
	struct weir_tenant *t = tenant_with("sk-101");

	for (int i = 0; i < 4; i++) {
		struct conn c = open_conn(nobody, host);
		struct verdict v;

		lab.config->enforce = i != 3;
		t->flags = WEIR_TENANT_LIVE | (i == 1 ? WEIR_TENANT_PASS_PROTOCOLS : 0) |
			   (i == 2 ? WEIR_TENANT_SHADOW : 0);
		passes(send_text(
			&c, "GET /v1/x HTTP/1.1\r\nx-api-key: sk-101\r\nUpgrade: h2c\r\n\r\n"));
		assert_int_equal(t->inflight, i == 0 ? 1 : i);
		v = server_says(&c, upgrade);
		if (!i) {
			closes_from_server(&c, &v, strlen(upgrade));
			is_counted(WEIR_DROP_UPGRADE, 1);
			assert_int_equal(t->inflight, 0);
			continue;
		}
		passes(v);
		c.sent += strlen(upgrade);
		is_counted(WEIR_PASS_OTHER_PROTOCOL, i);
		/* In flight until it closes, and whatever it is. */
		passes(send_text(&c, chat("sk-101")));
		passes(send_text(&c, "PRI * HTTP/2.0\r\n\r\n"));
		passes(answer_text(&c, ok));
		assert_int_equal(t->inflight, i);
		assert_int_equal(t->admitted, i + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(an_unasked_answer_is_metered_and_closes_both_ends),
		STREAM_CLAIM(unasked_answers_of_all_statuses),
		STREAM_CLAIM(an_interim_answer_does_not_cover_a_real_one),
		STREAM_CLAIM(behind_an_answer_another_is_unasked),
		STREAM_CLAIM(in_shadow_an_unasked_answer_passes),
		STREAM_CLAIM(behind_a_server_that_gave_up_waiting_nothing_passes),
		STREAM_CLAIM(an_answer_to_a_head_in_parts),
		STREAM_CLAIM(an_answer_before_the_body_is_there),
		STREAM_CLAIM(an_answer_before_the_bodys_end_is_acknowledged),
		STREAM_CLAIM(an_answer_before_the_last_chunk),
		STREAM_CLAIM(an_answer_that_only_begins_early_is_no_end),
		STREAM_CLAIM(an_interim_answer_before_the_body_is_no_end),
		STREAM_CLAIM(a_switch_of_protocols_by_tier),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
