/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way a network wraps TCP: VLAN tags, IPv4 options, IPv6 extension headers,
 * fragments, padding, frames in several buffers. A verdict must be the same as for a
 * plain packet, and what is answered must keep the frame's layout. Devices without a
 * header of their own are test_tun.c's.
 */
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

static const int passes[2] = { OUT_PASS, X_PASS };
static const int drops[2] = { OUT_DROP, X_DROP };

/* A segment of c in that form. */
static struct segment in_form(const struct form *f, const struct conn *c, bool from_client,
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

static struct verdict run_segment(struct bpf_program *prog, const struct segment *s)
{
	uint8_t frame[FRAME_MAX] = {};

	return run(prog, frame, build_frame(s, frame));
}

static struct verdict client_says(const struct form *f, const struct conn *c, uint8_t flags,
				  const void *payload, size_t len)
{
	struct segment s = in_form(f, c, true, flags, payload, len);

	return run_segment(lab.skel->progs.weir_ingress, &s);
}

static struct verdict server_says(const struct form *f, const struct conn *c, uint8_t flags,
				  const void *payload, size_t len)
{
	struct segment s = in_form(f, c, false, flags, payload, len);

	return run_segment(lab.skel->progs.weir_egress, &s);
}

static struct conn conn_in(const struct form *f)
{
	return f->v6 ? new_conn("2001:db8:7::7", "2001:db8::1")
		     : new_conn("198.51.100.7", "192.0.2.1");
}

static struct conn open_in(const struct form *f)
{
	struct conn c = conn_in(f);

	assert_int_equal(client_says(f, &c, TCP_SYN, NULL, 0).code, OUT_PASS);
	c.next++;
	assert_int_equal(server_says(f, &c, TCP_SYN | TCP_ACK, NULL, 0).code, OUT_PASS);
	c.sent++;
	assert_int_equal(client_says(f, &c, TCP_ACK, NULL, 0).code, OUT_PASS);
	return c;
}

static struct weir_tenant *tenant_with(const char *key)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	add_key(key, index, 0);
	return t;
}

/* What we send has the tags, and an IP header as long, as what it answers. */
static void has_layout_of(const struct form *f, const struct segment *s, const struct conn *c)
{
	struct segment asked = in_form(f, c, true, 0, NULL, 0);

	if (s->tags != asked.tags || s->ip_extra_len != asked.ip_extra_len)
		fail_msg("%s: %zu tags, %zu bytes behind the IP header", f->name, s->tags,
			 s->ip_extra_len);
}

/* The RST that was cloned into the device, for the server. A device takes the outer tag
 * out of a frame before a packet socket sees it. */
static struct segment reset_on_the_wire(const struct form *f, const struct conn *c)
{
	static uint8_t frame[FRAME_MAX];
	struct segment s;
	const char *wrong;
	ssize_t n;

	do {
		n = recv(lab.wire, frame, sizeof(frame), 0);
		if (n <= 0)
			fail_msg("%s: no reset for the server", f->name);
	} while (get16(frame + 12) != 0x0800 && get16(frame + 12) != 0x86dd &&
		 get16(frame + 12) != 0x8100);
	if (f->tags == 2)
		put16(frame + 14, 100); /* the inner tag is now the outer */
	wrong = read_frame(frame, n, &s);
	if (wrong)
		fail_msg("%s: reset for the server: %s", f->name, wrong);
	assert_int_equal(s.tags, f->tags ? f->tags - 1 : 0);
	s.tags = f->tags;
	has_layout_of(f, &s, c);
	return s;
}

/* -- each form, all the way */

