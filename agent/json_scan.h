/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A streaming JSON scanner (RFC 8259): bytes in, in any cut; the few values
 * that a schema asks for out. Its memory is constant and small: what no schema
 * node names is skipped, at memory speed where it is long.
 *
 * It is as strict as telling structure from content needs, not a validator: a
 * wrong literal or number that nobody asked for goes through. Once structure is
 * broken, the document is dead: nothing more of it is reported.
 */
#ifndef WEIR_JSON_SCAN_H
#define WEIR_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json_text.h"

#define WEIR_SCAN_DEPTH	 8  /* of containers the schema descends into */
#define WEIR_SCAN_NESTED 64 /* levels below, in what it skips; deeper is dead */

/* What a schema node wants of the value at its place; any other kind of value is skipped. */
enum weir_scan_want {
	WEIR_SCAN_OBJECT = 1 << 0, /* descend */
	WEIR_SCAN_ARRAY = 1 << 1,  /* descend */
	WEIR_SCAN_OPEN = 1 << 2,   /* report a container that begins, descended into or not */
	WEIR_SCAN_END = 1 << 3,	   /* report the end of one descended into */
	WEIR_SCAN_STRING = 1 << 4, /* report, unescaped and cut to WEIR_TEXT_BYTES */
	WEIR_SCAN_NUMBER = 1 << 5, /* report a whole number in [0, 2^63) */
	WEIR_SCAN_BYTES =
		1 << 6,		/* report how long a string is, in pieces; alone: a container too */
	WEIR_SCAN_KEY = 1 << 7, /* report the key, whatever its value is */
	WEIR_SCAN_TRUE = 1 << 8, /* report a literal true */
};

enum weir_scan_event {
	WEIR_SCAN_IS_OPEN,
	WEIR_SCAN_IS_END,
	WEIR_SCAN_IS_STRING,
	WEIR_SCAN_IS_NUMBER,
	WEIR_SCAN_IS_BYTES,
	WEIR_SCAN_IS_KEY,
	WEIR_SCAN_IS_TRUE,
};

struct weir_scan_found {
	enum weir_scan_event event;
	int64_t number;	  /* a count, or bytes: at least 1 */
	const char *text; /* not NUL-terminated, UTF-8 not checked */
	size_t len;
};

/* A tree of places. Node 0 is nowhere, node 1 the document, node 2 an array of documents. */
struct weir_scan_schema {
	const uint16_t *want; /* of each node: enum weir_scan_want */
	/* The node of a key in an object, or (key NULL) of an array's elements. */
	uint8_t (*child)(uint8_t node, const char *key, size_t len);
	void (*found)(void *ctx, uint8_t node, const struct weir_scan_found *f);
};

/* Plain data; all zero is ready for a document. */
struct weir_scan {
	uint64_t number;
	uint64_t nested_arrays; /* bit i: level i of what is skipped is an array */
	uint8_t state;
	uint8_t depth;
	uint8_t node;	/* of the value being read */
	uint8_t arrays; /* bit i: level i of stack is an array */
	uint8_t nested;
	uint8_t flags;
	uint8_t pad[2];
	uint8_t stack[WEIR_SCAN_DEPTH];
	struct weir_string text; /* a string or key */
};
_Static_assert(sizeof(struct weir_scan) == 104, "weir_scan");

/* The next n bytes. Returns how many it took: fewer than n only once the document is over, or
 * dead at the byte that it did not take. One document; another one takes a reset. */
size_t weir_scan_feed(struct weir_scan *j, const struct weir_scan_schema *s, void *ctx,
		      const uint8_t *bytes, size_t n);

/* The document was whole, and nothing was fed behind it. */
bool weir_scan_over(const struct weir_scan *j);
bool weir_scan_dead(const struct weir_scan *j);
bool weir_scan_too_deep(const struct weir_scan *j); /* dead, of that alone */

/* In the middle of a document: a key of its own was read into j->text, and its colon. */
void weir_scan_enter(struct weir_scan *j, const struct weir_scan_schema *s, void *ctx);

/* Forget the document; the next byte starts another. */
void weir_scan_reset(struct weir_scan *j);

/* Believe nothing more until the next reset. */
void weir_scan_kill(struct weir_scan *j);

#endif
