/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request bodies for user space: the first bytes of those with Content-Length, in order, each
 * once, as the client sent them; nothing behind a hole, and no packet waits for it.
 */
#include "tests/bpf/streams.h"

enum { BODY = 9000, FIRST = 4096 };
static char body[BODY];

static int asked_reset(void **state)
{
	stream_reset(state);
	lab.config->asked_bytes = FIRST;
	for (int i = 0; i < BODY; i++)
		body[i] = 'a' + (i * 7 + i / 26) % 26;
	return 0;
}

static const char *head(const char *key, size_t length)
{
	static char text[512];

	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: llm\r\nx-api-key: %s\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 key, length);
	return text;
}

/* What was shipped of the body of the connection's nth request. Each byte once, in order. */
static size_t shipped(uint32_t ordinal, char out[BODY])
{
	const struct weir_rec_request *r = NULL;
	const struct weir_rec_data *a;
	size_t n = 0;

	for (size_t i = 0; (r = record(WEIR_REC_REQUEST, i)) && r->h.ordinal != ordinal; i++)
		;
	assert_non_null(r);
	for (size_t i = 0; (a = record(WEIR_REC_ASKED, i)); i++) {
		if (a->h.ordinal != ordinal)
			continue;
		assert_true((const char *)a > (const char *)r);
		assert_int_equal(a->h.slot, r->h.slot);
		assert_int_equal(a->h.service, r->h.service);
		assert_int_equal(a->started_wall_ns, r->started_wall_ns);
		assert_int_equal(a->offset, n);
		assert_true(a->h.len && n + a->h.len <= BODY);
		memcpy(out + n, a + 1, a->h.len);
		n += a->h.len;
	}
	return n;
}

static void is_shipped(uint32_t ordinal, size_t bytes)
{
	char out[BODY];
	size_t n = shipped(ordinal, out);

	if (n != bytes)
		fail_msg("%zu bytes of the body were shipped, not %zu", n, bytes);
	assert_memory_equal(out, body, n);
}

/* Send `length` bytes of a body behind its head, the first `with` of them in the head's segment. */
static void ask(struct conn *c, const char *key, size_t length, size_t with, size_t segment)
{
	char first[BODY];
	size_t n = snprintf(first, sizeof(first), "%s", head(key, length));

	memcpy(first + n, body, with);
	passes(send_bytes(c, first, n + with));
	for (size_t at = with; at < length; at += segment)
		passes(send_bytes(c, body + at, length - at < segment ? length - at : segment));
}

static void bodies_are_shipped_however_they_are_cut(void **state)
{
	static const size_t lengths[] = { 1,   2,    100,  215,	      217,  984,
					  985, 1024, 3000, FIRST - 1, FIRST };
	struct conn c = open_conn(nobody, host);
	uint32_t n = 0;

	tenant_with("sk-asked");
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (size_t with = 0; with <= lengths[i] && with < 2800;
		     with += 1 + lengths[i] / 3) {
			lab.n_records = 0;
			ask(&c, "sk-asked", lengths[i], with, 1400);
			is_shipped(++n, lengths[i]);
			answer_ok(&c);
		}
	/* Bodies as SDKs send them, a byte at a time. */
	lab.n_records = 0;
	ask(&c, "sk-asked", 60, 3, 1);
	is_shipped(++n, 60);
	answer_ok(&c);
	is_counted(WEIR_TAP_LOST, 0);
}

static void only_the_first_bytes_are_shipped_of_a_long_one(void **state)
{
	struct weir_tenant *t = tenant_with("sk-long");
	struct conn c = open_conn(nobody, host);

	ask(&c, "sk-long", BODY, 100, 1400);
	is_shipped(1, FIRST);
	answer_ok(&c);
	lab.config->asked_bytes = 10;
	ask(&c, "sk-long", BODY, 100, 1400);
	is_shipped(2, 10);
	answer_ok(&c);
	lab.config->asked_bytes = 0;
	ask(&c, "sk-long", 50, 50, 1400);
	is_shipped(3, 0);
	answer_ok(&c);
	t->flags |= WEIR_TENANT_ASKED_WHOLE;
	ask(&c, "sk-long", BODY, 100, 1400);
	is_shipped(4, BODY);
	answer_ok(&c);
}

/* Each time from its own start. */
static void every_request_of_a_connection_has_its_own(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-next");
	for (uint32_t n = 1; n < 6; n++) {
		ask(&c, "sk-next", 100 * n, 50, 120);
		is_shipped(n, 100 * n);
		answer_ok(&c);
	}
}

static void a_head_in_parts_ships_its_body_too(void **state)
{
	char text[1024];
	size_t n, cuts;

	tenant_with("sk-parts");
	n = snprintf(text, sizeof(text), "%s%.40s", head("sk-parts", 300), body);
	cuts = n - 40;
	for (size_t cut = 1; cut < cuts; cut += 11) {
		struct conn c = open_conn(nobody, host);

		lab.n_records = 0;
		passes(send_bytes(&c, text, cut));
		passes(send_bytes(&c, text + cut, n - cut));
		passes(send_bytes(&c, body + 40, 260));
		is_shipped(1, 300);
		answer_ok(&c);
	}
}

