// SPDX-License-Identifier: Apache-2.0
/*
 * What the outer layers may see of the agent: the functions behind struct
 * weir_agent_view. They read figures and pass wishes on; they own nothing.
 */
#include "agent_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "account.h"
#include "policy.h"
#include "reason.h"
#include "warnings.h"

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
	s->tenants_used = weir_enforce_count(a->enforce);
	s->tenants_max = a->kernel->max_tenants;
	s->inflight_parsers = c.open;
	s->requests = c.rows;
	weir_drift_stats(__atomic_load_n(&a->drift, __ATOMIC_ACQUIRE), &s->drift);
	for (size_t i = 0; i < WEIR_MAX_SERVICES; i++)
		seen[i] = __atomic_load_n(&a->kernel->seen[i].bits, __ATOMIC_RELAXED);
	weir_warnings_add(s, a->cfg.services, a->cfg.n_services, seen);
}

static int view_tenant_live(void *ctx, uint32_t tenant, struct weir_tenant *out)
{
	struct weir_agent *a = ctx;

	if (!tenant || tenant >= a->kernel->max_tenants)
		return -ENOENT;
	*out = a->kernel->tenants[tenant];
	return 0;
}

static int view_tenant_name(void *ctx, uint32_t tenant, char out[static WEIR_NAME_BYTES])
{
	return weir_enforce_name(((struct weir_agent *)ctx)->enforce, tenant, out);
}

static int view_tenant_index(void *ctx, const char *name, uint32_t *out)
{
	return weir_enforce_index(((struct weir_agent *)ctx)->enforce, name, out);
}

static int view_denial_counts(void *ctx, uint32_t tenant, uint64_t out[static WEIR_REASON_MAX])
{
	struct weir_agent *a = ctx;

	if (tenant >= a->kernel->max_tenants)
		return -ENOENT;
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++) {
		struct weir_denial_key key = { .tenant = tenant, .reason = i };
		struct weir_denial d;

		out[i] = 0; /* and no system call for what is never refused with */
		if (weir_reason_is_denial(i) &&
		    !bpf_map_lookup_elem(a->kernel->denials_fd, &key, &d))
			out[i] = d.count;
	}
	return 0;
}

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

	return weir_enforce_apply(p->agent->enforce, p->policy, l, p->err);
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

/* In the writer's thread, as is every passage of time: a grant is either already
 * effective at the last passage, and counted here, or will be at the next. */
static int view_grant_posted(void *ctx, struct weir_ledger *l, const struct weir_grant *g)
{
	struct weir_agent *a = ctx;
	uint64_t now = weir_wall_ns();

	/* 0 is "now", which is behind the last passage: the next one sees it. */
	if (g->effective_ns && g->effective_ns <= a->passage_wall_ns &&
	    (!g->expires_ns || g->expires_ns > a->passage_wall_ns))
		weir_ceiling_add(&a->kernel->tenants[g->tenant], g->amount_nano, g->amount_nano);
	weir_enforce_passage(a->enforce, l, a->passage_wall_ns, now);
	a->passage_wall_ns = now;
	return 0;
}

void weir_agent_make_view(struct weir_agent *a)
{
	a->view = (struct weir_agent_view){
		.ctx = a,
		.writer = a->writer,
		.denials = a->denials,
		.db_path = a->db_path,
		.policy_dir = a->cfg.policies,
		.services = a->services,
		.n_services = a->cfg.n_services + 1,
		.status = view_status,
		.tenant_live = view_tenant_live,
		.tenant_name = view_tenant_name,
		.tenant_index = view_tenant_index,
		.denial_counts = view_denial_counts,
		.policy = view_policy,
		.reload = view_reload,
		.key_changed = view_key_changed,
		.grant_posted = view_grant_posted,
	};
}
