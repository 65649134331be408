// SPDX-License-Identifier: Apache-2.0
/*
 * The tree. Places that mean the same share a node: `usage` of OpenAI's JSON, of the last event of
 * a Responses stream, of Cohere's message-end. One answer follows one dialect, so nodes need not
 * know which.
 */
#include "usage_places.h"

#include <stdbool.h>
#include <string.h>

#include "json_scan.h"

#define A(place) [WEIR_AT_##place]

#define OBJECT WEIR_SCAN_OBJECT
#define ARRAY  WEIR_SCAN_ARRAY
#define OPEN   WEIR_SCAN_OPEN
#define END    WEIR_SCAN_END
#define STRING WEIR_SCAN_STRING
#define BYTES  WEIR_SCAN_BYTES
#define KEY    WEIR_SCAN_KEY

const uint16_t weir_usage_want[WEIR_PLACES] = {
	A(DOCUMENT) = OBJECT | OPEN | END,
	A(DOCUMENTS) = ARRAY | OPEN | END,
	A(MODEL) = STRING,
	A(VERSION) = STRING,
	A(ID) = STRING,
	A(TYPE) = STRING,
	A(INDEX) = KEY,
	A(FINISH) = STRING,
	A(USAGE) = OBJECT | END | KEY,
	A(START_USAGE) = OBJECT | END | KEY,
	A(META_INFO) = OBJECT | END | KEY,
	A(COHERE_META) = OBJECT | END | KEY,
	A(DETAILS) = OBJECT | END | KEY,
	A(TIMINGS) = OBJECT | END | KEY,
	A(PROMPT_DETAILS) = OBJECT | KEY,
	A(COMPLETION_DETAILS) = OBJECT | KEY,
	A(INPUT_DETAILS) = OBJECT | KEY,
	A(OUTPUT_DETAILS) = OBJECT | KEY,
	A(COHERE_TOKENS) = OBJECT | KEY,
	A(COHERE_BILLED) = OBJECT | KEY,
	A(PREFILL) = ARRAY | KEY,
	A(PREFILLED) = OPEN,
	A(SGLANG_FINISH) = OBJECT | OPEN | STRING,
	A(CHOICES) = ARRAY,
	A(CHOICE) = OBJECT | END,
	A(SPEECH) = OBJECT,
	A(MESSAGE) = OBJECT,
	A(ANSWER) = OBJECT | BYTES,
	A(DELTA) = OBJECT | BYTES,
	A(TEXT) = ARRAY | BYTES,
	A(WHOLE_TEXT) = BYTES,
	A(TOKEN) = OBJECT,
	A(CONTENT) = OBJECT | ARRAY | BYTES,
	A(ITEMS) = OBJECT | ARRAY,
	A(ITEM) = OBJECT | OPEN | BYTES,
	A(CALL) = OBJECT | OPEN,
	A(ARGUMENTS) = BYTES,
	A(DATA) = ARRAY,
	A(DATUM) = OBJECT,
	A(VECTOR) = OPEN | BYTES,
	A(RESULTS) = ARRAY,
	A(RESULT) = OPEN,
	A(SCORE) = KEY,
	[WEIR_AT_COUNT... WEIR_PLACES - 1] = WEIR_SCAN_NUMBER | KEY,
};

#undef A
#undef OBJECT
#undef ARRAY
#undef OPEN
#undef END
#undef STRING
#undef BYTES
#undef KEY

/* Of the children of a place one length has few keys: the switch leaves one or two to compare. */
#define IS(word, place)                                                                            \
	if (!memcmp(key, word, sizeof(word) - 1))                                                  \
	return WEIR_AT_##place
#define IS_COUNT(word, count)                                                                      \
	if (!memcmp(key, word, sizeof(word) - 1))                                                  \
	return WEIR_AT_COUNT + WEIR_COUNT_##count

