// SPDX-License-Identifier: Apache-2.0
#include "neighbours.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"

#define MAPS_MAX 64

/* -- whose is it? */

/* Id of the settings map that an instance has pinned in a folder; 0: none. */
static uint32_t settings_of(const char *instance, const char *folder)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	weir_autoclose int fd = -1;
	char path[400];

	snprintf(path, sizeof(path), WEIR_PIN_ROOT "/%s/%s/settings", instance, folder);
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

enum weir_owner weir_owner_of(uint32_t prog_id, const char *instance)
{
	uint32_t maps[MAPS_MAX], len;
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)maps };
	weir_autoclose int fd = bpf_prog_get_fd_by_id(prog_id);
	enum weir_owner owner = WEIR_OWNER_US;
	struct dirent *e;
	DIR *d;

	len = sizeof(info);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || strncmp(info.name, "weir_", 5))
		return WEIR_OWNER_FOREIGN;
	if (info.nr_map_ids > MAPS_MAX)
		info.nr_map_ids = MAPS_MAX;
	d = opendir(WEIR_PIN_ROOT);
	while (d && owner == WEIR_OWNER_US && (e = readdir(d))) {
		/* The second: while it migrates (migrate.h). */
		static const char *const folders[] = { "maps", "maps_new" };

		if (e->d_name[0] == '.' || !strcmp(e->d_name, instance))
			continue;
		for (size_t i = 0; i < 2; i++) {
			uint32_t map = settings_of(e->d_name, folders[i]);

			if (map && uses(maps, info.nr_map_ids, map))
				owner = WEIR_OWNER_OTHER_INSTANCE;
		}
	}
	if (d)
		closedir(d);
	return owner;
}

void weir_program_name(uint32_t prog_id, char out[static WEIR_NEIGHBOUR_BYTES])
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	weir_autoclose int fd = bpf_prog_get_fd_by_id(prog_id);

	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && info.name[0])
		snprintf(out, WEIR_NEIGHBOUR_BYTES, "%.20s (id %u)", info.name, prog_id);
	else
		snprintf(out, WEIR_NEIGHBOUR_BYTES, "program %u", prog_id);
}

/* -- who is there? */

unsigned weir_tcx_programs(int ifindex, bool ingress, uint32_t *ids, unsigned max)
{
	uint32_t n = max;

	if (bpf_prog_query(ifindex, ingress ? WEIR_TCX_INGRESS : WEIR_TCX_EGRESS, 0, NULL, ids, &n))
		return 0;
	return n < max ? n : max;
}

uint32_t weir_xdp_program(int ifindex)
{
	uint32_t id = 0;

	return bpf_xdp_query_id(ifindex, 0, &id) ? 0 : id;
}

struct dump {
	struct weir_neighbour *out;
	size_t n, max;
};

static int on_filter(struct nl_msg *msg, void *arg)
{
	static const struct nla_policy known[TCA_MAX + 1] = { [TCA_KIND] = { .type = NLA_STRING } };
	struct nlattr *a[TCA_MAX + 1], *b[TCA_BPF_MAX + 1] = {};
	const struct tcmsg *tc = nlmsg_data(nlmsg_hdr(msg));
	struct dump *d = arg;
	struct weir_neighbour *n = &d->out[d->n];

	if (d->n == d->max ||
	    nlmsg_parse(nlmsg_hdr(msg), sizeof(struct tcmsg), a, TCA_MAX, (void *)known) ||
	    !a[TCA_KIND] || !a[TCA_OPTIONS])
		return NL_OK;
	memset(n, 0, sizeof(*n));
	snprintf(n->name, sizeof(n->name), "%.15s filter", nla_get_string(a[TCA_KIND]));
	if (!strcmp(nla_get_string(a[TCA_KIND]), "bpf")) {
		if (nla_parse_nested(b, TCA_BPF_MAX, a[TCA_OPTIONS], NULL) || !b[TCA_BPF_ID])
			return NL_OK; /* the chain's own head entry: no program in it */
		n->prog_id = nla_get_u32(b[TCA_BPF_ID]);
	} else if (nla_len(a[TCA_OPTIONS]) == 0) {
		return NL_OK;
	}
	n->priority = TC_H_MAJ(tc->tcm_info) >> 16;
	n->handle = tc->tcm_handle;
	d->n++;
	return NL_OK;
}

int weir_clsact_filters(int ifindex, bool ingress, struct weir_neighbour *out, size_t max)
{
	struct tcmsg tc = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS),
	};
	struct dump d = { .out = out, .max = max };
	struct nl_sock *s = nl_socket_alloc();
	int r;

	if (!s)
		return -ENOMEM;
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, on_filter, &d);
	r = nl_connect(s, NETLINK_ROUTE);
	if (!r)
		r = nl_send_simple(s, RTM_GETTFILTER, NLM_F_DUMP, &tc, sizeof(tc));
	if (r >= 0)
		r = nl_recvmsgs_default(s);
	nl_socket_free(s);
	return r < 0 ? -EIO : (int)d.n;
}
