/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where servers say what an answer was and used (agent/metering.md, 2), as paths.
 */
#ifndef WEIR_REF_PLACES_H
#define WEIR_REF_PLACES_H

#include "ref_json.h"

enum ref_what {
	REF_NOTHING,
	REF_COUNT,	  /* count says which */
	REF_COUNTS,	  /* a place with counts in it; at its end they are settled */
	REF_START_COUNTS, /* likewise, at a stream's start: output is not counted yet */
	REF_MORE_COUNTS,  /* inside of one */
	REF_PREFILL,
	REF_PREFILLED,
	REF_DOCUMENT,
	REF_MODEL,
	REF_VERSION,
	REF_ID,
	REF_FINISH,
	REF_PROMPT_FINISH, /* of one prompt of several */
	REF_TYPE,
	REF_INDEX,
	REF_CHOICE,
	REF_OUTPUT, /* by being there */
	REF_TEXT,
	REF_WHOLE_TEXT, /* in a stream what was there already */
	REF_VECTOR,
	REF_SCORE,
};

enum ref_count {
	REF_PROMPT,
	REF_INPUT,
	REF_COMPLETION,
	REF_OUTPUT_TOKENS,
	REF_CACHED,
	REF_CACHE_WRITE,
	REF_AUDIO,
	REF_IMAGE,
	REF_READ_BESIDE,
	REF_WRITE_BESIDE,
	REF_REASONING,
	REF_TOTAL,
	REF_NATIVE_PROMPT,
	REF_NATIVE_FRESH,
	REF_NATIVE_CACHED,
	REF_NATIVE_OUTPUT,
	REF_COUNTS_N
};

struct ref_place {
	const char *path;
	unsigned want;
	enum ref_what what;
	enum ref_count count;
};

#define REF_OBJECT	WEIR_SCAN_OBJECT
#define REF_SETTLED	(WEIR_SCAN_OBJECT | WEIR_SCAN_KEY | WEIR_SCAN_END)
#define REF_DETAILS	(WEIR_SCAN_OBJECT | WEIR_SCAN_KEY)
#define REF_IS(n)	WEIR_SCAN_NUMBER | WEIR_SCAN_KEY, REF_COUNT, REF_##n
#define REF_SAYS(x)	WEIR_SCAN_STRING, REF_##x, 0
#define REF_VECTOR_WANT (WEIR_SCAN_OPEN | WEIR_SCAN_BYTES)

/* `usage` of whoever has one; where two names mean one count the first one in this list counts. */
static const struct ref_place ref_usage_places[] = {
	{ "prompt_tokens", REF_IS(PROMPT) },
	{ "input_tokens", REF_IS(INPUT) },
	{ "completion_tokens", REF_IS(COMPLETION) },
	{ "output_tokens", REF_IS(OUTPUT_TOKENS) },
	{ "total_tokens", REF_IS(TOTAL) },
	{ "prompt_tokens_details", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "prompt_tokens_details.cached_tokens", REF_IS(CACHED) },
	{ "prompt_tokens_details.cache_write_tokens", REF_IS(CACHE_WRITE) },
	{ "prompt_tokens_details.audio_tokens", REF_IS(AUDIO) },
	{ "prompt_tokens_details.image_tokens", REF_IS(IMAGE) },
	{ "input_tokens_details", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "input_tokens_details.cached_tokens", REF_IS(CACHED) },
	{ "input_tokens_details.cache_write_tokens", REF_IS(CACHE_WRITE) },
	{ "input_tokens_details.audio_tokens", REF_IS(AUDIO) },
	{ "input_tokens_details.image_tokens", REF_IS(IMAGE) },
	{ "input_token_details", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "input_token_details.cached_tokens", REF_IS(CACHED) },
	{ "input_token_details.cache_write_tokens", REF_IS(CACHE_WRITE) },
	{ "input_token_details.audio_tokens", REF_IS(AUDIO) },
	{ "input_token_details.image_tokens", REF_IS(IMAGE) },
	{ "cached_tokens", REF_IS(CACHED) },
	{ "cache_read_input_tokens", REF_IS(READ_BESIDE) },
	{ "cache_creation_input_tokens", REF_IS(WRITE_BESIDE) },
	{ "completion_tokens_details", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "completion_tokens_details.reasoning_tokens", REF_IS(REASONING) },
	{ "completion_tokens_details.thinking_tokens", REF_IS(REASONING) },
	{ "output_tokens_details", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "output_tokens_details.reasoning_tokens", REF_IS(REASONING) },
	{ "output_tokens_details.thinking_tokens", REF_IS(REASONING) },
	{ "output_token_details", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "output_token_details.reasoning_tokens", REF_IS(REASONING) },
	{ "output_token_details.thinking_tokens", REF_IS(REASONING) },
	{ "reasoning_tokens", REF_IS(REASONING) },
	{ "tokens", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "tokens.input_tokens", REF_IS(INPUT) },
	{ "tokens.output_tokens", REF_IS(OUTPUT_TOKENS) },
	{ "billed_units", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "billed_units.input_tokens", REF_IS(NATIVE_PROMPT) },
	{ "billed_units.output_tokens", REF_IS(NATIVE_OUTPUT) },
};

