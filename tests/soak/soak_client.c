// SPDX-License-Identifier: Apache-2.0
/*
 * Clients of many tenants at once: so many connections, so many streams among them, and churn.
 * Which connection does what next is drawn at random, at given rates.
 *
 *   soak_client HOST PORT [NAME=VALUE...]     settings: soak_settings.h
 *
 * Commands: "run", "quiet" (start nothing new), "drain" (quiet, and close all), "report".
 * A connection that vanished is one whose socket is gone without a packet (TCP_REPAIR).
 */
#include "soak.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "soak_settings.h"
#include "soak_syn.h"

#define MAX_CONNECTIONS 65536
#define RETRY_NS	UINT64_C(1000000000) /* after a connection was refused */
#define TICKS_A_SECOND	(1000000000 / SOAK_TICK_NS)

enum state { CLOSED, CONNECTING, IDLE, ASKING, STREAMING };

struct client {
	int fd;
	enum state state;
	unsigned source;  /* tenant of its address; 0: nobody's */
	unsigned tenant;  /* whose key it shows; 0: none */
	unsigned holder;  /* who has it now, by what was answered */
	uint64_t due_ns;  /* CLOSED: not opened before; IDLE: since */
	uint64_t rest_ns; /* was refused: asks nothing before */
	size_t got, size; /* of the answer; size 0: not known, or a stream */
	bool chunked;
	char in[1536]; /* an answer, or of a stream its last bytes */
};

static struct soak_settings set = SOAK_SETTINGS;
static struct client *clients;
static unsigned answers[600]; /* by status */
static uint64_t n_connected, n_connect_refused, n_asked, n_streamed, n_aborted, n_closed,
	n_vanished, n_torn, n_failed, n_ended, n_syns;
static struct sockaddr_in server;
static int poll_fd;
static bool running;

static uint64_t draw(uint64_t below)
{
	static uint64_t x;

	if (!x)
		x = set.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (x >> 16) % below;
}

/* How many of so many a second this tick has, the rest carried on. */
static unsigned share(unsigned a_second, unsigned *carried)
{
	unsigned n = (*carried += a_second) / TICKS_A_SECOND;

	*carried %= TICKS_A_SECOND;
	return n;
}

enum parting { CLOSE, RESET, VANISH };

static void part(struct client *c, enum parting how)
{
	struct linger now = { .l_onoff = 1 };
	int on = 1;

	if (how == RESET && setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)))
		soak_die("SO_LINGER");
	if (how == VANISH && setsockopt(c->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		soak_die("TCP_REPAIR");
	n_vanished += how == VANISH;
	close(c->fd);
	c->fd = 0;
	c->state = CLOSED;
	c->due_ns = soak_now_ns() + 50000000;
}

/* Half of the clients come by address, a quarter by key from an address of nobody's, a quarter
 * from one tenant's address with another one's key. */
static void cast(struct client *c, unsigned i)
{
	unsigned t = set.first + i % set.tenants, kind = i / set.tenants % 4;

	c->source = kind == 2 ? 0 : t;
	c->tenant = kind < 2 ? 0 : kind == 2 ? t : set.first + (i + 1) % set.tenants;
}

static void dial(struct client *c, unsigned i)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP,
				 .data.ptr = c };
	int on = 1;

	cast(c, i);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	from.sin_addr = soak_address(c->source ? SOAK_OWN : SOAK_KEYED,
				     c->source ? c->source : c->tenant, 1 + i % 250);
	if (c->fd < 0 || setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) ||
	    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    bind(c->fd, (struct sockaddr *)&from, sizeof(from)))
		soak_die("bind");
	if (connect(c->fd, (struct sockaddr *)&server, sizeof(server)) && errno != EINPROGRESS)
		soak_die("connect");
	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e))
		soak_die("epoll_ctl");
	c->state = CONNECTING;
	c->holder = c->source;
}

