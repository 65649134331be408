/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs against the model: connections made up by a seeded generator, several
 * at a time, their requests and answers cut at any byte, sent twice, out of order,
 * with bytes changed, refused, closed. Each packet must come out alike.
 *
 *   WEIR_DIFF_PACKETS   how many (a short run by default)
 *   WEIR_DIFF_SEED      of the generator
 *   WEIR_DIFF_FEATURES  bits of enum model_feature, F_ALL by default
 */
#include "tests/bpf/diff_drive.h"
#include "tests/bpf/diff_grammar.h"

enum { SHORT_RUN = 60000, SEGMENT_MAX = 2800 };

static const char *const clients[] = { "198.51.100.10", "198.51.100.70", "2001:db8:1::5",
				       "203.0.113.9",	"192.0.2.77",	 "2001:db8:2::7" };

/* -- tenants */

/* As the agent compiles them. */
static void add_free_path(const struct m_path *p)
{
	struct weir_free_path *f = &lab.config->free_paths[lab.config->n_free_paths++];

	model.free_paths[model.n_free_paths++] = *p;
	f->len = strlen(p->text);
	f->flags = (p->prefix ? WEIR_FREE_PREFIX : 0) | (p->any_method ? WEIR_FREE_ANY_METHOD : 0);
	memcpy(f->word, p->text, f->len);
	memset(f->mask, 0xff, f->len);
}

static void set_up(void)
{
	static const struct m_path paths[] = {
		{ "/health", true, false },    { "/metrics", true, false },
		{ "/v1/models", true, false }, { "/version", true, false },
		{ "/ping", true, false },      { "/exact", false, true },
	};
	static const struct {
		const char *prefix;
		uint32_t len, tenant;
	} sources[] = { { "198.51.100.0", 24, 1 },
			{ "198.51.100.64", 26, 2 },
			{ "2001:db8:1::", 48, 3 },
			{ "203.0.113.9", 32, 4 } };
	uint64_t packets = SHORT_RUN;
	char name[WEIR_TENANT_NAME_BYTES];
	bool v6;

	lab_reset(NULL);
	lab.config->linger_ns = 100000 * SECOND;
	lab.config->half_open_ns = 100000 * SECOND;
	lab.config->ring_data_max = lab.config->ring_request_max = RING_BYTES;
	for (model.n_tenants = 1; model.n_tenants < 10; model.n_tenants++) {
		uint32_t i = model.n_tenants;
		struct m_key *k = &model.keys[model.n_keys++];

		snprintf(model.tenants[i].name, sizeof(model.tenants[i].name), "tenant-%u", i);
		memset(name, 0, sizeof(name));
		snprintf(name, sizeof(name), "tenant-%u", i);
		assert_int_equal(
			bpf_map_update_elem(bpf_map__fd(lab.skel->maps.names), name, &i, BPF_ANY),
			0);
		snprintf(k->text, sizeof(k->text), "sk-%0*u", 1 + (int)(i * i * 3), i);
		k->tenant = i;
		add_key(k->text, i, 0);
	}
	for (int i = 0; i < 2; i++) { /* expired; longer than any */
		struct m_key *k = &model.keys[model.n_keys++];

		snprintf(k->text, sizeof(k->text), "sk-%0*u", i ? 245 : 20, 7);
		k->expired = true;
		add_key(k->text, 7, i ? 0 : wall_ns() - SECOND);
	}
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		struct m_source *s = &model.sources[model.n_sources++];

		address(sources[i].prefix, s->addr, &v6);
		s->len = sources[i].len + (v6 ? 0 : 96);
		s->tenant = sources[i].tenant;
		add_source(sources[i].prefix, sources[i].len, sources[i].tenant);
	}
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		add_free_path(&paths[i]);
	lab.config->free_options = 1;
	lab.config->head_timeout_ns = lab.config->idle_timeout_ns = 100000 * SECOND;
	/* 203.0.113.9, as v4-mapped */
	lab.config->trusted[0] =
		(struct weir_trusted){ .lo = 0xffffcb007109, .mask_hi = ~0ULL, .mask_lo = ~0ULL };
	lab.config->n_trusted = 1;
	address("203.0.113.9", model.trusted, &v6);
	diff_counts(diff.counts);
	diff.seed = getenv("WEIR_DIFF_SEED") ? strtoull(getenv("WEIR_DIFF_SEED"), NULL, 0) : 1;
	if (getenv("WEIR_DIFF_PACKETS"))
		packets = strtoull(getenv("WEIR_DIFF_PACKETS"), NULL, 0);
	diff.limit = packets;
	model.features = F_ALL;
	if (getenv("WEIR_DIFF_FEATURES"))
		model.features = strtoul(getenv("WEIR_DIFF_FEATURES"), NULL, 0);
	rng_state = diff.seed * 0x9e3779b97f4a7c15ULL + 1;
	diff.peers = calloc(PEERS, sizeof(*diff.peers));
	assert_non_null(diff.peers);
}

