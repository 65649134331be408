/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel programs on a bench: loaded once, in a network namespace of their
 * own, with small maps that are filled by hand, and driven one packet at a time
 * through BPF_PROG_TEST_RUN. A test makes its own tenants and connections, so
 * that none depends on another; counters are told as differences.
 *
 * What a program redirects is in data_out. What it clones into a device (the RST
 * for the server) is read from a packet socket on the namespace's loopback.
 */
#ifndef TEST_LAB_H
#define TEST_LAB_H

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
#include <openssl/sha.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

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
	cpu_set_t all_cpus; /* that the process was allowed */
	int cpus;
	uint64_t before[WEIR_REASON_MAX];
	struct record records[RECORDS];
	size_t n_records;
	uint32_t next_tenant;
	uint16_t next_port;
} lab;

/* What came of a packet. */
struct verdict {
	int code;
	uint8_t frame[FRAME_MAX];
	size_t frame_len;
};

/* One end of a connection as its client sees it. */
struct conn {
	char client[46];
	char server[46];
	uint16_t client_port, server_port;
	uint32_t next; /* client's next sequence number */
	uint32_t sent; /* server's next sequence number, as seen on the wire */
	bool has_ts;
};

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
	free_path("/health*");
	free_path("/metrics");
	free_path("/v1/models*");
	free_path("/ping");
	free_path("/version");
	for (int i = 0; i < 3; i++) {
		c->port_service[PORT + i] = 1 + i;
		c->services[1 + i] = (struct weir_service){ .port = PORT + i, .dialect = i };
	}
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

static UNUSED struct conn new_conn(const char *client, const char *server)
{
	struct conn c = { .client_port = lab.next_port++, .server_port = PORT };

	snprintf(c.client, sizeof(c.client), "%s", client);
	snprintf(c.server, sizeof(c.server), "%s", server);
	c.next = 0xfffffe00 + c.client_port; /* wraps soon */
	c.sent = 0x7ffffff0 + c.client_port;
	c.has_ts = true;
	return c;
}

/* -- packets */

static UNUSED size_t conn_frame(const struct conn *c, bool from_client, uint8_t flags, uint32_t seq,
				uint32_t ack, const void *payload, size_t len, uint8_t *frame)
{
	struct segment s = {
		.from_mac = { 2, 0, 0, 0, 0, 1 },
		.to_mac = { 2, 0, 0, 0, 0, 2 },
		.sport = from_client ? c->client_port : c->server_port,
		.dport = from_client ? c->server_port : c->client_port,
		.seq = seq,
		.ack = ack,
		.flags = flags,
		.has_ts = c->has_ts,
		.tsval = from_client ? 1000 : 2000,
		.tsecr = from_client ? 2000 : 1000,
		.payload = payload,
		.len = len,
	};

	address(from_client ? c->client : c->server, s.src, &s.v6);
	address(from_client ? c->server : c->client, s.dst, &s.v6);
	return build_frame(&s, frame);
}

static UNUSED struct verdict run(struct bpf_program *prog, const uint8_t *frame, size_t len)
{
	struct verdict v = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len,
		    .data_out = v.frame, .data_size_out = sizeof(v.frame), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts), 0);
	v.code = (int32_t)opts.retval;
	v.frame_len = opts.data_size_out;
	return v;
}

static UNUSED struct verdict from_client(const struct conn *c, uint8_t flags, uint32_t seq,
					 uint32_t ack, const void *payload, size_t len)
{
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(c, true, flags, seq, ack, payload, len, frame);

	return run(lab.skel->progs.weir_ingress, frame, n);
}

static UNUSED struct verdict from_server(const struct conn *c, uint8_t flags, uint32_t seq,
					 uint32_t ack, const void *payload, size_t len)
{
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(c, false, flags, seq, ack, payload, len, frame);

	return run(lab.skel->progs.weir_egress, frame, n);
}

static UNUSED struct verdict send_syn(const struct conn *c, bool xdp)
{
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(c, true, TCP_SYN, c->next, 0, NULL, 0, frame);

	return run(xdp ? lab.skel->progs.weir_xdp : lab.skel->progs.weir_ingress, frame, n);
}

