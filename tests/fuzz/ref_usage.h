/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the documents of an answer say about it, one after another: what a document says is a list
 * of places and counts; at its end, or at that of a place with counts, the list is looked through
 * for each count there is.
 */
#ifndef WEIR_REF_USAGE_H
#define WEIR_REF_USAGE_H

#include "agent/clean_text.h"
#include "agent/response.h"
#include "ref_places.h"

#define REF_PATH 512
#define REF_SAID 256

struct ref_fact {
	char path[96];
	enum ref_count count;
	int64_t n;
};

struct ref_answer {
	struct weir_response_seen seen; /* as far as documents go */
	int64_t counts[REF_COUNTS_N];	/* of the answer, or of its part that is not whole yet */
	struct weir_usage base;		/* its parts that are */
	bool several;			/* its usage is a sum over documents */
	bool banked, produced, answered, provisional, first_whole, first_output;
	/* of the document being read */
	struct ref_fact said[REF_SAID];
	size_t n_said;
	int64_t before[REF_COUNTS_N]; /* counts at its start */
	bool ever[REF_COUNTS_N];      /* said, be it taken back */
	bool changed, output, repeats, whole, indexed, finished;
	uint64_t text_bytes;
};

static inline void ref_answer_init(struct ref_answer *a)
{
	memset(a, 0, sizeof(*a));
	a->seen.usage = (struct weir_usage){ WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN,
					     WEIR_UNKNOWN };
	a->seen.audio = a->seen.image = WEIR_UNKNOWN;
	for (int i = 0; i < REF_COUNTS_N; i++)
		a->counts[i] = WEIR_UNKNOWN;
}

/* ------------------------------------------------------------ counts */

static inline bool ref_known(int64_t n)
{
	return n != WEIR_UNKNOWN;
}

/* The part, cut to the whole, which is less by it then. */
static inline int64_t ref_part(int64_t *whole, int64_t part)
{
	if (!ref_known(part) || !ref_known(*whole))
		return part;
	part = part < *whole ? part : *whole;
	*whole -= part;
	return part;
}

static inline int64_t ref_plus(int64_t a, int64_t b)
{
	return !ref_known(a) || !ref_known(b) || a > INT64_MAX - b ? WEIR_UNKNOWN : a + b;
}

static inline int64_t ref_first(int64_t a, int64_t b)
{
	return ref_known(a) ? a : b;
}

/* Disjoint (metering.md, 8): what details claim is taken out of the whole. */
static inline void ref_disjoint(struct ref_answer *a)
{
	const int64_t *c = a->counts;
	struct weir_usage *u = &a->seen.usage;
	int64_t read =
		ref_first(ref_first(c[REF_CACHED], c[REF_READ_BESIDE]), c[REF_NATIVE_CACHED]);
	int64_t write = ref_first(c[REF_CACHE_WRITE], c[REF_WRITE_BESIDE]);
	int64_t output =
		ref_first(ref_first(c[REF_COMPLETION], c[REF_OUTPUT_TOKENS]), c[REF_NATIVE_OUTPUT]);
	bool part = true;

	if (ref_known(c[REF_PROMPT])) {
		u->input = c[REF_PROMPT];
	} else if (ref_known(c[REF_INPUT])) { /* Anthropic's caches stand beside it */
		u->input = c[REF_INPUT];
		part = ref_known(c[REF_CACHED]) || ref_known(c[REF_CACHE_WRITE]);
	} else if (ref_known(c[REF_NATIVE_PROMPT])) {
		u->input = c[REF_NATIVE_PROMPT];
	} else if (!ref_known(output) && ref_known(c[REF_TOTAL])) {
		u->input = c[REF_TOTAL];
	} else {
		u->input = c[REF_NATIVE_FRESH];
		part = false;
	}
	u->cache_read = part ? ref_part(&u->input, read) : read;
	u->cache_write = part ? ref_part(&u->input, write) : write;
	a->seen.audio = ref_part(&u->input, c[REF_AUDIO]);
	a->seen.image = ref_part(&u->input, c[REF_IMAGE]);
	u->output = output;
	u->reasoning = ref_part(&u->output, c[REF_REASONING]);
	if (a->banked) {
		u->input = ref_plus(u->input, a->base.input);
		u->cache_read = ref_plus(u->cache_read, a->base.cache_read);
		u->cache_write = ref_plus(u->cache_write, a->base.cache_write);
		u->output = ref_plus(u->output, a->base.output);
		u->reasoning = ref_plus(u->reasoning, a->base.reasoning);
	}
	a->seen.has_usage = ref_known(u->input) || ref_known(u->output) ||
			    ref_known(u->cache_read) || ref_known(u->cache_write) ||
			    ref_known(u->reasoning);
}

