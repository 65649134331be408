/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to NATS as all of Weir's threads want it: used until it breaks, and then
 * made anew by its owner. The library may not reconnect by itself: what it still held for
 * the old connection it would send over the new one, out of order.
 *
 * Of several servers the one that answered last is asked first. Files are read at each connect.
 * Over TLS the server's certificate must be of a CA that is known and have the name it is reached
 * by, always.
 */
#ifndef WEIR_NATS_CONNECT_H
#define WEIR_NATS_CONNECT_H

#include <nats/nats.h>

#include "config.h"

#define WEIR_NATS_WHY	320 /* bytes that hold most of what can be said */
#define WEIR_NATS_WHERE 160

/* Blocks for some seconds at most. name: what the server shows it as. *nc must be destroyed also
 * on failure, if it is set. why (n bytes): what failed, on which server, and what to do, for
 * people; no secret; "" on success. */
natsStatus weir_nats_connect(const struct weir_nats_config *c, const char *name,
			     natsConnection **nc, char *why, size_t n);

/* The servers of a url, for people: without users and passwords. Cut to fit. */
void weir_nats_where(const char *url, char *out, size_t n);

/* Are there several servers? */
bool weir_nats_several(const struct weir_nats_config *c);
/* The next connection is tried with another of them first. */
void weir_nats_next(void);

#endif
