/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reference model of the verdict: what the kernel programs have to do with each
 * packet, said a second time from bpf/forms.md, in code that shares nothing with
 * theirs but weir_abi.h. It keeps whole streams, reads them a byte at a time, looks
 * things up in arrays, and has no thought for speed. This file holds its state and
 * what it expects of a packet; the parts are
 *
 *   model_head.h    a request head, byte by byte
 *   model_limits.h  who it is, what it may
 *   model_judge.h   SYNs and heads, judged
 *   model_stream.h  the client's packets
 *   model_answer.h  the server's packets
 *   model_linger.h  a refused connection
 *   model_reply.h   the words and figures of a refusal
 *
 * Time: buckets have intervals of an hour and are counted in whole tokens, so that
 * no outcome depends on when a test ran.
 */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include "tests/bpf/lab.h"

#define MODEL_INTERVAL_NS (3600 * SECOND)
#define MODEL_TOKEN_NS	  (600 * SECOND) /* a token of the tokens bucket */

enum {
	M_HEAD_MAX = 16384,
	M_LINES_MAX = 256,
	M_TENANTS = 16,
	M_KEYS = 24,
	M_SOURCES = 8,
	M_KEPT = 8,
	M_DATA = 4,
	M_BLANK_BEHIND = 4,
	M_RECORDS = 24,
	M_LINES = 16,
	M_NOT_ZERO = 2, /* of model.lines: told unless its value is 0 */
	M_UNCOUNTED = WEIR_REASON_MAX,
};

/* What the programs at hand do. One that is off is not generated. */
enum model_feature {
	F_PARTS = 1 << 0,      /* heads in several segments */
	F_ACK_ORDER = 1 << 1,  /* a head is read only behind acknowledged bytes */
	F_STRICT = 1 << 2,     /* the table of heads */
	F_REPEAT = 1 << 3,     /* resent bytes are compared */
	F_CHUNKS = 1 << 4,     /* chunked request bodies are followed */
	F_UNJUDGED = 1 << 5,   /* answers to nothing judged are billed and closed */
	F_RAW = 1 << 6,	       /* first bytes that are no request */
	F_PROTOCOL = 1 << 7,   /* CONNECT, upgrades, h2c */
	F_ANSWER_CUT = 1 << 8, /* answer heads in several segments */
	F_NAMED = 1 << 9,      /* x-weir-tenant of trusted peers, lines that are told */
	F_ALL = (1 << 10) - 1,
};

/* A tenant, or a tenant's scope: limits as configured, gauges as they must stand, tokens
 * taken. */
struct m_tenant {
	struct weir_tenant t;
	char name[24];
	uint32_t requests_taken, connects_taken;
	uint64_t burst;			   /* of tokens */
	int64_t expired;		   /* nano, in the ceiling, but over */
	uint64_t debt;			   /* of tokens, settled and not worked off */
	uint32_t released;		   /* reserved tokens that were settled */
	uint32_t scope[WEIR_MAX_SERVICES]; /* entry for the service, or 0 */
};

struct m_key {
	char text[300];
	uint32_t tenant;
	bool expired;
};

struct m_source {
	uint8_t addr[16];
	uint32_t len;
	uint32_t tenant;
};

struct m_refusal {
	uint32_t reason;
	uint32_t tenant;
	uint32_t level; /* whose limit it was; 0: nobody's */
	int64_t limit, value, asked;
	uint64_t retry_ns; /* about */
};

struct m_record {
	uint8_t type, cause;
	bool optional; /* DENY records come now and then */
	uint32_t tenant, wallet, ordinal, flags;
	uint32_t others[WEIR_LEVELS - 1];
	int64_t reserved;
	uint32_t tokens;
	uint64_t body_bytes, bytes, offset;
	uint32_t lost, reason, level, shadow;
	char method[WEIR_METHOD_BYTES], path[WEIR_PATH_BYTES];
	uint32_t name;
	const uint8_t *data;
	size_t len;
};

/* What has to come of a packet. */
struct expect {
	int code;
	int64_t counts[WEIR_REASON_MAX];
	enum { OUT_SAME, OUT_NONE, OUT_REFUSAL, OUT_RST, OUT_ACK } frame;
	uint32_t seq, ack; /* of the frame that is sent back */
	struct m_refusal refusal;
	uint32_t dialect;
	bool wire;		      /* a RST for the server on the wire */
	uint32_t wire_seq, wire_from; /* its number; at least wire_from */
	struct m_record recs[M_RECORDS];
	int n_recs;
	bool closes; /* both ends were told to close */
};

enum m_body { M_NO_BODY, M_LENGTH, M_CHUNKED };

/* A request head as read. */
struct m_head {
	enum { HEAD_MORE, HEAD_WHOLE, HEAD_WRONG, HEAD_PREFACE } state;
	uint32_t reason; /* of HEAD_WRONG */
	uint32_t later;	 /* why it will be refused when it is whole, or 0 */
	size_t len;	 /* with its empty line; of HEAD_WRONG: up to the mistake */
	char method[32];
	char target[256]; /* cut */
	size_t target_len;
	bool http10;
	enum m_body body;
	uint64_t body_bytes;
	bool has_key;
	char key[300]; /* cut */
	char named[80];
	bool has_name;
	struct {
		const uint8_t *at;
		size_t len;
		uint32_t name; /* of model.lines */
	} lines[M_LINES];
	uint32_t n_lines;
	bool upgrade; /* to other than h2c */
};