static const struct ref_place ref_meta_places[] = {
	{ "tokens", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "tokens.input_tokens", REF_IS(INPUT) },
	{ "tokens.output_tokens", REF_IS(OUTPUT_TOKENS) },
	{ "billed_units", REF_DETAILS, REF_MORE_COUNTS, 0 },
	{ "billed_units.input_tokens", REF_IS(NATIVE_PROMPT) },
	{ "billed_units.output_tokens", REF_IS(NATIVE_OUTPUT) },
	{ "cached_tokens", REF_IS(CACHED) },
};

static const struct ref_place ref_root_places[] = {
	{ "", WEIR_SCAN_OBJECT | WEIR_SCAN_OPEN | WEIR_SCAN_END, REF_DOCUMENT, 0 },
	{ "usage", REF_SETTLED, REF_COUNTS, 0 },
	{ "response.usage", REF_SETTLED, REF_COUNTS, 0 },
	{ "delta.usage", REF_SETTLED, REF_COUNTS, 0 },
	{ "message.usage", REF_SETTLED, REF_START_COUNTS, 0 },
	{ "meta", REF_SETTLED, REF_COUNTS, 0 },
	{ "response.meta", REF_SETTLED, REF_COUNTS, 0 },
	{ "meta_info", REF_SETTLED, REF_COUNTS, 0 },
	{ "meta_info.prompt_tokens", REF_IS(PROMPT) },
	{ "meta_info.completion_tokens", REF_IS(COMPLETION) },
	{ "meta_info.cached_tokens", REF_IS(CACHED) },
	{ "meta_info.reasoning_tokens", REF_IS(REASONING) },
	{ "meta_info.id", REF_SAYS(ID) },
	{ "meta_info.finish_reason", WEIR_SCAN_OBJECT | WEIR_SCAN_OPEN | WEIR_SCAN_STRING,
	  REF_PROMPT_FINISH, 0 },
	{ "meta_info.finish_reason.type", REF_SAYS(FINISH) },
	{ "details", REF_SETTLED, REF_COUNTS, 0 },
	{ "details.generated_tokens", REF_IS(NATIVE_OUTPUT) },
	{ "details.input_length", REF_IS(NATIVE_PROMPT) },
	{ "details.prefill", WEIR_SCAN_ARRAY | WEIR_SCAN_KEY, REF_PREFILL, 0 },
	{ "details.prefill[]", WEIR_SCAN_OPEN, REF_PREFILLED, 0 },
	{ "details.finish_reason", REF_SAYS(FINISH) },
	{ "timings", REF_SETTLED, REF_COUNTS, 0 },
	{ "timings.cache_n", REF_IS(NATIVE_CACHED) },
	{ "timings.prompt_n", REF_IS(NATIVE_FRESH) },
	{ "timings.predicted_n", REF_IS(NATIVE_OUTPUT) },
	{ "tokens_evaluated", REF_IS(NATIVE_PROMPT) },
	{ "tokens_predicted", REF_IS(NATIVE_OUTPUT) },
	{ "prompt_eval_count", REF_IS(NATIVE_PROMPT) },
	{ "eval_count", REF_IS(NATIVE_OUTPUT) },
	{ "model", REF_SAYS(MODEL) },
	{ "model_name", REF_SAYS(MODEL) },
	{ "message.model", REF_SAYS(MODEL) },
	{ "response.model", REF_SAYS(MODEL) },
	{ "system_fingerprint", REF_SAYS(VERSION) },
	{ "model_version", REF_SAYS(VERSION) },
	{ "id", REF_SAYS(ID) },
	{ "generation_id", REF_SAYS(ID) },
	{ "message.id", REF_SAYS(ID) },
	{ "response.id", REF_SAYS(ID) },
	{ "response.generation_id", REF_SAYS(ID) },
	{ "type", REF_SAYS(TYPE) },
	{ "index", WEIR_SCAN_KEY, REF_INDEX, 0 },
	{ "stop_type", REF_SAYS(FINISH) },
	{ "stop_reason", REF_SAYS(FINISH) },
	{ "done_reason", REF_SAYS(FINISH) },
	{ "finish_reason", REF_SAYS(FINISH) },
	{ "delta.stop_reason", REF_SAYS(FINISH) },
	{ "delta.finish_reason", REF_SAYS(FINISH) },
	{ "response.finish_reason", REF_SAYS(FINISH) },
	{ "message", REF_OBJECT, REF_NOTHING, 0 },
	{ "delta.message", REF_OBJECT, REF_NOTHING, 0 },
	{ "token", REF_OBJECT, REF_NOTHING, 0 },
	{ "response", WEIR_SCAN_OBJECT | WEIR_SCAN_BYTES, REF_TEXT, 0 },
	{ "delta", WEIR_SCAN_OBJECT | WEIR_SCAN_BYTES, REF_TEXT, 0 },
	{ "generated_text", WEIR_SCAN_BYTES, REF_WHOLE_TEXT, 0 },
	{ "data", WEIR_SCAN_ARRAY, REF_NOTHING, 0 },
	{ "data[]", REF_OBJECT, REF_NOTHING, 0 },
	{ "data[].embedding", REF_VECTOR_WANT, REF_VECTOR, 0 },
	{ "data[].data", REF_VECTOR_WANT, REF_VECTOR, 0 },
	{ "data[].score", WEIR_SCAN_KEY, REF_SCORE, 0 },
	{ "data[].probs", WEIR_SCAN_KEY, REF_SCORE, 0 },
	{ "results", WEIR_SCAN_ARRAY, REF_NOTHING, 0 },
	{ "results[]", WEIR_SCAN_OPEN, REF_VECTOR, 0 },
	{ "embedding", REF_VECTOR_WANT, REF_VECTOR, 0 },
	{ "embeddings", REF_VECTOR_WANT, REF_VECTOR, 0 },
};

