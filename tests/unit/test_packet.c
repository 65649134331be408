/* SPDX-License-Identifier: Apache-2.0 */
/* Packet headers read in place: every way TCP can be wrapped, what is not TCP, fragments,
 * lengths that contradict each other, and never a byte past the end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/packet.h"
#include "tests/bpf/packets.h"

static struct segment sample(bool v6, bool ts, const char *payload)
{
	struct segment s = {
		.sport = 40000,
		.dport = 8000,
		.seq = 0xdeadbeef,
		.ack = 0x12345678,
		.flags = TCP_ACK | TCP_PSH,
		.has_ts = ts,
		.tsval = 11,
		.tsecr = 22,
		.payload = (const uint8_t *)payload,
		.len = strlen(payload),
	};

	address(v6 ? "2001:db8::7" : "10.1.2.3", s.src, &s.v6);
	address(v6 ? "2001:db8::8" : "10.3.2.1", s.dst, &s.v6);
	return s;
}

/* -- the chains of extension headers that tests send */

enum { HOP = 0, ROUTING = 43, FRAGMENT = 44, AH = 51, DESTINATION = 60 };

struct chain {
	uint8_t kinds[8], lens[8]; /* lengths in bytes */
	size_t n;
};

/* The chain's bytes, the last one's next header being `last`. Returns their length. */
static size_t build_chain(const struct chain *c, uint8_t last, uint8_t *out)
{
	size_t at = 0;

	for (size_t i = 0; i < c->n; i++) {
		memset(out + at, 0, c->lens[i]);
		out[at] = i + 1 < c->n ? c->kinds[i + 1] : last;
		if (c->kinds[i] == AH)
			out[at + 1] = c->lens[i] / 4 - 2;
		else if (c->kinds[i] != FRAGMENT)
			out[at + 1] = c->lens[i] / 8 - 1;
		at += c->lens[i];
	}
	return at;
}

static const struct chain chains[] = {
	{ { HOP }, { 8 }, 1 },
	{ { ROUTING }, { 24 }, 1 },
	{ { DESTINATION }, { 64 }, 1 },
	{ { AH }, { 24 }, 1 },
	{ { FRAGMENT }, { 8 }, 1 }, /* atomic */
	{ { HOP, DESTINATION, ROUTING, AH, DESTINATION, FRAGMENT }, { 8, 8, 8, 16, 8, 8 }, 6 },
	{ { HOP, DESTINATION, ROUTING }, { 200, 200, 112 }, 3 }, /* 512: followed, not answered */
};
enum { CHAINS = sizeof(chains) / sizeof(chains[0]) };

/* Every way a packet can be framed, one after the other. false: there is no `which`. */
static bool framed(struct segment *s, size_t which, uint8_t *extra)
{
	size_t l2 = which % 4, ip = which / 4;

	s->no_l2 = l2 == 3;
	s->tags = l2 % 3;
	s->ip_extra = extra;
	if (s->v6) {
		if (ip > CHAINS)
			return false;
		s->ip_extra_len = ip ? build_chain(&chains[ip - 1], 6, extra) : 0;
		s->ip_next = ip ? chains[ip - 1].kinds[0] : 0;
	} else {
		if (ip > 10)
			return false;
		s->ip_extra_len = ip * 4;
		memset(extra, 1, ip * 4);
	}
	return true;
}

/* Read from a copy of exactly `have` bytes, so that the sanitizer sees one more. */
static enum weir_parse parse_l2(const uint8_t *f, size_t have, size_t frame_len, uint32_t l2_len,
				struct weir_packet *p, bool *read)
{
	uint8_t *copy = malloc(have ? have : 1);
	uint32_t plain, found;