static void a_syn_over_the_limit_is_reset_in_its_own_layout(void **state)
{
	for (size_t i = 0; i < FORMS; i++)
		for (int xdp = 0; xdp < 2; xdp++) {
			const struct form *f = &forms[i];
			struct bpf_program *prog =
				xdp ? lab.skel->progs.weir_xdp : lab.skel->progs.weir_ingress;
			struct conn c = conn_in(f);
			struct weir_tenant *t;
			struct segment s, rst;
			struct verdict v;
			const char *wrong;

			lab_reset(NULL);
			t = new_tenant(&lab.config->default_tenant);
			t->flags |= WEIR_TENANT_LIMIT_CONNS;
			t->max_connections = 1;
			s = in_form(f, &c, true, TCP_SYN, NULL, 0);
			assert_int_equal(run_segment(prog, &s).code, passes[xdp]);
			assert_int_equal(t->connections, 1);
			c.client_port = lab.next_port++;
			s = in_form(f, &c, true, TCP_SYN, NULL, 0);
			v = run_segment(prog, &s);
			assert_int_equal(v.code, xdp ? X_TX : OUT_REDIRECT);
			wrong = read_frame(v.frame, v.frame_len, &rst);
			if (wrong)
				fail_msg("%s: reset: %s", f->name, wrong);
			has_layout_of(f, &rst, &c);
			assert_memory_equal(rst.src, s.dst, 16);
			assert_memory_equal(rst.dst, s.src, 16);
			assert_int_equal(rst.sport, PORT);
			assert_int_equal(rst.dport, c.client_port);
			assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
			assert_int_equal(rst.seq, 0);
			assert_int_equal(rst.ack, c.next + 1);
			assert_int_equal(rst.len, 0);
			assert_memory_equal(rst.to_mac, s.from_mac, 6);
			assert_memory_equal(rst.from_mac, s.to_mac, 6);
			is_counted(WEIR_DENY_CONNECTIONS, 1);
			is_counted(WEIR_ADMIT_CONNECTION, 1);
			is_counted(WEIR_FLOW_NEW, 1);
			t->flags |= WEIR_TENANT_DROP;
			assert_int_equal(run_segment(prog, &s).code, drops[xdp]);
		}
}

static void a_refused_request_is_answered_in_its_own_layout(void **state)
{
	tenant_with("sk-form")->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	for (size_t i = 0; i < FORMS; i++)
		for (int has_ts = 0; has_ts < 2; has_ts++) {
			const struct form *f = &forms[i];
			const char *text = chat("sk-form");
			struct conn c;
			struct segment rst;
			struct verdict v;
			struct answer a;

			lab_reset(NULL);
			c = open_in(f);
			c.has_ts = has_ts;
			v = client_says(f, &c, TCP_PSH | TCP_ACK, text, strlen(text));
			rst = reset_on_the_wire(f, &c);
			assert_int_equal(rst.seq, c.next);
			assert_int_equal(rst.ack, c.sent);
			assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
			assert_int_equal(rst.sport, c.client_port);
			assert_int_equal(rst.dport, PORT);
			c.next += strlen(text);
			a = is_refused(&c, &v, 429);
			has_layout_of(f, &a.tcp, &c);
			assert_int_equal(a.tcp.seq, c.sent);
			assert_int_equal(a.tcp.ack, c.next);
			is_counted(WEIR_DENY_CONCURRENCY, 1);
			is_counted(WEIR_DROP_CHANGE_TAIL, 0);
			/* Again from lingering, then the last ACK. */
			v = client_says(f, &c, TCP_ACK, NULL, 0);
			a = is_refused(&c, &v, 429);
			has_layout_of(f, &a.tcp, &c);
			/* The server, should it have missed its reset. */
			v = server_says(f, &c, TCP_ACK, "late", 4);
			assert_int_equal(v.code, OUT_REDIRECT);
			assert_null(read_frame(v.frame, v.frame_len, &rst));
			has_layout_of(f, &rst, &c);
			assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
			c.sent = a.tcp.seq + a.tcp.len + 1;
			v = client_says(f, &c, TCP_FIN | TCP_ACK, NULL, 0);
			assert_int_equal(v.code, OUT_REDIRECT);
			assert_null(read_frame(v.frame, v.frame_len, &rst));
			assert_int_equal(rst.flags, TCP_ACK);
			is_counted(WEIR_LINGER_DONE, 1);
			is_counted(WEIR_FLOW_GONE, 1);
		}
}

