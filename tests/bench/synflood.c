/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYNs from very many addresses, made in the kernel by synflood.bpf.c and put straight into the
 * peer of a veth device, which must have NAPI (ethtool -K DEVICE gro on).
 *
 *   synflood DEVICE TO_MAC TO_ADDRESS PORT FIRST COUNT random MILLISECONDS
 *   synflood DEVICE TO_MAC TO_ADDRESS PORT FIRST COUNT each PER_SECOND
 *
 * random: as fast as can be, each from any of COUNT addresses from FIRST on. each: one from every
 * one of them, at no more than that rate, and not in order.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "synflood.skel.h"
#include "tests/bpf/packets.h"

/* A batch fits a veth's ring of 256. */
enum { BATCH = 64, STRIDE = 7919 };

static struct {
	int prog;
	uint8_t frame[FRAME_MAX];
	size_t len;
} flood;

static void die(const char *what)
{
	fprintf(stderr, "synflood: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Ends the run that makes SYNs. */
static void time_over(int number)
{
}

static void send_syns(uint32_t n)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = flood.frame, .data_size_in = flood.len,
		    .repeat = n, .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);

	if (bpf_prog_test_run_opts(flood.prog, &opts) && errno != EINTR)
		die("test run with live frames");
}

static void send_random(uint32_t ms)
{
	const struct itimerval end = { .it_value = { ms / 1000, ms % 1000 * 1000 } };
	const struct sigaction action = { .sa_handler = time_over };

	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &end, NULL))
		die("a timer");
	send_syns(INT32_MAX);
}

/* From 0.0.0.0 port 0: what the program adds to the sums. */
static void make_frame(struct synflood_bpf__bss *b, const char *mac, const char *server, int port)
{
	struct segment s = {
		.from_mac = { 2, 0, 0, 0, 0, 1 }, .dport = port, .flags = TCP_SYN, .has_ts = true
	};
	struct ether_addr *to = ether_aton(mac);
	uint16_t check;

	if (!to)
		die(mac);
	memcpy(s.to_mac, to->ether_addr_octet, 6);
	address("0.0.0.0", s.src, &s.v6);
	address(server, s.dst, &s.v6);
	flood.len = build_frame(&s, flood.frame);
	memcpy(&check, flood.frame + ip_offset(&s) + 10, 2);
	b->ip_sum = (uint16_t)~check;
	memcpy(&check, flood.frame + tcp_offset(&s) + 16, 2);
	b->tcp_sum = (uint16_t)~check;
}

int main(int argc, char **argv)
{
	struct synflood_bpf *skel;
	uint8_t first[16];
	bool v6, each;

	if (argc != 9) {
		fprintf(stderr, "usage: synflood DEVICE TO_MAC TO_ADDRESS PORT FIRST COUNT "
				"random MILLISECONDS | each PER_SECOND\n");
		return 2;
	}
	skel = synflood_bpf__open_and_load();
	if (!skel)
		die("the program");
	each = !strcmp(argv[7], "each");
	address(argv[5], first, &v6);
	make_frame(skel->bss, argv[2], argv[3], atoi(argv[4]));
	skel->bss->device = if_nametoindex(argv[1]);
	skel->bss->first = get32(first + 12);
	skel->bss->count = strtoul(argv[6], NULL, 10);
	skel->bss->stride = each ? STRIDE : 0;
	if (each)
		skel->bss->interval_ns = 1000000000 / strtoul(argv[8], NULL, 10);
	flood.prog = bpf_program__fd(skel->progs.synflood);
	if (!skel->bss->device || !skel->bss->count || skel->bss->count % STRIDE == 0)
		die("a device, and a count that is no multiple of 7919");
	if (each)
		send_syns(skel->bss->count);
	else
		send_random(strtoul(argv[8], NULL, 10));
	synflood_bpf__destroy(skel);
	return 0;
}
