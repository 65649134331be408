/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs for devices without a header of their own, on a real one: two tun devices,
 * the client's with the programs attached (clsact) and the server's behind it, the kernel
 * forwarding between them. A test run cannot show this: its packets have Ethernet
 * headers, their sums are complete and their bytes in one piece. Here a packet comes in
 * as the test says: CHECKSUM_PARTIAL or not, in one piece or with its headers outside the
 * linear part. What comes out has been completed by the kernel as for a wire.
 */
#include "tests/bpf/lab.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>

enum { PACKET_MAX = 16384, PATIENCE_MS = 5000 };

static struct {
	int client, server; /* file descriptors of the devices */
	const char *missing;
} net;

/* How a packet is handed to the kernel. */
enum how { WHOLE, PARTIAL, SCATTERED, HOWS };

static const struct ends {
	bool v6;
	const char *client, *server;
} ends[] = {
	{ false, "10.77.0.2", "10.77.1.2" },
	{ true, "fd77::2", "fd77:1::2" },
};

static int open_tun(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	if (fd < 0 && !system("modprobe -q tun 2>/dev/null"))
		fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return -1;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr))
		die("a tun device");
	return fd;
}

static void shell(const char *command)
{
	if (system(command))
		die(command);
}

static void attach(const char *device, enum bpf_tc_attach_point where, struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(device), .attach_point = where);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(prog));

	if (bpf_tc_attach(&hook, &opts))
		die("a program on the tun device");
}

static void net_open(void)
{
	net.client = open_tun("wclient");
	if (net.client < 0) {
		net.missing = "no /dev/net/tun here";
		return;
	}
	net.server = open_tun("wserver");
	if (net.server < 0)
		die("the second tun device");
	shell("echo 1 >/proc/sys/net/ipv4/ip_forward");
	shell("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
	shell("ip address add 10.77.0.1/24 dev wclient");
	shell("ip address add 10.77.1.1/24 dev wserver");
	shell("ip address add fd77::1/64 dev wclient nodad");
	shell("ip address add fd77:1::1/64 dev wserver nodad");
	shell("ip link set wclient mtu 12000 up");
	shell("ip link set wserver mtu 12000 up");
	shell("tc qdisc add dev wclient clsact");
	attach("wclient", BPF_TC_INGRESS, lab.skel->progs.weir_ingress_l3);
	attach("wclient", BPF_TC_EGRESS, lab.skel->progs.weir_egress_l3);
}

/* The programs are attached to what a test run cannot reach. */
static int start(void **state)
{
	if (net.missing) {
		print_message("# skipped: %s\n", net.missing);
		skip();
	}
	return lab_reset(state);
}

static struct segment segment_of(const struct conn *c, bool from_client, uint8_t flags,
				 const void *payload, size_t len)
{
	struct segment s = {
		.sport = from_client ? c->client_port : c->server_port,
		.dport = from_client ? c->server_port : c->client_port,
		.seq = from_client ? c->next : c->sent,
		.ack = from_client ? c->sent : c->next,
		.flags = flags,
		.has_ts = c->has_ts,
		.tsval = from_client ? 1000 : 2000,
		.tsecr = from_client ? 2000 : 1000,
		.payload = payload,
		.len = len,
		.no_l2 = true,
	};

	address(from_client ? c->client : c->server, s.src, &s.v6);
	address(from_client ? c->server : c->client, s.dst, &s.v6);
	return s;
}

/* Into the node by device fd. SCATTERED: of the packet only the first byte is in the
 * linear part, for which it must be longer than a page; shorter ones are whole. */
static void put(int fd, const struct segment *s, enum how how)
{
	uint8_t bytes[sizeof(struct virtio_net_hdr) + PACKET_MAX];
	struct virtio_net_hdr h = {};
	uint8_t *packet = bytes + sizeof(h);
	size_t n = build_frame(s, packet), l4 = tcp_offset(s);

	if (how == PARTIAL) {
		uint8_t none = 0, size[2] = { (n - l4) >> 8, n - l4 };

		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h.csum_start = l4;
		h.csum_offset = 16;
		/* the pseudo header's sum only, for the device to go on from */
		put16(packet + l4 + 16,
		      sum_bytes(tcp_sum(s->v6, s->src, s->dst, &none, 0), size, 2));
	} else if (how == SCATTERED) {
		h.hdr_len = 1;
	}
	memcpy(bytes, &h, sizeof(h));
	if (write(fd, bytes, sizeof(h) + n) != (ssize_t)(sizeof(h) + n))
		die("a packet into the tun device");
}

/* The next TCP packet that the node sends out by device fd; false: there is none, which
 * is known at once, as all that a packet causes is done before its write returns. */
static bool take(int fd, struct segment *s)
{
	static uint8_t bytes[4][sizeof(struct virtio_net_hdr) + PACKET_MAX];
	static unsigned int turn;
	uint8_t *at = bytes[turn++ % 4], *packet = at + sizeof(struct virtio_net_hdr);
	ssize_t n;

	while ((n = read(fd, at, sizeof(bytes[0]))) > (ssize_t)sizeof(struct virtio_net_hdr)) {
		const char *wrong;

		/* what a new IPv6 address says to its neighbours */
		if (packet[0] >> 4 == 6 &&
		    (packet[6] == 58 || (packet[6] == 0 && packet[40] == 58)))
			continue;
		wrong = read_as(packet, n - sizeof(struct virtio_net_hdr), true, FROM_ANYONE, s);
		if (wrong)
			fail_msg("packet from the node: %s", wrong);
		return true;
	}
	return false;
}

static struct segment must_take(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct segment s;

	while (!take(fd, &s))
		if (poll(&p, 1, PATIENCE_MS) <= 0)
			fail_msg("nothing came: %s", what);
	return s;
}

static struct conn open_through(const struct ends *e, enum how how)
{
	struct conn c = new_conn(e->client, e->server);
	struct segment s = segment_of(&c, true, TCP_SYN, NULL, 0);

	put(net.client, &s, how);
	s = must_take(net.server, "the SYN");
	assert_int_equal(s.flags, TCP_SYN);
	c.next++;
	s = segment_of(&c, false, TCP_SYN | TCP_ACK, NULL, 0);
	put(net.server, &s, how);
	s = must_take(net.client, "the SYN-ACK");
	assert_int_equal(s.flags, TCP_SYN | TCP_ACK);
	c.sent++;
	s = segment_of(&c, true, TCP_ACK, NULL, 0);
	put(net.client, &s, how);
	s = must_take(net.server, "the ACK");
	return c;
}

/* A request whose body makes it longer than a page. */
static const char *long_chat(const char *key, size_t *len)
{
	static char text[8000];
	int head = snprintf(text, sizeof(text),
			    "POST /v1/completions HTTP/1.1\r\nAuthorization: Bearer %s\r\n"
			    "Content-Length: 6000\r\n\r\n",
			    key);

	memset(text + head, 'w', 6000);
	*len = head + 6000;
	return text;
}

static struct weir_tenant *tenant_with(const char *key)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	add_key(key, index, 0);
	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	return t;
}

