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

/* A frame of s with that payload, headers built in memory that ends where they may. */
static size_t frame_of(struct weir_segment *s, const uint8_t *payload, uint8_t *f)
{
	struct weir_headers *h = malloc(sizeof(*h));
	size_t tags = s->l3_off > 14 ? (s->l3_off - 14) / 4 : 0, n;
	struct segment l2 = { .from_mac = { 2, 1 }, .to_mac = { 2, 2 }, .tags = tags, .v6 = s->v6 };

	assert_non_null(h);
	memset(h, 0xab, sizeof(*h));
	s->payload_sum = 0;
	for (size_t i = 0; i < s->payload_len; i += 2) {
		uint16_t pair = 0;

		memcpy(&pair, payload + i, s->payload_len - i > 1 ? 2 : 1);
		s->payload_sum += pair;
	}
	if (s->l3_off)
		build_l2(&l2, f);
	n = weir_build_headers(s, h);
	assert_int_equal(n, s->ip_len + (s->has_ts ? 32 : 20));
	memcpy(f + s->l3_off, h, n);
	free(h);
	if (s->payload_len)
		memcpy(f + s->l3_off + n, payload, s->payload_len);
	return s->l3_off + n + s->payload_len;
}

static struct weir_segment any_segment(uint8_t *payload, size_t max)
{
	static const uint16_t l3[] = { 0, 14, 18, 22 };
	struct weir_segment s = { .v6 = rand() % 2,
				  .has_ts = rand() % 2,
				  .l3_off = l3[rand() % 4] };

	for (int i = 0; i < 16; i++) {
		s.src[i] = rand() % 4 ? rand() : 0xff;
		s.dst[i] = rand() % 4 ? rand() : 0;
	}
	if (!s.v6) {
		memset(s.src, 0, 10);
		memset(s.src + 10, 0xff, 2);
		memcpy(s.dst, s.src, 12);
	}
	s.ip_len = s.v6 ? 40 + rand() % 9 * 8 : 20 + rand() % 11 * 4;
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
		const char *wrong = read_as(f, n, !s.l3_off, FROM_US, &r);

		if (wrong)
			fail_msg("round %d: %s", i, wrong);
		assert_int_equal(ip_offset(&r), s.l3_off);
		assert_int_equal(tcp_offset(&r), s.l3_off + s.ip_len);
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
		tcp = f + s.l3_off + s.ip_len;
		/* what a device does: sum from csum_start, the field included */
		put16(tcp + 16, 0xffff ^ sum_bytes(0, tcp, f + n - tcp));
		wrong = read_as(f, n, !s.l3_off, FROM_US, &r);
		if (wrong)
			fail_msg("round %d: %s", i, wrong);
	}
}

static void a_segment_is_laid_out_like_the_packet_it_answers(void **state)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (int l3 = 14; l3 <= 22; l3 += 4) {
			struct weir_packet p = { .v6 = v6, .l3_off = l3, .tcp_off = l3 + 56 };
			struct weir_segment s = {};

			weir_segment_like(&s, &p);
			assert_int_equal(s.v6, v6);
			assert_int_equal(s.l3_off, l3);
			assert_int_equal(s.ip_len, 56);
			assert_true(weir_segment_fits(&s));
		}
}

/* An IP header that no packet has, or one longer than there is room for. */
static void what_does_not_fit_is_not_built(void **state)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (unsigned int len = 0; len <= 0xffff; len++) {
			struct weir_segment s = { .v6 = v6, .ip_len = len };
			struct weir_headers h;
			bool fits = v6 ? len >= 40 && len <= 104 && len % 8 == 0
				       : len >= 20 && len <= 60 && len % 4 == 0;

			assert_int_equal(weir_build_headers(&s, &h), fits ? len + 20 : 0);
		}
}

static void a_reset_has_no_window(void **state)
{
	uint8_t f[128] = {};
	struct weir_segment s = { .flags = WEIR_RST | WEIR_ACK, .l3_off = 14, .ip_len = 20 };

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
		cmocka_unit_test(a_segment_is_laid_out_like_the_packet_it_answers),
		cmocka_unit_test(what_does_not_fit_is_not_built),
		cmocka_unit_test(a_reset_has_no_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
