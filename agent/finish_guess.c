// SPDX-License-Identifier: Apache-2.0
/*
 * Counts that are ours: of what an answer carried, of what a request's body was long, and of what
 * an answer might have become whose client left (metering.md, 15 and 16). Every one is marked.
 */
#include "finish_priv.h"

#include <string.h>

#include "request_type.h"

/* No model's answer is longer: who asks for more than that, and leaves, asked for no number. */
#define FULL_MAX (INT64_C(1) << 20)

#define UNREAD_TOKEN 4	/* compressed bytes of a token, in a plain answer */
#define UNREAD_EVENT 16 /* likewise of an event of a stream */

static const char *type_of(const struct weir_row *row)
{
	return weir_request_type(row->path, strlen(row->path));
}

static bool is_one_of(const char *type, const char *const *types)
{
	while (type && *types)
		if (!strcmp(type, *types++))
			return true;
	return false;
}

/* In a coding that is never read (br): of its body only the length is known. */
static bool is_unread(const struct finish_case *c)
{
	return c->seen->coding == WEIR_BODY_CODED && c->seen->body_started;
}

/* ------------------------------------------------------------------ is there anything */

static bool runs_no_model(const char *type)
{
	static const char *const types[] = { "models", "tokenize", "detokenize", "count_tokens",
					     NULL };

	return is_one_of(type, types);
}

/* An answer that is no document: vectors as bytes, a transcript as plain text, speech. Is it a
 * model's, by what was asked for, and not a file or the server's own figures? */
static bool is_opaque_output(const struct finish_case *c, const struct weir_row *row)
{
	const char *type = type_of(row);

	return c->seen->opaque && c->seen->body_started && type && !runs_no_model(type) &&
	       row->status >= 200 && row->status < 300 && !strcmp(row->method, "POST");
}

/* What is no document is metered all the same, if a model made it: else who asks for it in that
 * form pays nothing. And where no model runs nothing is, whatever cannot be read of it. */
enum weir_usage_source finish_source(const struct finish_case *c, const struct weir_row *row,
				     enum weir_usage_source parsed)
{
	if (runs_no_model(type_of(row)) || (is_unread(c) && !strcmp(row->method, "GET")))
		return parsed == WEIR_USAGE_ESTIMATED ? WEIR_USAGE_NONE : parsed;
	return parsed == WEIR_USAGE_NONE && is_opaque_output(c, row) ? WEIR_USAGE_ESTIMATED
								     : parsed;
}

/* -------------------------------------------------------------------- what nobody said */

static void guess_output(struct weir_row *row, int64_t tokens)
{
	row->usage.output = tokens;
	row->flags2 |= WEIR_ROW_OUTPUT_GUESSED;
}

/* What is said to be reasoning is in it. */
static int64_t but_reasoning(const struct weir_row *row, int64_t tokens)
{
	return finish_known(tokens - finish_known(row->usage.reasoning));
}

/* A stream has at least a token an event: no fewer were produced, whatever the last report of
 * one that broke off says (Anthropic's first says 1). */
static void guess_streamed(const struct finish_case *c, struct weir_row *row)
{
	int64_t events = but_reasoning(row, c->seen->chunks);
	bool cut = row->usage_source == WEIR_USAGE_PARTIAL;

	if (!c->seen->chunks)
		return;
	if (row->usage.output == WEIR_UNKNOWN || (cut && row->usage.output < events))
		guess_output(row, events);
}

/* Of a plain answer nothing but its text can be measured. */
static void guess_plain(const struct finish_case *c, struct weir_row *row)
{
	uint64_t bytes = c->seen->text_bytes;

	if (!bytes || row->usage.output != WEIR_UNKNOWN)
		return;
	guess_output(row,
		     but_reasoning(row, weir_learnt_output(c->with->learnt, row->model, bytes)));
}

/* By its length, where a model writes text: a plain answer packs as much text into a byte of code
 * as there is around it; a stream packs each event by itself, and flushes it. */
