/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XDP program on a device: which mode, and what came of it. The mode is never
 * another one than was asked for; where it cannot be had, XDP is off, TC judges the
 * SYNs, and the attachment says why.
 */
#ifndef WEIR_XDP_H
#define WEIR_XDP_H

#include "config.h"

struct weir_attachment;

extern const char *const weir_xdp_names[]; /* by enum weir_xdp */

/* Fills in a->xdp, a->xdp_refused, a->xdp_taken, a->warning. */
void weir_xdp_attach(const char *instance, int prog_fd, enum weir_xdp want,
		     struct weir_attachment *a);

/* Was another program in the way, and is it gone? Then it is worth another try. */
bool weir_xdp_free_now(const struct weir_attachment *a);

#endif
