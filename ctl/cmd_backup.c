/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl backup, weirctl ledger seal. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

static int show_progress(json_t *item, void *ctx)
{
	int64_t done = ctl_int(item, "done"), total = ctl_int(item, "total");
	char phase[CTL_CELL];
	bool *shown = ctx;

	if (total > 0) {
		fprintf(stderr, "\r%s: %3" PRId64 " %%", ctl_text(item, "phase", phase),
			done * 100 / total);
		fflush(stderr);
		*shown = true;
	}
	return CTL_DONE;
}

/* The agent writes it, from another working folder. */
static int absolute(const char *file, char out[static PATH_MAX])
{
	char cwd[PATH_MAX];

	if (file[0] == '/' || !getcwd(cwd, sizeof(cwd)))
		cwd[0] = 0;
	if (snprintf(out, PATH_MAX, "%s%s%s", cwd, cwd[0] ? "/" : "", file) >= PATH_MAX)
		return ctl_fail(CTL_USAGE, "%s: the path is too long", file);
	return CTL_DONE;
}

static int show_backup(const json_t *v)
{
	char bytes[CTL_CELL], when[CTL_CELL], head[CTL_CELL];
	int64_t segments = ctl_int(v, "segments");

	ctl_bytes((uint64_t)ctl_int(v, "bytes"), bytes);
	printf("%s: %s, up to entry %" PRId64 " of %s\nhead %s\n",
	       json_string_value(json_object_get(v, "file")), bytes, ctl_int(v, "newest"),
	       ctl_when(v, "time", when), ctl_text(v, "head", head));
	if (segments)
		printf("%" PRId64 " sealed segments are not in it: copy the folder segments beside "
		       "the database too\n",
		       segments);
	return CTL_DONE;
}

int ctl_backup(struct ctl *c)
{
	bool shown = false;
	char file[PATH_MAX];
	json_t *o, *v = NULL;
	int r = absolute(c->args[0], file);

	if (r)
		return r;
	o = ctl_op(c, "backup");
	ctl_set(o, "file", file);
	if (o && ctl_value(c, "--force"))
		json_object_set_new(o, "force", json_true());
	if (o && isatty(STDERR_FILENO))
		json_object_set_new(o, "progress", json_true());
	r = ctl_request(c, o, show_progress, &shown, &v);
	if (shown)
		fputs("\r\033[K", stderr);
	if (!r)
		r = c->json ? ctl_print_json(v) : show_backup(v);
	json_decref(v);
	return r;
}

int ctl_ledger_seal(struct ctl *c)
{
	json_t *o = ctl_op(c, "ledger.seal"), *v = NULL;
	int r;

	ctl_set(o, "month", c->args[0]);
	r = ctl_request(c, o, NULL, NULL, &v);
	if (!r && c->json)
		r = ctl_print_json(v);
	else if (!r)
		printf("entries %" PRId64 "-%" PRId64 " are in segments/%s\nsha256 %s\n",
		       ctl_int(v, "first"), ctl_int(v, "last"),
		       json_string_value(json_object_get(v, "file")),
		       json_string_value(json_object_get(v, "sha256")));
	json_decref(v);
	return r;
}
