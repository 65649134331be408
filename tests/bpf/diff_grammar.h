/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients and servers say: requests of every form of bpf/forms.md, well made
 * and not, their bodies, answers, all from one seeded generator.
 */
#ifndef TEST_DIFF_GRAMMAR_H
#define TEST_DIFF_GRAMMAR_H

#include <stdarg.h>

#include "tests/bpf/model.h"

/* xorshift64*, Vigna 2016. */
static uint64_t rng_state;

static UNUSED uint32_t rnd(uint32_t below)
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return (uint32_t)((rng_state * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

static UNUSED bool chance(uint32_t percent)
{
	return rnd(100) < percent;
}

static UNUSED bool has(uint32_t feature)
{
	return model.features & feature;
}

#define PICK(array) ((array)[rnd(sizeof(array) / sizeof((array)[0]))])

/* A text that grows; what does not fit is left out. */
struct text {
	uint8_t *at;
	size_t len, size;
};

static UNUSED void put(struct text *t, const char *format, ...)
{
	char line[4096];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > 0 && (size_t)n < sizeof(line) && t->len + n <= t->size) {
		memcpy(t->at + t->len, line, n);
		t->len += n;
	}
}

static UNUSED void put_byte(struct text *t, uint8_t byte)
{
	if (t->len < t->size)
		t->at[t->len++] = byte;
}

/* Bytes of a body, now and then such as look like a request or framing. */
static UNUSED void put_bytes(struct text *t, size_t n)
{
	static const char *const traps[] = {
		"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer sk-1\r\n\r\n",
		"GET /health HTTP/1.1\r\n\r\n",
		"\r\n0\r\n\r\n",
		"\r\n\r\n",
		"{\"model\":\"m\",\"max_tokens\":4096}",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	};

	while (n) {
		const char *trap = PICK(traps);
		size_t len = strlen(trap);

		if (chance(60) || len > n) {
			len = n < 40 ? n : 40;
			for (size_t i = 0; i < len; i++)
				put_byte(t, 'a' + rnd(26));
		} else {
			for (size_t i = 0; i < len; i++)
				put_byte(t, trap[i]);
		}
		n -= len;
	}
}

static UNUSED void put_chunks(struct text *t, bool mistakes, uint32_t most)
{
	int bad = mistakes && chance(8) ? (int)rnd(8) : -1;
	uint32_t n = rnd(most);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = chance(80) ? 8 + rnd(100) : 1 + rnd(1500);

		switch (chance(50) ? bad : -1) {
		case 0:
			put(t, "%xg\r\n", len);
			break;
		case 1:
			put(t, "%x\n", len);
			break;
		case 2:
			put(t, "00000000000%04x\r\n", len);
			break;
		case 3:
			put(t, "%x;a=\x01\r\n", len);
			break;
		case 4:
			put(t, " %x\r\n", len);
			break;
		case 5:
			put(t, "\r\n");
			break;
		case 6:
			put(t, "-%x\r\n", len);
			break;
		default:
			put(t, chance(10) ? "%X;name=\"v\"\r\n" : "%x\r\n", len);
		}
		put_bytes(t, len);
		put(t, bad == 7 && chance(50) ? "x\r\n" : "\r\n");
	}
	put(t, chance(10) ? "000\r\n" : "0\r\n");
	if (chance(15))
		put(t, "X-Trailer: a\r\n%s", chance(30) ? "B: c\r\n" : "");
	put(t, "\r\n");
}

/* -- requests */

static UNUSED void put_key(struct text *t, const char *eol)
{
	static const char *const names[] = { "x-api-key: ",
					     "X-Api-Key:",
					     "api-key: ",
					     "Authorization: Bearer ",
					     "authorization:bearer ",
					     "AUTHORIZATION:\tBEARER  " };
	const char *key = chance(92) ? model.keys[rnd(model.n_keys)].text : "sk-unheard-of";

	put(t, "%s%s%s%s", PICK(names), key, chance(5) ? " " : "", eol);
}

