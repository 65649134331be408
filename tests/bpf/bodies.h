/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests whose bodies are held to rules, sent in segments, and what the server gets of
 * them: the payload of every frame that passes, each with a right checksum.
 */
#ifndef TEST_BODIES_H
#define TEST_BODIES_H

#include "tests/bpf/streams.h"

static struct {
	char text[16384]; /* what the server got so far */
	size_t len;
} got;

static UNUSED void got_nothing(void)
{
	got.len = 0;
	got.text[0] = 0;
}

/* Bytes at the end of the stream; what passes is kept. */
static UNUSED struct verdict send_kept(struct conn *c, const char *bytes, size_t len)
{
	struct verdict v = send_bytes(c, bytes, len);
	const char *wrong;
	struct segment s;

	if (v.code != OUT_PASS)
		return v;
	wrong = read_frame(v.frame, v.frame_len, &s);
	if (wrong)
		fail_msg("what the server gets: %s", wrong);
	assert_int_equal(s.seq, c->next - len);
	assert_int_equal(s.len, len);
	assert_true(got.len + len < sizeof(got.text));
	memcpy(got.text + got.len, s.payload, len);
	got.len += len;
	got.text[got.len] = 0;
	return v;
}

/* A whole request: the head for a body, and the body. */
static UNUSED const char *request_with(const char *key, const char *headers, const char *body)
{
	static char text[8192];

	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nx-api-key: %s\r\n%sContent-Length: %zu"
		 "\r\n\r\n%s",
		 key, headers, strlen(body), body);
	return text;
}

static UNUSED const char *body_of(const char *request)
{
	return strstr(request, "\r\n\r\n") + 4;
}

/* The server gets this body. */
static UNUSED void server_got(const char *body)
{
	assert_string_equal(body_of(got.text), body);
}

/* In one segment. */
static UNUSED struct verdict ask(struct conn *c, const char *key, const char *headers,
				 const char *body)
{
	const char *text = request_with(key, headers, body);

	got_nothing();
	return send_kept(c, text, strlen(text));
}

/* Refused in the midst of a body: nothing of the request is held any more. */
static UNUSED void took_it_back(struct weir_tenant *t, size_t nth_end)
{
	const struct weir_rec_end *e = record(WEIR_REC_END, nth_end);

	assert_non_null(e);
	assert_int_equal(e->h.flags, WEIR_END_REFUSED);
	assert_int_equal(e->reserved_nano, 7);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(t->admitted, 0);
	assert_int_equal(t->request_tat_ns, t->connect_tat_ns);
}

/* Requests are counted against a rate, so that one that comes back is seen; the tat as it is
 * before any is kept in the connect bucket, which no test of bodies uses. */
static UNUSED struct weir_tenant *ruled_tenant(const char *key, struct weir_rules r)
{
	struct weir_tenant *t = tenant_with(key);

	new_rules(t, r);
	t->flags |= WEIR_TENANT_LIMIT_REQUESTS;
	t->requests_per_minute = 1;
	t->request_burst = 10000;
	t->request_interval_ns = 60 * SECOND;
	t->request_tat_ns = t->connect_tat_ns = now_ns() + 60 * SECOND;
	t->reserve_nano_per_request = 7;
	return t;
}

#endif
