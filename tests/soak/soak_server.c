// SPDX-License-Identifier: Apache-2.0
/*
 * A model server that knows what it serves: HTTP/1.1 with keep-alive, plain answers and
 * streams, usage at the end. What is to be answered stands in the request:
 *
 *   X-Soak: PROMPT COMPLETION GAP     tokens, tokens, ms between two; GAP -1: no stream
 *
 *   soak_server PORT LOG
 *
 * LOG gets a line per request that is over: id tenant prompt completion stream done|aborted,
 * completion as sent. An answer's id is soak-N, its x-request-id req-N. Commands: "report" (who has
 * how many connections and requests open), "pause" and "go" (time stands still: no piece is sent,
 * nobody is idle), "drain" (every connection is closed), "flush" (the log).
 */
#include "soak.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MAX_CONNECTIONS 65536
#define MAX_FILES	16384
#define WHEEL		1024 /* ticks; a gap is shorter */
#define MODEL		"llama-3.3-70b-instruct"

struct connection {
	int fd; /* 0: free */
	unsigned tenant;
	uint64_t touched; /* tick */
	/* the request being answered; id 0: none */
	uint64_t id;
	unsigned asker, prompt, completion, sent;
	int gap_ms;
	struct connection *next, **link; /* in the wheel */
	size_t got;
	char in[SOAK_MAX_BODY + 1024];
};

static struct connection *connections;
static struct connection *wheel[WHEEL];
static unsigned used;	/* connections ever used at a time: what is looked at */
static unsigned *spare; /* free ones below that */
static unsigned n_spare;
static unsigned requests[SOAK_TENANTS]; /* ever begun */
static uint64_t tick, next_id = 1, n_done, n_aborted, n_accepted, n_stalled, n_bad, n_idle;
static int poll_fd;
static bool paused;
static FILE *book;

static void wheel_take(struct connection *c)
{
	if (!c->link)
		return;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->link = NULL;
}

static void wheel_put(struct connection *c, int ms)
{
	uint64_t ticks = (uint64_t)ms * 1000000 / SOAK_TICK_NS;
	struct connection **slot = &wheel[(tick + (ticks ? ticks : 1)) % WHEEL];

	c->next = *slot;
	if (c->next)
		c->next->link = &c->next;
	*slot = c;
	c->link = slot;
}

static void request_over(struct connection *c, bool done)
{
	wheel_take(c);
	fprintf(book, "soak-%lu %u %u %u %d %s\n", (unsigned long)c->id, c->asker, c->prompt,
		c->sent, c->gap_ms >= 0, done ? "done" : "aborted");
	*(done ? &n_done : &n_aborted) += 1;
	c->id = 0;
	c->touched = tick;
}

static void hang_up(struct connection *c)
{
	if (c->id)
		request_over(c, false);
	close(c->fd);
	c->fd = 0;
	spare[n_spare++] = (unsigned)(c - connections);
}

/* Clients read all the time: what does not fit a socket's buffer is a failure of the test. */
static bool say(struct connection *c, const char *text, int len)
{
	ssize_t n = send(c->fd, text, (size_t)len, MSG_NOSIGNAL);

	if (n == len)
		return true;
	n_stalled += n >= 0 || errno == EAGAIN;
	hang_up(c);
	return false;
}

static int chunk(char *out, const char *data)
{
	return sprintf(out, "%zx\r\n%s\r\n", strlen(data), data);
}

static int usage_text(char *out, const struct connection *c)
{
	return sprintf(out,
		       "\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u,"
		       "\"completion_tokens\":%u,\"prompt_tokens_details\":null}}",
		       c->prompt, c->prompt + c->completion, c->completion);
}

static int envelope(char *out, const struct connection *c, const char *object)
{
	return sprintf(out,
		       "{\"id\":\"soak-%lu\",\"object\":\"%s\",\"created\":1700000000,"
		       "\"model\":\"" MODEL "\",",
		       (unsigned long)c->id, object);
}

