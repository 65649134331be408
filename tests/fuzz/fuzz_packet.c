// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile frames, with and without an Ethernet header, cut anywhere. Three claims: the
 * cursor finds what a reader that goes by the RFCs finds, byte by byte; its short cut leads
 * to the same place; and whatever it is told to read, it stays within the frame, and so does
 * the payload it tells of.
 *
 * Input: two bytes that say how headers are mended, two each for the cut and for what the
 * frame holds behind, four for a word that nothing was found by, then the frame. Mended, it
 * has the marks of TCP over IP, which come up seldom by chance.
 */
#include <stdbool.h>

#include "bpf/packet.h"
#include "fuzz.h"

#define FRAME_MAX 2048

/* ---------------------------------------------------------------- the slow reader */

struct reading {
	enum weir_parse parse;
	bool v6;
	size_t l3, l4;
};

struct frame {
	const uint8_t *p;
	size_t have; /* of it in the linear part */
	size_t len;
};

static unsigned be16(const uint8_t *p)
{
	return p[0] * 256u + p[1];
}

static bool is_tag(unsigned type)
{
	return type == 0x8100 || type == 0x88a8;
}

/* l4 is known; a first fragment must show the ports only. */
static void behind_ip(const struct frame *f, struct reading *r, bool first)
{
	if (r->l4 + (first ? 4 : 20) > f->have)
		r->parse = WEIR_PARSE_SHORT;
	else
		r->parse = first ? WEIR_PARSE_FIRST : WEIR_PARSE_TCP;
}

static void read_v4(const struct frame *f, struct reading *r)
{
	const uint8_t *ip = f->p + r->l3;
	unsigned header, place;
	bool more;

	r->parse = WEIR_PARSE_SHORT;
	if (f->have < r->l3 + 20)
		return;
	r->parse = WEIR_PARSE_OTHER;
	header = ip[0] % 16 * 4;
	if (ip[0] / 16 != 4 || header < 20 || ip[9] != 6)
		return;
	place = be16(ip + 6) % 8192;
	more = ip[6] / 32 % 2;
	r->l4 = r->l3 + header;
	if (place)
		r->parse = place == 1 ? WEIR_PARSE_BAD_FRAGMENT : WEIR_PARSE_FRAGMENT;
	else if (more && be16(ip + 2) < header + 4)
		r->parse = WEIR_PARSE_BAD_FRAGMENT;
	else
		behind_ip(f, r, more);
}

static void read_v6(const struct frame *f, struct reading *r)
{
	const uint8_t *ip = f->p + r->l3, *h;
	size_t at = 40, headers = 0;
	bool first = false;
	unsigned kind;

	r->parse = WEIR_PARSE_SHORT;
	if (f->have < r->l3 + 40)
		return;
	r->parse = WEIR_PARSE_OTHER;
	if (ip[0] / 16 != 6)
		return;
	for (kind = ip[6];; kind = h[0]) {
		long holds = (long)be16(ip + 4) + 40 - (long)at; /* behind here, by its length */

		if (headers > WEIR_CHAIN_HEADERS || at - 40 > WEIR_CHAIN_MAX) {
			r->parse = WEIR_PARSE_CHAIN;
			return;
		}
		r->parse = WEIR_PARSE_OTHER;
		if (kind != 6 && kind != 0 && kind != 43 && kind != 44 && kind != 51 && kind != 60)
			return;
		r->parse = WEIR_PARSE_BAD_FRAGMENT;
		if (first && holds < (kind == 6 ? 4 : 8))
			return;
		if (kind == 6) {
			r->l4 = r->l3 + at;
			behind_ip(f, r, first);
			return;
		}
		r->parse = WEIR_PARSE_SHORT;
		if (f->have < r->l3 + at + 8)
			return;
		h = ip + at;
		headers++;
		if (kind != 44) {
			at += kind == 51 ? 4 * (h[1] + 2u) : 8 * (h[1] + 1u);
			continue;
		}
		r->parse = WEIR_PARSE_BAD_FRAGMENT;
		if (first || (be16(h + 2) / 8 == 1 && h[0] == 6))
			return;
		r->parse = WEIR_PARSE_FRAGMENT;
		if (be16(h + 2) / 8)
			return;
		first = h[3] % 2;
		at += 8;
	}
}

