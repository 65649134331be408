/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composes each refusal as one text, head and body, with marks where figures go,
 * and cuts it into the ops of bpf/weir_abi.h. Statuses, headers and bodies are
 * those the stock SDKs act upon: which of them retry on what, and which header
 * they obey, decides most of what stands here. A message names the limit, its
 * value and what to do; never a key.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "agent/replies.h"

/* Marks, '%' and a letter. There is no other '%' in any text. */
static const struct {
	char letter;
	weir_u8 op;
	weir_u8 arg;
} marks[] = {
	{ '#', WEIR_OP_CONTENT_LENGTH, 0 },
	{ 'B', WEIR_OP_BODY, 0 },
	/* the limit that refused */
	{ 'l', WEIR_OP_NUMBER, WEIR_FIG_LIMIT },
	{ 'v', WEIR_OP_NUMBER, WEIR_FIG_VALUE },
	{ 'a', WEIR_OP_NUMBER, WEIR_FIG_ASKED },
	{ 'L', WEIR_OP_CREDITS, WEIR_FIG_LIMIT },
	{ 'V', WEIR_OP_CREDITS, WEIR_FIG_VALUE },
	{ 'A', WEIR_OP_CREDITS, WEIR_FIG_ASKED },
	/* when to come again */
	{ 's', WEIR_OP_SECONDS, WEIR_FIG_RETRY_NS },
	{ 'm', WEIR_OP_MILLIS, WEIR_FIG_RETRY_NS },
	{ 'w', WEIR_OP_DURATION, WEIR_FIG_RETRY_NS },
	/* the state of the windows */
	{ 'q', WEIR_OP_NUMBER, WEIR_FIG_REQUESTS_LIMIT },
	{ 'r', WEIR_OP_NUMBER, WEIR_FIG_REQUESTS_REMAINING },
	{ 'd', WEIR_OP_DURATION, WEIR_FIG_REQUESTS_RESET_NS },
	{ 'D', WEIR_OP_TIME, WEIR_FIG_REQUESTS_RESET_NS },
	{ 't', WEIR_OP_NUMBER, WEIR_FIG_TOKENS_LIMIT },
	{ 'u', WEIR_OP_NUMBER, WEIR_FIG_TOKENS_REMAINING },
	{ 'e', WEIR_OP_DURATION, WEIR_FIG_TOKENS_RESET_NS },
	{ 'E', WEIR_OP_TIME, WEIR_FIG_TOKENS_RESET_NS },
};

/* What a client may do about it; decides status, headers and type. */
enum kind {
	NEVER,	   /* no request is refused with it */
	WINDOW,	   /* 429: wait that long */
	QUOTA,	   /* 429, Anthropic 402: waiting does not help */
	NOBODY,	   /* 401: send another key */
	FORBIDDEN, /* 403: see below */
	BAD,	   /* 400: send another request */
	NO_LENGTH, /* 411: send it with Content-Length (RFC 9110 15.5.12) */
	BIG_HEAD,  /* 431: send a shorter head (RFC 6585 5) */
	NOT_NOW,   /* 503: not the client's doing, wait */
};

/*
 * Suspended is 403: the key is right, so 401 would send its owner looking for
 * another one, and waiting does not help, so 429 and 503 would make SDKs try
 * again. All of them take 403 as final (PermissionDeniedError).
 *
 * What a request is refused for by its form or body is final as well: the SDKs try
 * again on 408, 409, 429 and from 500 up, so never on 400, 403, 411 and 431. Where
 * the other kind of request would do, the message says which.
 */
