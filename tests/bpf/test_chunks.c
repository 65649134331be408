/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunked request bodies (forms.md, rule 7): followed to their very end however they are cut,
 * strict in their framing, and never a place for a second request to hide in.
 */
#include "tests/bpf/streams.h"

static const char head[] = "POST /v1/x HTTP/1.1\r\nx-api-key: sk-ch\r\n"
			   "Transfer-Encoding: chunked\r\n\r\n";

/* A connection whose chunked request has just been admitted. */
static struct conn asked(void)
{
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, head));
	server_acks(&c);
	return c;
}

/* The body ends at the last byte of text: a next request is judged. */
static void is_one_body(const char *text, size_t step)
{
	struct weir_tenant *t = tenant_with("sk-ch");
	size_t n = strlen(text);

	for (size_t cut = 0; cut <= n; cut += step) {
		struct conn c = cut & 1 ? asked() : open_conn(nobody, host);
		char first[2000] = "";
		uint64_t had;

		if (!(cut & 1))
			strcpy(first, head);
		strncat(first, text, cut);
		if (first[0])
			passes(send_text(&c, first));
		assert_int_equal(t->inflight, 1);
		if (text[cut])
			passes(send_text(&c, text + cut));
		answer_ok(&c);
		had = t->admitted;
		passes(send_text(&c, head));
		if (t->admitted != had + 1)
			fail_msg("behind \"%s\" cut at %zu no head is looked for", text, cut);
		passes(send_text(&c, "0\r\n\r\n"));
		answer_ok(&c);
		assert_int_equal(t->inflight, 0);
	}
	assert_int_equal(free_readers(), readers_before);
}

static void a_body_ends_with_its_last_chunk_however_cut(void **state)
{
	is_one_body("0\r\n\r\n", 1);
	is_one_body("5\r\nhello\r\n0\r\n\r\n", 1);
	is_one_body("00A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n", 1);
	is_one_body("000000000001\r\nx\r\n0\r\n\r\n", 1);
}

static void extensions_and_trailers_belong_to_it(void **state)
{
	is_one_body("1;a=b\r\nx\r\n1 ; q=\"\xc3\xa4\"\r\ny\r\n0;end\r\n\r\n", 1);
	is_one_body("1\t;\tz\r\nx\r\n0\r\nX-Sum: 12\r\nA:\tb\r\n\r\n", 1);
}

static void data_that_looks_like_a_request_is_data(void **state)
{
	char text[300];

	snprintf(text, sizeof(text), "%zx\r\n%s\r\n0\r\n\r\n", strlen(head), head);
	is_one_body(text, 1);
	is_one_body("c\r\n\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", 1);
	is_counted(WEIR_DROP_PIPELINED, 0);
}

static void a_body_comes_byte_by_byte(void **state)
{
	static const char text[] = "3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
	struct weir_tenant *t = tenant_with("sk-ch");
	struct conn c = asked();

	for (size_t i = 0; text[i]; i++)
		passes(send_bytes(&c, text + i, 1));
	answer_ok(&c);
	passes(send_text(&c, head));
	assert_int_equal(t->admitted, 2);
}

static void many_chunks_in_one_segment_are_followed(void **state)
{
	struct weir_tenant *t = tenant_with("sk-ch");
	struct conn c = asked();
	char text[3400];
	size_t n = 0;

	for (int i = 0; i < 120; i++)
		n += sprintf(text + n, "%x\r\n%0*d\r\n", 1 + i % 20, 1 + i % 20, 0);
	strcpy(text + n, "0\r\n\r\n");
	passes(send_text(&c, text));
	answer_ok(&c);
	passes(send_text(&c, head));
	assert_int_equal(t->admitted, 2);
}

