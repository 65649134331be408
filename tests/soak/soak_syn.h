/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYNs of handshakes that nobody will complete: from addresses that the client's host does not
 * answer for, so that not even a reset comes back.
 */
#ifndef WEIR_SOAK_SYN_H
#define WEIR_SOAK_SYN_H

#include <netinet/in.h>
#include <stdint.h>

/* Send up to n, 64 at most, each from an address and port of the tenant's of its own. Returns
 * how many it took on; *sent grows by what the kernel took. */
unsigned soak_send_syns(unsigned tenant, unsigned n, const struct sockaddr_in *to, uint64_t *sent);

#endif
