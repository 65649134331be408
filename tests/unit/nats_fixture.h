/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debian's nats-server on a loopback port of its own, and a look at its streams from
 * outside.
 */
#ifndef WEIR_NATS_FIXTURE_H
#define WEIR_NATS_FIXTURE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <nats/nats.h>

#define PATIENCE_MS 20000

/* A connection that is destroyed is let go of by a thread of libnats, which may not have run when
 * the program ends: its list of servers was then reported as a leak, once in some ten runs. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:natsSrvPool_Create\n";
}

static pid_t server;
static char url[64], port[16], store[96];

static inline void pause_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static inline bool can_connect(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ok = !connect(fd, (struct sockaddr *)&a, sizeof(a));
	close(fd);
	return ok;
}

static inline void pick_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	snprintf(port, sizeof(port), "%u", ntohs(a.sin_port));
	snprintf(url, sizeof(url), "nats://127.0.0.1:%s", port);
}

static inline void server_start(void)
{
	server = fork();
	assert_true(server >= 0);
	if (!server) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		dup2(null, 2);
		execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd",
		       store, (char *)NULL);
		execl("/usr/sbin/nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-js",
		      "-sd", store, (char *)NULL);
		_exit(127);
	}
	for (unsigned ms = 0; !can_connect(); ms += 10) {
		assert_true(ms < PATIENCE_MS);
		assert_int_equal(waitpid(server, NULL, WNOHANG), 0);
		pause_ms(10);
	}
}

static inline void server_end(int sig)
{
	if (server <= 0)
		return;
	kill(server, sig);
	waitpid(server, NULL, 0);
	server = 0;
}

/* ------------------------------------------------- a look at the stream from outside */

static natsConnection *nc;
static jsCtx *js;

static inline void look(void)
{
	assert_int_equal(natsConnection_ConnectTo(&nc, url), NATS_OK);
	assert_int_equal(natsConnection_JetStream(&js, nc, NULL), NATS_OK);
}

static inline void look_away(void)
{
	jsCtx_Destroy(js);
	natsConnection_Destroy(nc);
}

static inline bool message_has(natsMsg *m, const char *text)
{
	return memmem(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), text, strlen(text));
}

static inline uint64_t stream_messages(const char *name)
{
	jsStreamInfo *si = NULL;
	uint64_t n;

	assert_int_equal(js_GetStreamInfo(&si, js, name, NULL, NULL), NATS_OK);
	n = si->State.Msgs;
	jsStreamInfo_Destroy(si);
	return n;
}

static inline void make_stream(const char *name, const char *subject, int64_t dedup_ns)
{
	const char *subjects[1] = { subject };
	jsStreamConfig c;

	look();
	jsStreamConfig_Init(&c);
	c.Name = name;
	c.Subjects = subjects;
	c.SubjectsLen = 1;
	c.Duplicates = dedup_ns;
	assert_int_equal(js_AddStream(NULL, js, &c, NULL, NULL), NATS_OK);
	look_away();
}

#endif
