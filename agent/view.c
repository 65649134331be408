// SPDX-License-Identifier: Apache-2.0
/*
 * What the outer layers may see of the agent: the functions behind struct
 * weir_agent_view. They read figures and pass wishes on; they own nothing.
 */
#include "agent_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "account.h"
#include "policy.h"
#include "reason.h"
#include "slots.h"
#include "sockdiag.h"
#include "warnings.h"

/* A packet that was judged just before a suspension has its slot by then. */
#define CUT_AGAIN_MS 100

/* -- status */

static void put_switches(struct weir_agent *a, struct weir_status *s)
{
	pthread_mutex_lock(&a->switch_lock);
	s->enforce = a->enforce_switch;
	pthread_mutex_unlock(&a->switch_lock);
	s->enforcing = !a->cfg.enforce	? WEIR_ENFORCE_CONFIGURED_OFF
		       : !s->enforce.on ? WEIR_ENFORCE_SWITCHED_OFF
					: WEIR_ENFORCING;
}

/* Entry 0 is nobody: it has handshakes too. A scope has none, and is suspended by nobody. */
static void put_tenants(struct weir_agent *a, struct weir_status *s)
{
	uint32_t n = weir_enforce_count(a->enforce);

	for (uint32_t i = 0; i <= n; i++) {
		const struct weir_tenant *t = &a->kernel->tenants[i];
		int32_t half_open = __atomic_load_n(&t->half_open, __ATOMIC_RELAXED);

		s->suspended += !!(t->flags & WEIR_TENANT_SUSPENDED);
		s->half_open += half_open > 0 ? (uint32_t)half_open : 0;
	}
}

static void view_status(void *ctx, struct weir_status *s)
{
	struct weir_agent *a = ctx;
	struct weir_consumer_stats c;
	uint32_t seen[WEIR_MAX_SERVICES];

	memset(s, 0, sizeof(*s));
	memcpy(s->instance, a->cfg.instance, sizeof(s->instance));
	memcpy(s->node, a->cfg.node, sizeof(s->node));
	s->started_wall_ns = a->started_wall_ns;
	s->uptime_s = (weir_mono_ns() - a->started_ns) / WEIR_SECOND;
	weir_links_status(__atomic_load_n(&a->links, __ATOMIC_ACQUIRE), s);
	weir_kernel_counters(a->kernel, s->verdicts);
	weir_consumer_stats(a->consumer, &c);
	s->ring_bytes = a->kernel->ring_bytes;
	s->ring_used = c.ring_used;
	s->ring_lost = s->verdicts[WEIR_TAP_LOST] + s->verdicts[WEIR_END_LOST];
	s->flows_used = s->verdicts[WEIR_FLOW_NEW] - s->verdicts[WEIR_FLOW_GONE];
	s->flows_max = a->kernel->max_flows;
	weir_room_now(&a->room, weir_mono_ns(), &s->no_room_passed, &s->no_room_reset);
	s->tenants_used = weir_enforce_count(a->enforce);
	s->tenants_max = a->kernel->max_tenants;
	s->inflight_parsers = c.open;
	s->requests = c.rows;
	weir_drift_stats(__atomic_load_n(&a->drift, __ATOMIC_ACQUIRE), &s->drift);
	s->tally = c.tally;
	s->decoders = c.decoders;
	s->capped = c.capped;
	s->capped_shadow = c.capped_shadow;
	weir_clock_status(&s->clock);
	weir_state_room(a->state, &s->room);
	s->silent = c.silent;
	s->gap = a->run_gap;
	weir_agent_restored(a, &s->restored);
	s->n_maps = weir_kernel_maps(a->kernel, s->maps, WEIR_STATUS_MAPS);
	put_switches(a, s);
	put_tenants(a, s);
	for (size_t i = 0; i < WEIR_MAX_SERVICES; i++) {
		seen[i] = __atomic_load_n(&a->kernel->seen[i].bits, __ATOMIC_RELAXED);
		weir_hidden_look(weir_consumer_hidden(a->consumer), (uint16_t)i, weir_wall_ns(),
				 &s->hidden[i]);
	}
	weir_warnings_add(s, a->cfg.services, a->cfg.n_services, seen);
	weir_money_watch_warn(a->money, s);
}

/* -- tenants */

static int view_tenant_live(void *ctx, uint32_t tenant, struct weir_tenant *out)
{
	struct weir_agent *a = ctx;
	const struct weir_tenant *t;

	if (!tenant || tenant >= a->kernel->max_tenants)
		return -ENOENT;
	t = &a->kernel->tenants[tenant];
	/* Not while a settlement is being written: it would be half old and half new. */
	for (int i = 0; i < 8; i++) {
		uint64_t pos[2] = { __atomic_load_n(&t->settled[0].ring_pos, __ATOMIC_ACQUIRE),
				    __atomic_load_n(&t->settled[1].ring_pos, __ATOMIC_ACQUIRE) };

		*out = *t;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (pos[0] == __atomic_load_n(&t->settled[0].ring_pos, __ATOMIC_RELAXED) &&
		    pos[1] == __atomic_load_n(&t->settled[1].ring_pos, __ATOMIC_RELAXED))
			break;
	}
	return 0;
}

static int view_tenant_name(void *ctx, uint32_t tenant, char out[static WEIR_ENTRY_NAME_BYTES])
{
	return weir_enforce_name(((struct weir_agent *)ctx)->enforce, tenant, out);
}

static int view_tenant_index(void *ctx, const char *name, uint32_t *out)
{
	return weir_enforce_index(((struct weir_agent *)ctx)->enforce, name, out);
}

