/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts one packet before the model and before the programs, and holds the one
 * against the other: verdict, frame sent back, reset for the server, counters,
 * ring records, the tenants' gauges, the slot. On a difference: what differs, the
 * connection's last packets, and how to get there again.
 */
#ifndef TEST_DIFF_DRIVE_H
#define TEST_DIFF_DRIVE_H

#include "tests/bpf/diff_grammar.h"
#include "tests/bpf/model_answer.h"
#include "tests/bpf/model_reply.h"
#include "tests/bpf/model_stream.h"

enum { HISTORY = 24, STREAM = 1 << 16, ANSWER = 48 << 10, CUTS = 256, PEERS = 6 };

struct past {
	uint64_t nr;
	bool from_client;
	int code;
	struct m_packet p;
	uint8_t bytes[FRAME_MAX];
};

/* The two ends of a connection, as they see themselves. */
struct peer {
	bool live;
	struct m_conn m;
	struct past past[HISTORY];
	uint64_t n_past;
	/* the client */
	uint8_t out[STREAM];
	size_t made, sent;
	size_t message; /* where the last request begins */
	size_t head_len;
	struct {
		size_t at, len;
	} cuts[CUTS];
	uint32_t n_cuts;
	uint32_t requests;
	bool fin;
	/* the server */
	bool got[STREAM];
	size_t received;
	uint8_t answer[ANSWER];
	size_t answer_len, answered, answer_head, last_at, last_len;
	uint32_t last_seq;
	uint32_t answer_to; /* ordinal */
	bool answer_closes, server_fin;
};

static struct diff {
	uint64_t seed, nr, limit;
	uint64_t counts[WEIR_REASON_MAX];
	uint64_t seen[WEIR_REASON_MAX]; /* what this run reached */
	struct peer *peers;
	struct peer *at; /* whose packet it is */
	uint64_t ring_pos;
} diff;

static UNUSED void diff_counts(uint64_t out[WEIR_REASON_MAX])
{
	static uint64_t each[WEIR_REASON_MAX][256];
	static uint32_t keys[WEIR_REASON_MAX];
	uint64_t *flat = &each[0][0];
	uint32_t n = WEIR_REASON_MAX, batch;

	if (bpf_map_lookup_batch(bpf_map__fd(lab.skel->maps.counters), NULL, &batch, keys, flat, &n,
				 NULL) &&
	    errno != ENOENT)
		die("counters");
	for (uint32_t i = 0; i < n; i++) {
		out[keys[i]] = 0;
		for (int cpu = 0; cpu < lab.cpus; cpu++)
			out[keys[i]] += flat[i * lab.cpus + cpu];
	}
}

static UNUSED void diff_hex(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 32) {
		fprintf(stderr, "        %05zx ", i);
		for (size_t j = i; j < i + 32; j++)
			j < n ? fprintf(stderr, "%02x", p[j]) : fprintf(stderr, "  ");
		fprintf(stderr, "  ");
		for (size_t j = i; j < i + 32 && j < n; j++)
			fputc(p[j] >= 0x20 && p[j] < 0x7f ? p[j] : '.', stderr);
		fputc('\n', stderr);
	}
}

static UNUSED void diff_fail(const char *what, ...)
{
	struct peer *p = diff.at;
	va_list args;

	fprintf(stderr,
		"\nmodel and programs differ at packet %llu: ", (unsigned long long)diff.nr);
	va_start(args, what);
	vfprintf(stderr, what, args);
	va_end(args);
	if (p) {
		fprintf(stderr,
			"\nconnection %s:%u, state %d, head at %lld + %lld, acked %lld, slot %u, "
			"answer %d; its last packets:\n",
			p->m.c.client, p->m.c.client_port, p->m.state, (long long)p->m.next,
			(long long)p->m.part_len, (long long)p->m.acked, p->m.slot_state,
			p->m.answer);
		for (uint64_t i = p->n_past > HISTORY ? p->n_past - HISTORY : 0; i < p->n_past;
		     i++) {
			const struct past *h = &p->past[i % HISTORY];

			fprintf(stderr, "  %llu %s flags %02x seq %+d ack %+d len %zu -> %d\n",
				(unsigned long long)h->nr, h->from_client ? "client" : "server",
				h->p.flags,
				(int)(h->p.seq - (h->from_client ? p->m.first_seq : p->m.c.sent)),
				(int)(h->p.ack - (h->from_client ? p->m.c.sent : p->m.first_seq)),
				h->p.len, h->code);
			/* The last ones whole. */
			diff_hex(h->bytes, i + 3 < p->n_past && h->p.len > 96 ? 96 : h->p.len);
		}
	}
	fprintf(stderr,
		"again: WEIR_DIFF_SEED=%llu WEIR_DIFF_PACKETS=%llu WEIR_DIFF_FEATURES=0x%x "
		"build/tests/bpf/test_differential\n",
		(unsigned long long)diff.seed, (unsigned long long)diff.nr, model.features);
	fail_msg("model and programs differ");
}

