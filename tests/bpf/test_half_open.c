/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshakes that are not complete (limits.md 9): bounded per tenant, given up in time without
 * an agent, and a flood of them costs nobody but the one in whose name it comes.
 */
#include "tests/bpf/levels.h"

enum { QUEUE = 65536 };

static const char flooder[] = "10.66.0.0", other_net[] = "10.67.0.0";

/* A tenant of a source, that may have so many handshakes open. */
static struct weir_tenant *bounded(const char *net, uint16_t most)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	add_source(net, 16, index);
	t->max_half_open = most;
	return t;
}

/* A connection from a made-up address of a /16. */
static struct conn from_net(const char *net)
{
	static uint32_t n;
	char client[46];

	snprintf(client, sizeof(client), "%.*s.%u.%u", (int)(strlen(net) - 4), net,
		 n * 7919 >> 8 & 255, 1 + n % 250);
	n++;
	return new_conn(client, host);
}

static void complete(struct conn *c)
{
	c->next++;
	passes(from_server(c, TCP_SYN | TCP_ACK, c->sent++, c->next, NULL, 0));
	passes(from_client(c, TCP_ACK, c->next, c->sent, NULL, 0));
}

/* Milliseconds of real time go by; the programs' clock is the machine's. */
static void wait_ms(int ms)
{
	uint64_t until = now_ns() + ms * 1000000ULL;

	while (now_ns() < until)
		usleep(500);
}

static void over_the_bound_a_named_tenants_syn_is_dropped_without_an_answer(void **state)
{
	for (int xdp = 0; xdp < 2; xdp++) {
		struct weir_tenant *t = bounded(flooder, 3), before;
		const struct weir_rec_deny *d;
		struct conn c[4];

		stream_recount();
		lab.n_records = 0;
		for (int i = 0; i < 4; i++)
			c[i] = from_net(flooder);
		for (int i = 0; i < 3; i++)
			assert_int_equal(send_syn(&c[i], xdp).code, xdp ? X_PASS : OUT_PASS);
		assert_int_equal(t->half_open, 3);
		before = *t;
		assert_int_equal(send_syn(&c[3], xdp).code, xdp ? X_DROP : OUT_DROP);
		uses_up_nothing(&before, t);
		is_counted(WEIR_DENY_HALF_OPEN, 1);
		is_counted(WEIR_FLOW_NEW, 3);
		assert_int_equal(denied(t, WEIR_DENY_HALF_OPEN, false), 1);
		d = record(WEIR_REC_DENY, 0);
		assert_non_null(d);
		assert_int_equal(d->reason, WEIR_DENY_HALF_OPEN);
		assert_int_equal(d->limit, 3);
		assert_int_equal(d->value, 3);
		assert_int_equal(d->level, t - lab.tenants);
		/* One that was let in is sent again, or seen by the other hook: no new one. */
		assert_int_equal(send_syn(&c[0], false).code, OUT_PASS);
		/* A handshake that is complete makes room. */
		complete(&c[0]);
		assert_int_equal(t->half_open, 2);
		assert_int_equal(send_syn(&c[3], xdp).code, xdp ? X_PASS : OUT_PASS);
		assert_int_equal(t->half_open, 3);
		assert_int_equal(t->connections, 4);
		for (int i = 0; i < 4; i++)
			hang_up(&c[i]);
		assert_int_equal(t->half_open, 0);
		assert_int_equal(t->connections, 0);
	}
}

/* Only who got the SYN-ACK completes it. */
static void an_ack_from_anybody_completes_nothing(void **state)
{
	struct weir_tenant *t = bounded(flooder, 10);
	struct conn c = from_net(flooder);

	passes(send_syn(&c, false));
	c.next++;
	passes(from_server(&c, TCP_SYN | TCP_ACK, c.sent++, c.next, NULL, 0));
	passes(from_client(&c, TCP_ACK, c.next, c.sent + 12345, NULL, 0));
	assert_int_equal(t->half_open, 1);
	passes(from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0));
	assert_int_equal(t->half_open, 0);
	passes(from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0));
	assert_int_equal(t->half_open, 0);
	hang_up(&c);
	assert_int_equal(t->half_open, 0);
}

