// SPDX-License-Identifier: Apache-2.0
/* Claims about the kernel's sockets, in network namespaces of the test's own: which are told of,
 * which are found, and that only those are destroyed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/netns.h"
#include "agent/sockdiag.h"

enum { GUARDED = 28417, GUARDED2, OTHER };

static struct weir_agent_config cfg = {
	.services = { { .port = GUARDED }, { .port = GUARDED2 } },
	.n_services = 2,
};
static struct weir_config settings;

static uint64_t enter_new_netns(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	uint64_t id;
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	fd = weir_netns_open("/proc/thread-self/ns/net", &id);
	assert_true(fd >= 0);
	close(fd);
	return id;
}

/* -- connections over loopback */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t loopback(union address *a, int family, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		a->v4.sin_port = htons(port);
		a->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(a->v4);
	}
	a->v6.sin6_port = htons(port);
	a->v6.sin6_addr = in6addr_loopback;
	return sizeof(a->v6);
}

/* Of both families. */
static int listen_at(uint16_t port, int backlog)
{
	union address a = { .v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) } };
	int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, &a.any, sizeof(a.v6)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int connect_to(int family, uint16_t port, struct weir_flow_key *key)
{
	int fd = socket(family, SOCK_STREAM, 0);
	union address a;
	socklen_t len = loopback(&a, family, port);

	assert_int_equal(connect(fd, &a.any, len), 0);
	len = sizeof(a);
	assert_int_equal(getsockname(fd, &a.any, &len), 0);
	memset(key, 0, sizeof(*key));
	if (family == AF_INET) {
		memset(key->client + 10, 0xff, 2);
		memcpy(key->client + 12, &a.v4.sin_addr, 4);
		key->client_port_be = a.v4.sin_port;
	} else {
		memcpy(key->client, &a.v6.sin6_addr, 16);
		key->client_port_be = a.v6.sin6_port;
	}
	memcpy(key->server, key->client, 16);
	key->server_port_be = htons(port);
	return fd;
}

struct pair {
	struct weir_flow_key key;
	int client, server;
};

static struct pair pair_at(int listener, int family, uint16_t port)
{
	struct pair p;

	p.client = connect_to(family, port, &p.key);
	p.server = accept(listener, NULL, NULL);
	assert_true(p.server >= 0);
	return p;
}

static void close_pair(struct pair *p)
{
	close(p->client);
	close(p->server);
}

/* -- what is told */

struct told {
	struct weir_flow_key keys[64];
	size_t n;
};

static int on_socket(const struct weir_flow_key *key, void *arg)
{
	struct told *t = arg;

	assert_true(t->n < 64);
	t->keys[t->n++] = *key;
	return 0;
}

static struct weir_sockdiag *opened(void)
{
	struct weir_sockdiag *d = NULL;
	struct weir_error err = {};

	if (weir_sockdiag_open(&cfg, &settings, &d, &err))
		fail_msg("%s", err.text);
	return d;
}

static struct told all_of(struct weir_sockdiag *d)
{
	struct told t = {};
	struct weir_error err = {};

	if (weir_sockdiag_dump(d, on_socket, &t, &err))
		fail_msg("%s", err.text);
	return t;
}

static bool tells(const struct told *t, const struct weir_flow_key *key)
{
	size_t times = 0;

	for (size_t i = 0; i < t->n; i++)
		times += !memcmp(&t->keys[i], key, sizeof(*key));
	assert_true(times <= 1);
	return times;
}

/* The last ACK is some softirq's. */
static void await_gone(struct weir_sockdiag *d, const struct weir_flow_key *key)
{
	for (int i = 0; i < 5000 && weir_sockdiag_has(d, key) == 1; i++)
		poll(NULL, 0, 1);
	assert_int_equal(weir_sockdiag_has(d, key), 0);
}

static void connections_of_guarded_ports_are_told_of_by_the_name_they_have_as_flows(void **state)
{
	int listeners[] = { listen_at(GUARDED, 8), listen_at(GUARDED2, 8), listen_at(OTHER, 8) };
	struct weir_sockdiag *d = opened();
	struct pair pairs[6];
	struct told t;

	for (int i = 0; i < 6; i++) /* v4 comes to a dual-stack listener as v4-mapped */
		pairs[i] = pair_at(listeners[i / 2], i % 2 ? AF_INET : AF_INET6,
				   (uint16_t)(GUARDED + i / 2));
	t = all_of(d);
	assert_int_equal(t.n, 4); /* no listener, no client's end, no other port */
	for (int i = 0; i < 6; i++) {
		assert_int_equal(tells(&t, &pairs[i].key), i < 4);
		assert_int_equal(weir_sockdiag_has(d, &pairs[i].key), 1); /* by name, of any port */
		close_pair(&pairs[i]);
	}
	close(listeners[0]);
	weir_sockdiag_close(d);
	for (int i = 1; i < 3; i++)
		close(listeners[i]);
}

