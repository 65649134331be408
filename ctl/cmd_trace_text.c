/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on one screen, for `weirctl trace`, in the order in which it happened: who asked, when
 * which packet passed, what was used, what that cost, who paid, and where the event is. Everything
 * is there with --json.
 */
#include "cmd_trace_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

#define INDENT 9

struct line {
	char text[2048];
	size_t n;
};

/* Parts are set off by commas; what does not fit is left out. */
static void put(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct line *l, const char *fmt, ...)
{
	char part[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(part, sizeof(part), fmt, ap);
	va_end(ap);
	if (n > 0 && l->n + (size_t)n + 3 < sizeof(l->text))
		l->n += (size_t)snprintf(l->text + l->n, sizeof(l->text) - l->n, "%s%s",
					 l->n ? ", " : "", part);
}

static void print_line(const char *label, const struct line *l)
{
	ctl_wrap(l->n ? l->text : "-", (size_t)printf("%-*s", INDENT, label), INDENT);
}

static bool has(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return v && !json_is_null(v) && !json_is_false(v);
}

const char *ctl_when_ms(const json_t *o, const char *name, char out[static CTL_CELL])
{
	char text[CTL_CELL], digits[4] = "000";
	const char *dot;

	ctl_text(o, name, text);
	if (strlen(text) < 20) /* "-" */
		return strcpy(out, text);
	dot = text[19] == '.' ? text + 20 : "";
	for (size_t i = 0; i < 3 && dot[i] >= '0' && dot[i] <= '9'; i++)
		digits[i] = dot[i];
	snprintf(out, CTL_CELL, "%.19s.%sZ", text, digits);
	return out;
}

/* ------------------------------------------------------------------- who asked what */

/* What its id was, if it was not our own. */
static const char *found_by(const json_t *item)
{
	static const char *const words[][2] = {
		{ "usage_id", ", by its report's id" },
		{ "response_id", ", by its answer's id" },
		{ "client_request_id", ", by its x-request-id" },
		{ "trace_id", ", by its trace id" },
	};
	const char *by = json_string_value(json_object_get(item, "matched"));

	for (size_t i = 0; by && i < sizeof(words) / sizeof(*words); i++) {
		if (!strcmp(by, words[i][0]))
			return words[i][1];
	}
	return "";
}

static void print_head(const json_t *item, const json_t *d, const json_t *q)
{
	struct line l = { .n = 0 };
	char a[CTL_CELL], b[CTL_CELL];

	printf("%-*s%s%s\n", INDENT, "request", ctl_text(d, "request_id", a), found_by(item));
	if (!json_is_object(q)) {
		put(&l, "%s of %s, reported", ctl_text(d, "quantity", a),
		    ctl_text(d, "dimension", b));
		if (has(d, "usage_id"))
			put(&l, "id %s", ctl_text(d, "usage_id", a));
		print_line("", &l);
		return;
	}
	put(&l, "%s %s", ctl_text(q, "method", a), ctl_text(q, "path", b));
	if (has(d, "service"))
		put(&l, "service %s", ctl_text(d, "service", a));
	if (has(d, "status"))
		put(&l, "status %s", ctl_text(d, "status", a));
	else
		put(&l, "no answer");
	print_line("", &l);
}

static void print_who(const json_t *d)
{
	static const char *const labels[][2] = { { "user", "user" },
						 { "team", "team" },
						 { "feature", "feature" },
						 { "cost_center", "cost center" },
						 { "session", "session" } };
	struct line l = { .n = 0 };
	char text[CTL_CELL];

	put(&l, "tenant %s", ctl_text(d, "tenant", text));
	if (has(d, "wallet"))
		put(&l, "paid by %s", ctl_text(d, "wallet", text));
	for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++) {
		if (has(d, labels[i][0]))
			put(&l, "%s %s", labels[i][1], ctl_text(d, labels[i][0], text));
	}
	if (json_is_false(json_object_get(d, "labels_trusted")))
		put(&l, "labels as the client says");
	print_line("who", &l);
}

