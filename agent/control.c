/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket's server: the socket file, the thread that accepts, and
 * the places. When all are taken, the client that has been idle longest loses
 * its own, so that nobody can lock an operator out by just connecting. What a
 * client says is control_client.c's.
 */
#include "control.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control_call.h"
#include "control_client.h"

#define SEND_MS	     10000 /* a reply may wait so long to be read at all */
#define STUCK_NS     UINT64_C(2000000000)
#define THREAD_STACK (1 << 20)

/* ---------------------------------------------------------------------------- accepting */

/* All places are taken: end the client that has asked for nothing for longest,
 * else one that does not read its reply. Called with the lock; true if one goes. */
static bool evict_one(struct weir_control *ct)
{
	struct weir_client *victim = NULL;
	uint64_t now_ns = weir_mono_ns();

	for (size_t i = 0; i < WEIR_CONTROL_CLIENTS; i++) {
		struct weir_client *cl = ct->clients[i];
		bool waits;

		if (!cl || cl->evicted)
			continue;
		waits = cl->state == WEIR_CLIENT_IDLE || cl->state == WEIR_CLIENT_READING ||
			(cl->state == WEIR_CLIENT_SENDING && now_ns - cl->since_ns > STUCK_NS);
		if (waits && (!victim || cl->since_ns < victim->since_ns))
			victim = cl;
	}
	if (!victim)
		return false;
	victim->evicted = true;
	shutdown(victim->fd, SHUT_RDWR);
	return true;
}

static bool make_room(struct weir_control *ct)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 1;
	while (ct->n_clients >= WEIR_CONTROL_CLIENTS && !ct->stop) {
		if (!evict_one(ct) || pthread_cond_timedwait(&ct->gone, &ct->lock, &until))
			break;
	}
	return ct->n_clients < WEIR_CONTROL_CLIENTS && !ct->stop;
}

static int start_client(struct weir_control *ct, int fd)
{
	static const struct timeval send_limit = { .tv_sec = SEND_MS / 1000 };
	struct weir_client *cl = calloc(1, sizeof(*cl));
	pthread_attr_t attr;
	pthread_t thread;
	size_t i = 0;
	int r;

	if (!cl)
		return -ENOMEM;
	cl->control = ct;
	cl->fd = fd;
	cl->state = WEIR_CLIENT_IDLE;
	cl->since_ns = weir_mono_ns();
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send_limit, sizeof(send_limit));
	while (ct->clients[i])
		i++;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	r = -pthread_create(&thread, &attr, weir_client_main, cl);
	pthread_attr_destroy(&attr);
	if (r) {
		free(cl);
		return r;
	}
	ct->clients[i] = cl;
	ct->n_clients++;
	return 0;
}

static void *accept_main(void *arg)
{
	static const char busy[] = "{\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":"
				   "\"too many clients at once; try again\"}}\n";
	struct weir_control *ct = arg;
	struct pollfd fds[2] = {
		{ .fd = ct->listener, .events = POLLIN },
		{ .fd = ct->wake, .events = POLLIN },
	};

	for (;;) {
		int fd;
		bool taken;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		fd = accept4(ct->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			/* Out of descriptors: the connection stays in the queue, so breathe. */
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
				poll(&fds[1], 1, 100);
			continue;
		}
		pthread_mutex_lock(&ct->lock);
		taken = make_room(ct) && !start_client(ct, fd);
		pthread_mutex_unlock(&ct->lock);
		if (!taken) {
			if (send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
				weir_log(WEIR_DEBUG, "control: a client was turned away unheard");
			close(fd);
		}
	}
	return NULL;
}

/* ---------------------------------------------------------------------- start and stop */

static bool answers(const struct sockaddr_un *a)
{
	weir_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* EAGAIN: its queue is full, so somebody listens. */
	return fd >= 0 && (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EAGAIN);
}

static int make_folder(const char *path, struct weir_error *err)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	if (mkdir(dir, 0755) && errno != EEXIST)
		return weir_fail(err, errno, "control: cannot make %s: %s", dir, strerror(errno));
	return 0;
}

