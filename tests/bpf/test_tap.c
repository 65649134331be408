/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: what of them reaches the ring, each byte once and in order, and when
 * a request is over. No claim here needs an agent.
 */
#include "tests/bpf/lab.h"

static const char nobody[] = "198.51.100.40", host[] = "192.0.2.1";

static struct weir_tenant *tenant_with(const char *key)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	add_key(key, index, 0);
	return t;
}

/* A connection whose request was admitted and not answered yet. */
static struct conn asked(const char *key)
{
	struct conn c = open_conn(nobody, host);

	assert_int_equal(send_text(&c, chat(key)).code, OUT_PASS);
	return c;
}

/* The flow goes, or their map would be full soon. */
static void forget(struct conn *c)
{
	uint8_t frame[64] = {};

	lab.config->half_open_ns = 0;
	from_server(c, TCP_SYN | TCP_ACK, c->sent + 12345, c->next, NULL, 0);
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	lab.config->half_open_ns = 75 * SECOND;
}

/* Cuts in the head leave its framing unknown (first light): only those behind it. */
static void body_ends_at_its_last_byte_however_cut(const char *key, const char *head,
						   const char *body)
{
	struct weir_tenant *t = tenant_with(key);

	for (size_t a = 0; a <= strlen(body); a++)
		for (size_t b = a; b < strlen(body); b += 3) {
			struct conn c = asked(key);
			char first[512];
			int n = snprintf(first, sizeof(first), "%s%.*s", head, (int)a, body);

			answer_bytes(&c, first, n);
			if (a < strlen(body))
				assert_int_equal(t->inflight, 1);
			if (b > a)
				answer_bytes(&c, body + a, b - a);
			assert_int_equal(t->inflight, 1);
			answer_bytes(&c, body + b, strlen(body) - b);
			if (t->inflight)
				fail_msg("cuts at %zu and %zu: not over", a, b);
			forget(&c);
			take_records();
			lab.n_records = 0;
		}
}

static void a_content_length_ends_it(void **state)
{
	body_ends_at_its_last_byte_however_cut("sk-cl",
					       "HTTP/1.1 200 OK\r\nServer: uvicorn\r\n"
					       "content-length: 24\r\n\r\n",
					       "{\"usage\":{\"tokens\":1}}\r\n");
}

static void the_last_chunk_ends_it(void **state)
{
	body_ends_at_its_last_byte_however_cut(
		"sk-te", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"5\r\nhello\r\n1;x=y\r\n!\r\nF\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n");
}

