// SPDX-License-Identifier: Apache-2.0
/*
 * The order of a migration (migrate.h has the steps, and what a crash leaves):
 *
 *   new programs loaded on new maps, keys and names copied → old maps frozen: guarded ports
 *   drop, TCP sends again → what is counted is copied → folders exchanged → new programs on
 *   the hooks → connections that closed meanwhile are given back → old maps go
 *
 * Packets are dropped from the freeze until their hook has its new program: old programs are
 * never let loose on old maps again.
 */
#include "takeover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "migrate.h"

struct reaped {
	struct weir_reap *r;
	size_t n, room;
	bool lost; /* no memory: the comparison with sockets gives them back later */
};

static void add_reap(void *ctx, const struct weir_reap *r)
{
	struct reaped *a = ctx;

	if (a->n == a->room) {
		size_t room = a->room ? 2 * a->room : 64;
		struct weir_reap *more = realloc(a->r, room * sizeof(*more));

		if (!more) {
			a->lost = true;
			return;
		}
		a->r = more;
		a->room = room;
	}
	a->r[a->n++] = *r;
}

/* Sockets that closed while the maps in dir were frozen. */
static void reap_closed(struct weir_kernel *k, const char *dir)
{
	struct reaped a = {};
	struct weir_error err = {};
	int r = weir_migration_closed(k->migration, dir, add_reap, &a, &err);

	if (r > 0)
		r = weir_kernel_reap(k, a.r, a.n);
	if (r < 0 || a.lost)
		weir_log(WEIR_WARN,
			 "connections that closed while maps were migrated are given back late: %s",
			 err.text[0] ? err.text
			 : r < 0     ? strerror(-r)
				     : "out of memory");
	else if (a.n)
		weir_log(WEIR_INFO, "%zu connections closed while maps were migrated", a.n);
	free(a.r);
}

/* The last steps, also of a migration that another agent did not finish. */
static int finish(struct weir_kernel *k, const struct weir_agent_config *cfg,
		  struct weir_error *err)
{
	struct weir_migration *m = k->migration;
	int r = weir_attach_replace(k, cfg, err);

	if (r < 0)
		return r;
	if (m->frozen_ns)
		weir_log(WEIR_NOTE,
			 "kernel maps of ABI %u are migrated to ABI %u, %u of %zu copied; guarded "
			 "ports were held for %llu ms",
			 m->old.abi, WEIR_ABI_VERSION, weir_migration_copied(m), m->n,
			 (unsigned long long)(weir_mono_ns() - m->frozen_ns) / 1000000);
	reap_closed(k, m->new_maps);
	weir_migration_drop_old(m);
	return 0;
}

/* Another agent froze them and was killed before the exchange; they are as we want them. */
static int unfreeze(struct weir_kernel *k, struct weir_error *err)
{
	int r;

	__atomic_store_n(&k->config->frozen, 0, __ATOMIC_SEQ_CST);
	r = weir_programs_wait(err);
	if (r)
		return r;
	weir_log(WEIR_NOTE, "kernel maps were frozen by a migration that was cut short; they are "
			    "in force again");
	reap_closed(k, k->migration->maps);
	return 0;
}

static int migrate(struct weir_kernel *k, const struct weir_agent_config *cfg,
		   struct weir_error *err)
{
	struct weir_migration *m = k->migration;
	int r = weir_migration_copy_early(m, err);

	if (!r)
		r = weir_migration_freeze(m, err);
	if (!r)
		r = weir_migration_copy(m, err);
	if (!r) {
		weir_kernel_store_forms(k, cfg);
		r = weir_migration_commit(m, err);
	}
	if (r)
		weir_migration_abort(m);
	return r ? r : finish(k, cfg, err);
}

int weir_takeover(struct weir_kernel *k, const struct weir_agent_config *cfg,
		  struct weir_error *err)
{
	struct weir_migration *m = k->migration;
	int r = 0;

	if (!m)
		return 0;
	if (m->needed)
		r = migrate(k, cfg, err);
	else if (m->unfinished)
		r = finish(k, cfg, err);
	else if (m->frozen)
		r = unfreeze(k, err);
	weir_migration_free(m);
	k->migration = NULL;
	return r;
}
