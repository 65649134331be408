// SPDX-License-Identifier: Apache-2.0
/*
 * Speaks NETLINK_SOCK_DIAG through a socket of libnl-idiag. Its messages are made and read
 * here: the library can neither filter by port in the kernel nor destroy, does not tell an
 * error that ends a dump (NLMSG_DONE's payload) from its end, and makes four objects of each
 * socket, of which there may be a million.
 */
#include "sockdiag.h"

#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netlink/idiag/idiagnl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netns.h"

#define SPACES_MAX  256
#define RECEIVE_MAX 65536 /* a dump's piece is at most half of it (netlink_dump) */
#define HELD_STATES                                                                                \
	(1 << TCP_ESTABLISHED | 1 << TCP_SYN_RECV | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 |      \
	 1 << TCP_CLOSE_WAIT | 1 << TCP_LAST_ACK | 1 << TCP_CLOSING)

/* An instruction with its operand, and a jump to the end, for each port. */
struct port_test {
	struct inet_diag_bc_op equal, port, accept;
};

struct space {
	uint64_t id; /* of the network namespace */
	struct nl_sock *nl;
};

struct weir_sockdiag {
	struct space spaces[SPACES_MAX];
	size_t n_spaces;
	struct port_test filter[WEIR_CONFIG_SERVICES];
	size_t n_ports;
};

/* -- namespaces */

/* Where the thread is: the socket stays there. */
static void connect_here(void *arg)
{
	struct space *s = arg;

	s->nl = nl_socket_alloc();
	if (s->nl && idiagnl_connect(s->nl)) {
		nl_socket_free(s->nl);
		s->nl = NULL;
	}
	if (!s->nl)
		return;
	nl_socket_disable_auto_ack(s->nl);
	nl_socket_set_msg_buf_size(s->nl, RECEIVE_MAX);
	nl_socket_disable_msg_peek(s->nl);
}

static bool in_here(const struct weir_sockdiag *d, uint64_t id)
{
	for (size_t i = 0; i < d->n_spaces; i++)
		if (d->spaces[i].id == id)
			return true;
	return false;
}

/* own: the thread's. -ENOENT and -EINVAL: no namespace is there (netns.h). */
static int add_space(struct weir_sockdiag *d, const char *path, bool own, struct weir_error *err)
{
	struct space s = {};
	weir_autoclose int fd = weir_netns_open(path, &s.id);
	int r;

	if (fd < 0)
		return fd == -ENOENT || fd == -EINVAL
			       ? fd
			       : weir_fail(err, -fd, "%s: cannot open it: %s", path, strerror(-fd));
	if (in_here(d, s.id))
		return 0;
	if (d->n_spaces == SPACES_MAX)
		return weir_fail(err, ENOSPC, "%s: more than %d network namespaces", path,
				 SPACES_MAX);
	r = weir_netns_call(own ? -1 : fd, connect_here, &s);
	if (!r && !s.nl)
		r = -EIO;
	if (r)
		return weir_fail(err, -r, "%s: cannot ask for the sockets in it: %s", path,
				 strerror(-r));
	d->spaces[d->n_spaces++] = s;
	return 0;
}

/* May sockets of this namespace be ours? The same as weir_our_netns() in the kernel. */
static bool guarded(const struct weir_config *c, uint64_t id)
{
	uint32_t n = __atomic_load_n(&c->n_netns, __ATOMIC_ACQUIRE);

	if (!n)
		return c->netns[0]; /* there is no room for more: any of them */
	for (uint32_t i = 0; i < n && i < WEIR_MAX_NETNS; i++)
		if (c->netns[i] == (uint32_t)id)
			return true;
	return false;
}

/*
 * `ip netns del` takes the name, not the namespace: as long as a process lives in it, its
 * devices stay guarded and its connections are held. They are found by their processes.
 */
static int add_nameless(struct weir_sockdiag *d, const struct weir_config *settings,
			struct weir_error *err)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	struct stat st;
	char path[300];
	int r = 0;

	if (!proc)
		return weir_fail(err, errno, "/proc: %s", strerror(errno));
	while (!r && (e = readdir(proc))) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/net", e->d_name);
		if (stat(path, &st) || in_here(d, st.st_ino) || !guarded(settings, st.st_ino))
			continue;
		r = add_space(d, path, false, err);
		if (r == -ENOENT || r == -EINVAL) /* the process is gone */
			r = 0;
	}
	closedir(proc);
	return r;
}

static bool all_known(const struct weir_sockdiag *d, const struct weir_config *c)
{
	uint32_t n = __atomic_load_n(&c->n_netns, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n && i < WEIR_MAX_NETNS; i++)
		if (!in_here(d, c->netns[i]))
			return false;
	return n || !c->netns[0];
}

