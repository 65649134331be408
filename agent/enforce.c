// SPDX-License-Identifier: Apache-2.0
/*
 * From policy to maps. The agent is the only writer of what is stored here, with
 * plain stores: a packet may meet a limit of the old and one of the new policy
 * for an instant, never half a number.
 */
#include "enforce_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "enforce_limits.h"
#include "enforce_maps.h"
#include "enforce_prices.h"
#include "enforce_rules.h"

/* As good as no bound, and a balance may be added to it. */
#define OVERAGE_MAX (INT64_MAX / 2)

/* Who waits for the lock waits for so many entries at most: the consumer's heartbeat is
 * among them, and says whether an agent is there. */
#define ENTRIES_A_BREATH 1024

/* Handshakes of nobody's: they pass unfollowed when there are more. */
static void limit_nobody(struct weir_kernel *k)
{
	uint32_t n = k->max_flows / 4;

	k->tenants[WEIR_NO_TENANT].max_half_open = n < UINT16_MAX ? n : UINT16_MAX;
}

int weir_enforce_new(struct weir_kernel *k, const struct weir_agent_config *cfg,
		     struct weir_enforce **out, struct weir_error *err)
{
	struct weir_enforce *e = calloc(1, sizeof(*e));

	if (!e)
		return weir_fail(err, ENOMEM, "out of memory");
	e->kernel = k;
	e->cfg = cfg;
	e->terms = calloc(k->max_tenants, sizeof(*e->terms));
	if (!e->terms || weir_rules_new(k, weir_mono_ns(), &e->rules, err)) {
		free(e->terms);
		free(e);
		return weir_fail(err, ENOMEM, "out of memory");
	}
	pthread_rwlock_init(&e->lock, NULL);
	limit_nobody(k);
	*out = e;
	return 0;
}

void weir_enforce_free(struct weir_enforce *e)
{
	if (!e)
		return;
	weir_policy_unref(e->policy);
	weir_cards_free(e->cards, e->n_cards);
	pthread_rwlock_destroy(&e->lock);
	weir_rules_free(e->rules);
	weir_names_free(&e->names);
	weir_names_free(&e->tiers);
	free(e->terms);
	free(e);
}

/* -- a policy */

static void breathe(struct weir_enforce *e, size_t i)
{
	if (i % ENTRIES_A_BREATH)
		return;
	pthread_rwlock_unlock(&e->lock);
	pthread_rwlock_wrlock(&e->lock);
}

/* Everybody the ledger knows: who left the policy long ago has a name too. */
static int learn_names(struct weir_enforce *e, struct weir_ledger *l, struct weir_error *err)
{
	int r = 0;

	pthread_rwlock_wrlock(&e->lock);
	for (uint32_t i = e->count + 1; i < e->kernel->max_tenants && !r; i++) {
		const char *name = weir_ledger_tenant_name(l, i);

		breathe(e, i);
		if (!name)
			continue;
		if (weir_names_put(&e->names, i, name)) {
			r = weir_fail(err, ENOMEM, "out of memory");
			break;
		}
		e->terms[i].name = weir_names_get(&e->names, i);
		e->terms[i].is_scope = strchr(name, '@');
		e->count = i;
	}
	pthread_rwlock_unlock(&e->lock);
	return r;
}

static int learn_tiers(struct weir_enforce *e, const struct weir_policy *p, struct weir_error *err)
{
	int r = 0;

	pthread_rwlock_wrlock(&e->lock);
	for (size_t i = 0; i < p->n_tiers && !r; i++)
		if (!weir_names_find(&e->tiers, p->tiers[i]))
			r = weir_names_put(&e->tiers, e->tiers.n ? e->tiers.n : 1, p->tiers[i]);
	pthread_rwlock_unlock(&e->lock);
	return r ? weir_fail(err, ENOMEM, "out of memory") : 0;
}

/* Whatever can be refused of a policy is refused here. */
static int check(struct weir_enforce *e, const struct weir_policy *p, struct weir_ledger *l,
		 struct weir_plan *plan, struct weir_error *err)
{
	int r = weir_plan_make(p, e->cfg->services, e->cfg->n_services, e->kernel->max_tenants, l,
			       plan, err);

	if (!r)
		r = learn_names(e, l, err);
	if (!r)
		r = learn_tiers(e, p, err);
	for (size_t i = 0; i < p->n_cards && !r; i++)
		r = weir_ledger_card(l, p->cards[i], &p->cards[i]->id, err);
	return r ? r : weir_check_maps(e->kernel, p, l, err);
}

static void fill_terms(struct weir_terms *terms, const struct weir_limits *l)
{
	terms->live = true;
	terms->credit = l->credit;
	terms->overage_nano = l->overage_nano < OVERAGE_MAX ? l->overage_nano : OVERAGE_MAX;
	terms->tokens = l->tokens;
	terms->cached_weight_ppm = l->cached_weight_ppm;
	terms->request_cost_cap_nano = l->request_cost_cap_nano;
	terms->reserve_output_tokens = l->reserve_output_tokens;
	terms->max_output_tokens = l->max_output_tokens;
	terms->abort = l->abort;
	terms->free_retries = l->free_retries;
	terms->free_cache_hits = l->free_cache_hits;
}