/* A header line that some server reads differently. */
static UNUSED void put_odd_header(struct text *t, const char *eol)
{
	switch (rnd(20)) {
	case 0:
		put(t, " folded: x%s", eol);
		break;
	case 1:
		put(t, "\tfolded%s", eol);
		break;
	case 2:
		put(t, "no colon here%s", eol);
		break;
	case 3:
		put(t, "Blank : before%s", eol);
		break;
	case 4:
		put(t, ": no name%s", eol);
		break;
	case 5:
		put(t, "A: b\rc: d%s", eol);
		break;
	case 6:
		put(t, "A: b");
		put_byte(t, rnd(32));
		put(t, "%s", eol);
		break;
	case 7:
		put(t, "A:\tb\tc\t%s", eol);
		break;
	case 8:
		put(t, "Content-Length: %u%sContent-Length: %u%s", rnd(20), eol, rnd(20), eol);
		break;
	case 9: {
		static const char *const odd[] = { "+5",	 "0x5",
						   "5 5",	 "5,5",
						   "",		 "-1",
						   "5.0",	 "1234567890123456789",
						   "1073741825", "000000000000000005" };

		put(t, "Content-Length: %s%s", PICK(odd), eol);
		break;
	}
	case 10:
		put(t, "Transfer-Encoding: chunked%sContent-Length: 4%s", eol, eol);
		break;
	case 11: {
		static const char *const odd[] = {
			"gzip",	       "gzip, chunked", "chunked, chunked", "chunked;q=1",
			"\"chunked\"", "identity",	"xchunked",	    ""
		};

		put(t, "Transfer-Encoding: %s%s", PICK(odd), eol);
		break;
	}
	case 12:
		put(t, "Transfer-Encoding: chunked%stransfer-encoding: chunked%s", eol, eol);
		break;
	case 13:
		put(t, "Authorization: Bearer a%sAuthorization: Bearer b%s", eol, eol);
		break;
	case 14:
		put(t, "x-api-key: a%sX-API-KEY: a%s", eol, eol);
		break;
	case 15:
		put(t, "api-key: a%sapi-key: b%s", eol, eol);
		break;
	case 16:
		put(t, "x-weir-tenant: a%sx-weir-tenant: a%s", eol, eol);
		break;
	case 17:
		for (uint32_t i = 200 + rnd(100); i; i--)
			put(t, "a:%u%s", i, eol);
		break;
	case 18:
		put(t, "Authorization: Basic c2stMQ==%s", eol);
		break;
	case 19:
		put(t, "\x7f\xe4: \xff%s", eol);
		break;
	}
}

/* true: a body may follow. */
static UNUSED bool put_request_line(struct text *t, const char *eol)
{
	static const char *const methods[] = { "POST", "POST", "POST",	  "POST",  "GET",
					       "HEAD", "PUT",  "OPTIONS", "DELETE" };
	static const char *const targets[] = {
		"/v1/chat/completions",
		"/v1/chat/completions",
		"/v1/embeddings",
		"/embed?x=1",
		"/v1/messages",
		"/v1/messages?beta=true",
		"/health",
		"/healthz?full",
		"/v1/models",
		"/v1/models/llama",
		"/version",
		"/ping",
		"/a/path/that/is/longer/than/the/sixty-four/bytes/of/"
		"a/record/and/then/some?x=y"
	};
	static const char *const odd_methods[] = { "post",
						   "get",
						   "CONNECT",
						   "M-SEARCH",
						   "A",
						   "ABCDEFGHIJKLMNOPQRSTUVWX",
						   "ABCDEFGHIJKLMNOPQRSTUVWXY",
						   "G@T",
						   "Get" };
	static const char *const odd_targets[] = {
		"*",	    "http://host/health", "/health/../v1/chat",
		"//health", "/health//x",	  "/health%2e",
		"/a b",	    "/health x",	  " /health",
		"",	    "/health\xff"
	};
	static const char *const odd_versions[] = { "HTTP/1.0",	 "HTTP/1.2", "HTTP/2.0",
						    "HTTP/0.9",	 "http/1.1", "HTTP/1.1 ",
						    "HTTP/1.10", "HTTP/11",  "" };
	bool odd = has(F_STRICT) && chance(6);
	const char *method = PICK(methods), *target = PICK(targets), *version = "HTTP/1.1";

	if (odd && chance(30)) {
		method = PICK(odd_methods);
		if (!strcmp(method, "CONNECT") && !has(F_PROTOCOL))
			method = "POST";
	}
	if (odd && chance(40))
		target = PICK(odd_targets);
	if (odd && chance(40))
		version = PICK(odd_versions);
	if (!target) {
		/* Free, were it not for its end. */
		put(t, "GET /health%0*u%s HTTP/1.1%s", 100 + (int)rnd(30), 0,
		    chance(50) ? "/../../v1/chat" : "", eol);
		return false;
	}
	if (odd && chance(5))
		put(t, "%s%s", target, eol);
	else
		put(t, "%s %s %s%s", method, target, version, eol);
	return method[0] == 'P' || method[0] == 'D' || (has(F_STRICT) && chance(5));
}

/* What it is for, and lines that only begin alike; now and then one that is too long. */
static UNUSED void put_label(struct text *t, const char *eol)
{
	static const char *const names[] = { "x-weir-session", "X-Weir-Feature", "x-weir-sessions",
					     "X-Stainless-Retry-Count", "x-stainless-lang" };
	const char *name = PICK(names);
	uint32_t len = chance(80) ? rnd(20) : rnd(chance(80) ? 120 : 600);

	if (chance(10)) {
		put(t, "%s: %u%s", name, rnd(3), eol);
		return;
	}

	put(t, "%s:%s", name, chance(80) ? " " : "");
	for (uint32_t i = 0; i < len; i++)
		put(t, "%c", chance(99) ? '!' + (int)rnd(94) : ' ' + (int)rnd(224));
	put(t, "%s", eol);
}

