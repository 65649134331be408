// SPDX-License-Identifier: Apache-2.0
/*
 * The places where servers report usage, as a tree for the JSON scanner, and
 * how their figures become disjoint counts.
 *
 * Places that mean the same share a node: `usage` of OpenAI's JSON, of the last
 * event of a Responses stream, SGLang's `meta_info`. One answer follows one
 * dialect, so nodes need not know which.
 */
#include "usage.h"

#include <string.h>

#include "clean_text.h"

enum node {
	NOWHERE,
	DOCUMENT,
	MODEL,
	ID,
	TYPE,
	FINISH,
	CHOICES,
	CHOICE,
	CHOICE_DELTA,
	MESSAGE, /* Anthropic's message_start; Ollama's piece of text */
	ANSWER,	 /* `response`: an object of OpenAI's Responses, text of Ollama */
	DELTA,	 /* an object of Anthropic, text of OpenAI's Responses */
	USAGE,
	START_USAGE, /* of message_start: output is not counted yet */
	INPUT_DETAILS,
	OUTPUT_DETAILS,
	TIMINGS, /* llama.cpp */
	TEXT,
	ITEMS, /* tool calls, content blocks: output if there is one */
	ITEM,
	OBJECT, /* output by being there */
	DATA,	/* embeddings */
	DATUM,
	EMBEDDING,
	COUNT, /* COUNT + enum weir_count */
	NODES = COUNT + WEIR_COUNTS
};

static const uint8_t want[NODES] = {
	[DOCUMENT] = WEIR_SCAN_OBJECT | WEIR_SCAN_END,
	[MODEL] = WEIR_SCAN_STRING,
	[ID] = WEIR_SCAN_STRING,
	[TYPE] = WEIR_SCAN_STRING,
	[FINISH] = WEIR_SCAN_STRING,
	[CHOICES] = WEIR_SCAN_ARRAY,
	[CHOICE] = WEIR_SCAN_OBJECT | WEIR_SCAN_END,
	[CHOICE_DELTA] = WEIR_SCAN_OBJECT,
	[MESSAGE] = WEIR_SCAN_OBJECT,
	[ANSWER] = WEIR_SCAN_OBJECT | WEIR_SCAN_FILLED,
	[DELTA] = WEIR_SCAN_OBJECT | WEIR_SCAN_FILLED,
	[USAGE] = WEIR_SCAN_OBJECT | WEIR_SCAN_END,
	[START_USAGE] = WEIR_SCAN_OBJECT | WEIR_SCAN_END,
	[INPUT_DETAILS] = WEIR_SCAN_OBJECT,
	[OUTPUT_DETAILS] = WEIR_SCAN_OBJECT,
	[TIMINGS] = WEIR_SCAN_OBJECT,
	[TEXT] = WEIR_SCAN_FILLED | WEIR_SCAN_ARRAY,
	[ITEMS] = WEIR_SCAN_ARRAY,
	[ITEM] = WEIR_SCAN_BEGIN,
	[OBJECT] = WEIR_SCAN_BEGIN,
	[DATA] = WEIR_SCAN_ARRAY,
	[DATUM] = WEIR_SCAN_OBJECT,
	[EMBEDDING] = WEIR_SCAN_FILLED | WEIR_SCAN_BEGIN,
	[COUNT... NODES - 1] = WEIR_SCAN_NUMBER,
};

#define IS(word)    (len == sizeof(word) - 1 && !memcmp(key, word, sizeof(word) - 1))
#define COUNT_OF(x) (COUNT + WEIR_COUNT_##x)

static uint8_t document_child(const char *key, size_t len)
{
	switch (len) {
	case 2:
		return IS("id") ? ID : NOWHERE;
	case 4:
		return IS("type") ? TYPE : IS("text") ? TEXT : IS("data") ? DATA : NOWHERE;
	case 5:
		return IS("model") ? MODEL : IS("usage") ? USAGE : IS("delta") ? DELTA : NOWHERE;
	case 6:
		return IS("output") ? ITEMS : NOWHERE;
	case 7:
		return IS("choices")   ? CHOICES
		       : IS("message") ? MESSAGE
		       : IS("content") ? TEXT
		       : IS("timings") ? TIMINGS
				       : NOWHERE;
	case 8:
		return IS("response") ? ANSWER : NOWHERE;
	case 9:
		return IS("meta_info") ? USAGE : NOWHERE;
	case 10:
		return IS("eval_count") ? COUNT_OF(NATIVE_OUTPUT) : NOWHERE;
	case 11:
		return IS("stop_reason") || IS("done_reason") ? FINISH : NOWHERE;
	case 16:
		return IS("tokens_evaluated")	? COUNT_OF(NATIVE_PROMPT)
		       : IS("tokens_predicted") ? COUNT_OF(NATIVE_OUTPUT)
						: NOWHERE;
	case 17:
		return IS("prompt_eval_count") ? COUNT_OF(NATIVE_PROMPT) : NOWHERE;
	}
	return NOWHERE;
}

