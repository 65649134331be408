/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's side of the kernel programs: load, pin, and the maps as memory.
 * Everything is pinned under /sys/fs/bpf/weir/<instance>, so that limits hold
 * and the ring fills while no agent runs; a new agent finds it all there.
 * attach.h puts the programs on interfaces.
 */
#ifndef WEIR_KERNEL_H
#define WEIR_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "config.h"
#include "util.h"

/* Source prefixes that max_tenants makes room for. Their map and that of the keys have twice
 * the room: while a policy is replaced they hold the new ones and the old. */
#define WEIR_WAYS_PER_TENANT 4

#define WEIR_PIN_ROOT "/sys/fs/bpf/weir"

struct weir_bpf;
struct weir_migration;

/* `seen` as memory: an array's elements are 8 bytes apart, however small. */
struct weir_seen_bits {
	uint32_t bits; /* enum weir_seen */
	uint32_t pad;
};

struct weir_kernel {
	struct weir_bpf *skel;
	char pin_dir[256];
	bool fresh; /* the maps were made just now; nothing was found pinned */
	struct weir_migration *migration; /* what weir_takeover has to do; NULL: nothing */

	/* Maps as memory. Who may write what is said in weir_abi.h. */
	struct weir_config *config;
	struct weir_tenant *tenants;
	struct weir_slot *slots;
	struct weir_rules *rules;    /* WEIR_RULES_MAX */
	struct weir_seen_bits *seen; /* by service, WEIR_MAX_SERVICES */
	uint32_t max_tenants;
	uint32_t max_flows;
	uint32_t max_keys;

	int ring_fd, keys_fd, sources_fd, names_fd, scopes_fd, flows_fd, denials_fd, counters_fd;
	int replies_fd;
	size_t ring_bytes;
	int cpus; /* possible, for per-CPU values */
};

/* Load for cfg's instance, on the maps that are pinned, or on new ones beside them when those
 * are of another ABI or smaller: weir_takeover then puts these in force. Fails, with the cause
 * and the cure in err, without root, BTF, a new enough kernel, or when the pinned maps are of
 * an ABI before 3 or larger than they are to be. Does not attach anything. */
int weir_kernel_open(const struct weir_agent_config *cfg, struct weir_kernel **out,
		     struct weir_error *err);

/* How requests are told apart, which cfg says. */
void weir_kernel_store_forms(struct weir_kernel *k, const struct weir_agent_config *cfg);

/* Unmaps and closes. Pins stay. NULL is fine. */
void weir_kernel_close(struct weir_kernel *k);

/* Remove the instance's maps from bpffs. Links first (weir_detach). */
int weir_kernel_unpin(const char *instance, struct weir_error *err);

/* Sums of the per-CPU verdict counters. */
void weir_kernel_counters(const struct weir_kernel *k, uint64_t out[static WEIR_REASON_MAX]);

/* Expire half-open connections and refused flows that nothing else will end. */
int weir_kernel_sweep(struct weir_kernel *k);

/* Give back connections whose sockets are gone: those of r[n] that still are what r says.
 * 0 or -errno. */
int weir_kernel_reap(struct weir_kernel *k, const struct weir_reap *r, size_t n);

/* What a map takes of the kernel's memory, as far as it tells: since 6.4 what it has, before
 * that what it would have when full. Per-CPU maps on all CPUs. */
struct weir_map_size {
	char name[16];
	uint32_t entries;
	uint64_t bytes;
};

/* Of every map; returns how many there are in out, at most max. */
size_t weir_kernel_maps(const struct weir_kernel *k, struct weir_map_size *out, size_t max);

/* Of all of them, in bytes. */
uint64_t weir_kernel_memory(const struct weir_kernel *k);

/* Only one agent per instance: takes and holds /run/weir/<instance>.lock. Returns
 * an fd to keep open, or -errno (-EBUSY: another one runs). */
int weir_instance_lock(const char *instance, struct weir_error *err);

/* /run/weir/<instance><suffix> into out; makes the folder. */
int weir_run_path(const char *instance, const char *suffix, char *out, size_t n,
		  struct weir_error *err);

#endif
