// SPDX-License-Identifier: Apache-2.0
/*
 * Any list of TCP options. Two claims: of what a server would act on, MPTCP and fast open
 * become NOPs and nothing else changes; and timestamps are those of the first such option
 * that a server would find.
 *
 * Input: a byte that says how long the list is, then the list. Meant as pieces, each byte
 * below 16 stands for a whole option, which comes up seldom by chance.
 */
#include <stdbool.h>

#include "bpf/syn_options.h"
#include "fuzz.h"

#define LIST_MAX 40 /* RFC 9293 3.1: a data offset has four bits */

/* RFC 9293 3.2: kinds 0 and 1 are one byte, others tell their length, these two included.
 * How long the option at the start of n bytes is, 0: there is none, or no sense in it. */
static size_t option_len(const uint8_t *option, size_t n)
{
	if (!n || option[0] == 0)
		return 0;
	if (option[0] == 1)
		return 1;
	return n >= 2 && option[1] >= 2 && option[1] <= n ? option[1] : 0;
}

static bool lets_data_by(const uint8_t *option, size_t len)
{
	if (option[0] == 30 || option[0] == 34)
		return true;
	return option[0] == 254 && len >= 4 && option[2] == 0xf9 && option[3] == 0x89;
}

static void check_strip(struct weir_options *o, const uint8_t *list, size_t n)
{
	uint8_t expected[sizeof(o->list)] = { 0 };
	uint32_t stripped = 0;
	size_t len;

	memcpy(expected, list, n);
	for (size_t at = 0; (len = option_len(list + at, n - at)); at += len) {
		if (len < 2 || !lets_data_by(list + at, len))
			continue;
		memset(expected + at, 1, len);
		stripped++;
	}
	CHECK(weir_strip_list(o) == stripped);
	CHECK(!memcmp(o->list, expected, sizeof(expected)));
	CHECK(o->len == n);
	CHECK(!weir_strip_list(o)); /* what is done stays done */
	CHECK(!memcmp(o->list, expected, sizeof(expected)));
}

static void check_timestamps(struct weir_options *o, const uint8_t *list, size_t n)
{
	struct weir_packet p = { .tsval_be = 1, .tsecr_be = 2 };
	const uint8_t *ts = NULL;
	size_t len;

	for (size_t at = 0; !ts && (len = option_len(list + at, n - at)); at += len)
		if (list[at] == 8 && len == 10)
			ts = list + at;
	weir_read_ts(o, &p);
	CHECK(p.has_ts == !!ts);
	if (ts) {
		CHECK(!memcmp(&p.tsval_be, ts + 2, 4));
		CHECK(!memcmp(&p.tsecr_be, ts + 6, 4));
	} else {
		CHECK(p.tsval_be == 1 && p.tsecr_be == 2);
	}
	CHECK(!memcmp(o->list, list, n));
}

static size_t spell(const uint8_t *data, size_t size, uint8_t *list, size_t room)
{
	static const struct {
		uint8_t len, bytes[12];
	} pieces[16] = {
		{ 4, { 2, 4, 5, 180 } },
		{ 2, { 4, 2 } },
		{ 3, { 3, 3, 7 } },
		{ 10, { 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 } },
		{ 4, { 30, 4, 0, 129 } },
		{ 12, { 30, 12, 1, 129, 8, 7, 6, 5, 4, 3, 2, 1 } },
		{ 2, { 34, 2 } },
		{ 10, { 34, 10, 1, 2, 3, 4, 5, 6, 7, 8 } },
		{ 4, { 254, 4, 0xf9, 0x89 } },
		{ 8, { 254, 8, 0xf9, 0x89, 1, 2, 3, 4 } },
		{ 4, { 254, 4, 0xe2, 0xd4 } },
		{ 2, { 254, 2 } },
		{ 3, { 254, 3, 0xf9 } },
		{ 6, { 5, 10, 30, 4, 34, 2 } },
		{ 4, { 253, 4, 0xf9, 0x89 } },
		{ 1, { 1 } },
	};
	size_t n = 0;

	for (size_t i = 0; i < size && n < room; i++) {
		const uint8_t *piece = data[i] < 16 ? pieces[data[i]].bytes : &data[i];
		size_t len = data[i] < 16 ? pieces[data[i]].len : 1;

		if (len > room - n)
			len = room - n;
		memcpy(list + n, piece, len);
		n += len;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	uint8_t how = take(&in, 1), list[LIST_MAX];
	size_t room = how % (LIST_MAX + 1), n;
	struct weir_options *o;

	if (how & 0x80) {
		n = spell(in.p, input_left(&in), list, room);
	} else {
		n = input_left(&in) < room ? input_left(&in) : room;
		memcpy(list, in.p, n);
	}
	o = calloc(1, sizeof(*o));
	CHECK(o);
	memcpy(o->list, list, n);
	o->len = n;
	o->next = o->strip = o->stripped = how; /* what the list before left */
	check_timestamps(o, list, n);
	check_strip(o, list, n);
	free(o);
	return 0;
}
