/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to NATS as all of Weir's threads want it: used until it breaks, and then
 * made anew by its owner. The library may not reconnect by itself: what it still held for
 * the old connection it would send over the new one, out of order.
 */
#ifndef WEIR_NATS_CONNECT_H
#define WEIR_NATS_CONNECT_H

#include <nats/nats.h>

/* Blocks for some seconds at most. *nc must be destroyed also on failure, if it is set. */
natsStatus weir_nats_connect(const char *url, natsConnection **nc);

/* The url without a user and password, for people; a part of it. */
const char *weir_nats_where(const char *url);

#endif