/* Of an element of `choices` and `generations`. */
static const struct ref_place ref_choice_places[] = {
	{ "", WEIR_SCAN_OBJECT | WEIR_SCAN_END, REF_CHOICE, 0 },
	{ "message", REF_OBJECT, REF_NOTHING, 0 },
	{ "delta", REF_OBJECT, REF_NOTHING, 0 },
	{ "finish_reason", REF_SAYS(FINISH) },
};

static const struct ref_place ref_nowhere;

/* ------------------------------------------------------------ text */

/* What is behind `front` in a path: behind its dot; NULL: it does not begin so. */
static inline const char *ref_behind(const char *path, const char *front)
{
	size_t n = strlen(front);

	if (!n)
		return path;
	if (strncmp(path, front, n) || (path[n] && path[n] != '.' && path[n] != '['))
		return NULL;
	return path + n + (path[n] == '.');
}

static inline bool ref_one_of(const char *word, size_t n, const char *list)
{
	for (size_t len; *list; list += len + !!list[len]) {
		len = strcspn(list, " ");
		if (len == n && !strncmp(word, list, n))
			return true;
	}
	return false;
}

enum ref_texts { REF_IS_TEXT, REF_IS_CONTENT, REF_IS_ITEMS, REF_IS_ITEM, REF_IS_CALL, REF_IS_ARGS };

/* Texts, content of text or blocks, tool calls: what is wanted at `rest` inside of one. */
static inline struct ref_place ref_text_place(enum ref_texts is, const char *rest)
{
	static const struct ref_place self[] = {
		[REF_IS_TEXT] = { "", WEIR_SCAN_ARRAY | WEIR_SCAN_BYTES, REF_TEXT, 0 },
		[REF_IS_CONTENT] = { "", WEIR_SCAN_OBJECT | WEIR_SCAN_ARRAY | WEIR_SCAN_BYTES,
				     REF_TEXT, 0 },
		[REF_IS_ITEMS] = { "", WEIR_SCAN_OBJECT | WEIR_SCAN_ARRAY, REF_NOTHING, 0 },
		[REF_IS_ITEM] = { "", WEIR_SCAN_OBJECT | WEIR_SCAN_OPEN | WEIR_SCAN_BYTES,
				  REF_OUTPUT, 0 },
		[REF_IS_CALL] = { "", WEIR_SCAN_OBJECT | WEIR_SCAN_OPEN, REF_OUTPUT, 0 },
		[REF_IS_ARGS] = { "", WEIR_SCAN_BYTES, REF_TEXT, 0 },
	};
	size_t n = strcspn(rest, ".[");
	enum ref_texts next;

	if (!*rest)
		return self[is];
	if (!n) { /* an element */
		if (is > REF_IS_ITEMS)
			return ref_nowhere;
		return ref_text_place(is == REF_IS_TEXT ? is : REF_IS_ITEM,
				      rest + (rest[2] == '.' ? 3 : 2));
	}
	if (is == REF_IS_TEXT || is == REF_IS_ARGS)
		return ref_nowhere;
	if (is == REF_IS_CALL)
		next = ref_one_of(rest, n, "arguments input") ? REF_IS_ARGS
		       : ref_one_of(rest, n, "name")	      ? REF_IS_TEXT
							      : REF_IS_ITEMS;
	else
		next = ref_one_of(rest, n, "text name refusal")		 ? REF_IS_TEXT
		       : ref_one_of(rest, n, "input arguments")		 ? REF_IS_ARGS
		       : ref_one_of(rest, n, "custom function")		 ? REF_IS_CALL
		       : ref_one_of(rest, n, "content summary thinking") ? REF_IS_CONTENT
									 : REF_IS_ITEMS;
	if (next == REF_IS_ITEMS)
		return ref_nowhere;
	return ref_text_place(next, rest + n + (rest[n] == '.'));
}

