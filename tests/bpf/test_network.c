/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way a network wraps TCP: VLAN tags, IPv4 options, IPv6 extension headers,
 * padding, frames in several buffers, TCP's own options. A verdict must be the same as
 * for a plain packet, and what is answered must keep the frame's layout. Fragments and
 * what is not followed are test_fragment.c's, devices without a header test_tun.c's.
 */
#include "tests/bpf/forms.h"

static const int passes[2] = { OUT_PASS, X_PASS };
static const int drops[2] = { OUT_DROP, X_DROP };

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
		n = next_on_the_wire(frame);
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

/* With the flag a run fails if the sum of the whole packet that the skb remembers is
 * wrong afterwards. */
#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2)
#endif

enum { SUM_NONE, SUM_COMPLETE, SUMS };

static struct verdict run_syn(const struct segment *s, int sum)
{
	uint8_t frame[FRAME_MAX] = {};
	struct verdict v = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_out = v.frame,
		    .data_size_out = sizeof(v.frame), .repeat = 1,
		    .flags = sum == SUM_COMPLETE ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0);

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
		CLAIM(padding_is_no_payload),
		CLAIM(a_syn_in_a_frame_of_several_buffers_is_judged),
		CLAIM(timestamps_behind_other_options_are_echoed),
		CLAIM(mptcp_and_fast_open_are_taken_out_of_a_syn),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
