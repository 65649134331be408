/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handler of `trace`: all that is known of a request, by whichever id somebody has of it. Its event
 * and its ledger entry are there as they are told everywhere; beside them what neither says: when
 * which of its packets passed, whether NATS has the event, and what was refunded.
 */
#include "control_call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry_json.h"
#include "entry_out.h"
#include "event.h"
#include "find_entry.h"
#include "publisher.h"

#define SEARCH_NS (24 * 3600 * WEIR_SECOND) /* back, unless since says otherwise */
#define LIMIT	  1000			    /* entries of one trace */

struct trace {
	struct weir_call *c;
	struct weir_reader *reader;
	const char *node;
	struct weir_text text;
	struct weir_error *err;
	struct weir_call_progress far;
};

static int page(uint64_t seq, void *ctx)
{
	struct trace *t = ctx;

	return weir_call_page(t->c, &t->far, seq);
}

/* -------------------------------------------------------------------- the request */

static json_t *text_json(const char *s, size_t max)
{
	char copy[128];

	snprintf(copy, sizeof(copy), "%.*s", (int)max, s);
	return copy[0] ? weir_json_text(copy) : json_null();
}
#define TEXT_JSON(array) text_json(array, sizeof(array))

static json_t *client_json(const uint8_t client[static 16])
{
	static const uint8_t nobody[16], v4[12] = { [10] = 0xff, [11] = 0xff };
	char text[INET6_ADDRSTRLEN];

	if (!memcmp(client, nobody, sizeof(nobody)))
		return json_null();
	if (!memcmp(client, v4, sizeof(v4)))
		inet_ntop(AF_INET, client + sizeof(v4), text, sizeof(text));
	else
		inet_ntop(AF_INET6, client, text, sizeof(text));
	return json_string(text);
}

static const char *end_name(uint8_t cause)
{
	static const char *const names[] = {
		[WEIR_END_RESPONSE] = "complete", [WEIR_END_NEXT] = "next_request",
		[WEIR_END_CLOSE] = "closed",	  [WEIR_END_REFUSED] = "refused",
		[WEIR_END_CUT] = "cut",
	};

	return cause < sizeof(names) / sizeof(*names) && names[cause] ? names[cause] : "unknown";
}

static json_t *bytes_json(uint64_t n)
{
	return n == UINT64_MAX ? json_null() : weir_json_count(n);
}

static json_t *request_json(const struct weir_row *r)
{
	return json_pack(
		"{s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:o,s:o,s:o}", "method", TEXT_JSON(r->method), "path",
		TEXT_JSON(r->path), "client", client_json(r->client), "admitted",
		weir_json_time(r->started_wall_ns), "first_byte",
		weir_json_time(r->ttft_us ? r->started_wall_ns + UINT64_C(1000) * r->ttft_us : 0),
		"ended", weir_json_time(r->ended_wall_ns), "end", end_name(r->end_cause),
		"request_bytes", bytes_json(r->request_bytes), "response_bytes",
		bytes_json(r->response_bytes), "reserved", weir_json_money(r->reserved_nano));
}

/* -------------------------------------------------------------------- what came of it */

/* Is its event where subscribers can have it? */
static int nats_json(struct trace *t, const struct weir_entry *e, json_t **out)
{
	struct weir_publisher_status s = { 0 };
	char subject[WEIR_EVENT_SUBJECT];
	const char *state = "off";
	int r;

	if (t->c->view->publisher) {
		weir_publisher_status(t->c->view->publisher, &s);
		state = s.seq >= e->seq ? "acknowledged" : "behind";
	} else {
		/* There may have been one. */
		r = weir_reader_cursor(t->reader, "nats", &s.seq, t->err);
		if (r)
			return r;
		if (s.seq >= e->seq)
			state = "acknowledged";
	}
	weir_event_subject(e, t->node, subject);
	*out = json_pack("{s:s,s:s,s:b,s:o,s:o,s:o}", "state", state, "subject", subject,
			 "connected", (int)s.connected, "acknowledged_seq", weir_json_count(s.seq),
			 "behind", weir_json_count(s.seq < e->seq ? e->seq - s.seq : 0), "problem",
			 s.warning[0] ? weir_json_text(s.warning) : json_null());
	return 0;
}

struct refunds {
	uint64_t of;
	int64_t left; /* nano that the projection knows of */
	json_t *rows;
};

static int refund(const struct weir_entry *e, void *ctx)
{
	struct refunds *f = ctx;

	if (e->op->of != f->of)
		return 0;
	if (json_array_append_new(
		    f->rows, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "seq",
				       weir_json_count(e->seq), "time", weir_json_time(e->time_ns),
				       "amount", weir_json_money(e->op->amount_nano), "actor",
				       weir_json_text(e->actor), "reason", TEXT_JSON(e->op->reason),
				       "id", TEXT_JSON(e->op->key), "as_grant",
				       (int)!!(e->op->flags & WEIR_OP_AS_GRANT))))
		return -ENOMEM;
	f->left -= e->op->amount_nano;
	return f->left <= 0;
}