/* The first request, which completes it, may move the connection at once. */
static void a_connection_that_moves_leaves_the_gauge_of_its_source(void **state)
{
	struct weir_tenant *t = bounded(flooder, 10), *key = tenant_with("sk-half");
	struct conn c = from_net(flooder);

	passes(send_syn(&c, false));
	c.next++;
	passes(from_server(&c, TCP_SYN | TCP_ACK, c.sent++, c.next, NULL, 0));
	passes(send_text(&c, chat("sk-half")));
	assert_int_equal(t->half_open, 0);
	assert_int_equal(t->connections, 0);
	assert_int_equal(key->half_open, 0);
	assert_int_equal(key->connections, 1);
	hang_up(&c);
	assert_int_equal(key->half_open, 0);
}

static void in_shadow_it_passes_unfollowed_and_is_noted(void **state)
{
	struct weir_tenant *t = bounded(flooder, 1);
	struct conn c = from_net(flooder), d = from_net(flooder);

	for (int off = 0; off < 2; off++) {
		stream_recount();
		lab.config->enforce = !off;
		t->flags = WEIR_TENANT_LIVE | (off ? 0 : WEIR_TENANT_SHADOW);
		passes(send_syn(&c, false));
		passes(send_syn(&d, false));
		is_counted(WEIR_PASS_HALF_OPEN, 1);
		is_counted(WEIR_DENY_HALF_OPEN, 0);
		assert_int_equal(denied(t, WEIR_DENY_HALF_OPEN, true), off + 1);
		assert_int_equal(denied(t, WEIR_DENY_HALF_OPEN, false), 0);
		assert_int_equal(t->refused, 0);
		assert_int_equal(t->half_open, 1);
		hang_up(&c);
	}
}

/* Nobody is told apart from anybody: bounded alike, but let through, and taken in as what it
 * is when it asks for something. */
static void nobodys_pass_unfollowed_and_are_taken_in_later(void **state)
{
	struct weir_tenant *t = tenant_with("sk-late");
	struct conn c = new_conn(nobody, host), d = new_conn(nobody, host);

	nobody_listens(); /* else its socket would be asked whether it has it */
	lab.tenants[0].max_half_open = 1;
	passes(send_syn(&c, false));
	/* Counted once, where the packet is last seen. */
	assert_int_equal(send_syn(&d, true).code, X_PASS);
	passes(send_syn(&d, false));
	is_counted(WEIR_PASS_HALF_OPEN, 1);
	is_counted(WEIR_FLOW_NEW, 1);
	assert_int_equal(lab.tenants[0].half_open, 1);
	assert_int_equal(lab.tenants[0].refused, 0);
	d.next++;
	passes(from_server(&d, TCP_SYN | TCP_ACK, d.sent++, d.next, NULL, 0));
	passes(from_client(&d, TCP_ACK, d.next, d.sent, NULL, 0));
	is_counted(WEIR_FLOW_ADOPTED, 0);
	passes(send_text(&d, chat("sk-late")));
	is_counted(WEIR_FLOW_ADOPTED, 1);
	assert_int_equal(t->connections, 1);
	assert_int_equal(t->inflight, 1);
	assert_int_equal(lab.tenants[0].connections, 1);
	assert_int_equal(lab.tenants[0].half_open, 1);
}

/* -- time */

