// SPDX-License-Identifier: Apache-2.0
/*
 * The body of usage: a version byte and then fields in fixed order (ledger_bytes.h). Counts that
 * are unknown (-1) cost one byte, times are differences to the id's, and what few rows have is
 * there only if a bit in a mask says so: a usual row is 150 bytes.
 *
 * Versions: 1 ends with finish_reason and what was burnt; 2 has model_requested and
 * max_tokens_requested between the two; 3 has the mask and what it announces after those, and
 * moves instead of burns; 4 knows more bits of the mask.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_bytes.h"

#define USAGE_VERSION 4

/* Longest body without moves: every varint at its widest and every string full. */
#define FIXED_MAX 1536

/* What follows in a body since version 3, in this order. Bits are never used for something else;
 * the first seven, which rows have most often, make a mask of one byte. */
enum has {
	HAS_DISCOUNT = 1 << 0,
	HAS_AUDIO = 1 << 1,
	HAS_IMAGE = 1 << 2,
	HAS_SESSION = 1 << 3,
	HAS_FEATURE = 1 << 4,
	HAS_POSITIONS = 1 << 5,
	HAS_SESSION_BEGUN = 1 << 6, /* the bit is all there is */
	HAS_KNOWN_3 = (1 << 7) - 1,
	/* since version 4 */
	HAS_USER = 1 << 7,
	HAS_TEAM = 1 << 8,
	HAS_COST_CENTER = 1 << 9,
	HAS_TRACE_ID = 1 << 10,
	HAS_CLIENT_REQUEST_ID = 1 << 11,
	HAS_MODEL_VERSION = 1 << 12,
	HAS_FLAGS2 = 1 << 13,
	HAS_RETRY_COUNT = 1 << 14,
	HAS_CACHE_STATUS = 1 << 15,
	HAS_KNOWN = (1 << 16) - 1,
};

/* Differences of times wrap on both ways, so any pair of times survives. */
static int64_t since(uint64_t t, uint64_t base)
{
	return (int64_t)(t - base);
}

static uint64_t id_time(const struct weir_id *id)
{
	uint64_t t = 0;

	for (int i = 0; i < 8; i++)
		t = t << 8 | id->b[i];
	return t;
}

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

int weir_bytes_reserve(struct weir_bytes *b, size_t more)
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

/* ------------------------------------------------------------- moves and positions */

int weir_posting_reserve(struct weir_posting *p, size_t n)
{
	struct weir_move *moves;
	size_t cap = p->cap_moves ? p->cap_moves : 16;

	if (n <= p->cap_moves)
		return 0;
	while (cap < n)
		cap *= 2;
	moves = reallocarray(p->moves, cap, sizeof(*moves));
	if (!moves)
		return -ENOMEM;
	p->moves = moves;
	p->cap_moves = cap;
	return 0;
}

uint8_t *weir_put_moves(uint8_t *p, const struct weir_posting *post)
{
	p = weir_put(p, post->n_moves);
	for (size_t i = 0; i < post->n_moves; i++) {
		*p++ = post->moves[i].purse;
		p = weir_put(p, post->moves[i].lot);
		p = weir_put_signed(p, post->moves[i].nano);
	}
	return p;
}

int weir_get_moves(struct weir_cursor *c, struct weir_posting *post)
{
	uint64_t n = weir_get_max(c, (uint64_t)(c->end - c->p) / 3); /* three bytes at least */

	if (weir_posting_reserve(post, n))
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		post->moves[i].purse = (uint8_t)weir_get_max(c, WEIR_PURSE_DEBT);
		post->moves[i].lot = weir_get(c);
		post->moves[i].nano = weir_get_signed(c);
	}
	post->n_moves = n;
	return 0;
}

int weir_get_burns(struct weir_cursor *c, struct weir_posting *post)
{
	int64_t debt = weir_get_signed(c);
	uint64_t n = weir_get_max(c, (uint64_t)(c->end - c->p) / 2); /* two bytes at least */

	if (weir_posting_reserve(post, n + 1))
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t lot = weir_get(c);
		int64_t nano = weir_get_signed(c);

		if (nano <= 0)
			c->bad = true;
		else
			post->moves[i] = (struct weir_move){ WEIR_PURSE_REMAINING, lot, -nano };
	}
	post->n_moves = n;
	if (debt)
		post->moves[post->n_moves++] = (struct weir_move){ WEIR_PURSE_DEBT, 0, debt };
	return 0;
}

