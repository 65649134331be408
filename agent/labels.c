// SPDX-License-Identifier: Apache-2.0
/*
 * A source that is there decides, be it that it says nothing: so the order in which lines come
 * does not matter, and nobody gets a label past a gateway by sending the gateway's header twice.
 */
#include "labels.h"

#include <string.h>

#define TRACEPARENT_BYTES 55 /* of version 00; later ones may go on behind it */

const char *const weir_label_names[WEIR_LABEL_MAX] = {
	[WEIR_LABEL_USER] = "user",
	[WEIR_LABEL_TEAM] = "team",
	[WEIR_LABEL_COST_CENTER] = "cost_center",
	[WEIR_LABEL_SESSION] = "session",
	[WEIR_LABEL_FEATURE] = "feature",
	[WEIR_LABEL_TRACE] = "trace_id",
	[WEIR_LABEL_REQUEST_ID] = "request_id",
	[WEIR_LABEL_RETRY] = "retry_count",
};

/* ---------------------------------------------------------------- configuration */

void weir_label_config_default(struct weir_label_config *c)
{
	static const struct weir_label_source defaults[] = {
		{ WEIR_LABEL_USER, WEIR_LABEL_HEADER, "x-weir-user" },
		{ WEIR_LABEL_USER, WEIR_LABEL_BAGGAGE, "user.id" },
		{ WEIR_LABEL_USER, WEIR_LABEL_BAGGAGE, "enduser.id" },
		{ WEIR_LABEL_TEAM, WEIR_LABEL_HEADER, "x-weir-team" },
		{ WEIR_LABEL_TEAM, WEIR_LABEL_BAGGAGE, "team" },
		{ WEIR_LABEL_COST_CENTER, WEIR_LABEL_HEADER, "x-weir-cost-center" },
		{ WEIR_LABEL_COST_CENTER, WEIR_LABEL_BAGGAGE, "cost_center" },
		{ WEIR_LABEL_SESSION, WEIR_LABEL_HEADER, "x-weir-session" },
		{ WEIR_LABEL_SESSION, WEIR_LABEL_BAGGAGE, "session.id" },
		{ WEIR_LABEL_FEATURE, WEIR_LABEL_HEADER, "x-weir-feature" },
		{ WEIR_LABEL_FEATURE, WEIR_LABEL_BAGGAGE, "feature" },
		{ WEIR_LABEL_TRACE, WEIR_LABEL_HEADER, "traceparent" },
		{ WEIR_LABEL_REQUEST_ID, WEIR_LABEL_HEADER, "x-request-id" },
		{ WEIR_LABEL_RETRY, WEIR_LABEL_HEADER, "x-stainless-retry-count" },
	};

	memset(c, 0, sizeof(*c));
	memcpy(c->sources, defaults, sizeof(defaults));
	c->n_sources = sizeof(defaults) / sizeof(*defaults);
	c->body_user = true;
	c->asked_bytes = 4096;
}

void weir_label_line_name(const char *name, struct weir_line_name *out)
{
	char text[WEIR_LABEL_NAME_BYTES + 1];
	size_t n = strnlen(name, WEIR_LABEL_NAME_BYTES - 1), look;
	uint8_t *word = (uint8_t *)out->word, *mask = (uint8_t *)out->mask;

	memcpy(text, name, n);
	text[n++] = ':';
	memset(out, 0, sizeof(*out));
	out->len = (uint32_t)n;
	look = n < sizeof(out->word) ? n : sizeof(out->word);
	for (size_t i = 0; i < look; i++) {
		word[i] = (uint8_t)text[i] | 0x20;
		mask[i] = 0xff;
	}
}

static void add_line(const struct weir_line_name *name, struct weir_line_name *out, uint32_t *n)
{
	for (uint32_t i = 0; i < *n; i++)
		if (out[i].len == name->len &&
		    !memcmp(out[i].word, name->word, sizeof(name->word))) {
			out[i].flags &= name->flags; /* only if nobody wants the zero */
			return;
		}
	if (*n < WEIR_LINE_NAMES)
		out[(*n)++] = *name;
}

