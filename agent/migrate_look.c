// SPDX-License-Identifier: Apache-2.0
/*
 * What is there, and what has to be done with each map: kept, copied or made anew.
 */
#include "migrate.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "free_lists.h"

#define OLDEST_ABI 3 /* the first whose programs know `frozen` */

/* -- settings */

/* A field of the one element; its bytes in *bytes. NULL: there is no such field. */
static void *field_of(const struct weir_settings *s, const struct btf *btf, const char *name,
		      size_t *bytes)
{
	size_t at;

	if (!weir_layout_field(btf, s->info.btf_value_type_id, name, &at, bytes))
		return NULL;
	return (char *)s->memory + at;
}

/* Of maps that are not memory, as before ABI 2, only that is asked. It is first in every ABI. */
static int read_abi(int fd, struct weir_settings *s, const char *path, struct weir_settings *out,
		    struct weir_error *err)
{
	weir_autofree void *value = calloc(1, s->info.value_size + sizeof(s->abi));
	uint32_t zero = 0;

	if (!value)
		return weir_fail(err, ENOMEM, "out of memory");
	if (bpf_map_lookup_elem(fd, &zero, value))
		return weir_fail(err, errno, "%s: cannot be read: %s", path, strerror(errno));
	memcpy(&s->abi, value, sizeof(s->abi));
	*out = *s;
	return 0;
}

int weir_settings_open(const char *path, struct weir_settings *out, struct weir_error *err)
{
	struct weir_settings s = {};
	weir_autoclose int fd = weir_map_open(path, &s.info);
	struct btf *btf;
	size_t bytes = 0;

	if (fd == -ENOENT)
		return fd;
	if (fd < 0)
		return weir_fail(err, -fd, "%s: cannot be read: %s", path, strerror(-fd));
	if (!(s.info.map_flags & BPF_F_MMAPABLE))
		return read_abi(fd, &s, path, out, err);
	s.memory = weir_map_memory(fd, &s.info);
	if (s.memory == MAP_FAILED)
		return weir_fail(err, errno, "%s: cannot be read: %s", path, strerror(errno));
	memcpy(&s.abi, s.memory, sizeof(s.abi));
	btf = btf__load_from_kernel_by_id(s.info.btf_id);
	if (btf) {
		s.frozen = field_of(&s, btf, "frozen", &bytes);
		s.port_service = field_of(&s, btf, "port_service", &bytes);
		if (bytes != 65536)
			s.port_service = NULL;
		btf__free(btf);
	}
	*out = s;
	return 0;
}

void weir_settings_close(struct weir_settings *s)
{
	weir_map_memory_free(s->memory, &s->info);
	s->memory = NULL;
}

static bool is_frozen(const struct weir_settings *s)
{
	return s->frozen && __atomic_load_n(s->frozen, __ATOMIC_ACQUIRE);
}

/* Does a folder hold maps that are frozen? */
static bool frozen_in(const char *dir)
{
	struct weir_settings s;
	char path[400];
	bool frozen;

	snprintf(path, sizeof(path), "%s/settings", dir);
	if (weir_settings_open(path, &s, NULL))
		return false;
	frozen = is_frozen(&s);
	weir_settings_close(&s);
	return frozen;
}

void weir_pins_folder_remove(const char *dir)
{
	char path[700];
	struct dirent *e;
	DIR *d = opendir(dir);

	if (!d)
		return;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path))
			weir_log(WEIR_WARN, "%s: cannot remove it: %s", path, strerror(errno));
	}
	closedir(d);
	rmdir(dir);
}

/* -- looking */

struct weir_map_pair *weir_migration_map(struct weir_migration *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->pairs[i].copy.name, name))
			return &m->pairs[i];
	assert(!"a map of ours");
	return NULL;
}

static bool named(const struct weir_map_pair *p, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(p->copy.name, *names))
			return true;
	return false;
}

