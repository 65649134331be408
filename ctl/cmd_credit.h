/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that move credit share. */
#ifndef WEIR_CMD_CREDIT_H
#define WEIR_CMD_CREDIT_H

#include "ctl.h"

/* An option that is a time, into a field. A span is noted in c->again. CTL_DONE or CTL_USAGE. */
int ctl_write_time(struct ctl *c, json_t *o, const char *option, const char *field);
/* --source, --priority and --reason. CTL_DONE or CTL_USAGE. */
int ctl_write_terms(struct ctl *c, json_t *o);
/* The end of what is told of a write: balance, entry, and its id if it was made up. CTL_DONE. */
int ctl_written(struct ctl *c, const json_t *w);

#endif