static void a_plain_v4_socket_has_the_same_name(void **state)
{
	struct weir_sockdiag *d = opened();
	union address a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	struct pair p;
	struct told t;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, &a.any, loopback(&a, AF_INET, GUARDED)), 0);
	assert_int_equal(listen(fd, 8), 0);
	p = pair_at(fd, AF_INET, GUARDED);
	t = all_of(d);
	assert_int_equal(t.n, 1);
	assert_true(tells(&t, &p.key));
	assert_int_equal(weir_sockdiag_has(d, &p.key), 1);
	close_pair(&p);
	close(fd);
	weir_sockdiag_close(d);
}

static void a_connection_is_told_of_until_its_full_socket_closes(void **state)
{
	int listener = listen_at(GUARDED, 8);
	struct weir_sockdiag *d = opened();
	struct pair p = pair_at(listener, AF_INET, GUARDED);
	struct told t;
	char byte;

	/* The server ends first: FIN_WAIT1, FIN_WAIT2. */
	assert_int_equal(shutdown(p.server, SHUT_WR), 0);
	assert_int_equal(read(p.client, &byte, 1), 0);
	t = all_of(d);
	assert_true(tells(&t, &p.key));
	assert_int_equal(weir_sockdiag_has(d, &p.key), 1);
	/* TIME_WAIT, of which the programs know nothing any more. */
	close(p.client);
	assert_int_equal(read(p.server, &byte, 1), 0);
	close(p.server);
	await_gone(d, &p.key);
	t = all_of(d);
	assert_false(tells(&t, &p.key));
	assert_int_equal(weir_sockdiag_has(d, &p.key), 0);
	/* The client ends first: CLOSE_WAIT. */
	p = pair_at(listener, AF_INET6, GUARDED);
	assert_int_equal(shutdown(p.client, SHUT_WR), 0);
	assert_int_equal(read(p.server, &byte, 1), 0);
	t = all_of(d);
	assert_true(tells(&t, &p.key));
	close_pair(&p);
	await_gone(d, &p.key);
	/* FIN_WAIT2 that nobody holds any more: as small as TIME_WAIT, in another state. */
	p = pair_at(listener, AF_INET, GUARDED);
	close(p.server);
	assert_int_equal(read(p.client, &byte, 1), 0);
	await_gone(d, &p.key);
	t = all_of(d);
	assert_int_equal(t.n, 0);
	close(p.client);
	close(listener);
	weir_sockdiag_close(d);
}

static void one_that_was_not_accepted_counts(void **state)
{
	int listener = listen_at(GUARDED, 8);
	struct weir_sockdiag *d = opened();
	struct weir_flow_key key;
	int client = connect_to(AF_INET, GUARDED, &key);
	struct told t = all_of(d);

	assert_true(tells(&t, &key));
	close(client);
	close(listener);
	weir_sockdiag_close(d);
}

/* -- away with them */

static bool is(const struct weir_flow_key *key, void *arg)
{
	return !memcmp(key, arg, sizeof(*key));
}

static bool any(const struct weir_flow_key *key, void *arg)
{
	return true;
}

/* Not by timing: an error or an end is there, or data may still be sent. */
static bool cut_off(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno != EAGAIN;
}

static void only_those_asked_for_are_destroyed(void **state)
{
	int listener = listen_at(GUARDED, 8), other = listen_at(OTHER, 8);
	struct weir_sockdiag *d = opened();
	struct weir_error err = {};
	struct pair a = pair_at(listener, AF_INET, GUARDED),
		    b = pair_at(listener, AF_INET6, GUARDED), c = pair_at(other, AF_INET, OTHER);

	assert_int_equal(weir_sockdiag_can_destroy(d), 0);
	assert_int_equal(weir_sockdiag_destroy(d, is, &a.key, &err), 1);
	assert_true(cut_off(a.client) && cut_off(a.server));
	assert_int_equal(weir_sockdiag_has(d, &a.key), 0);
	assert_false(cut_off(b.client) || cut_off(b.server) || cut_off(c.client));
	/* What is gone is not found, and the listener in its stead is left alone. */
	assert_int_equal(weir_sockdiag_destroy(d, is, &a.key, &err), 0);
	assert_int_equal(weir_sockdiag_destroy(d, any, NULL, &err), 1);
	assert_true(cut_off(b.client) && cut_off(b.server));
	assert_false(cut_off(c.client) || cut_off(c.server));
	close_pair(&a);
	a = pair_at(listener, AF_INET, GUARDED);
	assert_false(cut_off(a.client));
	close_pair(&a);
	close_pair(&b);
	close_pair(&c);
	close(listener);
	close(other);
	weir_sockdiag_close(d);
}