static uint8_t of_document(const char *key, size_t len)
{
	switch (len) {
	case 2:
		IS("id", ID);
		break;
	case 4:
		IS("type", TYPE);
		IS("text", TEXT);
		IS("data", DATA);
		IS("meta", COHERE_META);
		break;
	case 5:
		IS("model", MODEL);
		IS("usage", USAGE);
		IS("delta", DELTA);
		IS("index", INDEX);
		IS("token", TOKEN);
		break;
	case 6:
		IS("output", ITEMS);
		break;
	case 7:
		IS("choices", CHOICES);
		IS("message", MESSAGE);
		IS("content", CONTENT);
		IS("timings", TIMINGS);
		IS("details", DETAILS);
		IS("results", RESULTS);
		break;
	case 8:
		IS("response", ANSWER);
		IS("thinking", TEXT);
		break;
	case 9:
		IS("meta_info", META_INFO);
		IS("embedding", VECTOR);
		IS("stop_type", FINISH);
		break;
	case 10:
		IS_COUNT("eval_count", NATIVE_OUTPUT);
		IS("embeddings", VECTOR);
		IS("model_name", MODEL);
		break;
	case 11:
		IS("stop_reason", FINISH);
		IS("done_reason", FINISH);
		IS("text_output", TEXT);
		IS("generations", CHOICES);
		break;
	case 13:
		IS("finish_reason", FINISH);
		IS("generation_id", ID);
		IS("model_version", VERSION);
		break;
	case 14:
		IS("generated_text", WHOLE_TEXT);
		break;
	case 16:
		IS_COUNT("tokens_evaluated", NATIVE_PROMPT);
		IS_COUNT("tokens_predicted", NATIVE_OUTPUT);
		break;
	case 17:
		IS_COUNT("prompt_eval_count", NATIVE_PROMPT);
		break;
	case 18:
		IS("system_fingerprint", VERSION);
		break;
	}
	return WEIR_AT_NOWHERE;
}

static uint8_t of_choice(const char *key, size_t len)
{
	switch (len) {
	case 4:
		IS("text", TEXT);
		break;
	case 5:
		IS("delta", SPEECH);
		break;
	case 7:
		IS("message", SPEECH);
		break;
	case 13:
		IS("finish_reason", FINISH);
		break;
	}
	return WEIR_AT_NOWHERE;
}

static uint8_t of_speech(const char *key, size_t len)
{
	switch (len) {
	case 7:
		IS("content", CONTENT);
		IS("refusal", TEXT);
		break;
	case 8:
		IS("thinking", TEXT);
		break;
	case 9:
		IS("reasoning", TEXT);
		IS("tool_plan", TEXT);
		break;
	case 10:
		IS("tool_calls", ITEMS);
		break;
	case 13:
		IS("function_call", CALL);
		break;
	case 17:
		IS("reasoning_content", TEXT);
		break;
	}
	return WEIR_AT_NOWHERE;
}

static uint8_t of_message(const char *key, size_t len)
{
	switch (len) {
	case 2:
		IS("id", ID);
		break;
	case 5:
		IS("model", MODEL);
		IS("usage", START_USAGE);
		break;
	}
	return of_speech(key, len);
}

static uint8_t of_delta(const char *key, size_t len)
{
	switch (len) {
	case 4:
		IS("text", TEXT);
		break;
	case 5:
		IS("usage", USAGE);
		break;
	case 7:
		IS("message", SPEECH);
		break;
	case 8:
		IS("thinking", TEXT);
		break;
	case 11:
		IS("stop_reason", FINISH);
		break;
	case 12:
		IS("partial_json", TEXT);
		break;
	case 13:
		IS("finish_reason", FINISH);
		break;
	}
	return WEIR_AT_NOWHERE;
}

static uint8_t of_answer(const char *key, size_t len)
{
	switch (len) {
	case 2:
		IS("id", ID);
		break;
	case 4:
		IS("meta", COHERE_META);
		break;
	case 5:
		IS("model", MODEL);
		IS("usage", USAGE);
		break;
	case 13:
		IS("finish_reason", FINISH);
		IS("generation_id", ID);
		break;
	}
	return WEIR_AT_NOWHERE;
}

