/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a head that the configuration asks for are told once, behind their REQUEST, as the
 * client wrote them, with whether its peer is trusted; and of what is beside them in the head not
 * a byte leaves.
 */
#include "tests/bpf/streams.h"

#define USER  "X-Weir-User: alice\r\n"
#define TRACE "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"

static int lines_reset(void **state)
{
	stream_reset(state);
	tell_lines_of("x-weir-user", 0);
	tell_lines_of("traceparent", 0);
	tell_lines_of("baggage", 0);
	tell_lines_of("x-stainless-retry-count", WEIR_LINE_NOT_ZERO);
	tell_lines_of("job", 0); /* short: the first eight bytes say nothing */
	return 0;
}

static const char *request(const char *key, const char *headers)
{
	static char text[8192];

	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: llm\r\n%sx-api-key: %s\r\n"
		 "Content-Length: 2\r\n\r\n{}",
		 headers, key);
	return text;
}

static const struct weir_rec_line *line(size_t nth)
{
	return record(WEIR_REC_LINE, nth);
}

static size_t room_of(const struct weir_rec_line *l)
{
	for (size_t i = 0; i < lab.n_records; i++)
		if ((const void *)lab.records[i].bytes == l)
			return lab.records[i].len - sizeof(*l);
	return 0;
}

/* The nth line that was told is of the request `of`, this text of that name; behind it there are
 * zeros. */
static void is_told(size_t nth, size_t of, const char *text, uint32_t name, uint32_t flags)
{
	const struct weir_rec_request *r = record(WEIR_REC_REQUEST, of);
	const struct weir_rec_line *l = line(nth);
	size_t n = strlen(text), room;
	const char *is;

	assert_non_null(r);
	assert_non_null(l);
	assert_true((const char *)l > (const char *)r); /* kept in the ring's order */
	assert_int_equal(l->h.slot, r->h.slot);
	assert_int_equal(l->h.ordinal, r->h.ordinal);
	assert_int_equal(l->h.service, r->h.service);
	assert_int_equal(l->started_wall_ns, r->started_wall_ns);
	assert_int_equal(l->flags, flags);
	assert_int_equal(l->name, name);
	room = room_of(l);
	assert_int_equal(room, n <= WEIR_LINE_SMALL ? WEIR_LINE_SMALL : WEIR_LINE_LARGE);
	if (n > WEIR_LINE_LARGE)
		n = WEIR_LINE_LARGE;
	assert_int_equal(l->h.len, n);
	is = (const char *)(l + 1);
	assert_memory_equal(is, text, n);
	for (; n < room; n++)
		if (is[n])
			fail_msg("byte %zu behind a line of %u: %02x", n, l->h.len, is[n]);
}

static void lines_are_told_behind_their_request_in_order(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-lines");
	passes(send_text(&c, request("sk-lines", TRACE "Accept: */*\r\n" USER "job:  7 \r\n")));
	is_told(0, 0, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 1, 0);
	is_told(1, 0, "X-Weir-User: alice", 0, 0);
	is_told(2, 0, "job:  7 ", 4, 0);
	answer_ok(&c);
	/* Also with other line ends; what comes twice is told twice. */
	passes(send_text(&c, request("sk-lines", "baggage: a=1\nBaggage:b=2\r\n")));
	is_told(3, 1, "baggage: a=1", 2, 0);
	is_told(4, 1, "Baggage:b=2", 2, 0);
	answer_ok(&c);
	/* And nothing of the one before, on this connection or this CPU. */
	passes(send_text(&c, request("sk-lines", "")));
	assert_non_null(record(WEIR_REC_REQUEST, 2));
	assert_null(line(5));
	answer_ok(&c);
}