/* They come after it, and the ledger knows how much they are in all: mostly nothing. */
static int refunds_json(struct trace *t, uint64_t seq, int64_t *refunded, json_t **out)
{
	struct weir_entry_query q = { .from_seq = seq + 1, .kinds = 1u << WEIR_ENTRY_REFUND };
	struct refunds f = { .of = seq, .rows = json_array() };
	int r = weir_reader_refunded(t->reader, seq, &f.left, t->err);

	*refunded = f.left;
	if (!r && f.left)
		r = weir_reader_entries(t->reader, &q, refund, &f, t->err);
	if (r < 0) {
		json_decref(f.rows);
		return r;
	}
	*out = f.rows;
	return 0;
}

static int written(struct trace *t, int r, json_t **out)
{
	if (!r)
		*out = json_loadb(t->text.p, t->text.len, 0, NULL);
	return r ? r : *out ? 0 : -ENOMEM;
}

/* Made whole before anything more is read: what the entry points to is the reader's. */
struct found {
	json_t *request, *event, *entry;
	uint64_t seq;
};

static int found_json(struct trace *t, const struct weir_entry *e, struct found *f)
{
	const struct weir_card *card = weir_reader_card(t->reader, weir_entry_card_id(e));
	struct weir_event_origin o;
	int r = weir_event_origin_of(t->reader, e, t->node, &o, t->err);

	if (!r)
		r = written(t, weir_event_json(e, &o, card, &t->text), &f->event);
	if (!r)
		r = written(t, weir_entry_json(e, card, &t->text), &f->entry);
	if (!r && e->row)
		f->request = request_json(e->row);
	else if (!r)
		f->request = json_null();
	return r ? r : f->request ? 0 : -ENOMEM;
}

static int item(const struct weir_entry *e, enum weir_found_by by, void *ctx)
{
	struct trace *t = ctx;
	struct found f = { .seq = e->seq };
	json_t *nats = NULL, *refunds = NULL;
	int64_t refunded = 0;
	int r = nats_json(t, e, &nats);

	if (!r)
		r = found_json(t, e, &f);
	if (!r)
		r = refunds_json(t, f.seq, &refunded, &refunds);
	if (r) {
		json_decref(f.request);
		json_decref(f.event);
		json_decref(f.entry);
		json_decref(nats);
		return r;
	}
	return weir_call_item(t->c,
			      json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "matched",
					weir_found_by_names[by], "request", f.request, "nats", nats,
					"refunded", weir_json_money(refunded), "refunds", refunds,
					"event", f.event, "entry", f.entry));
}

/* -------------------------------------------------------------------- handler */

static int trace_args(struct weir_call *c, struct trace *t, struct weir_find *f,
		      struct weir_error *err)
{
	uint64_t now_ns = weir_wall_ns();
	int r = weir_call_string(c, "id", 255, &f->id, err);

	if (!r && !f->id)
		r = weir_fail(err, EINVAL, "request: \"id\" is missing");
	f->since_ns = now_ns > SEARCH_NS ? now_ns - SEARCH_NS : 1;
	if (!r)
		r = weir_call_time(c, "since", &f->since_ns, err);
	if (!r)
		r = weir_call_bool(c, "progress", &t->far.wanted, err);
	return r;
}

int weir_do_trace(struct weir_call *c, struct weir_error *err)
{
	weir_autofree struct weir_status *s = calloc(1, sizeof(*s));
	struct trace t = { .c = c, .err = err, .far.told_ns = weir_mono_ns() };
	struct weir_find f = { .fn = item, .page = page, .ctx = &t, .limit = LIMIT };
	char since[WEIR_TIME_TEXT];
	size_t found = 0;
	int r = s ? trace_args(c, &t, &f, err) : -ENOMEM;

	if (r)
		return r;
	t.reader = weir_call_reader(c, err);
	if (!t.reader)
		return -EIO;
	c->view->status(c->view->ctx, s);
	t.node = s->node;
	r = weir_reader_newest(t.reader, &t.far.newest, err);
	if (!r)
		r = weir_reader_since(t.reader, f.since_ns, &t.far.oldest, err);
	if (!r)
		r = weir_find_entries(t.reader, &f, &found, err);
	weir_text_free(&t.text);
	weir_time_format(f.since_ns, since);
	if (!r && !found)
		r = weir_fail(
			err, ENOENT,
			"trace: no request has the id \"%s\", or none since %.19sZ has it from "
			"its server, client or tracer (since goes back further); one that is "
			"still being answered has no entry yet",
			f.id, since);
	return r ? r
		 : weir_call_result(c, json_pack("{s:o,s:o,s:b}", "found", weir_json_count(found),
						 "since", weir_json_time(f.since_ns), "more",
						 (int)(found == LIMIT)));
}
