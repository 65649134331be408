/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What caches said of an answer, from its head (agent/metering.md, 19): RFC 9211's list, else the
 * words of the headers that are older than it.
 */
#ifndef WEIR_REF_CACHE_H
#define WEIR_REF_CACHE_H

#include <ctype.h>

#include "agent/row.h"
#include "ref_http1.h"

/* The next part of [*p, end) up to one of `stops` outside of quotes, which *stop is (0: the end).
 */
static inline struct bytes ref_item(const char **p, const char *end, const char *stops, char *stop)
{
	struct bytes item = { 0 };
	bool quoted = false;

	put(&item, "", 0);
	for (; *p < end && (quoted || !strchr(stops, **p)); ++*p) {
		if (quoted && **p == '\\' && *p + 1 < end)
			put_byte(&item, (uint8_t) * (*p)++);
		else if (**p == '"')
			quoted = !quoted;
		put_byte(&item, (uint8_t) * *p);
	}
	*stop = *p < end ? *(*p)++ : 0;
	while (item.n && ref_blank(item.p[item.n - 1]))
		item.n--;
	return item;
}

static inline enum weir_cache_status ref_cache_list(const char *p, size_t n)
{
	enum weir_cache_status status = WEIR_CACHE_UNKNOWN;
	const char *end = p + n;
	char stop = ',';

	while (p < end) {
		bool parameter = stop == ';';
		const char *word;
		struct bytes item;
		size_t len;

		while (p < end && ref_blank((uint8_t)*p))
			p++;
		item = ref_item(&p, end, ",;", &stop);
		word = (const char *)item.p;
		len = item.n;
		if (parameter && ref_is(word, len, "hit"))
			status = WEIR_CACHE_HIT;
		else if (parameter && len > 4 && !strncasecmp(word, "fwd=", 4) &&
			 status != WEIR_CACHE_HIT)
			status = ref_is(word + 4, len - 4, "bypass")  ? WEIR_CACHE_BYPASS
				 : ref_is(word + 4, len - 4, "stale") ? WEIR_CACHE_EXPIRED
								      : WEIR_CACHE_MISS;
		bytes_free(&item);
	}
	return status;
}

static inline enum weir_cache_status ref_cache_words(const char *p, size_t n)
{
	static const char *const words[] = { "hit",   "miss",	     "bypass",	"expired",
					     "stale", "revalidated", "updating" };
	static const uint8_t means[] = { WEIR_CACHE_HIT,    WEIR_CACHE_MISS,
					 WEIR_CACHE_BYPASS, WEIR_CACHE_EXPIRED,
					 WEIR_CACHE_STALE,  WEIR_CACHE_REVALIDATED,
					 WEIR_CACHE_STALE };
	enum weir_cache_status first = WEIR_CACHE_UNKNOWN;

	for (size_t at = 0, len; at < n; at += len + 1) {
		for (len = 0; at + len < n && isalnum((uint8_t)p[at + len]);)
			len++;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (!ref_is(p + at, len, words[i]))
				continue;
			if (!i)
				return WEIR_CACHE_HIT;
			if (first == WEIR_CACHE_UNKNOWN)
				first = means[i];
		}
	}
	return first;
}

/* *unsure: a line that is longer than what is kept of it. */
static inline enum weir_cache_status ref_cache(const struct ref_http1 *h, bool *unsure)
{
	static const char *const names[] = { "cache-status", "x-cache", "x-cache-status",
					     "cf-cache-status" };
	enum weir_cache_status said = WEIR_CACHE_UNKNOWN;
	bool hit = false;

	*unsure = false;
	for (size_t i = 0; i < h->n_fields && !hit; i++) {
		const struct ref_field *f = &h->fields[i];
		enum weir_cache_status s = WEIR_CACHE_UNKNOWN;

		for (size_t k = 0; k < 4; k++)
			if (ref_is(f->line, f->name_len, names[k])) {
				*unsure |= f->line_len > 90;
				s = k ? ref_cache_words(f->value, f->value_len)
				      : ref_cache_list(f->value, f->value_len);
			}
		hit = s == WEIR_CACHE_HIT || s == WEIR_CACHE_STALE || s == WEIR_CACHE_REVALIDATED;
		if (hit || said == WEIR_CACHE_UNKNOWN)
			said = s;
	}
	return said;
}

#endif
