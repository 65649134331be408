/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's thread: who it is, its lines in, its replies out. Every wait has
 * an end, every buffer a bound. What can be asked is control_table.c's.
 */
#include "control_client.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control_call.h"

#define IDLE_MS 120000 /* between two requests */
#define LINE_MS 10000  /* from a request's first byte to its newline */

/* --------------------------------------------------------------------------- output */

static void set_state(struct weir_client *cl, enum weir_client_state state)
{
	pthread_mutex_lock(&cl->control->lock);
	cl->state = state;
	cl->since_ns = weir_mono_ns();
	pthread_mutex_unlock(&cl->control->lock);
}

static int send_all(struct weir_client *cl, const char *p, size_t n)
{
	enum weir_client_state was = cl->state;
	int r = 0;

	set_state(cl, WEIR_CLIENT_SENDING);
	while (n) {
		ssize_t sent = send(cl->fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0) {
			r = -EPIPE;
			break;
		}
		p += sent;
		n -= (size_t)sent;
	}
	set_state(cl, was);
	return r;
}

static int flush_out(struct weir_client *cl)
{
	size_t n = cl->out_len;

	cl->out_len = 0;
	return n ? send_all(cl, cl->out, n) : 0;
}

static int put(struct weir_client *cl, const char *p, size_t n)
{
	int r = 0;

	if (n > WEIR_CLIENT_OUT - cl->out_len)
		r = flush_out(cl);
	if (r)
		return r;
	if (n > WEIR_CLIENT_OUT)
		return send_all(cl, p, n);
	memcpy(cl->out + cl->out_len, p, n);
	cl->out_len += n;
	return 0;
}

/* {"<name>":<value>}\n; value is taken */
static int put_line(struct weir_client *cl, const char *before, json_t *value, const char *after)
{
	weir_autofree char *text = NULL;
	int r;

	if (!value)
		return -ENOMEM;
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(value);
	if (!text)
		return -ENOMEM;
	r = put(cl, before, strlen(before));
	if (!r)
		r = put(cl, text, strlen(text));
	return r ? r : put(cl, after, strlen(after));
}

int weir_call_item(struct weir_call *c, json_t *item)
{
	return put_line(c->client, "{\"item\":", item, "}\n");
}

int weir_call_item_text(struct weir_call *c, const char *text, size_t len)
{
	int r = put(c->client, "{\"item\":", 8);

	if (!r)
		r = put(c->client, text, len);
	return r ? r : put(c->client, "}\n", 2);
}

int weir_call_flush(struct weir_call *c)
{
	return flush_out(c->client);
}

int weir_call_result(struct weir_call *c, json_t *result)
{
	if (!result)
		return -ENOMEM;
	json_decref(c->result);
	c->result = result;
	return 0;
}

static const char *code_of(int errnum)
{
	switch (errnum) {
	case EINVAL:
	case ERANGE:
		return "bad_request";
	case EOPNOTSUPP:
		return "unknown_op";
	case ENOENT:
		return "not_found";
	case EEXIST:
		return "conflict";
	case EACCES:
		return "forbidden";
	case EBUSY:
	case EAGAIN:
		return "busy";
	case ENODATA:
		return "no_credit";
	case E2BIG:
		return "too_long";
	case ETIMEDOUT:
		return "too_slow";
	default:
		return "failed";
	}
}

static int put_error(struct weir_client *cl, int r, const struct weir_error *err)
{
	const char *text = err->text[0] ? err->text : strerror(-r);

	r = put_line(cl, "{\"ok\":false,\"error\":",
		     json_pack("{s:s,s:o}", "code", code_of(-r), "message", weir_json_text(text)),
		     "}\n");
	return r ? r : flush_out(cl);
}

/* ----------------------------------------------------------------------- one request */

bool weir_call_over(struct weir_call *c, unsigned wait_ms)
{
	struct pollfd fds[2] = {
		{ .fd = c->client->fd, .events = POLLIN | POLLRDHUP },
		{ .fd = c->client->control->wake, .events = POLLIN },
	};

	/* Bytes that came with the request are a request of their own: it ends this one. */
	if (c->client->in_len)
		return true;
	return poll(fds, 2, (int)wait_ms) > 0;
}

bool weir_call_stopping(struct weir_call *c)
{
	struct pollfd wake = { .fd = c->client->control->wake, .events = POLLIN };

	return poll(&wake, 1, 0) > 0;
}