/* Chunk framing, RFC 9112 7.1, strictly. */
struct m_chunk {
	enum {
		CH_SIZE,
		CH_EXT,
		CH_SIZE_LF,
		CH_DATA,
		CH_DATA_CR,
		CH_DATA_LF,
		CH_LINE, /* at the start of a trailer line */
		CH_TRAILER,
		CH_TRAILER_LF,
		CH_LAST_LF,
		CH_DONE,
		CH_BAD
	} at;
	uint32_t digits;
	uint64_t left;
};

/* A segment that was read as part of a head or of chunk framing. */
struct m_kept {
	int64_t a, b;
	uint8_t bytes[FRAME_MAX];
};

/* The request at hand: its head, and how its body goes. */
struct m_request {
	bool any;
	int64_t at; /* stream offset of its head */
	int64_t body_at, end;
	bool ended; /* end is known; always so but for chunks */
	bool parts; /* its head came in more than one segment */
	enum m_body body;
	uint8_t head[M_HEAD_MAX + 4096];
	int64_t have; /* chunks are followed to here */
	struct m_chunk chunk;
};

enum m_answer { A_IDLE, A_HEAD, A_LENGTH, A_CHUNKS, A_CLOSE, A_STRAY };

struct m_conn {
	struct conn c;
	uint8_t client[16];
	uint32_t service, dialect;
	/* M_CLOSED: both ends were reset, and what they still say is answered by resets. */
	enum { M_GONE, M_SYN, M_OPEN, M_REFUSED, M_CLOSED } state;
	bool over; /* an answer came too early: nothing more passes from the client */
	uint32_t tenant, others[WEIR_LEVELS - 1];
	bool counted, half_open;
	uint32_t charged; /* bit per level: a token of the connect rate was taken */
	bool judged;	  /* a request that is not free was let in */
	/* the client's stream; offset 0 is its first byte */
	uint32_t first_seq;
	int64_t acked;
	uint32_t raw; /* the reason it passes by, or 0 */
	int64_t raw_at;
	struct m_request rq;
	int64_t next;	  /* where the next head begins, its skipped CR and LF behind */
	int64_t blank_at; /* from here to there is only CR and LF */
	uint8_t part[M_HEAD_MAX + 4096];
	int64_t part_len; /* of the head at `next` */
	struct m_kept kept[M_KEPT];
	uint32_t n_kept;
	int64_t data_at; /* of the chunk at hand */
	struct {
		int64_t from, to;
	} data[M_DATA]; /* of the last chunks that are over */
	uint32_t n_data;
	/* the request in flight */
	uint32_t slot_state, slot_tenant, slot_wallet, slot_flags, ordinal;
	uint32_t slot_others[WEIR_LEVELS - 1], slot_tokens;
	int64_t slot_reserved;
	int64_t asked_at; /* stream offset of the next byte of its body that is told */
	uint64_t asked_off, asked_left;
	bool left;
	/* the server's stream */
	uint32_t sent; /* next sequence number that was not seen */
	bool tapped;
	enum m_answer answer;
	bool upgraded;
	uint8_t ahead[8192];
	size_t ahead_len;
	struct m_chunk achunk;
	uint64_t aleft, abytes;
	uint64_t apos; /* bytes of the answer that were read */
	bool vectors;  /* it is asked for them, */
	uint64_t tail; /* and from there on it is told again; 0: all of it is */
	uint32_t lost;
	/* refused */
	uint32_t reply_seq, reply_len, reply_acked;
	bool reply_fin;
	struct m_refusal reply;
	uint32_t reply_dialect;
	/* as learned from the ring */
	uint32_t slot;
	bool slot_known;
	uint64_t started_wall_ns;
};

static struct model {
	uint32_t features;
	struct m_tenant tenants[M_TENANTS];
	uint32_t n_named;   /* the entries that are tenants; entry 0 is nobody */
	uint32_t n_tenants; /* with scopes */
	struct m_key keys[M_KEYS];
	uint32_t n_keys;
	struct m_source sources[M_SOURCES];
	uint32_t n_sources;
	uint32_t default_tenant;
	uint32_t asked_bytes;
	const char *lines[4]; /* names of lines that are told, without the colon */
	bool refuse_unknown, enforce;
	struct m_path {
		const char *text;
		bool prefix, any_method;
	} free_paths[8];
	uint32_t n_free_paths;
	uint8_t trusted[16];
	uint64_t denials[M_TENANTS][WEIR_REASON_MAX][2]; /* shadow apart */
	/* The programs let the packet pass as part of a head. A head that is wrong and
	 * goes on may be refused at once or when it is whole: both are right. */
	bool passed_part;
	/* They found a mistake of form. In a head that is too long anyway, and the mistake
	 * behind its 16 KiB, that is as right as to say that it is too long. */
	bool said_malformed;
} model;

static UNUSED bool has_feature(uint32_t feature)
{
	return model.features & feature;
}

static UNUSED void m_count(struct expect *e, uint32_t reason)
{
	e->counts[reason]++;
}

static UNUSED struct m_record *m_record(struct expect *e, uint8_t type)
{
	struct m_record *r = &e->recs[e->n_recs++];

	assert_true(e->n_recs <= M_RECORDS);
	memset(r, 0, sizeof(*r));
	r->type = type;
	return r;
}

static UNUSED void m_pass(struct expect *e, uint32_t reason)
{
	e->code = OUT_PASS;
	e->frame = OUT_SAME;
	if (reason != M_UNCOUNTED)
		m_count(e, reason);
}

static UNUSED void m_drop(struct expect *e, uint32_t reason)
{
	e->code = OUT_DROP;
	e->frame = OUT_NONE;
	if (reason != M_UNCOUNTED)
		m_count(e, reason);
}

#endif
