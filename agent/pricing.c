/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two spans of time are kept, each with the cards that are in force throughout it: a card that
 * takes effect is preceded and followed by requests that began on either side of that instant
 * and end mixed. Within a span a tenant and a service always have the same cards, the best of
 * which is asked first.
 */
#include "pricing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"

#define SPANS	  2
#define CARDS_FOR 4 /* of a tenant, a tier, a service, all: one each (weir_cards_check) */
#define REMEMBER  1024

struct cards_for {
	uint32_t tenant;
	uint16_t service;
	bool known;
	uint8_t n;
	const struct weir_card *cards[CARDS_FOR];
};

struct span {
	uint64_t from_ns, until_ns; /* equal: nothing is known */
	size_t n;
	struct weir_card **in_force;
	struct cards_for memo[REMEMBER];
};

struct weir_pricing {
	const char *const *services;
	size_t n_services;
	struct weir_card *const *cards;
	size_t n_cards;
	uint64_t serial;
	struct span *last; /* that was asked */
	struct span spans[SPANS];
};

int weir_pricing_new(const char *const *services, size_t n_services, struct weir_pricing **out,
		     struct weir_error *err)
{
	struct weir_pricing *p = calloc(1, sizeof(*p));

	if (!p)
		return weir_fail(err, ENOMEM, "out of memory");
	p->services = services;
	p->n_services = n_services;
	p->last = p->spans;
	*out = p;
	return 0;
}

void weir_pricing_free(struct weir_pricing *p)
{
	for (size_t i = 0; p && i < SPANS; i++)
		free(p->spans[i].in_force);
	free(p);
}

void weir_pricing_set(struct weir_pricing *p, struct weir_card *const *cards, size_t n,
		      uint64_t serial)
{
	if (p->cards == cards && p->n_cards == n && p->serial == serial)
		return;
	p->cards = cards;
	p->n_cards = n;
	p->serial = serial;
	for (size_t i = 0; i < SPANS; i++)
		p->spans[i].from_ns = p->spans[i].until_ns = 0;
}

static bool is_within(const struct span *s, uint64_t at_ns)
{
	return at_ns >= s->from_ns && at_ns < s->until_ns;
}

/* The span that an instant is in. NULL: no memory. */
static struct span *make_span(struct weir_pricing *p, struct span *s, uint64_t at_ns)
{
	struct weir_card **in_force = realloc(s->in_force, (p->n_cards + 1) * sizeof(*in_force));

	s->from_ns = s->until_ns = 0;
	if (!in_force)
		return NULL;
	s->in_force = in_force;
	s->n = weir_cards_in_force(p->cards, p->n_cards, at_ns, in_force);
	memset(s->memo, 0, sizeof(s->memo));
	s->until_ns = UINT64_MAX;
	for (size_t i = 0; i < p->n_cards; i++) {
		uint64_t begins_ns = p->cards[i]->effective_from_ns;

		if (begins_ns <= at_ns && begins_ns > s->from_ns)
			s->from_ns = begins_ns;
		if (begins_ns > at_ns && begins_ns < s->until_ns)
			s->until_ns = begins_ns;
	}
	return s;
}

static struct span *span_of(struct weir_pricing *p, uint64_t at_ns)
{
	if (is_within(p->last, at_ns))
		return p->last;
	p->last = p->last == p->spans ? &p->spans[1] : &p->spans[0];
	return is_within(p->last, at_ns) ? p->last : make_span(p, p->last, at_ns);
}

static const struct cards_for *remembered(struct span *s, uint32_t tenant, uint16_t service,
					  const struct weir_use *use)
{
	struct cards_for *f = &s->memo[(tenant * UINT32_C(31) + service) % REMEMBER];

	if (f->known && f->tenant == tenant && f->service == service)
		return f;
	f->tenant = tenant;
	f->service = service;
	f->known = true;
	f->n = (uint8_t)weir_cards_for(s->in_force, s->n, use, f->cards, CARDS_FOR);
	return f;
}

bool weir_pricing_pick(struct weir_pricing *p, uint32_t tenant, uint16_t service,
		       struct weir_use *use, struct weir_pick *out)
{
	const struct cards_for *f;
	struct span *s = span_of(p, use->started_ns);

	/* "" is the name of none; NULL would be any. */
	use->service = service < p->n_services && p->services[service] ? p->services[service] : "";
	if (!s)
		return weir_cards_pick(p->cards, p->n_cards, use, out);
	f = remembered(s, tenant, service, use);
	for (size_t i = 0; i < f->n; i++) {
		int entry = card_find(f->cards[i], use);

		if (entry < 0)
			continue;
		*out = (struct weir_pick){
			.card = f->cards[i],
			.entry = (uint32_t)entry,
			.discount_milli = weir_card_discount(f->cards[i], use->tier),
		};
		return true;
	}
	return false;
}