/* New limits for all, while nothing is open. */
static void roll_tenant(uint32_t i)
{
	struct m_tenant *m = &model.tenants[i];
	struct weir_tenant *t = &lab.tenants[i], *w = &m->t;
	int64_t reserve;

	assert_int_equal(w->connections, 0);
	assert_int_equal(w->inflight, 0);
	w->flags = WEIR_TENANT_LIVE;
	for (uint32_t bit = WEIR_TENANT_LIMIT_CONNS; bit <= WEIR_TENANT_LIMIT_TOKENS; bit <<= 1)
		w->flags |= chance(30) ? bit : 0;
	w->flags |= chance(30) ? WEIR_TENANT_CREDIT : 0;
	w->flags |= chance(3) ? WEIR_TENANT_SUSPENDED : 0;
	w->flags |= chance(10) ? WEIR_TENANT_SHADOW : 0;
	w->flags |= chance(30) ? WEIR_TENANT_DROP : 0;
	if (has(F_PROTOCOL))
		w->flags |= chance(30) ? WEIR_TENANT_PASS_PROTOCOLS : 0;
	w->wallet = chance(80) ? i : 1 + rnd(model.n_tenants - 1);
	w->max_connections = 1 + rnd(6);
	w->max_inflight = rnd(5);
	w->request_burst = 1 + rnd(20);
	m->connect_burst = 1 + rnd(12);
	w->requests_per_minute = 1 + rnd(1000);
	w->connects_per_second = 1 + rnd(1000);
	w->tokens_per_minute = 1 + rnd(100000);
	w->tokens_burst = 1 + rnd(100000);
	w->request_interval_ns = w->connect_interval_ns = MODEL_INTERVAL_NS;
	w->request_tau_ns = w->request_burst * MODEL_INTERVAL_NS;
	w->connect_tau_ns = m->connect_burst * MODEL_INTERVAL_NS;
	w->tokens_tau_ns = MODEL_INTERVAL_NS;
	m->tokens_out = chance(10);
	w->settled[0].tokens_tat_ns = m->tokens_out ? now_ns() + 2 * MODEL_INTERVAL_NS : 0;
	w->reserve_nano_per_input_token = rnd(1000);
	w->reserve_nano_per_output_token = rnd(1000);
	w->reserve_nano_per_request = rnd(1000000);
	w->reserve_input_tokens = rnd(2000);
	w->reserve_output_tokens = rnd(2000);
	reserve = (int64_t)w->reserve_output_tokens * w->reserve_nano_per_output_token +
		  w->reserve_nano_per_request;
	w->ceiling_nano = w->reserved_nano + rnd(20) * reserve + rnd(2000) - 1000;
	w->balance_nano = (int64_t)rnd(1000000000) * 7 - 1000000000;
	m->requests_taken = m->connects_taken = 0;
	w->request_tat_ns = w->connect_tat_ns = now_ns();
	*t = *w;
}

