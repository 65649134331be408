/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEIR_CMD_TRACE_TEXT_H
#define WEIR_CMD_TRACE_TEXT_H

#include "ctl.h"

/* An item of `trace`, in words, on stdout. */
void ctl_trace_text(const json_t *item);

/* RFC 3339 with milliseconds, always as wide. */
const char *ctl_when_ms(const json_t *o, const char *name, char out[static CTL_CELL]);

#endif
