/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our programs as classic TC filters, where the kernel has no tcx (before 6.6).
 * Filters cannot be pinned, so ours are known by their place and by the maps they
 * use: several instances share an interface, and each touches only its own. All of
 * it works in the network namespace of the calling thread.
 */
#ifndef WEIR_CLSACT_H
#define WEIR_CLSACT_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

/* Put a program on ingress or egress of ifindex, in place of the instance's earlier
 * one if there is one. 0, or -errno with err filled in. */
int weir_clsact_attach(const char *instance, int prog_fd, int ifindex, bool ingress,
		       const char *ifname, struct weir_error *err);

/* Take the instance's filters off ingress or egress of ifindex, and those of an
 * instance whose pins are gone. The clsact qdisc stays: it costs nothing empty, and
 * others may have begun to count on it. */
void weir_clsact_detach(const char *instance, int ifindex, bool ingress);

/* Id of the instance's program on ingress or egress of ifindex; 0: none. */
uint32_t weir_clsact_program(const char *instance, int ifindex, bool ingress);

/* Is the instance's filter on ingress or egress of ifindex? Anybody who deletes the
 * qdisc takes it off with all others. */
bool weir_clsact_attached(const char *instance, int ifindex, bool ingress);

#endif