int weir_sockdiag_open(const struct weir_agent_config *cfg, const struct weir_config *settings,
		       struct weir_sockdiag **out, struct weir_error *err)
{
	struct weir_sockdiag *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return weir_fail(err, ENOMEM, "out of memory");
	/* Equal: 8 bytes on, to the jump, whose `no` leads to the end. Not equal: over both,
	 * to the next; from the last, 4 bytes past the end, which is to refuse. */
	d->n_ports = cfg->n_services;
	for (size_t i = 0; i < d->n_ports; i++) {
		size_t left = (d->n_ports - i) * sizeof(struct port_test);
		bool last = i + 1 == d->n_ports;

		d->filter[i] = (struct port_test){
			.equal = { INET_DIAG_BC_S_EQ, 8, sizeof(struct port_test) + last * 4 },
			.port = { .no = cfg->services[i].port },
			.accept = { INET_DIAG_BC_JMP, 4, left - 8 },
		};
	}
	r = add_space(d, "/proc/thread-self/ns/net", true, err);
	for (size_t i = 0; i < cfg->n_interfaces && !r; i++) {
		if (!cfg->interfaces[i].netns[0])
			continue;
		r = add_space(d, cfg->interfaces[i].netns, false, err);
		if (r == -ENOENT || r == -EINVAL)
			r = 0;
	}
	if (!r && !all_known(d, settings))
		r = add_nameless(d, settings, err);
	if (r) {
		weir_sockdiag_close(d);
		return r;
	}
	*out = d;
	return 0;
}

void weir_sockdiag_close(struct weir_sockdiag *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_spaces; i++)
		nl_socket_free(d->spaces[i].nl);
	free(d);
}

/* -- messages */

static void free_msg(struct nl_msg **m)
{
	nlmsg_free(*m);
}

/* filter: may be NULL. */
static int ask(struct space *s, int type, int flags, const struct inet_diag_req_v2 *req,
	       const struct weir_sockdiag *filter, uint32_t *seq)
{
	struct nl_msg *msg WEIR_CLEANUP(free_msg) = nlmsg_alloc_simple(type, flags);

	if (!msg || nlmsg_append(msg, (void *)req, sizeof(*req), NLMSG_ALIGNTO) ||
	    (filter && nla_put(msg, INET_DIAG_REQ_BYTECODE,
			       (int)(filter->n_ports * sizeof(filter->filter[0])), filter->filter)))
		return -ENOMEM;
	if (nl_send_auto(s->nl, msg) < 0)
		return -EIO;
	*seq = nlmsg_hdr(msg)->nlmsg_seq;
	return 0;
}

typedef int (*answer_fn)(const struct inet_diag_msg *m, void *arg);

/*
 * Takes in what answers seq: fn for each socket, to the end of a dump, or one message. 0, what
 * fn returned if not 0, or the kernel's -errno.
 */
static int answers(struct space *s, uint32_t seq, answer_fn fn, void *arg)
{
	for (;;) {
		weir_autofree unsigned char *buffer = NULL;
		struct sockaddr_nl from;
		int n = nl_recv(s->nl, &from, &buffer, NULL), r;

		if (n <= 0)
			return -EIO;
		for (struct nlmsghdr *h = (void *)buffer; nlmsg_ok(h, n); h = nlmsg_next(h, &n)) {
			const int *error = nlmsg_data(h);

			if (h->nlmsg_seq != seq)
				continue;
			switch (h->nlmsg_type) {
			case NLMSG_ERROR:
			case NLMSG_DONE:
				/* Without its payload a dump has ended well. */
				return nlmsg_datalen(h) < (int)sizeof(*error) ? 0 : *error;
			case SOCK_DIAG_BY_FAMILY:
				if (nlmsg_datalen(h) < (int)sizeof(struct inet_diag_msg))
					return -EPROTO;
				r = fn(nlmsg_data(h), arg);
				if (r || !(h->nlmsg_flags & NLM_F_MULTI))
					return r;
			}
		}
	}
}

/* Does it hold a connection? Timer 3: only a small socket is left (inet_twsk_diag_fill), in
 * a state that a full one may be in too. */
static bool holds(const struct inet_diag_msg *m)
{
	return m->idiag_state < 32 && (HELD_STATES & 1 << m->idiag_state) && m->idiag_timer != 3;
}

static void map_v4(uint8_t out[16], uint32_t addr_be)
{
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	memcpy(out + 12, &addr_be, 4);
}

static void key_of(const struct inet_diag_msg *m, struct weir_flow_key *key)
{
	if (m->idiag_family == AF_INET) {
		map_v4(key->client, m->id.idiag_dst[0]);
		map_v4(key->server, m->id.idiag_src[0]);
	} else {
		memcpy(key->client, m->id.idiag_dst, 16);
		memcpy(key->server, m->id.idiag_src, 16);
	}
	key->client_port_be = m->id.idiag_dport;
	key->server_port_be = m->id.idiag_sport;
}

/* -- all of them */

static int dump(struct weir_sockdiag *d, answer_fn fn, void *arg, struct space **at,
		struct weir_error *err)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < d->n_spaces; i++) {
		for (size_t f = 0; f < sizeof(families); f++) {
			struct inet_diag_req_v2 req = {
				.sdiag_family = families[f],
				.sdiag_protocol = IPPROTO_TCP,
				.idiag_states = HELD_STATES,
			};
			uint32_t seq;
			int r = ask(&d->spaces[i], SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, d, &seq);

			if (at)
				*at = &d->spaces[i];
			if (!r)
				r = answers(&d->spaces[i], seq, fn, arg);
			if (r)
				return weir_fail(err, -r, "sock_diag: cannot list sockets: %s",
						 strerror(-r));
		}
	}
	return 0;
}

