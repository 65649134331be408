// SPDX-License-Identifier: Apache-2.0
/*
 * The search looks at the bytes of each body before it decodes it: there an id stands as it is
 * (ledger_encode.c), so most of a day's entries are passed over at the speed of memmem.
 */
#include "agent/find_entry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const weir_found_by_names[WEIR_FOUND_BY_MAX] = { "request_id",	  "ledger_seq",
							     "usage_id",	  "response_id",
							     "client_request_id", "trace_id" };

#define KINDS (1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER)

struct search {
	const struct weir_find *f;
	enum weir_found_by by; /* of what was looked up */
	char text[64];	       /* as far as a row keeps an id */
	size_t n_text;
	uint8_t trace[16];
	bool is_trace;
	size_t found;
	enum weir_entry_kind other; /* what was looked up is there, but it is no usage; 0: it is */
};

/* ------------------------------------------------------------------- looked up */

static int hand_out(const struct weir_entry *e, void *ctx)
{
	struct search *s = ctx;

	if (e->kind >= 32 || !(KINDS & 1u << e->kind)) {
		s->other = e->kind;
		return 0;
	}
	s->found++;
	return s->f->fn(e, s->by, s->f->ctx);
}

static int by_seq(struct weir_reader *rd, struct search *s, uint64_t seq, struct weir_error *err)
{
	struct weir_entry_query q = { .from_seq = seq, .limit = 1 };
	uint64_t newest;
	int r = weir_reader_newest(rd, &newest, err);

	if (r || seq > newest)
		return r;
	return weir_reader_entries(rd, &q, hand_out, s, err);
}

static int look_up(struct weir_reader *rd, struct search *s, struct weir_error *err)
{
	const char *text = s->f->id;
	struct weir_id id;
	uint64_t seq;
	char *end;
	int r;

	if (text[0] == '#') {
		s->by = WEIR_FOUND_SEQ;
		errno = 0;
		seq = strtoull(text + 1, &end, 10);
		return *end || !seq || errno ? 0 : by_seq(rd, s, seq, err);
	}
	if (!weir_unhex(text, id.b, sizeof(id.b))) {
		s->by = WEIR_FOUND_REQUEST_ID;
		r = weir_reader_find(rd, &id, hand_out, s, err);
		if (r != -ENOENT)
			return r;
	}
	s->by = WEIR_FOUND_USAGE_ID;
	r = weir_reader_by_key(rd, text, &seq, err);
	if (r)
		return r == -ENOENT ? 0 : r;
	return by_seq(rd, s, seq, err);
}

/* ------------------------------------------------------------------ searched for */

static bool maybe(const void *body, size_t n, void *ctx)
{
	const struct search *s = ctx;

	return memmem(body, n, s->text, s->n_text) ||
	       (s->is_trace && memmem(body, n, s->trace, sizeof(s->trace)));
}

/* An id that was too long was kept as far as it goes. */
static bool is(const struct search *s, const char *kept, size_t max)
{
	size_t n = strnlen(kept, max);

	return n == s->n_text && n && !memcmp(kept, s->text, n);
}

static int look(const struct weir_entry *e, void *ctx)
{
	struct search *s = ctx;
	const struct weir_row *row = e->row;

	if (!row)
		return 0;
	if (is(s, row->response_id, sizeof(row->response_id)))
		s->by = WEIR_FOUND_RESPONSE_ID;
	else if (is(s, row->client_request_id, sizeof(row->client_request_id)))
		s->by = WEIR_FOUND_CLIENT_REQUEST_ID;
	else if (s->is_trace && !memcmp(row->trace_id, s->trace, sizeof(s->trace)))
		s->by = WEIR_FOUND_TRACE_ID;
	else
		return 0;
	if (s->f->limit && s->found == s->f->limit)
		return 1;
	s->found++;
	return s->f->fn(e, s->by, s->f->ctx);
}

static int page(uint64_t seq, void *ctx)
{
	const struct search *s = ctx;

	return s->f->page ? s->f->page(seq, s->f->ctx) : 0;
}

/* 00-<trace>-<span>-<flags>, or the trace's digits alone. */
static bool trace_of(const char *text, uint8_t out[static 16])
{
	char digits[33];
	bool whole = strlen(text) == 55 && text[2] == '-' && text[35] == '-' && text[52] == '-';

	snprintf(digits, sizeof(digits), "%.32s", whole ? text + 3 : text);
	return (whole || strlen(text) == 32) && !weir_unhex(digits, out, 16);
}

static int search(struct weir_reader *rd, struct search *s, struct weir_error *err)
{
	struct weir_entry_query q = {
		.since_ns = s->f->since_ns,
		.kinds = 1u << WEIR_ENTRY_USAGE,
		.newest_first = true,
		.maybe = maybe,
		.page = page,
	};

	s->n_text = (size_t)snprintf(s->text, sizeof(s->text), "%s", s->f->id);
	if (s->n_text >= sizeof(s->text))
		s->n_text = sizeof(s->text) - 1;
	s->is_trace = trace_of(s->f->id, s->trace);
	return weir_reader_entries(rd, &q, look, s, err);
}

int weir_find_entries(struct weir_reader *rd, const struct weir_find *f, size_t *found,
		      struct weir_error *err)
{
	struct search s = { .f = f };
	int r = f->id[0] ? look_up(rd, &s, err) : 0;

	/* The id of a write may be anybody's id of a request too. */
	if (!r && s.other && s.by != WEIR_FOUND_USAGE_ID)
		return weir_fail(err, EINVAL,
				 "\"%s\" is a %s and no request; `weirctl ledger TENANT` shows it",
				 f->id, weir_entry_kind_names[s.other]);
	if (!r && !s.found && f->id[0] && f->id[0] != '#')
		r = search(rd, &s, err);
	*found = s.found;
	return r > 0 ? 0 : r;
}