static void one_bound_to_a_device_is_destroyed_too(void **state)
{
	int listener = listen_at(GUARDED, 8);
	struct weir_sockdiag *d = opened();
	struct weir_error err = {};
	struct pair p;

	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
	p = pair_at(listener, AF_INET, GUARDED);
	assert_int_equal(weir_sockdiag_destroy(d, is, &p.key, &err), 1);
	assert_true(cut_off(p.client));
	close_pair(&p);
	close(listener);
	weir_sockdiag_close(d);
}

/* -- namespaces */

/* A process in a namespace of its own, with a connection there; it lives till it is ended. */
struct neighbour {
	pid_t pid;
	uint64_t netns;
	struct weir_flow_key key;
};

static struct neighbour neighbour(void)
{
	struct neighbour n;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	n.pid = fork();
	if (!n.pid) {
		struct pair p;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* not left behind by a claim that fails */
		n.netns = enter_new_netns();
		p = pair_at(listen_at(GUARDED, 8), AF_INET, GUARDED);
		n.key = p.key;
		if (write(ends[1], &n, sizeof(n)) != sizeof(n))
			_exit(1);
		for (;;)
			pause();
	}
	pid_t pid = n.pid;
	assert_int_equal(read(ends[0], &n, sizeof(n)), sizeof(n));
	n.pid = pid;
	close(ends[0]);
	close(ends[1]);
	return n;
}

static void end(struct neighbour *n)
{
	kill(n->pid, SIGKILL);
	waitpid(n->pid, NULL, 0);
}

static void a_namespace_of_the_configuration_is_looked_into(void **state)
{
	struct neighbour n = neighbour();
	struct weir_agent_config with = cfg;
	struct weir_sockdiag *d;
	struct weir_error err = {};
	struct told t;

	d = opened();
	assert_int_equal(all_of(d).n, 0);
	weir_sockdiag_close(d);

	with.n_interfaces = 3;
	snprintf(with.interfaces[0].netns, sizeof(with.interfaces[0].netns), "/proc/%d/ns/net",
		 n.pid);
	snprintf(with.interfaces[1].netns, sizeof(with.interfaces[1].netns), "/nothing/there");
	with.interfaces[2] = with.interfaces[0];
	assert_int_equal(weir_sockdiag_open(&with, &settings, &d, &err), 0);
	t = all_of(d);
	assert_int_equal(t.n, 1);
	assert_true(tells(&t, &n.key));
	assert_int_equal(weir_sockdiag_has(d, &n.key), 1);
	assert_int_equal(weir_sockdiag_destroy(d, is, &n.key, &err), 1);
	assert_int_equal(weir_sockdiag_has(d, &n.key), 0);
	weir_sockdiag_close(d);
	end(&n);
}

static void a_guarded_namespace_that_lost_its_name_is_found_by_who_lives_there(void **state)
{
	struct neighbour n = neighbour();
	struct weir_sockdiag *d;
	struct told t;

	settings.netns[0] = (uint32_t)n.netns;
	settings.n_netns = 1;
	d = opened();
	t = all_of(d);
	assert_true(tells(&t, &n.key));
	weir_sockdiag_close(d);

	/* There were more than there is room for: any may be guarded. */
	settings.netns[0] = UINT32_MAX;
	settings.n_netns = 0;
	d = opened();
	t = all_of(d);
	assert_true(tells(&t, &n.key));
	weir_sockdiag_close(d);
	end(&n);

	/* Nobody lives there any more. */
	settings.netns[0] = (uint32_t)n.netns;
	settings.n_netns = 1;
	d = opened();
	assert_int_equal(all_of(d).n, 0);
	weir_sockdiag_close(d);
	memset(&settings, 0, sizeof(settings));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			connections_of_guarded_ports_are_told_of_by_the_name_they_have_as_flows),
		cmocka_unit_test(a_plain_v4_socket_has_the_same_name),
		cmocka_unit_test(a_connection_is_told_of_until_its_full_socket_closes),
		cmocka_unit_test(one_that_was_not_accepted_counts),
		cmocka_unit_test(only_those_asked_for_are_destroyed),
		cmocka_unit_test(one_bound_to_a_device_is_destroyed_too),
		cmocka_unit_test(a_namespace_of_the_configuration_is_looked_into),
		cmocka_unit_test(
			a_guarded_namespace_that_lost_its_name_is_found_by_who_lives_there),
	};

	if (geteuid()) {
		print_message("test_sockdiag: skipped: needs root\n");
		return 0;
	}
	enter_new_netns();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
