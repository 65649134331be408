/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: what weirctl talks to. One JSON object per line in, one
 * or more JSON lines out; ctl/protocol.md has the words. Owns the socket, who
 * may use it (root and members of group `weir`, by SO_PEERCRED) and the bounds
 * on what a client can take. Knows the agent only through struct weir_agent_view.
 *
 * Each client has a thread of its own, so one that is slow or hostile holds up
 * only itself.
 */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include "agent_view.h"
#include "util.h"

#define WEIR_CONTROL_CLIENTS   64	 /* at once */
#define WEIR_CONTROL_FOLLOWERS 32	 /* of them, in requests without end */
#define WEIR_CONTROL_LINE      (1 << 20) /* longest request, newline included */

struct weir_control;

/* Listen on path (its folder is made if missing, mode 0755; a socket file left by a
 * dead agent is replaced, one that answers is -EADDRINUSE). The view must outlive
 * the control. */
int weir_control_start(const char *path, const struct weir_agent_view *view,
		       struct weir_control **out, struct weir_error *err);

/* Disconnects every client, waits for their threads, removes the socket. NULL is fine. */
void weir_control_stop(struct weir_control *c);

#endif
