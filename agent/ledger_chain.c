// SPDX-License-Identifier: Apache-2.0
/*
 * The hash that chains one entry to the next (layout in ledger_encode.h).
 */
#include <errno.h>
#include <string.h>

#include "agent/ledger_encode.h"

#define CHAIN_VERSION 1

int weir_chain_init(struct weir_chain *c)
{
	c->ctx = EVP_MD_CTX_new();
	c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (c->ctx && c->sha256)
		return 0;
	weir_chain_clear(c);
	return -ENOMEM;
}

void weir_chain_clear(struct weir_chain *c)
{
	EVP_MD_CTX_free(c->ctx);
	EVP_MD_free(c->sha256);
	*c = (struct weir_chain){ 0 };
}

static uint8_t *hash_field(uint8_t *p, const void *v, uint32_t n)
{
	memcpy(p, &n, 4);
	memcpy(p + 4, v, n);
	return p + 4 + n;
}

static uint8_t *hash_int(uint8_t *p, uint64_t v)
{
	return hash_field(p, &v, sizeof(v));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the hashed layout is little-endian");

int weir_chain_hash(struct weir_chain *c, const uint8_t prev[static WEIR_HASH_BYTES],
		    const struct weir_entry_head *h, const void *body, size_t n,
		    uint8_t out[static WEIR_HASH_BYTES])
{
	uint8_t buf[1024], *p = buf;
	uint32_t n32 = (uint32_t)n;

	memcpy(p, prev, WEIR_HASH_BYTES);
	p += WEIR_HASH_BYTES;
	*p++ = CHAIN_VERSION;
	p = hash_int(p, h->seq);
	p = hash_field(p, h->id.b, sizeof(h->id.b));
	p = hash_int(p, h->kind);
	p = hash_int(p, h->time_ns);
	p = hash_int(p, h->tenant);
	p = hash_int(p, h->wallet);
	p = hash_int(p, (uint64_t)h->amount_nano);
	p = hash_int(p, (uint64_t)h->before_nano);
	p = hash_int(p, (uint64_t)h->after_nano);
	memcpy(p, &n32, 4);
	p += 4;
	/* One update for the usual body: each call costs more than copying it. */
	if (n <= (size_t)(buf + sizeof(buf) - p)) {
		memcpy(p, body, n);
		p += n;
		n = 0;
	}
	if (EVP_DigestInit_ex2(c->ctx, c->sha256, NULL) != 1 ||
	    EVP_DigestUpdate(c->ctx, buf, (size_t)(p - buf)) != 1 ||
	    (n && EVP_DigestUpdate(c->ctx, body, n) != 1) ||
	    EVP_DigestFinal_ex(c->ctx, out, NULL) != 1)
		return -EIO;
	return 0;
}
