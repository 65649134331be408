// SPDX-License-Identifier: Apache-2.0
/*
 * The steps. Knows folders of pins, and maps; not programs and links.
 */
#include "migrate.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "free_lists.h"

int weir_migration_stage(struct weir_migration *m, struct weir_error *err)
{
	char path[400];
	int r;

	if (mkdir(m->new_maps, 0700) && errno != EEXIST)
		return weir_fail(err, errno, "%s: cannot make it: %s", m->new_maps,
				 strerror(errno));
	for (size_t i = 0; i < m->n; i++) {
		struct weir_map_pair *p = &m->pairs[i];

		snprintf(path, sizeof(path), "%s/%s", m->new_maps, p->copy.name);
		r = p->how == WEIR_MAP_REUSE ? bpf_map__reuse_fd(p->map, p->copy.from) : 0;
		if (!r)
			r = bpf_map__set_pin_path(p->map, path);
		if (r)
			return weir_fail(err, -r, "map %s: cannot be taken over: %s", p->copy.name,
					 strerror(-r));
	}
	return 0;
}

static int know_new(struct weir_map_pair *p, struct weir_error *err)
{
	uint32_t len = sizeof(p->copy.to_info);

	p->copy.to = bpf_map__fd(p->map);
	memset(&p->copy.to_info, 0, sizeof(p->copy.to_info));
	if (bpf_obj_get_info_by_fd(p->copy.to, &p->copy.to_info, &len))
		return weir_fail(err, errno, "map %s: cannot be read: %s", p->copy.name,
				 strerror(errno));
	return 0;
}

static int copy_some(struct weir_migration *m, bool early, struct weir_error *err)
{
	int r = 0;

	for (size_t i = 0; i < m->n && !r; i++) {
		struct weir_map_pair *p = &m->pairs[i];

		if (p->how == WEIR_MAP_COPY && p->early == early)
			r = weir_map_copy(&p->copy, err);
	}
	return r;
}

/* Numbers that there were not before: nothing holds one. A list's other numbers go on top. */
static int add_numbers(struct weir_map_pair *p, uint32_t first, struct weir_error *err)
{
	uint32_t had = p->copy.from_info.max_entries, has = p->copy.to_info.max_entries;

	if (p->how != WEIR_MAP_REBUILD || had >= has)
		return 0;
	return weir_stack_fill(p->copy.to, p->copy.name, first + had, has - had, NULL, err);
}

/* Readers below are the CPUs' own. */
static uint32_t first_reader(struct weir_migration *m)
{
	return weir_migration_map(m, "readers")->copy.to_info.max_entries -
	       weir_migration_map(m, "free_readers")->copy.to_info.max_entries;
}

int weir_migration_copy_early(struct weir_migration *m, struct weir_error *err)
{
	int r = 0;

	for (size_t i = 0; i < m->n && !r; i++)
		r = know_new(&m->pairs[i], err);
	if (!r)
		r = add_numbers(weir_migration_map(m, "free_slots"), 0, err);
	if (!r)
		r = add_numbers(weir_migration_map(m, "free_readers"), first_reader(m), err);
	return r ? r : copy_some(m, true, err);
}

/* The kernel lets nobody return from a change of an array of maps while a program runs that
 * may have seen it as it was (kernel/bpf/syscall.c, maybe_wait_bpf_programs). */
int weir_programs_wait(struct weir_error *err)
{
	weir_autoclose int inner =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_wait_in", 4, 4, 1, NULL);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = inner);
	weir_autoclose int outer = -1;
	uint32_t zero = 0;

	if (inner >= 0)
		outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "weir_wait", 4, 4, 1, &opts);
	if (outer < 0 || bpf_map_update_elem(outer, &zero, &inner, BPF_ANY))
		return weir_fail(err, errno, "cannot wait for running programs: %s",
				 strerror(errno));
	return 0;
}

int weir_migration_freeze(struct weir_migration *m, struct weir_error *err)
{
	m->frozen_ns = weir_mono_ns();
	__atomic_store_n(m->old.frozen, 1, __ATOMIC_SEQ_CST);
	return weir_programs_wait(err);
}

/* A refused connection's answer names its template by number, which depends on how many
 * reasons there are. */
struct templates {
	uint32_t old_reasons, new_reasons;
	size_t at;
};

static int move_template(void *ctx, const void *key, void *value)
{
	const struct templates *t = ctx;
	uint32_t number, reason;

	memcpy(&number, (char *)value + t->at, sizeof(number));
	reason = number % t->old_reasons;
	if (reason >= t->new_reasons)
		return 1; /* we do not have that answer: its client gets a RST */
	number = number / t->old_reasons * t->new_reasons + reason;
	memcpy((char *)value + t->at, &number, sizeof(number));
	return 0;
}

static int look_up_template(struct weir_migration *m, struct templates *t, struct weir_error *err)
{
	struct weir_map_pair *p = weir_migration_map(m, "lingers"),
			     *replies = weir_migration_map(m, "replies");
	size_t bytes;

	if (p->how != WEIR_MAP_COPY || replies->copy.from < 0)
		return 0;
	t->old_reasons = replies->copy.from_info.max_entries / WEIR_API_MAX;
	t->new_reasons = WEIR_REASON_MAX;
	if (!t->old_reasons ||
	    !weir_layout_field(m->ours, p->value_type, "template", &t->at, &bytes))
		return weir_fail(err, ENOTSUP, "map lingers: not what it was");
	p->copy.each = move_template;
	p->copy.ctx = t;
	return 0;
}

