// SPDX-License-Identifier: Apache-2.0
/*
 * Attaching, replacing, detaching. Knows links and filters; knows nothing of what
 * the programs do.
 */
#include "attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_arp.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "clsact.h"
#include "migrate.h"
#include "neighbours.h"
#include "netns.h"
#include "weir.skel.h"
#include "xdp.h"

/* Not in the headers of 6.1: put a program before all others. */
#ifndef BPF_F_BEFORE
#define BPF_F_BEFORE (1U << 3)
#endif

/* Before others' programs: one that ends the chain (TCX_PASS) would carry requests
 * past us, while ours never end it. */
static int create_tcx(int prog_fd, int ifindex, bool ingress)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = BPF_F_BEFORE);

	return bpf_link_create(prog_fd, ifindex, ingress ? WEIR_TCX_INGRESS : WEIR_TCX_EGRESS,
			       &opts);
}

/* tcx where the kernel has it, else clsact. */
static int attach_tc(const char *instance, struct bpf_program *prog, bool ingress,
		     struct weir_attachment *a, struct weir_error *err)
{
	enum weir_hook hook = ingress ? WEIR_HOOK_INGRESS : WEIR_HOOK_EGRESS;
	int prog_fd = bpf_program__fd(prog), fd, r;
	char path[WEIR_PIN_PATH];

	r = weir_pin_replace(instance, hook, &a->device, prog_fd);
	if (!r) {
		a->tcx = true;
		return 0;
	}
	fd = r == -ENOENT ? create_tcx(prog_fd, a->device.ifindex, ingress) : -1;
	if (fd >= 0) {
		a->tcx = true;
		weir_pin_path(instance, hook, &a->device, path);
		return weir_pin_link(fd, path, err);
	}
	if (r == -ENOENT)
		r = -errno;
	/* Before 6.6 the attach type is unknown: EINVAL. */
	if (r != -EINVAL)
		return weir_fail(err, -r, "interface %s: cannot attach at TC: %s", a->name,
				 strerror(-r));
	a->tcx = false;
	return weir_clsact_attach(instance, prog_fd, a->device.ifindex, ingress, a->name, err);
}

/* Where an IP header begins at TC. Others (InfiniBand, radio) have headers that the
 * programs cannot read. */
static int frames_of(struct weir_attachment *a, struct weir_error *err)
{
	switch (a->type) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		a->ethernet = true;
		return 0;
	case ARPHRD_NONE: /* tun, WireGuard */
	case ARPHRD_RAWIP:
	case ARPHRD_PPP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
		a->ethernet = false;
		return 0;
	}
	return weir_fail(err, EOPNOTSUPP,
			 "interface %s: its frames are of a type (ARPHRD %u) that Weir cannot "
			 "read; it is not guarded",
			 a->name, a->type);
}

/* Sockets of this namespace may be ours from now on. Those of a namespace that is gone do
 * no harm, so none is taken out; when there is no more room, all may be. */
static void know_netns(struct weir_config *c, uint32_t inode)
{
	const uint32_t any = UINT32_MAX;
	uint32_t n = c->n_netns;

	if (!n && c->netns[0] == any)
		return;
	for (uint32_t i = 0; i < n; i++)
		if (c->netns[i] == inode)
			return;
	if (n < WEIR_MAX_NETNS) {
		c->netns[n] = inode;
		__atomic_store_n(&c->n_netns, n + 1, __ATOMIC_RELEASE);
		return;
	}
	__atomic_store_n(&c->n_netns, 0, __ATOMIC_RELEASE);
	c->netns[0] = any;
}

int weir_attach(struct weir_kernel *k, const char *instance, enum weir_xdp want,
		struct weir_attachment *a, struct weir_error *err)
{
	struct weir_bpf *s = k->skel;
	int r = frames_of(a, err);

	if (!r)
		know_netns(k->config, (uint32_t)a->device.netns);
	/* Answers before requests: nothing is counted that could not be given back. */
	if (!r)
		r = attach_tc(instance,
			      a->ethernet ? s->progs.weir_egress : s->progs.weir_egress_l3, false,
			      a, err);
	if (!r)
		r = attach_tc(instance,
			      a->ethernet ? s->progs.weir_ingress : s->progs.weir_ingress_l3, true,
			      a, err);
	if (!r)
		weir_xdp_attach(instance, bpf_program__fd(s->progs.weir_xdp), want, a);
	return r;
}

/* Such links cannot be updated in place: the new one first, then the old one's
 * pin. For a moment both run; closing a flow twice is closing it once. */
