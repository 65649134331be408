/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who there is in a differential run: tenants, keys, sources, free paths, told to the
 * programs' maps and to the model alike; and new limits for all, every few hundred packets.
 */
#ifndef TEST_DIFF_TENANTS_H
#define TEST_DIFF_TENANTS_H

#include "tests/bpf/diff_drive.h"
#include "tests/bpf/diff_grammar.h"

enum { SHORT_RUN = 60000 };

/* As the agent compiles them. */
static UNUSED void add_free_path(const struct m_path *p)
{
	struct weir_free_path *f = &lab.config->free_paths[lab.config->n_free_paths++];

	model.free_paths[model.n_free_paths++] = *p;
	f->len = strlen(p->text);
	f->flags = (p->prefix ? WEIR_FREE_PREFIX : 0) | (p->any_method ? WEIR_FREE_ANY_METHOD : 0);
	memcpy(f->word, p->text, f->len);
	memset(f->mask, 0xff, f->len);
}

static UNUSED void set_up(void)
{
	static const char *const lines[] = { "x-weir-session", "x-weir-feature",
					     "x-stainless-retry-count" };
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
	static const struct weir_scope scopes[] = {
		{ 1, 1 }, { 1, 2 }, { 2, 1 }, { 5, 3 }, { 6, 1 }
	};
	uint64_t packets = SHORT_RUN;
	char name[WEIR_TENANT_NAME_BYTES];
	bool v6;

	lab_reset(NULL);
	lab.config->linger_ns = 100000 * SECOND;
	lab.config->half_open_ns = 100000 * SECOND;
	lab.config->ring_data_max = lab.config->ring_request_max = RING_BYTES;
	model.n_named = 10;
	for (uint32_t i = 1; i < model.n_named; i++) {
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
	model.n_tenants = model.n_named;
	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
		uint32_t entry = model.n_tenants++;

		model.tenants[scopes[i].tenant].scope[scopes[i].service] = entry;
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(lab.skel->maps.scopes), &scopes[i],
						     &entry, BPF_ANY),
				 0);
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
	for (uint32_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		model.lines[i] = lines[i];
		tell_lines_of(lines[i], i == M_NOT_ZERO ? WEIR_LINE_NOT_ZERO : 0);
	}
	lab.config->asked_bytes = model.asked_bytes = 900;
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
static UNUSED void roll_tenant(uint32_t i)
{
	struct m_tenant *m = &model.tenants[i];
	struct weir_tenant *t = &lab.tenants[i], *w = &m->t;
	int64_t reserve;

	assert_int_equal(w->connections, 0);
	assert_int_equal(w->inflight, 0);
	assert_int_equal(w->reserved_tokens, m->released);
	w->flags = WEIR_TENANT_LIVE;
	for (uint32_t bit = WEIR_TENANT_LIMIT_CONNS; bit <= WEIR_TENANT_LIMIT_TOKENS; bit <<= 1)
		w->flags |= chance(20) ? bit : 0;
	w->flags |= chance(30) ? WEIR_TENANT_CREDIT : 0;
	w->flags |= chance(3) ? WEIR_TENANT_SUSPENDED : 0;
	w->flags |= chance(10) ? WEIR_TENANT_SHADOW : 0;
	w->flags |= chance(30) ? WEIR_TENANT_DROP : 0;
	if (has(F_PROTOCOL))
		w->flags |= chance(30) ? WEIR_TENANT_PASS_PROTOCOLS : 0;
	w->flags |= chance(70) ? WEIR_TENANT_SCOPED : 0;
	w->flags |= chance(20) ? WEIR_TENANT_ASKED_WHOLE : 0;
	/* At most three in a row: 1 to 5 below 6 and 7, those below 8 and 9. */
	w->parent = 0;
	if (i < 8 && chance(60))
		w->parent = (i < 6 ? 6 : 8) + rnd(2);
	w->wallet = chance(80) ? i : 1 + rnd(model.n_named - 1);
	w->max_half_open = chance(20) ? 1 + rnd(2) : 0;
	w->max_connections = 1 + rnd(6);
	w->max_inflight = rnd(5);
	w->request_burst = 1 + rnd(20);
	w->connect_burst = 1 + rnd(12);
	w->requests_per_minute = 1 + rnd(1000);
	w->tokens_per_minute = 1 + rnd(100000);
	w->request_interval_ns = w->connect_interval_ns = MODEL_INTERVAL_NS;
	m->burst = 1 + rnd(chance(50) ? 20000 : 2000);
	w->tokens_interval_ns = MODEL_TOKEN_NS;
	/* Half a token short of the burst, so that the time that passes in a round never makes
	 * the difference. */
	w->tokens_tau_ns = m->burst * MODEL_TOKEN_NS - MODEL_TOKEN_NS / 2;
	memset(w->settled, 0, sizeof(w->settled));
	m->debt = chance(10) ? m->burst : 0;
	w->settled[0].tokens_tat_ns = m->debt ? now_ns() + m->debt * MODEL_TOKEN_NS : 0;
	w->released_tokens[0] = w->released_tokens[1] = m->released;
	w->reserve_nano_per_input_token = rnd(1000);
	w->reserve_nano_per_output_token = rnd(1000);
	w->reserve_nano_per_request = rnd(1000000);
	w->reserve_input_tokens = rnd(2000);
	w->reserve_output_tokens = rnd(2000);
	reserve = (int64_t)w->reserve_output_tokens * w->reserve_nano_per_output_token +
		  w->reserve_nano_per_request;
	w->ceiling_nano = w->reserved_nano + rnd(20) * reserve + rnd(2000) - 1000;
	w->balance_nano = (int64_t)rnd(1000000000) * 7 - 1000000000;
	m->expired = chance(20) ? (int64_t)rnd(5) * reserve + rnd(1000) : 0;
	w->expiry_nano = m->expired ? m->expired : rnd(1000000000);
	w->expiry_wall_ns = 0;
	if (m->expired || chance(30)) /* else none */
		w->expiry_wall_ns = lab.config->wall_offset_ns + now_ns() +
				    (m->expired ? -SECOND : 86400 * SECOND);
	m->requests_taken = m->connects_taken = 0;
	w->request_tat_ns = w->connect_tat_ns = now_ns();
	*t = *w;
}

static UNUSED void roll_node(void)
{
	model.enforce = chance(95);
	model.refuse_unknown = chance(70);
	model.default_tenant = chance(50) ? 5 : 0;
	lab.config->enforce = model.enforce;
	lab.config->unknown_key =
		model.refuse_unknown ? WEIR_UNKNOWN_KEY_REFUSE : WEIR_UNKNOWN_KEY_DEFAULT;
	lab.config->default_tenant = model.default_tenant;
	lab.config->heartbeat_ns = now_ns();
	lab.tenants[0].max_half_open = model.tenants[0].t.max_half_open = chance(20) ? 1 : 0;
	for (uint32_t i = 1; i < model.n_tenants; i++)
		roll_tenant(i);
}

#endif
