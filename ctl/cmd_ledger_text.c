/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger entry in words, for `weirctl ledger`: what it was about, what moved, who did it and
 * why. Everything is there with --json; here is what one asks for first.
 */
#include "cmd_ledger_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

struct words {
	char *out;
	size_t n, size;
};

/* Parts are set off by commas. What does not fit is left out, and said so. */
static void put(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct words *w, const char *fmt, ...)
{
	char part[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(part, sizeof(part), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n + 8 > w->size - w->n) {
		if (w->n >= 3 && w->size - w->n >= 6 && strncmp(w->out + w->n - 3, "...", 3))
			w->n += (size_t)snprintf(w->out + w->n, w->size - w->n, " ...");
		return;
	}
	w->n += (size_t)snprintf(w->out + w->n, w->size - w->n, "%s%s", w->n ? ", " : "", part);
}

static bool has(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	return v && !json_is_null(v) && !json_is_false(v);
}

/* "of #5", "of schedule #5" */
static void put_of(struct words *w, const json_t *e)
{
	if (has(e, "schedule_seq"))
		put(w, "of schedule #%" PRId64, ctl_int(e, "schedule_seq"));
	else if (has(e, "of_seq"))
		put(w, "of #%" PRId64, ctl_int(e, "of_seq"));
}

static void put_lines(struct words *w, const json_t *e)
{
	const json_t *lines = json_object_get(e, "lines"), *l,
		     *card = json_object_get(e, "rate_card");
	char quantity[CTL_CELL], dimension[CTL_CELL], name[CTL_CELL], version[CTL_CELL];
	size_t i;

	if (has(e, "model"))
		put(w, "%s", ctl_text(e, "model", name));
	json_array_foreach(lines, i, l)
	{
		put(w, "%s %s", ctl_text(l, "quantity", quantity),
		    ctl_text(l, "dimension", dimension));
	}
	if (json_is_object(card))
		put(w, "card %s %s", ctl_text(card, "name", name),
		    ctl_text(card, "version", version));
	if (has(e, "unpriced"))
		put(w, "unpriced");
	if (json_is_false(json_object_get(e, "posted")))
		put(w, "not posted, price %s", ctl_text(e, "price", quantity));
}

static void put_terms(struct words *w, const json_t *g)
{
	char a[CTL_CELL], b[CTL_CELL], c[CTL_CELL];

	if (has(g, "pack"))
		put(w, "pack %s", ctl_text(g, "pack", a));
	put(w, "%s, priority %s", ctl_text(g, "source", a), ctl_text(g, "priority", b));
	if (has(g, "expires_at"))
		put(w, "until %s", ctl_when(g, "expires_at", a));
	if (has(g, "currency"))
		put(w, "cost %s %s", has(g, "cost_basis") ? ctl_text(g, "cost_basis", a) : "0",
		    ctl_text(g, "currency", c));
}

static void put_schedule(struct words *w, const json_t *s)
{
	char amount[CTL_CELL], every[CTL_CELL], zone[CTL_CELL], low[CTL_CELL], high[CTL_CELL];

	put(w, "%s every %s (%s)", ctl_text(s, "amount", amount), ctl_text(s, "every", every),
	    ctl_text(s, "zone", zone));
	if (strcmp(ctl_text(s, "rollover_max", high), "0"))
		put(w, "%s to %s rolled over", ctl_text(s, "rollover_min", low), high);
}

static void put_kind(struct words *w, const json_t *e)
{
	char a[CTL_CELL], b[CTL_CELL];

	put_of(w, e);
	if (has(e, "rolled"))
		put(w, "%s rolled over", ctl_text(e, "rolled", a));
	if (has(e, "as_grant"))
		put(w, "as a grant");
	if (has(e, "dimension") && has(e, "quantity"))
		put(w, "%s %s", ctl_text(e, "quantity", a), ctl_text(e, "dimension", b));
	if (has(e, "counter"))
		put(w, "%s", ctl_text(e, "counter", a));
	put_lines(w, e);
	if (has(e, "grant"))
		put_terms(w, json_object_get(e, "grant"));
	if (has(e, "schedule"))
		put_schedule(w, json_object_get(e, "schedule"));
	if (has(e, "threshold"))
		put(w, "below %s: asks for %s", ctl_text(e, "threshold", a),
		    ctl_text(e, "asked", b));
}

static void put_burn(struct words *w, const json_t *e)
{
	char amount[CTL_CELL];
	const json_t *b;
	size_t i;

	json_array_foreach(json_object_get(e, "burn"), i, b)
	{
		put(w, "%s of grant #%" PRId64 "%s", ctl_text(b, "amount", amount),
		    ctl_int(b, "grant_seq"), has(b, "expired") ? " after it expired" : "");
	}
	if (has(e, "debt"))
		put(w, "debt %s%s", ctl_text(e, "debt", amount)[0] == '-' ? "" : "+",
		    ctl_text(e, "debt", amount));
}

void ctl_entry_words(const json_t *e, char *out, size_t size)
{
	struct words w = { .out = out, .size = size };
	char text[CTL_CELL], other[CTL_CELL];

	out[0] = 0;
	put_kind(&w, e);
	put_burn(&w, e);
	if (has(e, "wallet"))
		put(&w, "used by %s, paid by %s", ctl_text(e, "tenant", text),
		    ctl_text(e, "wallet", other));
	if (has(e, "reason"))
		put(&w, "\"%s\"", ctl_text(e, "reason", text));
	if (strcmp(ctl_text(e, "actor", text), "agent"))
		put(&w, "by %s", text);
	if (has(e, "id"))
		put(&w, "id %s", ctl_text(e, "id", text));
}