	assert_non_null(copy);
	memcpy(copy, f, have);
	memset(p, 0xcc, sizeof(*p));
	*read = false;
	plain = weir_find_plain(copy, copy + have, l2_len);
	found = weir_find_tcp(copy, copy + have, weir_find_ip(copy, copy + have, l2_len));
	/* The short cut leads to the same place. */
	if (plain == WEIR_PARSE_OTHER)
		assert_true(found == WEIR_PARSE_OTHER || found == WEIR_PARSE_SHORT);
	else if (plain != WEIR_PARSE_LOOK)
		assert_int_equal(plain, found);
	if (weir_found_parse(found) == WEIR_PARSE_TCP)
		*read = weir_read_tcp(copy, copy + have, found, frame_len, p);
	free(copy);
	return weir_found_parse(found);
}

static enum weir_parse parse(const uint8_t *f, size_t have, size_t frame_len, struct weir_packet *p,
			     bool *read)
{
	return parse_l2(f, have, frame_len, WEIR_ETH_LEN, p, read);
}

static void every_field_is_read_in_every_framing(void **state)
{
	uint8_t f[1024], extra[600];

	for (int v6 = 0; v6 < 2; v6++)
		for (int ts = 0; ts < 2; ts++) {
			struct segment s = sample(v6, ts, "payload");

			for (size_t which = 0; framed(&s, which, extra); which++) {
				size_t n = build_frame(&s, f);
				struct weir_packet p;
				bool read;

				assert_int_equal(parse_l2(f, n, n, s.no_l2 ? 0 : 14, &p, &read),
						 WEIR_PARSE_TCP);
				assert_true(read);
				assert_memory_equal(p.src, s.src, 16);
				assert_memory_equal(p.dst, s.dst, 16);
				assert_int_equal(p.v6, v6);
				assert_int_equal(ntohs(p.sport_be), 40000);
				assert_int_equal(ntohs(p.dport_be), 8000);
				assert_int_equal(p.seq, 0xdeadbeef);
				assert_int_equal(p.ack, 0x12345678);
				assert_int_equal(p.flags, TCP_ACK | TCP_PSH);
				assert_int_equal(p.has_ts, ts);
				if (ts) {
					assert_int_equal(ntohl(p.tsval_be), 11);
					assert_int_equal(ntohl(p.tsecr_be), 22);
				}
				assert_int_equal(p.l3_off, ip_offset(&s));
				assert_int_equal(p.tcp_off, tcp_offset(&s));
				assert_int_equal(p.pay_off, p.tcp_off + (ts ? 32 : 20));
				assert_int_equal(p.pay_len, 7);
				assert_memory_equal(f + p.pay_off, "payload", 7);
			}
		}
}

/* Only the head of a frame may be in the linear part. */
static void what_is_cut_short_is_told(void **state)
{
	uint8_t f[1024], extra[600];

	for (int v6 = 0; v6 < 2; v6++) {
		struct segment s = sample(v6, true, "payload");

		for (size_t which = 0; framed(&s, which, extra); which++) {
			size_t n = build_frame(&s, f), need = tcp_offset(&s) + 20;
			struct weir_packet p;
			bool read;

			for (size_t have = 0; have <= n; have++) {
				enum weir_parse found =
					parse_l2(f, have, n, s.no_l2 ? 0 : 14, &p, &read);

				assert_int_equal(found,
						 have < need ? WEIR_PARSE_SHORT : WEIR_PARSE_TCP);
				assert_int_equal(read, have >= need);
				if (read) {
					assert_int_equal(p.pay_len, 7);
					assert_int_equal(p.has_ts, have >= need + 12);
				}
			}
		}
	}
}

static void only_plain_packets_take_the_short_cut(void **state)
{
	uint8_t f[1024], extra[600];

	for (int v6 = 0; v6 < 2; v6++) {
		struct segment s = sample(v6, true, "payload");

		for (size_t which = 0; framed(&s, which, extra); which++) {
			size_t n = build_frame(&s, f);
			uint32_t found = weir_find_plain(f, f + n, s.no_l2 ? 0 : 14);

			if (s.tags || s.ip_extra_len)
				assert_int_equal(found, WEIR_PARSE_LOOK);
			else
				assert_int_equal(weir_found_parse(found), WEIR_PARSE_TCP);
		}
	}
}

