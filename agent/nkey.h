/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NKeys, as NATS writes Ed25519 keys: base32 of a type, the key and a CRC-16. Here only what a
 * client needs of them: which user a seed is. (Signing is libnats's.)
 */
#ifndef WEIR_NKEY_H
#define WEIR_NKEY_H

#define WEIR_NKEY_PUBLIC 57 /* bytes of "U…" with its NUL */
#define WEIR_NKEY_SEED	 59 /* of "SU…" */

/* The public key of a user's seed. -EINVAL: it is no such seed (another type, a typing error);
 * -EIO: libcrypto fails. */
int weir_nkey_public(const char *seed, char out[static WEIR_NKEY_PUBLIC]);

#endif
