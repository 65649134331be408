/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of vectors: of a plain one with Content-Length only the start and the end are shipped,
 * and what is between is not told as lost. Of every other answer every byte is.
 */
#include "tests/bpf/streams.h"

enum { MOST = 64 * 1024 };
static char answer[MOST * 2], seen[MOST * 2];
static bool shipped[MOST * 2];

static const char *post(const char *path)
{
	static char text[512];

	snprintf(text, sizeof(text),
		 "POST %s HTTP/1.1\r\nHost: llm\r\nx-api-key: sk-vectors\r\n"
		 "Content-Length: 2\r\n\r\n{}",
		 path);
	return text;
}

static struct conn asked(const char *path)
{
	struct conn c = open_conn(nobody, host);

	lab.n_records = 0;
	passes(send_text(&c, post(path)));
	return c;
}

/* An answer with these lines in its head and n bytes of body, in `answer`. */
static size_t answer_of(const char *lines, size_t n, size_t *head)
{
	*head = sprintf(answer, "HTTP/1.1 200 OK\r\n%s\r\n", lines);
	for (size_t i = 0; i < n; i++)
		answer[*head + i] = '0' + (i * 31 + i / 100) % 75;
	return *head + n;
}

static size_t vectors(size_t n, size_t *head)
{
	char lines[64];

	snprintf(lines, sizeof(lines), "Content-Length: %zu\r\n", n);
	return answer_of(lines, n, head);
}

static void take_data(void)
{
	const struct weir_rec_data *d;

	memset(shipped, 0, sizeof(shipped));
	for (size_t i = 0; (d = record(WEIR_REC_DATA, i)); i++) {
		assert_true(d->offset + d->h.len <= sizeof(seen));
		memcpy(seen + d->offset, d + 1, d->h.len);
		for (size_t k = 0; k < d->h.len; k++) {
			assert_false(shipped[d->offset + k]);
			shipped[d->offset + k] = true;
		}
	}
}

/* These bytes of the answer were shipped, [from, to) not. */
static void all_but(size_t len, size_t from, size_t to)
{
	take_data();
	for (size_t i = 0; i < len; i++)
		if (shipped[i] != (i < from || i >= to))
			fail_msg("byte %zu of %zu was %sshipped", i, len, shipped[i] ? "" : "not ");
		else if (shipped[i])
			assert_int_equal(seen[i], answer[i]);
}

static void send_answer(struct conn *c, size_t len, size_t segment)
{
	for (size_t at = 0; at < len; at += segment)
		passes(answer_bytes(c, answer + at, len - at < segment ? len - at : segment));
}

static void ended(uint64_t bytes, uint32_t lost)
{
	const struct weir_rec_end *e = record(WEIR_REC_END, 0);

	assert_non_null(e);
	assert_int_equal(e->h.flags, WEIR_END_RESPONSE);
	assert_int_equal(e->response_bytes, bytes);
	assert_int_equal(e->lost_bytes, lost);
}

static void only_head_and_tail_are_shipped(void **state)
{
	static const size_t segments[] = { 3300, 1448, 1000, 537 };
	static const char *const paths[] = { "/v1/embeddings", "/embeddings", "/embed",
					     "/v1/embeddings?x=/chat", "/api/embed" };
	struct weir_tenant *t = tenant_with("sk-vectors");

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		size_t head, len = vectors(MOST - 100 * i, &head);
		struct conn c = asked(paths[i]);

		send_answer(&c, len, segments[i % 4]);
		all_but(len, WEIR_SKIP_HEAD, len - WEIR_SKIP_TAIL);
		ended(len, 0);
		assert_int_equal(t->inflight, 0);
	}
	assert_true(counter(WEIR_TAP_SKIPPED) > lab.before[WEIR_TAP_SKIPPED] + 50);
	is_counted(WEIR_TAP_LOST, 0);
	is_counted(WEIR_TAP_HOLE, 0);
}

/* To the byte: as long as that is not long. */
static void short_answers_are_shipped_whole(void **state)
{
	size_t head, len;
	struct conn c;

	tenant_with("sk-vectors");
	vectors(WEIR_SKIP_MIN, &head);
	for (int more = 0; more < 2; more++) {
		len = vectors(WEIR_SKIP_MIN - head + more, &head);
		assert_int_equal(len, WEIR_SKIP_MIN + more);
		c = asked("/v1/embeddings");
		send_answer(&c, len, 3000);
		all_but(len, more ? WEIR_SKIP_HEAD : 0, more ? len - WEIR_SKIP_TAIL : 0);
		ended(len, 0);
	}
}

static void of_other_paths_every_byte_is_shipped(void **state)
{
	static const char *const paths[] = {
		"/v1/chat/completions",
		"/v1/embeddings/",
		"/v1/Embeddings",
		"/v1/myembeddings",
		"/v1/embeddings2",
		"/xembed",
		"/?/embed",
		"/v1/embedding",
		"/embedded",
		"/v1/embed%64ings",
		"embeddings",
		"embed",
	};
	size_t head, len = vectors(WEIR_SKIP_MIN + 100, &head);

	tenant_with("sk-vectors");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct conn c = asked(paths[i]);

		send_answer(&c, len, 3000);
		all_but(len, 0, 0);
		ended(len, 0);
	}
	is_counted(WEIR_TAP_SKIPPED, 0);
}

