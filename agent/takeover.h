/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new agent takes over from one that stopped, crashed, or was of another version, while
 * traffic runs: what is in the kernel's maps goes on, and no packet passes that was not judged.
 */
#ifndef WEIR_TAKEOVER_H
#define WEIR_TAKEOVER_H

#include "config.h"
#include "kernel.h"

/* After weir_kernel_open, before anything is written to the maps. Does nothing where maps are
 * fresh, or as they should be. On failure the old maps and programs go on as they were; k is of
 * no use then. */
int weir_takeover(struct weir_kernel *k, const struct weir_agent_config *cfg,
		  struct weir_error *err);

#endif
