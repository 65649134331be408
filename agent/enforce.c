// SPDX-License-Identifier: Apache-2.0
/*
 * From policy to maps. The agent is the only writer of what is stored here, with
 * plain stores: a packet may meet a limit of the old and one of the new policy
 * for an instant, never half a number.
 */
#include "enforce.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "enforce_maps.h"
#include "enforce_rules.h"
#include "money.h"
#include "price.h"

#define RESERVE_PRICE_MAX (INT64_C(1) << 38) /* see bpf/admit.h: token x price in 63 bits */

struct weir_enforce {
	struct weir_kernel *kernel;
	pthread_rwlock_t lock;
	struct weir_policy *policy;
	struct weir_rules_table *rules;
	struct weir_terms *terms; /* by tenant number, max_tenants of them */
	uint32_t count;		  /* highest number given out */
	bool settled;		  /* weir_enforce_ceilings was called */
};

int weir_enforce_new(struct weir_kernel *k, struct weir_enforce **out, struct weir_error *err)
{
	struct weir_enforce *e = calloc(1, sizeof(*e));

	if (!e)
		return weir_fail(err, ENOMEM, "out of memory");
	e->kernel = k;
	e->terms = calloc(k->max_tenants, sizeof(*e->terms));
	if (!e->terms || weir_rules_new(k, weir_mono_ns(), &e->rules, err)) {
		free(e->terms);
		free(e);
		return weir_fail(err, ENOMEM, "out of memory");
	}
	pthread_rwlock_init(&e->lock, NULL);
	*out = e;
	return 0;
}

void weir_enforce_free(struct weir_enforce *e)
{
	if (!e)
		return;
	weir_policy_unref(e->policy);
	pthread_rwlock_destroy(&e->lock);
	weir_rules_free(e->rules);
	free(e->terms);
	free(e);
}

/* -- limits */

static uint64_t interval_ns(const struct weir_rate *r)
{
	return r->count ? (r->period_ns + r->count - 1) / r->count : 0;
}

static uint64_t scaled(uint64_t n, const struct weir_rate *r)
{
	return (unsigned __int128)n * r->period_ns / r->count;
}

static uint64_t per(const struct weir_rate *r, uint64_t period_ns)
{
	return r->period_ns ? (unsigned __int128)r->count * period_ns / r->period_ns : 0;
}

static int64_t reserve_price(int64_t nano)
{
	return nano > RESERVE_PRICE_MAX ? RESERVE_PRICE_MAX : nano;
}

