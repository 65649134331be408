/* SPDX-License-Identifier: Apache-2.0 */
/* Packet headers read in place: what is TCP and what is not, with lengths that
 * contradict each other, and never a byte past the end. */
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

static size_t sample(bool v6, bool ts, const char *payload, uint8_t *f)
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
	return build_frame(&s, f);
}

/* Read from a copy of exactly `have` bytes, so that the sanitizer sees one more. */
static enum weir_parse parse(const uint8_t *f, size_t have, size_t frame_len, struct weir_packet *p,
			     bool *read)
{
	uint8_t *copy = malloc(have ? have : 1);
	const uint8_t *l4;
	enum weir_parse found;
	uint8_t v6;

	assert_non_null(copy);
	memcpy(copy, f, have);
	memset(p, 0xcc, sizeof(*p));
	*read = false;
	found = weir_find_tcp(copy, copy + have, &l4, &v6);
	if (found == WEIR_PARSE_TCP)
		*read = weir_read_tcp(copy, copy + have, l4, v6, frame_len, p);
	free(copy);
	return found;
}

static void every_field_is_read(void **state)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (int ts = 0; ts < 2; ts++) {
			uint8_t f[256], src[16];
			size_t n = sample(v6, ts, "payload", f);
			struct weir_packet p;
			bool read, is6;

			assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_TCP);
			assert_true(read);
			address(v6 ? "2001:db8::7" : "10.1.2.3", src, &is6);
			assert_memory_equal(p.src, src, 16);
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
			assert_int_equal(p.tcp_off, 14 + (v6 ? 40 : 20));
			assert_int_equal(p.pay_off, p.tcp_off + (ts ? 32 : 20));
			assert_int_equal(p.pay_len, 7);
			assert_memory_equal(f + p.pay_off, "payload", 7);
		}
}

/* Only the head of a frame may be in the linear part. */
static void what_is_cut_short_is_told(void **state)
{
	for (int v6 = 0; v6 < 2; v6++) {
		uint8_t f[256];
		size_t n = sample(v6, true, "payload", f), need = 14 + (v6 ? 40 : 20) + 20;
		struct weir_packet p;
		bool read;

		for (size_t have = 0; have <= n; have++) {
			enum weir_parse found = parse(f, have, n, &p, &read);

			assert_int_equal(found, have < need ? WEIR_PARSE_SHORT : WEIR_PARSE_TCP);
			assert_int_equal(read, have >= need);
			if (read) {
				assert_int_equal(p.pay_len, 7);
				assert_int_equal(p.has_ts, have >= need + 12);
			}
		}
	}
}

static void lengths_that_contradict_each_other_are_refused(void **state)
{
	struct weir_packet p;
	uint8_t f[256];
	size_t n;
	bool read;

	n = sample(false, false, "payload", f);
	put16(f + 16, 48); /* one more than there is */
	parse(f, n, n, &p, &read);
	assert_false(read);
	put16(f + 16, 39); /* not even headers */
	parse(f, n, n, &p, &read);
	assert_false(read);
	n = sample(false, false, "payload", f);
	f[46] = 0x40; /* data offset below 20 */
	parse(f, n, n, &p, &read);
	assert_false(read);
	f[46] = 0xf0; /* past the end */
	parse(f, n, n, &p, &read);
	assert_false(read);
	n = sample(false, false, "payload", f);
	f[14] = 0x44; /* IP header below 20 */
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	f[14] = 0x4f; /* and past the end */
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_SHORT);
	n = sample(true, false, "payload", f);
	put16(f + 18, 28);
	parse(f, n, n, &p, &read);
	assert_false(read);
}

static void padding_is_no_payload(void **state)
{
	uint8_t f[256] = {};
	struct weir_packet p;
	bool read;

	sample(false, false, "", f);
	parse(f, 60, 60, &p, &read);
	assert_true(read);
	assert_int_equal(p.pay_len, 0);
}

static void a_super_packet_says_no_length(void **state)
{
	for (int v6 = 0; v6 < 2; v6++) {
		uint8_t f[256];
		size_t n = sample(v6, false, "payload", f);
		struct weir_packet p;
		bool read;

		put16(f + (v6 ? 18 : 16), 0);
		parse(f, n, 100000, &p, &read);
		assert_true(read);
		assert_int_equal(p.pay_len, 100000 - 14 - (v6 ? 40 : 20) - 20);
	}
}

static void options_of_ipv4_are_stepped_over(void **state)
{
	uint8_t f[256], g[256] = {};
	size_t n = sample(false, false, "payload", f);
	struct weir_packet p;
	bool read;

	memcpy(g, f, 34);
	memset(g + 34, 1, 8);
	memcpy(g + 42, f + 34, n - 34);
	g[14] = 0x47;
	put16(g + 16, n - 14 + 8);
	assert_int_equal(parse(g, n + 8, n + 8, &p, &read), WEIR_PARSE_TCP);
	assert_true(read);
	assert_int_equal(p.tcp_off, 42);
	assert_int_equal(p.pay_len, 7);
	assert_int_equal(ntohs(p.dport_be), 8000);
}

static void fragments_and_extension_headers_are_told_apart(void **state)
{
	static const uint8_t extensions[] = { 0, 43, 44, 60 };
	struct weir_packet p;
	uint8_t f[256];
	size_t n = sample(false, false, "payload", f);
	bool read;

	f[20] = 0x20; /* more to come */
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_FRAGMENT);
	f[20] = 0x00;
	f[21] = 0x01; /* a later one */
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_FRAGMENT);
	f[20] = 0x1f;
	f[21] = 0x00;
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_FRAGMENT);
	f[20] = 0x40;
	f[23] = 17;
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	n = sample(true, false, "payload", f);
	for (size_t i = 0; i < sizeof(extensions); i++) {
		f[20] = extensions[i];
		assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_UNSUPPORTED);
	}
	f[20] = 58;
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
	put16(f + 12, 0x0806);
	assert_int_equal(parse(f, n, n, &p, &read), WEIR_PARSE_OTHER);
}

static void any_bytes_are_survived(void **state)
{
	srand(9);
	for (int i = 0; i < 200000; i++) {
		uint8_t f[160];
		size_t n = sample(rand() % 2, rand() % 2, "payload", f), have = rand() % (n + 1);
		struct weir_packet p;
		bool read;

		for (int j = rand() % 6; j; j--)
			f[rand() % n] = rand();
		parse(f, have, n, &p, &read);
		if (read)
			assert_true(p.pay_off + p.pay_len <= n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_read),
		cmocka_unit_test(what_is_cut_short_is_told),
		cmocka_unit_test(lengths_that_contradict_each_other_are_refused),
		cmocka_unit_test(padding_is_no_payload),
		cmocka_unit_test(a_super_packet_says_no_length),
		cmocka_unit_test(options_of_ipv4_are_stepped_over),
		cmocka_unit_test(fragments_and_extension_headers_are_told_apart),
		cmocka_unit_test(any_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
