/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the soak's client and server share: who is who by address and key, the clock, and
 * how they talk to the driver (soak.py): a command a line on stdin, a JSON object a line on
 * stdout. They are one thread each, and a count that they report is made by looking at every
 * connection, never kept beside them: it cannot drift.
 */
#ifndef WEIR_SOAK_H
#define WEIR_SOAK_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SOAK_TENANTS  2048 /* numbers are below; 0 is nobody */
#define SOAK_TICK_NS  10000000
#define SOAK_KEY      "sk-soak-"
#define SOAK_PLAN     "X-Soak: "
#define SOAK_IDLE_S   45 /* the server closes what said nothing for so long */
#define SOAK_TOUCH_S  30 /* ... and the client asks nothing on what may be closed by then */
#define SOAK_MAX_BODY 2048

/*
 * Tenant t has 10.96.0.0/13 + t x 256, /24, for its connections and 10.104.0.0/13 + t x 256
 * for handshakes that never complete: the client's host answers for the first only. What
 * comes from 10.112.0.0/13 + t x 256 is nobody's until it shows t's key.
 */
enum soak_net { SOAK_OWN = 96, SOAK_SYNS = 104, SOAK_KEYED = 112 };

static inline struct in_addr soak_address(enum soak_net net, unsigned tenant, unsigned host)
{
	struct in_addr a = { htonl(10u << 24 | (unsigned)net << 16 | tenant << 8 | host) };

	return a;
}

/* Whose connection it is before any key was shown. */
static inline unsigned soak_tenant_of(struct in_addr a)
{
	unsigned host = ntohl(a.s_addr);

	return host >> 24 == 10 && (host >> 16 & 0xf8) == SOAK_OWN ? host >> 8 & 0x7ff : 0;
}

static inline uint64_t soak_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline void soak_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

static inline void soak_many_files(unsigned n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		soak_die("RLIMIT_NOFILE");
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_max < n || setrlimit(RLIMIT_NOFILE, &limit)) {
		fprintf(stderr, "%s: %u files may not be open here (ulimit -Hn)\n",
			program_invocation_short_name, n);
		exit(1);
	}
}

/* "name":[n0,n1,...] up to the last that is not 0. */
static inline void soak_print_counts(const char *name, const unsigned counts[SOAK_TENANTS])
{
	unsigned n = SOAK_TENANTS;

	while (n && !counts[n - 1])
		n--;
	printf("\"%s\":[", name);
	for (unsigned i = 0; i < n; i++)
		printf("%s%u", i ? "," : "", counts[i]);
	printf("]");
}

/* The next whole line on stdin, or NULL; the driver's end closed: we are done. */
static inline char *soak_command(void)
{
	static char line[128];
	static size_t used;
	ssize_t n = 0;
	char *end;

	while (used < sizeof(line) - 1 && (n = read(STDIN_FILENO, line + used, 1)) == 1 &&
	       line[used] != '\n')
		used++;
	if (n != 1 && !(n < 0 && errno == EAGAIN))
		exit(0);
	if (n != 1)
		return NULL;
	end = line + used;
	*end = 0;
	used = 0;
	return line;
}

#endif
