/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that asks at a fixed rate, whatever the answers take (open loop), and
 * says how long they took. One thread; request n is due at start + n / rate and
 * its latency counts from then, so a slow answer cannot hide the ones behind it.
 * Requests go out on the connection that has been idle longest.
 *
 *   loadgen HOST PORT RATE SECONDS CONNECTIONS REQUEST_FILE
 *
 * REQUEST_FILE holds the bytes of one request. Answers must carry Content-Length.
 * Prints one JSON object: counts, latencies and its own CPU time in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define ANSWER_BYTES	65536

struct connection {
	int fd;
	uint64_t due_ns; /* of the request in flight */
	size_t got;
	char answer[ANSWER_BYTES];
};

static struct connection *connections;
static int idle[MAX_CONNECTIONS]; /* a ring: the longest idle is at first */
static unsigned idle_first, idle_count;
static uint32_t *latencies_ns;
static size_t n_answers, n_refused, n_failed;

static void die(const char *what)
{
	fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(double p)
{
	if (!n_answers)
		return 0;
	return latencies_ns[(size_t)(p * (double)(n_answers - 1))] / 1000.0;
}

static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *bytes = malloc(ANSWER_BYTES);

	if (!f || !bytes)
		die(path);
	*len = fread(bytes, 1, ANSWER_BYTES, f);
	fclose(f);
	return bytes;
}

static int dial(const char *host, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die(host);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* Whole answer there? Its status then, else 0. */
static int answered(struct connection *c)
{
	char *body, *length;

	c->answer[c->got] = 0;
	body = strstr(c->answer, "\r\n\r\n");
	if (!body)
		return 0;
	length = strcasestr(c->answer, "\r\ncontent-length:");
	if (!length || length > body)
		return -1;
	if (c->got < (size_t)(body + 4 - c->answer) + strtoul(length + 17, NULL, 10))
		return 0;
	return atoi(c->answer + 9);
}

static void receive(int i)
{
	struct connection *c = &connections[i];
	ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_BYTES - 1 - c->got, MSG_DONTWAIT);
	int status;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		n_failed++;
		close(c->fd);
		return; /* this connection is out */
	}
	c->got += (size_t)n;
	status = answered(c);
	if (!status)
		return;
	if (status == 200)
		latencies_ns[n_answers++] = (uint32_t)(now_ns() - c->due_ns);
	else
		n_refused++;
	idle[(idle_first + idle_count++) % MAX_CONNECTIONS] = i;
}

int main(int argc, char **argv)
{
	double rate = argc == 7 ? atof(argv[3]) : 0;
	uint64_t n_requests = argc == 7 ? (uint64_t)(rate * atof(argv[4])) : 0, sent = 0, start,
		 stop;
	int n = argc == 7 ? atoi(argv[5]) : 0, poll_fd = epoll_create1(0);
	struct epoll_event events[64];
	size_t len;
	char *request;

	if (n < 1 || n > MAX_CONNECTIONS || !n_requests) {
		fprintf(stderr, "usage: loadgen HOST PORT RATE SECONDS CONNECTIONS REQUEST_FILE\n");
		return 2;
	}
	request = read_file(argv[6], &len);
	connections = calloc((size_t)n, sizeof(*connections));
	latencies_ns = calloc(n_requests, sizeof(*latencies_ns));
	if (!connections || !latencies_ns || poll_fd < 0)
		die("set-up");
	prctl(PR_SET_TIMERSLACK, 1);
	for (int i = 0; i < n; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.fd = i };

		connections[i].fd = dial(argv[1], argv[2]);
		if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, connections[i].fd, &e))
			die("epoll_ctl");
		idle[idle_count++] = i;
	}
	start = now_ns();
	stop = start + (uint64_t)(atof(argv[4]) * 1e9) + 2000000000; /* answers have 2 s more */
	while (n_answers + n_refused + n_failed < n_requests && now_ns() < stop) {
		uint64_t due = start + (uint64_t)((double)sent * 1e9 / rate), now = now_ns();
		struct timespec wait = { .tv_sec = 0, .tv_nsec = 100000000 };
		int ready;

		while (sent < n_requests && now >= due && idle_count) {
			struct connection *c = &connections[idle[idle_first]];

			idle_first = (idle_first + 1) % MAX_CONNECTIONS;
			idle_count--;
			c->due_ns = due;
			c->got = 0;
			if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
				n_failed++;
			due = start + (uint64_t)((double)++sent * 1e9 / rate);
			now = now_ns();
		}
		if (sent < n_requests && idle_count)
			wait.tv_nsec = due > now ? (long)(due - now) : 0;
		ready = epoll_pwait2(poll_fd, events, 64, &wait, NULL);
		for (int i = 0; i < ready; i++)
			receive(events[i].data.fd);
	}
	qsort(latencies_ns, n_answers, sizeof(*latencies_ns), compare);
	printf("{\"sent\":%lu,\"answers\":%zu,\"refused\":%zu,\"failed\":%zu,"
	       "\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f,\"cpu_us\":%.1f}\n",
	       (unsigned long)sent, n_answers, n_refused, n_failed, percentile_us(0.5),
	       percentile_us(0.9), percentile_us(0.99), percentile_us(1),
	       (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1000.0);
	return 0;
}