static void a_zero_may_not_be_worth_a_record(void **state)
{
	static const char *const zeros[] = { "0", "", " 0 ", "  0" };
	struct conn c = open_conn(nobody, host);
	size_t told = 0;

	tenant_with("sk-zero");
	for (size_t i = 0; i < 12; i++) {
		static const char *const others[] = { "1", "00", "0 0", "-0", "0x", "", "2", "10" };
		char headers[128], text[64];
		bool zero = i < 4 && i != 1;

		snprintf(text, sizeof(text), "X-Stainless-Retry-Count:%s",
			 i < 4 ? zeros[i] : others[i - 4]);
		snprintf(headers, sizeof(headers), "%s\r\nx-weir-user: 0\r\n", text);
		passes(send_text(&c, request("sk-zero", headers)));
		if (!zero)
			is_told(told++, i, text, 3, 0);
		is_told(told++, i, "x-weir-user: 0", 0, 0); /* of others it is */
		assert_null(line(told));
		answer_ok(&c);
	}
}

/* Each length around both classes, with keys before and behind it. */
static void nothing_of_another_header_leaves(void **state)
{
	static const size_t around[] = { 12, 16, 17, 24, 96, 104, 240, 484, 488, 600, 2000 };
	char text[2600], headers[3000];

	tenant_with("sk-secret");
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++)
		for (size_t n = around[i] > 14 ? around[i] - 2 : 12; n <= around[i] + 9; n++) {
			struct conn c = open_conn(nobody, host);

			lab.n_records = 0;
			memset(text, 'u', sizeof(text));
			memcpy(text, "x-weir-user:", 12);
			text[n] = '\0';
			snprintf(headers, sizeof(headers),
				 "Authorization: Bearer sk-secret\r\n%s\r\n", text);
			passes(send_text(&c, request("sk-secret", headers)));
			is_told(0, 0, text, 0, n > WEIR_LINE_LARGE ? WEIR_LINE_CUT : 0);
			assert_null(line(1));
			answer_ok(&c);
			from_client(&c, TCP_RST, c.next, c.sent, NULL, 0);
		}
}

/* Other headers with the same start, and names that are in another place. */
static void what_only_looks_like_a_wanted_line_is_not_told(void **state)
{
	static const char *const headers[] = {
		"x-weir-users: x\r\n",
		"x-weir-use: x\r\n",
		"x_weir_user: x\r\n",
		"x-stainless-retry-aft: 7\r\n", /* sixteen bytes alike */
		"x-stainless-retry-counts: 7\r\n",
		"x-stainless-lang: python\r\n",
		"jo: b\r\n",
		"jobs: 1\r\n",
		"Cookie: x-weir-user: x\r\n",
		"A: b\r\nnotbaggage: a=b\r\n",
	};
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-alike");
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		passes(send_text(&c, request("sk-alike", headers[i])));
		if (line(0))
			fail_msg("\"%s\" was told", headers[i]);
		answer_ok(&c);
	}
	is_counted(WEIR_ADMIT_REQUEST, sizeof(headers) / sizeof(headers[0]));
	/* As many bytes, of which the first sixteen are alike: for the agent to tell apart. */
	passes(send_text(&c, request("sk-alike", "x-stainless-retry-after: 7\r\n")));
	is_told(0, sizeof(headers) / sizeof(headers[0]), "x-stainless-retry-after: 7", 3, 0);
	answer_ok(&c);
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
	const char *headers = USER "X-Forwarded-For: 198.51.100.77\r\n";

	tenant_with("sk-trust");
	trust("198.51.100.77", 32);
	trust("203.0.113.0", 24);
	trust("2001:db8:7::", 48);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conn c = open_conn(cases[i].client, cases[i].server);

		passes(send_text(&c, request("sk-trust", headers)));
		is_told(i, i, "X-Weir-User: alice", 0, cases[i].trusted ? WEIR_LABELS_TRUSTED : 0);
		answer_ok(&c);
	}
}

