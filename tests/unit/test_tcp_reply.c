/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of the segments we send: read back by code that knows nothing of bpf/, which
 * also adds up the checksums byte pair by byte pair. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/tcp_reply.h"
#include "tests/bpf/packets.h"

/* A frame of s with that payload. Returns its length. */
static size_t frame_of(struct weir_segment *s, const uint8_t *payload, uint8_t *f)
{
	size_t ip = s->v6 ? 40 : 20, tcp = weir_segment_tcp_len(s);

	memset(f, 0xab, 14 + ip + WEIR_HEADERS_MAX);
	memset(f, 2, 12);
	put16(f + 12, s->v6 ? 0x86dd : 0x0800);
	s->payload_sum = 0;
	for (size_t i = 0; i < s->payload_len; i += 2) {
		uint16_t pair = 0;

		memcpy(&pair, payload + i, s->payload_len - i > 1 ? 2 : 1);
		s->payload_sum += pair;
	}
	if (s->v6)
		weir_build_v6(s, f + 14);
	else
		weir_build_v4(s, f + 14);
	weir_build_tcp(s, f + 14 + ip);
	if (s->payload_len)
		memcpy(f + 14 + ip + tcp, payload, s->payload_len);
	return 14 + ip + tcp + s->payload_len;
}

static struct weir_segment any_segment(uint8_t *payload, size_t max)
{
	struct weir_segment s = { .v6 = rand() % 2, .has_ts = rand() % 2 };

	for (int i = 0; i < 16; i++) {
		s.src[i] = rand() % 4 ? rand() : 0xff;
		s.dst[i] = rand() % 4 ? rand() : 0;
	}
	if (!s.v6) {
		memset(s.src, 0, 10);
		memset(s.src + 10, 0xff, 2);
		memcpy(s.dst, s.src, 12);
	}
	s.sport_be = rand();
	s.dport_be = rand();
	s.seq = rand() * 2u + rand() % 2;
	s.ack = rand() * 2u + rand() % 2;
	s.tsval_be = rand();
	s.tsecr_be = rand();
	s.flags = rand() & 0x1f;
	s.payload_len = max ? rand() % max : 0;
	for (size_t i = 0; i < s.payload_len; i++)
		payload[i] = rand() % 3 ? rand() : 0xff;
	return s;
}

static void any_segment_reads_back_with_right_checksums(void **state)
{
	static uint8_t payload[1152], f[2048];

	srand(7);
	for (int i = 0; i < 200000; i++) {
		struct weir_segment s = any_segment(payload, i % 2 ? sizeof(payload) : 0);
		size_t n = frame_of(&s, payload, f);
		struct segment r;
		const char *wrong = read_frame(f, n, &r);

		if (wrong)
			fail_msg("round %d: %s", i, wrong);
		assert_memory_equal(r.src, s.src, 16);
		assert_memory_equal(r.dst, s.dst, 16);
		assert_int_equal(r.sport, ntohs(s.sport_be));
		assert_int_equal(r.dport, ntohs(s.dport_be));
		assert_int_equal(r.seq, s.seq);
		assert_int_equal(r.ack, s.ack);
		assert_int_equal(r.flags, s.flags);
		assert_int_equal(r.has_ts, s.has_ts);
		if (s.has_ts) {
			assert_int_equal(r.tsval, ntohl(s.tsval_be));
			assert_int_equal(r.tsecr, ntohl(s.tsecr_be));
		}
		assert_int_equal(r.len, s.payload_len);
	}
}

/* CHECKSUM_PARTIAL: the field holds the folded pseudo header, not complemented; the
 * device then adds the rest and complements. */
static void a_partial_sum_is_completed_by_the_device(void **state)
{
	static uint8_t payload[1152], f[2048];

	srand(8);
	for (int i = 0; i < 100000; i++) {
		struct weir_segment s = any_segment(payload, sizeof(payload));
		struct segment r;
		const char *wrong;
		uint8_t *tcp;
		size_t n;

		s.partial = 1;
		n = frame_of(&s, payload, f);
		tcp = f + 14 + (s.v6 ? 40 : 20);
		/* what a device does: sum from csum_start, the field included */
		put16(tcp + 16, 0xffff ^ sum_bytes(0, tcp, f + n - tcp));
		wrong = read_frame(f, n, &r);
		if (wrong)
			fail_msg("round %d: %s", i, wrong);
	}
}

static void a_reset_has_no_window(void **state)
{
	uint8_t f[128] = {};
	struct weir_segment s = { .flags = WEIR_RST | WEIR_ACK };

	frame_of(&s, NULL, f);
	assert_int_equal(get16(f + 14 + 20 + 14), 0);
	s.flags = WEIR_ACK;
	frame_of(&s, NULL, f);
	assert_int_equal(get16(f + 14 + 20 + 14), 65535);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_segment_reads_back_with_right_checksums),
		cmocka_unit_test(a_partial_sum_is_completed_by_the_device),
		cmocka_unit_test(a_reset_has_no_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