static void ask(struct client *c, bool stream, bool unknown)
{
	char body[512], out[1024], key[64] = "";
	unsigned pieces = !stream    ? 1 + draw(9)
			  : set.even ? set.pieces
				     : set.pieces / 2 + (unsigned)draw(set.pieces + 1);
	int n, len, gap = stream ? (int)set.gap : -1;
	size_t first;

	len = sprintf(body,
		      "{\"model\":\"llama-3.3-70b-instruct\",\"max_tokens\":%u,\"stream\":%s,"
		      "\"messages\":[{\"role\":\"user\",\"content\":\"how are you\"}]}",
		      pieces, stream ? "true" : "false");
	if (unknown)
		sprintf(key, "Authorization: Bearer nobody-has-this\r\n");
	else if (c->tenant)
		sprintf(key, "Authorization: Bearer " SOAK_KEY "%u\r\n", c->tenant);
	n = sprintf(out,
		    "POST /v1/chat/completions HTTP/1.1\r\nHost: soak\r\n%s" SOAK_PLAN
		    "%u %u %d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		    key, 1 + (unsigned)draw(99), pieces ? pieces : 1, gap, len, body);
	/* One in eight comes in two packets, cut anywhere. */
	first = draw(8) ? (size_t)n : 1 + draw((uint64_t)n - 1);
	c->state = stream ? STREAMING : ASKING;
	c->got = c->size = 0;
	c->chunked = false;
	n_asked++;
	n_streamed += stream;
	if (send(c->fd, out, first, MSG_NOSIGNAL) != (ssize_t)first ||
	    (first < (size_t)n &&
	     send(c->fd, out + first, (size_t)n - first, MSG_NOSIGNAL) != n - (ssize_t)first)) {
		n_failed++;
		part(c, RESET);
	}
}

static int status_of(const struct client *c)
{
	int status = atoi(c->in + 9);

	return status > 99 && status < 600 ? status : 0;
}

static void answered(struct client *c)
{
	int status = status_of(c);

	answers[status]++;
	if (status != 200) { /* and that ended the connection */
		part(c, CLOSE);
		c->rest_ns = c->due_ns + draw(set.rest * UINT64_C(2000000) + 1);
		return;
	}
	c->state = IDLE;
	c->due_ns = soak_now_ns();
}

/* The head has come: what length has the answer? */
static void read_head(struct client *c, const char *end)
{
	const char *length = strcasestr(c->in, "\r\ncontent-length:");

	c->chunked = strcasestr(c->in, "\r\ntransfer-encoding: chunked") != NULL;
	if (length && length < end)
		c->size = (size_t)(end + 4 - c->in) + strtoul(length + 17, NULL, 10);
	if (status_of(c) == 200 && c->tenant)
		c->holder = c->tenant;
}

static void take_in(struct client *c, const char *bytes, size_t n)
{
	const char *end;

	if (c->chunked) { /* its last bytes are all that matters */
		size_t keep = n < 7 ? 7 - n : 0;

		memmove(c->in, c->in + 7 - keep, keep);
		memcpy(c->in + keep, bytes + n - (7 - keep), 7 - keep);
		c->got += n;
	} else {
		if (c->got + n >= sizeof(c->in)) {
			n_torn++;
			part(c, RESET);
			return;
		}
		memcpy(c->in + c->got, bytes, n);
		c->got += n;
		c->in[c->got] = 0;
		end = strstr(c->in, "\r\n\r\n");
		if (!end)
			return;
		read_head(c, end);
		if (c->chunked) {
			answers[200]++;
			memmove(c->in, c->in + c->got - 7, 7);
		}
	}
	if (c->chunked && !memcmp(c->in, "\r\n0\r\n\r\n", 7)) {
		n_ended++;
		c->state = IDLE;
		c->due_ns = soak_now_ns();
	} else if (!c->chunked && c->size && c->got >= c->size) {
		answered(c);
	}
}

/* The connection is over, and it was not our doing. */
static void lost(struct client *c, int error)
{
	if (c->state == CONNECTING && error == ECONNREFUSED) {
		n_connect_refused++;
		part(c, CLOSE);
		c->due_ns = soak_now_ns() + RETRY_NS;
		return;
	}
	if (c->state != IDLE)
		n_failed++;
	part(c, CLOSE);
}

static void happened(struct client *c, uint32_t what)
{
	char bytes[65536];
	ssize_t n;

	if (c->state == CONNECTING) {
		int error = 0;
		socklen_t len = sizeof(error);

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error || what & (EPOLLERR | EPOLLHUP)) {
			lost(c, error);
			return;
		}
		if (!(what & EPOLLOUT))
			return;
		n_connected++;
		c->state = IDLE;
		c->due_ns = soak_now_ns();
	}
	while (c->fd && (n = recv(c->fd, bytes, sizeof(bytes), 0)) != 0) {
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			lost(c, errno);
			return;
		}
		take_in(c, bytes, (size_t)n);
	}
	if (c->fd)
		lost(c, 0);
}