static void answer_plain(struct connection *c)
{
	char body[1024], out[1536];
	int n = envelope(body, c, "chat.completion");

	n += sprintf(body + n, "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
			       "\"content\":\"as asked\"},\"finish_reason\":\"stop\"}],");
	n += usage_text(body + n, c);
	n = sprintf(out,
		    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		    "X-Request-Id: req-%lu\r\nContent-Length: %d\r\n\r\n%s",
		    (unsigned long)c->id, n, body);
	c->sent = c->completion;
	if (say(c, out, n))
		request_over(c, true);
}

static void answer_piece(struct connection *c)
{
	char data[1024], out[4096];
	int n, len = 0;

	if (!c->sent)
		len = sprintf(out,
			      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
			      "X-Request-Id: req-%lu\r\nTransfer-Encoding: chunked\r\n\r\n",
			      (unsigned long)c->id);
	n = sprintf(data, "data: ");
	n += envelope(data + n, c, "chat.completion.chunk");
	sprintf(data + n,
		"\"choices\":[{\"index\":0,\"delta\":{\"content\":\" tok%u\"},"
		"\"logprobs\":null,\"finish_reason\":%s}]}\n\n",
		c->sent, c->sent + 1 == c->completion ? "\"length\"" : "null");
	len += chunk(out + len, data);
	if (++c->sent == c->completion) {
		n = sprintf(data, "data: ");
		n += envelope(data + n, c, "chat.completion.chunk");
		n += sprintf(data + n, "\"choices\":[],");
		n += usage_text(data + n, c);
		sprintf(data + n, "\n\n");
		len += chunk(out + len, data);
		len += chunk(out + len, "data: [DONE]\n\n");
		len += sprintf(out + len, "0\r\n\r\n");
	}
	if (!say(c, out, len))
		return;
	if (c->sent == c->completion)
		request_over(c, true);
	else
		wheel_put(c, c->gap_ms);
}

/* A whole request at the front of what was read? It is answered, and taken off. */
static bool take_request(struct connection *c)
{
	char *end, *key, *plan, *length;
	size_t size;

	c->in[c->got] = 0;
	end = strstr(c->in, "\r\n\r\n");
	if (!end)
		return false;
	key = strstr(c->in, "Bearer " SOAK_KEY);
	plan = strstr(c->in, SOAK_PLAN);
	length = strstr(c->in, "Content-Length: ");
	if (!plan || !length || plan > end || length > end ||
	    sscanf(plan + strlen(SOAK_PLAN), "%u %u %d", &c->prompt, &c->completion, &c->gap_ms) !=
		    3 ||
	    !c->completion) {
		n_bad++;
		hang_up(c);
		return false;
	}
	size = (size_t)(end + 4 - c->in) + strtoul(length + 16, NULL, 10);
	if (c->got < size)
		return false;
	if (key && key < end)
		c->tenant = (unsigned)atoi(key + strlen("Bearer " SOAK_KEY)) % SOAK_TENANTS;
	c->asker = c->tenant;
	requests[c->asker]++;
	c->id = next_id++;
	c->sent = 0;
	c->got -= size;
	memmove(c->in, c->in + size, c->got);
	if (c->gap_ms < 0)
		answer_plain(c);
	else
		answer_piece(c);
	return true;
}

static void receive(struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->got, sizeof(c->in) - 1 - c->got, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		hang_up(c);
		return;
	}
	c->got += (size_t)n;
	while (c->fd && !c->id && take_request(c))
		;
	if (c->fd && c->got == sizeof(c->in) - 1) { /* or a reader that spins */
		n_bad++;
		hang_up(c);
	}
}

static void accept_all(int listener)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd, on = 1;

	while ((fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK)) >= 0) {
		unsigned i = n_spare ? spare[--n_spare] : used++;
		struct connection *c = &connections[i];
		struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = c };

		if (i >= MAX_CONNECTIONS) {
			fprintf(stderr, "soak_server: too many connections\n");
			exit(1);
		}
		memset(c, 0, offsetof(struct connection, in));
		c->fd = fd;
		c->tenant = soak_tenant_of(from.sin_addr);
		c->touched = tick;
		n_accepted++;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e))
			soak_die("epoll_ctl");
		len = sizeof(from);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		soak_die("accept");
}

