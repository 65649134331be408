// SPDX-License-Identifier: Apache-2.0
#include "xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach.h"
#include "neighbours.h"

const char *const weir_xdp_names[] = { "auto", "native", "generic", "off" };

/* A device of its own, on a bus: native XDP costs it nothing. On veth, bridges and
 * tunnels, which have a kind, it costs bulk throughput (veth: to a fifth). */
static bool is_hardware(const struct weir_attachment *a)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq req = {};
	weir_autoclose int fd = -1;

	if (a->is_virtual)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	memcpy(req.ifr_name, a->ifname, strnlen(a->ifname, IFNAMSIZ - 1));
	req.ifr_data = (void *)&info;
	return !ioctl(fd, SIOCETHTOOL, &req) && info.bus_info[0];
}

/* Why this kind of device cannot have the mode, for people; NULL: it may. */
static const char *no_xdp_here(const struct weir_attachment *a, enum weir_xdp mode)
{
	if (mode == WEIR_XDP_OFF)
		return NULL;
	if (!a->ethernet)
		return "have no Ethernet header";
	/* Past 16 KiB TC could not put back the header that generic XDP hides from it
	 * (bpf/mac_header.h). */
	if (a->type == ARPHRD_LOOPBACK && mode == WEIR_XDP_GENERIC)
		return "are too long for generic XDP";
	return NULL;
}

/* A link cannot change its mode; an earlier agent may have been told another one. */
static bool runs_in(int ifindex, uint32_t prog_id, enum weir_xdp mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	return !bpf_xdp_query(ifindex, 0, &q) &&
	       (mode == WEIR_XDP_GENERIC ? q.skb_prog_id : q.drv_prog_id) == prog_id;
}

void weir_xdp_attach(const char *instance, int prog_fd, enum weir_xdp want,
		     struct weir_attachment *a)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	enum weir_xdp mode = want == WEIR_XDP_AUTO ? WEIR_XDP_NATIVE : want;
	char path[WEIR_PIN_PATH], other[WEIR_NEIGHBOUR_BYTES];
	struct weir_error err;
	const char *why;
	uint32_t id;
	int fd, r;

	a->xdp = WEIR_XDP_OFF;
	a->xdp_refused = a->xdp_taken = false;
	a->warning[0] = 0;
	if (want == WEIR_XDP_AUTO && !is_hardware(a))
		mode = WEIR_XDP_OFF;
	why = no_xdp_here(a, mode);
	if (why) {
		snprintf(a->warning, sizeof(a->warning),
			 "interface %s: its frames %s, so XDP is off there; SYNs are judged at TC",
			 a->name, why);
		mode = WEIR_XDP_OFF;
	}
	id = weir_pin_program(instance, WEIR_HOOK_XDP, &a->device);
	if (mode == WEIR_XDP_OFF || (id && !runs_in(a->device.ifindex, id, mode)))
		weir_pin_remove(instance, WEIR_HOOK_XDP, &a->device);
	if (mode == WEIR_XDP_OFF)
		return;
	r = weir_pin_replace(instance, WEIR_HOOK_XDP, &a->device, prog_fd);
	if (!r) {
		a->xdp = mode;
		return;
	}
	opts.flags = mode == WEIR_XDP_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	fd = bpf_link_create(prog_fd, a->device.ifindex, BPF_XDP, &opts);
	r = fd < 0 ? -errno : 0;
	if (!r) {
		weir_pin_path(instance, WEIR_HOOK_XDP, &a->device, path);
		r = weir_pin_link(fd, path, &err);
	}
	if (!r) {
		a->xdp = mode;
		return;
	}
	a->xdp_refused = want != WEIR_XDP_AUTO;
	id = fd < 0 ? weir_xdp_program(a->device.ifindex) : 0;
	if (id) {
		a->xdp_taken = true;
		weir_program_name(id, other);
	}
	snprintf(a->warning, sizeof(a->warning),
		 "interface %s: no XDP in %s mode (%s%s); SYNs are judged at TC", a->name,
		 weir_xdp_names[mode], id ? "the hook has " : "", id ? other : strerror(-r));
}

bool weir_xdp_free_now(const struct weir_attachment *a)
{
	return a->xdp_taken && !weir_xdp_program(a->device.ifindex);
}