static void store_limits(struct weir_tenant *t, uint32_t index, const struct weir_limits *l,
			 const struct weir_card *card)
{
	struct weir_reserve_price price = {};
	uint32_t flags = WEIR_TENANT_LIVE;

	if (card && l->credit != WEIR_CREDIT_NONE)
		weir_card_reserve_price(card, &price);
	if (l->shadow)
		flags |= WEIR_TENANT_SHADOW;
	if (l->drop)
		flags |= WEIR_TENANT_DROP;
	if (l->credit != WEIR_CREDIT_NONE)
		flags |= WEIR_TENANT_CREDIT;
	if (l->connections >= 0)
		flags |= WEIR_TENANT_LIMIT_CONNS;
	if (l->concurrency >= 0)
		flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	if (l->connect_rate.count)
		flags |= WEIR_TENANT_LIMIT_CONN_RATE;
	if (l->requests.count)
		flags |= WEIR_TENANT_LIMIT_REQUESTS;
	if (l->tokens.count)
		flags |= WEIR_TENANT_LIMIT_TOKENS;
	if (l->pass_protocols)
		flags |= WEIR_TENANT_PASS_PROTOCOLS;
	if (l->on_agent_down == WEIR_DOWN_OPEN)
		flags |= WEIR_TENANT_DOWN_OPEN;
	if (l->on_agent_down == WEIR_DOWN_CLOSED)
		flags |= WEIR_TENANT_DOWN_CLOSED;

	t->wallet = index;
	t->parent = WEIR_NO_TENANT;
	t->max_half_open = l->half_open;
	t->max_connections = l->connections < 0 ? 0 : l->connections;
	t->max_inflight = l->concurrency < 0 ? 0 : l->concurrency;
	t->connect_interval_ns = interval_ns(&l->connect_rate);
	t->connect_burst = l->connect_rate.burst;
	t->request_interval_ns = interval_ns(&l->requests);
	t->tokens_interval_ns = l->tokens.count ? l->tokens.period_ns / l->tokens.count : 0;
	t->tokens_tau_ns = l->tokens.count ? scaled(l->tokens.burst, &l->tokens) : 0;
	t->reserve_nano_per_input_token = reserve_price(price.input_nano);
	t->reserve_nano_per_output_token = reserve_price(price.output_nano);
	t->reserve_nano_per_request = reserve_price(price.request_nano);
	t->reserve_input_tokens = l->reserve_input_tokens;
	t->reserve_output_tokens = l->reserve_output_tokens;
	t->requests_per_minute = per(&l->requests, 60 * WEIR_SECOND);
	t->request_burst = l->requests.burst > UINT32_MAX ? UINT32_MAX : l->requests.burst;
	t->tokens_per_minute = per(&l->tokens, 60 * WEIR_SECOND);
	t->tokens_burst = l->tokens.burst;
	t->connects_per_second = per(&l->connect_rate, WEIR_SECOND);
	/* The flags switch the limits on: last. */
	__atomic_store_n(&t->flags, flags, __ATOMIC_RELEASE);
}

/* -- a policy */

/* Numbers for all tenants of p into numbers[]; everything that can be refused is
 * refused here. */
static int number_tenants(struct weir_enforce *e, const struct weir_policy *p,
			  struct weir_ledger *l, uint32_t *numbers, struct weir_error *err)
{
	uint8_t lens[129] = {};
	size_t n_lens = 0;

	for (size_t i = 0; i < p->n_tenants; i++) {
		const struct weir_tenant_policy *t = &p->tenants[i];
		int r = weir_ledger_tenant(l, t->name, &numbers[i], err);

		if (r)
			return r;
		if (numbers[i] >= e->kernel->max_tenants)
			return weir_fail(
				err, ENOSPC,
				"tenant \"%s\": its number %u is past \"max_tenants\" %u in "
				"agent.json; raise that, then run weir-agent --detach and start "
				"again",
				t->name, numbers[i], e->kernel->max_tenants);
		for (size_t j = 0; j < t->n_sources; j++)
			if (!lens[t->sources[j].len]++ && ++n_lens > WEIR_MAX_PREFIX_LENS)
				return weir_fail(
					err, ENOSPC,
					"tenant \"%s\": more than %d different prefix lengths "
					"among all \"sources\"",
					t->name, WEIR_MAX_PREFIX_LENS);
	}
	for (size_t i = 0; i < p->n_cards; i++) {
		int r = weir_ledger_card(l, p->cards[i], &p->cards[i]->id, err);

		if (r)
			return r;
	}
	return 0;
}

static void fill_terms(struct weir_terms *terms, const struct weir_tenant_policy *t)
{
	memcpy(terms->name, t->name, strnlen(t->name, sizeof(terms->name) - 1) + 1);
	terms->live = true;
	terms->credit = t->limits.credit;
	terms->overage_nano = t->limits.credit == WEIR_CREDIT_SOFT ? t->limits.overage_nano : 0;
	terms->tokens = t->limits.tokens;
	terms->cached_weight_ppm = t->limits.cached_weight_ppm;
}