/* Some client of this kind, or NULL if a few looks did not find one. */
static struct client *some(enum state state, bool (*fit)(const struct client *))
{
	for (int i = 0; i < 32; i++) {
		struct client *c = &clients[draw(set.connections)];

		if (c->state == state && fit(c))
			return c;
	}
	return NULL;
}

/* Not one that was refused just now. And the server may be about to close what was idle for
 * long: a request would cross that. */
static bool fresh(const struct client *c)
{
	uint64_t now = soak_now_ns();

	return now >= c->rest_ns && now - c->due_ns < UINT64_C(1000000000) * SOAK_TOUCH_S;
}

/* Has been answered in part: so the server knows of it. */
static bool under_way(const struct client *c)
{
	return c->chunked;
}

static enum parting some_way(void)
{
	unsigned n = (unsigned)draw(8);

	return n < 4 ? CLOSE : n < 7 ? RESET : VANISH;
}

static void churn(void)
{
	static unsigned asks, unknown, aborts, closes;
	struct client *c;

	for (unsigned n = share(set.asks, &asks); n; n--)
		if ((c = some(IDLE, fresh)))
			ask(c, false, false);
	for (unsigned n = share(set.unknown, &unknown); n; n--)
		if ((c = some(IDLE, fresh)))
			ask(c, false, true);
	for (unsigned n = share(set.aborts, &aborts); n; n--)
		if ((c = some(STREAMING, under_way))) {
			n_aborted++;
			part(c, some_way());
		}
	for (unsigned n = share(set.closes, &closes); n; n--)
		if ((c = some(IDLE, fresh))) {
			n_closed++;
			part(c, some_way());
		}
}

/* In a tick's tenths: a flood is to be even, as far as a clock of one process goes. */
static void pass_syn_tick(void)
{
	static unsigned tenths, syns;

	if (!running)
		return;
	tenths += set.syns;
	for (unsigned n = share(tenths / 10, &syns); n;)
		n -= soak_send_syns(set.first + (unsigned)draw(set.tenants), n, &server, &n_syns);
	tenths %= 10;
}

static void pass_tick(void)
{
	static unsigned opens;
	unsigned budget = share(set.opens, &opens), streams = 0, open = 0;
	uint64_t now = soak_now_ns();
	struct client *c;

	if (!running)
		return;
	for (unsigned i = 0; i < set.connections; i++) {
		c = &clients[i];
		streams += c->state == STREAMING;
		open += c->state > CONNECTING;
		if (c->state == CLOSED && budget && now >= c->due_ns) {
			dial(c, i);
			budget--;
		}
	}
	if (open < set.connections * 3 / 4)
		return; /* first the connections, or those whom no limit stops are all busy */
	/* Within a tenth of a second or so. */
	for (unsigned n = set.streams / 10 + 1; streams < set.streams && n; n--, streams++)
		if ((c = some(IDLE, fresh)))
			ask(c, true, false);
	churn();
}