static void each_syn_gives_up_the_oldest_without_an_agent(void **state)
{
	struct weir_tenant *t = bounded(flooder, 6), *other = bounded(other_net, 0);
	struct conn c[6], d[3];

	for (int i = 0; i < 6; i++) {
		c[i] = from_net(flooder);
		passes(send_syn(&c[i], false));
	}
	complete(&c[5]);
	wait_ms(4);
	/* One out for one in, whoever comes. */
	for (int i = 0; i < 2; i++) {
		d[i] = from_net(other_net);
		lab.config->half_open_ns = 1000000;
		passes(send_syn(&d[i], false));
		lab.config->half_open_ns = 3600 * SECOND;
		complete(&d[i]);
		is_counted(WEIR_HALF_OPEN_EXPIRED, i + 1);
		assert_int_equal(t->half_open, 4 - i);
	}
	/* Faster for who has some of its own: they go faster than they come. */
	d[2] = from_net(flooder);
	lab.config->half_open_ns = 1000000;
	passes(send_syn(&d[2], false));
	lab.config->half_open_ns = 3600 * SECOND;
	is_counted(WEIR_HALF_OPEN_EXPIRED, 5);
	assert_int_equal(t->half_open, 1);
	/* The one that was completed stays. */
	assert_int_equal(t->connections, 2);
	assert_int_equal(other->connections, 2);
	hang_up(&c[5]);
	for (int i = 0; i < 3; i++)
		hang_up(&d[i]);
	assert_int_equal(t->half_open, 0);
	assert_int_equal(t->connections, 0);
}

/* Who may have two connections is not shut out by two that were never completed. */
static void a_limit_of_connections_is_not_held_by_what_is_stale(void **state)
{
	struct weir_tenant *t = bounded(flooder, 0);
	struct conn c[3];

	t->flags |= WEIR_TENANT_LIMIT_CONNS;
	t->max_connections = 2;
	for (int i = 0; i < 3; i++)
		c[i] = from_net(flooder);
	passes(send_syn(&c[0], false));
	passes(send_syn(&c[1], false));
	assert_int_equal(send_syn(&c[2], false).code, OUT_REDIRECT);
	lab.config->half_open_ns = 1000000;
	wait_ms(4);
	passes(send_syn(&c[2], false));
	assert_true(t->connections >= 1 && t->connections <= 2);
	assert_int_equal(t->half_open, t->connections);
}

static void before_its_time_nothing_is_given_up(void **state)
{
	struct weir_tenant *t = bounded(flooder, 0);
	uint8_t frame[64] = {};
	struct conn c[8];

	for (int i = 0; i < 8; i++) {
		c[i] = from_net(flooder);
		passes(send_syn(&c[i], false));
	}
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(t->half_open, 8);
	is_counted(WEIR_HALF_OPEN_EXPIRED, 0);
}

/* What the queue remembers is one handshake, not whatever has its ports later. */
static void a_later_connection_of_the_same_ports_is_not_given_up_for_it(void **state)
{
	struct weir_tenant *t = bounded(flooder, 0);
	struct conn c = from_net(flooder), d;
	struct weir_flow_view f;

	passes(send_syn(&c, false));
	hang_up(&c);
	wait_ms(3);
	passes(send_syn(&c, false));
	assert_true(flow_of(&c, &f));
	/* The first one's time is over, the second one's is not. */
	lab.config->half_open_ns = now_ns() - f.opened_ns + 3600 * SECOND;
	for (int i = 0; i < 2; i++) {
		d = from_net(flooder);
		passes(send_syn(&d, false));
	}
	assert_int_equal(t->half_open, 3);
	lab.config->half_open_ns = 1000000;
	wait_ms(4);
	for (int i = 0; i < 2; i++) {
		d = from_net(flooder);
		send_syn(&d, false);
	}
	assert_int_equal(t->half_open, 2);
}