/* A whole request; *head_len: its head as meant. */
static UNUSED void put_request(struct text *t, size_t *head_len)
{
	bool strict = has(F_STRICT), wild = strict && chance(12);
	const char *eol = strict && chance(5) ? "\n" : "\r\n";
	size_t start = t->len;
	bool chunked = has(F_CHUNKS) && chance(25);
	uint32_t body = chance(50) ? rnd(200) : chance(30) ? rnd(9000) : 0;

	if (has(F_PROTOCOL) && chance(1)) {
		put(t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
		*head_len = t->len - start;
		return;
	}
	if (has(F_RAW) && chance(1)) {
		put(t, "%c%c%c", chance(50) ? 0x16 : (int)rnd(256), 3, 1);
		put_bytes(t, 100);
		*head_len = t->len - start;
		return;
	}
	if (!put_request_line(t, eol)) {
		chunked = false;
		body = 0;
	}
	put(t, "Host: llm%s", eol);
	if (chance(50))
		put(t, "Content-Type: application/json%s", eol);
	if (chance(30))
		put(t, "X-Fill: %0*u%s", 1 + (int)rnd(chance(30) ? 2000 : 100), 0, eol);
	if (has(F_PARTS) && chance(2))
		for (uint32_t i = rnd(12); i; i--)
			put(t, "X-Fill: %0*u%s", 1500, 0, eol);
	if (wild && chance(50))
		put_odd_header(t, eol);
	if (chance(75))
		put_key(t, eol);
	if (strict && chance(5))
		put_key(t, eol);
	if (has(F_NAMED) && chance(5))
		put(t, "x-weir-tenant: %s%s",
		    chance(80) ? model.tenants[rnd(model.n_tenants)].name : "nobody", eol);
	for (uint32_t i = has(F_NAMED) && chance(10) ? 1 + rnd(3) : 0; i; i--)
		put_label(t, eol);
	if (has(F_PROTOCOL) && chance(2))
		put(t, "Upgrade: %s%s", chance(30) ? "h2c" : "websocket", eol);
	if (chunked)
		put(t, "Transfer-Encoding: %s%s", strict && chance(10) ? "Chunked" : "chunked",
		    eol);
	else if (body || chance(50))
		put(t, "%s: %u%s", chance(50) ? "Content-Length" : "content-length", body, eol);
	if (wild && chance(50))
		put_odd_header(t, eol);
	put(t, "%s", eol);
	if (wild && chance(30) && t->len > start)
		t->at[start + rnd(t->len - start)] = rnd(256);
	*head_len = t->len - start;
	if (chunked)
		put_chunks(t, strict, 8);
	else
		put_bytes(t, body);
	if (has(F_ACK_ORDER) && chance(3))
		for (uint32_t i = 1 + rnd(6); i; i--)
			put(t, chance(50) ? "\r" : "\n");
}

/* -- answers */

/* An answer of vectors. */
static UNUSED void put_vectors(struct text *t, size_t *head_len)
{
	uint32_t body = 30000 + rnd(10000);

	put(t, "HTTP/1.1 200 OK\r\ncontent-length: %u\r\n\r\n", body);
	*head_len = t->len;
	for (; body; body--)
		put_byte(t, '0' + rnd(10));
}

/* An answer; *closes: only the server's FIN ends it. */
static UNUSED void put_answer(struct text *t, bool head_method, size_t *head_len, bool *closes)
{
	static const char *const lines[] = { "200 OK",		"200 OK",   "200 OK",
					     "400 Bad Request", "500 Oops", "201 Created" };
	uint32_t body = chance(70) ? rnd(400) : rnd(5000);

	*closes = false;
	if (chance(6))
		put(t, "HTTP/1.1 100 Continue\r\n\r\n");
	else if (chance(3))
		put(t, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
	*head_len = t->len;
	if (chance(5)) {
		put(t, chance(50) ? "HTTP/1.1 204 No Content\r\n\r\n"
				  : "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n");
		*head_len = t->len;
		return;
	}
	put(t, "HTTP/1.1 %s\r\nServer: s\r\n", PICK(lines));
	switch (rnd(10)) {
	case 0:
		put(t, "\r\n");
		*closes = !head_method;
		*head_len = t->len;
		if (!head_method)
			put_bytes(t, body);
		break;
	case 1:
	case 2:
	case 3:
		put(t, "Transfer-Encoding: chunked\r\n\r\n");
		*head_len = t->len;
		if (!head_method)
			put_chunks(t, false, 12);
		break;
	default:
		put(t, "%s: %u\r\n\r\n", chance(50) ? "Content-Length" : "content-length", body);
		*head_len = t->len;
		if (!head_method)
			put_bytes(t, body);
	}
}

#endif