uint8_t *weir_put_positions(uint8_t *p, const struct weir_posting *post)
{
	p = weir_put(p, post->n_positions);
	for (size_t i = 0; i < post->n_positions; i++) {
		*p++ = post->positions[i].dimension;
		p = weir_put_signed(p, post->positions[i].at);
	}
	return p;
}

void weir_get_positions(struct weir_cursor *c, struct weir_posting *post)
{
	post->n_positions = weir_get_max(c, WEIR_DIM_MAX);
	for (size_t i = 0; i < post->n_positions; i++) {
		post->positions[i].dimension = (uint8_t)weir_get_max(c, WEIR_DIM_MAX - 1);
		post->positions[i].at = weir_get_signed(c);
	}
}

/* ------------------------------------------------------------------ writing */

static bool is_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return !any;
}

static unsigned int has_labels(const struct weir_row *row)
{
	return (row->user[0] ? HAS_USER : 0) | (row->team[0] ? HAS_TEAM : 0) |
	       (row->cost_center[0] ? HAS_COST_CENTER : 0) |
	       (is_zero(row->trace_id, sizeof(row->trace_id)) ? 0 : HAS_TRACE_ID) |
	       (row->client_request_id[0] ? HAS_CLIENT_REQUEST_ID : 0) |
	       (row->model_version[0] ? HAS_MODEL_VERSION : 0) | (row->flags2 ? HAS_FLAGS2 : 0) |
	       (row->retry_count ? HAS_RETRY_COUNT : 0) |
	       (row->cache_status ? HAS_CACHE_STATUS : 0);
}

static unsigned int has_of(const struct weir_row *row, const struct weir_posting *post)
{
	return (row->discount_milli ? HAS_DISCOUNT : 0) |
	       (row->audio != WEIR_UNKNOWN ? HAS_AUDIO : 0) |
	       (row->image != WEIR_UNKNOWN ? HAS_IMAGE : 0) | (row->session[0] ? HAS_SESSION : 0) |
	       (row->feature[0] ? HAS_FEATURE : 0) | (post->n_positions ? HAS_POSITIONS : 0) |
	       (post->session_begins ? HAS_SESSION_BEGUN : 0) | has_labels(row);
}

static uint8_t *put_labels(uint8_t *p, const struct weir_row *row, unsigned int has)
{
	if (has & HAS_USER)
		p = weir_put_str(p, row->user, sizeof(row->user));
	if (has & HAS_TEAM)
		p = weir_put_str(p, row->team, sizeof(row->team));
	if (has & HAS_COST_CENTER)
		p = weir_put_str(p, row->cost_center, sizeof(row->cost_center));
	if (has & HAS_TRACE_ID)
		p = mempcpy(p, row->trace_id, sizeof(row->trace_id));
	if (has & HAS_CLIENT_REQUEST_ID)
		p = weir_put_str(p, row->client_request_id, sizeof(row->client_request_id));
	if (has & HAS_MODEL_VERSION)
		p = weir_put_str(p, row->model_version, sizeof(row->model_version));
	if (has & HAS_FLAGS2)
		p = weir_put(p, row->flags2);
	if (has & HAS_RETRY_COUNT)
		p = weir_put(p, row->retry_count);
	if (has & HAS_CACHE_STATUS)
		p = weir_put(p, row->cache_status);
	return p;
}

static uint8_t *put_extras(uint8_t *p, const struct weir_row *row, const struct weir_posting *post)
{
	unsigned int has = has_of(row, post);

	p = weir_put(p, has);
	if (has & HAS_DISCOUNT)
		p = weir_put(p, row->discount_milli);
	if (has & HAS_AUDIO)
		p = weir_put_signed(p, row->audio);
	if (has & HAS_IMAGE)
		p = weir_put_signed(p, row->image);
	if (has & HAS_SESSION)
		p = weir_put_str(p, row->session, sizeof(row->session));
	if (has & HAS_FEATURE)
		p = weir_put_str(p, row->feature, sizeof(row->feature));
	if (has & HAS_POSITIONS)
		p = weir_put_positions(p, post);
	return put_labels(p, row, has);
}