/* -- one by one */

static UNUSED void diff_check_frame(const struct m_conn *c, const struct m_packet *p,
				    bool from_client, const uint8_t *sent, size_t n,
				    struct verdict *v, const struct expect *e)
{
	bool to_client = from_client || e->closes; /* what is sent back */
	const char *wrong;
	struct segment s;

	if (v->code != e->code)
		diff_fail("verdict %d, expected %d", v->code, e->code);
	if (e->frame == OUT_NONE)
		return;
	if (e->frame == OUT_SAME) {
		if (v->frame_len != n || memcmp(v->frame, sent, n))
			diff_fail("the packet was changed");
		return;
	}
	wrong = read_frame(v->frame, v->frame_len, &s);
	if (wrong)
		diff_fail("frame sent back: %s", wrong);
	if (s.sport != (to_client ? c->c.server_port : c->c.client_port) ||
	    s.dport != (to_client ? c->c.client_port : c->c.server_port) ||
	    memcmp(to_client ? s.dst : s.src, c->client, 16))
		diff_fail("frame sent back to another");
	if (e->frame == OUT_RST) {
		if (s.flags != (TCP_RST | TCP_ACK) || s.len)
			diff_fail("no RST but flags %02x, %zu bytes", s.flags, s.len);
		return;
	}
	if (s.has_ts != c->c.has_ts)
		diff_fail("timestamp option");
	if (s.seq != e->seq || s.ack != e->ack)
		diff_fail("seq off by %d, ack off by %d", (int)(s.seq - e->seq),
			  (int)(s.ack - e->ack));
	if (e->frame == OUT_ACK) {
		if (s.flags != TCP_ACK || s.len)
			diff_fail("no ACK but flags %02x, %zu bytes", s.flags, s.len);
		return;
	}
	if (s.flags != (TCP_FIN | TCP_PSH | TCP_ACK))
		diff_fail("reply's flags %02x", s.flags);
	wrong = m_check_words(s.payload, s.len, &e->refusal, e->dialect);
	if (wrong)
		diff_fail("reply: %s\n%.*s\n", wrong, (int)s.len, s.payload);
}

static UNUSED void diff_check_wire(const struct m_conn *c, const struct m_packet *p,
				   const struct expect *e)
{
	struct segment s;
	bool any;

	if (e->code != OUT_REDIRECT && !e->wire)
		return;
	any = on_the_wire(&s);
	if (any != e->wire)
		diff_fail(any ? "a packet on the wire" : "no RST on the wire");
	if (!any)
		return;
	if (s.flags != (TCP_RST | TCP_ACK) || s.dport != c->c.server_port ||
	    memcmp(s.src, c->client, 16))
		diff_fail("on the wire: flags %02x to port %u", s.flags, s.dport);
	if ((int32_t)(s.seq - e->wire_seq) > 0 || (int32_t)(s.seq - e->wire_from) < 0)
		diff_fail("RST for the server at %d, expected %d to %d",
			  (int)(s.seq - c->first_seq), (int)(e->wire_from - c->first_seq),
			  (int)(e->wire_seq - c->first_seq));
	if (on_the_wire(&s))
		diff_fail("two packets on the wire");
}

static UNUSED void diff_check_counts(const struct expect *e)
{
	uint64_t now[WEIR_REASON_MAX];
	char text[1024] = "";
	size_t n = 0;

	diff_counts(now);
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++) {
		int64_t grown = now[r] - diff.counts[r];

		if (grown != e->counts[r])
			n += snprintf(text + n, sizeof(text) - n, " %s %+lld, expected %+lld;",
				      weir_reason_name(r), (long long)grown,
				      (long long)e->counts[r]);
		diff.seen[r] += grown;
		diff.counts[r] = now[r];
	}
	if (n)
		diff_fail("counters:%s", text);
}

/* Cut at a blank or a query, as the agent reads them. */
static UNUSED bool diff_same_word(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char x = strchr(" ?", a[i]) ? 0 : a[i], y = strchr(" ?", b[i]) ? 0 : b[i];

		if (x != y)
			return false;
		if (!x)
			return true;
	}
	return true;
}