static void trailers_belong_to_it(void **state)
{
	body_ends_at_its_last_byte_however_cut(
		"sk-trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"1\r\nx\r\n0\r\nX-Tokens: 12\r\nA: b\r\n\r\n");
}

static void whole_answers_are_tapped_byte_by_byte(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "3\r\nabc\r\n0\r\n\r\n";

	/* One segment. Cut heads: see below. */
	struct weir_tenant *t = tenant_with("sk-whole");
	struct conn c = asked("sk-whole");
	char seen[256];

	answer_text(&c, text);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(tapped(seen, sizeof(seen)), sizeof(text) - 1);
	assert_string_equal(seen, text);
	is_counted(WEIR_TAP_SHIPPED, 1);
}

static void answers_without_a_body_end_with_their_head(void **state)
{
	static const char *const heads[] = {
		"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	};
	struct weir_tenant *t = tenant_with("sk-nobody");

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct conn c = asked("sk-nobody");

		answer_text(&c, heads[i]);
		assert_int_equal(t->inflight, 0);
	}
}

static void the_answer_to_head_has_no_body(void **state)
{
	struct weir_tenant *t = tenant_with("sk-head");
	struct conn c = open_conn(nobody, host);

	send_text(&c, "HEAD /v1/chat/completions HTTP/1.1\r\nx-api-key: sk-head\r\n\r\n");
	assert_int_equal(t->inflight, 1);
	answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
	assert_int_equal(t->inflight, 0);
}

static void an_interim_answer_is_no_end(void **state)
{
	struct weir_tenant *t = tenant_with("sk-100");
	struct conn c = asked("sk-100");
	char seen[256];

	answer_text(&c, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(t->inflight, 1);
	answer_text(&c, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
			"Content-Length: 2\r\n\r\n{");
	assert_int_equal(t->inflight, 1);
	answer_text(&c, "}");
	assert_int_equal(t->inflight, 0);
	tapped(seen, sizeof(seen));
	assert_non_null(strstr(seen, "\r\n\r\n{}"));
}

static void without_a_length_the_servers_fin_ends_it(void **state)
{
	struct weir_tenant *t = tenant_with("sk-close");
	struct conn c = asked("sk-close");
	const struct weir_rec_end *e;

	answer_text(&c, "HTTP/1.1 200 OK\r\n\r\nwords");
	answer_text(&c, " and more");
	assert_int_equal(t->inflight, 1);
	from_server(&c, TCP_FIN | TCP_ACK, c.sent, c.next, NULL, 0);
	assert_int_equal(t->inflight, 0);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->h.flags, WEIR_END_CLOSE);
	assert_int_equal(e->response_bytes, strlen("HTTP/1.1 200 OK\r\n\r\nwords and more"));
}

/* First light: the framing of a head in two segments is not known; the close or
 * the next request ends it, and no byte is missing. */
static void a_head_in_two_segments_ends_with_the_close(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
	struct weir_tenant *t = tenant_with("sk-cuthead");
	char seen[256];

	for (size_t cut = 1; cut < sizeof(text) - 5; cut += 5) {
		struct conn c = asked("sk-cuthead");

		answer_bytes(&c, text, cut);
		answer_text(&c, text + cut);
		from_server(&c, TCP_FIN | TCP_ACK, c.sent, c.next, NULL, 0);
		assert_int_equal(t->inflight, 0);
		tapped(seen, sizeof(seen));
		assert_string_equal(seen, text);
		lab.n_records = 0;
	}
}

static void bytes_sent_again_are_shipped_once(void **state)
{
	struct weir_tenant *t = tenant_with("sk-resend");
	struct conn c = asked("sk-resend");
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
	uint32_t first = c.sent;
	size_t n = sizeof(text) - 1;
	char seen[256];

	answer_bytes(&c, text, n - 5);
	from_server(&c, TCP_ACK, first, c.next, text, n - 5);		 /* the same */
	from_server(&c, TCP_ACK, first + 10, c.next, text + 10, 20);	 /* a part of it */
	from_server(&c, TCP_ACK, first + 20, c.next, text + 20, n - 22); /* it, and some more */
	assert_int_equal(t->inflight, 1);
	from_server(&c, TCP_ACK, first, c.next, text, n);
	assert_int_equal(t->inflight, 0);
	is_counted(WEIR_TAP_RETRANSMIT, 2);
	is_counted(WEIR_TAP_HOLE, 0);
	assert_int_equal(tapped(seen, sizeof(seen)), n);
	assert_string_equal(seen, text);
}

static void a_hole_is_counted_and_the_length_still_holds(void **state)
{
	struct weir_tenant *t = tenant_with("sk-hole");
	struct conn c = asked("sk-hole");
	const struct weir_rec_data *d;
	const struct weir_rec_end *e;
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n0123456789";

	answer_text(&c, head);
	c.sent += 10; /* never seen */
	answer_text(&c, "abcdefghi");
	assert_int_equal(t->inflight, 1);
	answer_text(&c, "j");
	assert_int_equal(t->inflight, 0);
	is_counted(WEIR_TAP_HOLE, 1);
	d = record(WEIR_REC_DATA, 1);
	assert_int_equal(d->offset, sizeof(head) - 1 + 10);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->lost_bytes, 10);
	assert_int_equal(e->response_bytes, sizeof(head) - 1 + 20);
}

