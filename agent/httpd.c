/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three read-only pages over libmicrohttpd, in one thread of its own. Few
 * connections, short time-outs: it must never cost the agent anything.
 */
#include "httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "metrics.h"
#include "writer.h"

#define CONNECTIONS 32u
#define TIMEOUT_S   10u

struct weir_httpd {
	const struct weir_agent_view *view;
	struct MHD_Daemon *daemon;
	uint16_t port;
};

/* Answer with a body: malloc'd (owned) or static. */
static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type,
			      char *body, size_t len, bool owned)
{
	struct MHD_Response *r;
	enum MHD_Result ok;

	if (!body)
		return MHD_NO;
	r = MHD_create_response_from_buffer(len, body,
					    owned ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (!r) {
		if (owned)
			free(body);
		return MHD_NO;
	}
	MHD_add_response_header(r, "Content-Type", type);
	MHD_add_response_header(r, "Cache-Control", "no-store");
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(r, "Content-Security-Policy",
				"default-src 'none'; style-src 'unsafe-inline'");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET, HEAD");
	ok = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned status, const char *text)
{
	return answer(c, status, "text/plain; charset=utf-8", (char *)text, strlen(text), false);
}

/* The agent answers, so it runs; what could be wrong is the ledger. */
static enum MHD_Result health(struct weir_httpd *h, struct MHD_Connection *c)
{
	struct weir_writer_stats w;

	weir_writer_stats(h->view->writer, &w);
	return w.healthy ? say(c, MHD_HTTP_OK, "ok\n")
			 : say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "ledger: not writable\n");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **state)
{
	static int seen;
	struct weir_httpd *h = ctx;
	size_t len = 0;
	char *text;

	/* First call: the head only. Answering in the second keeps the connection usable. */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (!strcmp(url, "/metrics")) {
		text = weir_metrics_text(h->view, &len);
		return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, len,
			      true);
	}
	if (!strcmp(url, "/healthz"))
		return health(h, c);
	if (!strcmp(url, "/")) {
		text = weir_page_html(h->view, &len);
		return answer(c, MHD_HTTP_OK, "text/html; charset=utf-8", text, len, true);
	}
	return say(c, MHD_HTTP_NOT_FOUND, "not found; there are /, /metrics and /healthz\n");
}

static void no_log(void *ctx, const char *fmt, va_list ap)
{
}

/* A socket of our own, so that "in use" and "no such address" are told apart. */
static int open_socket(const char *host, uint16_t *port, struct weir_error *err)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(*port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(*port) };
	struct sockaddr *a = (struct sockaddr *)&a4;
	socklen_t len = sizeof(a4);
	int fd, one = 1, r;

	if (inet_pton(AF_INET, host, &a4.sin_addr) != 1) {
		if (inet_pton(AF_INET6, host, &a6.sin6_addr) != 1)
			return weir_fail(err, EINVAL, "http: \"%s\" is not an IP address", host);
		a = (struct sockaddr *)&a6;
		len = sizeof(a6);
	}
	fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return weir_fail(err, errno, "http: socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a, len) || listen(fd, 64) || getsockname(fd, a, &len)) {
		r = weir_fail(err, errno,
			      "http: cannot listen on %s port %u: %s; set \"http\" in agent.json "
			      "(null is off)",
			      host, *port, strerror(errno));
		close(fd);
		return r;
	}
	*port = ntohs(a->sa_family == AF_INET ? a4.sin_port : a6.sin6_port);
	return fd;
}

int weir_httpd_start(const char *host, uint16_t port, const struct weir_agent_view *view,
		     struct weir_httpd **out, struct weir_error *err)
{
	struct weir_httpd *h = calloc(1, sizeof(*h));
	int fd;

	if (!h)
		return weir_fail(err, ENOMEM, "http: out of memory");
	h->view = view;
	fd = open_socket(host, &port, err);
	if (fd < 0) {
		free(h);
		return fd;
	}
	h->port = port;
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
	if (!h->daemon) {
		close(fd);
		free(h);
		return weir_fail(err, EIO, "http: cannot start the server on %s port %u", host,
				 port);
	}
	*out = h;
	return 0;
}

uint16_t weir_httpd_port(const struct weir_httpd *h)
{
	return h->port;
}

void weir_httpd_stop(struct weir_httpd *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->daemon);
	free(h);
}
