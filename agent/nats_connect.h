/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to NATS as all of Weir's threads want it: used until it breaks, and then
 * made anew by its owner. The library may not reconnect by itself: what it still held for
 * the old connection it would send over the new one, out of order.
 */
#ifndef WEIR_NATS_CONNECT_H
#define WEIR_NATS_CONNECT_H

#include <nats/nats.h>

#include "config.h"

/* Blocks for some seconds at most. name: what the server shows it as. *nc must be destroyed also
 * on failure, if it is set. why (n bytes): what failed, on what, for people; no secret. */
natsStatus weir_nats_connect(const struct weir_nats_config *c, const char *name,
			     natsConnection **nc, char *why, size_t n);

/* The url without a user and password, for people; a part of it. */
const char *weir_nats_where(const char *url);

#endif
