/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One agent: starts its parts in the order that loses nothing, keeps house while
 * they run, stops them in the reverse order. What the outer layers see of it is
 * in agent_view.h.
 */
#ifndef WEIR_AGENT_H
#define WEIR_AGENT_H

#include <stdbool.h>

#include "config.h"
#include "util.h"

struct weir_agent;

/* Returns once limits are in force and everything runs. On failure nothing of what
 * this call did is left, and no packet was touched. */
int weir_agent_start(const struct weir_agent_config *cfg, struct weir_agent **out,
		     struct weir_error *err);

/* House-keeping; call it about ten times a second. */
void weir_agent_tick(struct weir_agent *a);

/* Read the policy folder again. The log says how it went. */
void weir_agent_reload(struct weir_agent *a);

/* keep: programs and maps stay, limits hold; else everything is taken down. Frees a. */
void weir_agent_stop(struct weir_agent *a, bool keep);

/* Take down what an instance left in the kernel. -EBUSY while its agent runs. */
int weir_agent_detach(const struct weir_agent_config *cfg, struct weir_error *err);

#endif