/* Where a count stands, in the order in which such places are asked: 0 first. */
static inline size_t ref_rank(const char *path)
{
	static const struct {
		const char *end;
		size_t rank;
	} places[] = {
		{ "usage", 1 },
		{ "message.usage", 2 },
		{ "meta_info", 3 },
		{ "meta", 4 },
		{ "details", 5 },
		{ "timings", 6 },
		{ "prompt_tokens_details", 7 },
		{ "completion_tokens_details", 8 },
		{ "input_tokens_details", 9 },
		{ "input_token_details", 9 },
		{ "output_tokens_details", 10 },
		{ "output_token_details", 10 },
		{ "tokens", 11 },
		{ "billed_units", 12 },
		{ "prefill", 13 },
	};
	size_t n = strlen(path), best = 0;

	while (n && path[n - 1] != '.' && path[n - 1] != '[')
		n--;
	n -= !!n;
	for (size_t i = 0; n && i < sizeof(places) / sizeof(places[0]); i++) {
		size_t len = strlen(places[i].end);

		if (n >= len && !memcmp(path + n - len, places[i].end, len) &&
		    (n == len || path[n - len - 1] == '.'))
			best = places[i].rank;
	}
	return best; /* 0: the document itself */
}

static inline void ref_settle(struct ref_answer *a)
{
	for (int count = 0; count < REF_COUNTS_N; count++) {
		const struct ref_fact *best = NULL;

		for (size_t i = 0; i < a->n_said; i++)
			if (a->said[i].count == (enum ref_count)count && a->said[i].n >= 0 &&
			    (!best || ref_rank(a->said[i].path) <= ref_rank(best->path)))
				best = &a->said[i];
		a->counts[count] = best		    ? best->n
				   : a->ever[count] ? WEIR_UNKNOWN
						    : a->before[count];
	}
	ref_disjoint(a);
	a->changed = false;
}

/* ------------------------------------------------------------ documents */

static inline void ref_document_starts(struct ref_answer *a)
{
	a->n_said = 0;
	memcpy(a->before, a->counts, sizeof(a->before));
	memset(a->ever, 0, sizeof(a->ever));
	a->changed = a->output = a->repeats = a->whole = a->indexed = a->finished = false;
	a->text_bytes = 0;
}

static inline void ref_document_ends(struct ref_answer *a, bool element)
{
	struct weir_response_seen *seen = &a->seen;

	if (seen->stream && a->repeats) { /* what was streamed already */
		a->output = false;
		seen->text_bytes -= a->text_bytes;
	} else if (seen->stream && a->whole && a->text_bytes) {
		seen->text_bytes = a->text_bytes;
	}
	if (a->changed)
		ref_settle(a);
	a->several |= element || (a->indexed && a->whole);
	if (a->n_said &&
	    (element || (a->indexed && a->whole && a->finished))) { /* one of several */
		a->base = seen->usage;
		a->banked = true;
		for (int i = 0; i < REF_COUNTS_N; i++)
			a->counts[i] = WEIR_UNKNOWN;
	}
	seen->chunks += seen->stream && a->output;
	if (!a->first_whole)
		a->first_output |= a->output;
	if (element)
		ref_document_starts(a);
	else
		a->first_whole = true;
}

static inline unsigned ref_usage_want(void *ctx, const struct ref_json *r)
{
	char path[REF_PATH];

	(void)ctx;
	if (r->array)
		return WEIR_SCAN_OPEN | WEIR_SCAN_END;
	return ref_place_of(ref_path_text(&r->path, path, sizeof(path))).want;
}

/* A key comes: what it said before in this document does not count any more. */
static inline void ref_key(struct ref_answer *a, const char *path, const struct ref_place *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < a->n_said; i++) {
		const char *in = ref_behind(a->said[i].path, path);

		if (in)
			a->changed = true;
		else
			a->said[kept++] = a->said[i];
	}
	a->n_said = kept;
	(void)p;
}

static inline void ref_says(struct ref_answer *a, const char *path, enum ref_count count, int64_t n)
{
	CHECK(a->n_said < REF_SAID && strlen(path) < sizeof(a->said[0].path));
	strcpy(a->said[a->n_said].path, path);
	a->said[a->n_said].count = count;
	a->said[a->n_said++].n = n;
	a->ever[count] = a->changed = true;
}

/* One more token of the prompt. */
static inline void ref_prefilled(struct ref_answer *a, const char *path)
{
	int64_t n = 1;

	for (size_t i = 0; i < a->n_said; i++)
		if (!strcmp(a->said[i].path, path))
			n = a->said[i].n + 1;
	ref_key(a, path, NULL);
	ref_says(a, path, REF_NATIVE_PROMPT, n);
}

