/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request says that it is for (x-weir-session, x-weir-feature) is told once, behind its
 * REQUEST, with whether its peer is trusted; and nothing is told of one that says nothing.
 */
#include "tests/bpf/streams.h"

#define BOTH "x-weir-session: s-4711\r\nX-Weir-Feature: chat.v2\r\n"

static const char *request(const char *key, const char *headers)
{
	static char text[4096];

	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: llm\r\nx-api-key: %s\r\n%s"
		 "Content-Length: 2\r\n\r\n{}",
		 key, headers);
	return text;
}

static const struct weir_rec_labels *labels(size_t nth)
{
	return record(WEIR_REC_LABELS, nth);
}

/* The nth that was told is of the nth request, and says this; trusted or not. */
static void is_told(size_t nth, const char *session, const char *feature, bool trusted)
{
	const struct weir_rec_request *r = record(WEIR_REC_REQUEST, nth);
	const struct weir_rec_labels *l = labels(nth);

	assert_non_null(r);
	assert_non_null(l);
	assert_true((const char *)l > (const char *)r); /* kept in the ring's order */
	assert_int_equal(l->h.slot, r->h.slot);
	assert_int_equal(l->h.ordinal, r->h.ordinal);
	assert_int_equal(l->h.service, r->h.service);
	assert_int_equal(l->h.len, 0);
	assert_int_equal(l->started_wall_ns, r->started_wall_ns);
	assert_string_equal(l->session, session);
	assert_string_equal(l->feature, feature);
	assert_int_equal(l->flags, trusted ? WEIR_LABELS_TRUSTED : 0);
	for (size_t i = strlen(session); i < sizeof(l->session); i++)
		assert_int_equal(l->session[i], 0);
	for (size_t i = strlen(feature); i < sizeof(l->feature); i++)
		assert_int_equal(l->feature[i], 0);
}

static void labels_are_told_behind_their_request(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-both");
	assert_int_equal(send_text(&c, request("sk-both", BOTH)).code, OUT_PASS);
	is_told(0, "s-4711", "chat.v2", false);
	answer_ok(&c);
	assert_int_equal(send_text(&c, request("sk-both", "x-weir-feature: alone\r\n")).code,
			 OUT_PASS);
	is_told(1, "", "alone", false);
	answer_ok(&c);
	assert_int_equal(send_text(&c, request("sk-both", "x-weir-session: x\r\n")).code, OUT_PASS);
	is_told(2, "x", "", false);
	answer_ok(&c);
	assert_null(labels(3));
}

/* Also not what the request before on the connection, or on this CPU, had said. */
static void a_request_that_says_nothing_tells_nothing(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-quiet");
	assert_int_equal(send_text(&c, request("sk-quiet", BOTH)).code, OUT_PASS);
	answer_ok(&c);
	assert_int_equal(send_text(&c, request("sk-quiet", "")).code, OUT_PASS);
	answer_ok(&c);
	assert_int_equal(send_text(&c, request("sk-quiet", "x-weir-session:  \r\n")).code,
			 OUT_PASS);
	answer_ok(&c);
	assert_non_null(record(WEIR_REC_REQUEST, 2));
	assert_null(labels(1));
}

/* It is admitted like any other, and metered without. */
static void a_label_that_is_none_refuses_nobody(void **state)
{
	static const char *const headers[] = {
		"x-weir-session: two words\r\n",
		"x-weir-session: caf\xc3\xa9\r\n",
		"x-weir-session: a\r\nx-weir-session: b\r\n",
		"x-weir-session: "
		"0123456789012345678901234567890123456789012345678901234567890123\r\n",
		"x-weir-feature: 012345678901234567890123456789012345678901234567\r\n",
	};
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-odd");
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		assert_int_equal(send_text(&c, request("sk-odd", headers[i])).code, OUT_PASS);
		assert_non_null(record(WEIR_REC_REQUEST, i));
		assert_null(labels(0));
		answer_ok(&c);
	}
	/* The other one is told. */
	assert_int_equal(
		send_text(&c, request("sk-odd", "x-weir-session: a b\r\nx-weir-feature: f\r\n"))
			.code,
		OUT_PASS);
	assert_string_equal(labels(0)->session, "");
	assert_string_equal(labels(0)->feature, "f");
	is_counted(WEIR_ADMIT_REQUEST, sizeof(headers) / sizeof(headers[0]) + 1);
}