static void bytes_sent_again_are_shipped_once(void **state)
{
	struct conn c = open_conn(nobody, host);
	char first[600];
	uint32_t seq = c.next, at;
	size_t n;

	tenant_with("sk-again");
	n = snprintf(first, sizeof(first), "%s", head("sk-again", 1000));
	at = seq + n;
	memcpy(first + n, body, 100);
	passes(send_bytes(&c, first, n + 100));
	passes(send_at(&c, seq, first, n + 100));	/* the same */
	passes(send_at(&c, at + 20, body + 20, 30));	/* a part of it */
	passes(send_at(&c, at + 50, body + 50, 250));	/* it, and some more */
	passes(send_at(&c, at + 100, body + 100, 200)); /* the same */
	passes(send_at(&c, at + 200, body + 200, 800));
	is_shipped(1, 1000);
	c.next = at + 1000;
	answer_ok(&c);
}

/* It passes, as ever; of what comes behind it nothing is believed. */
static void a_hole_ends_it(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-hole");
	passes(send_text(&c, head("sk-hole", 1000)));
	passes(send_bytes(&c, body, 100));
	passes(send_at(&c, c.next + 100, body + 200, 100));
	passes(send_at(&c, c.next, body + 100, 100)); /* what was missing */
	c.next += 200;
	passes(send_bytes(&c, body + 300, 700));
	is_shipped(1, 100);
	answer_ok(&c);
	/* The next one is whole again. */
	ask(&c, "sk-hole", 500, 100, 200);
	is_shipped(2, 500);
	answer_ok(&c);
}

static void chunked_free_and_refused_ones_are_not_shipped(void **state)
{
	struct weir_tenant *t = tenant_with("sk-none");
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	free_path("/free");
	passes(send_text(&c, "POST /v1/chat/completions HTTP/1.1\r\nx-api-key: sk-none\r\n"
			     "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
	answer_ok(&c);
	passes(send_text(&c, "OPTIONS /v1/chat/completions HTTP/1.1\r\n\r\n"));
	answer_ok(&c);
	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	v = send_text(&d, head("sk-none", 10));
	is_refused(&d, &v, 429);
	assert_null(record(WEIR_REC_ASKED, 0));
	/* Nor what comes behind a body. */
	t->flags &= ~WEIR_TENANT_LIMIT_INFLIGHT;
	lab.n_records = 0;
	ask(&c, "sk-none", 10, 10, 10);
	passes(send_text(&c, "\r\n"));
	is_shipped(2 + 1, 10);
	answer_ok(&c);
}

/* The answer was over before: the rest belongs to nobody any more. */
static void a_request_that_is_over_ships_nothing_more(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-over");
	passes(send_text(&c, head("sk-over", 1000)));
	passes(send_bytes(&c, body, 100));
	server_acks(&c);
	answer_ok(&c);
	send_bytes(&c, body + 100, 900);
	is_shipped(1, 100);
}

/* What was lowered is shipped as the client wrote it, also when a segment comes again. */
static void bodies_under_rules_are_shipped_as_they_were_sent(void **state)
{
	static const char text[] = "{\"max_tokens\":9999,\"messages\":[]}";
	struct weir_tenant *t = tenant_with("sk-ruled");
	char out[BODY], first[512];
	struct conn c = open_conn(nobody, host);
	struct verdict v;
	uint32_t seq;
	size_t n;

	new_rules(t, (struct weir_rules){ .max_output_tokens = 100 });
	for (size_t cut = 0; cut <= 12; cut += 12) {
		uint32_t ordinal = 1 + cut / 12;

		n = snprintf(first, sizeof(first), "%s%.*s", head("sk-ruled", sizeof(text) - 1),
			     (int)cut, text);
		passes(send_bytes(&c, first, n));
		seq = c.next;
		v = send_text(&c, text + cut);
		passes(v);
		assert_non_null(memmem(v.frame, v.frame_len, ":100 ,", 6));
		v = text_at(&c, seq, text + cut);
		passes(v);
		assert_non_null(memmem(v.frame, v.frame_len, ":100 ,", 6));
		n = shipped(ordinal, out);
		assert_int_equal(n, sizeof(text) - 1);
		assert_memory_equal(out, text, n);
		server_acks(&c);
		answer_ok(&c);
	}
}

/* Nothing is dropped for it, and what has no room is not made up for. */
static void a_full_ring_ends_it(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-room");
	passes(send_text(&c, head("sk-room", 1000)));
	passes(send_bytes(&c, body, 100));
	lab.config->ring_data_max = 0; /* and something is in the ring */
	passes(send_bytes(&c, body + 100, 100));
	lab.config->ring_data_max = RING_BYTES;
	passes(send_bytes(&c, body + 200, 800));
	is_shipped(1, 100);
	is_counted(WEIR_TAP_LOST, 1);
	answer_ok(&c);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, asked_reset, stream_over)
	const struct CMUnitTest tests[] = {
		CLAIM(bodies_are_shipped_however_they_are_cut),
		CLAIM(only_the_first_bytes_are_shipped_of_a_long_one),
		CLAIM(every_request_of_a_connection_has_its_own),
		CLAIM(a_head_in_parts_ships_its_body_too),
		CLAIM(bytes_sent_again_are_shipped_once),
		CLAIM(a_hole_ends_it),
		CLAIM(chunked_free_and_refused_ones_are_not_shipped),
		CLAIM(a_request_that_is_over_ships_nothing_more),
		CLAIM(bodies_under_rules_are_shipped_as_they_were_sent),
		CLAIM(a_full_ring_ends_it),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