static void an_answer_is_read_in_every_form(void **state)
{
	struct weir_tenant *t = tenant_with("sk-answer");

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	t->max_inflight = 1;
	for (size_t i = 0; i < FORMS; i++) {
		static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwater";
		const struct form *f = &forms[i];
		const char *text = chat("sk-answer");
		const struct weir_rec_end *end;
		char seen[256];
		struct conn c;

		lab_reset(NULL);
		c = open_in(f);
		assert_int_equal(client_says(f, &c, TCP_PSH | TCP_ACK, text, strlen(text)).code,
				 OUT_PASS);
		c.next += strlen(text);
		is_counted(WEIR_ADMIT_REQUEST, 1);
		assert_int_equal(t->inflight, 1);
		assert_int_equal(server_says(f, &c, TCP_PSH | TCP_ACK, ok, sizeof(ok) - 1).code,
				 OUT_PASS);
		assert_int_equal(t->inflight, 0);
		tapped(seen, sizeof(seen));
		assert_string_equal(seen, ok);
		end = record(WEIR_REC_END, 0);
		assert_non_null(end);
		assert_int_equal(end->h.flags, WEIR_END_RESPONSE);
	}
}

static void another_port_is_left_alone_in_every_form(void **state)
{
	for (size_t i = 0; i < FORMS; i++) {
		struct conn c = conn_in(&forms[i]);
		struct segment s;

		c.server_port = FREE_PORT;
		s = in_form(&forms[i], &c, true, TCP_SYN, NULL, 0);
		assert_int_equal(run_segment(lab.skel->progs.weir_xdp, &s).code, X_PASS);
		assert_int_equal(run_segment(lab.skel->progs.weir_ingress, &s).code, OUT_PASS);
		assert_int_equal(server_says(&forms[i], &c, TCP_SYN | TCP_ACK, NULL, 0).code,
				 OUT_PASS);
	}
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		is_counted(r, 0);
}

/* -- what is past answering, and past following */

static void a_chain_too_long_to_answer_is_judged_all_the_same(void **state)
{
	static const struct form plain = { .v6 = true };
	uint8_t chain[512] = { 6, 72 / 8 - 1 };
	struct conn c = open_in(&plain);
	const char *text = chat("sk-long");
	struct weir_tenant *t = tenant_with("sk-long");
	struct segment s;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	t->max_inflight = 1;
	s = in_form(&plain, &c, true, TCP_PSH | TCP_ACK, text, strlen(text));
	s.ip_extra = chain;
	s.ip_extra_len = 72;
	s.ip_next = DESTINATION;
	assert_int_equal(run_segment(lab.skel->progs.weir_ingress, &s).code, OUT_PASS);
	is_counted(WEIR_ADMIT_REQUEST, 1);
	/* The place is taken: the next one is refused, and nobody gets a broken packet. */
	c = open_in(&plain);
	s = in_form(&plain, &c, true, TCP_PSH | TCP_ACK, text, strlen(text));
	s.ip_extra = chain;
	s.ip_extra_len = 72;
	s.ip_next = DESTINATION;
	assert_int_equal(run_segment(lab.skel->progs.weir_ingress, &s).code, OUT_DROP);
	is_counted(WEIR_DENY_CONCURRENCY, 1);
	is_counted(WEIR_DROP_CHANGE_TAIL, 1);
	/* In XDP too. */
	t = new_tenant(&lab.config->default_tenant);
	t->flags |= WEIR_TENANT_LIMIT_CONNS;
	c = conn_in(&plain);
	s = in_form(&plain, &c, true, TCP_SYN, NULL, 0);
	s.ip_extra = chain;
	s.ip_extra_len = 72;
	s.ip_next = DESTINATION;
	assert_int_equal(run_segment(lab.skel->progs.weir_xdp, &s).code, X_DROP);
	is_counted(WEIR_DENY_CONNECTIONS, 1);
	is_counted(WEIR_DROP_CHANGE_TAIL, 2);
}