/* The root of cgroup v2, wherever it is mounted, or not: an fd, or -errno. */
static int cgroup_root(void)
{
	weir_autoclose int fs = fsopen("cgroup2", FSOPEN_CLOEXEC);
	weir_autoclose int mount = -1;
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mount < 0)
		return -errno;
	fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The sockets' second witness (weir_sockops). Without it the sweep finds what the first missed. */
static void attach_sockops(struct weir_kernel *k, const char *instance)
{
	int prog_fd = bpf_program__fd(k->skel->progs.weir_sockops), fd;
	weir_autoclose int root = -1, pinned = -1;
	char path[WEIR_PIN_PATH];
	struct weir_error err;

	snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s/links/sockops", instance);
	pinned = bpf_obj_get(path);
	if (pinned >= 0 && !bpf_link_update(pinned, prog_fd, NULL))
		return;
	root = cgroup_root();
	fd = root < 0 ? root : bpf_link_create(prog_fd, root, BPF_CGROUP_SOCK_OPS, NULL);
	if (fd < 0)
		weir_log(WEIR_WARN,
			 "cgroup2: cannot attach to its root: %s; under load the end of a "
			 "connection may be seen only by the sweep, some seconds late",
			 strerror(-fd));
	else if (weir_pin_link(fd, path, &err))
		weir_log(WEIR_WARN, "%s", err.text);
}

int weir_attach_state(struct weir_kernel *k, const char *instance, struct weir_error *err)
{
	char path[WEIR_PIN_PATH];
	int fd = bpf_raw_tracepoint_open(NULL, bpf_program__fd(k->skel->progs.weir_state));
	int r;

	if (fd < 0)
		return weir_fail(err, errno, "tracepoint inet_sock_set_state: cannot attach: %s",
				 strerror(errno));
	snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s/links/state", instance);
	r = weir_pin_link(fd, path, err);
	if (!r)
		attach_sockops(k, instance);
	return r;
}

/* -- taking over from an earlier agent */

/* Ours of the same name as that one: names are the same in every version. */
static int program_like(void *ctx, uint32_t prog_id)
{
	struct weir_kernel *k = ctx;
	weir_autoclose int fd = bpf_prog_get_fd_by_id(prog_id);
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	struct bpf_program *ours;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	ours = bpf_object__find_program_by_name(k->skel->obj, info.name);
	return ours ? bpf_program__fd(ours) : -ESRCH;
}

struct replace {
	struct weir_kernel *k;
	const char *instance;
	unsigned failed;
};

static void replace_filters(void *arg)
{
	struct replace *p = arg;
	struct if_nameindex *ifs = if_nameindex();

	for (size_t i = 0; ifs && ifs[i].if_index; i++) {
		for (int ingress = 0; ingress < 2; ingress++) {
			uint32_t id = weir_clsact_program(p->instance, ifs[i].if_index, ingress);
			struct weir_error err = {};
			int fd = id ? program_like(p->k, id) : 0;

			if (!id)
				continue;
			if (fd >= 0 && !weir_clsact_attach(p->instance, fd, ifs[i].if_index,
							   ingress, ifs[i].if_name, &err))
				continue;
			weir_log(WEIR_WARN, "interface %s: its filter cannot be replaced: %s",
				 ifs[i].if_name, fd < 0 ? strerror(-fd) : err.text);
			p->failed++;
		}
	}
	if (ifs)
		if_freenameindex(ifs);
}

int weir_attach_replace(struct weir_kernel *k, const struct weir_agent_config *cfg,
			struct weir_error *err)
{
	struct replace p = { .k = k, .instance = cfg->instance };
	/* First: what the new programs count, they must see close. */
	int r = weir_attach_state(k, cfg->instance, err);

	if (r)
		return r;
	p.failed = weir_pins_replace(cfg->instance, program_like, k);
	replace_filters(&p);
	for (size_t i = 0; i < cfg->n_interfaces; i++) {
		weir_autoclose int fd = -1;
		uint64_t id;

		if (!cfg->interfaces[i].netns[0])
			continue;
		fd = weir_netns_open(cfg->interfaces[i].netns, &id);
		if (fd >= 0)
			weir_netns_call(fd, replace_filters, &p);
	}
	return (int)p.failed;
}

bool weir_attached(const char *instance, const struct weir_attachment *a)
{
	const struct weir_device *d = &a->device;

	if (a->xdp != WEIR_XDP_OFF && !weir_pin_program(instance, WEIR_HOOK_XDP, d))
		return false;
	if (a->tcx)
		return weir_pin_program(instance, WEIR_HOOK_INGRESS, d) &&
		       weir_pin_program(instance, WEIR_HOOK_EGRESS, d);
	return weir_clsact_attached(instance, d->ifindex, true) &&
	       weir_clsact_attached(instance, d->ifindex, false);
}

