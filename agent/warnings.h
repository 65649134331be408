/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator should know of and can do something about, from the kernel's
 * figures: one line each, what, on what, what to do. It only reads and words.
 */
#ifndef WEIR_WARNINGS_H
#define WEIR_WARNINGS_H

#include "agent_view.h"
#include "config.h"

struct weir_look;

/* One more, if there is room for it. */
__attribute__((format(printf, 2, 3))) void weir_warn(struct weir_status *s, const char *fmt, ...);

/* Add warnings to s, whose verdicts, ring figures and `hidden` are filled in. seen: the kernel's
 * bits by service number, of n_services services. What matters to all comes first; what
 * does not fit is left out. */
void weir_warnings_add(struct weir_status *s, const struct weir_config_service *services,
		       size_t n_services, const uint32_t *seen);

/* Of all between a request and its event, behind those that are there (warnings_delivery.c). */
void weir_warnings_delivery(struct weir_look *l);

#endif
