/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bench as it is set up: programs loaded once, in a network namespace of their own, with
 * small maps that are filled by hand. A test makes its own tenants, sources and keys, so that
 * none depends on another; counters are told as differences.
 */
#ifndef TEST_LAB_SETUP_H
#define TEST_LAB_SETUP_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#ifndef LAB_BENCH
#include <cmocka.h>
#endif

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <jansson.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/kernel_lines.h"
#include "agent/reason.h"
#include "agent/replies.h"
#include "tests/bpf/packets.h"
#include "weir.skel.h"

#ifdef LAB_BENCH
/* A benchmark has no test runner: what is not as it must be ends it. */
#define lab_must(truth)                                                                            \
	((truth) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth), exit(1)))
#define assert_true(x)		     lab_must(x)
#define assert_non_null(x)	     lab_must(x)
#define assert_int_equal(a, b)	     lab_must((uint64_t)(a) == (uint64_t)(b))
#define assert_string_equal(a, b)    lab_must(!strcmp(a, b))
#define assert_memory_equal(a, b, n) lab_must(!memcmp(a, b, n))
#define fail_msg(...)		     (fprintf(stderr, __VA_ARGS__), exit(1))
#endif

enum { PORT = 8000, ANTHROPIC_PORT = 8001, PLAIN_PORT = 8002, FREE_PORT = 22 };
#ifndef LAB_TENANTS
#define LAB_TENANTS 512
#define LAB_FLOWS   1024
#define LAB_RING    (1 << 22)
#endif
enum { TENANTS = LAB_TENANTS, FLOWS = LAB_FLOWS, RING_BYTES = LAB_RING };
enum { READERS = 64, RECORDS = 256, RECORD_BYTES = 4200 };
enum { MARKER_TYPE = 0x88b5 }; /* an EtherType for experiments (IEEE 802) */
enum { OUT_PASS = -1, OUT_DROP = 2, OUT_REDIRECT = 7 }; /* TC verdicts */
enum { X_DROP = 1, X_PASS = 2, X_TX = 3 };		/* XDP verdicts */

#define SECOND 1000000000ULL

struct record {
	uint8_t bytes[RECORD_BYTES] __attribute__((aligned(8)));
	size_t len;
};

static struct lab {
	struct weir_bpf *skel;
	struct weir_config *config;
	struct weir_tenant *tenants;
	struct weir_slot *slots;
	struct ring_buffer *ring;
	int wire;	    /* packet socket on lo */
	int listeners[3];   /* at the guarded ports, or -1 */
	bool own_sockets;   /* the test has its own there */
	cpu_set_t all_cpus; /* that the process was allowed */
	int cpus;
	uint64_t before[WEIR_REASON_MAX];
	struct record records[RECORDS];
	size_t n_records;
	uint32_t next_tenant;
	uint16_t next_port;
} lab;

static UNUSED uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static UNUSED uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

/* -- setting up */

static UNUSED void die(const char *what)
{
	fprintf(stderr, "packet tests: %s: %s\n", what, strerror(errno));
	exit(1);
}

static UNUSED void *map_memory(struct bpf_map *map, size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, (bytes + page - 1) / page * page, PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(map), 0);

	if (at == MAP_FAILED)
		die("mmap of a map");
	return at;
}

static UNUSED int keep_record(void *ctx, void *data, size_t len)
{
	if (lab.n_records < RECORDS && len <= RECORD_BYTES) {
		struct record *r = &lab.records[lab.n_records++];

		memcpy(r->bytes, data, len);
		r->len = len;
	}
	return 0;
}

static UNUSED void own_namespace(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

	cpu_set_t here;

	/* One CPU, one backlog: what goes into loopback comes out in order. */
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	if (sched_getaffinity(0, sizeof(lab.all_cpus), &lab.all_cpus) ||
	    sched_setaffinity(0, sizeof(here), &here))
		die("a CPU of its own");
	if (unshare(CLONE_NEWNET))
		die("a network namespace (root?)");
	lab.wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
	if (lab.wire < 0 || ioctl(lab.wire, SIOCSIFFLAGS, &lo))
		die("loopback");
	at.sll_ifindex = if_nametoindex("lo");
	if (bind(lab.wire, (struct sockaddr *)&at, sizeof(at)))
		die("packet socket");
}