static void roll_node(void)
{
	model.enforce = chance(95);
	model.refuse_unknown = chance(70);
	model.default_tenant = chance(50) ? 5 : 0;
	lab.config->enforce = model.enforce;
	lab.config->unknown_key =
		model.refuse_unknown ? WEIR_UNKNOWN_KEY_REFUSE : WEIR_UNKNOWN_KEY_DEFAULT;
	lab.config->default_tenant = model.default_tenant;
	lab.config->heartbeat_ns = now_ns();
	for (uint32_t i = 1; i < model.n_tenants; i++)
		roll_tenant(i);
}

/* -- the client's and the server's packets */

static uint32_t client_seq(const struct peer *p, size_t at)
{
	return p->m.first_seq + at;
}

static struct expect server_sends(struct peer *p, uint8_t flags, const void *bytes, size_t len)
{
	return diff_packet(p, false, flags, p->m.c.sent, client_seq(p, p->received + p->fin), bytes,
			   len);
}

static void server_acks(struct peer *p)
{
	server_sends(p, TCP_ACK, NULL, 0);
}

static void deliver(struct peer *p, size_t at, size_t len)
{
	memset(p->got + at, 1, len);
	while (p->received < p->made && p->got[p->received])
		p->received++;
}

/* The client sends len bytes at `at` of its stream; changed: not as they are, with a
 * checksum that the server's TCP will find wrong. */
static struct expect client_sends(struct peer *p, size_t at, size_t len, bool changed)
{
	uint8_t bytes[FRAME_MAX];
	uint32_t ack = p->m.c.sent;
	struct expect e;

	memcpy(bytes, p->out + at, len);
	if (changed)
		for (uint32_t i = 1 + rnd(3); i; i--)
			bytes[rnd(len)] ^= chance(50) ? 0x20 : 1 + rnd(255);
	if (chance(5) && p->last_len)
		ack = p->last_seq;
	e = diff_packet(p, true, TCP_PSH | TCP_ACK, client_seq(p, at), ack, bytes, len);
	if (e.code == OUT_PASS && !changed)
		deliver(p, at, len);
	if (at + len > p->sent)
		p->sent = at + len;
	if (!changed) {
		p->cuts[p->n_cuts % CUTS].at = at;
		p->cuts[p->n_cuts++ % CUTS].len = len;
	}
	if (!has(F_ACK_ORDER) && e.code == OUT_PASS)
		server_acks(p);
	return e;
}

/* -- the life of a connection */

static void sweep(void)
{
	static uint8_t frame[64];
	struct expect e = {};

	lab.config->half_open_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	lab.config->half_open_ns = 100000 * SECOND;
	for (int i = 0; i < PEERS; i++)
		if (diff.peers[i].live && diff.peers[i].m.state == M_SYN) {
			m_count(&e, WEIR_HALF_OPEN_EXPIRED);
			m_gone(&diff.peers[i].m, &e);
			diff.peers[i].live = false;
		}
	diff_check_counts(&e);
	diff_check_tenants();
}

/* A connection without a socket ends as one whose port is used again and whose
 * handshake then is never completed. */
static void forget(struct peer *p)
{
	p->live = false;
	if (p->m.state == M_GONE)
		return;
	if (p->m.state == M_REFUSED) {
		diff_packet(p, true, TCP_RST, client_seq(p, p->sent), p->m.c.sent, NULL, 0);
		return;
	}
	if (p->m.state == M_CLOSED) {
		diff_packet(p, true, TCP_SYN, client_seq(p, p->sent + 999999), 0, NULL, 0);
		if (p->m.state == M_GONE)
			return;
	}
	p->m.c.sent += 1000000;
	diff_packet(p, false, TCP_SYN | TCP_ACK, p->m.c.sent, client_seq(p, p->sent + 1000000),
		    NULL, 0);
	p->live = true;
	sweep();
}

