// SPDX-License-Identifier: Apache-2.0
#include "clsact.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "neighbours.h"

/* A priority nobody picks by accident; one handle in it for each instance. */
#define TC_PRIORITY 22341
#define FILTERS_MAX 64

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
		if (weir_owner_of(there[i].prog_id, instance) == WEIR_OWNER_US) {
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
		    weir_owner_of(there[i].prog_id, instance) == WEIR_OWNER_US)
			bpf_tc_detach(&hook, &opts);
	}
}

uint32_t weir_clsact_program(const char *instance, int ifindex, bool ingress)
{
	struct weir_neighbour there[FILTERS_MAX];
	int n = weir_clsact_filters(ifindex, ingress, there, FILTERS_MAX);

	for (int i = 0; i < n; i++)
		if (there[i].priority == TC_PRIORITY &&
		    weir_owner_of(there[i].prog_id, instance) == WEIR_OWNER_US)
			return there[i].prog_id;
	return 0;
}

bool weir_clsact_attached(const char *instance, int ifindex, bool ingress)
{
	return weir_clsact_program(instance, ifindex, ingress) != 0;
}