/* A server's connections are told from forwarded ones by its sockets: there is a listener at
 * each guarded port, at any address. */
static UNUSED void listen_here(void)
{
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(PORT + i) };
		int fd = socket(AF_INET6, SOCK_STREAM, 0), no = 0, yes = 1;

		if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) ||
		    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
		    bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 1))
			die("a listener");
		lab.listeners[i] = fd;
	}
}

/* What comes is forwarded, until the next test. */
static UNUSED void nobody_listens(void)
{
	for (int i = 0; i < 3; i++) {
		if (lab.listeners[i] >= 0)
			close(lab.listeners[i]);
		lab.listeners[i] = -1;
	}
}

static UNUSED void lab_open(void)
{
	static struct weir_reply replies[WEIR_REPLIES];
	struct weir_bpf *skel;

	own_namespace();
	skel = lab.skel = weir_bpf__open();
	if (!skel)
		die("skeleton");
	bpf_map__set_max_entries(skel->maps.tenants, TENANTS);
	bpf_map__set_max_entries(skel->maps.sources, TENANTS);
	bpf_map__set_max_entries(skel->maps.flows, FLOWS);
	bpf_map__set_max_entries(skel->maps.slots, FLOWS);
	bpf_map__set_max_entries(skel->maps.free_slots, FLOWS);
	bpf_map__set_max_entries(skel->maps.lingers, FLOWS);
	bpf_map__set_max_entries(skel->maps.ring, RING_BYTES);
#ifdef LAB_KEYS
	bpf_map__set_max_entries(skel->maps.keys, LAB_KEYS);
	bpf_map__set_max_entries(skel->maps.scopes, TENANTS);
	bpf_map__set_max_entries(skel->maps.half_open, FLOWS / 4);
#endif
	lab.cpus = libbpf_num_possible_cpus();
	bpf_map__set_max_entries(skel->maps.readers, lab.cpus + READERS);
	bpf_map__set_max_entries(skel->maps.free_readers, READERS);
	if (weir_bpf__load(skel))
		die("load");
	lab.config = map_memory(skel->maps.settings, sizeof(*lab.config));
	lab.tenants = map_memory(skel->maps.tenants, TENANTS * sizeof(*lab.tenants));
	lab.slots = map_memory(skel->maps.slots, FLOWS * sizeof(*lab.slots));
	lab.ring = ring_buffer__new(bpf_map__fd(skel->maps.ring), keep_record, NULL, NULL);
	if (!lab.ring)
		die("ring");
	for (uint32_t i = 0; i < FLOWS; i++)
		if (bpf_map_update_elem(bpf_map__fd(skel->maps.free_slots), NULL, &i, BPF_ANY))
			die("free slots");
	for (uint32_t i = lab.cpus; i < (uint32_t)lab.cpus + READERS; i++)
		if (bpf_map_update_elem(bpf_map__fd(skel->maps.free_readers), NULL, &i, BPF_ANY))
			die("free readers");
	weir_replies_build(replies);
	for (uint32_t i = 0; i < WEIR_REPLIES; i++)
		if (bpf_map_update_elem(bpf_map__fd(skel->maps.replies), &i, &replies[i], BPF_ANY))
			die("replies");
	lab.listeners[0] = -1;
	lab.next_tenant = 1;
	lab.next_port = 20000;
}

static UNUSED uint64_t counter(uint32_t reason)
{
	uint64_t each[256] = {}, sum = 0;

	bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.counters), &reason, each);
	for (int i = 0; i < lab.cpus; i++)
		sum += each[i];
	return sum;
}

/* An entry of the free list; '*' at the end: any that begin so. */
static UNUSED void free_path(const char *path)
{
	struct weir_free_path *f = &lab.config->free_paths[lab.config->n_free_paths++];
	size_t len = strlen(path);

	memset(f, 0, sizeof(*f));
	if (path[len - 1] == '*') {
		f->flags = WEIR_FREE_PREFIX;
		len--;
	}
	f->len = len;
	memcpy(f->word, path, len);
	memset(f->mask, 0xff, len);
}