/* Its port is not looked for any further, so it may be a guarded one. */
static void a_chain_past_following_is_dropped(void **state)
{
	static const struct form plain = { .v6 = true };
	uint8_t chain[1024] = {};
	struct conn c = conn_in(&plain);
	struct segment s = in_form(&plain, &c, true, TCP_SYN, NULL, 0);

	s.ip_extra = chain;
	s.ip_next = DESTINATION;
	for (int longer = 0; longer < 2; longer++) {
		s.ip_extra_len = longer ? 520 : 56;
		for (int i = 0; i < 7; i++)
			chain[i * 8] = i < 6 ? DESTINATION : 6;
		if (longer) {
			chain[0] = 6;
			chain[1] = 520 / 8 - 1;
		}
		assert_int_equal(run_segment(lab.skel->progs.weir_xdp, &s).code, X_PASS);
		assert_int_equal(run_segment(lab.skel->progs.weir_ingress, &s).code, OUT_DROP);
		assert_int_equal(run_segment(lab.skel->progs.weir_egress, &s).code, OUT_PASS);
	}
	is_counted(WEIR_DROP_HEADERS, 2);
	lab.config->enforce = 0;
	assert_int_equal(run_segment(lab.skel->progs.weir_ingress, &s).code, OUT_PASS);
	is_counted(WEIR_PASS_UNSUPPORTED, 1);
	is_counted(WEIR_FLOW_NEW, 0);
}

static void a_third_tag_passes_and_is_counted(void **state)
{
	struct conn c = conn_in(&forms[4]);
	struct segment s = in_form(&forms[4], &c, true, TCP_SYN, NULL, 0);
	uint8_t frame[FRAME_MAX];
	size_t n = build_frame(&s, frame);

	put16(frame + 20, 0x8100);
	assert_int_equal(run(lab.skel->progs.weir_xdp, frame, n).code, X_PASS);
	assert_int_equal(run(lab.skel->progs.weir_ingress, frame, n).code, OUT_PASS);
	is_counted(WEIR_PASS_UNSUPPORTED, 1);
}

/* -- fragments */

/* Both programs, the frame as it stands. */
static void comes_to(const uint8_t *frame, size_t n, int tc, uint32_t reason)
{
	uint64_t before = counter(reason);

	assert_int_equal(run(lab.skel->progs.weir_xdp, frame, n).code, X_PASS);
	assert_int_equal(run(lab.skel->progs.weir_ingress, frame, n).code, tc);
	if (counter(reason) != before + 1)
		fail_msg("%s is not counted", weir_reason_name(reason));
	/* Out of the server: never our business. */
	assert_int_equal(run(lab.skel->progs.weir_egress, frame, n).code, OUT_PASS);
}

