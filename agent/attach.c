// SPDX-License-Identifier: Apache-2.0
/*
 * Attaching, replacing, detaching. Knows links and filters; knows nothing of what
 * the programs do.
 */
#include "attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clsact.h"
#include "neighbours.h"
#include "weir.skel.h"

/* Not in libbpf 1.1's headers: enum bpf_attach_type of 6.6. */
#define TCX_INGRESS ((enum bpf_attach_type)46)
#define TCX_EGRESS  ((enum bpf_attach_type)47)

static void link_path(const char *instance, const char *name, char out[static 400])
{
	snprintf(out, 400, WEIR_PIN_ROOT "/%s/links/%s", instance, name);
}

/* Is this prog one of ours? Names are cut to 15 characters by the kernel. */
static bool ours(uint32_t prog_id, char name[static 48])
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(prog_id);
	bool mine;

	snprintf(name, 48, "program %u", prog_id);
	if (fd < 0)
		return false;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		info.name[0] = 0;
	close(fd);
	mine = !strncmp(info.name, "weir_", 5);
	if (info.name[0])
		snprintf(name, 48, "%.20s (id %u)", info.name, prog_id);
	return mine;
}

/* A pinned link of ours on ifindex: put prog in it. 0: done; -ENOENT: there is none. */
static int replace_in_link(const char *path, int ifindex, int prog_fd)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	int fd = bpf_obj_get(path), r;

	if (fd < 0)
		return -ENOENT;
	/* The interface went and came back: the link hangs in the air. XDP and tcx
	 * links have their ifindex in the same place of the union. */
	if (bpf_obj_get_info_by_fd(fd, &info, &len) || (int)info.xdp.ifindex != ifindex) {
		close(fd);
		unlink(path);
		return -ENOENT;
	}
	r = bpf_link_update(fd, prog_fd, NULL) ? -errno : 0;
	close(fd);
	return r;
}

static int pin_link(int link_fd, const char *path, struct weir_error *err)
{
	int r = 0;

	if (bpf_obj_pin(link_fd, path))
		r = weir_fail(err, errno, "%s: cannot pin the link: %s", path, strerror(errno));
	close(link_fd); /* the pin keeps it, if there is one */
	return r;
}

/* -- TC */

/* tcx where the kernel has it, else clsact. */
static int attach_tc(const char *instance, struct bpf_program *prog, bool ingress,
		     struct weir_attachment *a, struct weir_error *err)
{
	int prog_fd = bpf_program__fd(prog), fd, r;
	char file[64], path[400];

	snprintf(file, sizeof(file), "%s-%s", ingress ? "ingress" : "egress", a->name);
	link_path(instance, file, path);
	r = replace_in_link(path, a->ifindex, prog_fd);
	if (!r) {
		a->tcx = true;
		return 0;
	}
	fd = bpf_link_create(prog_fd, a->ifindex, ingress ? TCX_INGRESS : TCX_EGRESS, NULL);
	if (fd >= 0) {
		a->tcx = true;
		return pin_link(fd, path, err);
	}
	/* Before 6.6 the attach type is unknown: EINVAL. */
	if (errno != EINVAL)
		return weir_fail(err, errno, "interface %s: cannot attach at TC: %s", a->name,
				 strerror(errno));
	a->tcx = false;
	return weir_clsact_attach(instance, prog_fd, a->ifindex, ingress, a->name, err);
}

/* -- XDP */

/* A device of its own, on a bus: native XDP costs it nothing. On veth, bridges and
 * tunnels it costs bulk throughput (veth: to a fifth). */
static bool is_hardware(const char *ifname)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq req = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes;

	if (fd < 0)
		return false;
	memcpy(req.ifr_name, ifname, strnlen(ifname, IFNAMSIZ - 1));
	req.ifr_data = (void *)&info;
	yes = !ioctl(fd, SIOCETHTOOL, &req) && info.bus_info[0];
	close(fd);
	return yes;
}

static int attach_xdp(const char *instance, struct weir_kernel *k, enum weir_xdp want,
		      struct weir_attachment *a, struct weir_error *err)
{
	int prog_fd = bpf_program__fd(k->skel->progs.weir_xdp), fd;
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	char file[64], path[400], other[48] = "unknown";
	uint32_t id = 0;

	snprintf(file, sizeof(file), "xdp-%s", a->name);
	link_path(instance, file, path);
	a->xdp = WEIR_XDP_OFF;
	if (want == WEIR_XDP_AUTO && !is_hardware(a->name))
		want = WEIR_XDP_OFF;
	if (want == WEIR_XDP_OFF) {
		unlink(path);
		return 0;
	}
	a->xdp = want == WEIR_XDP_GENERIC ? WEIR_XDP_GENERIC : WEIR_XDP_NATIVE;
	opts.flags = a->xdp == WEIR_XDP_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	if (!replace_in_link(path, a->ifindex, prog_fd))
		return 0;
	fd = bpf_link_create(prog_fd, a->ifindex, BPF_XDP, &opts);
	if (fd >= 0)
		return pin_link(fd, path, err);

	int e = errno;

	if (!bpf_xdp_query_id(a->ifindex, 0, &id) && id)
		ours(id, other);
	else
		id = 0;
	if (want == WEIR_XDP_AUTO) {
		a->xdp = WEIR_XDP_OFF;
		snprintf(a->warning, sizeof(a->warning),
			 "interface %s: no native XDP (%s%s); SYNs are judged at TC", a->name,
			 id ? "taken by " : "", id ? other : strerror(e));
		return 0;
	}
	if (id)
		return weir_fail(
			err, EBUSY,
			"interface %s: another XDP program, %s, is on the hook; remove it, or "
			"set \"xdp\": \"off\" (SYNs are then judged at TC)",
			a->name, other);
	return weir_fail(err, e,
			 "interface %s: cannot attach in %s XDP mode: %s; set \"xdp\": \"auto\"",
			 a->name, a->xdp == WEIR_XDP_GENERIC ? "generic" : "native", strerror(e));
}

