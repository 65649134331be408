// SPDX-License-Identifier: Apache-2.0
/*
 * From places to what is known of an answer, document by document. Behind a hole (metering.md)
 * nothing is told to anybody until it is proven: counts stay in u, the model's name in a buffer of
 * its own.
 */
#include "usage.h"

#include <string.h>

#include "clean_text.h"
#include "usage_places.h"

enum behind {
	NO_HOLE,
	SEARCHING, /* for a key that may be the document's */
	READING,   /* on from one */
};

struct context {
	struct weir_usage_scan *u;
	struct weir_response_seen *seen;
	char *model;
};

/* ------------------------------------------------------------ documents */

static void document_starts(struct weir_usage_scan *u)
{
	weir_counts_document(&u->counts);
	u->document_bytes = 0;
	u->output = u->repeats = u->whole = u->indexed = u->finished = 0;
}

static void count_chunk(struct weir_response_seen *seen)
{
	if (seen->chunks < UINT32_MAX)
		seen->chunks++;
}

/* The second document of a body that was not said to have several: they are events. */
static void now_a_stream(struct weir_usage_scan *u, struct weir_response_seen *seen)
{
	seen->stream = 1;
	if (u->first_output)
		count_chunk(seen);
}

/* Its text was there before, or it is all the text up to here. */
static void text_of_stream(struct weir_usage_scan *u, struct weir_response_seen *seen)
{
	if (u->repeats) {
		u->output = 0;
		seen->text_bytes -= u->document_bytes;
	} else if (u->whole && u->document_bytes) {
		seen->text_bytes = u->document_bytes;
	}
}

static void document_ends(struct weir_usage_scan *u, struct weir_response_seen *seen)
{
	bool element = u->scan.depth != 0; /* of an array of documents */
	bool one_of_several = element || (u->indexed && u->whole);
	bool part = one_of_several && weir_counts_any(&u->counts) && (element || u->finished);

	if (seen->stream)
		text_of_stream(u, seen);
	if (u->counts.loose)
		weir_counts_settle(&u->counts, seen);
	u->several |= one_of_several;
	if (part)
		weir_counts_bank(&u->counts, seen);
	if (u->output && seen->stream)
		count_chunk(seen);
	if (!u->first_whole)
		u->first_output |= u->output;
	if (element)
		document_starts(u);
	else
		u->first_whole = 1;
}

/* ------------------------------------------------------------ what was found */

static bool ends_in(const struct weir_scan_found *f, const char *end, size_t n)
{
	return f->len >= n && !memcmp(f->text + f->len - n, end, n);
}

static void output(struct weir_usage_scan *u)
{
	u->output = u->produced = u->answered = 1;
}

static void text(struct weir_usage_scan *u, struct weir_response_seen *seen, int64_t n)
{
	seen->text_bytes += (uint64_t)n;
	u->document_bytes += (uint64_t)n;
	output(u);
}

static void found_string(struct context *c, uint8_t place, const struct weir_scan_found *f)
{
	struct weir_response_seen *seen = c->seen;

#define INTO(field) weir_clean_text(seen->field, sizeof(seen->field), f->text, f->len)
	switch (place) {
	case WEIR_AT_VERSION:
		INTO(model_version);
		break;
	case WEIR_AT_ID:
		INTO(response_id);
		break;
	case WEIR_AT_SGLANG_FINISH:
		c->u->finished = 1;
		INTO(finish_reason);
		break;
	case WEIR_AT_FINISH:
		if (f->len != 4 || memcmp(f->text, "none", 4)) /* llama.cpp: not yet */
			INTO(finish_reason);
		break;
	case WEIR_AT_TYPE:
		c->u->repeats = ends_in(f, ".done", 5);
		break;
	}
#undef INTO
}

