/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refused client must read: a whole HTTP answer of the right status, type,
 * figures and lengths. The words between are agent/replies.c's.
 */
#ifndef TEST_MODEL_REPLY_H
#define TEST_MODEL_REPLY_H

#include <stdlib.h>
#include <strings.h>

#include "tests/bpf/model.h"

static const struct m_words {
	uint32_t reason;
	int status, anthropic_status;
	const char *type, *code, *anthropic_type;
	bool retry; /* says when to come again */
} m_words[] = {
	{ WEIR_DENY_CONNECTIONS, 429, 429, "requests", "rate_limit_exceeded", "rate_limit_error",
	  true },
	{ WEIR_DENY_CONNECT_RATE, 429, 429, "requests", "rate_limit_exceeded", "rate_limit_error",
	  true },
	{ WEIR_DENY_CONCURRENCY, 429, 429, "requests", "rate_limit_exceeded", "rate_limit_error",
	  true },
	{ WEIR_DENY_REQUESTS, 429, 429, "requests", "rate_limit_exceeded", "rate_limit_error",
	  true },
	{ WEIR_DENY_TOKENS, 429, 429, "tokens", "rate_limit_exceeded", "rate_limit_error", true },
	{ WEIR_DENY_CREDIT, 429, 402, "insufficient_quota", "insufficient_quota", "billing_error",
	  false },
	{ WEIR_DENY_UNKNOWN_KEY, 401, 401, NULL, "invalid_api_key", "authentication_error", false },
	{ WEIR_DENY_NO_TENANT, 401, 401, NULL, "invalid_api_key", "authentication_error", false },
	{ WEIR_DENY_SUSPENDED, 403, 403, NULL, NULL, "permission_error", false },
	{ WEIR_DENY_MALFORMED, 400, 400, NULL, NULL, NULL, false },
	{ WEIR_DENY_HEAD_TOO_LARGE, 431, 431, NULL, NULL, NULL, false },
	{ WEIR_DENY_PROTOCOL, 403, 403, NULL, NULL, NULL, false },
};

/* A header's value in head, up to its line end; NULL: not there. */
static UNUSED const char *m_value(const char *head, const char *name)
{
	static char value[256];
	size_t n = strlen(name);

	for (const char *l = strstr(head, "\r\n"); l; l = strstr(l + 2, "\r\n"))
		if (!strncasecmp(l + 2, name, n) && l[2 + n] == ':') {
			l += 3 + n;
			l += strspn(l, " ");
			snprintf(value, sizeof(value), "%.*s", (int)strcspn(l, "\r"), l);
			return value;
		}
	return NULL;
}

static UNUSED bool m_says(const char *head, const char *name, const char *value)
{
	const char *v = m_value(head, name);

	return value ? v && !strcmp(v, value) : !v;
}

/* Nano-credits as decimal credits, without trailing zeros. */
static UNUSED const char *m_credits(int64_t nano, char *out, size_t size)
{
	uint64_t n = nano < 0 ? -(uint64_t)nano : (uint64_t)nano;
	int len = snprintf(out, size, "%s%llu.%09llu", nano < 0 ? "-" : "",
			   (unsigned long long)(n / 1000000000),
			   (unsigned long long)(n % 1000000000));

	while (out[len - 1] == '0')
		out[--len] = 0;
	if (out[len - 1] == '.')
		out[--len] = 0;
	return out;
}

/* The figures of a message, in the order it names them. */
static UNUSED const char *m_figures(const char *body, const struct m_refusal *r)
{
	static char want[200];
	char a[40], b[40], c[40];
	long long l = r->limit, v = r->value;

	want[0] = 0;
	switch (r->reason) {
	case WEIR_DENY_CONNECTIONS:
		snprintf(want, sizeof(want), " %lld connections open, limit %lld.", v, l);
		break;
	case WEIR_DENY_CONNECT_RATE:
		snprintf(want, sizeof(want), " limit %lld new connections per second.", l);
		break;
	case WEIR_DENY_CONCURRENCY:
		snprintf(want, sizeof(want), " %lld requests in flight, limit %lld.", v, l);
		break;
	case WEIR_DENY_REQUESTS:
		snprintf(want, sizeof(want), " limit %lld requests per minute, burst %lld.", l, v);
		break;
	case WEIR_DENY_TOKENS:
		snprintf(want, sizeof(want), " limit %lld tokens per minute, burst %lld.", l, v);
		break;
	case WEIR_DENY_CREDIT:
		snprintf(
			want, sizeof(want),
			" balance %s credits, of which %s are available; this request may cost %s.",
			m_credits(l, a, sizeof(a)), m_credits(v, b, sizeof(b)),
			m_credits(r->asked, c, sizeof(c)));
		break;
	}
	return strstr(body, want) ? NULL : want;
}

