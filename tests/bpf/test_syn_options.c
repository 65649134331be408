/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real sockets that ask for MPTCP or TCP fast open, over a loopback that has the programs
 * attached: on a port nobody guards they get it, on a guarded one they speak plain TCP,
 * and nothing is lost.
 */
#include "tests/bpf/lab.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* linux/mptcp.h clashes with netinet/in.h; the first fields are all that is read. */
enum { SOL_OF_MPTCP = 284, INFO_OF_MPTCP = 1, FELL_BACK = 1 << 0 };

struct mptcp_info_head {
	uint8_t counts[8];
	uint32_t flags;
};

enum { OTHER_PORT = 9000 };

static void shell(const char *command)
{
	if (system(command))
		die(command);
}

static void attach(enum bpf_tc_attach_point where, struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex("lo"), .attach_point = where);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(prog));

	if (bpf_tc_attach(&hook, &opts))
		die("a program on loopback");
}

static struct sockaddr_in at_port(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int listener(int protocol, uint16_t port)
{
	struct sockaddr_in at = at_port(port);
	int fd = socket(AF_INET, SOCK_STREAM, protocol), one = 1, queue = 16;

	if (fd < 0)
		return -1;
	nobody_listens(); /* but this one */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (protocol == IPPROTO_TCP)
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue)),
				 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

/* A request over a new connection, all of which the server reads. */
static void ask(int protocol, int server, uint16_t port, bool fast, bool *in_syn, bool *fell_back)
{
	struct sockaddr_in at = at_port(port);
	int client = socket(AF_INET, SOCK_STREAM, protocol), accepted;
	const char *text = chat("sk-syn");
	struct timeval patience = { .tv_sec = 5 };
	struct mptcp_info_head mptcp = {};
	struct tcp_info tcp = {};
	socklen_t size = sizeof(tcp);
	char got[1024];
	size_t n = 0;

	assert_true(client >= 0);
	if (fast) {
		assert_int_equal(sendto(client, text, strlen(text), MSG_FASTOPEN,
					(struct sockaddr *)&at, sizeof(at)),
				 strlen(text));
	} else {
		assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
		assert_int_equal(send(client, text, strlen(text), 0), strlen(text));
	}
	accepted = accept(server, NULL, NULL);
	assert_true(accepted >= 0);
	setsockopt(accepted, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (n < strlen(text)) {
		ssize_t more = recv(accepted, got + n, sizeof(got) - n, 0);

		assert_true(more > 0);
		n += more;
	}
	assert_memory_equal(got, text, n);
	if (in_syn) {
		assert_int_equal(getsockopt(client, IPPROTO_TCP, TCP_INFO, &tcp, &size), 0);
		*in_syn = tcp.tcpi_options & 32; /* TCPI_OPT_SYN_DATA */
	}
	size = sizeof(mptcp);
	if (fell_back) {
		/* On a socket that fell back there may be nothing to ask any more. */
		*fell_back = getsockopt(client, SOL_OF_MPTCP, INFO_OF_MPTCP, &mptcp, &size) ||
			     mptcp.flags & FELL_BACK;
	}
	close(accepted);
	close(client);
}

static void an_mptcp_client_speaks_plain_tcp_to_a_guarded_port(void **state)
{
	static const uint16_t ports[] = { OTHER_PORT, PORT };

	for (int guarded = 0; guarded < 2; guarded++) {
		int server = listener(IPPROTO_MPTCP, ports[guarded]);
		bool fell_back;

		if (server < 0) {
			print_message("# skipped: this kernel has no MPTCP\n");
			skip();
		}
		ask(IPPROTO_MPTCP, server, ports[guarded], false, NULL, &fell_back);
		assert_int_equal(fell_back, guarded);
		close(server);
	}
	is_counted(WEIR_STRIP_OPTION, 1);
	is_counted(WEIR_ADMIT_CONNECTION, 1);
}

static void fast_open_puts_nothing_into_a_guarded_handshake(void **state)
{
	static const uint16_t ports[] = { OTHER_PORT, PORT };

	for (int guarded = 0; guarded < 2; guarded++) {
		int server = listener(IPPROTO_TCP, ports[guarded]);
		bool in_syn;

		shell("ip tcp_metrics flush >/dev/null 2>&1 || true");
		/* The first fetches a cookie, the second uses it. */
		ask(IPPROTO_TCP, server, ports[guarded], true, &in_syn, NULL);
		assert_false(in_syn);
		ask(IPPROTO_TCP, server, ports[guarded], true, &in_syn, NULL);
		assert_int_equal(in_syn, !guarded);
		close(server);
	}
	is_counted(WEIR_STRIP_OPTION, 2);
	is_counted(WEIR_DROP_TFO_DATA, 0);
}

static int start(void **state)
{
	uint32_t index;
	int done = lab_reset(state);

	new_tenant(&index);
	add_key("sk-syn", index, 0);
	return done;
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, start)
	const struct CMUnitTest tests[] = {
		CLAIM(an_mptcp_client_speaks_plain_tcp_to_a_guarded_port),
		CLAIM(fast_open_puts_nothing_into_a_guarded_handshake),
	};

	lab_open();
	shell("echo 3 >/proc/sys/net/ipv4/tcp_fastopen");
	shell("tc qdisc add dev lo clsact");
	attach(BPF_TC_INGRESS, lab.skel->progs.weir_ingress);
	attach(BPF_TC_EGRESS, lab.skel->progs.weir_egress);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