bool weir_call_gone(struct weir_call *c)
{
	struct pollfd fds[2] = {
		{ .fd = c->client->fd, .events = 0 }, /* POLLHUP comes unasked */
		{ .fd = c->client->control->wake, .events = POLLIN },
	};

	return poll(fds, 2, 0) > 0;
}

struct weir_reader *weir_call_reader(struct weir_call *c, struct weir_error *err)
{
	if (!c->client->reader)
		weir_reader_open(c->view->db_path, &c->client->reader, err);
	return c->client->reader;
}

static int follow(struct weir_client *cl, bool on)
{
	struct weir_control *ct = cl->control;
	int r = 0;

	pthread_mutex_lock(&ct->lock);
	if (on && ct->n_following == WEIR_CONTROL_FOLLOWERS)
		r = -EBUSY;
	else if (on != cl->following) {
		cl->following = on;
		ct->n_following += on ? 1 : -1;
	}
	pthread_mutex_unlock(&ct->lock);
	return r;
}

static int run_operation(struct weir_client *cl, json_t *request, struct weir_call *call,
			 struct weir_error *err)
{
	struct weir_json root = weir_json_root(request, "request", false), op;
	const struct weir_operation *o;
	const char *name;
	int r;

	if (!json_is_object(request))
		return weir_fail(err, EINVAL, "request: not a JSON object");
	if (!weir_json_get(&root, "op", &op))
		return weir_fail(err, EINVAL, "request: \"op\" is missing");
	r = weir_json_string(&op, 64, &name, err);
	if (r)
		return r;
	o = weir_operation_find(name, err);
	if (!o)
		return -EOPNOTSUPP;
	r = weir_json_object(&root, o->fields, err);
	if (r)
		return r;
	if (o->endless && follow(cl, true))
		return weir_fail(err, EBUSY, "%s: %d clients do that already", name,
				 WEIR_CONTROL_FOLLOWERS);
	call->args = root;
	r = o->run(call, err);
	if (o->endless)
		follow(cl, false);
	return r;
}

static int serve_line(struct weir_client *cl, const char *line, size_t len)
{
	struct weir_call call = {
		.view = cl->control->view,
		.actor = cl->actor,
		.writes = cl->control->writes,
		.client = cl,
	};
	json_t *request = NULL;
	struct weir_error err = { "" };
	int r;

	set_state(cl, WEIR_CLIENT_RUNNING);
	r = weir_json_parse(line, len, "request", &request, &err);
	if (!r)
		r = run_operation(cl, request, &call, &err);
	json_decref(request);
	if (!r)
		r = put_line(cl, "{\"ok\":true,\"result\":",
			     call.result ? json_incref(call.result) : json_null(), "}\n");
	json_decref(call.result);
	if (!r)
		r = flush_out(cl);
	else if (r != -EPIPE)
		r = put_error(cl, r, &err);
	return r;
}

/* -------------------------------------------------------------------------- one client */