static void pass_tick(void)
{
	struct connection *due, *c;
	unsigned part = used / 100 + 1;

	tick++;
	due = wheel[tick % WHEEL];
	wheel[tick % WHEEL] = NULL;
	while ((c = due)) {
		due = c->next;
		c->link = NULL;
		answer_piece(c);
	}
	/* A hundredth of the connections a tick: everyone is looked at once a second. */
	for (unsigned i = tick % 100 * part; i < used && i < (tick % 100 + 1) * part; i++) {
		c = &connections[i];
		if (c->fd && !c->id &&
		    (tick - c->touched) * SOAK_TICK_NS > UINT64_C(1000000000) * SOAK_IDLE_S) {
			n_idle++;
			hang_up(c);
		}
	}
}

static void report(void)
{
	static unsigned open[SOAK_TENANTS], asking[SOAK_TENANTS];
	unsigned n_open = 0, n_asking = 0;

	memset(open, 0, sizeof(open));
	memset(asking, 0, sizeof(asking));
	for (unsigned i = 0; i < used; i++) {
		const struct connection *c = &connections[i];

		if (!c->fd)
			continue;
		n_open++;
		open[c->tenant]++;
		if (c->id) {
			n_asking++;
			asking[c->asker]++;
		}
	}
	printf("{");
	soak_print_counts("open", open);
	printf(",");
	soak_print_counts("asking", asking);
	printf(",");
	soak_print_counts("requests", requests);
	printf(",\"n_open\":%u,\"n_asking\":%u,\"accepted\":%lu,\"done\":%lu,\"aborted\":%lu,"
	       "\"idle_closed\":%lu,\"stalled\":%lu,\"bad\":%lu}\n",
	       n_open, n_asking, (unsigned long)n_accepted, (unsigned long)n_done,
	       (unsigned long)n_aborted, (unsigned long)n_idle, (unsigned long)n_stalled,
	       (unsigned long)n_bad);
}

static void obey(void)
{
	const char *command;

	while ((command = soak_command())) {
		if (!strcmp(command, "pause") || !strcmp(command, "go"))
			paused = *command == 'p';
		else if (!strcmp(command, "flush"))
			fflush(book);
		else if (!strcmp(command, "drain"))
			for (unsigned i = 0; i < used; i++)
				if (connections[i].fd)
					hang_up(&connections[i]);
		report();
		fflush(stdout);
	}
}

static int listen_on(const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 65535))
		soak_die(port);
	return fd;
}

int main(int argc, char **argv)
{
	static int listener_mark, command_mark;
	struct epoll_event events[256], e = { .events = EPOLLIN };
	uint64_t last;
	int listener;

	if (argc != 3) {
		fprintf(stderr, "usage: soak_server PORT LOG\n");
		return 2;
	}
	soak_many_files(MAX_FILES);
	connections = calloc(MAX_CONNECTIONS, sizeof(*connections));
	spare = calloc(MAX_CONNECTIONS, sizeof(*spare));
	book = fopen(argv[2], "w");
	poll_fd = epoll_create1(0);
	if (!connections || !spare || !book || poll_fd < 0)
		soak_die(argv[2]);
	listener = listen_on(argv[1]);
	e.data.ptr = &listener_mark;
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
	e.data.ptr = &command_mark;
	if (fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) ||
	    epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &e))
		soak_die("stdin");
	for (last = soak_now_ns();;) {
		int n = epoll_wait(poll_fd, events, 256, 5);
		uint64_t now = soak_now_ns();

		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;

			if (events[i].data.ptr == &listener_mark)
				accept_all(listener);
			else if (events[i].data.ptr == &command_mark)
				obey();
			else if (c->fd && events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
				hang_up(c); /* gone, or on its way: it wants no answer */
			else if (c->fd)
				receive(c);
		}
		for (; now - last >= SOAK_TICK_NS; last += SOAK_TICK_NS)
			if (!paused)
				pass_tick();
	}
}