static void the_longest_labels_are_told_whole(void **state)
{
	char session[64], feature[48], headers[300];
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-long");
	for (int i = 0; i < 63; i++)
		session[i] = '!' + i;
	for (int i = 0; i < 47; i++)
		feature[i] = '~' - i;
	session[63] = feature[47] = 0;
	snprintf(headers, sizeof(headers), "x-weir-session: %s\r\nx-weir-feature: %s\r\n", session,
		 feature);
	assert_int_equal(send_text(&c, request("sk-long", headers)).code, OUT_PASS);
	is_told(0, session, feature, false);
}

/* Only the address of the connection's own peer counts, whatever the head says of it. */
static void whose_peer_is_trusted_is_said(void **state)
{
	static const struct {
		const char *client, *server;
		bool trusted;
	} cases[] = {
		{ "198.51.100.77", "192.0.2.1", true },	  { "198.51.100.78", "192.0.2.1", false },
		{ "203.0.113.200", "192.0.2.1", true },	  { "203.0.114.200", "192.0.2.1", false },
		{ "2001:db8:7::9", "2001:db8::1", true }, { "2001:db8:8::9", "2001:db8::1", false },
	};
	const char *headers = BOTH "X-Forwarded-For: 198.51.100.77\r\n";

	tenant_with("sk-trust");
	trust("198.51.100.77", 32);
	trust("203.0.113.0", 24);
	trust("2001:db8:7::", 48);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conn c = open_conn(cases[i].client, cases[i].server);

		assert_int_equal(send_text(&c, request("sk-trust", headers)).code, OUT_PASS);
		is_told(i, "s-4711", "chat.v2", cases[i].trusted);
	}
}

/* Cut anywhere, in two; and a byte at a time. */
static void a_head_in_parts_tells_the_same(void **state)
{
	const char *text = request("sk-parts", BOTH);
	size_t len = strlen(text), n = 0;
	struct conn c;

	tenant_with("sk-parts");
	for (size_t cut = 1; cut < len; cut++, n++) {
		c = open_conn(nobody, host);
		lab.n_records = 0;
		assert_int_equal(send_bytes(&c, text, cut).code, OUT_PASS);
		assert_int_equal(send_bytes(&c, text + cut, len - cut).code, OUT_PASS);
		is_told(0, "s-4711", "chat.v2", false);
		assert_null(labels(1));
		answer_ok(&c);
	}
	c = open_conn(nobody, host);
	lab.n_records = 0;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(send_bytes(&c, text + i, 1).code, OUT_PASS);
	is_told(0, "s-4711", "chat.v2", false);
	assert_null(labels(1));
	is_counted(WEIR_ADMIT_REQUEST, n + 1);
}

static void a_head_that_is_sent_again_is_told_once(void **state)
{
	const char *text = request("sk-again", BOTH);
	struct conn c = open_conn(nobody, host);
	uint32_t seq = c.next;

	tenant_with("sk-again");
	assert_int_equal(send_text(&c, text).code, OUT_PASS);
	assert_int_equal(from_client(&c, TCP_PSH | TCP_ACK, seq, c.sent, text, strlen(text)).code,
			 OUT_PASS);
	is_counted(WEIR_PASS_REPEAT, 1);
	is_told(0, "s-4711", "chat.v2", false);
	assert_null(labels(1));
}

static void what_is_refused_or_free_tells_nothing(void **state)
{
	struct weir_tenant *t = tenant_with("sk-full");
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	v = send_text(&c, request("sk-full", BOTH));
	is_refused(&c, &v, 429);
	assert_int_equal(send_text(&d, "GET /health HTTP/1.1\r\nHost: llm\r\n" BOTH "\r\n").code,
			 OUT_PASS);
	is_counted(WEIR_PASS_FREE, 1);
	assert_null(labels(0));
}

/* No room: the request goes on without, and that is counted. */
static void a_full_ring_loses_them_and_says_so(void **state)
{
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);

	tenant_with("sk-room");
	assert_int_equal(send_text(&c, request("sk-room", "")).code, OUT_PASS);
	lab.config->ring_data_max = 100; /* what that left there is more */
	assert_int_equal(send_text(&d, request("sk-room", BOTH)).code, OUT_PASS);
	assert_null(labels(0));
	is_counted(WEIR_TAP_LOST, 1);
	is_counted(WEIR_ADMIT_REQUEST, 2);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(labels_are_told_behind_their_request),
		CLAIM(a_request_that_says_nothing_tells_nothing),
		CLAIM(a_label_that_is_none_refuses_nobody),
		CLAIM(the_longest_labels_are_told_whole),
		CLAIM(whose_peer_is_trusted_is_said),
		CLAIM(a_head_in_parts_tells_the_same),
		CLAIM(a_head_that_is_sent_again_is_told_once),
		CLAIM(what_is_refused_or_free_tells_nothing),
		CLAIM(a_full_ring_loses_them_and_says_so),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