static void a_guarded_ports_first_fragment_is_dropped(void **state)
{
	for (size_t i = 0; i < FORMS; i++) {
		const struct form *f = &forms[i];
		struct conn c = conn_in(f);
		struct segment s = in_form(f, &c, true, TCP_SYN, NULL, 0);
		struct segment out = in_form(f, &c, false, TCP_ACK, "x", 1);
		uint8_t frame[FRAME_MAX] = {}, *at;
		size_t n = build_frame(&s, frame);
		uint16_t place;

		if (f->v6 && f->kinds[0] != FRAGMENT)
			continue; /* the form has no field for it */
		at = frame + ip_offset(&s) + (f->v6 ? 42 : 6);
		put16(at, f->v6 ? 1 : 0x2000);
		comes_to(frame, n, OUT_DROP, WEIR_DROP_FRAGMENT);
		/* Eight bytes of TCP: ports, and no flags. */
		if (!f->v6) {
			put16(frame + ip_offset(&s) + 2, 20 + s.ip_extra_len + 8);
			comes_to(frame, tcp_offset(&s) + 8, OUT_DROP, WEIR_DROP_FRAGMENT);
		}
		/* Another port's first one passes, uncounted. */
		s.dport = FREE_PORT;
		n = build_frame(&s, frame);
		put16(at, f->v6 ? 1 : 0x2000);
		assert_int_equal(run(lab.skel->progs.weir_ingress, frame, n).code, OUT_PASS);
		is_counted(WEIR_PASS_FRAGMENT, 0);
		/* Later ones name no port. Offset 1 lies over the first one's flags. */
		for (place = 1; place < 0x1fff; place += 511) {
			put16(at, f->v6 ? place << 3 : place);
			comes_to(frame, n, place == 1 ? OUT_DROP : OUT_PASS,
				 place == 1 ? WEIR_DROP_FRAGMENT : WEIR_PASS_FRAGMENT);
			put16(at, f->v6 ? place << 3 | 1 : 0x2000 | place);
			comes_to(frame, n, place == 1 ? OUT_DROP : OUT_PASS,
				 place == 1 ? WEIR_DROP_FRAGMENT : WEIR_PASS_FRAGMENT);
		}
		n = build_frame(&out, frame);
		put16(at, f->v6 ? 1 : 0x2000);
		assert_int_equal(run(lab.skel->progs.weir_egress, frame, n).code, OUT_PASS);
		lab_reset(NULL);
	}
}

static void a_first_fragment_that_hides_its_ports_is_dropped(void **state)
{
	const struct form *f = &forms[0];
	struct conn c = conn_in(f);
	struct segment s = in_form(f, &c, true, TCP_SYN, NULL, 0);
	uint8_t frame[FRAME_MAX] = {};
	size_t n;

	s.dport = FREE_PORT; /* in what is but padding */
	n = build_frame(&s, frame);
	put16(frame + 20, 0x2000);
	put16(frame + 16, 20);
	comes_to(frame, n, OUT_DROP, WEIR_DROP_FRAGMENT);
	/* Extension headers that go on in the next fragment (RFC 7112). */
	f = &forms[10];
	c = conn_in(f);
	s = in_form(f, &c, true, TCP_SYN, NULL, 0);
	s.dport = FREE_PORT;
	n = build_frame(&s, frame);
	put16(frame + 14 + 42, 1);
	frame[14 + 40] = DESTINATION;
	put16(frame + 14 + 4, 8);
	comes_to(frame, n, OUT_DROP, WEIR_DROP_FRAGMENT);
}

static void with_enforcement_off_fragments_pass(void **state)
{
	const struct form *f = &forms[0];
	struct conn c = conn_in(f);
	struct segment s = in_form(f, &c, true, TCP_SYN, NULL, 0);
	uint8_t frame[FRAME_MAX] = {};
	size_t n = build_frame(&s, frame);

	lab.config->enforce = 0;
	put16(frame + 20, 0x2000);
	comes_to(frame, n, OUT_PASS, WEIR_PASS_FRAGMENT);
	is_counted(WEIR_DROP_FRAGMENT, 0);
}

/* -- lengths */

static void padding_is_no_payload(void **state)
{
	for (size_t i = 0; i < FORMS; i++) {
		const struct form *f = &forms[i];
		uint8_t frame[FRAME_MAX];
		struct segment s;
		struct conn c;
		size_t n;

		lab_reset(NULL);
		c = open_in(f);
		is_counted(WEIR_PASS_NO_PAYLOAD, 1);
		s = in_form(f, &c, true, TCP_ACK, NULL, 0);
		n = build_frame(&s, frame);
		memset(frame + n, 'G', 46);
		assert_int_equal(run(lab.skel->progs.weir_ingress, frame, n + 46).code, OUT_PASS);
		is_counted(WEIR_PASS_NO_PAYLOAD, 2);
	}
}

