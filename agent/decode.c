// SPDX-License-Identifier: Apache-2.0
/*
 * The pool of decoders: tickets, and who has to go when the memory is used up. A ticket is a slot's
 * number and a generation that counts up from where the random number of this process put it: the
 * state file may hold those of another.
 */
#include "decode.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "coded.h"

#define SLOT_BITS 16
#define SLOTS_MAX ((1u << SLOT_BITS) - 1)
#define LEAST	  32768 /* bytes that a decoder takes, or more */
#define MMAP_FROM 65536

/* Slot 0 is nobody's: the ring of those in use begins and ends there, from the one used last to the
 * one unused longest. Free ones are a list by `older`. */
struct slot {
	uint64_t ticket; /* 0: free */
	uint32_t newer, older;
	size_t bytes;
	struct weir_coded coded;
};

struct weir_decoders {
	size_t limit;
	uint64_t generation;
	uint32_t slots_used; /* ever; those beyond were never touched */
	uint32_t n_slots, free;
	struct weir_decoders_stats stats; /* written by the one thread, read by others */
	uint8_t room[WEIR_CODED_PIECE];
	struct slot slots[];
};

enum weir_body_coding weir_body_coding_of(const char *value, size_t len)
{
	enum weir_body_coding coding = WEIR_BODY_PLAIN;
	const char *end = value + len;

	while (value < end) {
		enum weir_body_coding one = WEIR_BODY_CODED;
		size_t n = 0;

		for (; value < end && (*value == ' ' || *value == '\t' || *value == ','); value++)
			;
		while (value + n < end && value[n] != ',')
			n++;
		while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
			n--;
#define IS(word) (n == sizeof(word) - 1 && !strncasecmp(value, word, n))
		if (!n || IS("identity"))
			one = WEIR_BODY_PLAIN;
		else if (IS("gzip") || IS("x-gzip"))
			one = WEIR_BODY_GZIP;
		else if (IS("deflate"))
			one = WEIR_BODY_DEFLATE;
		else if (IS("zstd"))
			one = WEIR_BODY_ZSTD;
#undef IS
		if (one != WEIR_BODY_PLAIN)
			coding = coding == WEIR_BODY_PLAIN ? one : WEIR_BODY_CODED;
		value += n;
	}
	return coding;
}

int weir_decoders_new(size_t bytes, struct weir_decoders **out, struct weir_error *err)
{
	size_t n = bytes / LEAST < SLOTS_MAX ? bytes / LEAST + 1 : SLOTS_MAX;
	struct weir_decoders *d;

	if (bytes < WEIR_DECODERS_LEAST) /* each would be given up at once */
		return weir_fail(err, EINVAL, "%zu bytes for compressed answers: at least %d",
				 bytes, WEIR_DECODERS_LEAST);
	/* The C library takes ever larger blocks from its heap once one was freed; there, windows
	 * are pages that were written to before, and are not counted as what they take. */
	mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
	d = calloc(1, sizeof(*d) + (n + 1) * sizeof(d->slots[0]));
	if (!d)
		return weir_fail(err, ENOMEM, "out of memory");
	if (getrandom(&d->generation, sizeof(d->generation), 0) != sizeof(d->generation)) {
		free(d);
		return weir_fail(err, EIO, "the kernel gives no random numbers");
	}
	d->limit = bytes;
	d->n_slots = n;
	*out = d;
	return 0;
}

/* ------------------------------------------------------------------------ slots */

static void set(uint64_t *figure, uint64_t to)
{
	__atomic_store_n(figure, to, __ATOMIC_RELAXED);
}

static void unlink_slot(struct weir_decoders *d, struct slot *s)
{
	d->slots[s->newer].older = s->older;
	d->slots[s->older].newer = s->newer;
}

static void make_newest(struct weir_decoders *d, struct slot *s)
{
	uint32_t at = s - d->slots;

	s->newer = 0;
	s->older = d->slots[0].older;
	d->slots[s->older].newer = at;
	d->slots[0].older = at;
}

