/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent of version 3 knew of an answer in mid-parse, as it laid that out. For state_old.c
 * and state_old_answer.c alone.
 */
#ifndef WEIR_STATE_OLD_H
#define WEIR_STATE_OLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json_text.h"
#include "response.h"

struct weir_http1_3 {
	uint64_t left; /* of body or chunk; Content-Length while the head is read */
	uint32_t head_bytes;
	uint16_t status;
	uint8_t phase, flags, type;
	uint8_t line_len;
	char line[46]; /* start of the header line being read */
};

struct weir_scan_3 {
	uint64_t number;
	uint64_t nested_arrays; /* bit i: level i of what is skipped is an array */
	uint8_t state;
	uint8_t depth;
	uint8_t node;	/* of the value being read */
	uint8_t arrays; /* bit i: level i of stack is an array */
	uint8_t nested;
	uint8_t flags;
	uint8_t pad[2];
	uint8_t stack[8];
	struct weir_string text; /* a string or key */
};

#define WEIR_COUNTS_3 14

struct weir_response_3 {
	uint16_t status;
	uint8_t stream, done, has_usage, bad, body_started, pad;
	uint32_t chunks, pad2;
	struct weir_usage usage;
	int64_t audio, image;
	char model[64], response_id[64], finish_reason[16];
	struct weir_http1_3 http;
	struct weir_scan_3 scan;
	int64_t counts[WEIR_COUNTS_3]; /* WEIR_UNKNOWN */
	uint8_t document_output;       /* the document being read carries output */
	uint8_t produced;	       /* text was produced */
	uint8_t answered;	       /* something metered was: text or embeddings */
	uint8_t provisional;	       /* usage is that of a stream's start only */
	uint8_t pad3[4];
	uint8_t sse_phase, sse_matched, sse_after_cr;
	uint8_t sse_has_data;
	uint8_t lost; /* bytes are missing */
	uint8_t pad4[3];
};
_Static_assert(sizeof(struct weir_response_3) == 512, "weir_response, version 3");

/* -- for these files alone: what is told to today's parser */

/* Longer than this none is: eight containers, three strings of 64 bytes. */
struct weir_story {
	const struct weir_response_3 *old;
	char text[4096];
	size_t n;
};

void weir_story_tell(struct weir_story *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Is the old scanner in the midst of a document? */
bool weir_story_in_document(const struct weir_response_3 *old);

/* The document being read, as far as it was. only: it is the answer's only one, and has all that
 * was read in it before. */
void weir_story_document(struct weir_story *s, bool only);

/* A whole document that says what is known, between two words; nothing, if
 * nothing is. */
void weir_story_earlier(struct weir_story *s, const char *before, const char *after);

/* Today's parser, as far as that one was. */
void weir_response_of_3(const struct weir_response_3 *old, struct weir_response *r);

#endif