static void framing_that_servers_read_differently_closes_both_ends(void **state)
{
	static const char *const texts[] = {
		/* Each ends with the byte that is wrong. */
		"\r",
		"x",
		" ",
		"-",
		"+",
		";",
		"0x",
		"5x",
		"5\n",
		"5\rx",
		"5\r\r",
		"1234567890123",
		"0000000000000",
		"5;a\n",
		"5;a\x01",
		"5;a\x0b",
		"5 \n",
		"3\r\nabcd",
		"3\r\nabc\n",
		"3\r\nabcX",
		"3\r\nabc\rX",
		"3\r\nabc\r\n\r",
		"0\n",
		"0\r\n\n",
		"0\r\n\rX",
		"0\r\nA: b\n",
		"0\r\nA: b\rX",
		"0\r\nA: \x01",
	};

	tenant_with("sk-ch");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct conn c = asked(), d;
		size_t n = strlen(texts[i]);

		next_closes(&c, texts[i], WEIR_DROP_BAD_CHUNK);
		/* That byte in a segment of its own. */
		if (n > 1) {
			d = asked();
			passes(send_bytes(&d, texts[i], n - 1));
			next_closes(&d, texts[i] + n - 1, WEIR_DROP_BAD_CHUNK);
		}
	}
	assert_int_equal(free_readers(), readers_before);
}

static void a_nul_in_the_framing_too(void **state)
{
	struct conn c;
	struct verdict v;
	uint32_t seq;

	tenant_with("sk-ch");
	c = asked();
	seq = c.next;
	v = send_bytes(&c, "5;\0\r\n", 5);
	closes(&c, &v, seq, c.next);
	is_counted(WEIR_DROP_BAD_CHUNK, 1);
}

/* With the head: the server has seen nothing of it. */
static void broken_framing_in_the_heads_segment_closes_before_the_head(void **state)
{
	struct weir_tenant *t = tenant_with("sk-ch");
	struct conn c = open_conn(nobody, host);
	char text[300];

	snprintf(text, sizeof(text), "%s5\nhello", head);
	next_closes(&c, text, WEIR_DROP_BAD_CHUNK);
	assert_int_equal(t->inflight, 0);
}

/* -- what is behind it */

static void behind_the_last_chunk_are_four_blanks_and_nothing_else(void **state)
{
	struct conn c, d;
	char text[300];

	tenant_with("sk-ch");
	c = asked();
	passes(send_text(&c, "0\r\n\r\n\r\n"));
	answer_ok(&c);
	d = asked();
	snprintf(text, sizeof(text), "0\r\n\r\n%s", head);
	next_closes(&d, text, WEIR_DROP_PIPELINED);
	c = asked();
	next_closes(&c, "0\r\n\r\n\r\n\r\n\n", WEIR_DROP_PIPELINED);
}

static void a_next_head_behind_it_closes_also_when_the_answer_is_over(void **state)
{
	struct conn c;
	char text[300];

	tenant_with("sk-ch");
	c = asked();
	passes(answer_text(&c, "HTTP/1.1 200 OK\r\n\r\nwords"));
	snprintf(text, sizeof(text), "0\r\n\r\n%s", head);
	next_closes(&c, text, WEIR_DROP_PIPELINED);
}

static void a_next_head_in_its_own_segment_waits_for_the_answer(void **state)
{
	struct conn c;

	tenant_with("sk-ch");
	c = asked();
	passes(send_text(&c, "0\r\n\r\n"));
	server_acks(&c);
	next_closes(&c, head, WEIR_DROP_PIPELINED);
}

/* -- out of order, and again */

static void framing_comes_in_order(void **state)
{
	struct conn c;

	tenant_with("sk-ch");
	c = asked();
	drops(text_at(&c, c.next + 3, "hello\r\n0\r\n\r\n"));
	passes(send_text(&c, "5\r\n"));
	drops(text_at(&c, c.next + 5, "\r\n0\r\n\r\n"));
	drops(text_at(&c, c.next + 3, "lo\r\n0\r\n\r\n"));
	is_counted(WEIR_DROP_OUT_OF_ORDER, 3);
	passes(send_text(&c, "hello\r\n0\r\n\r\n"));
	answer_ok(&c);
}