/* The whole handshake; it must pass. */
static UNUSED struct conn open_conn(const char *client, const char *server)
{
	struct conn c = new_conn(client, server);

	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	c.next++;
	assert_int_equal(from_server(&c, TCP_SYN | TCP_ACK, c.sent, c.next, NULL, 0).code,
			 OUT_PASS);
	c.sent++;
	assert_int_equal(from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0).code, OUT_PASS);
	return c;
}

/* Payload from the client, in order. */
static UNUSED struct verdict send_bytes(struct conn *c, const void *payload, size_t len)
{
	struct verdict v = from_client(c, TCP_PSH | TCP_ACK, c->next, c->sent, payload, len);

	c->next += len;
	return v;
}

static UNUSED struct verdict send_text(struct conn *c, const char *text)
{
	return send_bytes(c, text, strlen(text));
}

/* Payload from the server, in order. */
static UNUSED struct verdict answer_bytes(struct conn *c, const void *payload, size_t len)
{
	struct verdict v = from_server(c, TCP_PSH | TCP_ACK, c->sent, c->next, payload, len);

	c->sent += len;
	return v;
}

static UNUSED struct verdict answer_text(struct conn *c, const char *text)
{
	return answer_bytes(c, text, strlen(text));
}

/* A chat request as SDKs send it, head and body in one. */
static UNUSED const char *chat(const char *key)
{
	static char text[1024];
	static const char body[] = "{\"model\":\"m\",\"messages\":[]}";

	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: llm\r\nContent-Type: "
		 "application/json\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
		 key ? "Authorization: Bearer " : "", key ? key : "", key ? "\r\n" : "",
		 sizeof(body) - 1, body);
	return text;
}

/*
 * The next frame on the namespace's loopback; 0: there is none. What a program clones into
 * a device goes to this CPU's backlog, which is mostly worked off before the test run
 * returns; but 6.1 leaves it to ksoftirqd while that one runs. A marker sent behind it
 * arrives after it.
 */
static UNUSED ssize_t next_on_the_wire(uint8_t frame[FRAME_MAX])
{
	static uint32_t number;
	uint8_t marker[60] = {};
	struct pollfd wire = { .fd = lab.wire, .events = POLLIN };
	bool sent = false;

	put16(marker + 12, MARKER_TYPE);
	put32(marker + 14, ++number);
	for (;;) {
		ssize_t n = recv(lab.wire, frame, FRAME_MAX, 0);

		if (n <= 0 && !sent) {
			if (send(lab.wire, marker, sizeof(marker), 0) != sizeof(marker))
				die("a marker on the wire");
			sent = true;
		} else if (n <= 0) {
			if (poll(&wire, 1, 10000) != 1)
				fail_msg("a marker never came out of loopback");
		} else if (n < 18 || get16(frame + 12) != MARKER_TYPE) {
			return n;
		} else if (get32(frame + 14) == number) {
			return 0; /* one of before may still be there */
		}
	}
}

/* The next packet that a program put there; false: none. Loopback shows a packet that
 * arrives once. */
static UNUSED bool on_the_wire(struct segment *s)
{
	static uint8_t frame[FRAME_MAX];
	ssize_t n;

	while ((n = next_on_the_wire(frame)) > 0) {
		const char *wrong = read_frame(frame, n, s);

		if (n > 14 && get16(frame + 12) != 0x0800 && get16(frame + 12) != 0x86dd)
			continue;
		if (wrong)
			fail_msg("packet on the wire: %s", wrong);
		return true;
	}
	return false;
}

/* -- what is claimed */

static UNUSED void is_counted(uint32_t reason, uint64_t times)
{
	uint64_t n = counter(reason) - lab.before[reason];

	if (n != times)
		fail_msg("%s counted %lu times, not %lu", weir_reason_name(reason),
			 (unsigned long)n, (unsigned long)times);
}

static UNUSED void take_records(void)
{
	ring_buffer__consume(lab.ring);
}

/* The nth record of a type since the test began, NULL if there is none. */
static UNUSED const void *record(uint8_t type, size_t nth)
{
	take_records();
	for (size_t i = 0; i < lab.n_records; i++) {
		const struct weir_record *h = (const void *)lab.records[i].bytes;

		if (h->type == type && !nth--)
			return h;
	}
	return NULL;
}

