/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the outer layers (control socket, HTTP, publisher) may see of a running
 * agent: figures and a few doors, as function pointers that only the wiring
 * (main.c) fills in. So those layers know no BPF, no map and no ring, and tests
 * run them against a fake.
 *
 * Every function may be called from any thread at any time, blocks for no longer
 * than a system call or a commit takes, and leaves its outputs untouched on
 * failure. No pointer of the view may be NULL, except `publisher`, `meter_in`
 * and `money`.
 */
#ifndef WEIR_AGENT_VIEW_H
#define WEIR_AGENT_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "clock.h"
#include "config.h"
#include "decode.h"
#include "drift.h"
#include "hidden.h"
#include "kernel.h"
#include "lag.h"
#include "ledger.h"
#include "ledger_switch.h"
#include "policy.h"
#include "restored.h"
#include "run_record.h"
#include "state.h"
#include "tally.h"
#include "util.h"

struct weir_writer;	  /* writer.h */
struct weir_publisher;	  /* publisher.h */
struct weir_meter_in;	  /* meter_in.h */
struct weir_money_watch;  /* money_watch.h */
struct weir_denials;	  /* denials.h */
struct weir_open_request; /* slots.h */

#define WEIR_STATUS_INTERFACES 16
#define WEIR_STATUS_NEIGHBOURS 8
#define WEIR_STATUS_WARNINGS   48
#define WEIR_STATUS_MAPS       48

struct weir_status_interface {
	char name[WEIR_INTERFACE_LABEL]; /* "eth0"; in another namespace "eth0@pod1" */
	char xdp_mode[16];		 /* "native", "generic", "off" */
	char tc_mode[16];		 /* "tcx", "clsact", "off": it is not there */
	size_t n_neighbours;
	char neighbours[WEIR_STATUS_NEIGHBOURS][48]; /* programs of others on our hooks, by name */
};

/* Do limits refuse? Metering goes on in any case. */
enum weir_enforcing {
	WEIR_ENFORCING,
	WEIR_ENFORCE_SWITCHED_OFF,   /* weirctl enforce off */
	WEIR_ENFORCE_CONFIGURED_OFF, /* agent.json "enforce": false, whatever the switch says */
};

/* What `tenant suspend --now` did. */
struct weir_cut {
	uint32_t answers;  /* marked: the next packet of each resets both its ends */
	uint32_t sockets;  /* on this host, destroyed */
	char warning[256]; /* why none could be, on this kernel; "" if they can */
};

struct weir_status {
	char instance[WEIR_NAME_BYTES];
	char node[WEIR_NAME_BYTES];
	uint64_t started_wall_ns; /* of this agent */
	uint64_t uptime_s;
	size_t n_interfaces;
	struct weir_status_interface interfaces[WEIR_STATUS_INTERFACES];
	uint64_t verdicts[WEIR_REASON_MAX]; /* packets or requests since the maps were made */
	uint64_t ring_bytes, ring_used, ring_lost; /* lost: records that did not fit */
	uint64_t flows_used, flows_max;
	uint64_t no_room_passed, no_room_reset; /* while it lasts (room.h) */
	uint64_t tenants_used, tenants_max;
	enum weir_enforcing enforcing;
	struct weir_switch enforce; /* the node's switch; seq 0: never thrown */
	uint64_t suspended;	    /* tenants */
	uint64_t half_open;	    /* connections whose handshake is not complete */
	size_t n_maps;		    /* of the kernel, and what each takes there */
	struct weir_map_size maps[WEIR_STATUS_MAPS];
	uint64_t capped, capped_shadow; /* answers cut for what they cost; would have been */
	uint64_t inflight_parsers;	/* responses being read now; 0 if not known */
	uint64_t requests;		/* rows handed to the ledger since start */
	struct weir_drift_stats drift;
	struct weir_tally tally;			     /* requests that ended since start */
	struct weir_decoders_stats decoders;		     /* of compressed answers */
	struct weir_hidden_counts hidden[WEIR_MAX_SERVICES]; /* by service number */
	struct weir_clock_status clock;
	struct weir_state_room room; /* for finished requests that cannot be committed */
	bool silent;		     /* no heartbeat for that: on_agent_down decides */
	struct weir_run_gap gap;     /* what is missing of earlier runs */
	struct weir_restored_status restored;
	size_t n_warnings;
	char warnings[WEIR_STATUS_WARNINGS][1024]; /* one line each; what, on what, what to do */
};

/* Of all maps. */
static inline uint64_t weir_status_memory(const struct weir_status *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n_maps && i < WEIR_STATUS_MAPS; i++)
		sum += s->maps[i].bytes;
	return sum;
}