static UNUSED const char *diff_check_record(struct m_conn *c, const struct m_record *want,
					    const struct weir_record *h, size_t len)
{
	const struct weir_rec_request *q = (const void *)h;
	const struct weir_rec_data *d = (const void *)h;
	const struct weir_rec_end *n = (const void *)h;
	const struct weir_rec_deny *y = (const void *)h;
	const struct weir_rec_line *l = (const void *)h;

	if (h->type != want->type)
		return "type";
	if (h->type == WEIR_REC_DENY)
		return y->tenant != want->tenant || y->reason != want->reason ||
				       y->level != want->level || y->shadow != want->shadow ||
				       memcmp(y->client, c->client, 16)
			       ? "DENY"
			       : NULL;
	if (h->service != c->service || h->ordinal != want->ordinal)
		return "service or ordinal";
	if (!c->slot_known) {
		c->slot = h->slot;
		c->slot_known = true;
	}
	if (h->slot != c->slot)
		return "slot";
	switch (h->type) {
	case WEIR_REC_REQUEST:
		c->started_wall_ns = q->started_wall_ns;
		if (q->tenant != want->tenant || q->wallet != want->wallet)
			return "REQUEST's tenant";
		if (q->reserved_nano != want->reserved)
			return "REQUEST's reservation";
		if (q->flags != want->flags)
			return "REQUEST's flags";
		if (memcmp(q->client, c->client, 16))
			return "REQUEST's client";
		if (want->flags & WEIR_SLOT_UNJUDGED)
			return NULL;
		if (!diff_same_word(q->method, want->method, WEIR_METHOD_BYTES) ||
		    !diff_same_word(q->path, want->path, WEIR_PATH_BYTES))
			return "REQUEST's method or path";
		return q->body_bytes != want->body_bytes ? "REQUEST's body" : NULL;
	case WEIR_REC_LINE:
		for (size_t i = sizeof(*l) + want->len; i < len; i++)
			if (((const uint8_t *)h)[i])
				return "LINE's rest";
		return l->started_wall_ns != c->started_wall_ns		  ? "LINE's start"
		       : l->flags != want->flags || l->name != want->name ? "LINE's flags or name"
		       : l->h.len != want->len				  ? "LINE's length"
		       : memcmp(l + 1, want->data, want->len)		  ? "LINE"
									  : NULL;
	case WEIR_REC_ASKED:
	case WEIR_REC_DATA:
		return d->started_wall_ns != c->started_wall_ns ? "DATA's start"
		       : d->offset != want->offset		? "DATA's offset"
		       : d->h.len != want->len			? "DATA's length"
		       : memcmp(d + 1, want->data, want->len)	? "DATA's bytes"
								: NULL;
	case WEIR_REC_END:
		if (n->started_wall_ns != c->started_wall_ns)
			return "END's start";
		if (n->tenant != want->tenant || n->wallet != want->wallet ||
		    n->reserved_nano != want->reserved || n->flags != want->flags)
			return "END's tenant, reservation or flags";
		if (n->reserved_tokens != want->tokens ||
		    memcmp(n->others, want->others, sizeof(n->others)))
			return "END's levels or tokens";
		if (want->flags & WEIR_SLOT_UNJUDGED)
			return NULL;
		return h->flags != want->cause		  ? "END's cause"
		       : n->response_bytes != want->bytes ? "END's bytes"
		       : n->lost_bytes != want->lost	  ? "END's lost bytes"
							  : NULL;
	}
	return "type";
}

/* A request is over: settled at each level, as the agent does (limits.md), with a price and
 * tokens that the generator makes up. Their debt is never worked off: a token takes longer than
 * a round. */
static UNUSED void diff_settle(const struct weir_rec_end *n)
{
	uint64_t used = n->reserved_tokens ? rnd(2 * n->reserved_tokens) : 0, now = now_ns();
	int64_t back = n->reserved_nano - (n->reserved_nano ? rnd(n->reserved_nano) : 0);

	lab.tenants[n->wallet].ceiling_nano += back;
	model.tenants[n->wallet].t.ceiling_nano += back;
	diff.ring_pos += 8;
	for (int i = 0; i < WEIR_LEVELS; i++) {
		uint32_t index = i ? n->others[i - 1] : n->tenant;
		struct weir_tenant *t = &lab.tenants[index];
		struct m_tenant *m = &model.tenants[index];
		int copy = t->settled[0].ring_pos >= t->settled[1].ring_pos;
		uint64_t tat = t->settled[!copy].tokens_tat_ns;

		if (i && !index)
			continue;
		m->released += n->reserved_tokens;
		m->debt += used;
		if (used)
			tat = (tat > now ? tat : now) + used * MODEL_TOKEN_NS;
		t->settled[copy].tokens_tat_ns = tat;
		t->released_tokens[copy] = m->released;
		t->settled[copy].ring_pos = diff.ring_pos;
	}
}