/* Requests first: what was admitted still has its answer metered. */
void weir_detach_from(const char *instance, const struct weir_attachment *a)
{
	weir_pin_remove(instance, WEIR_HOOK_XDP, &a->device);
	weir_pin_remove(instance, WEIR_HOOK_INGRESS, &a->device);
	weir_pin_remove(instance, WEIR_HOOK_EGRESS, &a->device);
	if (a->tcx)
		return;
	weir_clsact_detach(instance, a->device.ifindex, true);
	weir_clsact_detach(instance, a->device.ifindex, false);
}

/* Classic filters are found only from within their network namespace. One that is
 * left in another guards no port any more. */
static void guard_nothing(const char *instance)
{
	struct weir_settings s;
	char path[400];

	snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s/maps/settings", instance);
	if (weir_settings_open(path, &s, NULL))
		return;
	if (s.port_service)
		memset(s.port_service, 0, 65536);
	weir_settings_close(&s);
}

static void detach_filters(void *instance)
{
	struct if_nameindex *ifs = if_nameindex();

	for (size_t i = 0; ifs && ifs[i].if_index; i++) {
		weir_clsact_detach(instance, ifs[i].if_index, true);
		weir_clsact_detach(instance, ifs[i].if_index, false);
	}
	if (ifs)
		if_freenameindex(ifs);
}

int weir_detach(const struct weir_agent_config *cfg, struct weir_error *err)
{
	char *instance = (char *)cfg->instance;
	int r;

	guard_nothing(instance);
	r = weir_pins_clear(instance, err);
	if (r)
		return r;
	detach_filters(instance);
	for (size_t i = 0; i < cfg->n_interfaces; i++) {
		const char *path = cfg->interfaces[i].netns;
		weir_autoclose int fd = -1;
		uint64_t id;

		if (!path[0])
			continue;
		fd = weir_netns_open(path, &id);
		if (fd < 0)
			continue; /* with the namespace its devices went, and our filters */
		r = weir_netns_call(fd, detach_filters, instance);
		if (r)
			weir_log(WEIR_WARN, "%s: cannot enter it to look for TC filters: %s", path,
				 strerror(-r));
	}
	return 0;
}

/* -- who else is there */

static void add_neighbour(struct weir_status_interface *out, const char *instance, uint32_t id)
{
	if (out->n_neighbours < WEIR_STATUS_NEIGHBOURS &&
	    weir_owner_of(id, instance) != WEIR_OWNER_US)
		weir_program_name(id, out->neighbours[out->n_neighbours++]);
}

/* Programs of the tcx chain run in their order till one ends it. */
static void add_tcx(const char *instance, struct weir_attachment *a, bool ingress,
		    struct weir_status_interface *out)
{
	char name[WEIR_NEIGHBOUR_BYTES];
	uint32_t ids[16], n = weir_tcx_programs(a->device.ifindex, ingress, ids, 16);
	bool before = true;

	for (uint32_t i = 0; i < n; i++) {
		add_neighbour(out, instance, ids[i]);
		if (weir_owner_of(ids[i], instance) == WEIR_OWNER_US) {
			before = false;
		} else if (before && a->tcx && !a->warning[0]) {
			weir_program_name(ids[i], name);
			snprintf(a->warning, sizeof(a->warning),
				 "interface %s: %s comes before Weir on its %s hook; what it "
				 "passes for good or takes away is not judged or metered",
				 a->name, name, ingress ? "tcx ingress" : "tcx egress");
		}
	}
}

static void add_filters(const char *instance, int ifindex, bool ingress,
			struct weir_status_interface *out)
{
	struct weir_neighbour filters[8];
	int n = weir_clsact_filters(ifindex, ingress, filters, 8);

	for (int i = 0; i < n; i++) {
		if (filters[i].prog_id)
			add_neighbour(out, instance, filters[i].prog_id);
		else if (out->n_neighbours < WEIR_STATUS_NEIGHBOURS)
			memcpy(out->neighbours[out->n_neighbours++], filters[i].name,
			       sizeof(filters[i].name));
	}
}

void weir_attach_status(const char *instance, struct weir_attachment *a,
			struct weir_status_interface *out)
{
	uint32_t id;

	snprintf(out->xdp_mode, sizeof(out->xdp_mode), "%s", weir_xdp_names[a->xdp]);
	snprintf(out->tc_mode, sizeof(out->tc_mode), "%s", a->tcx ? "tcx" : "clsact");
	for (int i = 0; i < 2; i++) {
		add_tcx(instance, a, !i, out);
		add_filters(instance, a->device.ifindex, !i, out);
	}
	id = weir_xdp_program(a->device.ifindex);
	if (id)
		add_neighbour(out, instance, id);
}