/* Lines of that name are told. As the agent makes them (weir_label_lines). */
static UNUSED void tell_lines_of(const char *name, uint32_t flags)
{
	struct weir_config *c = lab.config;
	struct weir_line_name names[WEIR_LINE_NAMES];
	struct weir_line_name *n = &names[c->n_line_names];
	size_t len = strlen(name) + 1;
	uint64_t word;

	memcpy(names, c->line_names, sizeof(names));
	memset(n, 0, sizeof(*n));
	for (size_t i = 0; i < len && i < 16; i++) {
		((uint8_t *)n->word)[i] = (name[i] ? name[i] : ':') | 0x20;
		((uint8_t *)n->mask)[i] = 0xff;
	}
	n->len = len;
	n->flags = flags;
	word = n->word[0];
	weir_lines_store(c, names, c->n_line_names + 1,
			 c->line_bits | (len < 8 ? ~0ULL : weir_line_bit(word)));
}

/* Before each test: settings as an operator's plain node has them, ring and wire
 * empty, counters told from here on. */
static UNUSED int lab_reset(void **state)
{
	struct weir_config *c = lab.config;
	uint8_t junk[FRAME_MAX];

	memset(c, 0, sizeof(*c));
	c->abi_version = WEIR_ABI_VERSION;
	c->heartbeat_ns = now_ns();
	c->agent_timeout_ns = 3600 * SECOND;
	c->wall_offset_ns = wall_ns() - now_ns();
	c->half_open_ns = 75 * SECOND;
	c->linger_ns = 30 * SECOND;
	c->ring_bytes = RING_BYTES;
	c->ring_request_max = RING_BYTES * 3 / 4;
	c->ring_data_max = RING_BYTES / 2;
	c->enforce = 1;
	c->hash_key = 0x9e3779b97f4a7c15;
	c->head_timeout_ns = 30 * SECOND;
	c->idle_timeout_ns = 3600 * SECOND;
	c->free_options = 1;
	c->first_reader = lab.cpus;
	c->max_heads_per_source = READERS;
	free_path("/health*");
	free_path("/metrics");
	free_path("/v1/models*");
	free_path("/ping");
	free_path("/version");
	for (int i = 0; i < 3; i++) {
		c->port_service[PORT + i] = 1 + i;
		c->services[1 + i] = (struct weir_service){ .port = PORT + i, .dialect = i };
	}
	if (lab.listeners[0] < 0 && !lab.own_sockets)
		listen_here();
	memset(&lab.tenants[0], 0, sizeof(lab.tenants[0]));
	ring_buffer__consume(lab.ring);
	lab.n_records = 0;
	while (recv(lab.wire, junk, sizeof(junk), 0) > 0)
		;
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		lab.before[r] = counter(r);
	return 0;
}

/* A tenant without any limit, that pays for itself. */
static UNUSED struct weir_tenant *new_tenant(uint32_t *index)
{
	struct weir_tenant *t = &lab.tenants[lab.next_tenant];

	assert_true(lab.next_tenant < TENANTS);
	memset(t, 0, sizeof(*t));
	t->flags = WEIR_TENANT_LIVE;
	t->wallet = lab.next_tenant;
	*index = lab.next_tenant++;
	return t;
}

static UNUSED void add_key(const char *key, uint32_t tenant, uint64_t expires_wall_ns)
{
	struct weir_key_value v = { .tenant = tenant, .expires_wall_ns = expires_wall_ns };
	struct weir_key k;

	SHA256((const unsigned char *)key, strlen(key), k.sha256);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(lab.skel->maps.keys), &k, &v, BPF_ANY), 0);
}

/* v4 prefixes by their own length; adds the length to those in use, longest first. */
static UNUSED void add_source(const char *prefix, uint32_t len, uint32_t tenant)
{
	struct weir_config *c = lab.config;
	struct weir_source s = {};
	uint32_t at = 0;
	bool v6;

	address(prefix, s.addr, &v6);
	s.prefix_len = len += v6 ? 0 : 96;
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(lab.skel->maps.sources), &s, &tenant, BPF_ANY), 0);
	while (at < c->n_prefix_lens && c->prefix_lens[at] > len)
		at++;
	if (at < c->n_prefix_lens && c->prefix_lens[at] == len)
		return;
	memmove(c->prefix_lens + at + 1, c->prefix_lens + at, c->n_prefix_lens - at);
	c->prefix_lens[at] = len;
	c->n_prefix_lens++;
}

#endif