static int wait_readable(struct weir_client *cl, unsigned ms)
{
	struct pollfd fds[2] = {
		{ .fd = cl->fd, .events = POLLIN },
		{ .fd = cl->control->wake, .events = POLLIN },
	};
	int n;

	do {
		n = poll(fds, 2, (int)ms);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -EPIPE : -ETIMEDOUT;
	return fds[1].revents ? -EPIPE : 0;
}

/* Room for more of a line, growing by doubling. */
static int grow(struct weir_client *cl)
{
	size_t cap = cl->in_cap ? 2 * cl->in_cap : 4096;
	char *p;

	if (cl->in_len < cl->in_cap)
		return 0;
	if (cl->in_cap >= WEIR_CONTROL_LINE)
		return -E2BIG;
	p = realloc(cl->in, cap);
	if (!p)
		return -ENOMEM;
	cl->in = p;
	cl->in_cap = cap;
	return 0;
}

/* Serve the client's requests until it goes, or does what it must not. */
static int serve(struct weir_client *cl, struct weir_error *err)
{
	size_t seen = 0; /* bytes of `in` known to hold no newline */
	uint64_t line_until_ns = 0;

	for (;;) {
		char *nl = cl->in_len ? memchr(cl->in + seen, '\n', cl->in_len - seen) : NULL;
		uint64_t now_ns = weir_mono_ns();
		ssize_t n;
		int r;

		if (nl) {
			/* The line leaves the buffer first: what stays is the next request. */
			size_t len = (size_t)(nl - cl->in);
			weir_autofree char *line = malloc(len + 1);

			if (!line)
				return weir_fail(err, ENOMEM, "out of memory");
			memcpy(line, cl->in, len);
			line[len] = 0;
			cl->in_len -= len + 1;
			memmove(cl->in, nl + 1, cl->in_len);
			seen = 0;
			line_until_ns = 0;
			r = serve_line(cl, line, len);
			if (r)
				return r;
			continue;
		}
		seen = cl->in_len;
		if (!cl->in_len) {
			/* Nothing is asked: hold no memory for it. */
			free(cl->in);
			cl->in = NULL;
			cl->in_cap = 0;
			set_state(cl, WEIR_CLIENT_IDLE);
			r = wait_readable(cl, IDLE_MS);
		} else if (cl->in_len >= WEIR_CONTROL_LINE) {
			r = -E2BIG;
		} else {
			if (!line_until_ns) {
				line_until_ns = now_ns + LINE_MS * UINT64_C(1000000);
				set_state(cl, WEIR_CLIENT_READING);
			}
			r = now_ns >= line_until_ns
				    ? -ETIMEDOUT
				    : wait_readable(cl,
						    (unsigned)((line_until_ns - now_ns) / 1000000) +
							    1);
			if (r == -ETIMEDOUT)
				weir_fail(err, ETIMEDOUT, "a request must be whole within %d s",
					  LINE_MS / 1000);
		}
		if (r == -ETIMEDOUT && !cl->in_len)
			return -EPIPE;
		if (!r)
			r = grow(cl);
		if (r == -E2BIG)
			weir_fail(err, E2BIG, "a request is at most %d bytes long",
				  WEIR_CONTROL_LINE);
		if (r)
			return r;
		n = recv(cl->fd, cl->in + cl->in_len, cl->in_cap - cl->in_len, MSG_DONTWAIT);
		if (n > 0)
			cl->in_len += (size_t)n;
		else if (!n || (errno != EAGAIN && errno != EINTR))
			return -EPIPE;
	}
}

/* Root, whoever the agent runs as, and members of the group. */
bool weir_call_by_root(struct weir_call *c)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return !getsockopt(c->client->fd, SOL_SOCKET, SO_PEERCRED, &who, &len) &&
	       (who.uid == 0 || who.uid == geteuid());
}

static bool may_use(int fd, char *actor, size_t n)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	char buf[4096];
	struct group grp, *g = NULL;
	struct passwd pwd, *pw = NULL;
	gid_t groups[256];
	socklen_t groups_len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return false;
	if (!getpwuid_r(who.uid, &pwd, buf, sizeof(buf), &pw) && pw)
		snprintf(actor, n, "%s", pw->pw_name);
	else
		snprintf(actor, n, "uid %u", who.uid);
	if (who.uid == 0 || who.uid == geteuid())
		return true;
	if (getgrnam_r(WEIR_CONTROL_GROUP, &grp, buf, sizeof(buf), &g) || !g)
		return false;
	if (who.gid == grp.gr_gid)
		return true;
	/* More groups than fit: ERANGE, refused; nobody sane is in 256. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_len))
		return false;
	for (size_t i = 0; i < groups_len / sizeof(*groups); i++) {
		if (groups[i] == grp.gr_gid)
			return true;
	}
	return false;
}

void *weir_client_main(void *arg)
{
	struct weir_client *cl = arg;
	struct weir_control *ct = cl->control;
	struct weir_error err = { "" };
	int r;

	if (!may_use(cl->fd, cl->actor, sizeof(cl->actor)))
		r = weir_fail(&err, EACCES,
			      "%s may not control this agent; only root and members of "
			      "group " WEIR_CONTROL_GROUP " may",
			      cl->actor[0] ? cl->actor : "you");
	else
		r = serve(cl, &err);
	if (r && r != -EPIPE)
		put_error(cl, r, &err);

	pthread_mutex_lock(&ct->lock);
	for (size_t i = 0; i < WEIR_CONTROL_CLIENTS; i++) {
		if (ct->clients[i] == cl)
			ct->clients[i] = NULL;
	}
	pthread_mutex_unlock(&ct->lock);
	weir_reader_close(cl->reader);
	free(cl->in);
	close(cl->fd);
	free(cl);
	/* Last: after this the control may be freed. */
	pthread_mutex_lock(&ct->lock);
	ct->n_clients--;
	pthread_cond_broadcast(&ct->gone);
	pthread_mutex_unlock(&ct->lock);
	return NULL;
}