/* The ceiling of a tenant from nothing but ledger and map. */
static void set_ceiling(struct weir_enforce *e, uint32_t i, struct weir_ledger *l)
{
	struct weir_tenant *t = &e->kernel->tenants[i];

	/* Read first: what is lost in between is given back by weir_enforce_lost. */
	e->terms[i].lost_nano = __atomic_load_n(&t->lost_nano, __ATOMIC_ACQUIRE);
	weir_ceiling_set(t, weir_ledger_balance(l, i), e->terms[i].overage_nano,
			 e->terms[i].lost_nano);
}

int weir_enforce_apply(struct weir_enforce *e, struct weir_policy *p, struct weir_ledger *l,
		       struct weir_error *err)
{
	weir_autofree uint32_t *numbers = calloc(p->n_tenants + 1, sizeof(*numbers));
	weir_autofree uint32_t *entries = calloc(p->n_tenants + 1, sizeof(*entries));
	struct weir_kernel *k = e->kernel;
	const struct weir_card *card = weir_card_at(p->cards, p->n_cards, weir_wall_ns());
	uint64_t now_ns = weir_mono_ns();
	int r;

	if (!numbers || !entries)
		return weir_fail(err, ENOMEM, "out of memory");
	r = number_tenants(e, p, l, numbers, err);
	if (!r)
		r = weir_check_maps(k, p, l, err);
	if (!r) /* last: it writes, though only what nobody points to */
		r = weir_rules_place(e->rules, p, now_ns, entries, err);
	if (r)
		return r;

	pthread_rwlock_wrlock(&e->lock);
	/* Limits first, then the ways to them: a key never leads to an empty entry. */
	for (size_t i = 0; i < p->n_tenants; i++) {
		struct weir_terms *terms = &e->terms[numbers[i]];
		int64_t overage = terms->live ? terms->overage_nano : 0;
		struct weir_tenant *t = &k->tenants[numbers[i]];
		bool was_live = terms->live;

		fill_terms(terms, &p->tenants[i]);
		/* At start the ledger does not have yet what the last run left in queue and
		 * ring: the kernel's own figures hold until weir_enforce_ceilings. */
		if (!was_live && e->settled)
			set_ceiling(e, numbers[i], l);
		else if (was_live)
			weir_ceiling_add(t, terms->overage_nano - overage, 0);
		weir_rules_point(e->rules, t, entries[i], now_ns);
		store_limits(t, numbers[i], &p->tenants[i].limits, card);
		if (numbers[i] > e->count)
			e->count = numbers[i];
	}
	r = weir_sync_maps(e->kernel, p, numbers, l, err);
	if (!r) {
		uint32_t fallback = WEIR_NO_TENANT;

		for (size_t i = 0; i < p->n_tenants; i++)
			if (p->default_tenant && !strcmp(p->tenants[i].name, p->default_tenant))
				fallback = numbers[i];
		k->config->default_tenant = fallback;
		k->config->unknown_key =
			p->unknown_key_default ? WEIR_UNKNOWN_KEY_DEFAULT : WEIR_UNKNOWN_KEY_REFUSE;
		/* Who left the policy keeps name and number, but no limit and no way in. */
		for (uint32_t i = 1; i <= e->count; i++) {
			const struct weir_terms *terms = &e->terms[i];

			if (!terms->live || weir_policy_tenant(p, terms->name))
				continue;
			e->terms[i].live = false;
			__atomic_store_n(&k->tenants[i].flags, 0, __ATOMIC_RELEASE);
			weir_rules_point(e->rules, &k->tenants[i], 0, now_ns);
		}
		weir_policy_unref(e->policy);
		e->policy = weir_policy_ref(p);
	}
	pthread_rwlock_unlock(&e->lock);
	return r;
}

void weir_enforce_ceilings(struct weir_enforce *e, struct weir_ledger *l)
{
	e->settled = true;
	for (uint32_t i = 1; i <= e->count; i++)
		if (e->terms[i].live)
			set_ceiling(e, i, l);
}