/* A key, whatever its value: it replaces what the same key said before in this document. */
static void found_key(struct weir_usage_scan *u, uint8_t place)
{
	struct weir_counts *counts = &u->counts;
	uint8_t parent = u->scan.stack[u->scan.depth - 1], p;

	if (place >= WEIR_AT_COUNT) {
		weir_counts_forget(counts, place - WEIR_AT_COUNT, parent);
		return;
	}
	switch (place) {
	case WEIR_AT_INDEX:
		u->indexed = 1;
		return;
	case WEIR_AT_SCORE:
		u->answered = 1;
		return;
	case WEIR_AT_META_INFO:
		u->whole = 1;
		break;
	case WEIR_AT_USAGE:
	case WEIR_AT_START_USAGE:
	case WEIR_AT_COHERE_META:
		for (p = WEIR_AT_PROMPT_DETAILS; p <= WEIR_AT_COHERE_BILLED; p++)
			weir_counts_forget_place(counts, p);
		break;
	case WEIR_AT_PREFILL:
		place = WEIR_AT_PREFILLED;
		break;
	}
	weir_counts_forget_place(counts, place);
}

static void found_open(struct context *c, uint8_t place)
{
	struct weir_counts *counts = &c->u->counts;
	const int prompt = WEIR_COUNT_NATIVE_PROMPT;

	switch (place) {
	case WEIR_AT_DOCUMENT:
	case WEIR_AT_DOCUMENTS:
		if (c->u->scan.depth != 1)
			break;
		c->u->several |= place == WEIR_AT_DOCUMENTS && !c->seen->stream;
		document_starts(c->u);
		if (c->u->first_whole && !c->seen->stream)
			now_a_stream(c->u, c->seen);
		break;
	case WEIR_AT_PREFILLED:
		weir_counts_set(counts, prompt, place,
				counts->from[prompt] == place ? counts->of[prompt] + 1 : 1);
		break;
	case WEIR_AT_SGLANG_FINISH:
		c->u->finished = 1;
		break;
	case WEIR_AT_VECTOR:
	case WEIR_AT_RESULT:
		c->u->answered = 1;
		break;
	default:
		output(c->u);
	}
}

static void found_end(struct context *c, uint8_t place)
{
	switch (place) {
	case WEIR_AT_DOCUMENT:
		document_ends(c->u, c->seen);
		break;
	case WEIR_AT_DOCUMENTS:
		c->u->first_whole = 1;
		break;
	case WEIR_AT_CHOICE: /* in a stream it is the delta that matters: first and last are empty
			      */
		if (!c->seen->stream)
			output(c->u);
		break;
	default:
		weir_counts_settle(&c->u->counts, c->seen);
		c->u->provisional = place == WEIR_AT_START_USAGE;
	}
}

static void found_bytes(struct context *c, uint8_t place, int64_t n)
{
	if (place == WEIR_AT_VECTOR)
		c->u->answered = 1;
	else if (place != WEIR_AT_WHOLE_TEXT || !c->seen->stream)
		text(c->u, c->seen, n);
}

static void found(void *ctx, uint8_t place, const struct weir_scan_found *f)
{
	struct context *c = ctx;
	bool proven = c->u->behind == NO_HOLE;

	if (f->event == WEIR_SCAN_IS_NUMBER)
		weir_counts_set(&c->u->counts, place - WEIR_AT_COUNT,
				c->u->scan.stack[c->u->scan.depth - 1], f->number);
	else if (f->event == WEIR_SCAN_IS_KEY)
		found_key(c->u, place);
	else if (place == WEIR_AT_MODEL)
		weir_clean_text(c->model, sizeof(c->seen->model), f->text, f->len);
	else if (!proven)
		return;
	else if (f->event == WEIR_SCAN_IS_BYTES)
		found_bytes(c, place, f->number);
	else if (f->event == WEIR_SCAN_IS_STRING)
		found_string(c, place, f);
	else if (f->event == WEIR_SCAN_IS_OPEN)
		found_open(c, place);
	else
		found_end(c, place);
}