/* -- the socket tracepoint */

/* Such links cannot be updated in place: the new one first, then the old one's
 * pin. For a moment both run; closing a flow twice is closing it once. */
static int attach_state(const char *instance, struct weir_kernel *k, struct weir_error *err)
{
	char path[400];
	int fd = bpf_raw_tracepoint_open(NULL, bpf_program__fd(k->skel->progs.weir_state));

	if (fd < 0)
		return weir_fail(err, errno, "tracepoint inet_sock_set_state: cannot attach: %s",
				 strerror(errno));
	link_path(instance, "state", path);
	unlink(path);
	return pin_link(fd, path, err);
}

int weir_attach(struct weir_kernel *k, const struct weir_agent_config *cfg,
		struct weir_attachments *out, struct weir_error *err)
{
	struct weir_attachments now = {};
	int r = 0;

	for (size_t i = 0; i < cfg->n_interfaces; i++) {
		struct weir_attachment *a = &now.at[i];

		snprintf(a->name, sizeof(a->name), "%s", cfg->interfaces[i].name);
		a->ifindex = if_nametoindex(a->name);
		if (!a->ifindex)
			return weir_fail(err, ENODEV,
					 "interface %s: no such interface; see \"interfaces\" in "
					 "agent.json and `ip link`",
					 a->name);
	}
	now.n = cfg->n_interfaces;
	/* Closing sockets before opening connections, answers before requests: nothing
	 * is counted that could not be given back. */
	r = attach_state(cfg->instance, k, err);
	for (size_t i = 0; i < now.n && !r; i++) {
		struct weir_attachment *a = &now.at[i];

		r = attach_tc(cfg->instance, k->skel->progs.weir_egress, false, a, err);
		if (!r)
			r = attach_tc(cfg->instance, k->skel->progs.weir_ingress, true, a, err);
		if (!r)
			r = attach_xdp(cfg->instance, k, cfg->xdp, a, err);
	}
	if (r) {
		if (k->fresh)
			weir_detach(cfg->instance, NULL);
		return r;
	}
	*out = now;
	return 0;
}

/* Classic filters are found only from within their network namespace. One that is
 * left in another guards no port any more. */
static void guard_nothing(const char *instance)
{
	struct weir_config *c;
	char path[400];
	int fd;

	snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s/maps/settings", instance);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c != MAP_FAILED) {
		memset(c->port_service, 0, sizeof(c->port_service));
		munmap(c, sizeof(*c));
	}
	close(fd);
}

int weir_detach(const char *instance, struct weir_error *err)
{
	char dir[300], path[600];
	struct if_nameindex *ifs;
	struct dirent *e;
	DIR *d;

	guard_nothing(instance);
	snprintf(dir, sizeof(dir), WEIR_PIN_ROOT "/%s/links", instance);
	d = opendir(dir);
	if (!d && errno != ENOENT)
		return weir_fail(err, errno, "%s: %s", dir, strerror(errno));
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path))
			weir_log(WEIR_WARN, "%s: cannot remove it: %s", path, strerror(errno));
	}
	if (d)
		closedir(d);
	ifs = if_nameindex();
	for (size_t i = 0; ifs && ifs[i].if_index; i++) {
		weir_clsact_detach(instance, ifs[i].if_index, true);
		weir_clsact_detach(instance, ifs[i].if_index, false);
	}
	if (ifs)
		if_freenameindex(ifs);
	return 0;
}

static void add_neighbours(struct weir_status_interface *out, const uint32_t *ids, uint32_t n)
{
	char name[48];

	for (uint32_t i = 0; i < n; i++)
		if (out->n_neighbours < WEIR_STATUS_NEIGHBOURS && !ours(ids[i], name))
			snprintf(out->neighbours[out->n_neighbours++], 48, "%.47s", name);
}

void weir_attach_status(const struct weir_attachment *a, struct weir_status_interface *out)
{
	static const char *const modes[] = { "auto", "native", "generic", "off" };
	struct weir_neighbour filters[8];
	uint32_t ids[16], n, id = 0;
	int found;

	memset(out, 0, sizeof(*out));
	snprintf(out->name, sizeof(out->name), "%s", a->name);
	snprintf(out->xdp_mode, sizeof(out->xdp_mode), "%s", modes[a->xdp]);
	snprintf(out->tc_mode, sizeof(out->tc_mode), "%s", a->tcx ? "tcx" : "clsact");
	for (int i = 0; i < 2; i++) {
		n = 16;
		if (!bpf_prog_query(a->ifindex, i ? TCX_EGRESS : TCX_INGRESS, 0, NULL, ids, &n))
			add_neighbours(out, ids, n);
		found = weir_clsact_filters(a->ifindex, !i, filters, 8);
		for (int j = 0; j < found; j++) {
			if (filters[j].prog_id)
				add_neighbours(out, &filters[j].prog_id, 1);
			else if (out->n_neighbours < WEIR_STATUS_NEIGHBOURS)
				snprintf(out->neighbours[out->n_neighbours++], 48, "%.47s",
					 filters[j].name);
		}
	}
	if (!bpf_xdp_query_id(a->ifindex, 0, &id) && id)
		add_neighbours(out, &id, 1);
}
