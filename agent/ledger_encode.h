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

/* What an entry did: moves within the wallet, and what a price was worked out with. */
struct weir_posting {
	struct weir_move *moves;
	size_t n_moves, cap_moves;
	struct weir_position positions[WEIR_DIM_MAX];
	size_t n_positions;
	bool session_begins;
};

/* Grows; reused from entry to entry. */
struct weir_bytes {
	uint8_t *p;
	size_t len, cap;
};

/* Append a body. 0 or -ENOMEM. id, tenant and wallet are columns and not repeated. What is
 * written is the newest version. */
int weir_encode_usage(struct weir_bytes *out, const struct weir_row *row,
		      const struct weir_posting *p);
int weir_encode_op(struct weir_bytes *out, const struct weir_op *op, const struct weir_posting *p);

/* The reverse, of any version; head's id, tenant, wallet and kind are put in. p->moves grows as
 * needed. 0, -EBADMSG (not a body we ever wrote), -ENOMEM. *old: of a version from before lots
 * expired and became effective by entries (usage 1 and 2, grant 1); what they burnt is moves of
 * WEIR_PURSE_REMAINING and _DEBT. */
int weir_decode_usage(const struct weir_entry_head *h, const void *body, size_t n,
		      struct weir_row *row, struct weir_posting *p, bool *old);
int weir_decode_op(const struct weir_entry_head *h, const void *body, size_t n, struct weir_op *op,
		   struct weir_posting *p, bool *old);

/* SHA-256 of what somebody asked for, without who asked, when, and what came of it: two writes
 * with the same key must agree in it. 0 or -EIO. */
int weir_op_content(const struct weir_op *op, uint8_t out[static WEIR_HASH_BYTES]);

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

/* Room for n moves. 0 or -ENOMEM. */
int weir_posting_reserve(struct weir_posting *p, size_t n);

#endif
