/* SPDX-License-Identifier: Apache-2.0 */
/* A state file of its own for each claim. */
#ifndef WEIR_STATE_FIXTURE_H
#define WEIR_STATE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/state_file.h"

struct file {
	char dir[32];
	char path[48];
};

static inline int setup(void **state)
{
	static struct file f;

	strcpy(f.dir, "/tmp/weir-state-XXXXXX");
	if (!mkdtemp(f.dir))
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/x.state", f.dir);
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	struct file *f = *state;

	unlink(f->path);
	rmdir(f->dir);
	return 0;
}

static inline struct weir_state *open_for(struct file *f, uint64_t maps_id, uint32_t slots)
{
	struct weir_state *s = NULL;
	struct weir_error err;

	if (weir_state_open(f->path, maps_id, slots, &s, &err))
		fail_msg("%s", err.text);
	return s;
}

static inline struct weir_state *open_it(struct file *f, uint64_t maps_id)
{
	return open_for(f, maps_id, 64);
}

#endif
