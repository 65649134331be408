/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interfaces of agent.json as they come and go: attached when they are there,
 * waited for when they are not, attached again when they come back as another
 * device, in the agent's network namespace and in others. One thread does all of
 * it, woken by the kernel (rtnetlink, the mount table), so nothing that handles
 * traffic or records ever waits for a device.
 */
#ifndef WEIR_LINKS_H
#define WEIR_LINKS_H

#include "agent_view.h"
#include "config.h"
#include "kernel.h"

struct weir_links;

/* Attach to the interfaces that are there and watch for the others. Fails, with the
 * cause in err, if one that is there cannot be had in the way cfg asks for; returns
 * once limits are in force on all that are there. Programs that an earlier agent left
 * on interfaces that cfg does not name are taken off. k and cfg stay the caller's. */
int weir_links_start(struct weir_kernel *k, const struct weir_agent_config *cfg,
		     struct weir_links **out, struct weir_error *err);

/* Ends the watching; programs stay where they are. NULL is fine. */
void weir_links_stop(struct weir_links *l);

/* Interfaces and warnings, appended to *out. From any thread. NULL is fine: none yet. */
void weir_links_status(struct weir_links *l, struct weir_status *out);

#endif