/* To be called for every connection as it is copied. */
static int know_in_use(struct weir_migration *m, struct weir_in_use **u, struct weir_error *err)
{
	struct weir_map_pair *flows = weir_migration_map(m, "flows");
	int r = weir_in_use_new(
		m->ours, flows->value_type,
		weir_migration_map(m, "free_slots")->copy.from_info.max_entries, first_reader(m),
		weir_migration_map(m, "free_readers")->copy.from_info.max_entries, u, err);

	flows->copy.each = weir_in_use_add;
	flows->copy.ctx = *u;
	return r;
}

static int rebuild(struct weir_migration *m, struct weir_in_use *u, struct weir_error *err)
{
	struct weir_map_pair *flows = weir_migration_map(m, "flows");
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < m->n; i++)
		any |= m->pairs[i].how == WEIR_MAP_REBUILD;
	if (any && flows->how == WEIR_MAP_REUSE)
		r = weir_map_each(flows->copy.to, &flows->copy.to_info, weir_in_use_add, u, err);
	for (size_t i = 0; i < m->n && !r; i++) {
		struct weir_map_pair *p = &m->pairs[i];

		if (p->how == WEIR_MAP_REBUILD)
			r = weir_in_use_fill(u, p->copy.name, p->copy.to, err);
	}
	return r;
}

int weir_migration_copy(struct weir_migration *m, struct weir_error *err)
{
	struct weir_in_use *u = NULL;
	struct templates templates;
	struct weir_config *c;
	int r = know_in_use(m, &u, err);

	if (!r)
		r = look_up_template(m, &templates, err);
	if (!r)
		r = copy_some(m, false, err);
	if (!r)
		r = rebuild(m, u, err);
	weir_in_use_free(u);
	if (r)
		return r;
	c = weir_map_memory(weir_migration_map(m, "settings")->copy.to,
			    &weir_migration_map(m, "settings")->copy.to_info);
	if (c == MAP_FAILED)
		return weir_fail(err, errno, "settings: cannot be written: %s", strerror(errno));
	c->frozen = 0;
	__atomic_store_n(&c->abi_version, WEIR_ABI_VERSION, __ATOMIC_RELEASE);
	weir_map_memory_free(c, &weir_migration_map(m, "settings")->copy.to_info);
	return 0;
}

int weir_migration_commit(struct weir_migration *m, struct weir_error *err)
{
	if (renameat2(AT_FDCWD, m->new_maps, AT_FDCWD, m->maps, RENAME_EXCHANGE))
		return weir_fail(err, errno, "%s: cannot take the place of %s: %s", m->new_maps,
				 m->maps, strerror(errno));
	return 0;
}

void weir_migration_drop_old(struct weir_migration *m)
{
	struct weir_settings s;
	char path[400];

	snprintf(path, sizeof(path), "%s/settings", m->new_maps);
	/* A classic filter in a network namespace that agent.json does not name any more was
	 * not found: it would drop for ever. */
	if (!weir_settings_open(path, &s, NULL)) {
		if (s.port_service)
			memset(s.port_service, 0, 65536);
		weir_settings_close(&s);
	}
	weir_pins_folder_remove(m->new_maps);
}

void weir_migration_abort(struct weir_migration *m)
{
	__atomic_store_n(m->old.frozen, 0, __ATOMIC_SEQ_CST);
	weir_pins_folder_remove(m->new_maps);
}

/* -- what closed meanwhile */

struct closed {
	const struct weir_layout *key;
	size_t opened_at, flags_at;
	void (*found)(void *ctx, const struct weir_reap *r);
	void *ctx;
	int n;
};

static int look_closed(void *ctx, const void *key, void *value)
{
	struct closed *c = ctx;
	struct weir_reap r = {};
	uint32_t flags;

	memcpy(&flags, (char *)value + c->flags_at, sizeof(flags));
	if (!(flags & WEIR_FLOW_SOCKET_GONE) || weir_layout_copy(c->key, key, &r.key))
		return 0;
	memcpy(&r.opened_ns, (char *)value + c->opened_at, sizeof(r.opened_ns));
	c->found(c->ctx, &r);
	c->n++;
	return 0;
}

int weir_migration_closed(struct weir_migration *m, const char *dir,
			  void (*found)(void *ctx, const struct weir_reap *r), void *ctx,
			  struct weir_error *err)
{
	struct closed c = { .found = found, .ctx = ctx };
	struct weir_layout *key = NULL;
	struct bpf_map_info info;
	weir_autoclose int fd = -1;
	char path[400];
	struct btf *btf;
	size_t bytes;
	int r;

	snprintf(path, sizeof(path), "%s/flows", dir);
	fd = weir_map_open(path, &info);
	if (fd < 0)
		return weir_fail(err, -fd, "%s: cannot be read: %s", path, strerror(-fd));
	btf = btf__load_from_kernel_by_id(info.btf_id);
	if (!btf)
		return weir_fail(err, errno, "%s: its types cannot be read: %s", path,
				 strerror(errno));
	r = weir_layout_new(btf, info.btf_key_type_id, m->ours,
			    weir_migration_map(m, "flows")->key_type, &key, err);
	if (!r &&
	    (!weir_layout_field(btf, info.btf_value_type_id, "opened_ns", &c.opened_at, &bytes) ||
	     !weir_layout_field(btf, info.btf_value_type_id, "flags", &c.flags_at, &bytes)))
		r = weir_fail(err, ENOTSUP, "%s: not what it was", path);
	btf__free(btf);
	c.key = key;
	if (!r)
		r = weir_map_each(fd, &info, look_closed, &c, err);
	weir_layout_free(key);
	return r ? r : c.n;
}