void weir_enforce_lost(struct weir_enforce *e)
{
	for (uint32_t i = 1; i <= e->count; i++) {
		struct weir_tenant *t = &e->kernel->tenants[i];
		uint64_t lost = __atomic_load_n(&t->lost_nano, __ATOMIC_ACQUIRE);
		int64_t delta = (int64_t)(lost - e->terms[i].lost_nano);
		char text[WEIR_MONEY_TEXT];

		if (!delta)
			continue;
		e->terms[i].lost_nano = lost;
		weir_ceiling_add(t, delta, 0);
		weir_money_format(delta, text);
		weir_log(WEIR_ERR,
			 "tenant %s: the ring was full: requests that had reserved %s were served "
			 "and "
			 "cannot be billed; raise \"ring_bytes\"",
			 e->terms[i].name, text);
	}
}

void weir_enforce_passage(struct weir_enforce *e, struct weir_ledger *l, uint64_t then_wall_ns,
			  uint64_t now_wall_ns)
{
	for (uint32_t i = 1; i <= e->count; i++) {
		/* Both on the ledger as it is: the difference is time's alone. */
		int64_t delta = weir_ledger_balance_at(l, i, now_wall_ns) -
				weir_ledger_balance_at(l, i, then_wall_ns);

		if (delta && e->terms[i].live)
			weir_ceiling_add(&e->kernel->tenants[i], delta, delta);
	}
}

int weir_enforce_key(struct weir_enforce *e, const struct weir_stored_key *key,
		     struct weir_error *err)
{
	struct weir_key_value v = { .tenant = key->tenant, .expires_wall_ns = key->expires_ns };
	struct weir_key k;

	memcpy(k.sha256, key->sha256, sizeof(k.sha256));
	if (key->revoked_ns) {
		if (bpf_map_delete_elem(e->kernel->keys_fd, &k) && errno != ENOENT)
			return weir_fail(err, errno, "key map: cannot delete the key: %s",
					 strerror(errno));
		return 0;
	}
	if (bpf_map_update_elem(e->kernel->keys_fd, &k, &v, BPF_ANY))
		return weir_fail(err, errno, "key map: no room for the key: %s", strerror(errno));
	return 0;
}

struct weir_policy *weir_enforce_policy(struct weir_enforce *e)
{
	struct weir_policy *p;

	pthread_rwlock_rdlock(&e->lock);
	p = weir_policy_ref(e->policy);
	pthread_rwlock_unlock(&e->lock);
	return p;
}

int weir_enforce_name(struct weir_enforce *e, uint32_t tenant, char out[static WEIR_NAME_BYTES])
{
	int r = -ENOENT;

	pthread_rwlock_rdlock(&e->lock);
	if (tenant < e->kernel->max_tenants && e->terms[tenant].name[0]) {
		memcpy(out, e->terms[tenant].name, WEIR_NAME_BYTES);
		r = 0;
	}
	pthread_rwlock_unlock(&e->lock);
	return r;
}

int weir_enforce_index(struct weir_enforce *e, const char *name, uint32_t *out)
{
	int r = -ENOENT;

	pthread_rwlock_rdlock(&e->lock);
	for (uint32_t i = 1; i <= e->count && r; i++)
		if (!strcmp(e->terms[i].name, name)) {
			*out = i;
			r = 0;
		}
	pthread_rwlock_unlock(&e->lock);
	return r;
}

uint32_t weir_enforce_count(struct weir_enforce *e)
{
	return e->count;
}

void weir_enforce_read_lock(struct weir_enforce *e)
{
	pthread_rwlock_rdlock(&e->lock);
}

void weir_enforce_read_unlock(struct weir_enforce *e)
{
	pthread_rwlock_unlock(&e->lock);
}

const struct weir_terms *weir_enforce_terms(const struct weir_enforce *e, uint32_t tenant)
{
	return tenant < e->kernel->max_tenants ? &e->terms[tenant] : NULL;
}

const struct weir_policy *weir_enforce_policy_locked(const struct weir_enforce *e)
{
	return e->policy;
}