/* A block of content, a tool call, an item of Responses. */
static uint8_t of_item(const char *key, size_t len)
{
	switch (len) {
	case 4:
		IS("text", TEXT);
		IS("name", TEXT);
		break;
	case 5:
		IS("input", ARGUMENTS);
		break;
	case 6:
		IS("custom", CALL);
		break;
	case 7:
		IS("content", CONTENT);
		IS("summary", CONTENT);
		IS("refusal", TEXT);
		break;
	case 8:
		IS("thinking", CONTENT); /* text, or blocks of it */
		IS("function", CALL);
		break;
	case 9:
		IS("arguments", ARGUMENTS);
		break;
	}
	return WEIR_AT_NOWHERE;
}

static uint8_t of_usage(const char *key, size_t len)
{
	switch (len) {
	case 6:
		IS("tokens", COHERE_TOKENS);
		break;
	case 12:
		IS_COUNT("input_tokens", INPUT);
		IS_COUNT("total_tokens", TOTAL);
		IS("billed_units", COHERE_BILLED);
		break;
	case 13:
		IS_COUNT("prompt_tokens", PROMPT);
		IS_COUNT("output_tokens", OUTPUT);
		IS_COUNT("cached_tokens", CACHED);
		break;
	case 16:
		IS_COUNT("reasoning_tokens", REASONING);
		break;
	case 17:
		IS_COUNT("completion_tokens", COMPLETION);
		break;
	case 19:
		IS("input_token_details", INPUT_DETAILS);
		break;
	case 20:
		IS("input_tokens_details", INPUT_DETAILS);
		IS("output_token_details", OUTPUT_DETAILS);
		break;
	case 21:
		IS("prompt_tokens_details", PROMPT_DETAILS);
		IS("output_tokens_details", OUTPUT_DETAILS);
		break;
	case 23:
		IS_COUNT("cache_read_input_tokens", READ_BESIDE);
		break;
	case 25:
		IS("completion_tokens_details", COMPLETION_DETAILS);
		break;
	case 27:
		IS_COUNT("cache_creation_input_tokens", WRITE_BESIDE);
		break;
	}
	return WEIR_AT_NOWHERE;
}

static uint8_t of_meta_info(const char *key, size_t len)
{
	switch (len) {
	case 2:
		IS("id", ID);
		break;
	case 13:
		IS_COUNT("prompt_tokens", PROMPT);
		IS_COUNT("cached_tokens", CACHED);
		IS("finish_reason", SGLANG_FINISH);
		break;
	case 16:
		IS_COUNT("reasoning_tokens", REASONING);
		break;
	case 17:
		IS_COUNT("completion_tokens", COMPLETION);
		break;
	}
	return WEIR_AT_NOWHERE;
}

static uint8_t of_details(const char *key, size_t len)
{
	switch (len) {
	case 7:
		IS("prefill", PREFILL);
		break;
	case 12:
		IS_COUNT("input_length", NATIVE_PROMPT);
		break;
	case 13:
		IS("finish_reason", FINISH);
		break;
	case 16:
		IS_COUNT("generated_tokens", NATIVE_OUTPUT);
		break;
	}
	return WEIR_AT_NOWHERE;
}

