// SPDX-License-Identifier: Apache-2.0
/*
 * The JSON of an answer, as the scanner of version 3 had read it: containers that are open, what
 * was counted in them, and the token that is being read. Numbers of states and places are those of
 * then.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "state_old.h"

enum {
	DOCUMENT,
	FIRST_KEY,
	NEXT_KEY,
	KEY,
	COLON,
	FOR_VALUE,
	FIRST_ELEMENT,
	NEXT,
	STRING,
	FILLED,
	SKIP_STRING,
	NUMBER,
	SKIP_SCALAR,
	NESTED,
	NESTED_STRING,
	DEAD,
};
enum { NUMBER_BAD = 1, NUMBER_DIGITS = 2, NUMBER_FRACTION = 4 };

/* Places. */
enum {
	NOWHERE,
	ROOT,
	MODEL,
	ID,
	TYPE,
	FINISH,
	CHOICES,
	CHOICE,
	CHOICE_DELTA,
	MESSAGE,
	ANSWER,
	DELTA,
	USAGE,
	START_USAGE,
	INPUT_DETAILS,
	OUTPUT_DETAILS,
	TIMINGS,
	TEXT,
	ITEMS,
	ITEM,
	OBJECT,
	DATA,
	DATUM,
	EMBEDDING,
	COUNT, /* COUNT + what follows */
};

enum {
	PROMPT,
	INPUT,
	OUTPUT,
	CACHED,
	CACHE_WRITE,
	READ_BESIDE,
	WRITE_BESIDE,
	REASONING,
	NATIVE_PROMPT,
	NATIVE_FRESH,
	NATIVE_CACHED,
	NATIVE_OUTPUT,
	AUDIO,
	IMAGE,
};

void weir_story_tell(struct weir_story *s, const char *fmt, ...)
{
	size_t room = sizeof(s->text) - s->n;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(s->text + s->n, room, fmt, args);
	va_end(args);
	if (n > 0)
		s->n += (size_t)n < room ? (size_t)n : room - 1;
}

static void tell_byte(struct weir_story *s, char c)
{
	if (s->n < sizeof(s->text))
		s->text[s->n++] = c;
}

/* A key by which the place `node` is reached in `in`. */
static const char *key_of(const struct weir_story *s, uint8_t in, uint8_t node)
{
	bool beside = s->old->counts[PROMPT] == WEIR_UNKNOWN;

	switch (node) {
	case MODEL:
		return "model";
	case ID:
		return "id";
	case TYPE:
		return "type";
	case FINISH:
		return in == CHOICE ? "finish_reason" : "stop_reason";
	case CHOICES:
		return "choices";
	case CHOICE_DELTA:
	case DELTA:
		return "delta";
	case MESSAGE:
		return "message";
	case ANSWER:
		return "response";
	case USAGE:
	case START_USAGE:
		return "usage";
	case INPUT_DETAILS:
		return beside ? "input_tokens_details" : "prompt_tokens_details";
	case OUTPUT_DETAILS:
		return beside ? "output_tokens_details" : "completion_tokens_details";
	case TIMINGS:
		return "timings";
	case TEXT:
		return in == CHOICE ? "text" : "content";
	case ITEMS:
		return in == ROOT ? "output" : "tool_calls";
	case OBJECT:
		return "function_call";
	case DATA:
		return "data";
	case EMBEDDING:
		return "embedding";
	case COUNT + PROMPT:
		return "prompt_tokens";
	case COUNT + INPUT:
		return "input_tokens";
	case COUNT + OUTPUT:
		return beside ? "output_tokens" : "completion_tokens";
	case COUNT + CACHED:
		return "cached_tokens";
	case COUNT + CACHE_WRITE:
		return "cache_write_tokens";
	case COUNT + READ_BESIDE:
		return "cache_read_input_tokens";
	case COUNT + WRITE_BESIDE:
		return "cache_creation_input_tokens";
	case COUNT + REASONING:
		return "reasoning_tokens";
	case COUNT + NATIVE_PROMPT:
		return "prompt_eval_count";
	case COUNT + NATIVE_FRESH:
		return "prompt_n";
	case COUNT + NATIVE_CACHED:
		return "cache_n";
	case COUNT + NATIVE_OUTPUT:
		return in == TIMINGS ? "predicted_n" : "eval_count";
	case COUNT + AUDIO:
		return "audio_tokens";
	case COUNT + IMAGE:
		return "image_tokens";
	}
	return "_";
}

