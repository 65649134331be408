// SPDX-License-Identifier: Apache-2.0
/*
 * A line at a time, as it is; of one that is cut, what is there for certain.
 */
#include "answer_head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* The value if the line is this header, without blanks around it (*len); else NULL. */
static const char *header(const char *line, const char *name_colon, size_t *len)
{
	size_t n = strlen(name_colon);

	if (strncasecmp(line, name_colon, n))
		return NULL;
	line += n;
	line += strspn(line, " \t");
	*len = strlen(line);
	while (*len && strchr(" \t", line[*len - 1]))
		--*len;
	return line;
}

static bool is(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && !strncasecmp(text, word, len);
}

/* ------------------------------------------------------------ caches */

static enum weir_cache_status status_word(const char *word, size_t len)
{
	static const struct {
		const char *word;
		enum weir_cache_status status;
	} words[] = {
		{ "hit", WEIR_CACHE_HIT },	  { "miss", WEIR_CACHE_MISS },
		{ "bypass", WEIR_CACHE_BYPASS },  { "expired", WEIR_CACHE_EXPIRED },
		{ "stale", WEIR_CACHE_STALE },	  { "revalidated", WEIR_CACHE_REVALIDATED },
		{ "updating", WEIR_CACHE_STALE },
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (is(word, len, words[i].word))
			return words[i].status;
	return WEIR_CACHE_UNKNOWN;
}

/* The first word that says something; of several caches one that hit is enough. */
static enum weir_cache_status status_of_words(const char *value, size_t len)
{
	enum weir_cache_status first = WEIR_CACHE_UNKNOWN, status;
	const char *end = value + len;

	while (value < end) {
		const char *word = value;

		while (value < end && isalnum((unsigned char)*value))
			value++;
		status = status_word(word, (size_t)(value - word));
		if (status == WEIR_CACHE_HIT)
			return status;
		if (first == WEIR_CACHE_UNKNOWN)
			first = status;
		if (value < end)
			value++;
	}
	return first;
}

/* Why a cache asked further (RFC 9211 2.2). One that had but something stale has no answer of its
 * own: that is no hit. */
static enum weir_cache_status forwarded(const char *why, size_t len)
{
	return is(why, len, "bypass")  ? WEIR_CACHE_BYPASS
	       : is(why, len, "stale") ? WEIR_CACHE_EXPIRED
				       : WEIR_CACHE_MISS;
}

/* The end of a token or quoted string. */
static const char *item_end(const char *p, const char *end)
{
	bool quoted = false;

	for (; p < end && (quoted || (*p != ',' && *p != ';')); p++) {
		if (*p == '\\' && quoted && p + 1 < end)
			p++;
		else if (*p == '"')
			quoted = !quoted;
	}
	return p;
}

/* RFC 9211: a list of caches, the nearest to the model first, each with what it did. A hit of any
 * of them is one; else what the last one says. */
static enum weir_cache_status status_of_list(const char *value, size_t len, bool cut)
{
	enum weir_cache_status status = WEIR_CACHE_UNKNOWN;
	const char *end = value + len;
	bool parameter = false; /* not the cache's name */

	while (value < end) {
		const char *to = item_end(value, end);
		size_t n;

		if (to == end && cut)
			break;
		value += strspn(value, " \t");
		for (n = value < to ? (size_t)(to - value) : 0; n && strchr(" \t", value[n - 1]);)
			n--;
		if (parameter && is(value, n, "hit"))
			return WEIR_CACHE_HIT;
		if (parameter && n > 4 && !strncasecmp(value, "fwd=", 4))
			status = forwarded(value + 4, n - 4);
		parameter = to < end && *to == ';';
		value = to + 1;
	}
	return status;
}

static bool is_hit(uint8_t status)
{
	return status == WEIR_CACHE_HIT || status == WEIR_CACHE_STALE ||
	       status == WEIR_CACHE_REVALIDATED;
}

static void cache_status(struct weir_response_seen *seen, enum weir_cache_status status)
{
	if (status != WEIR_CACHE_UNKNOWN && !is_hit(seen->cache_status) &&
	    (is_hit(status) || seen->cache_status == WEIR_CACHE_UNKNOWN))
		seen->cache_status = status;
}

/* ------------------------------------------------------------ others */

static void content_encoding(struct weir_response_seen *seen, const char *value, size_t len)
{
	enum weir_body_coding coding = weir_body_coding_of(value, len);

	if (coding != WEIR_BODY_PLAIN)
		seen->coding = seen->coding == WEIR_BODY_PLAIN ? coding : WEIR_BODY_CODED;
}

static void request_id(struct weir_response_seen *seen, const char *value, size_t len,
		       uint8_t *request_ids)
{
	bool fits = len < sizeof(seen->request_id);
	size_t i;

	memset(seen->request_id, 0, sizeof(seen->request_id));
	for (i = 0; i < len && fits; i++)
		fits = value[i] >= ' ' && value[i] < 127;
	if (!*request_ids && fits)
		memcpy(seen->request_id, value, len);
	*request_ids = 1;
}

static bool count(const char *value, size_t len, int64_t *out)
{
	int64_t n = 0;
	size_t i;

	for (i = 0; i < len; i++)
		if (value[i] < '0' || value[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, value[i] - '0', &n))
			return false;
	*out = n;
	return len;
}

void weir_answer_head(const char *line, bool cut, struct weir_usage_scan *u,
		      struct weir_response_seen *seen, uint8_t *request_ids)
{
	const char *value;
	size_t len;
	int64_t n;

	if ((*line | 0x20) != 'c' && (*line | 0x20) != 'x')
		return;
	if ((value = header(line, "content-encoding:", &len)))
		content_encoding(seen, value, len);
	else if ((value = header(line, "cache-status:", &len)))
		cache_status(seen, status_of_list(value, len, cut));
	else if ((value = header(line, "x-cache:", &len)) ||
		 (value = header(line, "x-cache-status:", &len)) ||
		 (value = header(line, "cf-cache-status:", &len)))
		cache_status(seen, status_of_words(value, len));
	else if ((value = header(line, "x-request-id:", &len)))
		request_id(seen, value, cut ? SIZE_MAX : len, request_ids);
	else if ((value = header(line, "x-prompt-tokens:", &len)) && !cut && count(value, len, &n))
		weir_usage_head(u, seen, WEIR_COUNT_NATIVE_PROMPT, n);
	else if ((value = header(line, "x-generated-tokens:", &len)) && !cut &&
		 count(value, len, &n))
		weir_usage_head(u, seen, WEIR_COUNT_NATIVE_OUTPUT, n);
}