static void open_peer(struct peer *p)
{
	struct m_conn *m = &p->m;
	bool v6;

	memset(p, 0, sizeof(*p));
	m->c = new_conn(PICK(clients), "192.0.2.1");
	if (strchr(m->c.client, ':'))
		snprintf(m->c.server, sizeof(m->c.server), "2001:db8::1");
	if (lab.next_port > 60000)
		lab.next_port = 20000;
	m->c.has_ts = chance(70);
	m->service = 1 + rnd(3);
	m->dialect = m->service - 1;
	m->c.server_port = PORT + m->dialect;
	m->c.next = chance(50) ? 0xffffff00 + rnd(256) : rnd(0xffffffff);
	m->c.sent = chance(50) ? 0x7fffff00 + rnd(256) : rnd(0xffffffff);
	address(m->c.client, m->client, &v6);
	p->live = true;
	diff_packet(p, true, TCP_SYN, m->c.next, 0, NULL, 0);
	if (m->state == M_GONE) {
		p->live = false;
		return;
	}
	if (chance(3))
		diff_packet(p, true, TCP_SYN, m->c.next, 0, NULL, 0);
	diff_packet(p, false, TCP_SYN | TCP_ACK, m->c.sent, m->c.next + 1, NULL, 0);
	m->c.sent++;
	if (chance(80))
		diff_packet(p, true, TCP_ACK, m->c.next + 1, m->c.sent, NULL, 0);
}

static void ask(struct peer *p)
{
	struct text t = { p->out, p->made, STREAM - 1 };

	p->message = p->made;
	put_request(&t, &p->head_len);
	p->made = t.len;
	p->requests++;
}

static size_t cut(const struct peer *p)
{
	size_t left = p->made - p->sent, most = left < SEGMENT_MAX ? left : SEGMENT_MAX;
	size_t len = chance(70) ? most : 1 + rnd(chance(50) ? most : most < 40 ? most : 40);
	size_t head = p->message + p->head_len;

	if (!has(F_PARTS) && p->sent <= p->message && p->sent + len < head)
		len = head - p->sent;
	return len;
}

/* What else may happen to a segment on its way. */
static void client_mischief(struct peer *p)
{
	size_t at, len, missing = p->received;

	switch (rnd(5)) {
	case 0: /* again, as it was cut */
		if (p->n_cuts) {
			uint32_t i = rnd(p->n_cuts < 8 ? p->n_cuts : 8);

			i = (p->n_cuts - 1 - i) % CUTS;
			client_sends(p, p->cuts[i].at, p->cuts[i].len, false);
		}
		break;
	case 1: /* again, cut elsewhere */
		if (p->sent) {
			at = p->sent - 1 - rnd(p->sent < 3000 ? p->sent : 3000);
			if (chance(30))
				at = missing < p->sent ? missing : at;
			len = 1 + rnd(p->sent - at < SEGMENT_MAX ? p->sent - at : SEGMENT_MAX);
			client_sends(p, at, len, false);
		}
		break;
	case 2: /* a later one first */
		if (p->made - p->sent > 2) {
			at = p->sent + 1 + rnd(p->made - p->sent - 1);
			len = 1 + rnd(p->made - at < SEGMENT_MAX ? p->made - at : SEGMENT_MAX);
			client_sends(p, at, len, false);
		}
		break;
	case 3: /* a changed copy first */
		if (p->made > p->sent)
			client_sends(p, p->sent, cut(p), true);
		break;
	case 4: /* a changed copy afterwards */
		if (p->n_cuts && chance(30)) {
			uint32_t i = (p->n_cuts - 1) % CUTS;

			client_sends(p, p->cuts[i].at, p->cuts[i].len, true);
		}
		break;
	}
}

