/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl price import: reads LiteLLM's file, writes a card for the policy folder, and says
 * what of the file the card does not have. Needs no agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "price_import.h"

#define FILE_MAX (64 << 20) /* it has 1.6 MB */
#define HOUR	 (UINT64_C(3600) * WEIR_SECOND)
#define NAMED	 3 /* models of a kind, for people */

static int read_file(const char *path, char **out, size_t *len)
{
	weir_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	weir_autofree char *text = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st))
		return ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return ctl_fail(CTL_REFUSED, "%s: is not a file of at most %d bytes", path,
				FILE_MAX);
	text = malloc((size_t)st.st_size + 1);
	while (text && n < (size_t)st.st_size) {
		ssize_t r = read(fd, text + n, (size_t)st.st_size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(errno));
		if (!r)
			break;
		n += (size_t)r;
	}
	if (!text)
		return ctl_fail(CTL_REFUSED, "%s: out of memory", path);
	*out = text;
	*len = n;
	text = NULL;
	return CTL_DONE;
}

/* A card is immutable: a new version is a new file beside the old one. */
static int write_file(const char *path, const char *text)
{
	size_t n = strlen(text), at = 0;
	weir_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return ctl_fail(CTL_REFUSED, "%s: %s%s", path, strerror(errno),
				errno == EEXIST ? "; cards stand side by side: choose another name"
						: "");
	while (at < n) {
		ssize_t r = write(fd, text + at, n - at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			break;
		at += (size_t)r;
	}
	if (at < n || fsync(fd)) {
		int e = errno;

		unlink(path);
		return ctl_fail(CTL_REFUSED, "%s: %s", path, strerror(e));
	}
	return CTL_DONE;
}

/* ------------------------------------------------------------------------- the report */

struct kind {
	const json_t *first;
	size_t n;
	char models[256];
};

static bool same_kind(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "field"), json_object_get(b, "field")) &&
	       json_equal(json_object_get(a, "why"), json_object_get(b, "why")) &&
	       json_equal(json_object_get(a, "imported"), json_object_get(b, "imported"));
}

static void add_to_kind(struct kind *k, const json_t *note)
{
	char text[CTL_CELL];
	size_t n = strlen(k->models);

	if (k->n++ < NAMED)
		snprintf(k->models + n, sizeof(k->models) - n, "%s%s", n ? ", " : "",
			 ctl_text(note, "model", text));
}

/* What is left out, models and fields, by reason; all names are in --json. */
static void report(FILE *f, const json_t *skipped, bool imported)
{
	size_t n = 0, i, k;
	const json_t *note;
	weir_autofree struct kind *kinds = calloc(json_array_size(skipped) + 1, sizeof(*kinds));
	char a[CTL_CELL], b[CTL_CELL];

	if (!kinds)
		return;
	json_array_foreach(skipped, i, note)
	{
		if (json_is_true(json_object_get(note, "imported")) != imported)
			continue;
		for (k = 0; k < n && !same_kind(kinds[k].first, note);)
			k++;
		if (k == n)
			kinds[n++].first = note;
		add_to_kind(&kinds[k], note);
	}
	for (k = 0; k < n; k++) {
		ctl_text(kinds[k].first, "field", a);
		fprintf(f, "  %5zu  %s%s%s: %s%s\n", kinds[k].n, a, a[0] ? ": " : "",
			ctl_text(kinds[k].first, "why", b), kinds[k].models,
			kinds[k].n > NAMED ? ", ..." : "");
	}
}

static void tell(FILE *f, const struct price_imported *p, const char *to)
{
	fprintf(f, "%zu of %zu models are in the card%s%s\n", p->entries, p->models, to ? " " : "",
		to ? to : "");
	if (p->entries < p->models) {
		fprintf(f, "\nleft out (what is used of them is unpriced, and alarmed):\n");
		report(f, p->skipped, false);
	}
	if (json_array_size(p->skipped)) {
		fprintf(f, "\nnot said by the card, of models that are in it:\n");
		report(f, p->skipped, true);
	}
}

/* -------------------------------------------------------------------------- the command */

/* Now, up to the next full hour: time to look at it, and no request is repriced. */
static void next_hour(char out[static WEIR_TIME_TEXT])
{
	weir_time_format((weir_wall_ns() / HOUR + 1) * HOUR, out);
}

static const char *value_or(const struct ctl *c, const char *option, const char *other)
{
	const char *v = ctl_value(c, option);

	return v ? v : other;
}

static int finish(struct ctl *c, const struct price_imported *p)
{
	const char *to = ctl_value(c, "-o");
	int r = to ? write_file(to, p->card) : CTL_DONE;
	json_t *o;

	if (r)
		return r;
	if (!to && fputs(p->card, stdout) == EOF)
		return ctl_fail(CTL_REFUSED, "cannot write: %s", strerror(errno));
	if (!c->json) {
		tell(to ? stdout : stderr, p, to);
		return CTL_DONE;
	}
	if (!to)
		return CTL_DONE;
	o = json_pack("{s:s,s:I,s:I,s:O}", "file", to, "models", (json_int_t)p->models, "entries",
		      (json_int_t)p->entries, "skipped", p->skipped);
	r = ctl_print_json(o);
	json_decref(o);
	return r;
}

int ctl_price_import(struct ctl *c)
{
	const char *when = ctl_value(c, "--effective-from");
	char from[WEIR_TIME_TEXT], today[WEIR_TIME_TEXT];
	struct price_import how = {
		.name = value_or(c, "--name", "list"),
		.effective_from = from,
		.currency = value_or(c, "--currency", "USD"),
		.credit_price = value_or(c, "--credit-price", "1"),
		.markup = value_or(c, "--markup", "0"),
		.provider = ctl_value(c, "--provider"),
		.match = ctl_value(c, "--match"),
	};
	struct price_imported p;
	struct weir_error err = { "" };
	weir_autofree char *text = NULL;
	size_t len = 0;
	int r;

	if (when && ctl_time("--effective-from", when, 1, from))
		return CTL_USAGE;
	if (!when)
		next_hour(from);
	weir_time_format(weir_wall_ns(), today);
	today[10] = 0;
	how.version = value_or(c, "--version", today);
	if (c->json && !ctl_value(c, "-o"))
		return ctl_fail(CTL_USAGE, "price import: --json tells what was left out, -o says "
					   "where the card goes: give both");
	r = read_file(c->args[0], &text, &len);
	if (r)
		return r;
	if (price_import(text, len, c->args[0], &how, &p, &err))
		return ctl_fail(CTL_REFUSED, "%s", err.text);
	r = finish(c, &p);
	price_imported_free(&p);
	return r;
}
