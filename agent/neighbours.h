/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who else sits on an interface's hooks, and whose a program is: ours are known by
 * the maps they use, never by their names alone. Works in the network namespace of
 * the calling thread.
 */
#ifndef WEIR_NEIGHBOURS_H
#define WEIR_NEIGHBOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not in libbpf 1.1's headers: enum bpf_attach_type of 6.6. */
#define WEIR_TCX_INGRESS ((enum bpf_attach_type)46)
#define WEIR_TCX_EGRESS	 ((enum bpf_attach_type)47)

#define WEIR_NEIGHBOUR_BYTES 48

struct weir_neighbour {
	char name[WEIR_NEIGHBOUR_BYTES]; /* of the program, or the filter's kind */
	uint32_t prog_id;		 /* 0: not a BPF filter */
	uint32_t priority, handle;	 /* its place */
};

enum weir_owner {
	WEIR_OWNER_US, /* of this instance, or of one whose maps are gone */
	WEIR_OWNER_OTHER_INSTANCE,
	WEIR_OWNER_FOREIGN,
};

enum weir_owner weir_owner_of(uint32_t prog_id, const char *instance);

/* "foreign_xdp (id 7)" */
void weir_program_name(uint32_t prog_id, char out[static WEIR_NEIGHBOUR_BYTES]);

/* Programs of the tcx hook (TCX_INGRESS, TCX_EGRESS) in the order they run. Returns how
 * many there are in ids (at most max); 0 too where the kernel has no tcx. */
unsigned weir_tcx_programs(int ifindex, bool ingress, uint32_t *ids, unsigned max);

/* Id of the XDP program, whatever its mode; 0: none. */
uint32_t weir_xdp_program(int ifindex);

/* Filters on ingress or egress of ifindex, ours included. Returns how many there
 * are in out (at most max), or -errno. */
int weir_clsact_filters(int ifindex, bool ingress, struct weir_neighbour *out, size_t max);

#endif
