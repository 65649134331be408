/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent does to connections from outside: an answer cut short by a mark in its slot,
 * guarded ports frozen while maps are copied, connections without a socket given back.
 */
#include "tests/bpf/levels.h"

static const char first_part[] =
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n";
static const char next_part[] = "4\r\nefgh\r\n";

/* -- cut */

/* A request of a chain in flight, reserved at every level; returns its slot. */
static struct weir_slot *asking(const struct chain *chain, const char *key, struct conn *c)
{
	const struct weir_record *h;

	for (int k = 0; k < WEIR_LEVELS; k++)
		limit_widely(chain->at[k]);
	chain->at[0]->reserve_nano_per_request = 9;
	lab.n_records = 0;
	passes(send_text(c, chat(key)));
	server_acks(c);
	h = record(WEIR_REC_REQUEST, 0);
	assert_non_null(h);
	return &lab.slots[h->slot];
}

static void ends_cut(const struct chain *chain, uint64_t bytes)
{
	const struct weir_rec_end *e = record(WEIR_REC_END, 0);

	assert_non_null(e);
	assert_null(record(WEIR_REC_END, 1));
	assert_int_equal(e->h.flags, WEIR_END_CUT);
	assert_int_equal(e->response_bytes, bytes);
	assert_int_equal(e->reserved_nano, 9);
	assert_true(e->reserved_tokens > 0);
	assert_memory_equal(e->others, chain->index + 1, sizeof(e->others));
	chain_holds(chain, 1, 0);
}

static void a_marked_answer_is_cut_at_its_next_segment(void **state)
{
	struct chain chain = new_chain("sk-cut");
	struct conn c = open_conn(nobody, host);
	struct weir_slot *slot = asking(&chain, "sk-cut", &c);
	struct verdict v;

	passes(answer_text(&c, first_part));
	slot->cut = weir_cut_mark(slot->started_wall_ns);
	/* Not by what is no new byte of it. */
	server_acks(&c);
	passes(from_server(&c, TCP_PSH | TCP_ACK, c.sent - 5, c.next, "cd\r\n", 4));
	passes(from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0));
	chain_holds(&chain, 1, 1);
	v = from_server(&c, TCP_PSH | TCP_ACK, c.sent, c.next, next_part, strlen(next_part));
	closes_from_server(&c, &v, strlen(next_part));
	is_counted(WEIR_DROP_CUT, 1);
	ends_cut(&chain, strlen(first_part));
	/* What either end still says is answered with a reset, and the request is over once. */
	v = from_server(&c, TCP_PSH | TCP_ACK, c.sent, c.next, next_part, strlen(next_part));
	assert_int_equal(v.code, OUT_REDIRECT);
	v = send_text(&c, chat("sk-cut"));
	assert_int_equal(v.code, OUT_REDIRECT);
	is_counted(WEIR_DROP_CUT, 1);
	is_counted(WEIR_DROP_REFUSED_FLOW, 2);
	ends_cut(&chain, strlen(first_part));
	settle(record(WEIR_REC_END, 0), 1, 0);
	assert_int_equal(weir_reserved_now(chain.at[0]), 0);
	for (int k = 0; k < WEIR_LEVELS; k++)
		assert_int_equal(weir_reserved_tokens_now(chain.at[k]), 0);
}

static void an_answer_may_be_cut_before_its_first_byte(void **state)
{
	struct chain chain = new_chain("sk-cut-0");
	struct conn c = open_conn(nobody, host);
	struct weir_slot *slot = asking(&chain, "sk-cut-0", &c);
	struct verdict v;

	slot->cut = weir_cut_mark(slot->started_wall_ns);
	v = from_server(&c, TCP_PSH | TCP_ACK, c.sent, c.next, first_part, strlen(first_part));
	closes_from_server(&c, &v, strlen(first_part));
	is_counted(WEIR_DROP_CUT, 1);
	assert_null(record(WEIR_REC_DATA, 0));
	ends_cut(&chain, 0);
}