/* A line each: they are there to be copied. */
static void print_ids(const json_t *d)
{
	static const char *const ids[][2] = { { "response_id", "of the answer" },
					      { "client_request_id", "x-request-id" },
					      { "trace_id", "trace" } };
	const char *label = "ids";
	char text[CTL_CELL];

	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		if (!has(d, ids[i][0]))
			continue;
		printf("%-*s%s  %s\n", INDENT, label, ctl_text(d, ids[i][0], text), ids[i][1]);
		label = "";
	}
}

/* ------------------------------------------------------------------- what happened */

static void print_bytes(const json_t *q)
{
	struct line l = { .n = 0 };
	char text[CTL_CELL];

	if (has(q, "request_bytes")) {
		ctl_bytes((uint64_t)ctl_int(q, "request_bytes"), text);
		put(&l, "%s asked", text);
	}
	if (has(q, "response_bytes")) {
		ctl_bytes((uint64_t)ctl_int(q, "response_bytes"), text);
		put(&l, "%s answered", text);
	}
	if (l.n)
		print_line("", &l);
}

static const char *end_of(const json_t *d, const json_t *q)
{
	const char *end = json_string_value(json_object_get(q, "end"));

	if (has(d, "left"))
		return "the client left";
	if (end && !strcmp(end, "complete"))
		return "the answer is complete";
	if (end && !strcmp(end, "next_request"))
		return "the next request came";
	if (end && !strcmp(end, "closed"))
		return "the connection closed";
	if (end && !strcmp(end, "cut"))
		return "cut short by us";
	return end && !strcmp(end, "refused") ? "its body was refused" : "its end was not seen";
}

static void print_times(const json_t *d, const json_t *q)
{
	char a[CTL_CELL], b[CTL_CELL];
	const json_t *ttft = json_object_get(d, "ttft_ms"), *all = json_object_get(d, "latency_ms");

	if (!json_is_object(q)) {
		printf("%-*s%s  used\n", INDENT, "when", ctl_when_ms(d, "started_at", a));
		return;
	}
	printf("%-*s%s  admitted", INDENT, "when", ctl_when_ms(q, "admitted", a));
	printf(has(q, "client") ? ", from %s\n" : "\n", ctl_text(q, "client", b));
	if (ttft)
		printf("%*s%s  first byte, after %.1f ms\n", INDENT, "",
		       ctl_when_ms(q, "first_byte", a), json_number_value(ttft));
	else
		printf("%*s%-24s  no byte of a body was seen\n", INDENT, "", "");
	printf("%*s%s  %s", INDENT, "", ctl_when_ms(q, "ended", a), end_of(d, q));
	if (all)
		printf(", after %.1f ms", json_number_value(all));
	putchar('\n');
	print_bytes(q);
}

static void print_model(const json_t *d)
{
	struct line l = { .n = 0 };
	char a[CTL_CELL];

	if (has(d, "model"))
		put(&l, "%s", ctl_text(d, "model", a));
	if (has(d, "model_version"))
		put(&l, "version %s", ctl_text(d, "model_version", a));
	if (has(d, "model_requested") &&
	    !json_equal(json_object_get(d, "model_requested"), json_object_get(d, "model")))
		put(&l, "asked for %s%s", ctl_text(d, "model_requested", a),
		    has(d, "degraded") ? " (degraded: out of credit)" : "");
	if (has(d, "max_tokens_requested"))
		put(&l, "max_tokens cut from %s", ctl_text(d, "max_tokens_requested", a));
	if (has(d, "request_type"))
		put(&l, "%s", ctl_text(d, "request_type", a));
	if (has(d, "stream"))
		put(&l, "streamed");
	if (has(d, "encoded"))
		put(&l, "compressed");
	if (has(d, "finish_reason"))
		put(&l, "finish reason %s", ctl_text(d, "finish_reason", a));
	if (has(d, "cache_status"))
		put(&l, "cache %s", ctl_text(d, "cache_status", a));
	if (has(d, "retry_count"))
		put(&l, "retry %s", ctl_text(d, "retry_count", a));
	if (l.n)
		print_line("model", &l);
}