/* A frame in several buffers: XDP's first one is a page at most. */
static void a_syn_in_a_frame_of_several_buffers_is_judged(void **state)
{
	static uint8_t frame[16384], back[16384];

	for (size_t i = 0; i < FORMS; i++)
		for (size_t len = 4500; len <= 9000; len += 4500) {
			const struct form *f = &forms[i];
			struct conn c = conn_in(f);
			struct weir_tenant *t;
			struct segment s, rst;
			const char *wrong;
			LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len,
				    .data_out = back, .data_size_out = sizeof(back), .repeat = 1);
			int fd = bpf_program__fd(lab.skel->progs.weir_xdp);

			lab_reset(NULL);
			t = new_tenant(&lab.config->default_tenant);
			t->flags |= WEIR_TENANT_LIMIT_CONNS;
			/* Padding: a SYN like any other, refused. */
			memset(frame, 'G', sizeof(frame));
			s = in_form(f, &c, true, TCP_SYN, NULL, 0);
			build_frame(&s, frame);
			assert_int_equal(bpf_prog_test_run_opts(fd, &opts), 0);
			assert_int_equal(opts.retval, X_TX);
			wrong = read_frame(back, opts.data_size_out, &rst);
			if (wrong)
				fail_msg("%s, %zu bytes: %s", f->name, len, wrong);
			has_layout_of(f, &rst, &c);
			is_counted(WEIR_DENY_CONNECTIONS, 1);
			/* Payload, most of it not in the first buffer: fast open. */
			s.payload = back;
			s.len = len - build_frame(&s, frame);
			assert_int_equal(build_frame(&s, frame), len);
			opts.data_size_out = sizeof(back);
			assert_int_equal(bpf_prog_test_run_opts(fd, &opts), 0);
			assert_int_equal(opts.retval, X_DROP);
			is_counted(WEIR_DROP_TFO_DATA, 1);
		}
}

/* -- options of TCP */

/* A client that has seen a hole, of a stack that puts SACK first. */
static void timestamps_behind_other_options_are_echoed(void **state)
{
	static const uint8_t list[] = { 1, 1, 5, 10, 0, 0, 0, 1,    0, 0, 0, 9,
					1, 1, 8, 10, 0, 0, 3, 0xe8, 0, 0, 7, 0xd0 };

	tenant_with("sk-sack")->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	for (size_t i = 0; i < FORMS; i++) {
		struct conn c = open_in(&forms[i]);
		const char *text = chat("sk-sack");
		struct segment s =
			in_form(&forms[i], &c, true, TCP_PSH | TCP_ACK, text, strlen(text));
		struct verdict v;

		s.tcp_options = list;
		s.tcp_options_len = sizeof(list);
		v = run_segment(lab.skel->progs.weir_ingress, &s);
		is_refused(&c, &v, 429);
	}
}

/* 1: BPF_F_TEST_SKB_CHECKSUM_COMPLETE: the run fails if the sum of the whole packet that
 * the skb remembers is wrong afterwards. */
enum { SUM_NONE, SUM_COMPLETE, SUMS, CHECKSUM_COMPLETE_FLAG = 1 << 2 };

static struct verdict run_syn(const struct segment *s, int sum)
{
	uint8_t frame[FRAME_MAX] = {};
	struct verdict v = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_out = v.frame,
		    .data_size_out = sizeof(v.frame), .repeat = 1,
		    .flags = sum == SUM_COMPLETE ? CHECKSUM_COMPLETE_FLAG : 0);

	opts.data_size_in = build_frame(s, frame);
	if (bpf_prog_test_run_opts(bpf_program__fd(lab.skel->progs.weir_ingress), &opts)) {
		v.code = -errno;
		return v;
	}
	v.code = (int32_t)opts.retval;
	v.frame_len = opts.data_size_out;
	return v;
}

