// SPDX-License-Identifier: Apache-2.0
/*
 * Loads the kernel programs and maps the maps. Must not attach anything: until
 * attach.c does, no packet is touched.
 */
#include "kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "free_lists.h"
#include "kernel_lines.h"
#include "migrate.h"
#include "replies.h"
#include "weir.skel.h"

#define RUN_DIR "/run/weir"

/* The last words of libbpf at warning level: what it says when a load fails. */
static __thread char libbpf_said[256];

static int on_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512];

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = 0;
	/* The first complaint is the cause; the others follow from it. */
	if (!libbpf_said[0])
		snprintf(libbpf_said, sizeof(libbpf_said), "%.255s", line);
	return 0;
}

int weir_run_path(const char *instance, const char *suffix, char *out, size_t n,
		  struct weir_error *err)
{
	if (mkdir(RUN_DIR, 0755) && errno != EEXIST)
		return weir_fail(err, errno, RUN_DIR ": cannot make it: %s", strerror(errno));
	if (snprintf(out, n, RUN_DIR "/%s%s", instance, suffix) >= (int)n)
		return weir_fail(err, ENAMETOOLONG, "instance \"%s\": name too long", instance);
	return 0;
}

int weir_instance_lock(const char *instance, struct weir_error *err)
{
	char path[256];
	int fd, r = weir_run_path(instance, ".lock", path, sizeof(path), err);

	if (r)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return weir_fail(err, errno, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return weir_fail(err, EBUSY,
				 "instance \"%s\": another weir-agent runs it (%s is locked); stop "
				 "that one, or give this one another \"instance\"",
				 instance, path);
	}
	return fd;
}

static int check_machine(struct weir_error *err)
{
	struct statfs fs;

	if (geteuid() != 0)
		return weir_fail(err, EPERM, "weir-agent loads kernel programs: run it as root");
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return weir_fail(
			err, ENOTSUP,
			"/sys/kernel/btf/vmlinux: not there; this kernel was built without "
			"BTF (CONFIG_DEBUG_INFO_BTF), Weir needs 6.1 or newer with it");
	if (statfs("/sys/fs/bpf", &fs) || fs.f_type != BPF_FS_MAGIC) {
		if (mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"))
			return weir_fail(err, errno,
					 "/sys/fs/bpf: no bpffs there, and mounting one failed: %s",
					 strerror(errno));
	}
	return 0;
}

static int make_dirs(struct weir_kernel *k, const char *instance, struct weir_error *err)
{
	char path[300];

	snprintf(k->pin_dir, sizeof(k->pin_dir), WEIR_PIN_ROOT "/%s", instance);
	const char *const dirs[] = { WEIR_PIN_ROOT, k->pin_dir, "maps", "links" };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (i < 2)
			snprintf(path, sizeof(path), "%s", dirs[i]);
		else
			snprintf(path, sizeof(path), "%s/%s", k->pin_dir, dirs[i]);
		if (mkdir(path, 0700) && errno != EEXIST)
			return weir_fail(err, errno, "%s: cannot make it: %s", path,
					 strerror(errno));
	}
	return 0;
}

/* Maps may grow: they are made anew. What is in them might not fit in smaller ones, and the ring
 * cannot be copied. */
static int check_size(const struct weir_kernel *k, const struct bpf_map *map, uint32_t want,
		      const char *field, const char *instance, struct weir_error *err)
{
	struct bpf_map_info info;
	char path[400];
	weir_autoclose int fd = -1;

	snprintf(path, sizeof(path), "%s/maps/%s", k->pin_dir, bpf_map__name(map));
	fd = weir_map_open(path, &info);
	if (fd < 0 || info.max_entries == want ||
	    (info.max_entries < want && info.type != BPF_MAP_TYPE_RINGBUF))
		return 0;
	return weir_fail(err, EINVAL,
			 "%s: map %s of instance \"%s\" has %u entries, and would have %u; run "
			 "weir-agent --detach first, or set it back",
			 field, bpf_map__name(map), instance, info.max_entries, want);
}

