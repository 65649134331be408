/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends an attempt to connect to NATS that does not end by itself: libnats (3.4.1) waits for ever in
 * a TLS handshake, and reads in a circle when the answer to CONNECT is late. It cannot be told
 * to stop, but its socket can be closed under it.
 */
#ifndef WEIR_NATS_WATCH_H
#define WEIR_NATS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct weir_nats_watch;

/* Before the attempt. From now on a new TCP connection of this process to that port may be ms old,
 * then it is shut down. One at a time in a process, by the caller's lock. 0 or -errno. */
int weir_nats_watch_start(uint16_t port, unsigned ms, struct weir_nats_watch **out);
/* The attempt is over. True: it was ended. NULL is fine. */
bool weir_nats_watch_end(struct weir_nats_watch *w);

#endif