static struct reading read_slowly(const struct frame *f, size_t l2_len)
{
	struct reading r = { .parse = WEIR_PARSE_SHORT, .l3 = l2_len };
	unsigned type;

	if (f->have < (l2_len ? l2_len : 1))
		return r;
	if (!l2_len) {
		r.v6 = f->p[0] / 16 == 6;
	} else {
		for (int tags = 0; is_tag(type = be16(f->p + r.l3 - 2)); tags++) {
			r.parse = tags == 2 ? WEIR_PARSE_UNSUPPORTED : WEIR_PARSE_SHORT;
			if (tags == 2 || f->have < r.l3 + 4)
				return r;
			r.l3 += 4;
		}
		r.parse = WEIR_PARSE_OTHER;
		if (type != 0x0800 && type != 0x86dd)
			return r;
		r.v6 = type == 0x86dd;
	}
	if (r.v6)
		read_v6(f, &r);
	else
		read_v4(f, &r);
	return r;
}

/* ----------------------------------------------------------------------- the checks */

static void check_within(const struct weir_packet *p, const struct frame *f)
{
	CHECK(p->l3_off <= 31);
	CHECK(p->tcp_off + WEIR_TCP_LEN <= f->have);
	CHECK(p->pay_off >= p->tcp_off + WEIR_TCP_LEN);
	CHECK(weir_options_len(p) <= WEIR_TCP_OPTIONS_MAX);
	CHECK((uint64_t)p->pay_off + p->pay_len <= f->len);
}

static void check_address(const uint8_t *address, const uint8_t *raw, bool v6)
{
	uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };

	memcpy(v6 ? mapped : mapped + 12, raw, v6 ? 16 : 4);
	CHECK(!memcmp(address, mapped, 16));
}

static void check_tcp(const struct frame *f, const struct reading *r, uint32_t found)
{
	const uint8_t *ip = f->p + r->l3, *tcp = f->p + r->l4;
	size_t said = be16(ip + (r->v6 ? 4 : 2)), header = tcp[12] / 16 * 4, end;
	struct weir_packet p;
	bool ts;

	memset(&p, 0xcc, sizeof(p));
	end = said ? r->l3 + said + (r->v6 ? 40 : 0) : f->len; /* none: a super-packet */
	if (end > f->len || header < 20 || r->l4 + header > end) {
		CHECK(!weir_read_tcp(f->p, f->p + f->have, found, f->len, &p));
		return;
	}
	CHECK(weir_read_tcp(f->p, f->p + f->have, found, f->len, &p));
	check_within(&p, f);
	CHECK(r->l4 + header <= WEIR_READ_MAX);
	check_address(p.src, ip + (r->v6 ? 8 : 12), r->v6);
	check_address(p.dst, ip + (r->v6 ? 24 : 16), r->v6);
	CHECK(p.v6 == r->v6 && p.l3_off == r->l3 && p.tcp_off == r->l4);
	CHECK(p.pay_off == r->l4 + header && p.pay_len == end - p.pay_off);
	CHECK(!memcmp(&p.sport_be, tcp, 2) && !memcmp(&p.dport_be, tcp + 2, 2));
	CHECK(p.seq == be16(tcp + 4) * 65536u + be16(tcp + 6));
	CHECK(p.ack == be16(tcp + 8) * 65536u + be16(tcp + 10));
	CHECK(p.flags == tcp[13]);
	ts = header >= 32 && r->l4 + 32 <= f->have && !memcmp(tcp + 20, "\1\1\10\12", 4);
	CHECK(p.has_ts == ts);
	if (ts)
		CHECK(!memcmp(&p.tsval_be, tcp + 24, 4) && !memcmp(&p.tsecr_be, tcp + 28, 4));
}

