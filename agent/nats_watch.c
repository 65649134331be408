// SPDX-License-Identifier: Apache-2.0
/*
 * A thread that looks now and then which sockets there are. A connection is known by its inode: fds
 * are used again.
 */
#include "nats_watch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "util.h"

#define LOOK_MS 200
#define KNOWN	64 /* connections to NATS that are there before; the agent has three */

struct weir_nats_watch {
	uint16_t port;
	uint64_t allowed_ns;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond; /* CLOCK_MONOTONIC */
	bool over, cut;
	ino_t known[KNOWN];
	size_t n_known;
	ino_t found; /* 0: none yet */
	uint64_t found_ns;
};

static uint16_t peer_port(int fd)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);

	if (getpeername(fd, (struct sockaddr *)&a, &n))
		return 0;
	if (a.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&a)->sin_port);
	return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port) : 0;
}

static bool is_known(const struct weir_nats_watch *w, ino_t ino)
{
	for (size_t i = 0; i < w->n_known; i++)
		if (w->known[i] == ino)
			return true;
	return false;
}

/* Each of our connections to the port. */
static void each(struct weir_nats_watch *w,
		 void (*fn)(struct weir_nats_watch *w, int fd, ino_t ino))
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(d) && !fstat(fd, &st) &&
		    S_ISSOCK(st.st_mode) && peer_port(fd) == w->port)
			fn(w, fd, st.st_ino);
	}
	if (d)
		closedir(d);
}

static void note(struct weir_nats_watch *w, int fd, ino_t ino)
{
	if (w->n_known < KNOWN)
		w->known[w->n_known++] = ino;
}

static void judge(struct weir_nats_watch *w, int fd, ino_t ino)
{
	uint64_t now = weir_mono_ns();

	if (is_known(w, ino))
		return;
	if (ino != w->found) {
		w->found = ino;
		w->found_ns = now;
	} else if (now - w->found_ns > w->allowed_ns) {
		shutdown(fd, SHUT_RDWR);
		w->cut = true;
	}
}

static void *run(void *arg)
{
	struct weir_nats_watch *w = arg;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	pthread_mutex_lock(&w->lock);
	while (!w->over) {
		t.tv_nsec += LOOK_MS * 1000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		while (!w->over && !pthread_cond_timedwait(&w->cond, &w->lock, &t))
			;
		if (!w->over) /* with the lock: what has succeeded is not ended any more */
			each(w, judge);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void free_it(struct weir_nats_watch *w)
{
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int weir_nats_watch_start(uint16_t port, unsigned ms, struct weir_nats_watch **out)
{
	struct weir_nats_watch *w = calloc(1, sizeof(*w));
	pthread_condattr_t ca;
	sigset_t all, old;
	int r;

	if (!w)
		return -ENOMEM;
	w->port = port;
	w->allowed_ns = (uint64_t)ms * 1000000;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &ca);
	pthread_condattr_destroy(&ca);
	each(w, note);
	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		free_it(w);
		return -r;
	}
	*out = w;
	return 0;
}

bool weir_nats_watch_end(struct weir_nats_watch *w)
{
	bool cut;

	if (!w)
		return false;
	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	cut = w->cut;
	free_it(w);
	return cut;
}