static int size_maps(struct weir_kernel *k, const struct weir_agent_config *cfg,
		     struct weir_error *err)
{
	struct weir_bpf *s = k->skel;
	uint32_t cpus = (uint32_t)libbpf_num_possible_cpus();
	int r = 0;
	struct {
		struct bpf_map *map;
		uint32_t entries;
		const char *field;
	} const sizes[] = {
		{ s->maps.tenants, cfg->max_tenants, "max_tenants" },
		{ s->maps.flows, cfg->max_flows, "max_flows" },
		{ s->maps.slots, cfg->max_flows, "max_flows" },
		{ s->maps.free_slots, cfg->max_flows, "max_flows" },
		{ s->maps.half_open, cfg->max_flows / 4 < 1024 ? 1024 : cfg->max_flows / 4,
		  "max_flows" },
		{ s->maps.keys, cfg->max_keys * 2, "max_keys" },
		{ s->maps.sources, cfg->max_tenants * 2 * WEIR_WAYS_PER_TENANT, "max_tenants" },
		{ s->maps.names, cfg->max_tenants, "max_tenants" },
		{ s->maps.scopes, cfg->max_tenants, "max_tenants" },
		{ s->maps.denials, cfg->max_tenants * 4, "max_tenants" },
		{ s->maps.free_readers, cfg->max_split_heads, "max_split_heads" },
		{ s->maps.readers, cpus + cfg->max_split_heads, "max_split_heads" },
		{ s->maps.ring, cfg->ring_bytes, "ring_bytes" },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && !r; i++) {
		bpf_map__set_max_entries(sizes[i].map, sizes[i].entries);
		r = check_size(k, sizes[i].map, sizes[i].entries, sizes[i].field, cfg->instance,
			       err);
	}
	return r;
}

static int pin_maps(struct weir_kernel *k, struct weir_error *err)
{
	struct bpf_map *map;
	char path[400];

	bpf_object__for_each_map(map, k->skel->obj)
	{
		const char *name = bpf_map__name(map);

		if (strchr(name, '.'))
			continue;
		snprintf(path, sizeof(path), "%s/maps/%s", k->pin_dir, name);
		if (bpf_map__set_pin_path(map, path))
			return weir_fail(err, ENOMEM, "%s: cannot set as pin path", path);
	}
	return 0;
}

static void *map_memory(int fd, size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return mmap(NULL, (bytes + page - 1) & ~(page - 1), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    0);
}

static void unmap_memory(void *p, size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);

	if (p && p != MAP_FAILED)
		munmap(p, (bytes + page - 1) & ~(page - 1));
}

static int map_maps(struct weir_kernel *k, struct weir_error *err)
{
	struct weir_bpf *s = k->skel;

	k->config = map_memory(bpf_map__fd(s->maps.settings), sizeof(*k->config));
	k->tenants = map_memory(bpf_map__fd(s->maps.tenants),
				(size_t)k->max_tenants * sizeof(*k->tenants));
	k->slots = map_memory(bpf_map__fd(s->maps.slots), (size_t)k->max_flows * sizeof(*k->slots));
	k->rules = map_memory(bpf_map__fd(s->maps.rules), WEIR_RULES_MAX * sizeof(*k->rules));
	k->seen = map_memory(bpf_map__fd(s->maps.seen), WEIR_MAX_SERVICES * sizeof(*k->seen));
	if (k->config == MAP_FAILED || k->tenants == MAP_FAILED || k->slots == MAP_FAILED ||
	    k->rules == MAP_FAILED || k->seen == MAP_FAILED)
		return weir_fail(err, errno, "kernel maps: cannot map them into memory: %s",
				 strerror(errno));
	k->ring_fd = bpf_map__fd(s->maps.ring);
	k->keys_fd = bpf_map__fd(s->maps.keys);
	k->sources_fd = bpf_map__fd(s->maps.sources);
	k->names_fd = bpf_map__fd(s->maps.names);
	k->scopes_fd = bpf_map__fd(s->maps.scopes);
	k->flows_fd = bpf_map__fd(s->maps.flows);
	k->denials_fd = bpf_map__fd(s->maps.denials);
	k->counters_fd = bpf_map__fd(s->maps.counters);
	k->replies_fd = bpf_map__fd(s->maps.replies);
	return 0;
}

