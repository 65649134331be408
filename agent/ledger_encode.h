/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an entry is laid down in bytes: the body's compact encoding, and the hash
 * that chains one entry to the next. Private to the ledger's files. What is
 * written here is read for ever: a new layout gets a new version byte and the
 * old one stays readable.
 */
#ifndef WEIR_LEDGER_ENCODE_H
#define WEIR_LEDGER_ENCODE_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ledger_entry.h"

/* What an entry has besides its body; a column each. */
struct weir_entry_head {
	uint64_t seq;
	struct weir_id id;
	uint8_t kind;
	uint64_t time_ns;
	uint32_t tenant, wallet;
	int64_t amount_nano, before_nano, after_nano;
};

/* How a charge was met: burns[] + debt = what was posted. For a grant, debt is
 * what of an older debt it repaid, negative. */
struct weir_posting {
	int64_t debt_nano;
	struct weir_burn *burns;
	size_t n_burns, cap_burns; /* cap: owner's, see weir_accounts */
};

/* Grows; reused from entry to entry. */
struct weir_bytes {
	uint8_t *p;
	size_t len, cap;
};

/* Append a body. 0 or -ENOMEM. The row's id, tenant and wallet are columns and
 * not repeated. */
int weir_encode_usage(struct weir_bytes *out, const struct weir_row *row,
		      const struct weir_posting *p);
/* effective_ns is the instant itself; now: that it was asked for as "now". */
int weir_encode_grant(struct weir_bytes *out, const struct weir_grant *g, bool now,
		      const struct weir_posting *p);

/* The reverse; head's id, tenant and wallet are put into the row. p->burns grows
 * as needed. 0, -EBADMSG (not a body we ever wrote), -ENOMEM. */
int weir_decode_usage(const struct weir_entry_head *h, const void *body, size_t n,
		      struct weir_row *row, struct weir_posting *p);
int weir_decode_grant(const struct weir_entry_head *h, const void *body, size_t n,
		      struct weir_grant *g, bool *now, struct weir_posting *p);

/* SHA-256 over: hash of the entry before (32 bytes; zero before the first),
 * 1 byte version of this layout, then seq, id, kind, time, tenant, wallet,
 * amount, before, after, body, each as 4 bytes length and that many bytes;
 * integers are 8 bytes; all little-endian. */
struct weir_chain {
	EVP_MD_CTX *ctx;
	EVP_MD *sha256;
};
int weir_chain_init(struct weir_chain *c);
void weir_chain_clear(struct weir_chain *c);
int weir_chain_hash(struct weir_chain *c, const uint8_t prev[static WEIR_HASH_BYTES],
		    const struct weir_entry_head *h, const void *body, size_t n,
		    uint8_t out[static WEIR_HASH_BYTES]);

/* Room for n burns. 0 or -ENOMEM. */
int weir_posting_reserve(struct weir_posting *p, size_t n);

#endif
