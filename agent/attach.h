/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the kernel programs on interfaces and takes them off again: XDP and TC
 * (tcx links, or clsact filters before 6.6), and the socket tracepoint. Links are
 * pinned, so they outlive the agent; a new agent replaces the program in a link
 * atomically. Programs of others on the same hooks are named, never touched.
 */
#ifndef WEIR_ATTACH_H
#define WEIR_ATTACH_H

#include "agent_view.h"
#include "config.h"
#include "kernel.h"

struct weir_attachment {
	char name[16];
	int ifindex;
	enum weir_xdp xdp; /* NATIVE, GENERIC or OFF: what it came to */
	bool tcx;
	char warning[200]; /* "": none */
};

struct weir_attachments {
	struct weir_attachment at[WEIR_MAX_INTERFACES];
	size_t n;
};

/* Attach to all of cfg's interfaces, all or nothing: what this call attached is
 * taken off again on failure; what an earlier agent left stays. */
int weir_attach(struct weir_kernel *k, const struct weir_agent_config *cfg,
		struct weir_attachments *out, struct weir_error *err);

/* Take every program of the instance off, by its pins and ids. */
int weir_detach(const char *instance, struct weir_error *err);

/* Programs of others on the hooks of an interface, and the mode ours run in. */
void weir_attach_status(const struct weir_attachment *a, struct weir_status_interface *out);

#endif
