/* SPDX-License-Identifier: Apache-2.0 */
/* A control socket before an agent that has no kernel, and a client's words to it. */
#ifndef WEIR_CONTROL_FIXTURE_H
#define WEIR_CONTROL_FIXTURE_H

#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fake_agent.h"

#include "agent/control.h"

static struct fake *f;
static struct weir_control *control;

static inline int setup(void **state)
{
	struct weir_error err = { "" };

	f = fake_new(NULL);
	if (weir_control_start(f->socket, &f->view, &control, &err))
		fail_msg("%s", err.text);
	return 0;
}

static inline int teardown(void **state)
{
	weir_control_stop(control);
	assert_int_not_equal(access(f->socket, F_OK), 0);
	fake_free(f);
	return 0;
}

static inline int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static inline void say(int fd, const char *text, size_t n)
{
	assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), n);
}

static inline void say_line(int fd, const char *line)
{
	say(fd, line, strlen(line));
}

/* The next line as JSON; NULL at the end. */
static inline json_t *hear(int fd)
{
	static char line[1 << 20];
	size_t n = 0;
	json_t *o;

	while (n < sizeof(line) && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n')
		n++;
	if (!n)
		return NULL;
	o = json_loadb(line, n, 0, NULL);
	assert_non_null(o);
	return o;
}

static inline json_t *ask(const char *request)
{
	int fd = dial();
	json_t *o;

	say(fd, request, strlen(request));
	say_line(fd, "\n");
	o = hear(fd);
	close(fd);
	assert_non_null(o);
	return o;
}

static inline void assert_refused(json_t *o, const char *code, const char *words)
{
	json_t *e = json_object_get(o, "error");
	const char *text = json_string_value(json_object_get(e, "message"));

	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_string_equal(json_string_value(json_object_get(e, "code")), code);
	assert_non_null(text);
	if (!strstr(text, words))
		fail_msg("\"%s\" does not say \"%s\"", text, words);
	json_decref(o);
}

static inline json_t *result_of(json_t *o)
{
	json_t *r = json_object_get(o, "result");

	if (!json_is_true(json_object_get(o, "ok")))
		fail_msg("%s", json_dumps(o, 0));
	json_incref(r);
	json_decref(o);
	return r;
}

static inline const char *text(json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static inline json_int_t integer(json_t *o, const char *name)
{
	json_t *v = json_object_get(o, name);

	if (!json_is_integer(v))
		fail_msg("%s is no integer in %s", name, json_dumps(o, 0));
	return json_integer_value(v);
}

static inline bool truth(json_t *o, const char *name)
{
	json_t *v = json_object_get(o, name);

	assert_true(json_is_boolean(v));
	return json_is_true(v);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