static void a_refused_request_is_answered_and_its_server_reset(void **state)
{
	/* The other half of the rounds have NOPs, or padding, between IP and TCP: an skb
	 * remembers where its sum starts. */
	static const uint8_t v4_extra[12] = { [0 ... 11] = 1 }, v6_extra[8] = { 6, 0, 1, 4 };

	tenant_with("sk-tun");
	for (int e = 0; e < 2; e++)
		for (int round = 0; round < 2 * HOWS; round++) {
			enum how how = round / 2;
			struct conn c;
			struct segment s;
			struct verdict v = { .code = OUT_REDIRECT };
			const char *text;
			size_t len, extra;

			lab_reset(NULL);
			c = open_through(&ends[e], how);
			text = long_chat("sk-tun", &len);
			s = segment_of(&c, true, TCP_PSH | TCP_ACK, text, len);
			if (round % 2) {
				s.ip_extra = s.v6 ? v6_extra : v4_extra;
				s.ip_extra_len = s.v6 ? sizeof(v6_extra) : sizeof(v4_extra);
				s.ip_next = 60;
			}
			extra = s.ip_extra_len;
			put(net.client, &s, how);
			is_counted(WEIR_DENY_CONCURRENCY, 1);
			s = must_take(net.server, "the server's reset");
			assert_int_equal(s.flags, TCP_RST | TCP_ACK);
			assert_int_equal(s.seq, c.next);
			assert_int_equal(s.len, 0);
			assert_int_equal(s.ip_extra_len, extra);
			c.next += len;
			s = must_take(net.client, "the reply");
			assert_int_equal(s.ip_extra_len, extra);
			assert_true(!extra || is_filler(s.v6, s.ip_extra, extra));
			assert_int_equal(s.flags, TCP_FIN | TCP_PSH | TCP_ACK);
			assert_int_equal(s.seq, c.sent);
			assert_int_equal(s.ack, c.next);
			assert_int_equal(s.tsval, 2000);
			assert_int_equal(s.tsecr, 1000);
			assert_true(s.len < sizeof(v.frame));
			memcpy(v.frame, s.payload, s.len);
			assert_non_null(strstr((char *)v.frame, "HTTP/1.1 429 "));
			assert_non_null(strstr((char *)v.frame, "rate_limit_exceeded"));
			is_counted(WEIR_DROP_CHANGE_TAIL, 0);
			is_counted(WEIR_PASS_INTERNAL, 0);
			/* The server's late words end here, with a reset for it. */
			s = segment_of(&c, false, TCP_ACK, text, how == SCATTERED ? 6000 : 20);
			s.ack = c.next - len;
			put(net.server, &s, how);
			s = must_take(net.server, "the server's second reset");
			assert_int_equal(s.flags, TCP_RST | TCP_ACK);
			assert_int_equal(s.seq, c.next - len);
			assert_false(take(net.client, &s));
			assert_false(take(net.server, &s));
		}
}