/* What nothing is kept in, or what the agent writes anew before the maps are in force. */
static bool starts_empty(const struct weir_map_pair *p)
{
	static const char *const names[] = { "scratch", "replies", NULL };

	return bpf_map__type(p->map) == BPF_MAP_TYPE_PROG_ARRAY || named(p, names);
}

static bool agent_writes(const struct weir_map_pair *p)
{
	static const char *const names[] = { "keys", "sources", "names", "scopes", "rules", NULL };

	return named(p, names);
}

/* Stacks and queues have no types in BTF: their values never change but in size. */
static bool has_types(const struct weir_map_pair *p)
{
	return p->value_type && p->copy.from_info.btf_value_type_id;
}

static int compare_types(struct weir_map_pair *p, const struct btf *ours, struct weir_error *err)
{
	const struct bpf_map_info *info = &p->copy.from_info;
	struct btf *theirs = btf__load_from_kernel_by_id(info->btf_id);
	struct weir_error why = {};
	int r;

	if (!theirs)
		return weir_fail(err, errno, "map %s: its types cannot be read: %s", p->copy.name,
				 strerror(errno));
	r = weir_layout_new(theirs, info->btf_key_type_id, ours, p->key_type, &p->key, &why);
	if (!r)
		r = weir_layout_new(theirs, info->btf_value_type_id, ours, p->value_type, &p->value,
				    &why);
	btf__free(theirs);
	p->copy.key = p->key;
	p->copy.value = p->value;
	return r ? weir_fail(err, -r, "map %s: cannot be migrated: %s", p->copy.name, why.text) : 0;
}

static bool same_shape(const struct weir_map_pair *p)
{
	const struct bpf_map_info *info = &p->copy.from_info;

	return info->type == bpf_map__type(p->map) && info->key_size == bpf_map__key_size(p->map) &&
	       info->value_size == bpf_map__value_size(p->map) &&
	       info->map_flags == bpf_map__map_flags(p->map) &&
	       info->max_entries == bpf_map__max_entries(p->map);
}

/* Sets *same if the map can go on as it is, with nothing else changed. */
static int look_at(struct weir_migration *m, struct weir_map_pair *p, const struct btf *ours,
		   bool *same, struct weir_error *err)
{
	char path[400];
	int r;

	snprintf(path, sizeof(path), "%s/%s", m->maps, p->copy.name);
	p->copy.to = -1;
	p->copy.from = weir_map_open(path, &p->copy.from_info);
	*same = false;
	if (p->copy.from == -ENOENT) {
		p->how = weir_is_free_list(p->copy.name) ? WEIR_MAP_REBUILD : WEIR_MAP_NEW;
		return 0;
	}
	if (p->copy.from < 0)
		return weir_fail(err, -p->copy.from, "%s: cannot be read: %s", path,
				 strerror(-p->copy.from));
	*same = same_shape(p);
	p->how = WEIR_MAP_NEW;
	if (starts_empty(p))
		return 0;
	if (weir_is_free_list(p->copy.name)) {
		p->how = *same ? WEIR_MAP_REUSE : WEIR_MAP_REBUILD;
		return 0;
	}
	if (has_types(p)) {
		r = compare_types(p, ours, err);
		if (r)
			return r;
		*same = *same && weir_layout_same(p->key) && weir_layout_same(p->value);
	}
	/* Whoever has the old settings stays frozen, whatever becomes of the new. */
	p->how = *same && strcmp(p->copy.name, "settings") ? WEIR_MAP_REUSE : WEIR_MAP_COPY;
	p->early = agent_writes(p);
	if (p->how == WEIR_MAP_COPY && !has_types(p))
		return weir_fail(err, ENOTSUP, "map %s: of another size, and cannot be copied",
				 p->copy.name);
	return 0;
}