/* Cut anywhere, in two; and a byte at a time. */
static void a_head_in_parts_tells_the_same(void **state)
{
	const char *text = request("sk-parts", USER "job: 7\r\n");
	size_t len = strlen(text), n = 0;
	struct conn c;

	tenant_with("sk-parts");
	for (size_t cut = 1; cut < len; cut++, n++) {
		c = open_conn(nobody, host);
		lab.n_records = 0;
		passes(send_bytes(&c, text, cut));
		passes(send_bytes(&c, text + cut, len - cut));
		is_told(0, 0, "X-Weir-User: alice", 0, 0);
		is_told(1, 0, "job: 7", 4, 0);
		assert_null(line(2));
		answer_ok(&c);
	}
	c = open_conn(nobody, host);
	lab.n_records = 0;
	for (size_t i = 0; i < len; i++)
		passes(send_bytes(&c, text + i, 1));
	is_told(0, 0, "X-Weir-User: alice", 0, 0);
	is_told(1, 0, "job: 7", 4, 0);
	assert_null(line(2));
	is_counted(WEIR_ADMIT_REQUEST, n + 1);
	answer_ok(&c);
}

static void a_head_that_is_sent_again_is_told_once(void **state)
{
	const char *text = request("sk-again", USER);
	struct conn c = open_conn(nobody, host);
	uint32_t seq = c.next;

	tenant_with("sk-again");
	passes(send_text(&c, text));
	passes(text_at(&c, seq, text));
	is_counted(WEIR_PASS_REPEAT, 1);
	is_told(0, 0, "X-Weir-User: alice", 0, 0);
	assert_null(line(1));
	answer_ok(&c);
}

static void sixteen_lines_are_told_of_a_head(void **state)
{
	char headers[2048] = "", text[32];
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-many");
	for (int i = 0; i < WEIR_HEAD_LINES_MAX + 4; i++)
		sprintf(headers + strlen(headers), "%sbaggage: n=%d\r\n",
			i % 2 ? "" : "x-weir-usex: no\r\n", i);
	passes(send_text(&c, request("sk-many", headers)));
	for (int i = 0; i < WEIR_HEAD_LINES_MAX; i++) {
		sprintf(text, "baggage: n=%d", i);
		is_told(i, 0, text, 2, 0);
	}
	assert_null(line(WEIR_HEAD_LINES_MAX));
	answer_ok(&c);
}

static void what_is_refused_or_free_tells_nothing(void **state)
{
	struct weir_tenant *t = tenant_with("sk-full");
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	v = send_text(&c, request("sk-full", USER));
	is_refused(&c, &v, 429);
	passes(send_text(&d, "GET /health HTTP/1.1\r\nHost: llm\r\n" USER "\r\n"));
	is_counted(WEIR_PASS_FREE, 1);
	assert_null(line(0));
	answer_ok(&d);
}

/* No room: the request goes on without, and that is counted. */
static void a_full_ring_loses_them_and_says_so(void **state)
{
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);

	tenant_with("sk-room");
	passes(send_text(&c, request("sk-room", "")));
	take_records();
	lab.config->ring_data_max = 100; /* a REQUEST is more */
	passes(send_text(&d, request("sk-room", USER "Accept: */*\r\n")));
	assert_non_null(record(WEIR_REC_REQUEST, 1));
	assert_null(line(0));
	is_counted(WEIR_TAP_LOST, 1);
	is_counted(WEIR_ADMIT_REQUEST, 2);
	answer_ok(&c);
	answer_ok(&d);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, lines_reset, stream_over)
	const struct CMUnitTest tests[] = {
		CLAIM(lines_are_told_behind_their_request_in_order),
		CLAIM(a_zero_may_not_be_worth_a_record),
		CLAIM(nothing_of_another_header_leaves),
		CLAIM(what_only_looks_like_a_wanted_line_is_not_told),
		CLAIM(whose_peer_is_trusted_is_said),
		CLAIM(a_head_in_parts_tells_the_same),
		CLAIM(a_head_that_is_sent_again_is_told_once),
		CLAIM(sixteen_lines_are_told_of_a_head),
		CLAIM(what_is_refused_or_free_tells_nothing),
		CLAIM(a_full_ring_loses_them_and_says_so),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