static void an_admitted_request_and_its_answer_go_through(void **state)
{
	struct weir_tenant *t = tenant_with("sk-tun-in");

	t->max_inflight = 1;
	for (int e = 0; e < 2; e++)
		for (int how = 0; how < HOWS; how++) {
			static char answer[6100];
			struct conn c;
			struct segment s;
			const char *text;
			size_t len;

			lab_reset(NULL);
			c = open_through(&ends[e], how);
			text = long_chat("sk-tun-in", &len);
			s = segment_of(&c, true, TCP_PSH | TCP_ACK, text, len);
			put(net.client, &s, how);
			s = must_take(net.server, "the request");
			assert_int_equal(s.len, len);
			assert_memory_equal(s.payload, text, len);
			is_counted(WEIR_ADMIT_REQUEST, 1);
			assert_int_equal(t->inflight, 1);
			c.next += len;
			memset(answer, 'a', sizeof(answer));
			len = snprintf(answer, sizeof(answer),
				       "HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n");
			answer[len] = 'a';
			len += 6000;
			s = segment_of(&c, false, TCP_PSH | TCP_ACK, answer, len);
			put(net.server, &s, how);
			s = must_take(net.client, "the answer");
			assert_int_equal(s.len, len);
			assert_memory_equal(s.payload, answer, len);
			assert_int_equal(t->inflight, 0);
		}
}

static void a_syn_over_the_limit_is_reset(void **state)
{
	for (int e = 0; e < 2; e++)
		for (int how = 0; how <= PARTIAL; how++) {
			struct conn c = new_conn(ends[e].client, ends[e].server);
			struct segment s = segment_of(&c, true, TCP_SYN, NULL, 0);

			lab_reset(NULL);
			new_tenant(&lab.config->default_tenant)->flags |= WEIR_TENANT_LIMIT_CONNS;
			put(net.client, &s, how);
			s = must_take(net.client, "the reset");
			assert_int_equal(s.flags, TCP_RST | TCP_ACK);
			assert_int_equal(s.ack, c.next + 1);
			assert_false(take(net.server, &s));
			is_counted(WEIR_DENY_CONNECTIONS, 1);
		}
}

/* The sum that the kernel completes is over what the SYN now says. */
static void options_taken_out_of_a_syn_leave_its_sum_right(void **state)
{
	static const uint8_t was[] = { 2, 4, 5, 0xb4, 30, 4, 1, 1, 34, 2, 4, 2 };
	static const uint8_t now[] = { 2, 4, 5, 0xb4, 1, 1, 1, 1, 1, 1, 4, 2 };

	for (int e = 0; e < 2; e++)
		for (int how = 0; how <= PARTIAL; how++) {
			struct conn c = new_conn(ends[e].client, ends[e].server);
			struct segment s = segment_of(&c, true, TCP_SYN, NULL, 0);

			lab_reset(NULL);
			s.tcp_options = was;
			s.tcp_options_len = sizeof(was);
			put(net.client, &s, how);
			s = must_take(net.server, "the SYN");
			assert_int_equal(s.tcp_options_len, sizeof(now));
			assert_memory_equal(s.tcp_options, now, sizeof(now));
			is_counted(WEIR_STRIP_OPTION, 1);
		}
}

static void a_first_fragment_goes_no_further(void **state)
{
	struct conn c = new_conn(ends[0].client, ends[0].server);
	struct segment s = segment_of(&c, true, TCP_SYN, NULL, 0);
	uint8_t bytes[sizeof(struct virtio_net_hdr) + 256] = {}, *ip;
	size_t n;

	ip = bytes + sizeof(struct virtio_net_hdr);
	n = build_frame(&s, ip);
	ip[6] = 0x20;
	put16(ip + 10, 0);
	put16(ip + 10, 0xffff ^ sum_bytes(0, ip, 20));
	n += sizeof(struct virtio_net_hdr);
	assert_int_equal(write(net.client, bytes, n), n);
	is_counted(WEIR_DROP_FRAGMENT, 1);
	assert_false(take(net.server, &s));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, start)
	const struct CMUnitTest tests[] = {
		CLAIM(a_refused_request_is_answered_and_its_server_reset),
		CLAIM(an_admitted_request_and_its_answer_go_through),
		CLAIM(a_syn_over_the_limit_is_reset),
		CLAIM(options_taken_out_of_a_syn_leave_its_sum_right),
		CLAIM(a_first_fragment_goes_no_further),
	};

	lab_open();
	net_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