int weir_encode_usage(struct weir_bytes *out, const struct weir_row *row,
		      const struct weir_posting *post)
{
	bool v4 = !memcmp(row->client, v4_mapped, sizeof(v4_mapped));
	uint8_t *p;

	if (weir_bytes_reserve(out, FIXED_MAX + WEIR_MOVES_MAX(post->n_moves)))
		return -ENOMEM;
	p = out->p + out->len;
	*p++ = USAGE_VERSION;
	p = weir_put_signed(p, since(row->started_wall_ns, id_time(&row->id)));
	p = weir_put_signed(p, since(row->ended_wall_ns, row->started_wall_ns));
	p = weir_put(p, row->ttft_us);
	p = weir_put(p, row->service);
	p = weir_put(p, row->status);
	p = weir_put(p, row->usage_source);
	p = weir_put(p, row->end_cause);
	p = weir_put(p, row->flags);
	p = weir_put(p, row->card_id);
	p = weir_put(p, row->card_entry);
	p = weir_put_signed(p, row->usage.input);
	p = weir_put_signed(p, row->usage.cache_read);
	p = weir_put_signed(p, row->usage.cache_write);
	p = weir_put_signed(p, row->usage.output);
	p = weir_put_signed(p, row->usage.reasoning);
	p = weir_put_signed(p, row->price_nano);
	p = weir_put_signed(p, row->cost_nano);
	p = weir_put_signed(p, row->reserved_nano);
	p = weir_put(p, row->request_bytes + 1); /* ~0, unknown, becomes 0 */
	p = weir_put(p, row->response_bytes + 1);
	*p++ = v4 ? 4 : 16;
	memcpy(p, v4 ? row->client + 12 : row->client, v4 ? 4 : 16);
	p += v4 ? 4 : 16;
	p = weir_put_str(p, row->method, sizeof(row->method));
	p = weir_put_str(p, row->path, sizeof(row->path));
	p = weir_put_str(p, row->model, sizeof(row->model));
	p = weir_put_str(p, row->response_id, sizeof(row->response_id));
	p = weir_put_str(p, row->finish_reason, sizeof(row->finish_reason));
	p = weir_put_str(p, row->model_requested, sizeof(row->model_requested));
	p = weir_put_signed(p, row->max_tokens_requested);
	p = put_extras(p, row, post);
	p = weir_put_moves(p, post);
	out->len = (size_t)(p - out->p);
	return 0;
}

/* ------------------------------------------------------------------ reading */

static void get_labels(struct weir_cursor *c, uint64_t has, struct weir_row *row)
{
	if (has & HAS_USER)
		weir_get_str(c, row->user, sizeof(row->user));
	if (has & HAS_TEAM)
		weir_get_str(c, row->team, sizeof(row->team));
	if (has & HAS_COST_CENTER)
		weir_get_str(c, row->cost_center, sizeof(row->cost_center));
	if (has & HAS_TRACE_ID)
		weir_get_bytes(c, row->trace_id, sizeof(row->trace_id));
	if (has & HAS_CLIENT_REQUEST_ID)
		weir_get_str(c, row->client_request_id, sizeof(row->client_request_id));
	if (has & HAS_MODEL_VERSION)
		weir_get_str(c, row->model_version, sizeof(row->model_version));
	if (has & HAS_FLAGS2)
		row->flags2 = (uint32_t)weir_get_max(c, UINT32_MAX);
	if (has & HAS_RETRY_COUNT)
		row->retry_count = (uint8_t)weir_get_max(c, UINT8_MAX);
	if (has & HAS_CACHE_STATUS)
		row->cache_status = (uint8_t)weir_get_max(c, UINT8_MAX);
}

static void get_extras(struct weir_cursor *c, uint8_t version, struct weir_row *row,
		       struct weir_posting *post)
{
	uint64_t has = weir_get_max(c, version < 4 ? HAS_KNOWN_3 : HAS_KNOWN);

