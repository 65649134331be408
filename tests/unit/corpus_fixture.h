/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/corpus read into memory (its README.md has the format), and written as HTTP again, in any
 * framing; and what a parser made of it compared. Paths are from the root of the repository, where
 * tests are run.
 */
#ifndef WEIR_CORPUS_FIXTURE_H
#define WEIR_CORPUS_FIXTURE_H

#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <strings.h>

#include "agent/response.h"
#include "tests/unit/decode_fixture.h"

#define BIG 20000 /* bytes: of such answers not every cut is tried */

struct wanted {
	const char *what;
	int status, stream, refined;
	enum weir_usage_source source;
	struct weir_usage usage;
	int64_t audio, image, chunks, text_bytes; /* text_bytes: < 0 where it is not said */
	const char *model, *model_version, *response_id, *request_id, *finish_reason;
	enum weir_cache_status cache_status;
};

struct answer {
	char name[64];	   /* vllm/chat */
	struct bytes head; /* lines with CRLF, without what frames the body */
	struct bytes body;
	size_t cut;		     /* the connection closes so many bytes before its end */
	size_t fill_from, fill_size; /* of the body: what @fill@ became */
	bool bodiless;
	bool ended, closed; /* never delimited by a close; by nothing else */
	bool coded;	    /* its head has a coding already */
	struct wanted want;
	json_t *json;
};

struct corpus {
	struct answer *answers;
	size_t n;
};

static const char *const source_names[] = { "none", "reported", "estimated", "partial" };
static const char *const cache_names[] = { "",	      "hit",   "miss",	     "bypass",
					   "expired", "stale", "revalidated" };

/* So much room has a text of n bytes, if only append() made it. */
static inline size_t room_of(size_t n)
{
	size_t room = 64;

	while (room <= n)
		room *= 2;
	return room;
}

static inline void append(struct bytes *b, const void *p, size_t n)
{
	if (!b->p || room_of(b->n) != room_of(b->n + n))
		b->p = realloc(b->p, room_of(b->n + n));
	assert_non_null(b->p);
	memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

static inline void append_text(struct bytes *b, const char *text)
{
	append(b, text, strlen(text));
}

/* ------------------------------------------------------------ what is expected */

static inline int index_of(const char *word, const char *const *words, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(word, words[i]))
			return i;
	fail_msg("\"%s\" is none of the words of tests/corpus/README.md", word);
	return -1;
}

static inline void read_wanted(struct answer *a, const char *path)
{
	const char *source = "", *cache = "", *event; /* the parser does not know paths */
	struct wanted *w = &a->want;
	json_int_t counts[7];
	json_error_t e;
	int i;

	for (i = 0; i < 7; i++)
		counts[i] = WEIR_UNKNOWN;
	w->model = w->model_version = w->response_id = w->request_id = w->finish_reason = "";
	w->chunks = 0;
	w->text_bytes = -1;
	a->json = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
	if (!a->json)
		fail_msg("%s:%d: %s", path, e.line, e.text);
	/* strict: a field that is misspelt would expect nothing */
	if (json_unpack_ex(a->json, &e, JSON_STRICT,
			   "{s:s, s:i, s:b, s:s, s?s, s?I, s?I, s?I, s?I, s?I, s?I, s?I, s?I, s?I, "
			   "s?s, s?s,"
			   " s?s, s?s, s?s, s?s, s?b}",
			   "what", &w->what, "status", &w->status, "stream", &w->stream, "source",
			   &source, "event_source", &event, "input", &counts[0], "cache_read",
			   &counts[1], "cache_write", &counts[2], "output", &counts[3], "reasoning",
			   &counts[4], "audio", &counts[5], "image", &counts[6], "chunks",
			   &w->chunks, "text_bytes", &w->text_bytes, "model", &w->model,
			   "model_version", &w->model_version, "response_id", &w->response_id,
			   "request_id", &w->request_id, "finish_reason", &w->finish_reason,
			   "cache_status", &cache, "refined", &w->refined))
		fail_msg("%s: %s", path, e.text);
	w->usage = (struct weir_usage){ counts[0], counts[1], counts[2], counts[3], counts[4] };
	w->audio = counts[5];
	w->image = counts[6];
	w->source = index_of(source, source_names, 4);
	w->cache_status = index_of(cache, cache_names, WEIR_CACHE_STATUS_MAX);
}

/* ------------------------------------------------------------ the answer */

static inline char *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	*n = 0;
	for (;;) {
		size_t got;

		text = realloc(text, *n + 65536 + 1);
		assert_non_null(text);
		got = fread(text + *n, 1, 65536, f);
		*n += got;
		if (got < 65536)
			break;
	}
	fclose(f);
	text[*n] = '\0';
	return text;
}

struct options {
	char eol[8], fill[64];
	int times;
	bool bom, percent;
};