static const struct {
	enum kind kind;
	const char *type; /* OpenAI's error.type */
	const char *code; /* OpenAI's error.code */
	const char *message;
} refusals[WEIR_REASON_MAX] = {
	[WEIR_DENY_SUSPENDED] = { FORBIDDEN, "invalid_request_error", "account_suspended",
				  "This account is suspended. Ask the operator of this service to "
				  "resume it." },
	[WEIR_DENY_CONNECTIONS] = { WINDOW, "requests", "rate_limit_exceeded",
				    "Connection limit reached: %v connections open, limit %l. "
				    "Close or "
				    "reuse connections, then retry in %w." },
	[WEIR_DENY_CONNECT_RATE] = { WINDOW, "requests", "rate_limit_exceeded",
				     "Connection rate limit reached: limit %l new connections per "
				     "second. Reuse connections; retry in %w." },
	[WEIR_DENY_CONCURRENCY] = { WINDOW, "requests", "rate_limit_exceeded",
				    "Concurrency limit reached: %v requests in flight, limit %l. "
				    "Wait "
				    "for one to end, then retry." },
	[WEIR_DENY_REQUESTS] = { WINDOW, "requests", "rate_limit_exceeded",
				 "Request rate limit reached: limit %l requests per minute, burst "
				 "%v. "
				 "Retry in %w." },
	[WEIR_DENY_TOKENS] = { WINDOW, "tokens", "rate_limit_exceeded",
			       "Token rate limit reached: limit %l tokens per minute, burst %v. "
			       "Retry "
			       "in %w." },
	[WEIR_DENY_CREDIT] = { QUOTA, "insufficient_quota", "insufficient_quota",
			       "Credit limit reached: balance %L credits, of which %V are "
			       "available; this request may cost %A. Add credit, then retry." },
	[WEIR_DENY_UNKNOWN_KEY] = { NOBODY, "invalid_request_error", "invalid_api_key",
				    "The API key is not known here, revoked or expired. Check the "
				    "key "
				    "and send it as Authorization: Bearer or x-api-key." },
	[WEIR_DENY_NO_TENANT] = { NOBODY, "invalid_request_error", "invalid_api_key",
				  "No API key was sent, and this address has no account. Send a "
				  "key "
				  "as Authorization: Bearer or x-api-key." },
	[WEIR_DENY_AGENT_DOWN] = { NOT_NOW, "server_error", "service_unavailable",
				   "Usage cannot be accounted for at the moment, so no request is "
				   "taken. Retry in %w." },
	[WEIR_DENY_BUSY] = { NOT_NOW, "server_error", "service_unavailable",
			     "Too many requests came at the same instant. Retry in %w." },
	[WEIR_DENY_MALFORMED] = { BAD, "invalid_request_error", "malformed_request",
				  "The head of this request is not plain HTTP/1.1: a broken line, "
				  "a "
				  "control character, or a header that is there twice or "
				  "contradicts another. Send it well formed." },
	[WEIR_DENY_HEAD_TOO_LARGE] = { BIG_HEAD, "invalid_request_error", "headers_too_large",
				       "The head of this request is longer than 16 KiB or 256 "
				       "lines. Send fewer or shorter headers." },
	[WEIR_DENY_PROTOCOL] = { FORBIDDEN, "invalid_request_error", "protocol_not_allowed",
				 "This account may not use HTTP/2 without TLS, Upgrade or CONNECT "
				 "here. Send HTTP/1.1 requests." },
	[WEIR_DENY_LENGTH_REQUIRED] = { NO_LENGTH, "invalid_request_error", "length_required",
					"This account has limits that a chunked body cannot be "
					"held to. Send the body with Content-Length." },
	[WEIR_DENY_INPUT_TOKENS] = { BAD, "invalid_request_error", "context_length_exceeded",
				     "Input limit exceeded: this request has about %v tokens (a "
				     "quarter of its bytes), limit %l per request. Send less." },
	[WEIR_DENY_OUTPUT_TOKENS] = { BAD, "invalid_request_error", "max_tokens_exceeded",
				      "Output limit exceeded: this request asks for %a tokens, or "
				      "for a number that is not written out, limit %l per request. "
				      "Lower max_tokens." },
	[WEIR_DENY_FALLBACK] = { QUOTA, "insufficient_quota", "insufficient_quota",
				 "Credit is used up, and this request could not go to the cheaper "
				 "model instead: its model field is missing, shorter than that "
				 "model's name, or out of reach. Add credit, then retry." },
	[WEIR_DENY_BODY] = { BAD, "invalid_request_error", "unreadable_body",
			     "This account's limits cannot be read out of this JSON body: it has "
			     "an escape in a field's name, or a byte that JSON does not have "
			     "outside of strings. Send plain JSON." },
	[WEIR_DENY_MAP_FULL] = { NOT_NOW, "server_error", "service_unavailable",
				 "This node follows as many connections as it can. Retry in %w." },
};

static const char *status_line(enum kind kind, enum weir_dialect dialect)
{
	switch (kind) {
	case QUOTA:
		return dialect == WEIR_API_ANTHROPIC ? "402 Payment Required"
						     : "429 Too Many Requests";
	case NOBODY:
		return "401 Unauthorized";
	case FORBIDDEN:
		return "403 Forbidden";
	case BAD:
		return "400 Bad Request";
	case NO_LENGTH:
		return "411 Length Required";
	case BIG_HEAD:
		return "431 Request Header Fields Too Large";
	case NOT_NOW:
		return "503 Service Unavailable";
	default:
		return "429 Too Many Requests";
	}
}

static const char *anthropic_type(enum kind kind)
{
	switch (kind) {
	case QUOTA:
		return "billing_error";
	case NOBODY:
		return "authentication_error";
	case FORBIDDEN:
		return "permission_error";
	case BAD: /* for 411 and 431 there is no type that the SDK knows */
	case NO_LENGTH:
	case BIG_HEAD:
		return "invalid_request_error";
	case NOT_NOW:
		return "api_error";
	default:
		return "rate_limit_error";
	}
}

