/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's figures as text: Prometheus exposition format 0.0.4, and a plain
 * page for people. Made new at each call, from one look at the view.
 */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include <stddef.h>

#include "agent_view.h"

#define WEIR_METRICS_TENANTS 10000 /* shown at most; weir_tenants says how many there are */

/* malloc'd, NUL-ended text; NULL when memory is short. */
char *weir_metrics_text(const struct weir_agent_view *v, size_t *len);
char *weir_page_html(const struct weir_agent_view *v, size_t *len);

#endif