static bool is_ours(const json_t *d, const char *what)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(d, "estimated_counts"), i, v)
	{
		if (!strcmp(json_string_value(v), what))
			return true;
	}
	return false;
}

static void print_usage(const json_t *d)
{
	static const char *const counts[][2] = {
		{ "input_tokens", "input" },
		{ "cache_read_tokens", "cache read" },
		{ "cache_write_tokens", "cache write" },
		{ "output_tokens", "output" },
		{ "reasoning_tokens", "reasoning" },
		{ "audio_tokens", "audio" },
		{ "image_tokens", "image" },
	};
	const char *source = json_string_value(json_object_get(d, "usage_source"));
	struct line l = { .n = 0 };
	char a[CTL_CELL];

	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		if (has(d, counts[i][0]))
			put(&l, "%s %s%s", counts[i][1], is_ours(d, counts[i][1]) ? "about " : "",
			    ctl_text(d, counts[i][0], a));
	}
	if (!source)
		put(&l, "nothing that is metered");
	else if (!strcmp(source, "reported"))
		put(&l, "as the server reported");
	else if (!strcmp(source, "partial"))
		put(&l, "partial: what was seen of an answer that is not whole");
	else
		put(&l, "estimated: the server reports no usage");
	if (has(d, "lost_bytes"))
		put(&l, "bytes of it were lost on the way to the agent");
	if (has(d, "unjudged"))
		put(&l, "nobody was seen to ask for it");
	print_line("usage", &l);
}

/* ------------------------------------------------------------------- what it cost */

static void print_lines(const json_t *d)
{
	static const char *const names[] = { "",      "DIMENSION", ">QUANTITY",
					     ">UNIT", ">PER",	   ">AMOUNT" };
	const json_t *lines = json_object_get(d, "lines"), *line;
	struct ctl_table *t;
	size_t i;

	if (!json_array_size(lines))
		return;
	t = ctl_table_new(6, names);
	json_array_foreach(lines, i, line)
	{
		ctl_table_cell(t, "       ");
		ctl_table_field(t, line, "dimension");
		ctl_table_field(t, line, "quantity");
		ctl_table_field(t, line, "unit_price");
		ctl_table_field(t, line, "per");
		ctl_table_field(t, line, "amount");
	}
	ctl_table_print(t, NULL);
}

static void put_unbilled(struct line *l, const json_t *d)
{
	const char *abort = json_string_value(json_object_get(d, "abort"));

	if (has(d, "retry_free"))
		put(l, "a retry of an answer that broke off: not billed");
	else if (has(d, "cache_free"))
		put(l, "out of a cache: not billed");
	else if (abort && !strcmp(abort, "free"))
		put(l, "the client left: not billed");
	else if (json_is_false(json_object_get(d, "billable")))
		put(l, "not billed");
	if (abort && !strcmp(abort, "full"))
		put(l, "the client left: billed in full");
	if (has(d, "unpriced"))
		put(l, "no rate card has a price for it");
}

static void print_price(const json_t *d, const json_t *e)
{
	const json_t *card = json_object_get(d, "rate_card");
	struct line l = { .n = 0 };
	char a[CTL_CELL], b[CTL_CELL];

	put(&l, "%s credits", ctl_text(d, "price", a));
	put_unbilled(&l, d);
	if (json_is_object(card))
		put(&l, "card %s version %s, entry %" PRId64, ctl_text(card, "name", a),
		    ctl_text(card, "version", b), ctl_int(card, "entry"));
	if (has(card, "factor"))
		put(&l, "all times %s", ctl_text(card, "factor", a));
	if (has(d, "discount"))
		put(&l, "discount %s in it", ctl_text(d, "discount", a));
	put(&l, "cost %s", ctl_text(d, "cost", a));
	if (json_is_false(json_object_get(e, "posted")))
		put(&l, "not posted to a balance");
	print_line("price", &l);
	print_lines(d);
}