static void mptcp_and_fast_open_are_taken_out_of_a_syn(void **state)
{
	static const struct {
		uint8_t was[40], now[40];
		size_t len;
		bool stripped;
	} lists[] = {
		/* Linux's SYN of an MPTCP socket, with a fast open cookie, and a plain one */
		{ { 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7, 30, 4, 1, 1 },
		  { 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7, 1, 1, 1, 1 },
		  24,
		  true },
		{ { 34, 10, 9, 8, 7, 6, 5, 4, 3, 2, 4, 2 },
		  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 2 },
		  12,
		  true },
		{ { 1, 254, 5, 0xf9, 0x89, 77, 1, 1 }, { 1, 1, 1, 1, 1, 1, 1, 1 }, 8, true },
		{ { 30, 12, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, /* MP_JOIN */
		  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
		  12,
		  true },
		{ { 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7 },
		  { 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7 },
		  20,
		  false },
		{ { 9, 0, 30, 4 }, { 9, 0, 30, 4 }, 4, false },
	};

	for (size_t i = 0; i < FORMS; i++)
		for (size_t k = 0; k < sizeof(lists) / sizeof(lists[0]); k++)
			for (int sum = 0; sum < SUMS; sum++) {
				struct conn c = conn_in(&forms[i]);
				struct segment s = in_form(&forms[i], &c, true, TCP_SYN, NULL, 0);
				struct segment now;
				struct verdict v;
				const char *wrong;

				lab_reset(NULL);
				s.tcp_options = lists[k].was;
				s.tcp_options_len = lists[k].len;
				v = run_syn(&s, sum);
				if (sum == SUM_COMPLETE && v.code == -EINVAL) {
					static bool told;

					if (!told)
						print_message(
							"# CHECKSUM_COMPLETE not tried: this "
							"kernel's test run has no such skbs\n");
					told = true;
					continue;
				}
				assert_int_equal(v.code, OUT_PASS);
				wrong = read_as(v.frame, v.frame_len, false, FROM_ANYONE, &now);
				if (wrong)
					fail_msg("%s: SYN as passed on: %s", forms[i].name, wrong);
				assert_int_equal(now.tcp_options_len, lists[k].len);
				assert_memory_equal(now.tcp_options, lists[k].now, lists[k].len);
				assert_int_equal(now.seq, c.next);
				is_counted(WEIR_STRIP_OPTION, lists[k].stripped);
				is_counted(WEIR_ADMIT_CONNECTION, 1);
				/* Sent again, or let in by XDP before: as well. */
				v = run_syn(&s, sum);
				assert_null(
					read_as(v.frame, v.frame_len, false, FROM_ANYONE, &now));
				assert_memory_equal(now.tcp_options, lists[k].now, lists[k].len);
				is_counted(WEIR_FLOW_NEW, 1);
			}
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(a_syn_over_the_limit_is_reset_in_its_own_layout),
		CLAIM(a_refused_request_is_answered_in_its_own_layout),
		CLAIM(an_answer_is_read_in_every_form),
		CLAIM(another_port_is_left_alone_in_every_form),
		CLAIM(a_chain_too_long_to_answer_is_judged_all_the_same),
		CLAIM(a_chain_past_following_is_dropped),
		CLAIM(a_third_tag_passes_and_is_counted),
		CLAIM(a_guarded_ports_first_fragment_is_dropped),
		CLAIM(a_first_fragment_that_hides_its_ports_is_dropped),
		CLAIM(with_enforcement_off_fragments_pass),
		CLAIM(padding_is_no_payload),
		CLAIM(a_syn_in_a_frame_of_several_buffers_is_judged),
		CLAIM(timestamps_behind_other_options_are_echoed),
		CLAIM(mptcp_and_fast_open_are_taken_out_of_a_syn),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