static void guess_unread(const struct finish_case *c, struct weir_row *row)
{
	static const char *const writes[] = { "chat",	       "completion",  "response",
					      "message",       "generate",    "infill",
					      "transcription", "translation", NULL };

	if (row->usage.output == WEIR_UNKNOWN && is_one_of(type_of(row), writes))
		guess_output(row, (int64_t)(row->response_bytes /
					    (c->seen->stream ? UNREAD_EVENT : UNREAD_TOKEN)));
}

/* Of sound and pictures the length says nothing of tokens. */
static void guess_input(const struct finish_case *c, struct weir_row *row)
{
	static const char *const no_text[] = { "transcription", "translation", "image", NULL };

	if (row->usage.input != WEIR_UNKNOWN || row->request_bytes == UINT64_MAX ||
	    is_one_of(type_of(row), no_text))
		return;
	row->usage.input = weir_learnt_input(c->with->learnt, row->model, row->request_bytes);
	row->flags2 |= WEIR_ROW_INPUT_GUESSED;
}

static bool has_output(const struct finish_case *c, const struct weir_row *row)
{
	if (c->seen->opaque)
		return is_opaque_output(c, row);
	return c->seen->chunks || c->seen->text_bytes || row->usage.output > 0 ||
	       row->usage.reasoning > 0 || is_unread(c);
}

void finish_guess(const struct finish_case *c, struct weir_row *row)
{
	/* Of one that is not whole the input is only known to have been read if output came. */
	if (row->usage_source != WEIR_USAGE_ESTIMATED &&
	    !(row->usage_source == WEIR_USAGE_PARTIAL && has_output(c, row)))
		return;
	if (is_unread(c))
		guess_unread(c, row);
	else if (c->seen->stream)
		guess_streamed(c, row);
	else
		guess_plain(c, row);
	guess_input(c, row);
}

/* -------------------------------------------------------------- whose client left */

/* What an answer that is cut, by the agent or for its request's body, would have had is nobody's
 * guess: it is billed for what it had. */
bool finish_left(const struct finish_case *c, const struct weir_rec_end *end)
{
	return end->flags & WEIR_SLOT_LEFT && !c->seen->done && end->h.flags != WEIR_END_CUT &&
	       end->h.flags != WEIR_END_REFUSED;
}

static int64_t choices_of(const struct finish_case *c)
{
	return c->asked && c->asked->text.choices > 1 ? c->asked->text.choices : 1;
}

/* The model had said that it was done: an SDK that closes at "[DONE]" has had all of it, and is
 * just not there for the last chunk of the framing. Of several answers one may be done. */
static bool was_finished(const struct finish_case *c)
{
	return c->seen->finish_reason[0] && choices_of(c) == 1;
}

/* Was it an answer of a model's, as far as can be told? Not a list or a file. */
static bool is_generation(const struct finish_case *c, const struct weir_row *row)
{
	return !runs_no_model(type_of(row)) && (has_output(c, row) || c->seen->has_usage ||
						row->model[0] || row->model_requested[0]);
}

static int64_t output_asked_for(const struct finish_case *c, const struct weir_row *row)
{
	const struct weir_terms *terms = c->with->terms;
	int64_t choices = choices_of(c), tokens = row->max_tokens_requested;

	if (tokens == WEIR_UNKNOWN)
		tokens = terms->reserve_output_tokens;
	if (terms->max_output_tokens && tokens > terms->max_output_tokens)
		tokens = terms->max_output_tokens;
	return tokens > FULL_MAX / choices ? FULL_MAX : tokens * choices;
}

bool finish_aborted(const struct finish_case *c, const struct weir_row *row)
{
	return row->flags2 & WEIR_ROW_LEFT && row->status < 300 && !was_finished(c) &&
	       is_generation(c, row);
}

void finish_guess_full(const struct finish_case *c, struct weir_row *row)
{
	int64_t full = but_reasoning(row, output_asked_for(c, row));

	row->flags2 |= WEIR_ROW_ABORT_FULL;
	guess_input(c, row);
	if (row->usage.output < full)
		guess_output(row, full);
}