static void lengths_that_contradict_each_other_are_refused(void **state)
{
	struct segment s = sample(false, false, "payload");
	struct weir_packet p;
	uint8_t f[256], extra[16];
	size_t n;
	bool read;

	n = build_frame(&s, f);
	put16(f + 16, 48); /* one more than there is */
	parse(f, n, n, &p, &read);
	assert_false(read);
	put16(f + 16, 39); /* not even headers */
	parse(f, n, n, &p, &read);
	assert_false(read);
	n = build_frame(&s, f);
	f[46] = 0x40; /* data offset below 20 */
	parse(f, n, n, &p, &read);
	assert_false(read);
	f[46] = 0xf0; /* past the end */
	parse(f, n, n, &p, &read);
	assert_false(read);
	n = build_frame(&s, f);
	f[14] = 0x44; /* IP header below 20 */
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	f[14] = 0x4f; /* and past the end */
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_SHORT);
	f[14] = 0x65; /* not what Ethernet says */
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	s = sample(true, false, "payload");
	n = build_frame(&s, f);
	put16(f + 18, 28);
	parse(f, n, n, &p, &read);
	assert_false(read);
	s.ip_extra = extra;
	s.ip_extra_len = build_chain(&chains[0], 6, extra);
	n = build_frame(&s, f);
	put16(f + 18, 8 + 20 + 8);
	parse(f, n, n, &p, &read);
	assert_false(read);
	put16(f + 18, 8 + 19); /* extension headers count */
	parse(f, n, n, &p, &read);
	assert_false(read);
}

static void padding_is_no_payload(void **state)
{
	uint8_t f[1024], extra[600];

	for (int v6 = 0; v6 < 2; v6++) {
		struct segment s = sample(v6, false, "");

		for (size_t which = 0; framed(&s, which, extra); which++) {
			size_t n = build_frame(&s, f);
			struct weir_packet p;
			bool read;

			memset(f + n, 0x55, 46);
			parse_l2(f, n + 46, n + 46, s.no_l2 ? 0 : 14, &p, &read);
			assert_true(read);
			assert_int_equal(p.pay_len, 0);
		}
	}
}

static void a_super_packet_says_no_length(void **state)
{
	uint8_t f[1024], extra[600];

	for (int v6 = 0; v6 < 2; v6++) {
		struct segment s = sample(v6, false, "payload");

		/* v6 with a jumbo option among them */
		for (size_t which = 0; framed(&s, which, extra); which++) {
			size_t n = build_frame(&s, f);
			struct weir_packet p;
			bool read;

			put16(f + ip_offset(&s) + (v6 ? 4 : 2), 0);
			parse_l2(f, n, 100000, s.no_l2 ? 0 : 14, &p, &read);
			assert_true(read);
			assert_int_equal(p.pay_len, 100000 - tcp_offset(&s) - 20);
		}
	}
}

static void fragments_of_ipv4_are_told_apart(void **state)
{
	uint8_t f[256], extra[40];

	for (size_t which = 0; which < 44; which++) {
		struct segment s = sample(false, false, "payload");
		struct weir_packet p;
		uint32_t found;
		uint8_t *ip;
		size_t n;
		bool read;

		assert_true(framed(&s, which, extra));
		n = build_frame(&s, f);
		ip = f + ip_offset(&s);
		ip[6] = 0x20; /* more to come */
		found = weir_find_tcp(f, f + n, weir_find_ip(f, f + n, s.no_l2 ? 0 : 14));
		assert_int_equal(weir_found_parse(found), WEIR_PARSE_FIRST);
		assert_int_equal(weir_found_l4(found), tcp_offset(&s));
		for (size_t have = 0; have < n; have++)
			assert_int_equal(parse_l2(f, have, n, s.no_l2 ? 0 : 14, &p, &read),
					 have < tcp_offset(&s) + 4 ? WEIR_PARSE_SHORT
								   : WEIR_PARSE_FIRST);
		/* What it holds of TCP is less than the ports, the frame has padding. */
		for (size_t l4 = 0; l4 < 6; l4++) {
			put16(ip + 2, 20 + s.ip_extra_len + l4);
			assert_int_equal(parse_l2(f, n, n, s.no_l2 ? 0 : 14, &p, &read),
					 l4 < 4 ? WEIR_PARSE_BAD_FRAGMENT : WEIR_PARSE_FIRST);
		}
		/* Later ones, the last one too. */
		for (uint32_t place = 1; place < 0x2000; place++)
			for (int more = 0; more < 2; more++) {
				put16(ip + 6, place | more << 13);
				found = weir_find_tcp(f, f + n,
						      weir_find_ip(f, f + n, s.no_l2 ? 0 : 14));
				assert_int_equal(found, place == 1 ? WEIR_PARSE_BAD_FRAGMENT
								   : WEIR_PARSE_FRAGMENT);
			}
		/* Of others: none of ours. */
		ip[9] = 17;
		assert_int_equal(parse_l2(f, n, n, s.no_l2 ? 0 : 14, &p, &read), WEIR_PARSE_OTHER);
	}
}

