// SPDX-License-Identifier: Apache-2.0
#include "clsact.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kernel.h"
#include "neighbours.h"

/* A priority nobody picks by accident; one handle in it for each instance. */
#define TC_PRIORITY 22341
#define FILTERS_MAX 64

enum owner {
	OWNER_OURS, /* of this instance, or of none that is left */
	OWNER_OTHER_INSTANCE,
	OWNER_FOREIGN,
};

/* Id of the settings map that an instance has pinned; 0: none. */
static uint32_t settings_of(const char *instance)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	weir_autoclose int fd = -1;
	char path[400];

	snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s/maps/settings", instance);
	fd = bpf_obj_get(path);
	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) ? info.id : 0;
}

static bool uses(const uint32_t *maps, uint32_t n, uint32_t map)
{
	for (uint32_t i = 0; i < n; i++)
		if (maps[i] == map)
			return true;
	return false;
}

static enum owner owner_of(uint32_t prog_id, const char *instance)
{
	uint32_t maps[64], len;
	struct bpf_prog_info info = { .nr_map_ids = 64, .map_ids = (uintptr_t)maps };
	weir_autoclose int fd = bpf_prog_get_fd_by_id(prog_id);
	enum owner owner = OWNER_OURS;
	struct dirent *e;
	DIR *d;

	len = sizeof(info);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || strncmp(info.name, "weir_", 5))
		return OWNER_FOREIGN;
	if (info.nr_map_ids > 64)
		info.nr_map_ids = 64;
	d = opendir(WEIR_PIN_ROOT);
	while (d && owner == OWNER_OURS && (e = readdir(d))) {
		uint32_t map;

		if (e->d_name[0] == '.' || !strcmp(e->d_name, instance))
			continue;
		map = settings_of(e->d_name);
		if (map && uses(maps, info.nr_map_ids, map))
			owner = OWNER_OTHER_INSTANCE;
	}
	if (d)
		closedir(d);
	return owner;
}

static enum bpf_tc_attach_point point_of(bool ingress)
{
	return ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

int weir_clsact_attach(const char *instance, int prog_fd, int ifindex, bool ingress,
		       const char *ifname, struct weir_error *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point_of(ingress));
	LIBBPF_OPTS(bpf_tc_opts, opts, .priority = TC_PRIORITY, .prog_fd = prog_fd, .handle = 1,
		    .flags = BPF_TC_F_REPLACE);
	struct weir_neighbour there[FILTERS_MAX];
	int n, r = bpf_tc_hook_create(&hook);

	if (r && r != -EEXIST)
		return weir_fail(err, -r, "interface %s: cannot add clsact: %s", ifname,
				 strerror(-r));
	/* In the place of ours from before, else behind all others in our priority. */
	n = weir_clsact_filters(ifindex, ingress, there, FILTERS_MAX);
	if (n < 0)
		return weir_fail(err, -n, "interface %s: cannot list its TC filters: %s", ifname,
				 strerror(-n));
	for (int i = 0; i < n; i++) {
		if (there[i].priority != TC_PRIORITY)
			continue;
		if (owner_of(there[i].prog_id, instance) == OWNER_OURS) {
			opts.handle = there[i].handle;
			break;
		}
		if (there[i].handle >= opts.handle)
			opts.handle = there[i].handle + 1;
	}
	r = bpf_tc_attach(&hook, &opts);
	return r ? weir_fail(err, -r, "interface %s: cannot add a TC filter: %s", ifname,
			     strerror(-r))
		 : 0;
}

void weir_clsact_detach(const char *instance, int ifindex, bool ingress)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point_of(ingress));
	struct weir_neighbour there[FILTERS_MAX];
	int n = weir_clsact_filters(ifindex, ingress, there, FILTERS_MAX);

	for (int i = 0; i < n; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = there[i].handle, .priority = TC_PRIORITY);

		if (there[i].priority == TC_PRIORITY &&
		    owner_of(there[i].prog_id, instance) == OWNER_OURS)
			bpf_tc_detach(&hook, &opts);
	}
}
