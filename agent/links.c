// SPDX-License-Identifier: Apache-2.0
/*
 * When to look, and where. A message of the kernel is only a reason to look: what is
 * done follows from how things stand, not from what was said, so one that was lost or
 * merged with others does no harm.
 *
 * No namespace is held longer than it has its name: who deletes it waits for its
 * devices to go, and they for the last that holds it.
 */
#include "links_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "netns.h"

/* Names of namespaces are mounts, whose coming and going we are told; those under
 * /proc are not. */
#define NETNS_LOOK_MS 2000

/* -- namespaces */

static int on_event(struct nl_msg *msg, void *arg)
{
	return NL_SKIP; /* that one came is all we need to know */
}

/* In the thread that is inside the namespace: sockets stay where they were made. */
static int open_sockets(struct space *s)
{
	s->events = nl_socket_alloc();
	s->ask = nl_socket_alloc();
	if (!s->events || !s->ask)
		return -ENOMEM;
	nl_socket_disable_seq_check(s->events);
	nl_socket_modify_cb(s->events, NL_CB_VALID, NL_CB_CUSTOM, on_event, NULL);
	if (nl_connect(s->events, NETLINK_ROUTE) || nl_connect(s->ask, NETLINK_ROUTE) ||
	    nl_socket_set_nonblocking(s->events) ||
	    nl_socket_add_memberships(s->events, RTNLGRP_LINK, RTNLGRP_TC, 0))
		return -EIO;
	return 0;
}

static void close_space(struct weir_links *l, struct space *s)
{
	nl_socket_free(s->events);
	nl_socket_free(s->ask);
	s->events = s->ask = NULL;
	weir_links_lock(l);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	weir_links_unlock(l);
}

/* The name is gone. Somebody may still live there: what is attached goes on guarding
 * till the devices go. */
static void leave(struct weir_links *l, struct space *s)
{
	for (size_t i = 0; i < l->n_watched; i++)
		if (l->watched[i].space == s && l->watched[i].attached)
			weir_links_wait_for(l, &l->watched[i], "its namespace");
	close_space(l, s);
}

/* Enter it, if it is there. 0: the thread is inside. */
static int enter(struct weir_links *l, struct space *s)
{
	uint64_t id;
	int fd = weir_netns_open(s->path[0] ? s->path : "/proc/thread-self/ns/net", &id), r;

	if (s->fd >= 0 && (fd < 0 || id != s->id))
		leave(l, s);
	if (fd < 0)
		return fd;
	if (s->path[0] && setns(fd, CLONE_NEWNET)) {
		r = -errno;
		close(fd);
		return r;
	}
	if (s->fd >= 0) {
		close(fd);
		return 0;
	}
	weir_links_lock(l);
	s->fd = fd;
	s->id = id;
	weir_links_unlock(l);
	r = open_sockets(s);
	if (r)
		close_space(l, s);
	if (r && s->path[0])
		setns(l->spaces[0].fd, CLONE_NEWNET);
	return r;
}

static void drain(struct space *s)
{
	/* Also after an overrun: what was missed is looked at anyway. */
	for (int i = 0; s->events && i < 1000 && nl_recvmsgs_default(s->events) >= 0; i++)
		;
}

/* Where the kernel has no tcx: filters of interfaces that agent.json does not name any
 * more. Links have pins, which weir_pins_sweep goes through. */
static void sweep_filters(struct weir_links *l, const struct space *s)
{
	struct if_nameindex *ifs;
	bool clsact = false;

	for (size_t i = 0; i < l->n_watched; i++)
		clsact |= l->watched[i].attached && !l->watched[i].at.tcx;
	ifs = clsact ? if_nameindex() : NULL;
	for (size_t i = 0; ifs && ifs[i].if_index; i++) {
		struct weir_attachment a = { .device = { .netns = s->id,
							 .ifindex = ifs[i].if_index } };

		if (!weir_links_guard_of(l, &a.device))
			weir_detach_from(l->cfg->instance, &a);
	}
	if (ifs)
		if_freenameindex(ifs);
}