static void data_of_the_chunk_at_hand_may_come_early_and_again(void **state)
{
	struct weir_tenant *t = tenant_with("sk-ch");
	struct conn c = asked();
	uint32_t data;

	passes(send_text(&c, "14\r\n"));
	data = c.next;
	passes(text_at(&c, data + 5, "56789"));
	passes(text_at(&c, data, "01234"));
	passes(text_at(&c, data, "abcde"));
	c.next = data + 10;
	passes(send_text(&c, "0123456789\r\n0\r\n\r\n"));
	answer_ok(&c);
	passes(send_text(&c, head));
	assert_int_equal(t->admitted, 2);
}

static void framing_comes_again_as_it_was(void **state)
{
	static const char text[] = "5;ext\r\nhello\r\n";

	tenant_with("sk-ch");
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		struct conn c = asked();
		uint32_t seq = c.next;
		char other[32];

		passes(send_text(&c, text));
		passes(text_at(&c, seq, text));
		is_counted(WEIR_PASS_REPEAT, i + 1);
		snprintf(other, sizeof(other), "%s", text);
		other[i] ^= 1;
		change_closes(&c, seq, other, seq);
	}
}

static void the_last_chunk_comes_again_as_it_was(void **state)
{
	struct conn c, d;
	uint32_t seq;

	tenant_with("sk-ch");
	c = asked();
	seq = c.next;
	passes(send_text(&c, "0\r\n\r\n"));
	passes(text_at(&c, seq, "0\r\n\r\n"));
	change_closes(&c, seq, "9\r\n\r\n", seq);
	d = asked();
	seq = d.next;
	passes(send_text(&d, "0\r\n\r\n"));
	server_acks(&d);
	passes(text_at(&d, seq, "9\r\n\r\n"));
	answer_ok(&d);
}

/* A lost segment of a large chunk comes when the next chunk's size has been read. */
static void lost_data_comes_behind_the_framing_that_follows(void **state)
{
	struct weir_tenant *t = tenant_with("sk-ch");
	struct conn c = asked();
	uint32_t data;

	passes(send_text(&c, "14\r\n01234"));
	data = c.next;
	/* 56789 is lost on its way. */
	passes(text_at(&c, data + 5, "01234"));
	c.next = data + 10;
	passes(send_text(&c, "56789\r\n5\r\nhel"));
	passes(text_at(&c, data, "56789"));
	passes(send_text(&c, "lo\r\n0\r\n\r\n"));
	answer_ok(&c);
	passes(send_text(&c, head));
	assert_int_equal(t->admitted, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(a_body_ends_with_its_last_chunk_however_cut),
		STREAM_CLAIM(extensions_and_trailers_belong_to_it),
		STREAM_CLAIM(data_that_looks_like_a_request_is_data),
		STREAM_CLAIM(a_body_comes_byte_by_byte),
		STREAM_CLAIM(many_chunks_in_one_segment_are_followed),
		STREAM_CLAIM(framing_that_servers_read_differently_closes_both_ends),
		STREAM_CLAIM(a_nul_in_the_framing_too),
		STREAM_CLAIM(broken_framing_in_the_heads_segment_closes_before_the_head),
		STREAM_CLAIM(behind_the_last_chunk_are_four_blanks_and_nothing_else),
		STREAM_CLAIM(a_next_head_behind_it_closes_also_when_the_answer_is_over),
		STREAM_CLAIM(a_next_head_in_its_own_segment_waits_for_the_answer),
		STREAM_CLAIM(framing_comes_in_order),
		STREAM_CLAIM(data_of_the_chunk_at_hand_may_come_early_and_again),
		STREAM_CLAIM(framing_comes_again_as_it_was),
		STREAM_CLAIM(the_last_chunk_comes_again_as_it_was),
		STREAM_CLAIM(lost_data_comes_behind_the_framing_that_follows),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
