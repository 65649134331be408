/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the agent's socket and its reply: items, then one line with
 * "ok" (protocol.md). What went wrong becomes the exit status: an agent that is
 * not there is told from one that refuses, and from a write whose outcome is
 * not known.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define WRITE_TIMEOUT_S 30

void ctl_disconnect(struct ctl *c)
{
	weir_close_fd(&c->fd);
	c->fd = -1;
	free(c->in);
	c->in = NULL;
	c->in_len = c->in_cap = c->in_used = 0;
}

static int connect_agent(struct ctl *c, struct weir_error *why)
{
	static const struct timeval limit = { .tv_sec = WRITE_TIMEOUT_S };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int r;

	if (c->fd >= 0)
		return CTL_DONE;
	if (strlen(c->socket) >= sizeof(a.sun_path)) {
		weir_fail(why, ENAMETOOLONG, "%s: too long for a socket's path", c->socket);
		return CTL_USAGE;
	}
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", c->socket);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a))) {
		r = errno;
		weir_fail(why, r, "%s: no agent answers: %s%s", c->socket, strerror(r),
			  r == EACCES ? " (only root and members of group weir may)"
			  : r == ENOENT || r == ECONNREFUSED ? " (is weir-agent running?)"
							     : "");
		ctl_disconnect(c);
		return CTL_UNREACHABLE;
	}
	/* A write that takes so long has an unknown outcome; reads may take their time. */
	if (c->command && c->command->writes)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return CTL_DONE;
}

static int send_line(struct ctl *c, json_t *request)
{
	weir_autofree char *text = json_dumps(request, JSON_COMPACT);
	size_t n, at = 0;

	if (!text)
		return -ENOMEM;
	n = strlen(text);
	text[n++] = '\n'; /* in the place of the NUL */
	while (at < n) {
		ssize_t sent = send(c->fd, text + at, n - at, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -EPIPE;
		at += (size_t)sent;
	}
	return 0;
}

/* The next line of the reply, without its newline; NULL at its end or an error. */
static char *next_line(struct ctl *c, size_t *len)
{
	size_t seen = 0;

	if (c->in_used)
		memmove(c->in, c->in + c->in_used, c->in_len - c->in_used);
	c->in_len -= c->in_used;
	c->in_used = 0;
	for (;;) {
		char *nl = c->in_len > seen ? memchr(c->in + seen, '\n', c->in_len - seen) : NULL;
		ssize_t n;

		if (nl) {
			*len = (size_t)(nl - c->in);
			c->in_used = *len + 1;
			return c->in;
		}
		seen = c->in_len;
		if (c->in_len == c->in_cap) {
			size_t cap = c->in_cap ? 2 * c->in_cap : 65536;
			char *p = realloc(c->in, cap);

			if (!p)
				return NULL;
			c->in = p;
			c->in_cap = cap;
		}
		n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		c->in_len += (size_t)n;
	}
}

/* Was it cut off, by what, and does that matter? */
static int lost(struct ctl *c, struct weir_error *why)
{
	ctl_disconnect(c);
	if (!c->command || !c->command->writes) {
		weir_fail(why, EPIPE, "%s: the agent went away before it had answered", c->socket);
		return CTL_UNREACHABLE;
	}
	weir_fail(why, EPIPE,
		  "outcome unknown: the agent did not answer; repeat with --id %s%s to be sure, "
		  "nothing is done twice",
		  c->id, c->again);
	return CTL_UNKNOWN;
}

static int read_reply(struct ctl *c, ctl_item_fn item, void *ctx, json_t **result,
		      struct weir_error *why)
{
	for (;;) {
		size_t len;
		char *line = next_line(c, &len);
		json_t *o, *value;
		int r = CTL_DONE;

		if (!line)
			return lost(c, why);
		o = json_loadb(line, len, 0, NULL);
		value = json_object_get(o, "item");
		if (value) {
			if (item)
				r = item(value, ctx);
			json_decref(o);
			if (r)
				return r;
			continue;
		}
		value = json_object_get(o, "ok");
		if (json_is_true(value)) {
			if (result)
				*result = json_incref(json_object_get(o, "result"));
		} else {
			const char *text = json_string_value(
				json_object_get(json_object_get(o, "error"), "message"));

			weir_fail(why, EIO, "%s",
				  text ? text : "the agent's answer makes no sense");
			r = CTL_REFUSED;
		}
		json_decref(o);
		return r;
	}
}

int ctl_try(struct ctl *c, json_t *request, ctl_item_fn item, void *ctx, json_t **result,
	    struct weir_error *why)
{
	int r;

	if (!request) {
		weir_fail(why, ENOMEM, "out of memory");
		return CTL_REFUSED;
	}
	r = connect_agent(c, why);
	/* What did not arrive whole was not done: the agent takes whole lines only. It may
	 * have refused before it read all: then its answer is there. */
	if (!r) {
		send_line(c, request);
		r = read_reply(c, item, ctx, result, why);
	}
	json_decref(request);
	return r;
}

int ctl_request(struct ctl *c, json_t *request, ctl_item_fn item, void *ctx, json_t **result)
{
	struct weir_error why = { "" };
	int r = ctl_try(c, request, item, ctx, result, &why);

	ctl_progress_end();
	return r && why.text[0] ? ctl_fail(r, "%s", why.text) : r;
}

void ctl_set(json_t *o, const char *name, const char *text)
{
	json_t *v;

	if (!text)
		return;
	v = json_string(text);
	/* Not UTF-8: cannot go into JSON. The agent names the field it misses. */
	json_object_set_new(o, name, v ? v : json_string("?"));
}

json_t *ctl_op(const struct ctl *c, const char *op)
{
	json_t *o = json_pack("{s:s}", "op", op);

	if (o && c->n_args && strstr(c->command->args, "TENANT"))
		ctl_set(o, "tenant", c->args[0]);
	if (o && c->command->writes)
		ctl_set(o, "id", c->id);
	return o;
}