/* With the queue full the sweep gives them up all the same. */
static void a_full_queue_loses_nothing(void **state)
{
	struct weir_tenant *t = bounded(flooder, 0);
	int fd = bpf_map__fd(lab.skel->maps.half_open);
	char entry[64] = {};
	uint8_t frame[64] = {};
	struct conn c[20];
	size_t n = 0;

	assert_true(bpf_map__value_size(lab.skel->maps.half_open) <= sizeof(entry));
	/* Young ones of connections that are gone. */
	*(uint32_t *)(entry + sizeof(struct weir_flow_key)) = now_ns() / 1000000 + 100000;
	while (!bpf_map_update_elem(fd, NULL, entry, BPF_ANY))
		assert_true(++n <= QUEUE);
	for (int i = 0; i < 20; i++) {
		c[i] = from_net(flooder);
		passes(send_syn(&c[i], false));
	}
	assert_int_equal(t->half_open, 20);
	complete(&c[0]);
	assert_int_equal(t->half_open, 19);
	lab.config->half_open_ns = 1000000;
	wait_ms(3);
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(t->half_open, 0);
	assert_int_equal(t->connections, 1);
	is_counted(WEIR_HALF_OPEN_EXPIRED, 19);
	hang_up(&c[0]);
}

/* -- a flood */

/* Of random ports and addresses of one tenant's prefix, while another works: the other notices
 * nothing, and the maps do not fill. */
static void a_flood_in_one_tenants_name_costs_that_tenant_alone(void **state)
{
	struct weir_tenant *t = bounded(flooder, 64), *other = bounded(other_net, 64);
	struct weir_tenant *worker = tenant_with("sk-work");
	struct conn busy = from_net(other_net), mine = from_net(flooder);
	uint64_t untracked = counter(WEIR_PASS_UNTRACKED);
	int flood = 4 * FLOWS;

	passes(send_syn(&busy, false));
	complete(&busy);
	passes(send_syn(&mine, false));
	complete(&mine);
	for (int i = 0; i < flood; i++) {
		struct conn c = from_net(flooder);
		struct verdict v;

		c.client_port = 1024 + i * 31 % 60000;
		v = send_syn(&c, i % 2);
		assert_true(t->half_open <= 64);
		if (i < 64)
			assert_int_equal(v.code, i % 2 ? X_PASS : OUT_PASS);
		else
			assert_int_equal(v.code, i % 2 ? X_DROP : OUT_DROP);
		if (i % 256)
			continue;
		/* Others go on, old connections and new ones, and the flooded one's own that
		 * are open. */
		passes(send_text(&busy, chat("sk-work")));
		answer_ok(&busy);
		passes(send_text(&mine, chat("sk-work")));
		answer_ok(&mine);
		c = from_net(other_net);
		passes(send_syn(&c, false));
		complete(&c);
		hang_up(&c);
	}
	is_counted(WEIR_DENY_HALF_OPEN, flood - 64);
	assert_int_equal(counter(WEIR_PASS_UNTRACKED), untracked);
	assert_int_equal(t->half_open, 64);
	assert_int_equal(other->half_open, 0);
	assert_int_equal(other->refused, 0);
	assert_int_equal(worker->refused, 0);
	assert_int_equal(worker->admitted, 2 * flood / 256);
	hang_up(&busy);
	hang_up(&mine);
	assert_int_equal(worker->connections, 0);
}

/* The queue is empty. */
static int half_open_reset(void **state)
{
	char entry[64];

	while (!bpf_map_lookup_and_delete_elem(bpf_map__fd(lab.skel->maps.half_open), NULL, entry))
		;
	return stream_reset(state);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, half_open_reset, stream_over)
	const struct CMUnitTest tests[] = {
		CLAIM(over_the_bound_a_named_tenants_syn_is_dropped_without_an_answer),
		CLAIM(an_ack_from_anybody_completes_nothing),
		CLAIM(a_connection_that_moves_leaves_the_gauge_of_its_source),
		CLAIM(in_shadow_it_passes_unfollowed_and_is_noted),
		CLAIM(nobodys_pass_unfollowed_and_are_taken_in_later),
		CLAIM(each_syn_gives_up_the_oldest_without_an_agent),
		CLAIM(a_limit_of_connections_is_not_held_by_what_is_stale),
		CLAIM(before_its_time_nothing_is_given_up),
		CLAIM(a_later_connection_of_the_same_ports_is_not_given_up_for_it),
		CLAIM(a_full_queue_loses_nothing),
		CLAIM(a_flood_in_one_tenants_name_costs_that_tenant_alone),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