uint32_t weir_label_lines(const struct weir_label_config *c,
			  struct weir_line_name out[static WEIR_LINE_NAMES], uint64_t *bits)
{
	uint32_t n = 0;

	for (size_t i = 0; i < c->n_sources; i++) {
		const struct weir_label_source *s = &c->sources[i];
		struct weir_line_name name;

		weir_label_line_name(s->kind == WEIR_LABEL_BAGGAGE ? "baggage" : s->name, &name);
		if (s->label == WEIR_LABEL_RETRY && s->kind == WEIR_LABEL_HEADER)
			name.flags = WEIR_LINE_NOT_ZERO;
		add_line(&name, out, &n);
	}
	*bits = 0;
	for (uint32_t i = 0; i < n; i++) /* of a short name's line the first word is not known */
		*bits |= ~out[i].mask[0] ? ~UINT64_C(0) : weir_line_bit(out[i].word[0]);
	return n;
}

/* ---------------------------------------------------------------- values */

struct text {
	const char *p;
	size_t n;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct text trim(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	while (p < end && is_blank(end[-1]))
		end--;
	return (struct text){ p, (size_t)(end - p) };
}

static bool same_text(struct text t, const char *s)
{
	return strlen(s) == t.n && !memcmp(t.p, s, t.n);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int any_hex(char c)
{
	return hex(c >= 'A' && c <= 'F' ? (char)(c | 0x20) : c);
}

/* Where a label's text is kept, and how long it may be, its NUL included. */
static char *room_of(struct weir_labels *l, enum weir_label label, size_t *size)
{
#define ROOM(field) (*size = sizeof(l->field), l->field)
	switch (label) {
	case WEIR_LABEL_USER:
		return ROOM(user);
	case WEIR_LABEL_TEAM:
		return ROOM(team);
	case WEIR_LABEL_COST_CENTER:
		return ROOM(cost_center);
	case WEIR_LABEL_SESSION:
		return ROOM(session);
	case WEIR_LABEL_FEATURE:
		return ROOM(feature);
	case WEIR_LABEL_REQUEST_ID:
		return ROOM(request_id);
	default:
		return NULL;
	}
#undef ROOM
}

/* Whole, or nothing of it. */
static void put_text(char *out, size_t size, struct text v)
{
	bool good = v.n < size;

	for (size_t i = 0; good && i < v.n; i++)
		good = v.p[i] > ' ' && v.p[i] <= '~';
	memset(out, 0, size);
	if (good)
		memcpy(out, v.p, v.n);
}

/* n hex digits, lower case (W3C). false: others, or nothing but zeros. */
static bool read_hex(const char *p, size_t n, uint8_t *out)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i += 2) {
		int high = hex(p[i]), low = hex(p[i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i / 2] = (uint8_t)(high << 4 | low);
		any |= out[i / 2];
	}
	return any;
}

static void put_trace(uint8_t out[static 16], struct text v)
{
	uint8_t trace[16], parent[8];
	int version;

	memset(out, 0, 16);
	if (v.n < TRACEPARENT_BYTES || hex(v.p[0]) < 0 || hex(v.p[1]) < 0 || v.p[2] != '-' ||
	    v.p[35] != '-' || v.p[52] != '-' || hex(v.p[53]) < 0 || hex(v.p[54]) < 0)
		return;
	version = hex(v.p[0]) << 4 | hex(v.p[1]);
	if (version == 0xff || (v.n > TRACEPARENT_BYTES && (!version || v.p[55] != '-')))
		return;
	if (read_hex(v.p + 3, 32, trace) && read_hex(v.p + 36, 16, parent))
		memcpy(out, trace, sizeof(trace));
}

static void put_count(uint8_t *out, struct text v)
{
	uint32_t n = 0;

	*out = 0;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return;
		n = n * 10 + (uint32_t)(v.p[i] - '0');
		if (n > 255)
			n = 255;
	}
	*out = (uint8_t)n;
}

