/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watched interfaces, shared by two files: links.c knows when to look, and in
 * which namespace; links_look.c looks, and does what follows.
 *
 * All fields are the thread's own, except those that status shows: they change
 * under the lock.
 */
#ifndef WEIR_LINKS_PRIV_H
#define WEIR_LINKS_PRIV_H

#include <netlink/socket.h>
#include <pthread.h>
#include <semaphore.h>

#include "attach.h"
#include "links.h"

/* A network namespace that interfaces are in. */
struct space {
	const char *path; /* "": the agent's own */
	int fd;		  /* -1: not there */
	uint64_t id;
	struct nl_sock *events; /* tells that something about links or filters changed */
	struct nl_sock *ask;
	bool changed;
};

struct watched {
	const struct weir_config_interface *conf;
	struct space *space;
	struct weir_attachment at; /* name: always; the rest if attached */
	bool attached;
	bool was_attached; /* ever, with XDP in mode last_xdp */
	enum weir_xdp last_xdp;
	uint64_t gone_wall_ns; /* since when it is not there any more; 0: never was */
	char note[256];	       /* what status warns of, besides at.warning */
	uint64_t retry_ns, backoff_ns;
};

struct weir_links {
	struct weir_kernel *kernel;
	const struct weir_agent_config *cfg;
	pthread_t thread;
	int stop_fd, mounts_fd;
	pthread_mutex_t lock; /* of watched[].{at,attached,note}, spaces[].fd */
	struct space spaces[WEIR_MAX_INTERFACES + 1]; /* the first is the agent's own */
	size_t n_spaces;
	struct watched watched[WEIR_MAX_INTERFACES];
	size_t n_watched;

	/* Of the first look round, which weir_links_start waits for. */
	bool starting;
	sem_t started;
	int start_result;
	struct weir_error *start_err;
};

/* Make interface w, in whose namespace the thread is, what agent.json wants it to be. */
void weir_links_look(struct weir_links *l, struct watched *w);

/* w's device, or its namespace, is not there. */
void weir_links_wait_for(struct weir_links *l, struct watched *w, const char *what);

/* Who guards the device of a? NULL: nobody. */
struct watched *weir_links_guard_of(struct weir_links *l, const struct weir_device *d);

/* Log a line, once, and show it in status till the next. */
__attribute__((format(printf, 4, 5))) void weir_links_say(struct weir_links *l, struct watched *w,
							  enum weir_level level, const char *fmt,
							  ...);

static inline void weir_links_lock(struct weir_links *l)
{
	pthread_mutex_lock(&l->lock);
}

static inline void weir_links_unlock(struct weir_links *l)
{
	pthread_mutex_unlock(&l->lock);
}

#endif
