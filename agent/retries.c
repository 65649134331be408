// SPDX-License-Identifier: Apache-2.0
/*
 * Sets of WAYS entries, by the key. A process may be killed between any two stores: an entry's
 * `state` is the last of them, and what comes before it changes no answer.
 */
#include "retries.h"

#include <string.h>

#include "plain_path.h"

#define WAYS 8
#define PATH 64 /* bytes of a request's path that are kept (struct weir_row) */

static uint64_t mix(uint64_t h, uint64_t w)
{
	unsigned __int128 p =
		(unsigned __int128)(h ^ w) * UINT64_C(0x9fb21c651e98df25); /* odd, half its bits */

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

void weir_retry_key(uint32_t tenant, const char *path, const uint64_t body[2], uint64_t out[2])
{
	char raw[PATH + 1] = "", plain[PATH + 1] = "";
	size_t n = 0;
	uint64_t w;

	while (n < PATH - 1 && path[n] > ' ' && path[n] != '?' && path[n] < 127) {
		raw[n] = path[n];
		n++;
	}
	weir_plain_path(raw, plain, PATH);
	n = strlen(plain);
	memset(plain + n, 0, sizeof(plain) - n);
	/* The body's hash is keyed: without it nobody can tell where two of these meet. */
	out[0] = mix(body[0], tenant);
	out[1] = mix(body[1], ~(uint64_t)tenant);
	for (size_t i = 0; i < PATH; i += sizeof(w)) {
		memcpy(&w, plain + i, sizeof(w));
		out[0] = mix(out[0], w + body[1]);
		out[1] = mix(out[1], w + body[0]);
	}
}

static struct weir_retry *set_of(struct weir_retries *r, const uint64_t key[2])
{
	return &r->of[key[0] % (WEIR_RETRIES / WAYS) * WAYS];
}

static bool is_for(const struct weir_retry *e, const uint64_t key[2])
{
	return e->state && e->key[0] == key[0] && e->key[1] == key[1];
}

static struct weir_retry *find(struct weir_retries *r, const uint64_t key[2])
{
	struct weir_retry *set = set_of(r, key);

	for (size_t i = 0; i < WAYS; i++)
		if (is_for(&set[i], key))
			return &set[i];
	return NULL;
}

static uint64_t pos_of(const struct weir_retry *e)
{
	return e->state >> 2;
}

static uint32_t used_of(const struct weir_retry *e)
{
	return e->state & 3;
}

static void store(struct weir_retry *e, uint64_t pos, uint32_t used)
{
	__atomic_store_n(&e->state, pos << 2 | used, __ATOMIC_RELEASE);
}

/* Free, or what would be forgotten first. */
static struct weir_retry *oldest(struct weir_retry *set)
{
	struct weir_retry *e = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (!set[i].state)
			return &set[i];
		if (set[i].until_ns < e->until_ns)
			e = &set[i];
	}
	return e;
}

void weir_retries_note(struct weir_retries *r, const uint64_t key[2], uint64_t now_ns, uint64_t pos)
{
	struct weir_retry *e = find(r, key);

	if (e && pos_of(e) >= pos)
		return;
	if (!e) {
		e = oldest(set_of(r, key));
		__atomic_store_n(&e->state, 0, __ATOMIC_RELAXED);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		e->key[0] = key[0];
		e->key[1] = key[1];
	}
	e->until_ns = now_ns + WEIR_RETRIES_FOR_NS;
	store(e, pos, 0);
}

bool weir_retries_take(struct weir_retries *r, const uint64_t key[2], uint64_t started_ns,
		       uint64_t pos)
{
	struct weir_retry *e = find(r, key);

	if (!e || pos_of(e) > pos)
		return false;
	if (pos_of(e) == pos) /* asked before; noted by it: none was used up since */
		return used_of(e);
	if (used_of(e) == WEIR_RETRIES_MAX || started_ns > e->until_ns ||
	    started_ns + WEIR_RETRIES_FOR_NS < e->until_ns)
		return false;
	store(e, pos, used_of(e) + 1);
	return true;
}

/* take(), asked for the same pos again, looks at `state` alone. */
void weir_retries_done(struct weir_retries *r, const uint64_t key[2], uint64_t pos)
{
	struct weir_retry *e = find(r, key);

	if (e && pos_of(e) == pos)
		e->until_ns = 0;
}
