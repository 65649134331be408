/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel maps of another layout or size, made anew with all that is in them. The steps are
 * here, one function each; takeover.h has their order, and what programs and links do.
 *
 * What a crash may leave, and how the next start (of either version) tells:
 *
 *   maps/      maps_new/   settings of maps/, of maps_new/
 *   in force   -           not frozen, -             nothing was going on
 *   in force   new ones    not frozen, not frozen    before the freeze: maps_new/ goes
 *   old ones   new ones    frozen, any               before the exchange: maps_new/ goes, then
 *                                                    again, or unfrozen if their layout is ours
 *   new ones   old ones    not frozen, frozen        after the exchange: links are switched,
 *                                                    what closed meanwhile is reaped, and
 *                                                    maps_new/ goes
 *
 * The exchange of the two folders is one rename: there is no time with neither or both.
 */
#ifndef WEIR_MIGRATE_H
#define WEIR_MIGRATE_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "map_copy.h"
#include "util.h"

#define WEIR_MAPS_MAX 48

/* Settings of any ABI, found by the names of their fields. */
struct weir_settings {
	struct bpf_map_info info;
	void *memory;
	uint32_t abi;
	uint32_t *frozen;      /* NULL: before ABI 3 */
	uint8_t *port_service; /* of every port */
};

/* -ENOENT: there are none. */
int weir_settings_open(const char *path, struct weir_settings *out, struct weir_error *err);
void weir_settings_close(struct weir_settings *s);

/* One map of ours, and what is pinned under its name. */
struct weir_map_pair {
	struct bpf_map *map;
	char name[32]; /* libbpf frees its own when it reuses a map */
	enum { WEIR_MAP_NEW, WEIR_MAP_REUSE, WEIR_MAP_COPY, WEIR_MAP_REBUILD } how;
	bool early; /* COPY: only the agent writes it, so that it can be copied before the freeze */
	struct weir_map_copy copy; /* `from` -1: nothing is pinned */
	uint32_t key_type,
		value_type; /* in our BTF; the map's own say otherwise once it is reused */
	struct weir_layout *key, *value;
};

struct weir_migration {
	char maps[320], new_maps[328]; /* folders; bpffs refuses a dot */
	const struct btf *ours;	       /* of the object that is to be loaded */
	struct weir_settings old;
	bool needed;	 /* the maps are to be made anew */
	bool frozen;	 /* those in force are, by one that did not come to the exchange */
	bool unfinished; /* one came to the exchange, and not to its end */
	struct weir_map_pair pairs[WEIR_MAPS_MAX];
	size_t n;
	uint64_t frozen_ns; /* when it was done here; 0: not */
};

/* What is pinned in pin_dir, compared with obj, which is not loaded yet but has its sizes.
 * *out NULL: nothing of use is there, the maps are fresh. -EPROTO: of an ABI before 3. */
int weir_migration_look(struct bpf_object *obj, const char *pin_dir, const char *instance,
			struct weir_migration **out, struct weir_error *err);

/* The map of ours with that name: there is one. */
struct weir_map_pair *weir_migration_map(struct weir_migration *m, const char *name);

/* How many maps are not the ones that were. */
unsigned weir_migration_copied(const struct weir_migration *m);

/* Remove a folder of pins, if it is there. */
void weir_pins_folder_remove(const char *dir);

/* NULL is fine. Undoes nothing. */
void weir_migration_free(struct weir_migration *m);

/* Before obj is loaded: new maps go to the second folder, those that stay as they are too. */
int weir_migration_stage(struct weir_migration *m, struct weir_error *err);

/* From here on obj is loaded. What the agent alone writes. */
int weir_migration_copy_early(struct weir_migration *m, struct weir_error *err);

/* Programs on the old maps drop what is guarded, and none is left that began before. */
int weir_migration_freeze(struct weir_migration *m, struct weir_error *err);

/* All the rest. Free lists are made anew from the connections that hold what is taken. */
int weir_migration_copy(struct weir_migration *m, struct weir_error *err);

/* The new ones are in force. */
int weir_migration_commit(struct weir_migration *m, struct weir_error *err);

/* The old ones guard nothing any more and go. Links must have been switched. */
void weir_migration_drop_old(struct weir_migration *m);

/* Before the exchange: the old ones go on as if nothing had been. */
void weir_migration_abort(struct weir_migration *m);

/* Call found() with every connection of the maps in a folder whose socket closed while they
 * were frozen: the programs only mark those. Returns how many, or -errno. */
int weir_migration_closed(struct weir_migration *m, const char *dir,
			  void (*found)(void *ctx, const struct weir_reap *r), void *ctx,
			  struct weir_error *err);

/* Returns when no program is running any more that ran when it was called. */
int weir_programs_wait(struct weir_error *err);

#endif