static inline void read_option(struct options *o, struct answer *a, const char *line,
			       const char *path)
{
	if (sscanf(line, "# eol: %7s", o->eol) == 1 || !strncmp(line, "# path: ", 8))
		return;
	if (sscanf(line, "# fill: %d %63[^\n]", &o->times, o->fill) == 2)
		return;
	if (sscanf(line, "# cut: %zu", &a->cut) == 1)
		return;
	if (!strcmp(line, "# bom: yes"))
		o->bom = true;
	else if (!strcmp(line, "# percent: yes"))
		o->percent = true;
	else if (!strcmp(line, "# framing: none"))
		a->bodiless = true;
	else if (!strcmp(line, "# framing: ended"))
		a->ended = true;
	else if (!strcmp(line, "# framing: close"))
		a->closed = true;
	else
		fail_msg("%s: \"%s\" is no option", path, line);
}

static inline void read_body(struct answer *a, const struct options *o, const char *p,
			     const char *end)
{
	unsigned byte;
	int i;

	if (o->bom)
		append(&a->body, "\xef\xbb\xbf", 3);
	for (; p < end; p++) {
		if (*p == '\n' && !strcmp(o->eol, "crlf"))
			append(&a->body, "\r\n", 2);
		else if (*p == '\n' && !strcmp(o->eol, "cr"))
			append(&a->body, "\r", 1);
		else if (*p == '%' && o->percent && sscanf(p + 1, "%2x", &byte) == 1) {
			append(&a->body, &(char){ (char)byte }, 1);
			p += 2;
		} else if (o->times && !strncmp(p, "@fill@", 6)) {
			size_t len = strlen(o->fill);

			a->fill_from = a->body.n;
			a->fill_size = len * o->times;
			for (i = 0; i < o->times; i++)
				append(&a->body, o->fill, len);
			p += 5;
		} else {
			append(&a->body, p, 1);
		}
	}
}

static inline void read_answer(struct answer *a, const char *path)
{
	struct options o = { .eol = "lf" };
	char *text, *p, *eol, *end;
	size_t n;

	text = read_file(path, &n);
	end = text + n - 1;
	assert_true(n && *end == '\n');
	for (p = text; *p == '#'; p = eol + 1) {
		eol = strchr(p, '\n');
		*eol = '\0';
		read_option(&o, a, p, path);
	}
	for (; *p != '\n'; p = eol + 1) {
		eol = strchr(p, '\n');
		assert_non_null(eol);
		a->coded |= !strncasecmp(p, "content-encoding:", 17);
		append(&a->head, p, eol - p);
		append(&a->head, "\r\n", 2);
	}
	append(&a->body, "", 0);
	read_body(a, &o, p + 1, end);
	free(text);
}

static inline void corpus_open(struct corpus *c)
{
	char json[128];
	glob_t g;
	size_t i;

	if (glob("tests/corpus/*/*.http", 0, NULL, &g))
		fail_msg("no tests/corpus here: run from the root of the repository");
	c->n = g.gl_pathc;
	c->answers = calloc(c->n, sizeof(*c->answers));
	assert_non_null(c->answers);
	for (i = 0; i < c->n; i++) {
		struct answer *a = &c->answers[i];
		const char *path = g.gl_pathv[i];
		int len = strlen(path) - strlen("tests/corpus/.http");

		snprintf(a->name, sizeof(a->name), "%.*s", len, path + strlen("tests/corpus/"));
		snprintf(json, sizeof(json), "tests/corpus/%s.json", a->name);
		read_answer(a, path);
		read_wanted(a, json);
	}
	globfree(&g);
}

static inline void corpus_close(struct corpus *c)
{
	size_t i;

	for (i = 0; i < c->n; i++) {
		free(c->answers[i].head.p);
		free(c->answers[i].body.p);
		json_decref(c->answers[i].json);
	}
	free(c->answers);
}

/* ------------------------------------------------------------ on the wire */

enum framing { LENGTH, CHUNKED, CLOSE, BYTES, FRAMINGS }; /* BYTES: a chunk a byte */

static const char *const framing_names[FRAMINGS] = { "content-length", "chunked", "close",
						     "chunk a byte" };

static inline void chunked(struct bytes *w, const struct bytes *body, size_t n, bool each_byte)
{
	size_t at, size;
	char line[64];

	for (at = 0; at < n; at += size) {
		size = each_byte ? 1 : rnd() % (at % 3 ? 60 : 900) + 1;
		if (size > n - at)
			size = n - at;
		snprintf(line, sizeof(line), "%s%zX%s\r\n", size % 5 ? "" : "00", size,
			 size % 3 ? "" : ";ext=\"a;b\" ; x");
		append_text(w, line);
		append(w, body->p + at, size);
		append(w, "\r\n", 2);
	}
	if (n == body->n)
		append_text(w, each_byte ? "0\r\n\r\n" : "0;last\r\nx-sum: 0\r\nx: y\r\n\r\n");
}

