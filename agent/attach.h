/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the kernel programs on a device and takes them off again: XDP and TC (tcx
 * links, or clsact filters before 6.6), and the socket tracepoint. Links are
 * pinned, so they outlive the agent; a new agent replaces the program in a link
 * atomically. Programs of others on the same hooks are named, never touched.
 *
 * All but weir_detach work in the network namespace of the calling thread, which
 * must be the device's (links.h sees to it).
 */
#ifndef WEIR_ATTACH_H
#define WEIR_ATTACH_H

#include "agent_view.h"
#include "config.h"
#include "kernel.h"
#include "pins.h"

struct weir_attachment {
	/* Filled in by who found the device. */
	char name[WEIR_INTERFACE_LABEL]; /* for people: "eth0", "eth0@/run/netns/pod" */
	char ifname[IF_NAMESIZE];	 /* what the device is called now */
	struct weir_device device;
	uint16_t type;	 /* ARPHRD_*: of its header */
	bool is_virtual; /* the kernel made it up: veth, tun, bridge, bond… */

	/* What it came to. */
	bool ethernet;	   /* its frames begin with an Ethernet header */
	enum weir_xdp xdp; /* NATIVE, GENERIC or OFF */
	bool xdp_refused;  /* not off, and not auto, and yet it is off */
	bool xdp_taken;	   /* by a program of others */
	bool tcx;	   /* else clsact */
	char warning[256]; /* "": none */
};

/* The tracepoint that tells when sockets close: before any device, so that nothing
 * is counted that could not be given back. */
int weir_attach_state(struct weir_kernel *k, const char *instance, struct weir_error *err);

/* Attach to one device, or put the programs of this agent in the place of an earlier
 * one's. 0, or -errno when TC does not work; what XDP came to is in *a. */
int weir_attach(struct weir_kernel *k, const char *instance, enum weir_xdp want,
		struct weir_attachment *a, struct weir_error *err);

/* Put k's programs in the place of an earlier agent's, wherever those are, each by its name:
 * on every device with a pinned link, on every interface of cfg's network namespaces with a
 * filter, and on the tracepoint. Returns how many could not be replaced, or -errno when sockets
 * cannot be followed. */
int weir_attach_replace(struct weir_kernel *k, const struct weir_agent_config *cfg,
			struct weir_error *err);

/* Is all that weir_attach put there still on the device? */
bool weir_attached(const char *instance, const struct weir_attachment *a);

/* Take ours off one device, which may be gone: pins of dead links are removed. */
void weir_detach_from(const char *instance, const struct weir_attachment *a);

/* Take every program of the instance off, by its pins and ids, wherever it is. */
int weir_detach(const struct weir_agent_config *cfg, struct weir_error *err);

/* Programs of others on the hooks of a device, and the mode ours run in. Adds a warning
 * to a->warning, if it has none, when one of them may hide packets from ours. */
void weir_attach_status(const char *instance, struct weir_attachment *a,
			struct weir_status_interface *out);

#endif