static inline void ref_puts_out(struct ref_answer *a)
{
	a->output = a->produced = a->answered = true;
}

static inline void ref_text(struct ref_answer *a, int64_t n)
{
	a->seen.text_bytes += (uint64_t)n;
	a->text_bytes += (uint64_t)n;
	ref_puts_out(a);
}

static inline void ref_string_told(struct ref_answer *a, enum ref_what what,
				   const struct bytes *text)
{
	struct weir_response_seen *s = &a->seen;
	const char *t = (const char *)text->p;

#define REF_INTO(field) weir_clean_text(s->field, sizeof(s->field), t, text->n)
	switch (what) {
	case REF_MODEL:
		REF_INTO(model);
		break;
	case REF_VERSION:
		REF_INTO(model_version);
		break;
	case REF_ID:
		REF_INTO(response_id);
		break;
	case REF_TYPE:
		a->repeats = text->n >= 5 && text->n <= WEIR_TEXT_BYTES &&
			     !memcmp(t + text->n - 5, ".done", 5);
		break;
	case REF_PROMPT_FINISH:
		a->finished = true;
		REF_INTO(finish_reason);
		break;
	default:
		if (!bytes_are(text, "none", 4))
			REF_INTO(finish_reason);
	}
#undef REF_INTO
}

static inline void ref_opens(struct ref_answer *a, const struct ref_json *r, const char *path,
			     enum ref_what what)
{
	switch (what) {
	case REF_DOCUMENT:
		if (r->inside)
			break;
		ref_document_starts(a);
		if (a->first_whole && !a->seen.stream) { /* a stream that was not said to be one */
			a->seen.stream = 1;
			a->seen.chunks += a->first_output;
		}
		break;
	case REF_PREFILLED:
		ref_prefilled(a, path);
		break;
	case REF_PROMPT_FINISH:
		a->finished = true;
		break;
	case REF_VECTOR:
		a->answered = true;
		break;
	default:
		ref_puts_out(a);
	}
}

static inline void ref_ends(struct ref_answer *a, const struct ref_json *r, enum ref_what what)
{
	switch (what) {
	case REF_DOCUMENT:
		ref_document_ends(a, r->inside);
		break;
	case REF_CHOICE: /* in a stream it is what it says that matters: first and last are empty */
		if (!a->seen.stream)
			ref_puts_out(a);
		break;
	default:
		ref_settle(a);
		a->provisional = what == REF_START_COUNTS;
	}
}

static inline void ref_usage_told(void *ctx, const struct ref_json *r, const struct ref_told *t)
{
	struct ref_answer *a = ctx;
	char path[REF_PATH];
	struct ref_place p = ref_place_of(ref_path_text(&r->path, path, sizeof(path)));

	if (r->array) {
		a->several |= t->event == WEIR_SCAN_IS_OPEN && !a->seen.stream;
		if (t->event == WEIR_SCAN_IS_OPEN)
			ref_opens(a, &(struct ref_json){ 0 }, path, REF_DOCUMENT);
		else
			a->first_whole = true;
		return;
	}
	switch (t->event) {
	case WEIR_SCAN_IS_NUMBER:
		ref_says(a, path, p.count, t->number);
		break;
	case WEIR_SCAN_IS_KEY:
		if (p.what == REF_INDEX)
			a->indexed = true;
		else if (p.what == REF_SCORE)
			a->answered = true;
		else
			ref_key(a, path, &p);
		if (!strcmp(path, "meta_info"))
			a->whole = true;
		break;
	case WEIR_SCAN_IS_STRING:
		ref_string_told(a, p.what, t->text);
		break;
	case WEIR_SCAN_IS_BYTES:
		if (p.what == REF_VECTOR)
			a->answered = true;
		else if (p.what != REF_WHOLE_TEXT || !a->seen.stream)
			ref_text(a, t->number);
		break;
	case WEIR_SCAN_IS_OPEN:
		ref_opens(a, r, path, p.what);
		break;
	default:
		ref_ends(a, r, p.what);
	}
}

/* One document; where reading stopped, and whether it was whole there. */
static inline size_t ref_document(struct ref_answer *a, const uint8_t *p, size_t n, bool *whole)
{
	struct ref_json r = { .want = ref_usage_want, .told = ref_usage_told, .ctx = a };

	*whole = ref_json(&r, p, n);
	if (!*whole && a->changed) /* what was not settled is forgotten */
		a->changed = false;
	return (size_t)(r.p - p);
}

#endif