static int view_scope_index(void *ctx, uint32_t tenant, const char *service, uint32_t *out)
{
	struct weir_agent *a = ctx;
	char name[WEIR_ENTRY_NAME_BYTES];
	int r = weir_enforce_name(a->enforce, tenant, name);

	return r ? r : weir_enforce_scope(a->enforce, name, service, out);
}

static int view_denial_counts(void *ctx, uint32_t tenant, bool shadow,
			      uint64_t out[static WEIR_REASON_MAX])
{
	struct weir_agent *a = ctx;

	if (tenant >= a->kernel->max_tenants)
		return -ENOENT;
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++) {
		struct weir_denial_key key = { .tenant = tenant, .reason = i, .shadow = shadow };
		struct weir_denial d;

		out[i] = 0; /* and no system call for what is never refused with */
		if (weir_reason_is_denial(i) &&
		    !bpf_map_lookup_elem(a->kernel->denials_fd, &key, &d))
			out[i] = d.count;
	}
	return 0;
}

static size_t view_open_requests(void *ctx, uint32_t tenant, struct weir_open_request *out,
				 size_t max)
{
	return weir_slots_of(((struct weir_agent *)ctx)->kernel, tenant, out, max);
}

/* -- what is in force */

static struct weir_policy *view_policy(void *ctx)
{
	return weir_enforce_policy(((struct weir_agent *)ctx)->enforce);
}

struct apply {
	struct weir_agent *agent;
	struct weir_policy *policy;
	struct weir_error *err;
};

static int call_apply(struct weir_ledger *l, void *arg)
{
	struct apply *p = arg;

	int r = weir_enforce_apply(p->agent->enforce, p->policy, l, p->err);

	if (!r)
		weir_agent_note_names(p->agent, l, p->policy);
	return r;
}

static int view_reload(void *ctx, const char *dir, struct weir_error *err)
{
	struct apply p = { .agent = ctx, .err = err };
	int r = weir_policy_load(dir, &p.policy, err);

	if (r)
		return r;
	r = weir_writer_call(p.agent->writer, call_apply, &p);
	weir_policy_unref(p.policy);
	return r;
}

static int view_key_changed(void *ctx, const struct weir_stored_key *key, struct weir_error *err)
{
	return weir_enforce_key(((struct weir_agent *)ctx)->enforce, key, err);
}

static int view_wallet_of(void *ctx, uint32_t tenant, uint32_t *out)
{
	return weir_enforce_wallet(((struct weir_agent *)ctx)->enforce, tenant, out);
}

static int view_post(void *ctx, struct weir_ledger *l, const struct weir_op *op,
		     struct weir_done *done, struct weir_error *err)
{
	return weir_enforce_post(((struct weir_agent *)ctx)->enforce, l, op, done, err);
}

/* No ceiling has to be held before what is no deduct; what it moved is told by on_change. */
static int view_post_all(void *ctx, struct weir_ledger *l, struct weir_post *posts, size_t n,
			 struct weir_error *err)
{
	return weir_ledger_post_all(l, posts, n, weir_wall_ns(), err);
}

void weir_agent_enforce(struct weir_agent *a, const struct weir_switch *s)
{
	pthread_mutex_lock(&a->switch_lock);
	a->enforce_switch = *s;
	__atomic_store_n(&a->kernel->config->enforce, a->cfg.enforce && s->on, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&a->switch_lock);
}

static int view_switch_thrown(void *ctx, const struct weir_switch *holds, struct weir_error *err)
{
	struct weir_agent *a = ctx;
	int r = 0;

	if (holds->name == WEIR_SWITCH_ENFORCE)
		weir_agent_enforce(a, holds);
	else
		r = weir_enforce_suspend(a->enforce, holds->tenant, holds->on);
	return r ? weir_fail(err, -r, "the switch is in the ledger, but not in force: %s",
			     strerror(-r))
		 : 0;
}

static int view_cut(void *ctx, uint32_t tenant, struct weir_cut *out, struct weir_error *err)
{
	struct weir_agent *a = ctx;
	struct weir_cut cut = { 0 };

	for (int round = 0; round < 2; round++) {
		struct weir_error why;
		int r;

		if (round)
			nanosleep(&(struct timespec){ .tv_nsec = CUT_AGAIN_MS * 1000000 }, NULL);
		/* Marked first: then its socket's end is told as a cut. */
		cut.answers += weir_slots_cut(a->kernel, tenant);
		r = weir_sockdiag_destroy_tenant(a->kernel, &a->cfg, tenant, &why);
		if (r < 0 && r != -EOPNOTSUPP)
			return weir_fail(err, -r, "%s", why.text);
		if (r < 0)
			snprintf(cut.warning, sizeof(cut.warning), "%.255s", why.text);
		else
			cut.sockets += (uint32_t)r;
	}
	*out = cut;
	return 0;
}

void weir_agent_make_view(struct weir_agent *a)
{
	a->view = (struct weir_agent_view){
		.ctx = a,
		.writer = a->writer,
		.denials = a->denials,
		.lags = &a->lags,
		.db_path = a->db_path,
		.policy_dir = a->cfg.policies,
		.services = a->services,
		.n_services = a->cfg.n_services + 1,
		.status = view_status,
		.tenant_live = view_tenant_live,
		.tenant_name = view_tenant_name,
		.tenant_index = view_tenant_index,
		.scope_index = view_scope_index,
		.denial_counts = view_denial_counts,
		.open_requests = view_open_requests,
		.boot = a->kernel->config->instance_boot,
		.policy = view_policy,
		.reload = view_reload,
		.key_changed = view_key_changed,
		.wallet_of = view_wallet_of,
		.post = view_post,
		.post_all = view_post_all,
		.switch_thrown = view_switch_thrown,
		.cut = view_cut,
	};
}
