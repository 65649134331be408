/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output for people and for scripts: aligned tables, figures one can read, and
 * JSON lines. Text from outside (model names, reasons) is stripped of control
 * characters here, so that it cannot speak to the terminal.
 */
#include "ctl.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ctl_print_json(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY) || putchar('\n') == EOF)
		return ctl_fail(CTL_REFUSED, "cannot write: %s", strerror(errno));
	return CTL_DONE;
}

int ctl_print_item(json_t *item, void *ctx)
{
	int r = ctl_print_json(item);

	/* Lines are worth more when they come as they happen. */
	fflush(stdout);
	return r;
}

int ctl_show(struct ctl *c, json_t *request, int (*show)(struct ctl *c, const json_t *result))
{
	json_t *result = NULL;
	int r = ctl_request(c, request, NULL, NULL, &result);

	if (!r)
		r = c->json ? ctl_print_json(result) : show(c, result);
	json_decref(result);
	return r;
}

/* ------------------------------------------------------------------------- cells */

static void clean(const char *text, char out[static CTL_CELL])
{
	size_t n = 0;

	for (; *text && n < CTL_CELL - 1; text++) {
		unsigned char ch = (unsigned char)*text;

		/* C1 controls are 0xc2 0x80 to 0xc2 0x9f in UTF-8. */
		if (ch == 0xc2 && (unsigned char)text[1] < 0xa0) {
			out[n++] = '?';
			text++;
		} else {
			out[n++] = iscntrl(ch) ? '?' : (char)ch;
		}
	}
	/* No half characters at the cut. */
	if (*text) {
		while (n && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
			n--;
		if (n && (unsigned char)out[n - 1] >= 0xc0)
			n--;
	}
	out[n] = 0;
}

const char *ctl_text(const json_t *o, const char *name, char out[static CTL_CELL])
{
	const json_t *v = name ? json_object_get(o, name) : o;

	if (json_is_string(v))
		clean(json_string_value(v), out);
	else if (json_is_integer(v))
		snprintf(out, CTL_CELL, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_boolean(v))
		snprintf(out, CTL_CELL, "%s", json_is_true(v) ? "yes" : "no");
	else
		snprintf(out, CTL_CELL, "-");
	return out;
}

int64_t ctl_int(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

const char *ctl_when(const json_t *o, const char *name, char out[static CTL_CELL])
{
	char *dot, *end;

	ctl_text(o, name, out);
	dot = strchr(out, '.');
	end = dot ? strchr(dot, 'Z') : NULL;
	if (end)
		memmove(dot, end, strlen(end) + 1);
	return out;
}

void ctl_bytes(uint64_t n, char out[static CTL_CELL])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	uint64_t whole = n, tenths = 0;
	size_t u = 0;

	for (; whole >= 1024 && u < 4; u++) {
		tenths = whole % 1024 * 10 / 1024;
		whole /= 1024;
	}
	if (u)
		snprintf(out, CTL_CELL, "%" PRIu64 ".%" PRIu64 " %s", whole, tenths, units[u]);
	else
		snprintf(out, CTL_CELL, "%" PRIu64 " B", n);
}

void ctl_duration(uint64_t s, char out[static CTL_CELL])
{
	if (s >= 86400)
		snprintf(out, CTL_CELL, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		snprintf(out, CTL_CELL, "%" PRIu64 "h %" PRIu64 "m", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		snprintf(out, CTL_CELL, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
	else
		snprintf(out, CTL_CELL, "%" PRIu64 "s", s);
}

#define WIDE 80 /* columns of a terminal that nobody has made wider */

void ctl_wrap(const char *text, size_t at, size_t indent)
{
	do {
		size_t n = strlen(text), room = at < indent ? WIDE - indent : WIDE - at, cut = n;

		if (n > room) {
			/* At the last blank that fits; a word that is too long stays whole. */
			for (cut = room; cut && text[cut] != ' '; cut--)
				;
			if (!cut)
				cut = strcspn(text, " ");
		}
		printf("%*s%.*s\n", at < indent ? (int)(indent - at) : 0, "", (int)cut, text);
		text += cut;
		text += strspn(text, " ");
		at = 0;
	} while (*text);
}

/* ------------------------------------------------------------------------- tables */

struct ctl_table {
	size_t columns;
	const char *const *names;
	char (*cells)[CTL_CELL];
	size_t n, cap;
};

struct ctl_table *ctl_table_new(size_t columns, const char *const *names)
{
	struct ctl_table *t = calloc(1, sizeof(*t));

	if (!t) {
		ctl_fail(CTL_REFUSED, "out of memory");
		exit(CTL_REFUSED);
	}
	t->columns = columns;
	t->names = names;
	return t;
}

void ctl_table_cell(struct ctl_table *t, const char *text)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		void *p = realloc(t->cells, cap * sizeof(*t->cells));

		if (!p) {
			ctl_fail(CTL_REFUSED, "out of memory");
			exit(CTL_REFUSED);
		}
		t->cells = p;
		t->cap = cap;
	}
	clean(text, t->cells[t->n++]);
}

void ctl_table_field(struct ctl_table *t, const json_t *o, const char *name)
{
	char text[CTL_CELL];

	ctl_table_cell(t, ctl_text(o, name, text));
}

/* Characters, not bytes: good enough for names; nothing here is double-width. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void print_cell(const char *text, size_t wide, bool right, bool last)
{
	int pad = (int)(wide - width(text));

	if (right)
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

void ctl_table_print(struct ctl_table *t, const char *empty)
{
	size_t wide[32] = { 0 };

	if (!t->n && empty)
		printf("%s\n", empty);
	for (size_t i = 0; i < t->columns; i++)
		wide[i] = width(t->names[i]) - (t->names[i][0] == '>');
	for (size_t i = 0; i < t->n; i++) {
		size_t w = width(t->cells[i]);

		if (w > wide[i % t->columns])
			wide[i % t->columns] = w;
	}
	for (size_t i = 0; t->n && i < t->columns; i++) {
		bool right = t->names[i][0] == '>';

		print_cell(t->names[i] + right, wide[i], right, i + 1 == t->columns);
	}
	for (size_t i = 0; i < t->n; i++) {
		size_t col = i % t->columns;

		print_cell(t->cells[i], wide[col], t->names[col][0] == '>', col + 1 == t->columns);
	}
	free(t->cells);
	free(t);
}

/* --------------------------------------------------------------------------- time */

int ctl_time(const char *option, const char *text, int sign, char out[static WEIR_TIME_TEXT])
{
	static const struct {
		char unit;
		uint64_t seconds;
	} spans[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	char whole[WEIR_TIME_TEXT + 16], *end;
	uint64_t at, n, ns;

	if (!weir_time_parse(text, &at)) {
		weir_time_format(at, out);
		return CTL_DONE;
	}
	snprintf(whole, sizeof(whole), "%.10sT00:00:00Z", text);
	if (strlen(text) == 10 && !weir_time_parse(whole, &at)) {
		weir_time_format(at, out);
		return CTL_DONE;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	for (size_t i = 0; i < 5 && isdigit((unsigned char)text[0]) && !errno; i++) {
		if (end[0] != spans[i].unit || end[1])
			continue;
		at = weir_wall_ns();
		if (__builtin_mul_overflow(n, spans[i].seconds * UINT64_C(1000000000), &ns) ||
		    ns > (sign < 0 ? at : INT64_MAX - at))
			break;
		weir_time_format(sign < 0 ? at - ns : at + ns, out);
		return CTL_DONE;
	}
	return ctl_fail(CTL_USAGE,
			"%s: \"%.64s\" is not a time, such as 2026-11-01T00:00:00Z, 2026-11-01, "
			"90m, 12h, 7d",
			option, text);
}
