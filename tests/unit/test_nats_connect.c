/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to what is no nats-server, or is not well: it ends in time, and says why. What real
 * ones say is tests/e2e/test_nats_auth.py's.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/nats_connect.h"
#include "agent/util.h"

#define INFO(tls)                                                                                  \
	"INFO {\"server_id\":\"x\",\"version\":\"2.9.10\",\"proto\":1,\"host\":\"h\",\"port\":1,"  \
	"\"headers\":true,\"max_payload\":1048576,\"tls_required\":" tls "}\r\n"

/* Says this, reads on until the other end is gone; or hangs up at once. */
static struct peer {
	int fd;
	uint16_t port;
	const char *says;
	bool hangs_up;
	pthread_t thread;
} peers[2];

static void *serve(void *arg)
{
	struct peer *p = arg;
	int fd = accept(p->fd, NULL, NULL);
	char byte;

	assert_int_equal(write(fd, p->says, strlen(p->says)), strlen(p->says));
	while (!p->hangs_up && read(fd, &byte, 1) > 0)
		;
	close(fd);
	return NULL;
}

static void start(struct peer *p, const char *says, bool hangs_up)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(p->fd, 4), 0);
	assert_int_equal(getsockname(p->fd, (struct sockaddr *)&a, &n), 0);
	p->port = ntohs(a.sin_port);
	p->says = says;
	p->hangs_up = hangs_up;
	assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void end(struct peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->fd);
}

/* `why` with %u for the port of the first; then of the second. */
static void fails(const char *urls, bool tls, const char *why)
{
	struct weir_nats_config c = { .tls = tls };
	char is[WEIR_NATS_WHY], want[WEIR_NATS_WHY];
	uint64_t began = weir_mono_ns();
	natsConnection *nc;

	snprintf(c.url, sizeof(c.url), urls, peers[0].port, peers[1].port);
	snprintf(want, sizeof(want), why, peers[0].port, peers[1].port);
	assert_int_not_equal(weir_nats_connect(&c, "test", &nc, is, sizeof(is)), NATS_OK);
	natsConnection_Destroy(nc);
	assert_string_equal(is, want);
	assert_true(weir_mono_ns() - began < 20 * WEIR_SECOND);
}

#define STUCK                                                                                      \
	"127.0.0.1:%u: accepts the connection, and does not go on: is it a nats-server, and is "   \
	"it "                                                                                      \
	"well?"

/* libnats by itself would wait as long as the server does. */
static void a_server_that_does_not_answer_is_left(void **state)
{
	start(&peers[0], INFO("false"), false);
	fails("nats://127.0.0.1:%u", false, STUCK);
	end(&peers[0]);
}

static void a_handshake_that_does_not_end_is_left(void **state)
{
	start(&peers[0], INFO("true"), false);
	fails("nats://127.0.0.1:%u", true, STUCK);
	end(&peers[0]);
}

static void who_hangs_up_or_is_something_else_is_told(void **state)
{
	start(&peers[0], INFO("false"), true);
	start(&peers[1], "SSH-2.0-OpenSSH_9.2\r\n", false);
	fails("nats://127.0.0.1:%u,nats://u:hush@127.0.0.1:%u", false,
	      "127.0.0.1:%u: the server closed the connection; 127.0.0.1:%u: the server closed the "
	      "connection");
	end(&peers[0]);
	end(&peers[1]);
}

static void nobody_there_and_no_such_host_are_told_apart(void **state)
{
	fails("nats://127.0.0.1:1", false, "127.0.0.1:1: nobody accepts a connection there");
	/* By its form: no name server is asked. */
	fails("nats://no..host", false, "no..host: Name or service not known");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_does_not_answer_is_left),
		cmocka_unit_test(a_handshake_that_does_not_end_is_left),
		cmocka_unit_test(who_hangs_up_or_is_something_else_is_told),
		cmocka_unit_test(nobody_there_and_no_such_host_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