/* All response bytes that the ring holds, in order, as one text. */
static UNUSED size_t tapped(char *out, size_t size)
{
	const struct weir_rec_data *d;
	size_t n = 0;

	for (size_t i = 0; (d = record(WEIR_REC_DATA, i)); i++) {
		assert_int_equal(d->offset, n);
		assert_true(n + d->h.len < size);
		memcpy(out + n, d + 1, d->h.len);
		n += d->h.len;
	}
	out[n] = 0;
	return n;
}

/* A refusal as the client reads it. */
struct answer {
	struct segment tcp;
	char head[1200];
	char body[1200];
	int status;
	uint8_t copy[FRAME_MAX];
};

static UNUSED const char *header(const struct answer *a, const char *name)
{
	static char value[8][256];
	static unsigned int turn;
	char *out = value[turn++ % 8];
	size_t n = strlen(name);

	for (const char *line = strstr(a->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, name, n) || line[2 + n] != ':')
			continue;
		line += 3 + n;
		while (*line == ' ')
			line++;
		snprintf(out, 256, "%.*s", (int)strcspn(line, "\r"), line);
		return out;
	}
	return NULL;
}

/* The verdict is a whole HTTP answer to the client of c, in one segment with FIN. */
static UNUSED struct answer is_refused(const struct conn *c, const struct verdict *v, int status)
{
	struct answer a = {};
	const char *wrong, *end, *length;
	uint8_t client[16], server[16];
	bool v6;

	assert_int_equal(v->code, OUT_REDIRECT);
	memcpy(a.copy, v->frame, v->frame_len);
	wrong = read_frame(a.copy, v->frame_len, &a.tcp);
	if (wrong)
		fail_msg("reply: %s", wrong);
	address(c->client, client, &v6);
	address(c->server, server, &v6);
	assert_memory_equal(a.tcp.src, server, 16);
	assert_memory_equal(a.tcp.dst, client, 16);
	assert_memory_equal(a.tcp.to_mac, "\2\0\0\0\0\1", 6);
	assert_int_equal(a.tcp.sport, c->server_port);
	assert_int_equal(a.tcp.dport, c->client_port);
	assert_int_equal(a.tcp.flags, TCP_FIN | TCP_PSH | TCP_ACK);
	assert_int_equal(a.tcp.has_ts, c->has_ts);
	if (c->has_ts) {
		assert_int_equal(a.tcp.tsval, 2000);
		assert_int_equal(a.tcp.tsecr, 1000);
	}
	assert_true(a.tcp.len && a.tcp.len < sizeof(a.head));
	memcpy(a.head, a.tcp.payload, a.tcp.len);
	end = strstr(a.head, "\r\n\r\n");
	assert_non_null(end);
	snprintf(a.body, sizeof(a.body), "%s", end + 4);
	a.head[end + 2 - a.head] = 0;
	assert_int_equal(sscanf(a.head, "HTTP/1.1 %d ", &a.status), 1);
	assert_int_equal(a.status, status);
	length = header(&a, "content-length");
	assert_non_null(length);
	assert_int_equal(atoi(length), strlen(a.body));
	assert_string_equal(header(&a, "connection"), "close");
	if (!strcmp(header(&a, "content-type"), "application/json")) {
		json_t *root = json_loads(a.body, 0, NULL);

		assert_non_null(root);
		json_decref(root);
	}
	return a;
}

/* The string at a path of the answer's JSON, "error.code"; "" for null. */
static UNUSED const char *json_at(const struct answer *a, const char *object, const char *name)
{
	static char value[4][512];
	static unsigned int turn;
	char *out = value[turn++ % 4];
	json_t *root = json_loads(a->body, 0, NULL), *at = root;

	assert_non_null(root);
	if (object)
		at = json_object_get(at, object);
	at = json_object_get(at, name);
	snprintf(out, 512, "%s", json_is_string(at) ? json_string_value(at) : "");
	json_decref(root);
	return out;
}

/* Nothing but `refused` moved: a refusal uses up nothing. */
static UNUSED void uses_up_nothing(const struct weir_tenant *before, const struct weir_tenant *now)
{
	struct weir_tenant same = *now;

	same.refused = before->refused;
	assert_memory_equal(before, &same, sizeof(same));
}

#endif
