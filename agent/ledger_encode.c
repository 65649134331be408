// SPDX-License-Identifier: Apache-2.0
/*
 * Bodies are a version byte and then fields in fixed order: varints (LEB128),
 * signed ones zigzag, strings with a length. Counts that are unknown (-1) cost
 * one byte. Times are differences to the id's, so a usual row is 150 bytes.
 *
 * Versions of a usage body: 1 ends with finish_reason and the posting; 2 has
 * model_requested and max_tokens_requested between the two.
 */
#include "agent/ledger_encode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define USAGE_VERSION 2
#define GRANT_VERSION 1
#define CHAIN_VERSION 1

/* Longest body without burns: every varint at its widest and every string full. */
#define FIXED_MAX 1024
#define BURN_MAX  20

const char *const weir_entry_kind_names[WEIR_ENTRY_KIND_MAX] = {
	[0] = "",
	[WEIR_ENTRY_USAGE] = "usage",
	[WEIR_ENTRY_GRANT] = "grant",
	[WEIR_ENTRY_VOID] = "void",
	[WEIR_ENTRY_REFUND] = "refund",
	[WEIR_ENTRY_ADJUST] = "adjust",
	[WEIR_ENTRY_EXPIRE] = "expire",
	[WEIR_ENTRY_REPAY] = "repay",
};

static uint64_t zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Differences of times wrap on both ways, so any pair of times survives. */
static int64_t since(uint64_t t, uint64_t base)
{
	return (int64_t)(t - base);
}

/* ------------------------------------------------------------------ writing */

