/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as inference servers send them, made up at the length of real ones: what parse_bench.c
 * feeds to the agent. Of each it is known what it used, so that a parser that is fast because it
 * reads nothing does not pass.
 */
#ifndef BENCH_ANSWERS_H
#define BENCH_ANSWERS_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct answer {
	uint8_t *p;
	size_t n, room;
	uint32_t *ends; /* where each write of the server's ends: a record of the tap, if small */
	uint32_t n_ends;
	uint32_t input, output; /* tokens that it reports */
	size_t text;		/* bytes of its body, when nothing is compressed */
};

enum answer_coding { AS_IS, IN_GZIP, IN_ZSTD };

static inline void die_of(const char *what)
{
	fprintf(stderr, "parse_bench: %s\n", what);
	exit(1);
}

static inline void *some(void *p)
{
	if (!p)
		die_of("out of memory");
	return p;
}

static inline uint32_t any_of(uint32_t n)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16) % n;
}

static inline void answer_add(struct answer *a, const void *bytes, size_t n)
{
	if (a->n + n > a->room) {
		a->room = (a->n + n) * 2;
		a->p = some(realloc(a->p, a->room));
	}
	memcpy(a->p + a->n, bytes, n);
	a->n += n;
}

static inline void answer_write_ends(struct answer *a)
{
	a->ends = some(realloc(a->ends, (a->n_ends + 1) * sizeof(*a->ends)));
	a->ends[a->n_ends++] = (uint32_t)a->n;
}

