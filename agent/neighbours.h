/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who else sits on an interface's TC hooks by way of a classic filter (clsact): a
 * netlink dump. Programs in tcx links and XDP are asked for by the bpf syscall
 * (attach.c).
 */
#ifndef WEIR_NEIGHBOURS_H
#define WEIR_NEIGHBOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_NEIGHBOUR_BYTES 48

struct weir_neighbour {
	char name[WEIR_NEIGHBOUR_BYTES]; /* of the program, or the filter's kind */
	uint32_t prog_id;		 /* 0: not a BPF filter */
	uint32_t priority, handle;	 /* its place */
};

/* Filters on ingress or egress of ifindex, ours included. Returns how many there
 * are in out (at most max), or -errno. */
int weir_clsact_filters(int ifindex, bool ingress, struct weir_neighbour *out, size_t max);

#endif
