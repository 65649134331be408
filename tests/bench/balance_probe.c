// SPDX-License-Identifier: Apache-2.0
/*
 * From the end of an answer, as the client has it, to the moved balance, as the kernel will judge
 * the next request by it: looked at in the kernel's map, without the agent's help.
 *
 *   balance_probe TENANTS_PIN TENANT HOST PORT REQUESTS PAUSE_US REQUEST_FILE
 *
 * TENANT is its number, whose only client this must be. Prints one JSON object: the delays in
 * microseconds, in order, and how many answers moved nothing within a second.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/weir_abi.h"

#define ANSWER_BYTES 65536
#define LOOK_NS	     20000 /* between two looks: a machine of two cores has others to run */
#define GIVE_UP_NS   UINT64_C(1000000000)

static void die(const char *what)
{
	fprintf(stderr, "balance_probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void pause_ns(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000),
			      .tv_nsec = (long)(ns % 1000000000) };

	nanosleep(&t, NULL);
}

static const struct weir_tenant *map_tenants(const char *pin)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_obj_get(pin);
	void *map;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		die(pin);
	map = mmap(NULL, (size_t)info.max_entries * sizeof(struct weir_tenant), PROT_READ,
		   MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || info.value_size != sizeof(struct weir_tenant))
		die(pin);
	return map;
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

static size_t read_file(const char *path, char *to)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		die(path);
	n = fread(to, 1, ANSWER_BYTES, f);
	fclose(f);
	return n;
}

/* The whole answer; it must be a 200 with a Content-Length. */
static void ask(int fd, const char *request, size_t n)
{
	static char answer[ANSWER_BYTES];
	char *body = NULL, *length;
	size_t got = 0, want = ANSWER_BYTES;

	if (send(fd, request, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("asking");
	while (got < want) {
		ssize_t r = recv(fd, answer + got, sizeof(answer) - 1 - got, 0);

		if (r <= 0)
			die("the answer");
		got += (size_t)r;
		answer[got] = 0;
		body = body ? body : strstr(answer, "\r\n\r\n");
		length = body ? strcasestr(answer, "\r\ncontent-length:") : NULL;
		if (body && (!length || strncmp(answer + 9, "200", 3))) {
			fprintf(stderr, "balance_probe: not the answer wanted: %.60s\n", answer);
			exit(1);
		}
		if (body)
			want = (size_t)(body + 4 - answer) + strtoul(length + 17, NULL, 10);
	}
}

static int64_t balance(const struct weir_tenant *t)
{
	return __atomic_load_n(&t->balance_nano, __ATOMIC_ACQUIRE);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static char request[ANSWER_BYTES];
	const struct weir_tenant *t;
	size_t count, len, n = 0, unmoved = 0;
	uint64_t *delays, pause;
	int fd;

	if (argc != 8) {
		fprintf(stderr, "usage: balance_probe TENANTS_PIN TENANT HOST PORT REQUESTS "
				"PAUSE_US REQUEST_FILE\n");
		return 2;
	}
	t = map_tenants(argv[1]) + strtoul(argv[2], NULL, 10);
	count = strtoul(argv[5], NULL, 10);
	pause = strtoul(argv[6], NULL, 10) * 1000;
	len = read_file(argv[7], request);
	delays = calloc(count + 1, sizeof(*delays));
	if (!delays)
		die("memory");
	prctl(PR_SET_TIMERSLACK, 1);
	fd = dial(argv[3], argv[4]);
	for (size_t i = 0; i < count; i++) {
		int64_t before = balance(t);
		uint64_t answered, now;

		ask(fd, request, len);
		answered = now = now_ns();
		while (balance(t) == before && now - answered < GIVE_UP_NS) {
			pause_ns(LOOK_NS);
			now = now_ns();
		}
		if (balance(t) == before)
			unmoved++;
		else
			delays[n++] = now - answered;
		/* Not in step with anybody's clock. */
		pause_ns(pause / 2 + (i * 7919 % 1000) * pause / 1000);
	}
	qsort(delays, n, sizeof(*delays), by_size);
	printf("{\"unmoved\":%zu,\"us\":[", unmoved);
	for (size_t i = 0; i < n; i++)
		printf("%s%.1f", i ? "," : "", (double)delays[i] / 1000);
	printf("]}\n");
	return 0;
}
