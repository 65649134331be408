// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile answers. Two claims: no cut changes what is seen, and of a JSON body
 * that jansson takes too, we say what jansson says. And a model's name is the same
 * whether a request asks for it or an answer names it.
 *
 * Input: a byte that picks how the rest is framed, two that seed the cuts, then
 * the bytes.
 */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/request_body.h"
#include "agent/response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(truth)                                                                               \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Before the bytes: nothing (they are a whole answer), or a head of ours. */
static const char *const heads[] = {
	"",
	"HTTP/1.1 200 OK\r\n\r\n",
	"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
	"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n",
	"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
	"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
};
enum { HEADS = sizeof(heads) / sizeof(heads[0]), JSON_HEAD = 1 };

/* Feeds until the answer is done; how many bytes were its own. */
static size_t feed(struct weir_response *r, const char *head, const uint8_t *bytes, size_t n,
		   uint32_t seed, size_t longest)
{
	size_t at = 0;

	weir_response_init(r, false);
	CHECK(weir_response_feed(r, head, strlen(head)) == strlen(head));
	while (at < n) {
		size_t len, took;
		uint8_t *piece;

		seed = seed * 1664525 + 1013904223;
		len = longest ? (seed >> 8) % longest + 1 : n;
		if (len > n - at)
			len = n - at;
		piece = malloc(len);
		CHECK(piece);
		memcpy(piece, bytes + at, len);
		took = weir_response_feed(r, piece, len);
		free(piece);
		CHECK(took == len || (took < len && r->seen.done));
		at += took;
		if (took < len)
			break;
	}
	weir_response_close(r);
	return at;
}

static int64_t sum(int64_t a, int64_t b)
{
	return (a == WEIR_UNKNOWN ? 0 : a) + (b == WEIR_UNKNOWN ? 0 : b);
}

/* A count as jansson has it; what is no whole number it cannot judge. */
static int64_t count(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 ? json_integer_value(v)
								: WEIR_UNKNOWN;
}

/* Strings that both sides keep as they are. */
static int plain(const char *text)
{
	const char *p;

	for (p = text; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return 0;
	return p > text && p - text < 64;
}

/* We give up where jansson does not: a bracket count that no document of such depth is below. */
static int deep(const uint8_t *bytes, size_t n)
{
	size_t i, open = 0;

	for (i = 0; i < n; i++)
		open += bytes[i] == '{' || bytes[i] == '[';
	return open > 64;
}

static void compare_with_jansson(const struct weir_response_seen *seen, const uint8_t *bytes,
				 size_t n)
{
	json_t *root = deep(bytes, n)
			       ? NULL
			       : json_loadb((const char *)bytes, n, JSON_REJECT_DUPLICATES, NULL);
	json_t *usage, *model;
	int64_t prompt, completion;

	if (!root)
		return;
	/* other places that say the same are judged by the unit tests */
	usage = json_object_get(root, "usage");
	model = json_object_get(root, "model");
	if (!json_is_object(root) || json_object_get(root, "message") ||
	    json_object_get(root, "response") || json_object_get(root, "meta_info") ||
	    json_object_get(usage, "output_tokens"))
		goto out;
	if (json_is_string(model) && plain(json_string_value(model)))
		CHECK(!strcmp(json_string_value(model), seen->model));
	if (!model)
		CHECK(!*seen->model);
	prompt = count(usage, "prompt_tokens");
	completion = count(usage, "completion_tokens");
	if (prompt != WEIR_UNKNOWN)
		CHECK(sum(sum(seen->usage.input, seen->usage.cache_read),
			  seen->usage.cache_write) == prompt);
	if (completion != WEIR_UNKNOWN)
		CHECK(sum(seen->usage.output, seen->usage.reasoning) == completion);
	if (!json_is_object(usage) && !json_object_get(root, "timings") &&
	    !json_object_get(root, "tokens_evaluated") &&
	    !json_object_get(root, "tokens_predicted") &&
	    !json_object_get(root, "prompt_eval_count") && !json_object_get(root, "eval_count"))
		CHECK(!seen->has_usage);
out:
	json_decref(root);
}

/* The bytes as a name between quotes: in the kernel's record, and in an answer. */
static void compare_names(const uint8_t *bytes, size_t n)
{
	static const char open[] = "{\"model\":\"", close[] = "\"}";
	char answer[sizeof(open) + WEIR_MODEL_BYTES + sizeof(close)];
	struct weir_rec_body rec = { .max_tokens = UINT64_MAX };
	struct weir_response r;
	struct weir_body b;

	if (n > WEIR_MODEL_BYTES)
		n = WEIR_MODEL_BYTES;
	memcpy(rec.model, bytes, n);
	rec.model_len = (uint32_t)n;
	weir_body_init(&b);
	weir_body_fold(&b, &rec);
	CHECK(memchr(b.model, 0, sizeof(b.model)));
	CHECK(b.max_tokens == WEIR_UNKNOWN);
	if (memchr(bytes, '"', n))
		return; /* the kernel's ends there, or it is one of two names */
	n = (size_t)(stpcpy(answer, open) - answer);
	memcpy(answer + n, rec.model, rec.model_len);
	n += rec.model_len;
	memcpy(answer + n, close, sizeof(close) - 1);
	n += sizeof(close) - 1;
	feed(&r, heads[JSON_HEAD], (const uint8_t *)answer, n, 0, 0);
	/* Where it was cut in an escape, the answer's goes on past the quote. */
	if (*r.seen.model)
		CHECK(!memcmp(r.seen.model, b.model, sizeof(b.model)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct weir_response whole, cut;
	const char *head;
	uint32_t seed;
	size_t took, i;

	if (size < 3)
		return 0;
	head = heads[data[0] % HEADS];
	seed = data[1] | (uint32_t)data[2] << 8;
	data += 3;
	size -= 3;

	took = feed(&whole, head, data, size, 0, 0);
	for (i = 0; i < 3; i++) {
		static const size_t longest[] = { 1, 7, 200 };

		CHECK(feed(&cut, head, data, size, seed + i, longest[i]) == took);
		CHECK(!memcmp(&whole.seen, &cut.seen, sizeof(whole.seen)));
		CHECK(weir_response_source(&whole) == weir_response_source(&cut));
	}
	compare_names(data, size);
	if (head == heads[JSON_HEAD])
		compare_with_jansson(&whole.seen, data, size);

	/* a hole anywhere crashes nothing and is no report */
	weir_response_init(&cut, false);
	weir_response_feed(&cut, head, strlen(head));
	took = size ? seed % size : 0;
	if (weir_response_feed(&cut, data, took) == took && !cut.seen.done && !cut.seen.bad) {
		weir_response_skip(&cut, 1 + seed % 100);
		weir_response_feed(&cut, data + took, size - took);
		CHECK(weir_response_source(&cut) != WEIR_USAGE_REPORTED);
	}
	return 0;
}