/* What somebody says: `message` or `delta` of a choice, and the like. */
static inline struct ref_place ref_speech_place(const char *rest)
{
	static const char *const texts[] = { "refusal", "thinking", "reasoning", "tool_plan",
					     "reasoning_content" };
	const char *inside = ref_behind(rest, "content");

	if (inside && *rest)
		return ref_text_place(REF_IS_CONTENT, inside);
	inside = ref_behind(rest, "tool_calls");
	if (inside)
		return ref_text_place(REF_IS_ITEMS, inside);
	inside = ref_behind(rest, "function_call");
	if (inside)
		return ref_text_place(REF_IS_CALL, inside);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		inside = ref_behind(rest, texts[i]);
		if (inside)
			return ref_text_place(REF_IS_TEXT, inside);
	}
	return ref_nowhere;
}

/* ------------------------------------------------------------ all */

static inline struct ref_place ref_in(const struct ref_place *places, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(places[i].path, path))
			return places[i];
	return ref_nowhere;
}

#define REF_IN(places, path) ref_in(places, sizeof(places) / sizeof((places)[0]), path)

static inline struct ref_place ref_place_of(const char *path)
{
	static const char *const usages[] = { "usage", "response.usage", "delta.usage",
					      "message.usage" };
	static const char *const metas[] = { "meta", "response.meta" };
	static const char *const choices[] = { "choices", "generations" };
	static const char *const texts[] = { "text",	   "thinking",	     "text_output",
					     "delta.text", "delta.thinking", "delta.partial_json",
					     "token.text" };
	static const char *const speeches[] = { "message", "delta.message" };
	struct ref_place p = REF_IN(ref_root_places, path);
	const char *in;

	if (p.path)
		return p;
	for (size_t i = 0; i < 4; i++)
		if ((in = ref_behind(path, usages[i])))
			return REF_IN(ref_usage_places, in);
	for (size_t i = 0; i < 2; i++)
		if ((in = ref_behind(path, metas[i])))
			return REF_IN(ref_meta_places, in);
	for (size_t i = 0; i < 2; i++) {
		if (!(in = ref_behind(path, choices[i])))
			continue;
		if (!*in)
			return (struct ref_place){ path, WEIR_SCAN_ARRAY, REF_NOTHING, 0 };
		if (strncmp(in, "[]", 2) || (in[2] && in[2] != '.'))
			return ref_nowhere;
		in += in[2] ? 3 : 2;
		p = REF_IN(ref_choice_places, in);
		if (p.path)
			return p;
		if (!strncmp(in, "message.", 8) || !strncmp(in, "delta.", 6))
			return ref_speech_place(strchr(in, '.') + 1);
		in = ref_behind(in, "text");
		return in ? ref_text_place(REF_IS_TEXT, in) : ref_nowhere;
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if ((in = ref_behind(path, texts[i])))
			return ref_text_place(REF_IS_TEXT, in);
	if ((in = ref_behind(path, "content")))
		return ref_text_place(REF_IS_CONTENT, in);
	if ((in = ref_behind(path, "output")))
		return ref_text_place(REF_IS_ITEMS, in);
	for (size_t i = 0; i < 2; i++)
		if ((in = ref_behind(path, speeches[i])))
			return ref_speech_place(in);
	return ref_nowhere;
}

/* A path as text: "choices[].delta.content". Keys that no place has are '?'. */
static inline const char *ref_path_text(const struct ref_path *path, char *out, size_t room)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
	size_t n = 0;

	for (size_t i = 0; i < path->n; i++) {
		const struct ref_step *s = &path->step[i];
		bool plain = s->key.p && s->known && s->key.n && s->key.n < 40;

		for (size_t k = 0; plain && k < s->key.n; k++)
			plain = s->key.p[k] && strchr(letters, s->key.p[k]);
		CHECK(n + 44 < room);
		if (!s->key.p)
			n += (size_t)sprintf(out + n, "[]");
		else
			n += (size_t)sprintf(out + n, "%s%.*s", n ? "." : "",
					     plain ? (int)s->key.n : 1,
					     plain ? (const char *)s->key.p : "?");
	}
	out[n] = 0;
	return out;
}

#endif