__attribute__((format(printf, 2, 3))) static inline void answer_say(struct answer *a,
								    const char *form, ...)
{
	char text[2048];
	va_list args;
	int n;

	va_start(args, form);
	n = vsnprintf(text, sizeof(text), form, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		die_of("a line that is too long");
	answer_add(a, text, (size_t)n);
}

static inline void answer_free(struct answer *a)
{
	free(a->p);
	free(a->ends);
}

/* ------------------------------------------------------------------ a body, as it is sent */

/* A stream's encoder lives as long as the stream, and is flushed with every event. */
struct sender {
	struct answer *a;
	enum answer_coding coding;
	z_stream z;
	ZSTD_CCtx *zstd;
};

static inline void sender_open(struct sender *s, struct answer *a, enum answer_coding coding)
{
	memset(s, 0, sizeof(*s));
	s->a = a;
	s->coding = coding;
	if (coding == IN_GZIP &&
	    deflateInit2(&s->z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		die_of("zlib");
	if (coding == IN_ZSTD)
		s->zstd = some(ZSTD_createCCtx());
}

/* What text is on the wire, in out. */
static inline size_t encoded(struct sender *s, const void *text, size_t n, int last, uint8_t *out,
			     size_t room)
{
	if (s->coding == IN_GZIP) {
		s->z.next_in = (uint8_t *)text;
		s->z.avail_in = (unsigned)n;
		s->z.next_out = out;
		s->z.avail_out = (unsigned)room;
		if (deflate(&s->z, last ? Z_FINISH : Z_SYNC_FLUSH) < 0 || !s->z.avail_out)
			die_of("zlib");
		return room - s->z.avail_out;
	}
	if (s->coding == IN_ZSTD) {
		ZSTD_inBuffer in = { .src = text, .size = n };
		ZSTD_outBuffer o = { .dst = out, .size = room };

		if (ZSTD_compressStream2(s->zstd, &o, &in, last ? ZSTD_e_end : ZSTD_e_flush))
			die_of("zstd");
		return o.pos;
	}
	memcpy(out, text, n);
	return n;
}

/* A chunk of HTTP's, in one write. */
static inline void send_chunk(struct sender *s, const char *text, size_t n, int last)
{
	uint8_t out[4096];
	size_t len = encoded(s, text, n, last, out, sizeof(out));

	s->a->text += n;
	if (len) {
		answer_say(s->a, "%zx\r\n", len);
		answer_add(s->a, out, len);
		answer_add(s->a, "\r\n", 2);
		answer_write_ends(s->a);
	}
	if (!last)
		return;
	answer_add(s->a, "0\r\n\r\n", 5);
	answer_write_ends(s->a);
	deflateEnd(&s->z);
	ZSTD_freeCCtx(s->zstd);
}

static inline const char *head_of_coding(enum answer_coding coding)
{
	return coding == IN_GZIP   ? "content-encoding: gzip\r\n"
	       : coding == IN_ZSTD ? "content-encoding: zstd\r\n"
				   : "";
}

/* ------------------------------------------------------------------ answers */

static const char *const words[] = {
	" the",	      " model",	    ",", " of",	     " tokens", "\\n\\n", " \\\"quoted\\\"",
	" und",	      " caf\u00e9", ".", " request", " limit",	" 42",	  " is",
	" streaming", "##",
};

static inline const char *word(void)
{
	return words[any_of(sizeof(words) / sizeof(words[0]))];
}

static inline void answer_id(char out[33])
{
	for (int i = 0; i < 32; i++)
		out[i] = "0123456789abcdef"[any_of(16)];
	out[32] = '\0';
}

/* A chat stream as vLLM sends it, usage asked for. */
static inline void make_stream(struct answer *a, uint32_t tokens, enum answer_coding coding)
{
	static const char chunk[] =
		"data: {\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion.chunk\","
		"\"created\":1763690000,\"model\":\"meta-llama/Llama-3.3-70B-Instruct\","
		"\"choices\":[%s]%s}\n\n";
	struct sender s;
	char id[33], text[1024], choice[256];

	memset(a, 0, sizeof(*a));
	a->input = 100 + any_of(4000);
	a->output = tokens;
	answer_id(id);
	answer_say(a,
		   "HTTP/1.1 200 OK\r\ndate: Fri, 21 Nov 2025 10:00:00 GMT\r\nserver: uvicorn\r\n"
		   "content-type: text/event-stream; charset=utf-8\r\n%s"
		   "transfer-encoding: chunked\r\n\r\n",
		   head_of_coding(coding));
	answer_write_ends(a);
	sender_open(&s, a, coding);
	for (uint32_t i = 0; i < tokens; i++) {
		snprintf(choice, sizeof(choice),
			 "{\"index\":0,\"delta\":{\"content\":\"%s\"},\"logprobs\":null,"
			 "\"finish_reason\":%s}",
			 word(), i + 1 < tokens ? "null" : "\"stop\",\"stop_reason\":null");
		send_chunk(&s, text, (size_t)snprintf(text, sizeof(text), chunk, id, choice, ""),
			   0);
	}
	snprintf(choice, sizeof(choice),
		 ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u,\"completion_tokens\":%u}",
		 a->input, a->input + a->output, a->output);
	send_chunk(&s, text, (size_t)snprintf(text, sizeof(text), chunk, id, "", choice), 0);
	send_chunk(&s, "data: [DONE]\n\n", 14, 1);
}

/* With Content-Length; the body is what head and body were added to by `body`. */
static inline void make_plain(struct answer *a, const struct answer *body,
			      enum answer_coding coding)
{
	struct sender s;
	uint8_t *out = some(malloc(body->n + 65536));
	size_t n;

	memset(a, 0, sizeof(*a));
	a->input = body->input;
	a->output = body->output;
	a->text = body->n;
	sender_open(&s, a, coding);
	n = encoded(&s, body->p, body->n, 1, out, body->n + 65536);
	deflateEnd(&s.z);
	ZSTD_freeCCtx(s.zstd);
	answer_say(a,
		   "HTTP/1.1 200 OK\r\ndate: Fri, 21 Nov 2025 10:00:00 GMT\r\nserver: uvicorn\r\n"
		   "content-length: %zu\r\ncontent-type: application/json\r\n%s\r\n",
		   n, head_of_coding(coding));
	answer_add(a, out, n);
	answer_write_ends(a);
	free(out);
}

/* A short chat answer. */
static inline void make_small(struct answer *a, enum answer_coding coding)
{
	struct answer body = { .input = 20 + any_of(400), .output = 5 + any_of(20) };
	char id[33];

	answer_id(id);
	answer_say(&body,
		   "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":1763690000,"
		   "\"model\":\"meta-llama/Llama-3.3-70B-Instruct\",\"choices\":[{\"index\":0,"
		   "\"message\":{\"role\":\"assistant\",\"content\":\"",
		   id);
	for (uint32_t i = 0; i < body.output; i++)
		answer_say(&body, "%s", word());
	answer_say(&body,
		   "\",\"refusal\":null,\"tool_calls\":[]},\"logprobs\":null,"
		   "\"finish_reason\":\"stop\",\"stop_reason\":null}],\"usage\":{"
		   "\"prompt_tokens\":%u,\"total_tokens\":%u,\"completion_tokens\":%u,"
		   "\"prompt_tokens_details\":null},\"prompt_logprobs\":null}",
		   body.input, body.input + body.output, body.output);
	make_plain(a, &body, coding);
	answer_free(&body);
}

/* So many vectors of 1,536, as numbers: 64 are about 2 MB. Or in base64, as the SDKs ask for. */
static inline void make_embeddings(struct answer *a, int vectors, int base64,
				   enum answer_coding coding)
{
	struct answer body = { .input = 30000 };
	char id[33];

	answer_id(id);
	answer_say(&body,
		   "{\"id\":\"embd-%s\",\"object\":\"list\",\"created\":1763690000,"
		   "\"model\":\"intfloat/e5-mistral-7b-instruct\",\"data\":[",
		   id);
	for (int v = 0; v < vectors; v++) {
		answer_say(&body, "%s{\"index\":%d,\"object\":\"embedding\",\"embedding\":%s",
			   v ? "," : "", v, base64 ? "\"" : "[");
		for (int i = 0; i < 1536; i++)
			if (base64)
				answer_say(&body, "%c%c%c%c%c%c", 'A' + any_of(26),
					   'a' + any_of(26), '0' + any_of(10), 'a' + any_of(26),
					   'A' + any_of(26), any_of(9) ? 'x' : '/');
			else
				answer_say(&body, "%s%s0.0%u%u", i ? "," : "", any_of(2) ? "-" : "",
					   1000 + any_of(90000), 10000 + any_of(90000000));
		answer_say(&body, base64 ? "\"}" : "]}");
	}
	answer_say(&body,
		   "],\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u,\"completion_tokens\":0,"
		   "\"prompt_tokens_details\":null}}",
		   body.input, body.input);
	make_plain(a, &body, coding);
	answer_free(&body);
}

#endif