static void fragments_of_ipv6_are_told_apart(void **state)
{
	/* The fragment header alone, behind others, and before others. */
	static const struct chain with[] = {
		{ { FRAGMENT }, { 8 }, 1 },
		{ { HOP, DESTINATION, FRAGMENT }, { 8, 16, 8 }, 3 },
		{ { FRAGMENT, DESTINATION }, { 8, 24 }, 2 },
	};
	static const size_t at[] = { 0, 24, 0 };
	uint8_t f[256], extra[64];

	for (size_t i = 0; i < 3; i++)
		for (size_t tags = 0; tags <= 2; tags++) {
			struct segment s = sample(true, false, "payload");
			struct weir_packet p;
			uint8_t *h, *ip;
			size_t n;
			bool read;

			s.tags = tags;
			s.ip_extra = extra;
			s.ip_extra_len = build_chain(&with[i], 6, extra);
			s.ip_next = with[i].kinds[0];
			n = build_frame(&s, f);
			ip = f + ip_offset(&s);
			h = ip + 40 + at[i];
			assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_TCP);
			put16(h + 2, 1); /* more to come */
			for (size_t have = 0; have <= n; have++)
				assert_int_equal(parse(f, have, n, &p, &read),
						 have < tcp_offset(&s) + 4 ? WEIR_PARSE_SHORT
									   : WEIR_PARSE_FIRST);
			/* Headers that go on in the next fragment. */
			for (size_t l4 = 0; l4 < 6; l4++) {
				put16(ip + 4, s.ip_extra_len + l4);
				assert_int_equal(parse(f, n, n, &p, &read),
						 l4 < 4 ? WEIR_PARSE_BAD_FRAGMENT
							: WEIR_PARSE_FIRST);
			}
			put16(h + 2, 1 << 3); /* offset 1: only TCP is spoilt by it */
			assert_int_equal(parse(f, n, n, &p, &read),
					 h[0] == 6 ? WEIR_PARSE_BAD_FRAGMENT : WEIR_PARSE_FRAGMENT);
			put16(h + 2, 2 << 3);
			assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_FRAGMENT);
			put16(h + 2, 0x1fff << 3 | 1);
			assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_FRAGMENT);
		}
}

static void a_fragment_of_a_fragment_is_bad(void **state)
{
	static const struct chain two = { { FRAGMENT, FRAGMENT }, { 8, 8 }, 2 };
	struct segment s = sample(true, false, "payload");
	uint8_t f[256], extra[16];
	struct weir_packet p;
	size_t n;
	bool read;

	build_chain(&two, 6, extra);
	extra[3] = 1;
	s.ip_extra = extra;
	s.ip_extra_len = 16;
	s.ip_next = FRAGMENT;
	n = build_frame(&s, f);
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_BAD_FRAGMENT);
}

