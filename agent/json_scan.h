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

#include <stddef.h>
#include <stdint.h>

#include "json_text.h"

#define WEIR_SCAN_DEPTH	 8  /* of containers the schema descends into */
#define WEIR_SCAN_NESTED 64 /* levels below, in what it skips; deeper is dead */

/* What a schema node wants of the value at its place; any other kind of value is skipped. */
enum weir_scan_want {
	WEIR_SCAN_OBJECT = 1 << 0, /* descend */
	WEIR_SCAN_ARRAY = 1 << 1,  /* descend */
	WEIR_SCAN_END = 1 << 2,	   /* report the end of a container descended into */
	WEIR_SCAN_BEGIN = 1 << 3,  /* report a container, do not descend */
	WEIR_SCAN_STRING = 1 << 4, /* report, unescaped and cut to WEIR_TEXT_BYTES */
	WEIR_SCAN_FILLED = 1 << 5, /* report a string that is not empty, without its text */
	WEIR_SCAN_NUMBER = 1 << 6, /* report a whole number in [0, 2^63) */
};

enum weir_scan_event {
	WEIR_SCAN_IS_END,
	WEIR_SCAN_IS_BEGIN,
	WEIR_SCAN_IS_STRING,
	WEIR_SCAN_IS_FILLED,
	WEIR_SCAN_IS_NUMBER,
};

struct weir_scan_found {
	enum weir_scan_event event;
	int64_t number;
	const char *text; /* not NUL-terminated, UTF-8 not checked */
	size_t len;
};

/* A tree of places. Node 0 is nowhere, node 1 the document. */
struct weir_scan_schema {
	const uint8_t *want; /* of each node: enum weir_scan_want */
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

/* The next n bytes. A new document may start where one ended. */
void weir_scan_feed(struct weir_scan *j, const struct weir_scan_schema *s, void *ctx,
		    const uint8_t *bytes, size_t n);

/* Forget the document; the next byte starts another. */
void weir_scan_reset(struct weir_scan *j);

/* Believe nothing more until the next reset. */
void weir_scan_kill(struct weir_scan *j);

#endif