static void cannot_enter(struct weir_links *l, struct watched *w, int r)
{
	if (l->starting) {
		l->start_result =
			weir_fail(l->start_err, -r, "interface %s: cannot watch its namespace: %s",
				  w->at.name, strerror(-r));
		return;
	}
	w->retry_ns = weir_mono_ns() + WEIR_SECOND;
	weir_links_say(l, w, WEIR_ERR, "interface %s: cannot watch its namespace: %s; trying again",
		       w->at.name, strerror(-r));
}

static void visit(struct weir_links *l, struct space *s)
{
	int r = enter(l, s);

	s->changed = false;
	for (size_t i = 0; i < l->n_watched; i++) {
		struct watched *w = &l->watched[i];

		if (w->space != s)
			continue;
		w->retry_ns = 0;
		if (!r)
			weir_links_look(l, w);
		else if (r == -ENOENT || r == -EINVAL)
			weir_links_wait_for(l, w, "its namespace");
		else
			cannot_enter(l, w, r);
	}
	if (!r && l->starting)
		sweep_filters(l, s);
	if (r)
		weir_pins_drop_dead(l->cfg->instance);
	if (!r && s->path[0]) {
		r = setns(l->spaces[0].fd, CLONE_NEWNET);
		assert(!r); /* we just came from there */
	}
}

/* -- the thread */

static void sweep_pins(struct weir_links *l)
{
	struct weir_device keep[WEIR_MAX_INTERFACES];
	unsigned n = 0, living;

	for (size_t i = 0; i < l->n_watched; i++)
		if (l->watched[i].attached)
			keep[n++] = l->watched[i].at.device;
	living = weir_pins_sweep(l->cfg->instance, keep, n);
	if (living)
		weir_log(WEIR_NOTE, "took %u programs off interfaces that agent.json does not name",
			 living);
}

static int next_wait_ms(const struct weir_links *l)
{
	uint64_t now = weir_mono_ns(), wait = UINT64_MAX;

	for (size_t i = 0; i < l->n_watched; i++) {
		uint64_t at = l->watched[i].retry_ns;

		if (at)
			wait = at <= now ? 0 : at - now < wait ? at - now : wait;
	}
	if (wait != UINT64_MAX)
		wait = wait / 1000000 + 1;
	if (l->n_spaces > 1 && wait > NETNS_LOOK_MS)
		wait = NETNS_LOOK_MS;
	return wait == UINT64_MAX ? -1 : (int)wait;
}

/* Wait till there is a reason to look, and mark the spaces to look at. false: stop. */
static bool wait_events(struct weir_links *l)
{
	struct pollfd p[WEIR_MAX_INTERFACES + 3] = {
		{ .fd = l->stop_fd, .events = POLLIN },
		{ .fd = l->mounts_fd, .events = POLLPRI },
	};
	uint64_t now;
	int n;

	for (size_t i = 0; i < l->n_spaces; i++)
		p[2 + i] = (struct pollfd){
			.fd = l->spaces[i].events ? nl_socket_get_fd(l->spaces[i].events) : -1,
			.events = POLLIN,
		};
	n = poll(p, 2 + l->n_spaces, next_wait_ms(l));
	if (n < 0)
		return errno == EINTR;
	if (p[0].revents)
		return false;
	for (size_t i = 0; i < l->n_spaces; i++) {
		struct space *s = &l->spaces[i];

		if (p[2 + i].revents) {
			drain(s);
			s->changed = true;
		}
		if (s->path[0] && (!n || p[1].revents))
			s->changed = true;
	}
	now = weir_mono_ns();
	for (size_t i = 0; i < l->n_watched; i++)
		if (l->watched[i].retry_ns && l->watched[i].retry_ns <= now)
			l->watched[i].space->changed = true;
	return true;
}

static void *run(void *arg)
{
	struct weir_links *l = arg;

	l->starting = true;
	for (size_t i = 0; i < l->n_spaces && !l->start_result; i++)
		visit(l, &l->spaces[i]);
	if (!l->start_result)
		sweep_pins(l);
	l->starting = false;
	l->start_err = NULL;
	if (l->start_result) {
		sem_post(&l->started);
		return NULL;
	}
	sem_post(&l->started);
	while (wait_events(l))
		for (size_t i = 0; i < l->n_spaces; i++)
			if (l->spaces[i].changed)
				visit(l, &l->spaces[i]);
	return NULL;
}

