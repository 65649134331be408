// SPDX-License-Identifier: Apache-2.0
/* Raw SYNs; the kernel fills in the IP header's checksum and length, TCP's is ours. */
#include "soak_syn.h"

#include <linux/tcp.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include "soak.h"

#define BATCH 64

struct syn {
	struct iphdr ip;
	struct tcphdr tcp;
	uint8_t mss[4];
} __attribute__((packed));

static uint32_t add_words(uint32_t sum, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i += 2) {
		uint16_t word;

		memcpy(&word, (const char *)bytes + i, 2);
		sum += word;
	}
	return sum;
}

static uint16_t tcp_checksum(const struct syn *s)
{
	uint16_t length = htons(sizeof(*s) - sizeof(s->ip)), protocol = htons(IPPROTO_TCP);
	uint32_t sum = add_words(0, &s->ip.saddr, 8); /* both addresses */

	sum = add_words(sum, &length, 2);
	sum = add_words(sum, &protocol, 2);
	sum = add_words(sum, &s->tcp, sizeof(*s) - sizeof(s->ip));
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static void write_syn(struct syn *s, struct in_addr from, uint16_t port, uint32_t seq,
		      const struct sockaddr_in *to)
{
	*s = (struct syn){
		.ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_TCP,
			.saddr = from.s_addr,
			.daddr = to->sin_addr.s_addr },
		.tcp = { .source = htons(port),
			 .dest = to->sin_port,
			 .seq = htonl(seq),
			 .doff = 6,
			 .syn = 1,
			 .window = htons(64240) },
		.mss = { 2, 4, 1460 >> 8, 1460 & 0xff },
	};
	s->tcp.check = tcp_checksum(s);
}

unsigned soak_send_syns(unsigned tenant, unsigned n, const struct sockaddr_in *to, uint64_t *sent)
{
	static uint32_t serial;
	static int fd = -1;
	struct sockaddr_in at = *to;
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct syn syns[BATCH];
	int taken;

	if (fd < 0 && (fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW)) < 0)
		soak_die("raw socket");
	at.sin_port = 0;
	n = n < BATCH ? n : BATCH;
	memset(messages, 0, sizeof(messages));
	for (unsigned i = 0; i < n; i++, serial++) {
		write_syn(&syns[i], soak_address(SOAK_SYNS, tenant, 1 + serial % 250),
			  (uint16_t)(1024 + serial / 250 % 64000), serial * 2654435761u, to);
		vectors[i] = (struct iovec){ &syns[i], sizeof(syns[i]) };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &at,
						       .msg_namelen = sizeof(at),
						       .msg_iov = &vectors[i],
						       .msg_iovlen = 1 };
	}
	taken = sendmmsg(fd, messages, n, 0);
	if (taken > 0)
		*sent += (unsigned)taken;
	return n;
}