static void report(void)
{
	static unsigned open[SOAK_TENANTS], asking[SOAK_TENANTS], states[STREAMING + 1];

	memset(open, 0, sizeof(open));
	memset(asking, 0, sizeof(asking));
	memset(states, 0, sizeof(states));
	for (unsigned i = 0; i < set.connections; i++) {
		const struct client *c = &clients[i];

		states[c->state]++;
		open[c->holder] += c->state > CONNECTING;
		asking[c->tenant ? c->tenant : c->source] += c->state > IDLE;
	}
	printf("{");
	soak_print_counts("open", open);
	printf(",");
	soak_print_counts("asking", asking);
	printf(",\"n_open\":%u,\"connecting\":%u,\"short\":%u,\"streams\":%u,",
	       set.connections - states[CLOSED] - states[CONNECTING], states[CONNECTING],
	       states[ASKING], states[STREAMING]);
	printf("\"connected\":%lu,\"connect_refused\":%lu,\"asked\":%lu,\"streamed\":%lu,"
	       "\"ended\":%lu,\"aborted\":%lu,\"closed\":%lu,\"vanished\":%lu,\"torn\":%lu,"
	       "\"failed\":%lu,\"syns\":%lu,\"answers\":{",
	       (unsigned long)n_connected, (unsigned long)n_connect_refused, (unsigned long)n_asked,
	       (unsigned long)n_streamed, (unsigned long)n_ended, (unsigned long)n_aborted,
	       (unsigned long)n_closed, (unsigned long)n_vanished, (unsigned long)n_torn,
	       (unsigned long)n_failed, (unsigned long)n_syns);
	for (unsigned i = 0, any = 0; i < 600; i++)
		if (answers[i])
			printf("%s\"%u\":%u", any++ ? "," : "", i, answers[i]);
	printf("}}\n");
	fflush(stdout);
}

static void obey(void)
{
	const char *command;

	while ((command = soak_command())) {
		if (!strcmp(command, "run"))
			running = true;
		else if (!strcmp(command, "quiet") || !strcmp(command, "drain"))
			running = false;
		if (!strcmp(command, "drain"))
			for (unsigned i = 0; i < set.connections; i++)
				if (clients[i].fd)
					part(&clients[i], some_way());
		report();
	}
}

int main(int argc, char **argv)
{
	static int command_mark;
	struct epoll_event events[256], e = { .events = EPOLLIN, .data.ptr = &command_mark };
	uint64_t last, last_syn;

	if (argc < 3) {
		fprintf(stderr, "usage: soak_client HOST PORT [NAME=VALUE...]\n");
		return 2;
	}
	server.sin_family = AF_INET;
	server.sin_port = htons((uint16_t)atoi(argv[2]));
	if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		soak_die(argv[1]);
	for (int i = 3; i < argc; i++)
		soak_read_setting(&set, argv[i]);
	if (!set.tenants || !set.first || set.first + set.tenants > SOAK_TENANTS ||
	    set.connections > MAX_CONNECTIONS || !set.pieces) {
		fprintf(stderr, "soak_client: a setting is out of bounds\n");
		return 2;
	}
	soak_many_files(set.connections + 16);
	clients = calloc(set.connections + 1, sizeof(*clients));
	poll_fd = epoll_create1(0);
	if (!clients || poll_fd < 0 || fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) ||
	    epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &e))
		soak_die("set-up");
	for (last = last_syn = soak_now_ns();;) {
		int n = epoll_wait(poll_fd, events, 256, 1);
		uint64_t now = soak_now_ns();

		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (events[i].data.ptr == &command_mark)
				obey();
			else if (c->fd)
				happened(c, events[i].events);
		}
		for (; now - last_syn >= SOAK_TICK_NS / 10; last_syn += SOAK_TICK_NS / 10)
			pass_syn_tick();
		if (now - last >= SOAK_TICK_NS) { /* late ticks are left out */
			last = now;
			pass_tick();
		}
	}
}