static void add_interfaces(struct weir_links *l)
{
	l->spaces[0] = (struct space){ .path = "", .fd = -1 };
	l->n_spaces = 1;
	for (size_t i = 0; i < l->cfg->n_interfaces; i++) {
		const struct weir_config_interface *conf = &l->cfg->interfaces[i];
		struct watched *w = &l->watched[l->n_watched++];
		size_t s = 0;

		while (s < l->n_spaces && strcmp(l->spaces[s].path, conf->netns))
			s++;
		if (s == l->n_spaces)
			l->spaces[l->n_spaces++] = (struct space){ .path = conf->netns, .fd = -1 };
		w->conf = conf;
		w->space = &l->spaces[s];
		weir_interface_label(conf, w->at.name);
	}
}

static void free_links(struct weir_links *l)
{
	for (size_t i = 0; i < l->n_spaces; i++)
		close_space(l, &l->spaces[i]);
	weir_close_fd(&l->stop_fd);
	weir_close_fd(&l->mounts_fd);
	sem_destroy(&l->started);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int weir_links_start(struct weir_kernel *k, const struct weir_agent_config *cfg,
		     struct weir_links **out, struct weir_error *err)
{
	struct weir_links *l;
	int r = weir_attach_state(k, cfg->instance, err);

	if (r)
		return r;
	l = calloc(1, sizeof(*l));
	if (!l)
		return weir_fail(err, ENOMEM, "out of memory");
	l->kernel = k;
	l->cfg = cfg;
	l->start_err = err;
	pthread_mutex_init(&l->lock, NULL);
	sem_init(&l->started, 0, 0);
	add_interfaces(l);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	l->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (l->stop_fd < 0 || l->mounts_fd < 0) {
		r = weir_fail(err, errno, "watching interfaces: %s", strerror(errno));
		free_links(l);
		return r;
	}
	r = pthread_create(&l->thread, NULL, run, l);
	if (r) {
		r = weir_fail(err, r, "watching interfaces: no thread: %s", strerror(r));
		free_links(l);
		return r;
	}
	pthread_setname_np(l->thread, "weir-links");
	while (sem_wait(&l->started))
		;
	r = l->start_result;
	if (r) {
		weir_links_stop(l);
		return r;
	}
	*out = l;
	return 0;
}

void weir_links_stop(struct weir_links *l)
{
	uint64_t one = 1;
	ssize_t n;

	if (!l)
		return;
	n = write(l->stop_fd, &one, sizeof(one));
	assert(n == sizeof(one));
	pthread_join(l->thread, NULL);
	free_links(l);
}

/* -- status */

struct look_at {
	const char *instance;
	struct weir_attachment at;
	struct weir_status_interface *out;
};

static void look_at(void *arg)
{
	struct look_at *a = arg;

	weir_attach_status(a->instance, &a->at, a->out);
}

static void warn(struct weir_status *s, const char *text)
{
	if (text[0] && s->n_warnings < WEIR_STATUS_WARNINGS)
		snprintf(s->warnings[s->n_warnings++], sizeof(s->warnings[0]), "%s", text);
}

void weir_links_status(struct weir_links *l, struct weir_status *out)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_watched; i++) {
		struct weir_status_interface *to = &out->interfaces[out->n_interfaces++];
		const struct watched *w = &l->watched[i];
		struct look_at a = { .instance = l->cfg->instance, .out = to };
		char note[sizeof(w->note)];
		weir_autoclose int fd = -1;
		bool attached;

		weir_links_lock(l);
		a.at = w->at;
		attached = w->attached;
		memcpy(note, w->note, sizeof(note));
		if (attached && w->space->path[0])
			fd = fcntl(w->space->fd, F_DUPFD_CLOEXEC, 0);
		weir_links_unlock(l);
		memset(to, 0, sizeof(*to));
		memcpy(to->name, a.at.name, sizeof(to->name));
		snprintf(to->xdp_mode, sizeof(to->xdp_mode), "off");
		snprintf(to->tc_mode, sizeof(to->tc_mode), "off");
		warn(out, note);
		if (!attached)
			continue;
		if (w->space->path[0] && fd < 0)
			continue;
		weir_netns_call(fd, look_at, &a);
		warn(out, a.at.warning);
	}
}
