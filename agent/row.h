/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One finished request, as it goes from the ring consumer to the ledger. Plain
 * data without pointers: rows wait for their commit in memory that outlives the
 * agent, so a row is laid out once and only appended to (WEIR_ROW_VERSION; what
 * an older one had is WEIR_ROW_BYTES_<version>).
 */
#ifndef WEIR_ROW_H
#define WEIR_ROW_H

#include <stddef.h>
#include <stdint.h>

#define WEIR_ROW_VERSION 4
#define WEIR_ID_BYTES	 16
#define WEIR_UNKNOWN	 INT64_C(-1) /* a count nobody reported; 0 is a count */

/* Request id: 8 bytes start (wall ns), 4 node/instance/boot, 3 slot, 1 ordinal,
 * all big-endian: ids sort by time and come out the same when work is redone. */
struct weir_id {
	uint8_t b[WEIR_ID_BYTES];
};

enum weir_usage_source {
	WEIR_USAGE_NONE,      /* no answer that is metered (status >= 400, free of tokens) */
	WEIR_USAGE_REPORTED,  /* the server said so */
	WEIR_USAGE_ESTIMATED, /* counted or guessed by us */
	WEIR_USAGE_PARTIAL,   /* the answer was cut, or bytes of it were lost */
};

/* Disjoint counts: input excludes what was read from or written to a cache, audio and
 * images (struct weir_row); output excludes reasoning. WEIR_UNKNOWN where nobody said. */
struct weir_usage {
	int64_t input;
	int64_t cache_read;
	int64_t cache_write;
	int64_t output;
	int64_t reasoning;
};

enum weir_row_flags {
	WEIR_ROW_STREAM = 1 << 0,   /* answered as SSE or NDJSON */
	WEIR_ROW_BILLABLE = 1 << 1, /* priced; else price is 0 */
	WEIR_ROW_SHADOW = 1 << 2,
	WEIR_ROW_UNPRICED = 1 << 3, /* no card or entry covers the model */
	WEIR_ROW_LOST_BYTES = 1 << 4,
	WEIR_ROW_POSTED = 1 << 5,     /* the wallet pays: credit is not "none" */
	WEIR_ROW_DEGRADED = 1 << 6,   /* out of credit: asked of the tier's fallback_model */
	WEIR_ROW_UNJUDGED = 1 << 7,   /* an answer that nobody was seen to ask for */
	WEIR_ROW_TOKENS_CUT = 1 << 8, /* max_tokens was lowered */
	WEIR_ROW_TRUSTED = 1 << 9,    /* labels are those of a trusted source */
};

enum weir_row_flags2 {
	WEIR_ROW_LEFT = 1 << 0,		  /* the client was gone before the answer's end */
	WEIR_ROW_RETRY_FREE = 1 << 1,	  /* repeats a request whose answer broke off: not billed */
	WEIR_ROW_CACHE_FREE = 1 << 2,	  /* out of a cache, and the tier does not bill these */
	WEIR_ROW_ABORT_FREE = 1 << 3,	  /* left in mid-answer, and the tier does not bill that */
	WEIR_ROW_ABORT_FULL = 1 << 4,	  /* likewise, and billed as if it had run to its end */
	WEIR_ROW_INPUT_GUESSED = 1 << 5,  /* the count is ours: from bytes */
	WEIR_ROW_OUTPUT_GUESSED = 1 << 6, /* likewise: from stream events or text */
	WEIR_ROW_ENCODED = 1 << 7,	  /* the answer was compressed */
};

/* What a cache in front of the model said of an answer (RFC 9211, X-Cache, X-Cache-Status). */
enum weir_cache_status {
	WEIR_CACHE_UNKNOWN, /* nobody said */
	WEIR_CACHE_HIT,
	WEIR_CACHE_MISS,
	WEIR_CACHE_BYPASS,
	WEIR_CACHE_EXPIRED,
	WEIR_CACHE_STALE,	/* a hit, of something old */
	WEIR_CACHE_REVALIDATED, /* a hit */
	WEIR_CACHE_STATUS_MAX
};
extern const char *const weir_cache_status_names[WEIR_CACHE_STATUS_MAX]; /* [0] is NULL */

struct weir_row {
	struct weir_id id;
	uint64_t started_wall_ns;
	uint64_t ended_wall_ns;
	uint32_t ttft_us; /* request admitted to first byte of the body; 0: none came */
	uint32_t tenant;  /* kernel index */
	uint32_t wallet;
	uint16_t service;
	uint16_t status; /* HTTP status; 0: no answer came */
	uint8_t usage_source;
	uint8_t end_cause;	 /* enum weir_end_cause */
	uint16_t flags;		 /* enum weir_row_flags */
	uint32_t card_id;	 /* row in table `card`; 0: none */
	uint32_t card_entry;	 /* entry in that card, from 0 */
	uint32_t discount_milli; /* of the card, for the tenant's tier; 100 is a tenth off */
	struct weir_usage usage;
	int64_t price_nano; /* in the queue: what the consumer has taken off the ceiling */
	int64_t cost_nano;
	int64_t reserved_nano;
	uint64_t request_bytes; /* body; ~0: unknown */
	uint64_t response_bytes;
	uint8_t client[16];
	char method[8]; /* NUL padded, as are all strings here */
	char path[64];
	char model[64]; /* that answered; what it was priced by */
	char response_id[64];
	char finish_reason[16];
	/* since version 2 */
	char model_requested[64];     /* "" where the body was not read */
	int64_t max_tokens_requested; /* WEIR_UNKNOWN likewise */
	/* since version 3 */
	int64_t audio; /* tokens; WEIR_UNKNOWN where nobody said */
	int64_t image;
	char session[64]; /* "" where nobody said */
	char feature[48];
	/* since version 4 */
	char user[64];
	char team[48];
	char cost_center[48];
	uint8_t trace_id[16];	    /* W3C; zeros: none */
	char client_request_id[64]; /* x-request-id, of the answer, else of the request */
	char model_version[32];	    /* of the answer: system_fingerprint */
	uint8_t retry_count;	    /* what the client's SDK said; 255: more */
	uint8_t cache_status;	    /* enum weir_cache_status */
	uint8_t pad4[2];
	uint32_t flags2; /* enum weir_row_flags2 */
};
#define WEIR_ROW_BYTES_1 offsetof(struct weir_row, model_requested)
#define WEIR_ROW_BYTES_2 offsetof(struct weir_row, audio)
#define WEIR_ROW_BYTES_3 offsetof(struct weir_row, user)
_Static_assert(WEIR_ROW_BYTES_1 == 376, "weir_row, version 1");
_Static_assert(WEIR_ROW_BYTES_2 == 448, "weir_row, version 2");
_Static_assert(WEIR_ROW_BYTES_3 == 576, "weir_row, version 3");
_Static_assert(sizeof(struct weir_row) == 856, "weir_row");

#endif