static void check(const struct frame *f, uint32_t l2_len, uint32_t any_word)
{
	const uint8_t *end = f->p + f->have;
	uint32_t plain = weir_find_plain(f->p, end, l2_len);
	uint32_t found = weir_find_tcp(f->p, end, weir_find_ip(f->p, end, l2_len));
	struct reading r = read_slowly(f, l2_len);
	struct weir_packet p;

	CHECK(weir_found_parse(found) == r.parse);
	if (r.parse == WEIR_PARSE_TCP || r.parse == WEIR_PARSE_FIRST) {
		CHECK(weir_found_v6(found) == r.v6);
		CHECK(weir_found_l3(found) == r.l3 && weir_found_l4(found) == r.l4);
	}
	if (weir_found_parse(plain) == WEIR_PARSE_OTHER) /* it may need fewer bytes to say so */
		CHECK(r.parse == WEIR_PARSE_OTHER || r.parse == WEIR_PARSE_SHORT);
	else if (weir_found_parse(plain) != WEIR_PARSE_LOOK)
		CHECK(plain == found && r.parse == WEIR_PARSE_TCP);
	if (r.parse == WEIR_PARSE_TCP)
		check_tcp(f, &r, found);
	if (weir_read_tcp(f->p, end, any_word, f->len, &p))
		check_within(&p, f);
}

/* ------------------------------------------------------------------------ the frame */

static void mend(uint8_t *p, size_t n, unsigned how, size_t l3)
{
	static const uint8_t kinds[] = { 6, 0, 43, 44, 51, 60, 6, 6 };
	uint8_t *ip = p + l3;
	bool v6 = how & 1;

	if (n < l3 + 60)
		return;
	for (size_t at = 12; l3 && at < l3; at += 4) {
		bool last = at + 2 == l3;

		p[at] = last ? (v6 ? 0x86 : 0x08) : 0x81;
		p[at + 1] = last && v6 ? 0xdd : 0;
	}
	ip[0] = v6 ? 0x60 | ip[0] % 16 : 0x40 | (how & 2 ? 5 : ip[0] % 16);
	if (how & 4) { /* whole, and as long as it says */
		size_t said = n - l3 - (v6 ? 40 : 0);

		ip[v6 ? 4 : 2] = said / 256;
		ip[v6 ? 5 : 3] = said % 256;
	}
	if (!v6) {
		ip[9] = 6;
		if (how & 8)
			ip[6] = ip[7] = 0;
		return;
	}
	ip[6] = kinds[ip[6] % 8];
	for (size_t at = 40, kind = ip[6]; kind != 6 && l3 + at + 8 <= n; kind = ip[at - 8]) {
		ip[at] = kinds[ip[at] % 8];
		if (how & 8 && kind == 44) /* an atomic one */
			ip[at + 2] = ip[at + 3] = 0;
		if (kind != 44)
			ip[at + 1] = kind == 51 ? 0 : ip[at + 1] % 2 ? ip[at + 1] : 0;
		if (kind != 44 && ip[at + 1])
			return;
		at += 8;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t l3s[] = { 0, 14, 18, 22 };
	struct input in = { data, data + size };
	unsigned how = take(&in, 1), place = take(&in, 1);
	size_t cut = take(&in, 2), paged = take(&in, 2), n;
	uint32_t any_word = take(&in, 4), l2_len = place & 3 ? WEIR_ETH_LEN : 0;
	uint8_t frame[FRAME_MAX];
	struct frame f;

	n = input_left(&in) < FRAME_MAX ? input_left(&in) : FRAME_MAX;
	memcpy(frame, in.p, n);
	if (how & 0x80)
		mend(frame, n, how, l3s[place & 3]);
	for (int whole = 0; whole < 2; whole++) {
		size_t have = whole || !n ? n : cut % n;
		uint8_t *own = own_copy(frame, have);

		/* what is not in the linear part is still part of the frame */
		f = (struct frame){ own, have, (place & 4 ? have : n) + (place & 8 ? paged : 0) };
		check(&f, l2_len, any_word);
		free(own);
	}
	return 0;
}