/* Where a count stands that was read before. */
static uint8_t home_of(const struct weir_story *s, uint8_t count)
{
	const int64_t *c = s->old->counts;

	switch (count) {
	case CACHED:
	case CACHE_WRITE:
	case AUDIO:
	case IMAGE:
		return INPUT_DETAILS;
	case REASONING:
		return OUTPUT_DETAILS;
	case NATIVE_FRESH:
	case NATIVE_CACHED:
		return TIMINGS;
	case NATIVE_OUTPUT:
		if (c[NATIVE_FRESH] != WEIR_UNKNOWN || c[NATIVE_CACHED] != WEIR_UNKNOWN)
			return TIMINGS;
		return ROOT;
	case NATIVE_PROMPT:
		return ROOT;
	}
	return USAGE;
}

static bool is_on_stack(const struct weir_scan_3 *j, uint8_t node)
{
	return memchr(j->stack, node, j->depth);
}

static void tell_counts(struct weir_story *s, uint8_t home)
{
	for (uint8_t i = 0; i < WEIR_COUNTS_3; i++)
		if (s->old->counts[i] != WEIR_UNKNOWN && home_of(s, i) == home)
			weir_story_tell(s, "\"%s\":%lld,", key_of(s, home, COUNT + i),
					(long long)s->old->counts[i]);
}

static void tell_closed(struct weir_story *s, const struct weir_scan_3 *j, uint8_t in,
			uint8_t node);

/* What was read in an object before, each member with its comma; j: what is still open. */
static void tell_members(struct weir_story *s, const struct weir_scan_3 *j, uint8_t node)
{
	uint8_t home = node == START_USAGE ? USAGE : node;

	tell_counts(s, home);
	if (home == ROOT) {
		tell_closed(s, j, node, s->old->provisional ? START_USAGE : USAGE);
		tell_closed(s, j, node, TIMINGS);
	} else if (home == USAGE) {
		tell_closed(s, j, node, INPUT_DETAILS);
		tell_closed(s, j, node, OUTPUT_DETAILS);
	}
}

/* A container that was whole, if anything of it is known. */
static void tell_closed(struct weir_story *s, const struct weir_scan_3 *j, uint8_t in, uint8_t node)
{
	size_t start = s->n, members;

	if (is_on_stack(j, node))
		return;
	weir_story_tell(s,
			node == START_USAGE ? "\"type\":\"message_start\",\"message\":{\"%s\":{"
					    : "\"%s\":{",
			key_of(s, in, node));
	members = s->n;
	tell_members(s, j, node);
	if (s->n == members)
		s->n = start;
	else
		weir_story_tell(s, node == START_USAGE ? "\"_\":0}}," : "\"_\":0},");
}

/* The start of a string, in any escape that it was cut in. */
static void tell_string(struct weir_story *s, const struct weir_string *t)
{
	static const uint8_t digits[] = { [2] = 0, [3] = 1, [4] = 2, [5] = 3 };

	weir_story_tell(s, "\"");
	for (uint8_t i = 0; i < t->len && i < sizeof(t->bytes); i++) {
		uint8_t c = (uint8_t)t->bytes[i];

		if (c < ' ' || c == '"' || c == '\\')
			weir_story_tell(s, "\\u%04x", c);
		else
			tell_byte(s, (char)c);
	}
	if (t->cut)
		weir_story_tell(s, "\\q"); /* nothing behind it is kept */
	if (t->surrogate)
		weir_story_tell(s, "\\u%04x", t->surrogate);
	if (t->escaping == 1 || t->escaping == 7) /* behind a backslash */
		weir_story_tell(s, "\\");
	if (t->escaping < 2 || t->escaping > 5)
		return;
	weir_story_tell(s, "\\u");
	for (int i = digits[t->escaping]; i > 0; i--)
		weir_story_tell(s, "%x", t->unit >> 4 * (i - 1) & 0xf);
}

static void tell_number(struct weir_story *s, const struct weir_scan_3 *j)
{
	if (j->flags & NUMBER_BAD)
		weir_story_tell(s, "-");
	if (j->flags & (NUMBER_DIGITS | NUMBER_BAD))
		weir_story_tell(s, "%llu", (unsigned long long)j->number);
	if (j->flags & NUMBER_FRACTION)
		weir_story_tell(s, ".");
}

static void tell_nested(struct weir_story *s, const struct weir_scan_3 *j)
{
	for (uint8_t i = 0; i < j->nested && i < 64; i++)
		tell_byte(s, j->nested_arrays >> i & 1 ? '[' : '{');
	if (j->state == NESTED_STRING)
		weir_story_tell(s, "\"%s", j->text.escaping ? "\\" : "");
}