static int random_u64(uint64_t *out, struct weir_error *err)
{
	return getrandom(out, sizeof(*out), 0) == sizeof(*out)
		       ? 0
		       : weir_fail(err, errno, "no random numbers: %s", strerror(errno));
}

/* What a set of maps keeps for as long as it lives. */
static int finish_fresh(struct weir_kernel *k, const struct weir_agent_config *cfg,
			struct weir_error *err)
{
	int r = weir_stack_fill(bpf_map__fd(k->skel->maps.free_slots), "free_slots", 0,
				cfg->max_flows, NULL, err);

	/* Readers below are the CPUs' own. */
	if (!r)
		r = weir_stack_fill(bpf_map__fd(k->skel->maps.free_readers), "free_readers",
				    (uint32_t)k->cpus, cfg->max_split_heads, NULL, err);
	if (!r)
		r = random_u64(&k->config->maps_id, err);
	if (!r)
		r = random_u64(&k->config->hash_key, err);
	return r;
}

/* A number that now means another port: what came to the old one says nothing of it. */
static void forget_seen(struct weir_kernel *k, const struct weir_agent_config *cfg)
{
	for (size_t i = 0; i < cfg->n_services; i++)
		if (k->config->services[i + 1].port != cfg->services[i].port)
			__atomic_store_n(&k->seen[i + 1].bits, 0, __ATOMIC_RELAXED);
}

/* What of requests is shipped for their labels. */
static void store_labels(struct weir_config *c, const struct weir_label_config *labels)
{
	struct weir_line_name names[WEIR_LINE_NAMES] = {};
	uint64_t bits = 0;
	uint32_t n = weir_label_lines(labels, names, &bits);

	weir_lines_store(c, names, n, bits);
	c->asked_bytes = labels->asked_bytes;
}

/* How requests are told apart. Programs of an earlier agent may be running on these: a
 * list that changes is empty for a moment, which is strict, and one that does not is
 * not touched. */
void weir_kernel_store_forms(struct weir_kernel *k, const struct weir_agent_config *cfg)
{
	struct weir_config *c = k->config;

	forget_seen(k, cfg);
	c->head_timeout_ns = cfg->head_timeout_ns;
	c->idle_timeout_ns = cfg->idle_timeout_ns;
	c->free_options = cfg->free_options;
	c->first_reader = (uint32_t)k->cpus;
	c->max_heads_per_source = cfg->max_split_heads / 16 > 4 ? cfg->max_split_heads / 16 : 4;
	if (c->n_free_paths != cfg->n_free_paths ||
	    memcmp(c->free_paths, cfg->free_paths, sizeof(c->free_paths))) {
		__atomic_store_n(&c->n_free_paths, 0, __ATOMIC_SEQ_CST);
		memcpy(c->free_paths, cfg->free_paths, sizeof(c->free_paths));
		__atomic_store_n(&c->n_free_paths, cfg->n_free_paths, __ATOMIC_SEQ_CST);
	}
	if (c->n_trusted != cfg->n_trusted ||
	    memcmp(c->trusted, cfg->trusted, sizeof(c->trusted))) {
		__atomic_store_n(&c->n_trusted, 0, __ATOMIC_SEQ_CST);
		memcpy(c->trusted, cfg->trusted, sizeof(c->trusted));
		__atomic_store_n(&c->n_trusted, cfg->n_trusted, __ATOMIC_SEQ_CST);
	}
	store_labels(c, &cfg->labels);
}

static int write_replies(struct weir_kernel *k, struct weir_error *err)
{
	weir_autofree struct weir_reply *t = calloc(WEIR_API_MAX * WEIR_REASON_MAX, sizeof(*t));

	if (!t)
		return weir_fail(err, ENOMEM, "out of memory");
	weir_replies_build(t);
	for (uint32_t i = 0; i < WEIR_API_MAX * WEIR_REASON_MAX; i++)
		if (bpf_map_update_elem(k->replies_fd, &i, &t[i], BPF_ANY))
			return weir_fail(err, errno, "replies: cannot write them: %s",
					 strerror(errno));
	return 0;
}

int weir_kernel_open(const struct weir_agent_config *cfg, struct weir_kernel **out,
		     struct weir_error *err)
{
	struct weir_kernel *k;
	int r = check_machine(err);

