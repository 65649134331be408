// SPDX-License-Identifier: Apache-2.0
/*
 * The price is that of the row if the answer were cut now (finish.c), reckoned only after
 * counts moved. The mark goes to the slot, and only while it still is that request's.
 */
#include "cost_cap.h"

#include "slots.h"

static void count(uint64_t *n)
{
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

void weir_cost_cap_check(struct weir_cost_cap *c, const struct weir_asked *asked,
			 const struct weir_open *before, const struct weir_open *now, uint32_t slot)
{
	const struct weir_terms *terms;
	struct weir_finish_with with;
	struct weir_open_request r;
	struct weir_runs runs;
	int64_t cap, cost;

	/* As the slot has it now: if that is another request's, the copy below says so. */
	terms = weir_enforce_terms(c->enforce, c->kernel->slots[slot].tenant);
	if (!terms || !terms->request_cost_cap_nano)
		return;
	/* One that is whole has cost what it has cost: its client is to have the end of it. */
	if (now->response.seen.done || !weir_counts_moved(before, now))
		return;
	if (!weir_slot_read(c->kernel, slot, &r) || r.started_wall_ns != now->started_wall_ns)
		return;
	cap = terms->request_cost_cap_nano;
	runs = (struct weir_runs){ .tenant = r.tenant,
				   .service = r.service,
				   .degraded = r.flags & WEIR_SLOT_DEGRADED,
				   .for_ns = weir_mono_ns() - r.started_ns };
	with = (struct weir_finish_with){ .terms = terms,
					  .pricing = c->pricing,
					  .learnt = c->learnt };
	cost = weir_cost_so_far(now, asked, &runs, &with);
	if (cost <= cap)
		return;
	if (!c->kernel->config->enforce ||
	    c->kernel->tenants[r.tenant].flags & WEIR_TENANT_SHADOW) {
		if (weir_cost_so_far(before, asked, &runs, &with) <= cap)
			count(&c->cut_in_shadow); /* it has just passed the cap */
		return;
	}
	if (weir_slot_cut(c->kernel, slot, r.started_wall_ns) != WEIR_CUT_NOW)
		return;
	count(&c->cut);
	weir_log(WEIR_DEBUG, "tenant %s: an answer is cut: it has cost %lld nano-credits",
		 terms->name, (long long)cost);
}