/* The agent's store may come late, when the slot is another request's. */
static void a_mark_of_an_earlier_request_does_nothing(void **state)
{
	struct chain chain = new_chain("sk-stale");
	struct conn c = open_conn(nobody, host);
	struct weir_slot *slot = asking(&chain, "sk-stale", &c);
	uint32_t mark = weir_cut_mark(slot->started_wall_ns);

	answer_ok(&c);
	slot->cut = mark; /* nothing is in flight */
	passes(send_text(&c, chat("sk-stale")));
	server_acks(&c);
	assert_int_equal(slot->cut, 0);
	passes(answer_text(&c, first_part));
	slot->cut = mark;
	passes(answer_text(&c, next_part));
	passes(answer_text(&c, "0\r\n\r\n"));
	is_counted(WEIR_DROP_CUT, 0);
	chain_holds(&chain, 1, 0);
	assert_int_equal(((const struct weir_record *)record(WEIR_REC_END, 1))->flags,
			 WEIR_END_RESPONSE);
	slot->cut = mark;
	hang_up(&c);
	chain_holds(&chain, 0, 0);
}

/* A socket that closes first ends it as a close: once. */
static void a_close_is_faster_than_the_mark(void **state)
{
	struct chain chain = new_chain("sk-closes");
	struct conn c = open_conn(nobody, host);
	struct weir_slot *slot = asking(&chain, "sk-closes", &c);

	passes(answer_text(&c, first_part));
	slot->cut = weir_cut_mark(slot->started_wall_ns);
	hang_up(&c);
	assert_int_equal(((const struct weir_record *)record(WEIR_REC_END, 0))->flags,
			 WEIR_END_CLOSE);
	assert_null(record(WEIR_REC_END, 1));
	is_counted(WEIR_DROP_CUT, 0);
	chain_holds(&chain, 0, 0);
}

/* -- frozen */

static void while_frozen_guarded_packets_drop_and_others_pass(void **state)
{
	struct chain chain = new_chain("sk-frozen");
	struct conn c = open_conn(nobody, host), d = new_conn(nobody, host), e = d;
	struct chain_copy was;

	asking(&chain, "sk-frozen", &c);
	passes(answer_text(&c, first_part));
	was = chain_copy(&chain);
	stream_recount();
	take_records();
	lab.n_records = 0;
	lab.config->frozen = 1;
	drops(send_syn(&d, false));
	assert_int_equal(send_syn(&d, true).code, X_DROP);
	drops(from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0));
	drops(from_client(&c, TCP_PSH | TCP_ACK, c.next, c.sent, "x", 1));
	drops(from_client(&c, TCP_RST, c.next, c.sent, NULL, 0));
	drops(from_server(&c, TCP_PSH | TCP_ACK, c.sent, c.next, next_part, strlen(next_part)));
	is_counted(WEIR_DROP_FROZEN, 6);
	e.server_port = FREE_PORT;
	passes(send_syn(&e, false));
	assert_int_equal(send_syn(&e, true).code, X_PASS);
	passes(send_text(&e, "SSH-2.0-x\r\n"));
	passes(answer_text(&e, "SSH-2.0-y\r\n"));
	is_counted(WEIR_DROP_FROZEN, 6);
	is_counted(WEIR_FLOW_NEW, 0);
	chain_is(&chain, &was, 0);
	assert_null(record(WEIR_REC_DATA, 0));
	/* Sent again, all goes on as if nothing had been. */
	lab.config->frozen = 0;
	passes(answer_text(&c, next_part));
	passes(answer_text(&c, "0\r\n\r\n"));
	chain_holds(&chain, 1, 0);
	is_counted(WEIR_TAP_HOLE, 0);
	hang_up(&c);
}

/* -- reap */

enum { REAPED = WEIR_REAP_MAX };

static void reap_frame(const struct weir_reap *r, size_t bytes)
{
	static uint8_t frame[FRAME_MAX];

	memset(frame, 0, WEIR_REAP_OFFSET);
	memcpy(frame + WEIR_REAP_OFFSET, r, bytes);
	assert_int_equal(run(lab.skel->progs.weir_reap, frame, WEIR_REAP_OFFSET + bytes).code, 0);
}

static struct weir_reap reap_of(const struct conn *c)
{
	struct weir_reap r = { .key = flow_key(c) };
	struct weir_flow_view f;

	assert_true(flow_of(c, &f));
	r.opened_ns = f.opened_ns;
	return r;
}