static UNUSED void diff_check_records(struct m_conn *c, const struct expect *e)
{
	size_t at = 0;

	for (int i = 0; i < e->n_recs; i++) {
		const struct m_record *want = &e->recs[i];
		const struct weir_record *h = (const void *)lab.records[at].bytes;
		const char *wrong = at < lab.n_records
					    ? diff_check_record(c, want, h, lab.records[at].len)
					    : "missing";

		if (!wrong)
			at++;
		else if (!want->optional)
			diff_fail("record %d of %d (type %u): %s", i + 1, e->n_recs, want->type,
				  wrong);
	}
	for (size_t i = 0; i < at; i++) {
		const struct weir_record *h = (const void *)lab.records[i].bytes;

		if (h->type == WEIR_REC_END)
			diff_settle((const void *)h);
	}
	if (at < lab.n_records)
		diff_fail("a record more than expected: type %u",
			  ((const struct weir_record *)lab.records[at].bytes)->type);
}

static UNUSED void diff_check_bucket(uint32_t i, const char *which, uint64_t tat, uint32_t taken)
{
	uint64_t now = now_ns();
	uint64_t stands = tat > now ? (tat - now + MODEL_INTERVAL_NS - 1) / MODEL_INTERVAL_NS : 0;

	if (stands != taken)
		diff_fail("tenant %u: %llu %s taken, expected %u", i, (unsigned long long)stands,
			  which, taken);
}

static UNUSED void diff_check_tenants(void)
{
	for (uint32_t i = 0; i < model.n_tenants; i++) {
		const struct m_tenant *m = &model.tenants[i];
		const struct weir_tenant *w = &m->t, *t = &lab.tenants[i];

#define SAME(field)                                                                                \
	do {                                                                                       \
		if (t->field != w->field)                                                          \
			diff_fail("tenant %u: " #field " %lld, expected %lld", i,                  \
				  (long long)t->field, (long long)w->field);                       \
	} while (0)
		SAME(connections);
		SAME(inflight);
		SAME(admitted);
		SAME(refused);
		SAME(half_open);
		SAME(reserved_tokens);
		SAME(reserved_nano);
		SAME(lost_nano);
		SAME(flags);
#undef SAME
		if (t->flags & WEIR_TENANT_LIMIT_REQUESTS)
			diff_check_bucket(i, "requests", t->request_tat_ns, m->requests_taken);
		if (t->flags & WEIR_TENANT_LIMIT_CONN_RATE)
			diff_check_bucket(i, "connects", t->connect_tat_ns, m->connects_taken);
	}
}

/* -- the packet */

static UNUSED void diff_remember(struct peer *p, bool from_client, const struct m_packet *k)
{
	struct past *h = &p->past[p->n_past++ % HISTORY];

	h->nr = diff.nr;
	h->from_client = from_client;
	h->p = *k;
	h->code = 99;
	memcpy(h->bytes, k->bytes, k->len);
}

/* What the programs did that leaves the model a choice. */
static UNUSED void diff_hints(void)
{
	uint64_t now[WEIR_REASON_MAX];

	model.passed_part = model.said_malformed = false;
	if (model.features & F_PARTS) {
		diff_counts(now);
		model.said_malformed = now[WEIR_DENY_MALFORMED] != diff.counts[WEIR_DENY_MALFORMED];
		model.passed_part = now[WEIR_PASS_HEAD_PART] != diff.counts[WEIR_PASS_HEAD_PART];
	}
}

static UNUSED struct expect diff_packet(struct peer *p, bool from_client, uint8_t flags,
					uint32_t seq, uint32_t ack, const void *bytes, size_t len)
{
	struct m_packet k = { .flags = flags, .seq = seq, .ack = ack, .bytes = bytes, .len = len };
	uint8_t frame[FRAME_MAX];
	struct expect e = {};
	struct verdict v;
	size_t n;

	diff.nr++;
	diff.at = p;
	if (!bytes)
		k.bytes = (const uint8_t *)"";
	diff_remember(p, from_client, &k);
	n = conn_frame(&p->m.c, from_client, flags, seq, ack, bytes, len, frame);
	lab.n_records = 0;
	v = run(from_client ? lab.skel->progs.weir_ingress : lab.skel->progs.weir_egress, frame, n);
	p->past[(p->n_past - 1) % HISTORY].code = v.code;
	take_records();
	diff_hints();
	if (from_client && (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		m_syn(&p->m, &e);
	else if (from_client)
		m_client(&p->m, &k, &e);
	else
		m_server(&p->m, &k, &e);
	if (e.frame == OUT_REFUSAL && v.code == OUT_REDIRECT && e.wire) {
		struct segment s;

		if (!read_frame(v.frame, v.frame_len, &s))
			p->m.reply_len = s.len;
	}
	diff_check_counts(&e);
	diff_check_frame(&p->m, &k, from_client, frame, n, &v, &e);
	diff_check_wire(&p->m, &k, &e);
	diff_check_records(&p->m, &e);
	diff_check_tenants();
	if (p->m.slot_known && p->m.state != M_GONE &&
	    lab.slots[p->m.slot].state != p->m.slot_state)
		diff_fail("slot state %u, expected %u", lab.slots[p->m.slot].state,
			  p->m.slot_state);
	return e;
}

#endif
