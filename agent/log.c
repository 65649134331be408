/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line a message to stderr, in one write, so that lines of several
 * threads do not mix. It owns how a line looks and nothing of what is said; what
 * comes in from outside (names, server text) cannot start a new line.
 */
#include "util.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int max_level = WEIR_INFO;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool to_journal;

void weir_log_max(enum weir_level level)
{
	max_level = level;
}

/* systemd names the stream it gave us (systemd.exec(5)): if stderr is still that
 * one, priorities are understood there; anywhere else "<4>" would be noise. */
static void look_for_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0)
		to_journal = st.st_dev == dev && st.st_ino == ino;
}

static const char *word_of(enum weir_level level)
{
	switch (level) {
	case WEIR_ERR:
		return "error: ";
	case WEIR_WARN:
		return "warning: ";
	case WEIR_DEBUG:
		return "debug: ";
	default:
		return "";
	}
}

void weir_log(enum weir_level level, const char *fmt, ...)
{
	char line[2048];
	size_t cap = sizeof(line) - 1; /* room for the newline */
	int saved = errno;
	size_t start, n;
	va_list ap;
	int r;

	if ((int)level > max_level)
		return;
	pthread_once(&once, look_for_journal);
	if (to_journal)
		r = snprintf(line, cap, "<%d>", (int)level);
	else
		r = snprintf(line, cap, "%s: %s", program_invocation_short_name, word_of(level));
	start = r < 0 ? 0 : (size_t)r < cap ? (size_t)r : cap - 1;

	errno = saved; /* for %m */
	va_start(ap, fmt);
	r = vsnprintf(line + start, cap - start, fmt, ap);
	va_end(ap);
	if (r < 0)
		line[start] = '\0';
	n = start + strlen(line + start);
	for (size_t i = start; i < n; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[n++] = '\n';

	for (size_t done = 0; done < n;) {
		ssize_t w = write(STDERR_FILENO, line + done, n - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			break; /* nowhere left to complain to */
		done += (size_t)w;
	}
	errno = saved;
}