static void a_chain_is_followed_so_far_and_no_further(void **state)
{
	struct segment s = sample(true, false, "payload");
	struct chain c = {};
	uint8_t f[4096], extra[2100];
	struct weir_packet p;
	size_t n;
	bool read;

	s.ip_extra = extra;
	s.ip_next = DESTINATION;
	for (c.n = 1; c.n <= 7; c.n++) {
		c.kinds[c.n - 1] = DESTINATION;
		c.lens[c.n - 1] = 8;
		s.ip_extra_len = build_chain(&c, 6, extra);
		n = build_frame(&s, f);
		assert_int_equal(parse(f, n, n, &p, &read),
				 c.n <= 6 ? WEIR_PARSE_TCP : WEIR_PARSE_CHAIN);
	}
	for (size_t len = 8; len <= 2048; len += 8) {
		memset(extra, 0, len);
		extra[0] = 6;
		extra[1] = len / 8 - 1;
		s.ip_extra_len = len;
		n = build_frame(&s, f);
		assert_int_equal(parse(f, n, n, &p, &read),
				 len <= 512 ? WEIR_PARSE_TCP : WEIR_PARSE_CHAIN);
	}
	/* Behind ESP nothing can be read; "no next header"; what nobody knows. */
	for (int next = 0; next < 256; next++) {
		bool known = next == 6 || next == HOP || next == ROUTING || next == FRAGMENT ||
			     next == AH || next == DESTINATION;

		memset(extra, 0, 8);
		extra[0] = next;
		s.ip_extra_len = 8;
		n = build_frame(&s, f);
		if (!known)
			assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
		s.ip_extra_len = 0;
		n = build_frame(&s, f);
		f[20] = next;
		if (!known)
			assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	}
}

static void a_third_tag_and_other_protocols_are_not_ours(void **state)
{
	struct segment s = sample(false, false, "payload");
	uint8_t f[256];
	struct weir_packet p;
	size_t n;
	bool read;

	s.tags = 2;
	n = build_frame(&s, f);
	put16(f + 20, 0x8100);
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_UNSUPPORTED);
	put16(f + 20, 0x0806);
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	s.tags = 0;
	n = build_frame(&s, f);
	f[23] = 17;
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	put16(f + 12, 0x0806);
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	s.no_l2 = true;
	n = build_frame(&s, f);
	f[0] = 0x55;
	assert_int_equal(parse_l2(f, n, n, 0, &p, &read), WEIR_PARSE_OTHER);
}

static void any_bytes_are_survived(void **state)
{
	uint8_t f[1024], extra[600];

	srand(9);
	for (int i = 0; i < 400000; i++) {
		struct segment s = sample(rand() % 2, rand() % 2, "payload");
		struct weir_packet p;
		size_t n, have;
		bool read;

		while (!framed(&s, rand() % 44, extra))
			;
		n = build_frame(&s, f);
		have = rand() % (n + 1);
		for (int j = rand() % 6; j; j--)
			f[rand() % n] = rand();
		parse_l2(f, have, n, s.no_l2 ? 0 : 14, &p, &read);
		if (read) {
			assert_true(p.pay_off + p.pay_len <= n);
			assert_true(p.tcp_off < p.pay_off && p.l3_off < p.tcp_off);
			assert_true(weir_options_len(&p) <= 40);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_read_in_every_framing),
		cmocka_unit_test(what_is_cut_short_is_told),
		cmocka_unit_test(only_plain_packets_take_the_short_cut),
		cmocka_unit_test(lengths_that_contradict_each_other_are_refused),
		cmocka_unit_test(padding_is_no_payload),
		cmocka_unit_test(a_super_packet_says_no_length),
		cmocka_unit_test(fragments_of_ipv4_are_told_apart),
		cmocka_unit_test(fragments_of_ipv6_are_told_apart),
		cmocka_unit_test(a_fragment_of_a_fragment_is_bad),
		cmocka_unit_test(a_chain_is_followed_so_far_and_no_further),
		cmocka_unit_test(a_third_tag_and_other_protocols_are_not_ours),
		cmocka_unit_test(any_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
