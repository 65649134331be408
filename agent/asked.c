// SPDX-License-Identifier: Apache-2.0
/*
 * The places in a request's body that say something, whichever server it is for; and a hash of
 * its bytes, word by word from its start, so that it does not matter in which pieces they came.
 *
 * The hash is keyed: a request whose hash is another's is billed as a retry of it, that is not at
 * all, so nobody may be able to make one. Two lanes of 64 x 64 -> 128 bit multiplication.
 */
#include "asked.h"

#include <string.h>

#include "clean_text.h"
#include "row.h"

enum node {
	NOWHERE,
	BODY,
	MODEL,
	USER,
	METADATA,
	METADATA_USER,
	TOKENS,
	CHOICES,
	STREAM,
	STREAM_OPTIONS,
	INCLUDE_USAGE,
	PARAMETERS, /* of TGI, Triton; SGLang's sampling_params, Ollama's options */
	NODES
};

static const uint16_t want[NODES] = {
	[BODY] = WEIR_SCAN_OBJECT,	     [MODEL] = WEIR_SCAN_STRING,
	[USER] = WEIR_SCAN_STRING,	     [METADATA] = WEIR_SCAN_OBJECT,
	[METADATA_USER] = WEIR_SCAN_STRING,  [TOKENS] = WEIR_SCAN_NUMBER,
	[CHOICES] = WEIR_SCAN_NUMBER,	     [STREAM] = WEIR_SCAN_TRUE,
	[STREAM_OPTIONS] = WEIR_SCAN_OBJECT, [INCLUDE_USAGE] = WEIR_SCAN_TRUE,
	[PARAMETERS] = WEIR_SCAN_OBJECT,
};

struct place {
	uint8_t in, node;
	const char *key;
};

static const struct place places[] = {
	{ BODY, MODEL, "model" },
	{ BODY, USER, "user" },
	{ BODY, METADATA, "metadata" },
	{ BODY, STREAM, "stream" },
	{ BODY, STREAM_OPTIONS, "stream_options" },
	{ BODY, TOKENS, "max_tokens" },
	{ BODY, TOKENS, "max_completion_tokens" },
	{ BODY, TOKENS, "max_output_tokens" },
	{ BODY, TOKENS, "n_predict" },
	{ BODY, CHOICES, "n" },
	{ BODY, CHOICES, "best_of" },
	{ BODY, PARAMETERS, "parameters" },
	{ BODY, PARAMETERS, "sampling_params" },
	{ BODY, PARAMETERS, "options" },
	{ METADATA, METADATA_USER, "user_id" },
	{ STREAM_OPTIONS, INCLUDE_USAGE, "include_usage" },
	{ PARAMETERS, TOKENS, "max_new_tokens" },
	{ PARAMETERS, TOKENS, "max_tokens" },
	{ PARAMETERS, TOKENS, "num_predict" },
	{ PARAMETERS, CHOICES, "n" },
	{ PARAMETERS, CHOICES, "best_of" },
};

static uint8_t child(uint8_t node, const char *key, size_t len)
{
	for (size_t i = 0; key && i < sizeof(places) / sizeof(*places); i++)
		if (places[i].in == node && strlen(places[i].key) == len &&
		    !memcmp(places[i].key, key, len))
			return places[i].node;
	return NOWHERE;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b; /* WEIR_UNKNOWN is the least */
}

/* Whole, in bytes that a label may have, or not at all. */
static void put_user(struct weir_asked_text *a, const struct weir_scan_found *f)
{
	memset(a->user, 0, sizeof(a->user));
	if (f->len >= sizeof(a->user))
		return;
	for (size_t i = 0; i < f->len; i++)
		if (f->text[i] <= ' ' || f->text[i] > '~')
			return;
	memcpy(a->user, f->text, f->len);
}

static void found(void *ctx, uint8_t node, const struct weir_scan_found *f)
{
	struct weir_asked_text *a = ctx;

	switch (node) {
	case MODEL:
		weir_clean_text(a->model, sizeof(a->model), f->text, f->len);
		break;
	case USER:
		a->flags |= WEIR_ASKED_USER;
		put_user(a, f);
		break;
	case METADATA_USER:
		if (!(a->flags & WEIR_ASKED_USER))
			put_user(a, f);
		break;
	case TOKENS:
		a->max_tokens = larger(a->max_tokens, f->number);
		break;
	case CHOICES:
		a->choices = larger(a->choices, f->number);
		break;
	case STREAM:
		a->flags |= WEIR_ASKED_STREAM;
		break;
	case INCLUDE_USAGE:
		a->flags |= WEIR_ASKED_INCLUDE_USAGE;
		break;
	}
}

static const struct weir_scan_schema schema = { .want = want, .child = child, .found = found };

/* ---------------------------------------------------------------- hash */

struct secret {
	uint64_t word[4];
};

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators". */
static struct secret secret_of(uint64_t key)
{
	struct secret s;

	for (size_t i = 0; i < 4; i++) {
		uint64_t z = key += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		s.word[i] = z ^ z >> 31;
	}
	return s;
}

static void hash_word(struct weir_asked_text *a, const struct secret *s, uint64_t w)
{
	a->hash[0] = fold(a->hash[0] ^ w ^ s->word[0], s->word[1] | 1);
	a->hash[1] = fold(a->hash[1] ^ w ^ s->word[2], s->word[3] | 1);
}

/* One byte into the word that is not whole, as if the whole word were loaded. */
static void hash_byte(struct weir_asked_text *a, const struct secret *s, uint64_t at, uint8_t byte)
{
	a->carry |= (uint64_t)byte << at % 8 * 8;
	if (at % 8 != 7)
		return;
	hash_word(a, s, a->carry);
	a->carry = 0;
}

static uint64_t load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

static void hash(struct weir_asked_text *a, uint64_t key, const uint8_t *p, size_t n)
{
	struct secret s = secret_of(key);
	uint64_t at = a->offset;

	if (!at) {
		a->hash[0] = s.word[1];
		a->hash[1] = s.word[3];
	}
	for (; n && at % 8; n--)
		hash_byte(a, &s, at++, *p++);
	for (; n >= 8; n -= 8, p += 8, at += 8)
		hash_word(a, &s, load(p));
	for (; n; n--)
		hash_byte(a, &s, at++, *p++);
}

bool weir_asked_hash(const struct weir_asked_text *a, uint64_t body_bytes, uint64_t out[2])
{
	if (a->flags & WEIR_ASKED_HOLE || a->offset != body_bytes)
		return false;
	out[0] = fold(a->hash[0] ^ a->carry, a->hash[1] ^ body_bytes);
	out[1] = fold(a->hash[1] ^ a->carry, ~a->hash[0] ^ body_bytes);
	return true;
}

/* ---------------------------------------------------------------- pieces */

void weir_asked_init(struct weir_asked_text *a)
{
	*a = (struct weir_asked_text){ .max_tokens = WEIR_UNKNOWN, .choices = WEIR_UNKNOWN };
}

void weir_asked_feed(struct weir_asked_text *a, uint64_t offset, const void *bytes, size_t n,
		     uint64_t key)
{
	const uint8_t *p = bytes;

	if (offset > a->offset)
		a->flags |= WEIR_ASKED_HOLE;
	/* Bytes that come again are passed over. */
	if (a->flags & WEIR_ASKED_HOLE || a->offset - offset >= n)
		return;
	p += a->offset - offset;
	n -= a->offset - offset;
	weir_scan_feed(&a->scan, &schema, a, p, n);
	hash(a, key, p, n);
	a->offset += n;
}