struct dump_call {
	weir_socket_fn fn;
	void *arg;
};

static int on_socket(const struct inet_diag_msg *m, void *arg)
{
	struct dump_call *c = arg;
	struct weir_flow_key key;

	if (!holds(m))
		return 0;
	key_of(m, &key);
	return c->fn(&key, c->arg);
}

int weir_sockdiag_dump(struct weir_sockdiag *d, weir_socket_fn fn, void *arg,
		       struct weir_error *err)
{
	struct dump_call c = { fn, arg };

	return dump(d, on_socket, &c, NULL, err);
}

/* -- one of them */

static int on_found(const struct inet_diag_msg *m, void *arg)
{
	struct weir_flow_key key;

	/* Where there is none, the lookup goes on to the listener. */
	key_of(m, &key);
	return holds(m) && !memcmp(&key, arg, sizeof(key));
}

int weir_sockdiag_has(struct weir_sockdiag *d, const struct weir_flow_key *key)
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	struct inet_diag_req_v2 req = {
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = HELD_STATES,
		.id = { .idiag_sport = key->server_port_be,
			.idiag_dport = key->client_port_be,
			.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } },
	};

	if (!memcmp(key->client, mapped, 12)) {
		req.sdiag_family = AF_INET;
		memcpy(req.id.idiag_src, key->server + 12, 4);
		memcpy(req.id.idiag_dst, key->client + 12, 4);
	} else {
		req.sdiag_family = AF_INET6;
		memcpy(req.id.idiag_src, key->server, 16);
		memcpy(req.id.idiag_dst, key->client, 16);
	}
	for (size_t i = 0; i < d->n_spaces; i++) {
		uint32_t seq;
		int r = ask(&d->spaces[i], SOCK_DIAG_BY_FAMILY, 0, &req, NULL, &seq);

		if (!r)
			r = answers(&d->spaces[i], seq, on_found, (void *)key);
		if (r && r != -ENOENT)
			return r;
	}
	return 0;
}

/* -- away with them */

/* How `ss -K` and we name a socket: with its cookie. Without one, where the connection is
 * gone the kernel would find, and destroy, the listener (inet_diag_find_one_icsk). */
static int destroy(struct space *s, uint8_t family, const struct inet_diag_sockid *id)
{
	struct inet_diag_req_v2 req = { .sdiag_family = family,
					.sdiag_protocol = IPPROTO_TCP,
					.id = *id };
	uint32_t seq;
	int r = ask(s, SOCK_DESTROY, NLM_F_ACK, &req, NULL, &seq);

	return r ? r : answers(s, seq, NULL, NULL);
}

int weir_sockdiag_can_destroy(struct weir_sockdiag *d)
{
	const struct inet_diag_sockid nobody = {}; /* no socket has the cookie 0 */
	int r = destroy(&d->spaces[0], AF_INET, &nobody);

	return r == -ENOENT ? 0 : r;
}

struct victim {
	struct inet_diag_sockid id;
	struct space *space;
	uint8_t family;
};

/* They are listed first: a dump loses its place in a hash bucket that shrinks under it. */
struct victims {
	weir_socket_test want;
	void *arg;
	struct space *space;
	struct victim *list;
	size_t n, room;
};

static int on_candidate(const struct inet_diag_msg *m, void *arg)
{
	struct victims *v = arg;
	struct weir_flow_key key;

	key_of(m, &key);
	if (!holds(m) || !v->want(&key, v->arg))
		return 0;
	if (v->n == v->room) {
		size_t room = v->room ? v->room * 2 : 64;
		struct victim *more = reallocarray(v->list, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		v->list = more;
		v->room = room;
	}
	v->list[v->n++] = (struct victim){ m->id, v->space, m->idiag_family };
	return 0;
}

int weir_sockdiag_destroy(struct weir_sockdiag *d, weir_socket_test want, void *arg,
			  struct weir_error *err)
{
	struct victims v = { .want = want, .arg = arg };
	int n = 0, r = weir_sockdiag_can_destroy(d);

	if (r)
		return weir_fail(err, -r, "sock_diag: cannot destroy sockets: %s",
				 r == -EOPNOTSUPP ? "this kernel has no CONFIG_INET_DIAG_DESTROY"
						  : strerror(-r));
	r = dump(d, on_candidate, &v, &v.space, err);
	for (size_t i = 0; i < v.n && !r; i++) {
		r = destroy(v.list[i].space, v.list[i].family, &v.list[i].id);
		n += !r;
		if (r == -ENOENT) /* it went by itself */
			r = 0;
		if (r)
			weir_fail(err, -r, "sock_diag: cannot destroy a socket: %s", strerror(-r));
	}
	free(v.list);
	return r ? r : n;
}