static int reserve(struct weir_bytes *b, size_t more)
{
	size_t cap = b->cap;
	uint8_t *p;

	if (b->cap - b->len >= more)
		return 0;
	while (cap - b->len < more)
		cap = cap ? 2 * cap : 2048;
	p = realloc(b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

static uint8_t *put(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put_signed(uint8_t *p, int64_t v)
{
	return put(p, zigzag(v));
}

static uint8_t *put_str(uint8_t *p, const char *s, size_t max)
{
	size_t n = strnlen(s, max);

	p = put(p, n);
	memcpy(p, s, n);
	return p + n;
}

static uint8_t *put_posting(uint8_t *p, const struct weir_posting *post)
{
	p = put_signed(p, post->debt_nano);
	p = put(p, post->n_burns);
	for (size_t i = 0; i < post->n_burns; i++) {
		p = put(p, post->burns[i].grant);
		p = put_signed(p, post->burns[i].nano);
	}
	return p;
}

static uint64_t id_time(const struct weir_id *id)
{
	uint64_t t = 0;

	for (int i = 0; i < 8; i++)
		t = t << 8 | id->b[i];
	return t;
}

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

int weir_encode_usage(struct weir_bytes *out, const struct weir_row *row,
		      const struct weir_posting *post)
{
	bool v4 = !memcmp(row->client, v4_mapped, sizeof(v4_mapped));
	uint8_t *p;

	if (reserve(out, FIXED_MAX + BURN_MAX * post->n_burns))
		return -ENOMEM;
	p = out->p + out->len;
	*p++ = USAGE_VERSION;
	p = put_signed(p, since(row->started_wall_ns, id_time(&row->id)));
	p = put_signed(p, since(row->ended_wall_ns, row->started_wall_ns));
	p = put(p, row->ttft_us);
	p = put(p, row->service);
	p = put(p, row->status);
	p = put(p, row->usage_source);
	p = put(p, row->end_cause);
	p = put(p, row->flags);
	p = put(p, row->card_id);
	p = put(p, row->card_entry);
	p = put_signed(p, row->usage.input);
	p = put_signed(p, row->usage.cache_read);
	p = put_signed(p, row->usage.cache_write);
	p = put_signed(p, row->usage.output);
	p = put_signed(p, row->usage.reasoning);
	p = put_signed(p, row->price_nano);
	p = put_signed(p, row->cost_nano);
	p = put_signed(p, row->reserved_nano);
	p = put(p, row->request_bytes + 1); /* ~0, unknown, becomes 0 */
	p = put(p, row->response_bytes + 1);
	*p++ = v4 ? 4 : 16;
	memcpy(p, v4 ? row->client + 12 : row->client, v4 ? 4 : 16);
	p += v4 ? 4 : 16;
	p = put_str(p, row->method, sizeof(row->method));
	p = put_str(p, row->path, sizeof(row->path));
	p = put_str(p, row->model, sizeof(row->model));
	p = put_str(p, row->response_id, sizeof(row->response_id));
	p = put_str(p, row->finish_reason, sizeof(row->finish_reason));
	p = put_str(p, row->model_requested, sizeof(row->model_requested));
	p = put_signed(p, row->max_tokens_requested);
	p = put_posting(p, post);
	out->len = (size_t)(p - out->p);
	return 0;
}

int weir_encode_grant(struct weir_bytes *out, const struct weir_grant *g, bool now,
		      const struct weir_posting *post)
{
	uint8_t *p;

	if (reserve(out, FIXED_MAX + BURN_MAX * post->n_burns))
		return -ENOMEM;
	p = out->p + out->len;
	*p++ = GRANT_VERSION;
	p = put_signed(p, g->amount_nano);
	p = put(p, g->source);
	p = put(p, g->priority);
	p = put(p, g->effective_ns);
	*p++ = now;
	p = put(p, g->expires_ns);
	p = put_str(p, g->key, sizeof(g->key));
	p = put_str(p, g->reason, sizeof(g->reason));
	p = put_str(p, g->actor, sizeof(g->actor));
	p = put_posting(p, post);
	out->len = (size_t)(p - out->p);
	return 0;
}

/* ------------------------------------------------------------------ reading */

/* Reads past the end give zeros and set bad: checked once, at the end. */
struct cursor {
	const uint8_t *p, *end;
	bool bad;
};

static uint64_t get(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; c->p < c->end && shift < 64; shift += 7) {
		uint8_t b = *c->p++;

		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

static uint64_t get_max(struct cursor *c, uint64_t max)
{
	uint64_t v = get(c);

	if (v > max) {
		c->bad = true;
		return 0;
	}
	return v;
}

static int64_t get_signed(struct cursor *c)
{
	return unzigzag(get(c));
}

static void get_bytes(struct cursor *c, void *out, size_t n)
{
	if ((size_t)(c->end - c->p) < n) {
		c->bad = true;
		return;
	}
	memcpy(out, c->p, n);
	c->p += n;
}

/* out is zero already, so that it comes out NUL padded. */
static void get_str(struct cursor *c, char *out, size_t max)
{
	get_bytes(c, out, get_max(c, max));
}

int weir_posting_reserve(struct weir_posting *p, size_t n)
{
	struct weir_burn *burns;
	size_t cap = p->cap_burns ? p->cap_burns : 16;

	if (n <= p->cap_burns)
		return 0;
	while (cap < n)
		cap *= 2;
	burns = reallocarray(p->burns, cap, sizeof(*burns));
	if (!burns)
		return -ENOMEM;
	p->burns = burns;
	p->cap_burns = cap;
	return 0;
}

static int get_posting(struct cursor *c, struct weir_posting *post)
{
	uint64_t n;

	post->debt_nano = get_signed(c);
	n = get_max(c, (uint64_t)(c->end - c->p) / 2); /* a burn takes two bytes at least */
	if (weir_posting_reserve(post, n))
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		post->burns[i].grant = get(c);
		post->burns[i].nano = get_signed(c);
	}
	post->n_burns = n;
	return c->bad || c->p != c->end ? -EBADMSG : 0;
}

int weir_decode_usage(const struct weir_entry_head *h, const void *body, size_t n,
		      struct weir_row *row, struct weir_posting *post)
{
	struct cursor c = { body, (const uint8_t *)body + n, false };
	uint8_t version = 0, addr;

	memset(row, 0, sizeof(*row));
	get_bytes(&c, &version, 1);
	if (version < 1 || version > USAGE_VERSION)
		return -EBADMSG;
	row->id = h->id;
	row->tenant = h->tenant;
	row->wallet = h->wallet;
	row->started_wall_ns = id_time(&h->id) + (uint64_t)get_signed(&c);
	row->ended_wall_ns = row->started_wall_ns + (uint64_t)get_signed(&c);
	row->ttft_us = (uint32_t)get_max(&c, UINT32_MAX);
	row->service = (uint16_t)get_max(&c, UINT16_MAX);
	row->status = (uint16_t)get_max(&c, UINT16_MAX);
	row->usage_source = (uint8_t)get_max(&c, UINT8_MAX);
	row->end_cause = (uint8_t)get_max(&c, UINT8_MAX);
	row->flags = (uint16_t)get_max(&c, UINT16_MAX);
	row->card_id = (uint32_t)get_max(&c, UINT32_MAX);
	row->card_entry = (uint32_t)get_max(&c, UINT32_MAX);
	row->usage.input = get_signed(&c);
	row->usage.cache_read = get_signed(&c);
	row->usage.cache_write = get_signed(&c);
	row->usage.output = get_signed(&c);
	row->usage.reasoning = get_signed(&c);
	row->price_nano = get_signed(&c);
	row->cost_nano = get_signed(&c);
	row->reserved_nano = get_signed(&c);
	row->request_bytes = get(&c) - 1;
	row->response_bytes = get(&c) - 1;
	addr = (uint8_t)get_max(&c, 16);
	if (addr == 4)
		memcpy(row->client, v4_mapped, sizeof(v4_mapped));
	else if (addr != 16)
		return -EBADMSG;
	get_bytes(&c, addr == 4 ? row->client + 12 : row->client, addr);
	get_str(&c, row->method, sizeof(row->method));
	get_str(&c, row->path, sizeof(row->path));
	get_str(&c, row->model, sizeof(row->model));
	get_str(&c, row->response_id, sizeof(row->response_id));
	get_str(&c, row->finish_reason, sizeof(row->finish_reason));
	row->max_tokens_requested = WEIR_UNKNOWN;
	if (version >= 2) {
		get_str(&c, row->model_requested, sizeof(row->model_requested));
		row->max_tokens_requested = get_signed(&c);
	}
	return get_posting(&c, post);
}

int weir_decode_grant(const struct weir_entry_head *h, const void *body, size_t n,
		      struct weir_grant *g, bool *now, struct weir_posting *post)
{
	struct cursor c = { body, (const uint8_t *)body + n, false };
	uint8_t version = 0;

	memset(g, 0, sizeof(*g));
	get_bytes(&c, &version, 1);
	if (version != GRANT_VERSION)
		return -EBADMSG;
	g->tenant = h->tenant;
	g->amount_nano = get_signed(&c);
	g->source = (uint8_t)get_max(&c, UINT8_MAX);
	g->priority = (uint8_t)get_max(&c, UINT8_MAX);
	g->effective_ns = get(&c);
	*now = get_max(&c, 1);
	g->expires_ns = get(&c);
	get_str(&c, g->key, sizeof(g->key) - 1);
	get_str(&c, g->reason, sizeof(g->reason) - 1);
	get_str(&c, g->actor, sizeof(g->actor) - 1);
	return get_posting(&c, post);
}

/* ------------------------------------------------------------------ hashing */

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