static uint32_t wallet_number(const struct weir_plan *plan, const struct weir_tenant_policy *t)
{
	const struct weir_policy *p = plan->policy;

	if (t->wallet)
		t = weir_policy_tenant(p, t->wallet);
	return plan->numbers[t - p->tenants];
}

static void put_tenant(struct weir_enforce *e, uint32_t i, const struct weir_tenant_policy *tp,
		       uint32_t wallet, const struct weir_prices *prices, uint64_t now_ns)
{
	struct weir_tenant *t = &e->kernel->tenants[i];
	struct weir_terms *terms = &e->terms[i];
	int64_t overage = terms->overage_nano;
	struct weir_reserve_price price;

	fill_terms(terms, &tp->limits);
	terms->wallet = wallet;
	terms->tier = weir_names_get(&e->tiers, weir_names_find(&e->tiers, tp->tier));
	/* At start the ledger does not have yet what the last run left in queue and
	 * ring: the kernel's own figures hold until weir_enforce_ceilings. */
	if (e->settled)
		weir_ceiling_add(t, terms->overage_nano - overage, 0);
	weir_prices_of(prices, tp, &price);
	weir_limits_store(t, wallet, &tp->limits, &price, now_ns);
}

/* Limits of all entries. rules[]: of the tenants. */
static void put_limits(struct weir_enforce *e, const struct weir_plan *plan, const uint32_t *rules,
		       const struct weir_prices *prices, uint64_t now_ns)
{
	const struct weir_policy *p = plan->policy;

	pthread_rwlock_wrlock(&e->lock);
	for (size_t i = 0; i < p->n_tenants; i++) {
		const struct weir_tenant_policy *tp = &p->tenants[i];
		uint32_t n = plan->numbers[i];

		breathe(e, i);
		weir_rules_point(e->rules, &e->kernel->tenants[n], rules[i], now_ns);
		put_tenant(e, n, tp, wallet_number(plan, tp), prices, now_ns);
	}
	for (size_t i = 0; i < plan->n_scopes; i++) {
		uint32_t n = plan->numbers[p->n_tenants + i];

		breathe(e, i);
		fill_terms(&e->terms[n], plan->scopes[i].limits);
		weir_limits_store(&e->kernel->tenants[n], n, plan->scopes[i].limits, NULL, now_ns);
	}
	pthread_rwlock_unlock(&e->lock);
}

/* Who left the policy keeps name and number, but no limit. That may have been while no
 * agent ran: what the kernel has is looked at. */
static void drop_leavers(struct weir_enforce *e, const bool *stays, uint64_t now_ns)
{
	pthread_rwlock_wrlock(&e->lock);
	for (uint32_t i = 1; i < e->kernel->max_tenants; i++) {
		struct weir_tenant *t = &e->kernel->tenants[i];

		breathe(e, i);
		if (stays[i] || !(t->flags & WEIR_TENANT_LIVE))
			continue;
		/* Its overage stays in its ceiling, and is told from here when it comes back. */
		e->terms[i].live = false;
		e->terms[i].tier = NULL;
		e->terms[i].wallet = 0;
		weir_limits_clear(t);
		weir_rules_point(e->rules, t, 0, now_ns);
	}
	pthread_rwlock_unlock(&e->lock);
}

struct cards {
	struct weir_card **v;
	size_t n;
};

static void free_cards(struct cards *c)
{
	weir_cards_free(c->v, c->n);
}

/* What was in force is left in cards. */
static void replace(struct weir_enforce *e, struct weir_policy *p, struct cards *cards)
{
	struct cards old = { .v = e->cards, .n = e->n_cards };

	pthread_rwlock_wrlock(&e->lock);
	weir_policy_unref(e->policy);
	e->policy = weir_policy_ref(p);
	e->cards = cards->v;
	e->n_cards = cards->n;
	pthread_rwlock_unlock(&e->lock);
	*cards = old;
}

static void store_defaults(struct weir_kernel *k, const struct weir_plan *plan)
{
	const struct weir_policy *p = plan->policy;
	const struct weir_tenant_policy *t =
		p->default_tenant ? weir_policy_tenant(p, p->default_tenant) : NULL;

	k->config->default_tenant = t ? plan->numbers[t - p->tenants] : WEIR_NO_TENANT;
	k->config->unknown_key =
		p->unknown_key_default ? WEIR_UNKNOWN_KEY_DEFAULT : WEIR_UNKNOWN_KEY_REFUSE;
}

