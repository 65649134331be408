/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forms a request head can come in, one by one, as forms.md has them: refused for what,
 * judged as whose, or passed as another protocol; in shadow mode passed all the same.
 */
#include "tests/bpf/streams.h"

#define BIG10	"aaaaaaaaaa"
#define BIG50	BIG10 BIG10 BIG10 BIG10 BIG10
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* All of a tenant without limits, known by "sk-f" or as the default one. */
static const struct {
	const char *head;
	int status; /* 0: admitted */
	uint32_t reason;
} forms[] = {
	/* line ends and control characters */
	{ "GET /v1/x HTTP/1.1\nHost: a\n\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\nHost: a\r\n\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\rHost: a\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nHost: a\rB: c\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nHost: \x01\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nHost:\ta\tb\r\n\r\n", 0, 0 },
	{ "GET /v1/\x0bx HTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET\t/v1/x\tHTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/\tx HTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "G\tT /v1/x HTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	/* request lines */
	{ "get /v1/x HTTP/1.1\r\n\r\n", 0, 0 },
	{ "ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\n\r\n", 0, 0 },
	{ "ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.0\r\n\r\n", 0, 0 },
	{ "GET /v1/x\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/0.9\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.2\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/2.0\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x http/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1 \r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "hello there, this is not HTTP at all\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "{\"jsonrpc\":1}\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ " GET /v1/x HTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "(GET /v1/x HTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "\x80GET /v1/x HTTP/1.1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET http://llm/v1/x HTTP/1.1\r\n\r\n", 0, 0 },
	{ "GET * HTTP/1.1\r\n\r\n", 0, 0 },
	{ "GET  /v1/x HTTP/1.1\r\n\r\n", 0, 0 },
	{ "GET /v1/x y HTTP/1.1\r\n\r\n", 0, 0 },
	{ "GET //v1/../%78 HTTP/1.1\r\n\r\n", 0, 0 },
	{ "CONNECT llm:80 HTTP/1.1\r\n\r\n", 403, WEIR_DENY_PROTOCOL },
	/* header lines */
	{ "GET /v1/x HTTP/1.1\r\n a: b\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nno colon\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nnocolon\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nA : b\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\n: b\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nA:\r\n\r\n", 0, 0 },
	/* bodies */
	{ "POST /v1/x HTTP/1.1\r\n\r\n", 0, 0 },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length:0\r\n\r\n", 0, 0 },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: \t \t2    \r\n\r\n{}", 0, 0 },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 000000000000000002\r\n\r\n{}", 0, 0 },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 0000000000000000002\r\n\r\n{}", 400,
	  WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n", 0, 0 },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 1073741825\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 1 1\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length:\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", 0, 0 },
	{ "POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\t\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	  400, WEIR_DENY_MALFORMED },
	{ "PUT /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 0, 0 },
	{ "PATCH /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 0, 0 },
	{ "DELETE /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "HEAD /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, WEIR_DENY_MALFORMED },
	{ "OPTIONS /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, WEIR_DENY_MALFORMED },
	{ "GET /health HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, WEIR_DENY_MALFORMED },
	{ "post /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, WEIR_DENY_MALFORMED },
	{ "POSTX /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, WEIR_DENY_MALFORMED },
	/* who it is */
	{ "GET /v1/x HTTP/1.1\r\nAuthorization: Bearer sk-f\r\nx-api-key: wrong\r\n\r\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\napi-key: wrong\r\nx-api-key: sk-f\r\n\r\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\nAuthorization: Basic eDp5\r\napi-key: sk-f\r\n\r\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\nAuthorization: Bearer wrong\r\nx-api-key: sk-f\r\n\r\n", 401,
	  WEIR_DENY_UNKNOWN_KEY },
	{ "GET /v1/x HTTP/1.1\r\nx-api-key: \t \tsk-f    \r\n\r\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\nx-api-key:      sk-f\r\n\r\n", 401, WEIR_DENY_UNKNOWN_KEY },
	{ "GET /v1/x HTTP/1.1\r\nx-api-key: " BIG50 BIG50 BIG50 BIG50 BIG10 BIG10 BIG10 BIG10
	  "12345678\r\n\r\n",
	  401, WEIR_DENY_UNKNOWN_KEY },
	{ "GET /v1/x HTTP/1.1\r\nAuthorization: Bearer sk-f\r\nAuthorization: Bearer sk-f\r\n\r\n",
	  400, WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nx-api-key: sk-f\r\nX-API-Key: sk-f\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\napi-key: sk-f\r\napi-key: sk-f\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "GET /v1/x HTTP/1.1\r\nx-weir-tenant: a\r\nx-weir-tenant: a\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ "GET /health HTTP/1.1\r\napi-key: sk-f\r\napi-key: sk-f\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	/* other protocols */
	{ "GET /v1/x HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 403, WEIR_DENY_PROTOCOL },
	{ "GET /health HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 403, WEIR_DENY_PROTOCOL },
	{ "GET /v1/x HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", 0, 0 },
	{ "GET /v1/x HTTP/1.1\r\nUpgrade: h2c, websocket\r\n\r\n", 403, WEIR_DENY_PROTOCOL },
	{ "GET /v1/x HTTP/1.1\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n", 400,
	  WEIR_DENY_MALFORMED },
	{ PREFACE, 403, WEIR_DENY_PROTOCOL },
	{ PREFACE "\0\0", 403, WEIR_DENY_PROTOCOL },
	{ "PRI * HTTP/2.0\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", 400, WEIR_DENY_MALFORMED },
	{ "PRI * HTTP/2.0\r\nA: b\r\n\r\nSM\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, WEIR_DENY_MALFORMED },
	{ "PRI /v1/x HTTP/1.1\r\n\r\n", 0, 0 },
};
enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

static struct weir_tenant *everybody(void)
{
	struct weir_tenant *t = default_tenant();

	add_key("sk-f", t - lab.tenants, 0);
	return t;
}

static bool of_form(uint32_t reason)
{
	return reason == WEIR_DENY_MALFORMED || reason == WEIR_DENY_PROTOCOL ||
	       reason == WEIR_DENY_HEAD_TOO_LARGE;
}

static void each_form_of_head_has_its_rule(void **state)
{
	struct weir_tenant *t = everybody();

	for (size_t i = 0; i < FORMS; i++) {
		struct conn c = open_conn(nobody, host);
		uint64_t admitted = t->admitted;
		uint32_t seq = c.next;
		struct verdict v = send_text(&c, forms[i].head);
		struct segment rst;

		if ((v.code == OUT_PASS) != !forms[i].status)
			fail_msg("%zu: \"%s\": verdict %d; counted:%s", i, forms[i].head, v.code,
				 counted());
		assert_int_equal(t->admitted, admitted + !forms[i].status);
		if (!forms[i].status)
			continue;
		if (v.code == OUT_REDIRECT &&
		    counter(forms[i].reason) == lab.before[forms[i].reason])
			fail_msg("%zu: \"%s\" refused for another reason:%s", i, forms[i].head,
				 counted());
		is_refused(&c, &v, forms[i].status);
		assert_true(on_the_wire(&rst));
		assert_int_equal(rst.seq, seq);
		stream_recount();
	}
}

/* Cut in the middle: the same, with the part that completes it. */
static void each_form_has_it_in_parts_too(void **state)
{
	struct weir_tenant *t = everybody();

	for (size_t i = 0; i < FORMS; i++) {
		const char *text = forms[i].head, *end = strstr(text, "\r\n\r\n");
		struct conn c = open_conn(nobody, host);
		uint64_t admitted = t->admitted;
		struct verdict v;

		if (!end || !strncmp(text, "PRI", 3) || text[0] == '\r')
			continue;
		v = send_bytes(&c, text, end + 2 - text);
		if (v.code == OUT_PASS)
			v = send_text(&c, end + 2);
		if ((v.code == OUT_PASS) != !forms[i].status)
			fail_msg("%zu: \"%s\": verdict %d; counted:%s", i, text, v.code, counted());
		assert_int_equal(t->admitted, admitted + !forms[i].status);
		if (forms[i].status)
			is_refused(&c, &v, forms[i].status);
		else
			answer_ok(&c);
		stream_recount();
	}
}

static void in_shadow_what_is_refused_for_form_passes_raw(void **state)
{
	struct weir_tenant *t = everybody();

	for (int off = 0; off < 2; off++)
		for (size_t i = 0; i < FORMS; i++) {
			struct conn c = open_conn(nobody, host);
			uint64_t shadow = counter(WEIR_ADMIT_SHADOW), admitted = t->admitted;
			struct verdict v;

			lab.config->enforce = !off;
			t->flags = WEIR_TENANT_LIVE | (off ? 0 : WEIR_TENANT_SHADOW);
			v = send_text(&c, forms[i].head);
			if (v.code != OUT_PASS)
				fail_msg("%zu: \"%s\": verdict %d; counted:%s", i, forms[i].head,
					 v.code, counted());
			assert_int_equal(counter(WEIR_ADMIT_SHADOW) - shadow, !!forms[i].status);
			if (!of_form(forms[i].reason) || forms[i].reason == WEIR_DENY_PROTOCOL)
				continue;
			/* Unmetered; and all that follows. */
			assert_int_equal(t->admitted, admitted);
			server_acks(&c);
			passes(send_text(&c, chat("sk-f")));
			passes(send_text(&c, "anything"));
			assert_int_equal(t->admitted, admitted);
		}
}

static void a_nul_is_refused_wherever_it_stands(void **state)
{
	static const char text[] = "GET /v1/x HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";

	everybody();
	for (size_t i = 0; i < sizeof(text) - 3; i++) {
		struct conn c = open_conn(nobody, host);
		char other[sizeof(text)];
		struct verdict v;

		memcpy(other, text, sizeof(text));
		other[i] = 0;
		v = send_bytes(&c, other, sizeof(text) - 1);
		is_refused(&c, &v, 400);
	}
	is_counted(WEIR_DENY_MALFORMED, sizeof(text) - 3);
}

static void lines_are_counted_up_to_256(void **state)
{
	struct weir_tenant *t = everybody();

	for (int lines = 255; lines <= 257; lines++) {
		struct conn c = open_conn(nobody, host);
		char text[2000];
		int n = sprintf(text, "GET /v1/x HTTP/1.1\r\n");
		struct verdict v;

		for (int i = 1; i < lines; i++)
			n += sprintf(text + n, "a:b\r\n");
		strcpy(text + n, "\r\n");
		v = send_text(&c, text);
		if (lines > 256)
			is_refused(&c, &v, 431);
		else
			passes(v);
	}
	assert_int_equal(t->admitted, 2);
	is_counted(WEIR_DENY_HEAD_TOO_LARGE, 1);
}

static void more_than_64_blanks_before_a_head_are_refused(void **state)
{
	everybody();
	for (int n = 63; n < 67; n++) {
		struct conn c = open_conn(nobody, host);
		char text[200];
		struct verdict v;

		memset(text, '\n', n);
		strcpy(text + n, "GET /v1/x HTTP/1.1\r\n\r\n");
		v = send_text(&c, text);
		if (n > 64)
			is_refused(&c, &v, 400);
		else
			passes(v);
	}
	is_counted(WEIR_DENY_MALFORMED, 2);
}

static void form_comes_before_who_it_is(void **state)
{
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	lab.config->default_tenant = 0;
	v = send_text(&c, "GET /v1/x HTTP/1.1\r\nx-api-key: wrong\r\nA : b\r\n\r\n");
	is_refused(&c, &v, 400);
	is_counted(WEIR_DENY_UNKNOWN_KEY, 0);
	is_counted(WEIR_DENY_NO_TENANT, 0);
}

static void who_it_is_comes_before_the_protocol_it_asks_for(void **state)
{
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	v = send_text(&c, "GET /v1/x HTTP/1.1\r\nx-api-key: wrong\r\nUpgrade: websocket\r\n\r\n");
	is_refused(&c, &v, 401);
}

/* -- a tier that passes other protocols */

static void a_tier_may_pass_other_protocols(void **state)
{
	static const char websocket[] = "GET /v1/x HTTP/1.1\r\nx-api-key: sk-f\r\n"
					"Upgrade: websocket\r\n\r\n";
	struct weir_tenant *t = everybody();
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host), e;
	struct verdict v;

	t->flags |= WEIR_TENANT_PASS_PROTOCOLS;
	passes(send_text(&c, PREFACE));
	is_counted(WEIR_PASS_OTHER_PROTOCOL, 1);
	server_acks(&c);
	passes(send_text(&c, "\1\2\3\4"));
	passes(send_text(&c, chat("sk-f")));
	passes(answer_text(&c, "\1\2\3\4"));
	assert_int_equal(t->admitted, 0);
	/* An upgrade is a request like any other, until it is granted. */
	passes(send_text(&d, websocket));
	assert_int_equal(t->inflight, 1);
	passes(answer_text(&d, "HTTP/1.1 101 Switching Protocols\r\n\r\n"));
	is_counted(WEIR_PASS_OTHER_PROTOCOL, 2);
	passes(send_text(&d, "\x81\x05hello"));
	assert_int_equal(t->inflight, 1);
	/* A tunnel is none of them. */
	e = open_conn(nobody, host);
	v = send_text(&e, "CONNECT llm:80 HTTP/1.1\r\n\r\n");
	is_refused(&e, &v, 403);
}

/* Its first part alone is a head; what is behind that must be there with its end. */
static void the_preface_in_parts(void **state)
{
	struct weir_tenant *t = everybody();

	t->flags |= WEIR_TENANT_PASS_PROTOCOLS;
	for (size_t cut = 1; cut < 24; cut++) {
		struct conn c = open_conn(nobody, host);
		struct verdict v = send_bytes(&c, PREFACE, cut);

		if (cut < 18) {
			passes(v);
			passes(send_text(&c, &PREFACE[cut]));
			is_counted(WEIR_PASS_OTHER_PROTOCOL, cut);
		} else {
			is_refused(&c, &v, 400);
		}
	}
	assert_int_equal(t->admitted, 0);
}

static uint32_t seen(void)
{
	uint32_t service = 1, what = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.seen), &service, &what), 0);
	return what;
}

static void what_came_to_a_port_is_noted(void **state)
{
	uint32_t service = 1, none = 0;
	struct conn c;

	everybody();
	bpf_map_update_elem(bpf_map__fd(lab.skel->maps.seen), &service, &none, BPF_ANY);
	c = open_conn(nobody, host);
	send_text(&c, PREFACE);
	assert_int_equal(seen(), WEIR_SEEN_H2C);
	c = open_conn(nobody, host);
	send_text(&c, "GET /v1/x HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
	assert_int_equal(seen(), WEIR_SEEN_H2C | WEIR_SEEN_UPGRADE);
	c = open_conn(nobody, host);
	passes(send_text(&c, "\x16\x03\x01\x02"));
	assert_int_equal(seen(), WEIR_SEEN_H2C | WEIR_SEEN_UPGRADE | WEIR_SEEN_TLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(each_form_of_head_has_its_rule),
		STREAM_CLAIM(each_form_has_it_in_parts_too),
		STREAM_CLAIM(in_shadow_what_is_refused_for_form_passes_raw),
		STREAM_CLAIM(a_nul_is_refused_wherever_it_stands),
		STREAM_CLAIM(lines_are_counted_up_to_256),
		STREAM_CLAIM(more_than_64_blanks_before_a_head_are_refused),
		STREAM_CLAIM(form_comes_before_who_it_is),
		STREAM_CLAIM(who_it_is_comes_before_the_protocol_it_asks_for),
		STREAM_CLAIM(a_tier_may_pass_other_protocols),
		STREAM_CLAIM(the_preface_in_parts),
		STREAM_CLAIM(what_came_to_a_port_is_noted),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