static void of_other_codings_every_byte_is_shipped(void **state)
{
	static const char *const lines[] = {
		"Content-Encoding: gzip\r\nContent-Length: 40000\r\n",
		"Content-Encoding: zstd\r\nContent-Length: 40000\r\n", "", /* to the close */
	};
	size_t head, len;
	struct conn c;

	tenant_with("sk-vectors");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		len = answer_of(lines[i], 40000, &head);
		c = asked("/v1/embeddings");
		send_answer(&c, len, 3000);
		all_but(len, 0, 0);
	}
	/* One chunk of all of it. */
	head = sprintf(answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n");
	memset(answer + head, '1', 40000);
	memcpy(answer + head + 40000, "\r\n0\r\n\r\n", 7);
	c = asked("/v1/embeddings");
	send_answer(&c, head + 40007, 3000);
	all_but(head + 40007, 0, 0);
	ended(head + 40007, 0);
	/* Plainly, and said so. */
	len = answer_of("content-encoding: identity\r\nContent-Length: 40000\r\n", 40000, &head);
	c = asked("/v1/embeddings");
	send_answer(&c, len, 3000);
	all_but(len, WEIR_SKIP_HEAD, len - WEIR_SKIP_TAIL);
	ended(len, 0);
}

/* A head in parts, behind an interim answer; and one that ends behind the start that is shipped. */
static void heads_are_shipped_whole(void **state)
{
	char lines[10000];
	size_t head, len, n;
	struct conn c;

	tenant_with("sk-vectors");
	len = vectors(40000, &head);
	memmove(answer + 25, answer, len);
	memcpy(answer, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	len += 25;
	for (n = 1; n < 25 + head; n += 9) {
		c = asked("/v1/embeddings");
		passes(answer_bytes(&c, answer, n));
		for (size_t at = n; at < len; at += 3000)
			passes(answer_bytes(&c, answer + at, len - at < 3000 ? len - at : 3000));
		all_but(len, WEIR_SKIP_HEAD, len - WEIR_SKIP_TAIL);
		ended(len, 0);
	}
	n = sprintf(lines, "Content-Length: 40000\r\n");
	while (n < 8500)
		n += sprintf(lines + n, "x-long: 0123456789012345678901234567890123456789\r\n");
	len = answer_of(lines, 40000, &head);
	c = asked("/v1/embeddings");
	send_answer(&c, len, 3000);
	all_but(len, 0, 0);
	ended(len, 0);
}

/* The next request of the connection is another thing. */
static void the_answer_behind_is_shipped_whole(void **state)
{
	size_t head, len;
	struct conn c = asked("/v1/embeddings");

	tenant_with("sk-vectors");
	c = asked("/v1/embeddings");
	len = vectors(40000, &head);
	send_answer(&c, len, 3000);
	all_but(len, WEIR_SKIP_HEAD, len - WEIR_SKIP_TAIL);
	lab.n_records = 0;
	passes(send_text(&c, post("/v1/completions")));
	send_answer(&c, len, 3000);
	all_but(len, 0, 0);
	ended(len, 0);
	lab.n_records = 0;
	passes(send_text(&c, post("/v1/embeddings")));
	send_answer(&c, len, 3000);
	all_but(len, WEIR_SKIP_HEAD, len - WEIR_SKIP_TAIL);
	ended(len, 0);
}

/* Of what was missed, what is not wanted is not lost. */
static void holes_among_them_are_counted_for_what_was_wanted(void **state)
{
	static const struct {
		size_t from, to;
		uint32_t lost;
	} holes[] = {
		{ 12000, 15000, 0 },	{ 6000, 12000, WEIR_SKIP_HEAD - 6000 },
		{ 3000, 6000, 3000 },	{ 30000, 36000, 36000 - (40000 - WEIR_SKIP_TAIL) },
		{ 33000, 36000, 3000 },
	};

	tenant_with("sk-vectors");
	for (size_t i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
		size_t head, len;
		struct conn c = asked("/v1/embeddings");

		vectors(40000, &head);
		len = vectors(40000 - head, &head);
		assert_int_equal(len, 40000);
		for (size_t at = 0; at < len; at += 1000) {
			if (at >= holes[i].from && at < holes[i].to)
				c.sent += 1000;
			else
				passes(answer_bytes(&c, answer + at, 1000));
		}
		ended(len, holes[i].lost);
	}
}

/* What had no room is lost, and it is only what was wanted. */
static void what_had_no_room_is_lost(void **state)
{
	size_t head, len = vectors(40000, &head);
	struct conn c;

	tenant_with("sk-vectors");
	c = asked("/v1/embeddings");
	for (size_t at = 0; at < len; at += 1000) {
		lab.config->ring_data_max = at >= 5000 && at < 20000 ? 0 : RING_BYTES / 2;
		passes(answer_bytes(&c, answer + at, len - at < 1000 ? len - at : 1000));
	}
	ended(len, WEIR_SKIP_HEAD - 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(only_head_and_tail_are_shipped),
		STREAM_CLAIM(short_answers_are_shipped_whole),
		STREAM_CLAIM(of_other_paths_every_byte_is_shipped),
		STREAM_CLAIM(of_other_codings_every_byte_is_shipped),
		STREAM_CLAIM(heads_are_shipped_whole),
		STREAM_CLAIM(the_answer_behind_is_shipped_whole),
		STREAM_CLAIM(holes_among_them_are_counted_for_what_was_wanted),
		STREAM_CLAIM(what_had_no_room_is_lost),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
