/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict reader of JSON files that people write: a cursor over jansson's tree
 * that knows where it is, so that every error says file, path and value:
 *
 *	10-tiers.json: tiers.free.requests.per_minute: -3 is not a whole number from 1 to 9
 *
 * Getters return 0 or -EINVAL with err filled in; what they write to is untouched
 * on errors. A cursor points at its parent's, which must outlive it, and borrows
 * the tree. Nothing here knows what any field means.
 */
#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct weir_json {
	const struct weir_json *up; /* NULL: the root */
	const char *key;	    /* member name; the root's is what errors call the document */
	size_t index;		    /* of an element, where key is NULL */
	bool inner; /* root only: it is a part of a document, its key ends in a path */
	json_t *v;
};

void weir_json_put(json_t **v); /* json_decref, NULL is fine */
#define weir_autojson WEIR_CLEANUP(weir_json_put)

/* Parse a whole text or file: strict JSON, duplicate keys refused. `where` is what
 * errors call it. Syntax errors are -EINVAL; a file that cannot be read gives its
 * errno. *out has one reference. */
int weir_json_parse(const char *text, size_t len, const char *where, json_t **out,
		    struct weir_error *err);
int weir_json_read(const char *path, const char *where, json_t **out, struct weir_error *err);

/* Cursors. inner: `where` ends inside a document ("10-cards.json: rate_cards[0]"). */
struct weir_json weir_json_root(json_t *v, const char *where, bool inner);
struct weir_json weir_json_member(const struct weir_json *at, const char *key, json_t *v);
struct weir_json weir_json_element(const struct weir_json *at, size_t index);
/* The member `key` of an object into *child; false if there is none. */
bool weir_json_get(const struct weir_json *at, const char *key, struct weir_json *child);

/* An object that has no fields but these (NULL-terminated). */
int weir_json_object(const struct weir_json *at, const char *const *fields, struct weir_error *err);
/* An object with any keys; an array of min to max elements. */
int weir_json_map(const struct weir_json *at, struct weir_error *err);
int weir_json_array(const struct weir_json *at, size_t min, size_t max, struct weir_error *err);

int weir_json_int(const struct weir_json *at, int64_t min, int64_t max, int64_t *out,
		  struct weir_error *err);
int weir_json_bool(const struct weir_json *at, bool *out, struct weir_error *err);
/* Borrowed from the tree; 1 to max bytes. */
int weir_json_string(const struct weir_json *at, size_t max, const char **out,
		     struct weir_error *err);
/* A string that weir_name_ok takes. */
int weir_json_name(const struct weir_json *at, const char **out, struct weir_error *err);
/* One of a NULL-terminated list of words; *out is its index. */
int weir_json_choice(const struct weir_json *at, const char *const *words, int *out,
		     struct weir_error *err);
/* A decimal string (money.h) from min to max nano. */
int weir_json_decimal(const struct weir_json *at, int64_t min, int64_t max, int64_t *out,
		      struct weir_error *err);

/* Say what is wrong with the value here: "file: path: <text>". Returns -EINVAL. */
int weir_json_fail(const struct weir_json *at, struct weir_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, with the value before the text: "file: path: -3 <text>". */
int weir_json_refuse(const struct weir_json *at, struct weir_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* "tiers.free", for a message about another place. */
#define WEIR_JSON_PATH 256
void weir_json_path(const struct weir_json *at, char out[static WEIR_JSON_PATH]);

#endif