static struct slot *unused_longest(struct weir_decoders *d)
{
	return d->slots[0].newer ? &d->slots[d->slots[0].newer] : NULL;
}

static struct slot *slot_of(struct weir_decoders *d, uint64_t ticket)
{
	uint32_t at = ticket & SLOTS_MAX;

	return at && at <= d->slots_used && d->slots[at].ticket == ticket ? &d->slots[at] : NULL;
}

static void give_back(struct weir_decoders *d, struct slot *s)
{
	weir_coded_end(&s->coded);
	unlink_slot(d, s);
	set(&d->stats.bytes, d->stats.bytes - s->bytes);
	set(&d->stats.open, d->stats.open - 1);
	memset(s, 0, sizeof(*s));
	s->older = d->free;
	d->free = s - d->slots;
}

static void give_up(struct weir_decoders *d, struct slot *s)
{
	give_back(d, s);
	set(&d->stats.given_up, d->stats.given_up + 1);
}

/* What s takes by now; others go for it, and it goes itself if that is not enough: false. */
static bool charge(struct weir_decoders *d, struct slot *s)
{
	size_t bytes = weir_coded_bytes(&s->coded);
	struct slot *oldest;

	set(&d->stats.bytes, d->stats.bytes - s->bytes + bytes);
	s->bytes = bytes;
	while (d->stats.bytes > d->limit) {
		oldest = unused_longest(d); /* s is the newest: it is the last to go */
		give_up(d, oldest);
		if (oldest == s)
			return false;
	}
	return true;
}

static struct slot *take_slot(struct weir_decoders *d)
{
	struct slot *s;

	if (!d->free && d->slots_used == d->n_slots)
		give_up(d, unused_longest(d));
	if (d->free) {
		s = &d->slots[d->free];
		d->free = s->older;
		return s;
	}
	return &d->slots[++d->slots_used];
}

/* ------------------------------------------------------------------------ decoders */

uint64_t weir_decoder_open(struct weir_decoders *d, enum weir_body_coding coding)
{
	struct slot *s = take_slot(d);
	uint64_t ticket;

	if (weir_coded_init(&s->coded, coding)) {
		s->older = d->free;
		d->free = s - d->slots;
		return 0;
	}
	ticket = d->generation++ << SLOT_BITS | (uint64_t)(s - d->slots);
	s->ticket = ticket;
	make_newest(d, s);
	set(&d->stats.open, d->stats.open + 1);
	set(&d->stats.opened, d->stats.opened + 1);
	return charge(d, s) ? ticket : 0;
}

bool weir_decoder_close(struct weir_decoders *d, uint64_t ticket)
{
	struct slot *s = slot_of(d, ticket);
	bool whole = s && weir_coded_whole(&s->coded);

	if (s)
		give_back(d, s);
	return whole;
}

int weir_decode(struct weir_decoders *d, uint64_t ticket, const uint8_t *bytes, size_t n,
		weir_decoded_fn fn, void *ctx)
{
	struct slot *s = slot_of(d, ticket);
	int r;

	if (!s)
		return -ESTALE;
	if (d->slots[0].older != s - d->slots) {
		unlink_slot(d, s);
		make_newest(d, s);
	}
	r = weir_coded_next(&s->coded, bytes, n, d->room, fn, ctx);
	if (r) {
		give_back(d, s);
		set(&d->stats.failed, d->stats.failed + 1);
		return r;
	}
	charge(d, s); /* what was decoded is right, even if it was the last to be */
	return 0;
}

void weir_decoders_free(struct weir_decoders *d)
{
	struct slot *s;

	if (!d)
		return;
	while ((s = unused_longest(d)))
		give_back(d, s);
	free(d);
}

void weir_decoders_stats(const struct weir_decoders *d, struct weir_decoders_stats *out)
{
#define READ(figure) out->figure = __atomic_load_n(&d->stats.figure, __ATOMIC_RELAXED)
	READ(open);
	READ(bytes);
	READ(opened);
	READ(given_up);
	READ(failed);
#undef READ
}