/* The answer with this body. Where it is cut, a piece of it. */
static inline struct bytes wire_with(const struct answer *a, struct bytes body, const char *coding,
				     enum framing framing)
{
	struct bytes w = { 0 };
	size_t n = body.n - a->cut;
	char line[64];

	append(&w, a->head.p, a->head.n);
	if (coding) {
		snprintf(line, sizeof(line), "Content-Encoding: %s\r\n", coding);
		append_text(&w, line);
	}
	if (a->bodiless) {
		append(&w, "\r\n", 2);
	} else if (framing == LENGTH) {
		snprintf(line, sizeof(line), "Content-Length: %zu\r\n\r\n", body.n);
		append_text(&w, line);
		append(&w, body.p, n);
	} else if (framing == CLOSE) {
		append_text(&w, "Connection: close\r\n\r\n");
		append(&w, body.p, n);
	} else {
		append_text(&w, "transfer-encoding: chunked\r\n\r\n");
		chunked(&w, &body, n, framing == BYTES);
	}
	return w;
}

static inline struct bytes wire_of(const struct answer *a, enum framing framing)
{
	return wire_with(a, a->body, NULL, framing);
}

/* A close is an end like any other: that something is missing shows only with the other framings.
 */
static inline bool can_be(const struct answer *a, enum framing framing)
{
	if (framing == CLOSE)
		return !a->cut && !a->ended;
	return !a->closed && !(framing == BYTES && a->body.n > 100000);
}

/* ------------------------------------------------------------ comparing */

static inline int differs_n(const struct answer *a, const char *how, const char *field, int64_t got,
			    int64_t want)
{
	if (got == want)
		return 0;
	print_error("%s, %s: %s is %lld, not %lld\n", a->name, how, field, (long long)got,
		    (long long)want);
	return 1;
}

static inline int differs_text(const struct answer *a, const char *how, const char *field,
			       const char *got, size_t size, const char *want)
{
	if (!strncmp(got, want, size - 1) && strlen(got) < size)
		return 0;
	print_error("%s, %s: %s is \"%s\", not \"%s\"\n", a->name, how, field, got, want);
	return 1;
}

/* How many fields are not as expected; each is told. */
static inline int differs(const struct answer *a, const char *how, const struct weir_response *r)
{
	const struct weir_response_seen *s = &r->seen;
	const struct wanted *w = &a->want;
	int n = 0;

#define COUNT(field, x) n += differs_n(a, how, #field, s->field, x)
#define TEXT(field)	n += differs_text(a, how, #field, s->field, sizeof(s->field), w->field)
	COUNT(bad, 0);
	COUNT(done, !a->cut);
	COUNT(status, w->status);
	COUNT(stream, w->stream);
	COUNT(chunks, w->chunks);
	if (w->text_bytes >= 0)
		COUNT(text_bytes, w->text_bytes);
	COUNT(cache_status, w->cache_status);
	COUNT(usage.input, w->usage.input);
	COUNT(usage.cache_read, w->usage.cache_read);
	COUNT(usage.cache_write, w->usage.cache_write);
	COUNT(usage.output, w->usage.output);
	COUNT(usage.reasoning, w->usage.reasoning);
	COUNT(audio, w->audio);
	COUNT(image, w->image);
	TEXT(model);
	TEXT(model_version);
	TEXT(response_id);
	TEXT(request_id);
	TEXT(finish_reason);
#undef COUNT
#undef TEXT
	if (weir_response_source(r) != w->source) {
		print_error("%s, %s: %s, not %s\n", a->name, how,
			    source_names[weir_response_source(r)], source_names[w->source]);
		n++;
	}
	return n;
}

/* ------------------------------------------------------------ feeding */

/* From a place of exactly that size at the end of a block, so that a read beyond it is seen. */
static inline size_t feed_piece(struct weir_response *r, struct weir_decoders *d, const uint8_t *p,
				size_t n)
{
	static uint8_t *room;
	uint8_t *copy;
	size_t took;

	if (n > BIG) {
		copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, p, n);
		took = weir_response_feed(r, d, copy, n);
		free(copy);
		return took;
	}
	if (!room)
		room = malloc(BIG);
	assert_non_null(room);
	copy = room + BIG - n;
	memcpy(copy, p, n);
	return weir_response_feed(r, d, copy, n);
}

/* ------------------------------------------------------------ of a test group */

static struct corpus corpus;

static inline int setup(void **unused)
{
	corpus_open(&corpus);
	return 0;
}

static inline int teardown(void **unused)
{
	corpus_close(&corpus);
	return 0;
}

#endif