	if (has & HAS_DISCOUNT)
		row->discount_milli = (uint32_t)weir_get_max(c, UINT32_MAX);
	if (has & HAS_AUDIO)
		row->audio = weir_get_signed(c);
	if (has & HAS_IMAGE)
		row->image = weir_get_signed(c);
	if (has & HAS_SESSION)
		weir_get_str(c, row->session, sizeof(row->session));
	if (has & HAS_FEATURE)
		weir_get_str(c, row->feature, sizeof(row->feature));
	if (has & HAS_POSITIONS)
		weir_get_positions(c, post);
	post->session_begins = has & HAS_SESSION_BEGUN;
	get_labels(c, has, row);
}

static void get_client(struct weir_cursor *c, uint8_t client[static 16])
{
	uint64_t n = weir_get(c);

	if (n == 4)
		memcpy(client, v4_mapped, sizeof(v4_mapped));
	else if (n != 16)
		c->bad = true;
	weir_get_bytes(c, n == 4 ? client + 12 : client, n == 4 ? 4 : 16);
}

static void get_row(struct weir_cursor *c, uint8_t version, const struct weir_entry_head *h,
		    struct weir_row *row)
{
	row->id = h->id;
	row->tenant = h->tenant;
	row->wallet = h->wallet;
	row->started_wall_ns = id_time(&h->id) + (uint64_t)weir_get_signed(c);
	row->ended_wall_ns = row->started_wall_ns + (uint64_t)weir_get_signed(c);
	row->ttft_us = (uint32_t)weir_get_max(c, UINT32_MAX);
	row->service = (uint16_t)weir_get_max(c, UINT16_MAX);
	row->status = (uint16_t)weir_get_max(c, UINT16_MAX);
	row->usage_source = (uint8_t)weir_get_max(c, UINT8_MAX);
	row->end_cause = (uint8_t)weir_get_max(c, UINT8_MAX);
	row->flags = (uint16_t)weir_get_max(c, UINT16_MAX);
	row->card_id = (uint32_t)weir_get_max(c, UINT32_MAX);
	row->card_entry = (uint32_t)weir_get_max(c, UINT32_MAX);
	row->usage.input = weir_get_signed(c);
	row->usage.cache_read = weir_get_signed(c);
	row->usage.cache_write = weir_get_signed(c);
	row->usage.output = weir_get_signed(c);
	row->usage.reasoning = weir_get_signed(c);
	row->price_nano = weir_get_signed(c);
	row->cost_nano = weir_get_signed(c);
	row->reserved_nano = weir_get_signed(c);
	row->request_bytes = weir_get(c) - 1;
	row->response_bytes = weir_get(c) - 1;
	get_client(c, row->client);
	weir_get_str(c, row->method, sizeof(row->method));
	weir_get_str(c, row->path, sizeof(row->path));
	weir_get_str(c, row->model, sizeof(row->model));
	weir_get_str(c, row->response_id, sizeof(row->response_id));
	weir_get_str(c, row->finish_reason, sizeof(row->finish_reason));
	row->audio = row->image = row->max_tokens_requested = WEIR_UNKNOWN;
	if (version >= 2) {
		weir_get_str(c, row->model_requested, sizeof(row->model_requested));
		row->max_tokens_requested = weir_get_signed(c);
	}
}

int weir_decode_usage(const struct weir_entry_head *h, const void *body, size_t n,
		      struct weir_row *row, struct weir_posting *post, bool *old)
{
	struct weir_cursor c = { body, (const uint8_t *)body + n, false };
	uint8_t version = 0;
	int ret;

	memset(row, 0, sizeof(*row));
	post->n_moves = post->n_positions = 0;
	post->session_begins = false;
	weir_get_bytes(&c, &version, 1);
	if (version < 1 || version > USAGE_VERSION)
		return -EBADMSG;
	get_row(&c, version, h, row);
	if (version >= 3)
		get_extras(&c, version, row, post);
	ret = version >= 3 ? weir_get_moves(&c, post) : weir_get_burns(&c, post);
	*old = version < 3;
	if (ret)
		return ret;
	return c.bad || c.p != c.end ? -EBADMSG : 0;
}
