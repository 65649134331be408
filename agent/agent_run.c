// SPDX-License-Identifier: Apache-2.0
/*
 * An agent's run on record: entered at the start, kept alive by the writer, ended by the stop.
 */
#include "agent_priv.h"

int weir_agent_run_begin(struct weir_agent *a, struct weir_error *err)
{
	enum weir_run_last last;
	int r;

	weir_boot_id(a->run.boot);
	a->run.started_ns = a->started_wall_ns;
	a->run.maps_are_new = weir_state_is_new(a->state) ||
			      (a->kernel->fresh && !weir_state_was_ended(a->state));
	r = weir_run_begin(a->ledger, &a->run, &last, &a->run_gap, err);
	if (!r)
		weir_run_tell(last, &a->run_gap);
	return r;
}

int weir_agent_run_alive(void *ctx, struct weir_ledger *l, struct weir_error *err)
{
	struct weir_agent *a = ctx;

	return weir_run_alive(l, &a->run, __atomic_load_n(&a->open, __ATOMIC_RELAXED),
			      weir_wall_ns(), err);
}

void weir_agent_run_open(struct weir_agent *a)
{
	struct weir_consumer_stats s;

	if (!a->consumer)
		return;
	weir_consumer_stats(a->consumer, &s);
	__atomic_store_n(&a->open, s.open, __ATOMIC_RELAXED);
}

bool weir_agent_run_end(struct weir_agent *a, bool keep)
{
	struct weir_error err;
	int r;

	if (!a->run.seq)
		return true;
	r = a->started ? weir_run_end(a->ledger, &a->run, keep, a->open, weir_wall_ns(), &err)
		       : weir_run_forget(a->ledger, &a->run, &err);
	if (r)
		weir_log(WEIR_WARN, "the end of this run is not on record: %s", err.text);
	return !r;
}