	if (r)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return weir_fail(err, ENOMEM, "out of memory");
	k->max_tenants = cfg->max_tenants;
	k->max_flows = cfg->max_flows;
	k->max_keys = cfg->max_keys;
	k->ring_bytes = cfg->ring_bytes;
	k->cpus = libbpf_num_possible_cpus();
	libbpf_said[0] = 0;
	libbpf_set_print(on_libbpf);
	r = make_dirs(k, cfg->instance, err);
	if (r)
		goto fail;
	k->skel = weir_bpf__open();
	if (!k->skel) {
		r = weir_fail(err, errno, "kernel programs: cannot read them: %s", libbpf_said);
		goto fail;
	}
	r = size_maps(k, cfg, err);
	if (!r)
		r = weir_migration_look(k->skel->obj, k->pin_dir, cfg->instance, &k->migration,
					err);
	if (!r)
		r = k->migration && k->migration->needed ? weir_migration_stage(k->migration, err)
							 : pin_maps(k, err);
	if (r)
		goto fail;
	r = weir_bpf__load(k->skel);
	if (r) {
		r = weir_fail(err, -r, "kernel programs: cannot load them (%s): %s", strerror(-r),
			      libbpf_said);
		goto fail;
	}
	r = map_maps(k, err);
	if (r)
		goto fail;
	k->fresh = !k->migration;
	if (!k->migration || !k->migration->needed)
		weir_kernel_store_forms(k, cfg);
	/* abi_version is stored last of all: without it the maps were never finished. */
	if (k->fresh) {
		r = finish_fresh(k, cfg, err);
		if (r)
			goto fail;
		__atomic_store_n(&k->config->abi_version, WEIR_ABI_VERSION, __ATOMIC_RELEASE);
	}
	r = write_replies(k, err);
	if (r)
		goto fail;
	*out = k;
	return 0;
fail:
	weir_kernel_close(k);
	return r;
}

void weir_kernel_close(struct weir_kernel *k)
{
	if (!k)
		return;
	unmap_memory(k->config, sizeof(*k->config));
	unmap_memory(k->tenants, (size_t)k->max_tenants * sizeof(*k->tenants));
	unmap_memory(k->slots, (size_t)k->max_flows * sizeof(*k->slots));
	unmap_memory(k->rules, WEIR_RULES_MAX * sizeof(*k->rules));
	unmap_memory(k->seen, WEIR_MAX_SERVICES * sizeof(*k->seen));
	weir_migration_free(k->migration);
	if (k->skel)
		weir_bpf__destroy(k->skel);
	free(k);
}

int weir_kernel_unpin(const char *instance, struct weir_error *err)
{
	static const char *const folders[] = { "maps", "maps_new", "links" };
	char path[600];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s/%s", instance, folders[i]);
		weir_pins_folder_remove(path);
	}
	snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s", instance);
	if (rmdir(path) && errno != ENOENT)
		return weir_fail(err, errno, "%s: cannot remove it: %s", path, strerror(errno));
	rmdir(WEIR_PIN_ROOT); /* when it was the last */
	return 0;
}

int weir_kernel_sweep(struct weir_kernel *k)
{
	uint8_t frame[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);

	return bpf_prog_test_run_opts(bpf_program__fd(k->skel->progs.weir_sweep), &o);
}

int weir_kernel_reap(struct weir_kernel *k, const struct weir_reap *r, size_t n)
{
	uint8_t frame[WEIR_REAP_OFFSET + WEIR_REAP_MAX * sizeof(*r)];
	int prog = bpf_program__fd(k->skel->progs.weir_reap);

	while (n) {
		size_t some = n < WEIR_REAP_MAX ? n : WEIR_REAP_MAX;
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame,
			    .data_size_in = WEIR_REAP_OFFSET + some * sizeof(*r), .repeat = 1);

		memset(frame, 0, WEIR_REAP_OFFSET);
		memcpy(frame + WEIR_REAP_OFFSET, r, some * sizeof(*r));
		if (bpf_prog_test_run_opts(prog, &o))
			return -errno;
		r += some;
		n -= some;
	}
	return 0;
}