static const struct weir_scan_schema schema = { .want = weir_usage_want,
						.child = weir_usage_child,
						.found = found };

/* ------------------------------------------------------------ behind a hole */

/* What was read since is not the document's, or may not be. */
static void search_again(struct weir_usage_scan *u, char *model)
{
	weir_counts_init(&u->counts);
	memset(&u->tail, 0, sizeof(u->tail));
	memset(model, 0, sizeof(((struct weir_response_seen *)0)->model));
	u->behind = SEARCHING;
}

void weir_usage_behind_hole(struct weir_usage_scan *u, const struct weir_response_seen *seen,
			    char *model)
{
	weir_usage_lost(u);
	if (!seen->has_usage)
		search_again(u, model);
}

static bool only_blanks(const uint8_t **p, const uint8_t *end)
{
	while (*p < end && memchr(" \t\r\n", **p, 4))
		++*p;
	return *p == end;
}

static void feed_behind_hole(struct context *c, const uint8_t *p, const uint8_t *end)
{
	struct weir_usage_scan *u = c->u;

	while (p < end) {
		if (u->behind == SEARCHING) {
			if (!weir_json_tail_next(&u->tail, &u->scan.text, &p, end))
				return;
			u->behind = READING;
			weir_scan_enter(&u->scan, &schema, c);
			continue;
		}
		p += weir_scan_feed(&u->scan, &schema, c, p, (size_t)(end - p));
		if (weir_scan_dead(&u->scan) || !only_blanks(&p, end))
			search_again(u, c->model);
	}
}

void weir_usage_end(struct weir_usage_scan *u, struct weir_response_seen *seen, const char *model)
{
	if (u->behind != READING || !weir_scan_over(&u->scan))
		return;
	u->behind = NO_HOLE;
	if (!u->counts.loose)
		return;
	weir_counts_settle(&u->counts, seen);
	if (*model)
		memcpy(seen->model, model, sizeof(seen->model));
}

/* ------------------------------------------------------------ */

void weir_usage_init(struct weir_usage_scan *u)
{
	memset(u, 0, sizeof(*u));
	weir_counts_init(&u->counts);
}

void weir_usage_head(struct weir_usage_scan *u, struct weir_response_seen *seen,
		     enum weir_count what, int64_t n)
{
	weir_counts_set(&u->counts, what, 0, n);
	weir_counts_settle(&u->counts, seen);
}

size_t weir_usage_feed(struct weir_usage_scan *u, struct weir_response_seen *seen, char *model,
		       const uint8_t *bytes, size_t n)
{
	struct context c = { u, seen, u->behind ? model : seen->model };
	size_t took;

	if (u->behind) {
		feed_behind_hole(&c, bytes, bytes + n);
		return n;
	}
	took = weir_scan_feed(&u->scan, &schema, &c, bytes, n);
	return weir_scan_dead(&u->scan) && !weir_scan_too_deep(&u->scan) ? n : took;
}

void weir_usage_next(struct weir_usage_scan *u)
{
	weir_scan_reset(&u->scan);
}

void weir_usage_lost(struct weir_usage_scan *u)
{
	weir_scan_reset(&u->scan); /* dead, and of no level */
	weir_scan_kill(&u->scan);
	weir_counts_lost(&u->counts);
}

bool weir_usage_too_deep(const struct weir_usage_scan *u)
{
	return !u->behind && weir_scan_too_deep(&u->scan);
}

bool weir_usage_complete(const struct weir_usage_scan *u, const struct weir_response_seen *seen)
{
	const struct weir_usage *usage = &seen->usage;
	bool output = usage->output != WEIR_UNKNOWN || usage->reasoning != WEIR_UNKNOWN;

	return usage->input != WEIR_UNKNOWN && (output || !u->produced) && !u->provisional &&
	       (!u->several || u->first_whole);
}