/* Of the value that is being read, what was. */
static void tell_value(struct weir_story *s, const struct weir_scan_3 *j)
{
	switch (j->state) {
	case STRING:
		tell_string(s, &j->text);
		break;
	case FILLED:
		weir_story_tell(s, "\"");
		break;
	case SKIP_STRING:
		weir_story_tell(s, "\"%s", j->text.escaping ? "\\" : "");
		break;
	case NUMBER:
		tell_number(s, j);
		break;
	case SKIP_SCALAR:
		weir_story_tell(s, "n"); /* a number goes on as well */
		break;
	case NESTED:
	case NESTED_STRING:
		tell_nested(s, j);
		break;
	}
}

static void tell_in_array(struct weir_story *s, const struct weir_scan_3 *j)
{
	if (j->state == NEXT)
		weir_story_tell(s, "0");
	else if (j->state != FIRST_ELEMENT) /* not the first, as far as anybody knows */
		weir_story_tell(s, "0,");
	tell_value(s, j);
}

static void tell_in_object(struct weir_story *s, const struct weir_scan_3 *j, uint8_t in)
{
	bool skipped = j->state == NESTED || j->state == NESTED_STRING;

	switch (j->state) {
	case FIRST_KEY:
		return;
	case NEXT_KEY:
		weir_story_tell(s, "\"_\":0,");
		return;
	case KEY:
		tell_string(s, &j->text);
		return;
	case NEXT:
		weir_story_tell(s, "\"_\":0");
		return;
	case COLON:
		weir_story_tell(s, "\"%s\"", key_of(s, in, j->node));
		return;
	}
	/* What was not descended into may be by today's: which would not know where it is. */
	weir_story_tell(s, "\"%s\":", skipped ? "_" : key_of(s, in, j->node));
	tell_value(s, j);
}

/* That there was some: of this document, or of the answer whose only one it is. */
static void tell_output(struct weir_story *s, bool only)
{
	if (s->old->document_output || (only && s->old->produced))
		weir_story_tell(s, "\"content\":\"x\",");
	else if (only && s->old->answered)
		weir_story_tell(s, "\"data\":[{\"embedding\":\"x\"}],");
}

/* All of it, as members of a document. */
static void tell_known(struct weir_story *s)
{
	static const struct weir_scan_3 nothing_open;

	tell_output(s, true);
	tell_members(s, &nothing_open, ROOT);
}

/*
 * The document being read, as far as it was: each open container up to the one that is read, and in
 * it the place. only: with what was read in them before. An array whose elements are skipped is
 * skipped with them.
 */
void weir_story_document(struct weir_story *s, bool only)
{
	const struct weir_scan_3 *j = &s->old->scan;
	bool skipped = j->state == NESTED || j->state == NESTED_STRING;
	uint8_t depth = j->depth <= sizeof(j->stack) ? j->depth : 0;

	if (j->state == DEAD) {
		weir_story_tell(s, "{");
		if (only)
			tell_known(s);
		weir_story_tell(s, "]");
		return;
	}
	for (uint8_t i = 0; i < depth; i++) {
		bool array = j->arrays >> i & 1, last = i + 1 == depth;
		bool in_array = i && (j->arrays >> (i - 1) & 1);

		if (i && !in_array)
			weir_story_tell(s, "\"%s\":",
					array && last && skipped
						? "_"
						: key_of(s, j->stack[i - 1], j->stack[i]));
		tell_byte(s, array ? '[' : '{');
		if (!i && !(last && j->state == FIRST_KEY))
			tell_output(s, only);
		if (only && !array && !(last && j->state == FIRST_KEY))
			tell_members(s, j, j->stack[i]);
		if (last && array && skipped)
			tell_nested(s, j);
		else if (last && array)
			tell_in_array(s, j);
		else if (last)
			tell_in_object(s, j, j->stack[i]);
	}
}

bool weir_story_in_document(const struct weir_response_3 *old)
{
	return old->scan.depth || old->scan.state == DEAD;
}

void weir_story_earlier(struct weir_story *s, const char *before, const char *after)
{
	size_t start = s->n, members;

	weir_story_tell(s, "%s{", before);
	members = s->n;
	tell_known(s);
	if (s->n == members)
		s->n = start;
	else
		weir_story_tell(s, "\"_\":0}%s", after);
}
