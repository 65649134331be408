/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the agent is with reading the ledger: {"seq","newest"} upwards, or with "oldest" back
 * from the newest; with "phase", what else it reads. Only for somebody who waits at a terminal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "ctl.h"

static bool shown;

void ctl_progress_ask(json_t *request)
{
	if (request && isatty(STDERR_FILENO))
		json_object_set_new(request, "progress", json_true());
}

bool ctl_progress(const json_t *item)
{
	int64_t newest = ctl_int(item, "newest"), seq = ctl_int(item, "seq");
	const char *phase = json_string_value(json_object_get(item, "phase"));
	bool back = json_object_get(item, "oldest");
	int64_t oldest = back ? ctl_int(item, "oldest") : 1;
	int64_t all = newest - oldest + 1, done = back ? newest - seq : seq - oldest;

	if (!json_object_get(item, "newest"))
		return false;
	if (all <= 0 || !isatty(STDERR_FILENO))
		return true;
	fprintf(stderr, "\rreading the %.16s: %3" PRId64 " %%", phase ? phase : "ledger",
		done >= all ? 100 : (int64_t)((__int128)done * 100 / all));
	fflush(stderr);
	shown = true;
	return true;
}

int ctl_progress_item(json_t *item, void *ctx)
{
	ctl_progress(item);
	return CTL_DONE;
}

void ctl_progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}
