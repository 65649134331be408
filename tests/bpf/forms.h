/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways a network wraps TCP, one by one, and a connection's packets in any of them.
 */
#ifndef TEST_FORMS_H
#define TEST_FORMS_H

#include "tests/bpf/lab.h"

enum { HOP = 0, ROUTING = 43, FRAGMENT = 44, AH = 51, DESTINATION = 60 };

static const struct form {
	const char *name;
	bool v6;
	size_t tags;
	size_t options;	  /* v4: bytes of them */
	uint8_t kinds[6]; /* v6: extension headers, their lengths in bytes */
	uint8_t lens[6];
} forms[] = {
	{ "plain v4", false, 0, 0, {}, {} },
	{ "v4 with an option", false, 0, 4, {}, {} },
	{ "v4 with all options", false, 0, 40, {}, {} },
	{ "v4 in a VLAN", false, 1, 0, {}, {} },
	{ "v4 in a VLAN in a VLAN", false, 2, 0, {}, {} },
	{ "v4 with options in two VLANs", false, 2, 40, {}, {} },
	{ "plain v6", true, 0, 0, {}, {} },
	{ "v6, hop-by-hop", true, 0, 0, { HOP }, { 8 } },
	{ "v6, destination options", true, 0, 0, { DESTINATION }, { 64 } },
	{ "v6, routing and AH", true, 0, 0, { ROUTING, AH }, { 24, 24 } },
	{ "v6, an atomic fragment", true, 0, 0, { FRAGMENT }, { 8 } },
	{ "v6, six headers",
	  true,
	  0,
	  0,
	  { HOP, DESTINATION, ROUTING, FRAGMENT, AH, DESTINATION },
	  { 8, 8, 8, 8, 16, 16 } },
	{ "v6 in a VLAN", true, 1, 0, {}, {} },
	{ "v6 with headers in two VLANs", true, 2, 0, { HOP, DESTINATION }, { 8, 56 } },
};
enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

/* A segment of c in that form. */
static UNUSED struct segment in_form(const struct form *f, const struct conn *c, bool from_client,
				     uint8_t flags, const void *payload, size_t len)
{
	static uint8_t extra[64];
	struct segment s = {
		.from_mac = { 2, 0, 0, 0, 0, 1 },
		.to_mac = { 2, 0, 0, 0, 0, 2 },
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
		.tags = f->tags,
		.ip_extra = extra,
		.ip_extra_len = f->options,
		.ip_next = f->kinds[0],
	};

	address(from_client ? c->client : c->server, s.src, &s.v6);
	address(from_client ? c->server : c->client, s.dst, &s.v6);
	memset(extra, f->v6 ? 0 : 7, sizeof(extra)); /* 7: record route, whatever is in it */
	for (size_t i = 0; i < 6 && f->lens[i]; i++) {
		uint8_t *h = extra + s.ip_extra_len;

		h[0] = i < 5 && f->lens[i + 1] ? f->kinds[i + 1] : 6;
		h[1] = f->kinds[i] == AH	 ? f->lens[i] / 4 - 2
		       : f->kinds[i] == FRAGMENT ? 0
						 : f->lens[i] / 8 - 1;
		s.ip_extra_len += f->lens[i];
	}
	return s;
}

static UNUSED struct verdict run_segment(struct bpf_program *prog, const struct segment *s)
{
	uint8_t frame[FRAME_MAX] = {};

	return run(prog, frame, build_frame(s, frame));
}

static UNUSED struct verdict client_says(const struct form *f, const struct conn *c, uint8_t flags,
					 const void *payload, size_t len)
{
	struct segment s = in_form(f, c, true, flags, payload, len);

	return run_segment(lab.skel->progs.weir_ingress, &s);
}

static UNUSED struct verdict server_says(const struct form *f, const struct conn *c, uint8_t flags,
					 const void *payload, size_t len)
{
	struct segment s = in_form(f, c, false, flags, payload, len);

	return run_segment(lab.skel->progs.weir_egress, &s);
}

static UNUSED struct conn conn_in(const struct form *f)
{
	return f->v6 ? new_conn("2001:db8:7::7", "2001:db8::1")
		     : new_conn("198.51.100.7", "192.0.2.1");
}

static UNUSED struct conn open_in(const struct form *f)
{
	struct conn c = conn_in(f);

	assert_int_equal(client_says(f, &c, TCP_SYN, NULL, 0).code, OUT_PASS);
	c.next++;
	assert_int_equal(server_says(f, &c, TCP_SYN | TCP_ACK, NULL, 0).code, OUT_PASS);
	c.sent++;
	assert_int_equal(client_says(f, &c, TCP_ACK, NULL, 0).code, OUT_PASS);
	return c;
}

#endif
