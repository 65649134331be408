/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `events` and `why`: usage and top-ups as CloudEvents, read from the
 * ledger, and the last refusals, from memory.
 */
#include "control_call.h"

#include <errno.h>
#include <stdlib.h>

#include "denials.h"
#include "entry_out.h"
#include "event.h"
#include "reason.h"

#define FOLLOW_MS 200

struct walk {
	struct weir_call *c;
	struct weir_reader *reader;
	struct weir_text text;
	const char *node;
	struct weir_error *err;
	uint64_t until_seq;
};

static int event_item(const struct weir_entry *e, void *ctx)
{
	struct walk *w = ctx;
	struct weir_event_origin o;
	int r;

	if (e->seq > w->until_seq)
		return 1;
	r = weir_event_origin_of(w->reader, e, w->node, &o, w->err);
	if (!r)
		r = weir_event_json(e, &o, weir_reader_card(w->reader, weir_entry_card_id(e)),
				    &w->text);
	return r ? r : weir_call_item_text(w->c, w->text.p, w->text.len);
}

static int events(struct walk *w, struct weir_entry_query *q, bool following,
		  struct weir_error *err)
{
	uint64_t newest;
	int r;

	for (;;) {
		r = weir_reader_newest(w->reader, &newest, err);
		if (!r && newest >= q->from_seq) {
			/* Only so far: what is committed during the walk is the next one's. */
			w->until_seq = newest;
			r = weir_reader_entries(w->reader, q, event_item, w, err);
			r = r > 0 ? 0 : r;
			q->from_seq = newest + 1;
		}
		if (!r)
			r = weir_call_flush(w->c);
		if (r || !following)
			return r;
		q->since_ns = 0;
		if (weir_call_over(w->c, FOLLOW_MS))
			return 0;
	}
}

int weir_do_events(struct weir_call *c, struct weir_error *err)
{
	/* The others are the ledger's to list. */
	struct weir_entry_query q = { .kinds = 1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER |
					       1u << WEIR_ENTRY_TOP_UP };
	weir_autofree struct weir_status *s = NULL;
	struct walk w = { .c = c, .err = err };
	const char *tenant = NULL;
	bool following = false;
	uint64_t newest = 0;
	int r = weir_call_query(c, &q, true, &tenant, err);

	if (!r)
		r = weir_call_bool(c, "follow", &following, err);
	if (!r && following && q.limit)
		r = weir_fail(err, EINVAL, "request: limit: does not go with follow");
	if (r)
		return r;
	w.reader = weir_call_reader(c, err);
	if (!w.reader)
		return -EIO;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	c->view->status(c->view->ctx, s);
	w.node = s->node;
	/* Without --since, following starts now. */
	if (following && !q.since_ns)
		r = weir_reader_newest(w.reader, &newest, err);
	q.from_seq = newest + 1;
	if (!r)
		r = events(&w, &q, following, err);
	weir_text_free(&w.text);
	return r;
}

/* ----------------------------------------------------------------------- why */

static json_t *figure(uint32_t reason, int64_t n)
{
	return weir_reason_is_money(reason) ? weir_json_money(n) : json_integer(n);
}

static json_t *refusal_json(const struct weir_agent_view *v, const struct weir_refusal *d)
{
	/* Rounded up: waiting that long is enough. */
	uint64_t retry_ms = d->retry_after_ns / 1000000 + !!(d->retry_after_ns % 1000000);

	return json_pack("{s:o,s:s,s:o,s:b,s:o,s:o,s:o,s:o}", "time", weir_json_time(d->wall_ns),
			 "reason", weir_reason_name(d->reason), "limit_of",
			 weir_entry_name_json(v, d->level), "shadow", (int)d->shadow, "limit",
			 figure(d->reason, d->limit), "value", figure(d->reason, d->value), "asked",
			 figure(d->reason, d->asked), "retry_after_ms", weir_json_count(retry_ms));
}

int weir_do_why(struct weir_call *c, struct weir_error *err)
{
	struct weir_refusal last[WEIR_DENIALS_KEPT];
	const char *tenant = NULL;
	uint32_t index = 0;
	json_t *rows;
	size_t n;
	int r = weir_call_tenant(c, false, &tenant, &index, err);

	if (r)
		return r;
	rows = json_array();
	n = weir_denials_last(c->view->denials, index, last, WEIR_DENIALS_KEPT);
	for (size_t i = 0; rows && i < n; i++)
		json_array_append_new(rows, refusal_json(c->view, &last[i]));
	return weir_call_result(c, rows);
}