/* Records come in size classes: each side of every border. */
static void every_size_of_segment_is_shipped_whole(void **state)
{
	static const size_t sizes[] = { 1, 215, 216, 217, 983, 984, 985, 3300 };
	struct weir_tenant *t = tenant_with("sk-size");
	static char text[FRAME_MAX], seen[16384];
	struct conn c = asked("sk-size");
	size_t sum;

	sum = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n\r\n");
	answer_bytes(&c, text, sum);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizes[i]; j++)
			text[j] = 'a' + (i * 7 + j) % 26;
		answer_bytes(&c, text, sizes[i]);
		sum += sizes[i];
	}
	assert_int_equal(tapped(seen, sizeof(seen)), sum);
	assert_memory_equal(seen + sum - 3300, text, 3300);
	from_server(&c, TCP_FIN | TCP_ACK, c.sent, c.next, NULL, 0);
	assert_int_equal(t->inflight, 0);
}

static void what_the_ring_cannot_take_is_told_as_lost(void **state)
{
	struct weir_tenant *t = tenant_with("sk-lost");
	struct conn c = asked("sk-lost");
	const struct weir_rec_end *e;

	answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
	lab.config->ring_data_max = 0;
	answer_text(&c, "0123456789");
	lab.config->ring_data_max = RING_BYTES;
	answer_text(&c, "0123456789");
	/* The place in flight is free all the same. */
	assert_int_equal(t->inflight, 0);
	is_counted(WEIR_TAP_LOST, 1);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->lost_bytes, 10);
}

/* Its price will never be known; the agent gives the reservation back (agent/enforce.c). */
static void the_reservation_of_a_lost_end_is_told_apart(void **state)
{
	struct weir_tenant *t = tenant_with("sk-full");
	struct conn c;

	t->reserve_nano_per_request = 7;
	lab.config->ring_data_max = lab.config->ring_request_max = RING_BYTES;
	c = open_conn(nobody, host);
	for (int i = 0; i < 100000 && counter(WEIR_END_LOST) == lab.before[WEIR_END_LOST]; i++) {
		assert_int_equal(send_text(&c, chat("sk-full")).code, OUT_PASS);
		answer_text(&c, "HTTP/1.1 204 No Content\r\n\r\n");
	}
	is_counted(WEIR_END_LOST, 1);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(t->lost_nano, t->reserved_nano / t->admitted);
	take_records();
}

/* The last of the room is for END records: they settle without the others. */
static void a_request_record_leaves_room_for_ends(void **state)
{
	struct weir_tenant *t = tenant_with("sk-room");
	struct conn first = asked("sk-room"), second;

	answer_text(&first, "HTTP/1.1 204 No Content\r\n\r\n");
	lab.config->ring_data_max = 0; /* and something is in the ring */
	second = asked("sk-room");
	answer_text(&second, "HTTP/1.1 204 No Content\r\n\r\n");
	assert_int_equal(t->admitted, 2);
	assert_non_null(record(WEIR_REC_REQUEST, 0));
	assert_null(record(WEIR_REC_REQUEST, 1));
	assert_non_null(record(WEIR_REC_END, 1));
}

static void an_answer_that_no_request_explains_is_billed_and_closes(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_request *r;
	const struct weir_rec_end *e;
	uint32_t seq = c.sent;
	struct segment rst;
	struct verdict v;

	v = answer_text(&c, text);
	assert_int_equal(v.code, OUT_PASS);
	assert_null(read_frame(v.frame, v.frame_len, &rst));
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, seq);
	assert_int_equal(rst.len, 0);
	assert_true(on_the_wire(&rst));
	assert_int_equal(rst.seq, c.next);
	is_counted(WEIR_TAP_UNJUDGED, 1);
	is_counted(WEIR_DROP_UNJUDGED, 1);
	r = record(WEIR_REC_REQUEST, 0);
	assert_non_null(r);
	assert_string_equal(r->path, "-");
	assert_non_null(record(WEIR_REC_DATA, 0));
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->flags, WEIR_SLOT_UNJUDGED);
	assert_int_equal(e->response_bytes, strlen(text));
}

