/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading `flows`, the kernel's connections, as they are: a million in a fraction of a
 * second, in bounded memory. Never writes them (weir_abi.h says why).
 */
#ifndef WEIR_FLOWS_H
#define WEIR_FLOWS_H

#include "kernel.h"

typedef void (*weir_flow_fn)(const struct weir_flow_key *key, const struct weir_flow_view *flow,
			     void *arg);

/* Calls fn for every connection that is there from beginning to end, once; for one that
 * comes or goes meanwhile, at most once. After each batch of some thousands, between(arg),
 * if not NULL. 0 or -errno: then not all were read. */
int weir_flows_read(const struct weir_kernel *k, weir_flow_fn fn, void (*between)(void *arg),
		    void *arg);

#endif
