/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that write events share. Nobody else includes this. */
#ifndef WEIR_EVENT_PRIV_H
#define WEIR_EVENT_PRIV_H

#include "agent/event.h"
#include "agent/json_out.h"

/* Without burns, card lines and names; a byte of a string takes six at most. */
#define WEIR_EVENT_FIXED_BYTES 8192
#define WEIR_EVENT_BYTE	       6

/* Names that come from outside, each as often as an event has it. */
size_t weir_event_names_bytes(const struct weir_event_origin *from, const char *tenant);

/* The attributes every CloudEvent has, up to the opened data. */
void weir_event_envelope(struct weir_out *o, const struct weir_event_origin *from, const char *id,
			 const char *type, const char *subject, uint64_t time_ns);

#endif
