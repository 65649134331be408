/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP that cannot be seen whole: fragments, extension headers past answering or past
 * following, one VLAN tag too many. What may hide a guarded port does not get by.
 */
#include "tests/bpf/forms.h"

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

/* -- what is past answering, and past following */

static void a_chain_too_long_to_answer_is_judged_all_the_same(void **state)
{
	static const struct form plain = { .v6 = true };
	uint8_t chain[512] = { 6, 72 / 8 - 1 };
	struct conn c = open_in(&plain);
	const char *text = chat("sk-long");
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);
	struct segment s;

	add_key("sk-long", index, 0);
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

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(a_guarded_ports_first_fragment_is_dropped),
		CLAIM(a_first_fragment_that_hides_its_ports_is_dropped),
		CLAIM(with_enforcement_off_fragments_pass),
		CLAIM(a_chain_too_long_to_answer_is_judged_all_the_same),
		CLAIM(a_chain_past_following_is_dropped),
		CLAIM(a_third_tag_passes_and_is_counted),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