static uint8_t choice_child(const char *key, size_t len)
{
	return IS("delta")	     ? CHOICE_DELTA
	       : IS("finish_reason") ? FINISH
	       : IS("text")	     ? TEXT
				     : NOWHERE;
}

static uint8_t choice_delta_child(const char *key, size_t len)
{
	if (IS("content") || IS("reasoning_content") || IS("reasoning") || IS("refusal"))
		return TEXT;
	return IS("tool_calls") ? ITEMS : IS("function_call") ? OBJECT : NOWHERE;
}

static uint8_t message_child(const char *key, size_t len)
{
	if (IS("content") || IS("thinking"))
		return TEXT;
	return IS("id")		  ? ID
	       : IS("model")	  ? MODEL
	       : IS("usage")	  ? START_USAGE
	       : IS("tool_calls") ? ITEMS
				  : NOWHERE;
}

static uint8_t usage_child(const char *key, size_t len)
{
	switch (len) {
	case 12:
		return IS("input_tokens") ? COUNT_OF(INPUT) : NOWHERE;
	case 13:
		return IS("prompt_tokens")   ? COUNT_OF(PROMPT)
		       : IS("output_tokens") ? COUNT_OF(OUTPUT)
		       : IS("cached_tokens") ? COUNT_OF(CACHED)
					     : NOWHERE;
	case 16:
		return IS("reasoning_tokens") ? COUNT_OF(REASONING) : NOWHERE;
	case 17:
		return IS("completion_tokens") ? COUNT_OF(OUTPUT) : NOWHERE;
	case 20:
		return IS("input_tokens_details") ? INPUT_DETAILS : NOWHERE;
	case 21:
		return IS("prompt_tokens_details")   ? INPUT_DETAILS
		       : IS("output_tokens_details") ? OUTPUT_DETAILS
						     : NOWHERE;
	case 23:
		return IS("cache_read_input_tokens") ? COUNT_OF(READ_BESIDE) : NOWHERE;
	case 25:
		return IS("completion_tokens_details") ? OUTPUT_DETAILS : NOWHERE;
	case 27:
		return IS("cache_creation_input_tokens") ? COUNT_OF(WRITE_BESIDE) : NOWHERE;
	}
	return NOWHERE;
}

static uint8_t child(uint8_t node, const char *key, size_t len)
{
	if (!key) /* elements */
		return node == CHOICES		       ? CHOICE
		       : node == DATA		       ? DATUM
		       : node == ITEMS || node == TEXT ? ITEM
						       : NOWHERE;
	switch (node) {
	case DOCUMENT:
		return document_child(key, len);
	case CHOICE:
		return choice_child(key, len);
	case CHOICE_DELTA:
		return choice_delta_child(key, len);
	case MESSAGE:
		return message_child(key, len);
	case ANSWER:
		return IS("id") ? ID : IS("model") ? MODEL : IS("usage") ? USAGE : NOWHERE;
	case DELTA:
		return IS("stop_reason") ? FINISH : NOWHERE;
	case USAGE:
	case START_USAGE:
		return usage_child(key, len);
	case INPUT_DETAILS:
		return IS("cached_tokens")	  ? COUNT_OF(CACHED)
		       : IS("cache_write_tokens") ? COUNT_OF(CACHE_WRITE)
		       : IS("audio_tokens")	  ? COUNT_OF(AUDIO)
		       : IS("image_tokens")	  ? COUNT_OF(IMAGE)
						  : NOWHERE;
	case OUTPUT_DETAILS:
		return IS("reasoning_tokens") ? COUNT_OF(REASONING) : NOWHERE;
	case TIMINGS:
		return IS("cache_n")	   ? COUNT_OF(NATIVE_CACHED)
		       : IS("prompt_n")	   ? COUNT_OF(NATIVE_FRESH)
		       : IS("predicted_n") ? COUNT_OF(NATIVE_OUTPUT)
					   : NOWHERE;
	case DATUM:
		return IS("embedding") ? EMBEDDING : NOWHERE;
	}
	return NOWHERE;
}

/* ------------------------------------------------------------ counts */

/* The first that is known. */
static int64_t known(int64_t a, int64_t b)
{
	return a != WEIR_UNKNOWN ? a : b;
}

/* Take the part out of the whole. A part that claims more is cut to it: the sum
 * that is billed stays what the server called its total. */
static int64_t take_out(int64_t *whole, int64_t part)
{
	if (part == WEIR_UNKNOWN || *whole == WEIR_UNKNOWN)
		return part;
	if (part > *whole)
		part = *whole;
	*whole -= part;
	return part;
}