struct weir_agent_view {
	void *ctx; /* first argument of every function */

	/* Live for as long as the view is. */
	struct weir_writer *writer;	  /* every write to the database goes through it */
	struct weir_denials *denials;	  /* recent refusals */
	struct weir_publisher *publisher; /* NULL: no NATS configured */
	struct weir_meter_in *meter_in;	  /* NULL: no usage from NATS */
	struct weir_money_watch *money;	  /* NULL: nobody watches */
	struct weir_lags *lags;		  /* `published` is the publisher's to note */
	const char *db_path;		  /* for read-only connections */
	const char *policy_dir; /* agent.json "policies": what `policy apply` means without DIR */

	const char *const *services; /* names by service number (0 unused), for events */
	size_t n_services;

	/* How NATS is reached; NULL: none is configured. */
	const struct weir_nats_config *nats;

	/* Fills *out; everything in it, so callers need not clear it. */
	void (*status)(void *ctx, struct weir_status *out);

	/* A copy of the tenant's kernel entry. -ENOENT: no such index. */
	int (*tenant_live)(void *ctx, uint32_t tenant, struct weir_tenant *out);

	/* Name of an index (a scope's is "acme@embed") and index of a tenant's name, for those
	 * ever known to the ledger (one that left the policy keeps both). -ENOENT. */
	int (*tenant_name)(void *ctx, uint32_t tenant, char out[static WEIR_ENTRY_NAME_BYTES]);
	int (*tenant_index)(void *ctx, const char *name, uint32_t *out);

	/* The entry of a tenant's limits for a service. -ENOENT: it has none. */
	int (*scope_index)(void *ctx, uint32_t tenant, const char *service, uint32_t *out);

	/* How often each reason refused this tenant, or (shadow) would have, were that limit not
	 * in shadow (kernel map `denials`); index 0 is nobody. -ENOENT: no such index. A pair
	 * never refused is 0. */
	int (*denial_counts)(void *ctx, uint32_t tenant, bool shadow,
			     uint64_t out[static WEIR_REASON_MAX]);

	/* Requests in flight that are counted at the tenant or paid by it (slots.h): the oldest
	 * max of them, oldest first. Returns how many there are, also those not in out. */
	size_t (*open_requests)(void *ctx, uint32_t tenant, struct weir_open_request *out,
				size_t max);
	uint32_t boot; /* of request ids (weir_request_id) */

	/* The policy in force, with a reference for the caller (weir_policy_unref). Not NULL. */
	struct weir_policy *(*policy)(void *ctx);

	/* Read dir and put it in force, all or nothing. On failure err names file, path and
	 * value, and what was in force stays. */
	int (*reload)(void *ctx, const char *dir, struct weir_error *err);

	/* A stored key was committed (revoked_ns 0) or revoked: make the kernel agree. */
	int (*key_changed)(void *ctx, const struct weir_stored_key *key, struct weir_error *err);

	/* Who pays for a tenant: itself, or who its "wallet" leads to. Whoever is not in the policy
	 * pays for itself. -ENOENT: no such number. */
	int (*wallet_of)(void *ctx, uint32_t tenant, uint32_t *out);

	/*
	 * weir_ledger_post, now, for every kind: to be called in the writer's thread (from a
	 * function given to weir_writer_call). The kernel agrees when it returns. What a deduct
	 * takes is held off the kernel's ceiling before it is written: it and requests in flight
	 * never spend the same credit. Its overage_nano is filled in here, from the wallet's
	 * policy. Errors as of weir_ledger_post; a repeated key gives what was done, whatever is
	 * left now.
	 */
	int (*post)(void *ctx, struct weir_ledger *l, const struct weir_op *op,
		    struct weir_done *done, struct weir_error *err);

	/* weir_ledger_post_all, now, in the writer's thread. The kernel agrees when it returns. */
	int (*post_all)(void *ctx, struct weir_ledger *l, struct weir_post *posts, size_t n,
			struct weir_error *err);

	/* A switch was thrown and committed, or asked for again: put in force what holds now.
	 * Called in the writer's thread, in the very call that wrote it, so that two throws come
	 * to the kernel in the order of the ledger. */
	int (*switch_thrown)(void *ctx, const struct weir_switch *holds, struct weir_error *err);

	/* Cut what a tenant, and all below it, has in flight. It must be suspended. */
	int (*cut)(void *ctx, uint32_t tenant, struct weir_cut *out, struct weir_error *err);
};

#endif