/* NULL, or what is wrong with the payload of a refusal. */
static UNUSED const char *m_check_words(const uint8_t *payload, size_t len,
					const struct m_refusal *r, uint32_t dialect)
{
	static char text[2048], wrong[400];
	const struct m_words *w = NULL;
	const char *v, *types[2];
	char *body;
	int status, want;

	for (size_t i = 0; i < sizeof(m_words) / sizeof(m_words[0]); i++)
		if (m_words[i].reason == r->reason)
			w = &m_words[i];
	if (!w)
		return "a reason no request is refused with";
	if (!len || len >= sizeof(text))
		return "no payload, or too long";
	memcpy(text, payload, len);
	text[len] = 0;
	body = strstr(text, "\r\n\r\n");
	if (!body)
		return "no end of head";
	body[2] = 0;
	body += 4;
	want = dialect == WEIR_API_ANTHROPIC ? w->anthropic_status : w->status;
	if (sscanf(text, "HTTP/1.1 %d ", &status) != 1 || status != want) {
		snprintf(wrong, sizeof(wrong), "status line %.40s, not %d", text, want);
		return wrong;
	}
	v = m_value(text, "content-length");
	if (!v || (size_t)atoi(v) != strlen(body))
		return "Content-Length";
	if (!m_says(text, "connection", "close"))
		return "Connection";
	if (r->reason == WEIR_DENY_CREDIT && !m_says(text, "x-should-retry", "false"))
		return "x-should-retry";
	v = m_value(text, "retry-after");
	if (w->retry != !!v)
		return "Retry-After";
	if (v && atoi(v) != (r->retry_ns > 60 * SECOND ? 60 : (int)(r->retry_ns / SECOND)))
		return "Retry-After's value";
	v = m_value(text, "retry-after-ms");
	if (v && (atoll(v) > (long long)(r->retry_ns / 1000000) ||
		  atoll(v) + 600000 < (long long)(r->retry_ns / 1000000)))
		return "retry-after-ms";
	if (r->reason == WEIR_DENY_REQUESTS || r->reason == WEIR_DENY_TOKENS) {
		const char *kind = r->reason == WEIR_DENY_REQUESTS ? "requests" : "tokens";
		char name[64], limit[32];

		snprintf(limit, sizeof(limit), "%lld", (long long)r->limit);
		snprintf(name, sizeof(name),
			 dialect == WEIR_API_ANTHROPIC ? "anthropic-ratelimit-%s-limit"
						       : "x-ratelimit-limit-%s",
			 kind);
		if (!m_says(text, name, limit))
			return "the window's limit";
		snprintf(name, sizeof(name),
			 dialect == WEIR_API_ANTHROPIC ? "anthropic-ratelimit-%s-remaining"
						       : "x-ratelimit-remaining-%s",
			 kind);
		if (!m_says(text, name, "0"))
			return "the window's remainder";
	}
	v = m_figures(body, r);
	if (v) {
		snprintf(wrong, sizeof(wrong), "figures: \"%s\" is not in %.300s", v, body);
		return wrong;
	}
	if (dialect == WEIR_API_MAX) /* the path may say it, but was not read */
		return NULL;
	if (dialect == WEIR_API_PLAIN)
		return m_says(text, "content-type", "text/plain") ? NULL : "Content-Type";
	if (!m_says(text, "content-type", "application/json"))
		return "Content-Type";
	types[0] = dialect == WEIR_API_OPENAI ? w->type : w->anthropic_type;
	types[1] = dialect == WEIR_API_OPENAI ? w->code : NULL;
	for (int i = 0; i < 2; i++) {
		char field[80];

		snprintf(field, sizeof(field), "\"%s\":\"%s\"", i ? "code" : "type",
			 types[i] ? types[i] : "");
		if (types[i] && !strstr(body, field))
			return i ? "error.code" : "error.type";
	}
	return NULL;
}

#endif