static void settle(const struct weir_usage_scan *u, struct weir_response_seen *seen)
{
	const int64_t *c = u->counts;
	int64_t read = known(c[WEIR_COUNT_CACHED], c[WEIR_COUNT_READ_BESIDE]);
	int64_t write = known(c[WEIR_COUNT_CACHE_WRITE], c[WEIR_COUNT_WRITE_BESIDE]);
	int64_t prompt = known(c[WEIR_COUNT_PROMPT], c[WEIR_COUNT_INPUT]);
	struct weir_usage *out = &seen->usage;
	bool beside = c[WEIR_COUNT_PROMPT] == WEIR_UNKNOWN && c[WEIR_COUNT_INPUT] != WEIR_UNKNOWN &&
		      c[WEIR_COUNT_CACHED] == WEIR_UNKNOWN &&
		      c[WEIR_COUNT_CACHE_WRITE] == WEIR_UNKNOWN;

	read = known(read, c[WEIR_COUNT_NATIVE_CACHED]);
	prompt = known(prompt, c[WEIR_COUNT_NATIVE_PROMPT]);
	if (prompt == WEIR_UNKNOWN) {
		prompt = c[WEIR_COUNT_NATIVE_FRESH];
		beside = true;
	}
	out->cache_read = beside ? read : take_out(&prompt, read);
	out->cache_write = beside ? write : take_out(&prompt, write);
	seen->audio = take_out(&prompt, c[WEIR_COUNT_AUDIO]);
	seen->image = take_out(&prompt, c[WEIR_COUNT_IMAGE]);
	out->input = prompt;
	out->output = known(c[WEIR_COUNT_OUTPUT], c[WEIR_COUNT_NATIVE_OUTPUT]);
	out->reasoning = take_out(&out->output, c[WEIR_COUNT_REASONING]);
	seen->has_usage = out->input != WEIR_UNKNOWN || out->output != WEIR_UNKNOWN ||
			  out->cache_read != WEIR_UNKNOWN || out->cache_write != WEIR_UNKNOWN ||
			  out->reasoning != WEIR_UNKNOWN;
}

/* ------------------------------------------------------------ what was found */

struct context {
	struct weir_usage_scan *u;
	struct weir_response_seen *seen;
};

static void document_end(struct weir_usage_scan *u, struct weir_response_seen *seen)
{
	int i;

	if (u->document_output) {
		if (seen->stream && seen->chunks < UINT32_MAX)
			seen->chunks++;
		u->document_output = 0;
		u->produced = 1;
		u->answered = 1;
	}
	for (i = WEIR_COUNT_NATIVE_PROMPT; i <= WEIR_COUNT_NATIVE_OUTPUT; i++) {
		if (u->counts[i] != WEIR_UNKNOWN) {
			settle(u, seen);
			break;
		}
	}
}

static void found(void *ctx, uint8_t node, const struct weir_scan_found *f)
{
	struct context *c = ctx;
	static const char output_type[] = "content_block_delta";

	switch (node) {
	case DOCUMENT:
		document_end(c->u, c->seen);
		break;
	case MODEL:
		weir_clean_text(c->seen->model, sizeof(c->seen->model), f->text, f->len);
		break;
	case ID:
		weir_clean_text(c->seen->response_id, sizeof(c->seen->response_id), f->text,
				f->len);
		break;
	case FINISH:
		weir_clean_text(c->seen->finish_reason, sizeof(c->seen->finish_reason), f->text,
				f->len);
		break;
	case TYPE:
		if (f->len == sizeof(output_type) - 1 &&
		    !memcmp(f->text, output_type, sizeof(output_type) - 1))
			c->u->document_output = 1;
		break;
	case USAGE:
	case START_USAGE:
		settle(c->u, c->seen);
		c->u->provisional = node == START_USAGE;
		break;
	case ANSWER:
	case DELTA:
	case TEXT:
	case ITEM:
	case OBJECT:
		c->u->document_output = 1;
		break;
	case CHOICE: /* in a stream it is the delta that matters: the first and last are empty */
		if (!c->seen->stream)
			c->u->document_output = 1;
		break;
	case EMBEDDING:
		c->u->answered = 1;
		break;
	default:
		c->u->counts[node - COUNT] = f->number;
	}
}

static const struct weir_scan_schema schema = { .want = want, .child = child, .found = found };

void weir_usage_init(struct weir_usage_scan *u)
{
	int i;

	memset(u, 0, sizeof(*u));
	for (i = 0; i < WEIR_COUNTS; i++)
		u->counts[i] = WEIR_UNKNOWN;
}

void weir_usage_feed(struct weir_usage_scan *u, struct weir_response_seen *seen,
		     const uint8_t *bytes, size_t n)
{
	struct context c = { u, seen };

	weir_scan_feed(&u->scan, &schema, &c, bytes, n);
}

void weir_usage_reset(struct weir_usage_scan *u)
{
	weir_scan_reset(&u->scan);
	u->document_output = 0;
}

void weir_usage_lost(struct weir_usage_scan *u)
{
	weir_scan_kill(&u->scan);
}

bool weir_usage_complete(const struct weir_usage_scan *u, const struct weir_response_seen *seen)
{
	const struct weir_usage *usage = &seen->usage;
	bool output = usage->output != WEIR_UNKNOWN || usage->reasoning != WEIR_UNKNOWN;

	return usage->input != WEIR_UNKNOWN && (output || !u->produced) && !u->provisional;
}