static int listen_on(struct weir_control *ct, struct weir_error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char buf[4096];
	struct group grp, *g = NULL;
	struct stat st;
	mode_t mask;
	int r;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", ct->path);
	r = make_folder(ct->path, err);
	if (r)
		return r;
	if (!lstat(ct->path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return weir_fail(err, EEXIST,
					 "control: %s is there and is not a socket; remove it or "
					 "set \"control\" in agent.json",
					 ct->path);
		if (answers(&a))
			return weir_fail(err, EADDRINUSE,
					 "control: %s is in use; is another weir-agent running?",
					 ct->path);
		unlink(ct->path);
	}
	ct->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ct->listener < 0)
		return weir_fail(err, errno, "control: socket: %s", strerror(errno));
	/* Nobody else may connect between bind and chmod. */
	mask = umask(0177);
	r = bind(ct->listener, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	umask(mask);
	if (r)
		return weir_fail(err, -r, "control: cannot bind %s: %s", ct->path, strerror(-r));
	if (!lstat(ct->path, &st))
		ct->inode = st.st_ino;
	if (!getgrnam_r(WEIR_CONTROL_GROUP, &grp, buf, sizeof(buf), &g) && g &&
	    !lchown(ct->path, (uid_t)-1, grp.gr_gid) && chmod(ct->path, 0660))
		weir_log(WEIR_WARN, "control: %s: group " WEIR_CONTROL_GROUP " gets no access: %s",
			 ct->path, strerror(errno));
	if (listen(ct->listener, 64))
		return weir_fail(err, errno, "control: cannot listen on %s: %s", ct->path,
				 strerror(errno));
	return 0;
}

static void control_free(struct weir_control *ct)
{
	struct stat st;

	/* Only our own: a successor may have put its socket there. */
	if (ct->inode && !lstat(ct->path, &st) && st.st_ino == ct->inode)
		unlink(ct->path);
	weir_close_fd(&ct->listener);
	weir_close_fd(&ct->wake);
	weir_writes_free(ct->writes);
	pthread_cond_destroy(&ct->gone);
	pthread_mutex_destroy(&ct->lock);
	free(ct);
}

int weir_control_start(const char *path, const struct weir_agent_view *view,
		       struct weir_control **out, struct weir_error *err)
{
	struct weir_control *ct;
	pthread_condattr_t ca;
	int r;

	if (strlen(path) >= sizeof(ct->path))
		return weir_fail(err, ENAMETOOLONG,
				 "control: %s: a socket's path has at most %zu bytes", path,
				 sizeof(ct->path) - 1);
	ct = calloc(1, sizeof(*ct));
	if (!ct)
		return weir_fail(err, ENOMEM, "control: out of memory");
	ct->view = view;
	ct->listener = -1;
	snprintf(ct->path, sizeof(ct->path), "%s", path);
	pthread_mutex_init(&ct->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&ct->gone, &ca);
	pthread_condattr_destroy(&ca);
	ct->writes = weir_writes_new();
	ct->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ct->wake < 0 || !ct->writes)
		r = weir_fail(err, ct->writes ? errno : ENOMEM, "control: cannot start: %s",
			      ct->writes ? strerror(errno) : "out of memory");
	else
		r = listen_on(ct, err);
	if (!r) {
		r = -pthread_create(&ct->thread, NULL, accept_main, ct);
		if (r)
			weir_fail(err, -r, "control: cannot start a thread: %s", strerror(-r));
	}
	if (r) {
		control_free(ct);
		return r;
	}
	*out = ct;
	return 0;
}

void weir_control_stop(struct weir_control *ct)
{
	uint64_t one = 1;

	if (!ct)
		return;
	/* Stays readable, so every poll of every client sees it. */
	if (write(ct->wake, &one, sizeof(one)) < 0)
		weir_log(WEIR_WARN, "control: cannot wake its threads: %s", strerror(errno));
	pthread_mutex_lock(&ct->lock);
	ct->stop = true;
	for (size_t i = 0; i < WEIR_CONTROL_CLIENTS; i++) {
		if (ct->clients[i])
			shutdown(ct->clients[i]->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&ct->lock);
	pthread_join(ct->thread, NULL);
	pthread_mutex_lock(&ct->lock);
	while (ct->n_clients)
		pthread_cond_wait(&ct->gone, &ct->lock);
	pthread_mutex_unlock(&ct->lock);
	control_free(ct);
}