static void client_turn(struct peer *p)
{
	bool waiting = p->m.slot_state != WEIR_SLOT_IDLE || p->answered < p->answer_len;

	if (has(F_REPEAT) && chance(8)) {
		client_mischief(p);
		return;
	}
	if (chance(3)) {
		diff_packet(p, true, TCP_ACK, client_seq(p, p->sent), p->m.c.sent, NULL, 0);
		return;
	}
	if (p->received < p->sent) {
		/* What is missing again. */
		size_t len = p->sent - p->received;

		for (uint32_t i = 0; i < p->n_cuts && i < CUTS; i++)
			if (p->cuts[i].at == p->received && chance(80))
				len = p->cuts[i].len;
		if (len > SEGMENT_MAX)
			len = SEGMENT_MAX;
		client_sends(p, p->received, len, false);
		return;
	}
	if (p->sent < p->made) {
		client_sends(p, p->sent, cut(p), false);
		return;
	}
	if (p->requests > 8 || p->made > STREAM - 28000) {
		forget(p);
		return;
	}
	if (waiting && !chance(p->answer_closes ? 20 : 1))
		return;
	if (!has(F_ACK_ORDER) && waiting && !p->answer_closes && !chance(10))
		return;
	ask(p);
}

static void server_turn(struct peer *p)
{
	struct m_conn *m = &p->m;
	struct text t = { p->answer, 0, sizeof(p->answer) };
	size_t len, left;

	if (chance(40))
		server_acks(p);
	if (p->last_len && chance(4)) {
		diff_packet(p, false, TCP_ACK | TCP_PSH, p->last_seq, client_seq(p, p->received),
			    p->answer + p->last_at, p->last_len);
		return;
	}
	if (m->slot_state == WEIR_SLOT_IDLE) {
		if (chance(1)) {
			bool closes;

			put_answer(&t, false, &len, &closes);
			p->answer_len = t.len < SEGMENT_MAX ? t.len : SEGMENT_MAX;
			p->answered = p->answer_len;
			p->last_len = 0;
			server_sends(p, TCP_ACK | TCP_PSH, p->answer, p->answer_len);
			m->c.sent += p->answer_len;
		}
		return;
	}
	if (p->answer_to != m->ordinal) {
		if (p->received < p->made && !chance(10))
			return;
		p->answer_to = m->ordinal;
		if (has(F_PROTOCOL) && chance(2)) {
			put(&t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nfree words");
			p->answer_head = t.len - 10;
			p->answer_closes = true;
		} else {
			put_answer(&t, m->slot_flags & WEIR_SLOT_HEAD_METHOD, &p->answer_head,
				   &p->answer_closes);
		}
		if (has(F_UNJUDGED) && chance(1) && !p->answer_closes) {
			bool closes;

			put_answer(&t, false, &len, &closes);
		}
		p->answer_len = t.len;
		p->answered = p->last_len = 0;
	}
	left = p->answer_len - p->answered;
	if (!left) {
		if (p->answer_closes && chance(50)) {
			server_sends(p, TCP_ACK | TCP_FIN, NULL, 0);
			forget(p);
		} else if (!p->answer_closes && chance(10)) {
			forget(p); /* a hole had its end */
		}
		return;
	}
	len = left < SEGMENT_MAX ? left : SEGMENT_MAX;
	if (chance(40))
		len = 1 + rnd(len);
	if (!has(F_ANSWER_CUT) && p->answered < p->answer_head &&
	    p->answered + len < p->answer_head)
		len = p->answer_head - p->answered;
	if (p->answered && chance(1)) {
		m->c.sent += len;
		p->answered += len;
		return;
	}
	p->last_at = p->answered;
	p->last_len = len;
	p->last_seq = m->c.sent;
	server_sends(p, TCP_ACK | TCP_PSH, p->answer + p->answered, len);
	m->c.sent += len;
	p->answered += len;
}

/* A refused one: it asks again, reads some of it, goes. */
static void refused_turn(struct peer *p)
{
	struct m_conn *m = &p->m;
	uint32_t end = m->reply_seq + m->reply_len + 1, ack = m->c.sent;
	uint32_t i = p->n_cuts ? (p->n_cuts - 1) % CUTS : 0;

	if (chance(30))
		ack = chance(50) ? end : m->reply_seq + rnd(m->reply_len + 1);
	switch (rnd(6)) {
	case 0:
		if (p->n_cuts)
			diff_packet(p, true, TCP_ACK | TCP_PSH, client_seq(p, p->cuts[i].at), ack,
				    p->out + p->cuts[i].at, p->cuts[i].len);
		break;
	case 1:
		diff_packet(p, true, TCP_ACK, m->reply_acked, ack, NULL, 0);
		break;
	case 2:
		diff_packet(p, true, TCP_ACK | TCP_PSH, m->reply_acked, ack, "more of it", 10);
		break;
	case 3:
		diff_packet(p, true, TCP_ACK | TCP_FIN, m->reply_acked - m->reply_fin, ack, NULL,
			    0);
		break;
	case 4:
		diff_packet(p, false, chance(20) ? TCP_RST : TCP_ACK, m->c.sent,
			    client_seq(p, p->received), "late", chance(50) ? 4 : 0);
		break;
	case 5:
		diff_packet(p, true, TCP_RST, m->reply_acked, ack, NULL, 0);
		break;
	}
	p->live = m->state != M_GONE;
}

static void turn(struct peer *p)
{
	if (!p->live) {
		open_peer(p);
		return;
	}
	if (p->m.state == M_REFUSED)
		refused_turn(p);
	else if (chance(p->m.state == M_CLOSED ? 40 : 1))
		forget(p);
	else if (chance(50))
		client_turn(p);
	else
		server_turn(p);
}

/* -- runs */

/* Which of the two a head behind its 16 KiB is refused for is open (model.said_malformed), and in
 * shadow no counter tells. */
static uint32_t same_denial(uint32_t reason)
{
	return reason == WEIR_DENY_HEAD_TOO_LARGE ? WEIR_DENY_MALFORMED : reason;
}

static void check_denials(void)
{
	for (uint32_t i = 0; i < model.n_tenants; i++) {
		uint64_t counted[WEIR_REASON_MAX] = {}, expected[WEIR_REASON_MAX] = {};

		for (uint32_t r = 0; r < WEIR_REASON_MAX; r++) {
			struct weir_denial_key key = { .tenant = i, .reason = r };
			struct weir_denial d = {};

			bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.denials), &key, &d);
			counted[same_denial(r)] += d.count;
			expected[same_denial(r)] += model.denials[i][r];
		}
		for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
			if (counted[r] != expected[r])
				diff_fail("tenant %u: %s refused %llu times, expected %llu", i,
					  weir_reason_name(r), (unsigned long long)counted[r],
					  (unsigned long long)expected[r]);
	}
}

static void report(uint64_t began_ns)
{
	printf("# seed %llu: %llu packets, %llu/s; reached", (unsigned long long)diff.seed,
	       (unsigned long long)diff.nr,
	       (unsigned long long)(diff.nr * SECOND / (now_ns() - began_ns)));
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		if (diff.seen[r])
			printf(" %s %llu", weir_reason_name(r), (unsigned long long)diff.seen[r]);
	printf("\n");
	fflush(stdout);
}

static void programs_and_model_agree_on_every_packet(void **state)
{
	uint64_t began = now_ns(), told = began;

	set_up();
	while (diff.nr < diff.limit) {
		roll_node();
		for (uint32_t i = 400 + rnd(400); i && diff.nr < diff.limit; i--)
			turn(&diff.peers[rnd(PEERS)]);
		for (int i = 0; i < PEERS; i++)
			if (diff.peers[i].live)
				forget(&diff.peers[i]);
		check_denials();
		if (now_ns() - told > 10 * SECOND) {
			told = now_ns();
			report(began);
		}
	}
	report(began);
	free(diff.peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_and_model_agree_on_every_packet),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
