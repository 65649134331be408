/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places where servers say what an answer was and used, as a tree for the JSON scanner.
 */
#ifndef WEIR_USAGE_PLACES_H
#define WEIR_USAGE_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "usage_counts.h"

enum weir_place {
	WEIR_AT_NOWHERE,
	WEIR_AT_DOCUMENT,  /* 1 and 2: as the scanner has it */
	WEIR_AT_DOCUMENTS, /* an array of them */
	WEIR_AT_MODEL,
	WEIR_AT_VERSION,
	WEIR_AT_ID,
	WEIR_AT_TYPE,
	WEIR_AT_INDEX, /* of several prompts in one stream (SGLang) */
	WEIR_AT_FINISH,
	/* with counts in them */
	WEIR_AT_USAGE,
	WEIR_AT_START_USAGE, /* of message_start: output is not counted yet */
	WEIR_AT_META_INFO,   /* SGLang */
	WEIR_AT_COHERE_META, /* `meta` */
	WEIR_AT_DETAILS,     /* TGI */
	WEIR_AT_TIMINGS,     /* llama.cpp */
	/* in these */
	WEIR_AT_PROMPT_DETAILS,
	WEIR_AT_COMPLETION_DETAILS,
	WEIR_AT_INPUT_DETAILS,
	WEIR_AT_OUTPUT_DETAILS,
	WEIR_AT_COHERE_TOKENS,
	WEIR_AT_COHERE_BILLED,
	WEIR_AT_PREFILL, /* tokens of the prompt, one by one */
	WEIR_AT_PREFILLED,
	WEIR_AT_SGLANG_FINISH,
	/* output */
	WEIR_AT_CHOICES,
	WEIR_AT_CHOICE,
	WEIR_AT_SPEECH,	    /* message or delta of a choice */
	WEIR_AT_MESSAGE,    /* Anthropic's message_start; Ollama's piece; Cohere's */
	WEIR_AT_ANSWER,	    /* `response`: an object of OpenAI's Responses, text of Ollama */
	WEIR_AT_DELTA,	    /* an object of Anthropic and Cohere, text of OpenAI's Responses */
	WEIR_AT_TEXT,	    /* a string, or several */
	WEIR_AT_WHOLE_TEXT, /* of a stream it repeats what was there piece by piece */
	WEIR_AT_TOKEN,	    /* TGI */
	WEIR_AT_CONTENT,    /* a string, a block or blocks */
	WEIR_AT_ITEMS,	    /* tool calls, output items */
	WEIR_AT_ITEM,	    /* one, or a block of content */
	WEIR_AT_CALL,	    /* its `function` */
	WEIR_AT_ARGUMENTS,  /* a string or an object */
	/* an answer that is no text */
	WEIR_AT_DATA,
	WEIR_AT_DATUM,
	WEIR_AT_VECTOR,
	WEIR_AT_RESULTS, /* of a reranker */
	WEIR_AT_RESULT,
	WEIR_AT_SCORE,
	WEIR_AT_COUNT, /* + enum weir_count */
	WEIR_PLACES = WEIR_AT_COUNT + WEIR_COUNTS
};

/* For struct weir_scan_schema. */
extern const uint16_t weir_usage_want[WEIR_PLACES];
uint8_t weir_usage_child(uint8_t place, const char *key, size_t len);

#endif