static void print_burn(const json_t *d)
{
	struct line l = { .n = 0 };
	char a[CTL_CELL];
	const json_t *b;
	size_t i;

	json_array_foreach(json_object_get(d, "burn"), i, b)
	{
		put(&l, "%s of grant #%" PRId64 "%s", ctl_text(b, "amount", a),
		    ctl_int(b, "grant_seq"), has(b, "expired") ? " after it expired" : "");
	}
	if (has(d, "debt"))
		put(&l, "debt %s%s", ctl_text(d, "debt", a)[0] == '-' ? "" : "+", a);
	if (l.n)
		print_line("burnt", &l);
}

static void print_refunds(const json_t *item)
{
	const json_t *refunds = json_object_get(item, "refunds"), *f;
	char a[CTL_CELL], b[CTL_CELL], c[CTL_CELL];
	size_t i;

	json_array_foreach(refunds, i, f)
	{
		struct line l = { .n = 0 };

		put(&l, "%s on %s by %s", ctl_text(f, "amount", a), ctl_when_ms(f, "time", b),
		    ctl_text(f, "actor", c));
		if (has(f, "as_grant"))
			put(&l, "as a grant");
		if (has(f, "reason"))
			put(&l, "\"%s\"", ctl_text(f, "reason", a));
		put(&l, "entry #%" PRId64, ctl_int(f, "seq"));
		print_line(i ? "" : "refunds", &l);
	}
}

/* ------------------------------------------------------------------- where it is kept */

static void print_ledger(const json_t *e)
{
	struct line l = { .n = 0 };
	char a[CTL_CELL], b[CTL_CELL];

	put(&l, "#%" PRId64 " of %s", ctl_int(e, "seq"), ctl_when_ms(e, "time", a));
	put(&l, "balance %s -> %s", ctl_text(e, "balance_before", a),
	    ctl_text(e, "balance_after", b));
	print_line("ledger", &l);
	printf("%*shash %s\n", INDENT, "", ctl_text(e, "hash", a));
}

static void print_event(const json_t *item, const json_t *event)
{
	const json_t *n = json_object_get(item, "nats");
	const char *state = json_string_value(json_object_get(n, "state"));
	struct line l = { .n = 0 };
	char a[CTL_CELL], b[CTL_CELL];

	printf("%-*s%s\n", INDENT, "event", ctl_text(event, "id", a));
	put(&l, "on %s", ctl_text(n, "subject", b));
	if (state && !strcmp(state, "acknowledged"))
		put(&l, "NATS has acknowledged it");
	else if (state && !strcmp(state, "behind"))
		put(&l, "NATS has not acknowledged it yet");
	else
		put(&l, "not published: no NATS is configured");
	print_line("", &l);
	if (!state || strcmp(state, "behind"))
		return;
	l.n = 0;
	put(&l, "%s: all up to #%" PRId64 " is acknowledged, %" PRId64 " entries are to go",
	    has(n, "connected") ? "NATS is connected" : "NATS cannot be reached",
	    ctl_int(n, "acknowledged_seq"), ctl_int(n, "behind"));
	print_line("", &l);
}

void ctl_trace_text(const json_t *item)
{
	const json_t *event = json_object_get(item, "event"), *e = json_object_get(item, "entry");
	const json_t *d = json_object_get(event, "data"), *q = json_object_get(item, "request");

	print_head(item, d, q);
	print_who(d);
	print_ids(d);
	print_times(d, q);
	print_model(d);
	if (json_is_object(q))
		print_usage(d);
	print_price(d, e);
	print_burn(d);
	print_refunds(item);
	print_ledger(e);
	print_event(item, event);
}