/* A new SYN on a live flow changes nothing until the server accepts it. */
static void only_the_servers_syn_ack_replaces_a_live_flow(void **state)
{
	struct weir_tenant *t = tenant_with("sk-port");
	struct conn c = asked("sk-port"), other = c;
	const struct weir_rec_end *e;

	other.next += 5000000;
	other.sent += 5000000;
	assert_int_equal(send_syn(&other, false).code, OUT_PASS);
	assert_int_equal(t->inflight, 1);
	other.next++;
	from_server(&other, TCP_SYN | TCP_ACK, other.sent++, other.next, NULL, 0);
	assert_int_equal(t->inflight, 0);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->h.flags, WEIR_END_CLOSE);
	assert_int_equal(send_text(&other, chat("sk-port")).code, OUT_PASS);
	answer_text(&other, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(t->inflight, 0);
	assert_int_equal(t->admitted, 2);
	assert_int_equal(t->connections, 1);
}

/* SSE, as vLLM sends it: every token a chunk of its own. */
static void a_long_stream_in_small_chunks_is_tapped_in_order(void **state)
{
	struct weir_tenant *t = tenant_with("sk-sse");
	struct conn c = asked("sk-sse");
	static char sent[65536], seen[65536];
	char chunk[256], event[128];
	size_t n = 0;

	n += sprintf(sent, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
			   "Transfer-Encoding: chunked\r\n\r\n");
	answer_bytes(&c, sent, n);
	for (int i = 0; i < 200; i++) {
		int e = sprintf(event, "data: {\"choices\":[{\"delta\":{\"content\":\"%d\"}}]}\n\n",
				i * i * 7919);

		e = sprintf(chunk, "%x\r\n%s\r\n", e, event);
		memcpy(sent + n, chunk, e);
		n += e;
		answer_bytes(&c, chunk, e);
		assert_int_equal(t->inflight, 1);
	}
	memcpy(sent + n, "0\r\n\r\n", 5);
	n += 5;
	answer_text(&c, "0\r\n\r\n");
	assert_int_equal(t->inflight, 0);
	assert_int_equal(tapped(seen, sizeof(seen)), n);
	assert_memory_equal(seen, sent, n);
}

static void v6_is_tapped_alike(void **state)
{
	struct weir_tenant *t = tenant_with("sk-tap6");
	struct conn c = open_conn("2001:db8:40::2", "2001:db8::1");
	char seen[256];

	send_text(&c, chat("sk-tap6"));
	assert_int_equal(t->inflight, 1);
	answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	assert_int_equal(t->inflight, 0);
	tapped(seen, sizeof(seen));
	assert_string_equal(seen, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(a_content_length_ends_it),
		CLAIM(the_last_chunk_ends_it),
		CLAIM(trailers_belong_to_it),
		CLAIM(whole_answers_are_tapped_byte_by_byte),
		CLAIM(answers_without_a_body_end_with_their_head),
		CLAIM(the_answer_to_head_has_no_body),
		CLAIM(an_interim_answer_is_no_end),
		CLAIM(without_a_length_the_servers_fin_ends_it),
		CLAIM(a_head_in_two_segments_ends_with_the_close),
		CLAIM(bytes_sent_again_are_shipped_once),
		CLAIM(a_hole_is_counted_and_the_length_still_holds),
		CLAIM(every_size_of_segment_is_shipped_whole),
		CLAIM(what_the_ring_cannot_take_is_told_as_lost),
		CLAIM(the_reservation_of_a_lost_end_is_told_apart),
		CLAIM(a_request_record_leaves_room_for_ends),
		CLAIM(an_answer_that_no_request_explains_is_billed_and_closes),
		CLAIM(only_the_servers_syn_ack_replaces_a_live_flow),
		CLAIM(a_long_stream_in_small_chunks_is_tapped_in_order),
		CLAIM(v6_is_tapped_alike),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