int weir_enforce_apply(struct weir_enforce *e, struct weir_policy *p, struct weir_ledger *l,
		       struct weir_error *err)
{
	weir_autofree uint32_t *rules = calloc(p->n_tenants + 1, sizeof(*rules));
	weir_autofree bool *stays = calloc(e->kernel->max_tenants, sizeof(*stays));
	WEIR_CLEANUP(weir_plan_free) struct weir_plan plan = { 0 };
	WEIR_CLEANUP(weir_prices_free) struct weir_prices prices = { 0 };
	WEIR_CLEANUP(free_cards) struct cards cards = { 0 };
	uint64_t now_ns = weir_mono_ns();
	int r;

	if (!rules || !stays)
		return weir_fail(err, ENOMEM, "out of memory");
	r = check(e, p, l, &plan, err);
	if (!r && weir_prices_make(p, e->cfg, weir_wall_ns(), &prices))
		r = weir_fail(err, ENOMEM, "out of memory");
	if (!r && p != e->policy)
		r = weir_cards_load(p, l, &cards.v, &cards.n, err);
	if (!r) /* last: it writes, though only what nobody points to */
		r = weir_rules_place(e->rules, p, now_ns, rules, err);
	if (r)
		return r;
	for (size_t i = 0; i < p->n_tenants + plan.n_scopes; i++)
		stays[plan.numbers[i]] = true;

	/* Limits first, then the ways to them: a key never leads to an empty entry. */
	if (p != e->policy)
		weir_prices_warn(p, e->cfg);
	put_limits(e, &plan, rules, &prices, now_ns);
	r = weir_levels_link(e->kernel, &plan, err);
	if (!r)
		r = weir_sync_maps(e->kernel, p, plan.numbers, l, err);
	if (r)
		return r;
	store_defaults(e->kernel, &plan);
	drop_leavers(e, stays, now_ns);
	if (p != e->policy && weir_enforce_top_ups(e, &plan, l))
		return weir_fail(err, ENOMEM, "out of memory: not every top-up is watched for");
	if (p != e->policy)
		replace(e, p, &cards);
	return weir_levels_prune(e->kernel, &plan, err);
}

int weir_enforce_suspend(struct weir_enforce *e, uint32_t tenant, bool on)
{
	uint32_t *flags;

	if (tenant == WEIR_NO_TENANT || tenant >= e->kernel->max_tenants)
		return -ENOENT;
	flags = &e->kernel->tenants[tenant].flags;
	/* An apply reads them and stores them again. */
	pthread_rwlock_wrlock(&e->lock);
	if (on)
		__atomic_fetch_or(flags, WEIR_TENANT_SUSPENDED, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(flags, ~WEIR_TENANT_SUSPENDED, __ATOMIC_SEQ_CST);
	pthread_rwlock_unlock(&e->lock);
	return 0;
}

bool weir_enforce_suspended(const struct weir_enforce *e, uint32_t tenant)
{
	return tenant < e->kernel->max_tenants &&
	       __atomic_load_n(&e->kernel->tenants[tenant].flags, __ATOMIC_RELAXED) &
		       WEIR_TENANT_SUSPENDED;
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

int weir_enforce_name(struct weir_enforce *e, uint32_t number,
		      char out[static WEIR_ENTRY_NAME_BYTES])
{
	const char *name;

	pthread_rwlock_rdlock(&e->lock);
	name = weir_names_get(&e->names, number);
	if (name)
		snprintf(out, WEIR_ENTRY_NAME_BYTES, "%s", name);
	pthread_rwlock_unlock(&e->lock);
	return name ? 0 : -ENOENT;
}

static int find(struct weir_enforce *e, const char *name, bool is_scope, uint32_t *out)
{
	uint32_t n;

	pthread_rwlock_rdlock(&e->lock);
	n = weir_names_find(&e->names, name);
	if (n && e->terms[n].is_scope != is_scope)
		n = 0;
	pthread_rwlock_unlock(&e->lock);
	if (!n)
		return -ENOENT;
	*out = n;
	return 0;
}

int weir_enforce_index(struct weir_enforce *e, const char *tenant, uint32_t *out)
{
	return find(e, tenant, false, out);
}

int weir_enforce_scope(struct weir_enforce *e, const char *tenant, const char *service,
		       uint32_t *out)
{
	char name[WEIR_ENTRY_NAME_BYTES];

	if (snprintf(name, sizeof(name), "%s@%s", tenant, service) >= (int)sizeof(name))
		return -ENOENT;
	return find(e, name, true, out);
}

bool weir_enforce_is_scope(struct weir_enforce *e, uint32_t number)
{
	bool is;

	pthread_rwlock_rdlock(&e->lock);
	is = number < e->kernel->max_tenants && e->terms[number].is_scope;
	pthread_rwlock_unlock(&e->lock);
	return is;
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

struct weir_card *const *weir_enforce_cards_locked(const struct weir_enforce *e, size_t *n)
{
	*n = e->n_cards;
	return e->cards;
}
