/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl itself, run against a control socket whose agent has no kernel. */
#ifndef WEIR_CTL_FIXTURE_H
#define WEIR_CTL_FIXTURE_H

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "fake_agent.h"

#include "agent/control.h"

static struct fake *f;
static struct weir_control *control;
static char out[1 << 16], err_text[1 << 14];

static inline int setup(void **state)
{
	struct weir_error err = { "" };

	f = fake_new(NULL);
	if (weir_control_start(f->socket, &f->view, &control, &err))
		fail_msg("%s", err.text);
	setenv("WEIR_SOCKET", f->socket, 1);
	return 0;
}

static inline int teardown(void **state)
{
	weir_control_stop(control);
	control = NULL;
	fake_free(f);
	return 0;
}

static inline void slurp(const char *path, char *to, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, to, n - 1);

	close(fd);
	assert_true(got >= 0);
	to[got] = 0;
}

/* Run weirctl with words separated by blanks; its exit status. */
static inline int ctl(const char *words)
{
	const char *program = getenv("WEIRCTL");
	char line[512], *argv[32] = { "weirctl" }, *save = NULL;
	char out_path[128], err_path[128];
	int n = 1, status;
	pid_t pid;

	snprintf(line, sizeof(line), "%s", words);
	snprintf(out_path, sizeof(out_path), "%s/out", f->dir);
	snprintf(err_path, sizeof(err_path), "%s/err", f->dir);
	for (char *w = strtok_r(line, " ", &save); w && n < 31; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	pid = fork();
	if (!pid) {
		int o = open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		int e = open(err_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		dup2(o, 1);
		dup2(e, 2);
		execv(program ? program : "build/weirctl", argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	slurp(out_path, out, sizeof(out));
	slurp(err_path, err_text, sizeof(err_text));
	if (!WIFEXITED(status))
		fail_msg("weirctl %s died of signal %d: %s", words, WTERMSIG(status), err_text);
	return WEXITSTATUS(status);
}

static inline json_t *ctl_json(const char *words)
{
	json_t *o;

	if (ctl(words))
		fail_msg("weirctl %s: %s", words, err_text);
	o = json_loads(out, 0, NULL);
	if (!o)
		fail_msg("weirctl %s: not JSON: %s", words, out);
	return o;
}

static inline void assert_says(const char *what, const char *words)
{
	if (!strstr(what, words))
		fail_msg("\"%s\" does not say \"%s\"", what, words);
}

/* A usage error or refusal: status, one line on stderr, nothing on stdout. */
static inline void assert_fails(const char *words, int status, const char *says)
{
	int got = ctl(words);

	if (got != status)
		fail_msg("weirctl %s: exit status %d, not %d: %s", words, got, status, err_text);
	assert_int_equal(strncmp(err_text, "weirctl: ", 9), 0);
	assert_ptr_equal(strchr(err_text, '\n'), err_text + strlen(err_text) - 1);
	assert_says(err_text, says);
	assert_string_equal(out, "");
}

static inline void assert_narrow(void)
{
	for (char *line = out, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		if (end - line > 80)
			fail_msg("wider than 80: %.*s", (int)(end - line), line);
	}
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