static int look_at_all(struct weir_migration *m, struct bpf_object *obj, struct weir_error *err)
{
	struct bpf_map *map;
	bool same;
	int r = 0;

	m->needed = m->old.abi != WEIR_ABI_VERSION;
	bpf_object__for_each_map(map, obj)
	{
		struct weir_map_pair *p = &m->pairs[m->n];

		if (strchr(bpf_map__name(map), '.'))
			continue;
		if (m->n == WEIR_MAPS_MAX)
			return weir_fail(err, E2BIG, "more maps than are known how to migrate");
		p->map = map;
		snprintf(p->name, sizeof(p->name), "%s", bpf_map__name(map));
		p->copy.name = p->name;
		p->key_type = bpf_map__btf_key_type_id(map);
		p->value_type = bpf_map__btf_value_type_id(map);
		m->n++;
		r = look_at(m, p, bpf_object__btf(obj), &same, err);
		if (r)
			return r;
		m->needed |= !same;
	}
	/* They name answers by number, which depends on how many reasons there are. */
	if (!same_shape(weir_migration_map(m, "replies")) &&
	    weir_migration_map(m, "lingers")->how == WEIR_MAP_REUSE)
		weir_migration_map(m, "lingers")->how = WEIR_MAP_COPY;
	return 0;
}

static int refuse_abi(const struct weir_migration *m, const char *instance, struct weir_error *err)
{
	return weir_fail(err, EPROTO,
			 "instance \"%s\": its kernel maps are of ABI %u, this agent speaks %u; "
			 "run weir-agent --detach (counts in the kernel are lost, the ledger is "
			 "not)",
			 instance, m->old.abi, WEIR_ABI_VERSION);
}

int weir_migration_look(struct bpf_object *obj, const char *pin_dir, const char *instance,
			struct weir_migration **out, struct weir_error *err)
{
	struct weir_migration *m = calloc(1, sizeof(*m));
	char path[400];
	int r;

	if (!m)
		return weir_fail(err, ENOMEM, "out of memory");
	snprintf(m->maps, sizeof(m->maps), "%s/maps", pin_dir);
	snprintf(m->new_maps, sizeof(m->new_maps), "%s_new", m->maps);
	snprintf(path, sizeof(path), "%s/settings", m->maps);
	r = weir_settings_open(path, &m->old, err);
	/* abi_version is stored last: without it whoever made them did not come to the end,
	 * and no program was put on a hook. */
	if (r == -ENOENT || (!r && !m->old.abi)) {
		weir_pins_folder_remove(m->new_maps);
		weir_pins_folder_remove(m->maps);
		r = mkdir(m->maps, 0700) ? weir_fail(err, errno, "%s: cannot make it: %s", m->maps,
						     strerror(errno))
					 : 0;
		weir_migration_free(m);
		*out = NULL;
		return r;
	}
	if (!r && (m->old.abi < OLDEST_ABI || !m->old.frozen || !m->old.port_service))
		r = refuse_abi(m, instance, err);
	if (!r) {
		m->ours = bpf_object__btf(obj);
		m->frozen = is_frozen(&m->old);
		m->unfinished = !m->frozen && frozen_in(m->new_maps);
		r = look_at_all(m, obj, err);
	}
	if (r) {
		weir_migration_free(m);
		return r;
	}
	/* What closed while the maps before those were frozen is left to the comparison with
	 * sockets (drift.h): two versions, each killed in the midst of this, do not count. */
	if (!m->unfinished || m->needed)
		weir_pins_folder_remove(m->new_maps);
	*out = m;
	return 0;
}

void weir_migration_free(struct weir_migration *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		weir_close_fd(&m->pairs[i].copy.from);
		weir_layout_free(m->pairs[i].key);
		weir_layout_free(m->pairs[i].value);
	}
	weir_settings_close(&m->old);
	free(m);
}

unsigned weir_migration_copied(const struct weir_migration *m)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->n; i++)
		n += m->pairs[i].how != WEIR_MAP_REUSE;
	return n;
}