/* Parts of counts, and places with one or two children. */
static uint8_t of_rest(uint8_t place, const char *key, size_t len)
{
#define KEY(word) (len == sizeof(word) - 1 && !memcmp(key, word, sizeof(word) - 1))
#define COUNT(x)  (WEIR_AT_COUNT + WEIR_COUNT_##x)
	switch (place) {
	case WEIR_AT_COHERE_META:
		return KEY("tokens")	      ? WEIR_AT_COHERE_TOKENS
		       : KEY("billed_units")  ? WEIR_AT_COHERE_BILLED
		       : KEY("cached_tokens") ? COUNT(CACHED)
					      : WEIR_AT_NOWHERE;
	case WEIR_AT_TIMINGS:
		return KEY("cache_n")	    ? COUNT(NATIVE_CACHED)
		       : KEY("prompt_n")    ? COUNT(NATIVE_FRESH)
		       : KEY("predicted_n") ? COUNT(NATIVE_OUTPUT)
					    : WEIR_AT_NOWHERE;
	case WEIR_AT_PROMPT_DETAILS:
	case WEIR_AT_INPUT_DETAILS:
		return KEY("cached_tokens")	   ? COUNT(CACHED)
		       : KEY("cache_write_tokens") ? COUNT(CACHE_WRITE)
		       : KEY("audio_tokens")	   ? COUNT(AUDIO)
		       : KEY("image_tokens")	   ? COUNT(IMAGE)
						   : WEIR_AT_NOWHERE;
	case WEIR_AT_COMPLETION_DETAILS:
	case WEIR_AT_OUTPUT_DETAILS:
		return KEY("reasoning_tokens") || KEY("thinking_tokens") ? COUNT(REASONING)
									 : WEIR_AT_NOWHERE;
	case WEIR_AT_COHERE_TOKENS:
		return KEY("input_tokens")    ? COUNT(INPUT)
		       : KEY("output_tokens") ? COUNT(OUTPUT)
					      : WEIR_AT_NOWHERE;
	case WEIR_AT_COHERE_BILLED:
		return KEY("input_tokens")    ? COUNT(NATIVE_PROMPT)
		       : KEY("output_tokens") ? COUNT(NATIVE_OUTPUT)
					      : WEIR_AT_NOWHERE;
	case WEIR_AT_SGLANG_FINISH:
		return KEY("type") ? WEIR_AT_FINISH : WEIR_AT_NOWHERE;
	case WEIR_AT_TOKEN:
		return KEY("text") ? WEIR_AT_TEXT : WEIR_AT_NOWHERE;
	case WEIR_AT_CALL:
		return KEY("arguments") || KEY("input") ? WEIR_AT_ARGUMENTS
		       : KEY("name")			? WEIR_AT_TEXT
							: WEIR_AT_NOWHERE;
	case WEIR_AT_DATUM:
		return KEY("embedding") || KEY("data") ? WEIR_AT_VECTOR
		       : KEY("score") || KEY("probs")  ? WEIR_AT_SCORE
						       : WEIR_AT_NOWHERE;
	}
#undef KEY
#undef COUNT
	return WEIR_AT_NOWHERE;
}

static uint8_t element_of(uint8_t place)
{
	switch (place) {
	case WEIR_AT_DOCUMENTS:
		return WEIR_AT_DOCUMENT;
	case WEIR_AT_CHOICES:
		return WEIR_AT_CHOICE;
	case WEIR_AT_CONTENT:
	case WEIR_AT_ITEMS:
		return WEIR_AT_ITEM;
	case WEIR_AT_TEXT:
		return WEIR_AT_TEXT;
	case WEIR_AT_PREFILL:
		return WEIR_AT_PREFILLED;
	case WEIR_AT_DATA:
		return WEIR_AT_DATUM;
	case WEIR_AT_RESULTS:
		return WEIR_AT_RESULT;
	}
	return WEIR_AT_NOWHERE;
}

uint8_t weir_usage_child(uint8_t place, const char *key, size_t len)
{
	if (!key)
		return element_of(place);
	switch (place) {
	case WEIR_AT_DOCUMENT:
		return of_document(key, len);
	case WEIR_AT_CHOICE:
		return of_choice(key, len);
	case WEIR_AT_SPEECH:
		return of_speech(key, len);
	case WEIR_AT_MESSAGE:
		return of_message(key, len);
	case WEIR_AT_DELTA:
		return of_delta(key, len);
	case WEIR_AT_ANSWER:
		return of_answer(key, len);
	case WEIR_AT_CONTENT:
	case WEIR_AT_ITEMS:
	case WEIR_AT_ITEM:
		return of_item(key, len);
	case WEIR_AT_USAGE:
	case WEIR_AT_START_USAGE:
		return of_usage(key, len);
	case WEIR_AT_META_INFO:
		return of_meta_info(key, len);
	case WEIR_AT_DETAILS:
		return of_details(key, len);
	}
	return of_rest(place, key, len);
}