/* The window that refused, and no other: a template serves tenants that may have
 * no other. */
static const char *window_headers(enum weir_reason reason, enum weir_dialect dialect)
{
	if (reason == WEIR_DENY_REQUESTS)
		return dialect == WEIR_API_ANTHROPIC
			       ? "anthropic-ratelimit-requests-limit: %q\r\n"
				 "anthropic-ratelimit-requests-remaining: %r\r\n"
				 "anthropic-ratelimit-requests-reset: %D\r\n"
			       : "x-ratelimit-limit-requests: %q\r\n"
				 "x-ratelimit-remaining-requests: %r\r\n"
				 "x-ratelimit-reset-requests: %d\r\n";
	if (reason == WEIR_DENY_TOKENS)
		return dialect == WEIR_API_ANTHROPIC
			       ? "anthropic-ratelimit-tokens-limit: %t\r\n"
				 "anthropic-ratelimit-tokens-remaining: %u\r\n"
				 "anthropic-ratelimit-tokens-reset: %E\r\n"
			       : "x-ratelimit-limit-tokens: %t\r\n"
				 "x-ratelimit-remaining-tokens: %u\r\n"
				 "x-ratelimit-reset-tokens: %e\r\n";
	return "";
}

static const char *kind_headers(enum kind kind)
{
	switch (kind) {
	case WINDOW:
	case NOT_NOW:
		return "Retry-After: %s\r\nretry-after-ms: %m\r\n";
	case QUOTA:
		return "x-should-retry: false\r\n"; /* else SDKs try a 429 again */
	case NOBODY:
		return "WWW-Authenticate: Bearer\r\n"; /* RFC 9110 15.5.2 */
	default:
		return "";
	}
}

/* The whole refusal, with marks. */
static void compose(enum weir_dialect dialect, enum weir_reason reason, char *out, size_t size)
{
	enum kind kind = refusals[reason].kind;
	int head = snprintf(out, size,
			    "HTTP/1.1 %s\r\n%s%sContent-Type: %s\r\nConnection: close\r\n"
			    "Content-Length: %%#\r\n\r\n%%B",
			    status_line(kind, dialect), kind_headers(kind),
			    window_headers(reason, dialect),
			    dialect == WEIR_API_PLAIN ? "text/plain" : "application/json");
	int body;

	assert(head > 0 && (size_t)head < size);
	out += head;
	size -= head;
	if (dialect == WEIR_API_OPENAI)
		body = snprintf(out, size,
				"{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,"
				"\"code\":\"%s\"}}",
				refusals[reason].message, refusals[reason].type,
				refusals[reason].code);
	else if (dialect == WEIR_API_ANTHROPIC)
		body = snprintf(
			out, size,
			"{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"%s\"}}",
			anthropic_type(kind), refusals[reason].message);
	else
		body = snprintf(out, size, "%s\n", refusals[reason].message);
	assert(body > 0 && (size_t)body < size);
}

/* Cut a marked text into ops. */
static void compile(const char *text, struct weir_reply *out)
{
	size_t ops = 0, used = 0;

	while (*text) {
		struct weir_op_entry *op = &out->ops[ops++];

		assert(ops < WEIR_REPLY_OPS); /* the last one stays WEIR_OP_END */
		if (*text != '%') {
			size_t len = strcspn(text, "%");

			assert(used + len <= sizeof(out->text));
			memcpy(out->text + used, text, len);
			*op = (struct weir_op_entry){ .op = WEIR_OP_TEXT, .off = used, .len = len };
			/* Read a word at a time: each text starts at one. */
			used = (used + len + 7) & ~(size_t)7;
			text += len;
			continue;
		}
		size_t m = 0;

		while (marks[m].letter != text[1]) {
			m++;
			assert(m < sizeof(marks) / sizeof(marks[0]));
		}
		*op = (struct weir_op_entry){ .op = marks[m].op, .arg = marks[m].arg };
		text += 2;
	}
}

void weir_replies_build(struct weir_reply out[WEIR_REPLIES])
{
	memset(out, 0, WEIR_REPLIES * sizeof(*out));
	for (int dialect = 0; dialect < WEIR_API_MAX; dialect++)
		for (int reason = 0; reason < WEIR_REASON_MAX; reason++) {
			char text[2 * WEIR_REPLY_TEXT];

			if (refusals[reason].kind == NEVER)
				continue;
			compose(dialect, reason, text, sizeof(text));
			compile(text, &out[dialect * WEIR_REASON_MAX + reason]);
		}
}