static void a_connection_without_a_socket_is_given_back_whole(void **state)
{
	struct chain chain = new_chain("sk-reap");
	struct conn c = open_conn(nobody, host);
	struct weir_reap r[3];

	asking(&chain, "sk-reap", &c);
	r[0] = r[1] = r[2] = reap_of(&c);
	/* The ports were used again since it was looked at: another connection. */
	r[0].opened_ns--;
	r[1].opened_ns++;
	reap_frame(r, 2 * sizeof(r[0]));
	chain_holds(&chain, 1, 1);
	is_counted(WEIR_DRIFT_FLOW, 0);
	/* The very one, and as often as it is named, once. */
	r[0] = r[1] = r[2];
	r[1].pad = 0xdeadbeef;
	reap_frame(r, sizeof(r));
	chain_holds(&chain, 0, 0);
	is_counted(WEIR_DRIFT_FLOW, 1);
	is_counted(WEIR_FLOW_GONE, 1);
	assert_int_equal(((const struct weir_record *)record(WEIR_REC_END, 0))->flags,
			 WEIR_END_CLOSE);
	assert_null(record(WEIR_REC_END, 1));
}

static void as_many_as_fit_are_given_back_and_no_more(void **state)
{
	struct chain chain = new_chain("sk-many");
	struct weir_reap r[REAPED + 2];
	struct conn c[REAPED + 2];

	for (int i = 0; i < REAPED + 2; i++) {
		c[i] = open_conn(nobody, host);
		passes(send_text(&c[i], chat("sk-many")));
		r[i] = reap_of(&c[i]);
	}
	reap_frame(r, sizeof(r));
	chain_holds(&chain, 2, 2);
	/* One that is cut off is none. */
	reap_frame(r + REAPED, 2 * sizeof(r[0]) - 1);
	chain_holds(&chain, 1, 1);
	hang_up(&c[REAPED + 1]);
	is_counted(WEIR_DRIFT_FLOW, REAPED + 2);
}

/* A refused one waits for its client, one that is closed for both ends; a forwarded one has no
 * socket here. */
static void what_needs_no_socket_is_left_alone(void **state)
{
	struct conn refused = open_conn(nobody, host), shut = open_conn(nobody, host);
	struct conn forwarded;
	struct weir_tenant *t = tenant_with("sk-far");
	struct weir_flow_view f;
	struct weir_reap r[3];
	struct verdict v;
	struct segment s;

	v = send_text(&refused, chat("sk-nobody-knows"));
	is_refused(&refused, &v, 401);
	passes(send_text(&shut, chat("sk-far")));
	assert_int_equal(send_text(&shut, chat("sk-far")).code, OUT_REDIRECT); /* pipelined */
	nobody_listens();
	forwarded = open_conn(nobody, host);
	passes(send_text(&forwarded, chat("sk-far")));
	while (on_the_wire(&s))
		;
	r[0] = reap_of(&refused);
	r[1] = reap_of(&shut);
	r[2] = reap_of(&forwarded);
	reap_frame(r, sizeof(r));
	is_counted(WEIR_DRIFT_FLOW, 0);
	assert_true(flow_of(&refused, &f));
	assert_true(flow_of(&shut, &f));
	assert_true(flow_of(&forwarded, &f));
	assert_int_equal(t->inflight, 1);
}

static void whatever_is_in_the_frame_harms_nobody(void **state)
{
	struct chain chain = new_chain("sk-fuzz");
	struct conn c = open_conn(nobody, host);
	struct weir_reap r[REAPED];
	struct chain_copy was;

	srand(7);
	asking(&chain, "sk-fuzz", &c);
	was = chain_copy(&chain);
	for (int i = 0; i < 2000; i++) {
		uint8_t *bytes = (void *)r;

		for (size_t k = 0; k < sizeof(r); k++)
			bytes[k] = rand();
		/* Some of them name it, with another time. */
		for (int k = 0; k < REAPED; k += 3)
			r[k].key = flow_key(&c);
		reap_frame(r, rand() % (sizeof(r) + 1));
	}
	chain_is(&chain, &was, 0);
	is_counted(WEIR_DRIFT_FLOW, 0);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(a_marked_answer_is_cut_at_its_next_segment),
		STREAM_CLAIM(an_answer_may_be_cut_before_its_first_byte),
		STREAM_CLAIM(a_mark_of_an_earlier_request_does_nothing),
		STREAM_CLAIM(a_close_is_faster_than_the_mark),
		STREAM_CLAIM(while_frozen_guarded_packets_drop_and_others_pass),
		STREAM_CLAIM(a_connection_without_a_socket_is_given_back_whole),
		STREAM_CLAIM(as_many_as_fit_are_given_back_and_no_more),
		STREAM_CLAIM(what_needs_no_socket_is_left_alone),
		STREAM_CLAIM(whatever_is_in_the_frame_harms_nobody),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
