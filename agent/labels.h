/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request says that it is for, from header lines as the kernel ships them, in whatever
 * order: x-weir-* and other names of agent.json's `labels`, W3C traceparent and baggage, retry
 * count and request id. metering.md has the rules. Text from outside: visible ASCII, or none.
 */
#ifndef WEIR_LABELS_H
#define WEIR_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "row.h"

enum weir_label {
	WEIR_LABEL_USER,
	WEIR_LABEL_TEAM,
	WEIR_LABEL_COST_CENTER,
	WEIR_LABEL_SESSION,
	WEIR_LABEL_FEATURE,
	WEIR_LABEL_TRACE,      /* traceparent: 00-<32 hex>-<16 hex>-<2 hex> */
	WEIR_LABEL_REQUEST_ID, /* x-request-id */
	WEIR_LABEL_RETRY,      /* x-stainless-retry-count */
	WEIR_LABEL_MAX
};
extern const char *const weir_label_names[WEIR_LABEL_MAX]; /* "user" … */

enum weir_label_kind { WEIR_LABEL_HEADER, WEIR_LABEL_BAGGAGE };

#define WEIR_LABEL_SOURCES    48
#define WEIR_LABEL_NAME_BYTES 64

/* One place where a label may stand. */
struct weir_label_source {
	uint8_t label;			  /* enum weir_label */
	uint8_t kind;			  /* enum weir_label_kind */
	char name[WEIR_LABEL_NAME_BYTES]; /* lower case; of a baggage member as written */
};

/* agent.json's `labels`. Among the sources of one label an earlier one wins. Plain data. */
struct weir_label_config {
	struct weir_label_source sources[WEIR_LABEL_SOURCES];
	size_t n_sources;
	bool body_user;	      /* `user` of OpenAI's bodies, metadata.user_id of Anthropic's: last */
	uint32_t asked_bytes; /* of each request body that the agent reads; 0: none; default 4096 */
};

void weir_label_config_default(struct weir_label_config *c);

/* What the kernel sees of a header's name: its first 16 bytes, the colon among them. */
void weir_label_line_name(const char *name, struct weir_line_name *out);

/* What the kernel looks for, from the header names (and "baggage" if any source is of it).
 * Returns how many, and *bits. */
uint32_t weir_label_lines(const struct weir_label_config *c,
			  struct weir_line_name out[static WEIR_LINE_NAMES], uint64_t *bits);

/* Plain data, all zero: nothing is known. Texts are NUL padded, "" where nobody said. */
struct weir_labels {
	char user[64], team[48], cost_center[48], session[64], feature[48];
	char request_id[64];
	uint8_t trace_id[16];	       /* zeros: none */
	uint8_t retry_count;	       /* 255: more */
	uint8_t trusted;	       /* a trusted peer sent them */
	uint8_t rank[WEIR_LABEL_MAX];  /* 1 + the source's place in sources; 0: nobody yet */
	uint8_t twice[WEIR_LABEL_MAX]; /* that source came twice: none */
	uint8_t pad[6];
};
_Static_assert(sizeof(struct weir_labels) == 376, "weir_labels");

/* A line of the request's head, as rec has it, n bytes of it at `line`. */
void weir_labels_line(const struct weir_label_config *c, struct weir_labels *l, const char *line,
		      size_t n, uint32_t flags);

/* Who the body says it is for, if nobody with a better rank did. */
void weir_labels_body_user(const struct weir_label_config *c, struct weir_labels *l,
			   const char *user, size_t n);

#endif