static void put_value(struct weir_labels *l, enum weir_label label, struct text v)
{
	size_t size;
	char *room = room_of(l, label, &size);

	if (room)
		put_text(room, size, v);
	else if (label == WEIR_LABEL_TRACE)
		put_trace(l->trace_id, v);
	else if (label == WEIR_LABEL_RETRY)
		put_count(&l->retry_count, v);
}

/* A source of that rank is there, and says v. */
static void say(struct weir_labels *l, enum weir_label label, uint8_t rank, struct text v)
{
	if (l->rank[label] && l->rank[label] < rank)
		return;
	l->twice[label] = l->rank[label] == rank;
	l->rank[label] = rank;
	if (l->twice[label])
		v.n = 0;
	put_value(l, label, v);
}

static uint8_t rank_of(size_t source)
{
	_Static_assert(WEIR_LABEL_SOURCES + 1 <= UINT8_MAX, "a rank");
	return (uint8_t)(source + 1);
}

/* ---------------------------------------------------------------- baggage */

/* Percent-decoded into `room`; what does not fit into it fits no label either. */
static struct text decode(struct text v, char *room, size_t size)
{
	struct text none = { room, 0 };
	size_t n = 0;

	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];

		if (c == '%') {
			int high = v.n - i > 2 ? any_hex(v.p[i + 1]) : -1;
			int low = high < 0 ? -1 : any_hex(v.p[i + 2]);

			if (low < 0)
				return none;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (n == size)
			return none;
		room[n++] = c;
	}
	return (struct text){ room, n };
}

static void member(const struct weir_label_config *c, struct weir_labels *l, const char *p,
		   const char *end)
{
	const char *equals = memchr(p, '=', (size_t)(end - p)), *properties;
	char room[64]; /* the longest label and a byte that is too much */
	struct text key;

	if (!equals)
		return;
	key = trim(p, equals);
	properties = memchr(equals, ';', (size_t)(end - equals));
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct weir_label_source *s = &c->sources[i];

		if (s->kind != WEIR_LABEL_BAGGAGE || !same_text(key, s->name))
			continue;
		say(l, s->label, rank_of(i),
		    decode(trim(equals + 1, properties ? properties : end), room, sizeof(room)));
	}
}

/* Several such lines are one list (W3C baggage, 3.3.1); what is cut is not believed. */
static void baggage(const struct weir_label_config *c, struct weir_labels *l, const char *p,
		    const char *end, bool cut)
{
	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));

		if (!comma && cut)
			return;
		member(c, l, p, comma ? comma : end);
		p = comma ? comma + 1 : end;
	}
}

/* ---------------------------------------------------------------- lines */

static bool same_name(const char *name, const char *line, size_t n)
{
	if (strlen(name) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = line[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (c != name[i])
			return false;
	}
	return true;
}

void weir_labels_line(const struct weir_label_config *c, struct weir_labels *l, const char *line,
		      size_t n, uint32_t flags)
{
	const char *colon = n ? memchr(line, ':', n) : NULL, *end = line + n;
	bool cut = flags & WEIR_LINE_CUT;
	struct text v;
	size_t name;

	if (flags & WEIR_LABELS_TRUSTED)
		l->trusted = 1;
	if (!colon)
		return;
	name = (size_t)(colon - line);
	v = trim(colon + 1, end);
	if (cut)
		v.n = 0;
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct weir_label_source *s = &c->sources[i];

		if (s->kind == WEIR_LABEL_HEADER && same_name(s->name, line, name))
			say(l, s->label, rank_of(i), v);
	}
	if (same_name("baggage", line, name))
		baggage(c, l, colon + 1, end, cut);
}

void weir_labels_body_user(const struct weir_label_config *c, struct weir_labels *l,
			   const char *user, size_t n)
{
	uint8_t rank = rank_of(c->n_sources);

	if (!c->body_user || (l->rank[WEIR_LABEL_USER] && l->rank[WEIR_LABEL_USER] < rank))
		return;
	if (!n && !l->rank[WEIR_LABEL_USER])
		return;
	l->rank[WEIR_LABEL_USER] = rank;
	put_text(l->user, sizeof(l->user), (struct text){ user, n });
}
