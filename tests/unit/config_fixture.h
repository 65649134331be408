/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is an agent.json, for the tests of those who read it. */
#ifndef WEIR_CONFIG_FIXTURE_H
#define WEIR_CONFIG_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config.h"

static char path[] = "/tmp/weir-config-XXXXXX";

static inline int make_file(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static inline int remove_file(void **state)
{
	return unlink(path);
}

static inline void put(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static inline struct weir_agent_config load(const char *text)
{
	struct weir_agent_config c;
	struct weir_error err;

	put(text);
	if (weir_agent_config_load(path, &c, &err))
		fail_msg("%s", err.text);
	return c;
}

/* The text, with "FILE" for the file's path. */
static inline void refused(const char *text, const char *error)
{
	struct weir_agent_config c;
	struct weir_error err;
	char want[600];

	memset(&c, 0x5a, sizeof(c));
	put(text);
	assert_int_equal(weir_agent_config_load(path, &c, &err), -EINVAL);
	snprintf(want, sizeof(want), "%s: %s", path, error);
	assert_string_equal(err.text, want);
	assert_int_equal(c.http_port, 0x5a5a); /* untouched */
}

#define MINIMAL(more)                                                                              \
	"{\"node\": \"n\", \"interfaces\": [\"eth0\"], \"services\": [{\"port\": 8000}]" more "}"

#endif
