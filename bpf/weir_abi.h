/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the kernel programs and user space: every map key and
 * value, every ring record, every verdict. It is the only header both sides
 * include, so it uses fixed-width types only, pads explicitly, and asserts
 * every size. Each struct says who writes it.
 *
 * Change a layout and WEIR_ABI_VERSION goes up: an agent of another version then
 * copies the pinned maps instead of misreading them, field by field of the same
 * name. So a new field must mean with 0 what was before it, a name is never used
 * for something else, and programs keep their names.
 *
 * Byte order is the host's unless a name ends in _be. Times ending in _ns are
 * CLOCK_MONOTONIC nanoseconds (bpf_ktime_get_ns) unless they say wall.
 * Amounts ending in _nano are nano-credits (1e-9 credit).
 */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H

#ifdef __VMLINUX_H__
typedef __u8 weir_u8;
typedef __u16 weir_u16;
typedef __u32 weir_u32;
typedef __u64 weir_u64;
typedef __s32 weir_s32;
typedef __s64 weir_s64;
#else
#include <stdint.h>
typedef uint8_t weir_u8;
typedef uint16_t weir_u16;
typedef uint32_t weir_u32;
typedef uint64_t weir_u64;
typedef int32_t weir_s32;
typedef int64_t weir_s64;
#endif

#define WEIR_ABI_VERSION 5

#define WEIR_CACHE_LINE	     64
#define WEIR_MAX_NETNS	     16
#define WEIR_MAX_SERVICES    32 /* service number 0 means "not guarded" */
#define WEIR_MAX_PREFIX_LENS 64 /* distinct source prefix lengths in use */
#define WEIR_NO_TENANT	     0	/* tenant index 0 is nobody; names start at 1 */
#define WEIR_KEY_BYTES	     32 /* SHA-256 */

/*
 * Verdicts and reasons: one enum, one string table (agent/reason.c). Every packet
 * of a guarded port ends in one of them, counted in `counters`; those of other
 * ports pass uncounted, for speed. Some are marks on the way (tap, gauges).
 * Append only: numbers are stored in ledgers and events.
 */
#define WEIR_REASONS(X)                                                                            \
	/* passed on, nothing judged */                                                            \
	X(PASS_NO_PAYLOAD, "pass_no_payload")	/* handshake, ACK, FIN, RST */                     \
	X(PASS_BODY, "pass_body")		/* inside a judged request's body */               \
	X(PASS_FREE, "pass_free")		/* a path or method that is free */                \
	X(PASS_MALFORMED, "pass_malformed")	/* headers that contradict each other */           \
	X(PASS_SPLIT_HEAD, "pass_split_head")	/* of ABI 1: not used any more */                  \
	X(PASS_UNTRACKED, "pass_untracked")	/* flow without an entry (map full) */             \
	X(PASS_FRAGMENT, "pass_fragment")	/* IP fragment */                                  \
	X(PASS_UNSUPPORTED, "pass_unsupported") /* IPv6 extension headers and the like */          \
	X(PASS_INTERNAL, "pass_internal")	/* a helper failed; passed and counted */          \
	/* judged and admitted */                                                                  \
	X(ADMIT_CONNECTION, "admit_connection")                                                    \
	X(ADMIT_REQUEST, "admit_request")                                                          \
	X(ADMIT_SHADOW, "admit_shadow") /* would have been refused */                              \
	/* connections refused at SYN */                                                           \
	X(DENY_CONNECTIONS, "connections")                                                         \
	X(DENY_CONNECT_RATE, "connect_rate")                                                       \
	X(DENY_SUSPENDED, "suspended")                                                             \
	/* requests refused */                                                                     \
	X(DENY_CONCURRENCY, "concurrency")                                                         \
	X(DENY_REQUESTS, "requests")                                                               \
	X(DENY_TOKENS, "tokens")                                                                   \
	X(DENY_CREDIT, "credit")                                                                   \
	X(DENY_UNKNOWN_KEY, "unknown_key")                                                         \
	X(DENY_NO_TENANT, "no_tenant")                                                             \
	X(DENY_AGENT_DOWN, "agent_down")                                                           \
	X(DENY_BUSY, "busy") /* lost every retry of a race */                                      \
	X(DENY_MAP_FULL, "map_full")                                                               \
	/* dropped or reset, by protocol */                                                        \
	X(DROP_OUT_OF_ORDER, "drop_out_of_order") /* will be resent in order */                    \
	X(DROP_PIPELINED, "drop_pipelined")	  /* flow closed */                                \
	X(DROP_REFUSED_FLOW, "drop_refused_flow") /* server's packets of a refused flow */         \
	X(DROP_TFO_DATA, "drop_tfo_data")                                                          \
	X(DROP_CHANGE_TAIL, "drop_change_tail") /* reply could not be built */                     \
	X(LINGER_REPLY, "linger_reply")		/* whole reply sent again */                       \
	X(LINGER_ACK, "linger_ack")                                                                \
	X(LINGER_DONE, "linger_done")                                                              \
	/* response tap */                                                                         \
	X(TAP_SHIPPED, "tap_shipped")                                                              \
	X(TAP_LOST, "tap_lost") /* ring full: record did not fit */                                \
	X(TAP_HOLE, "tap_hole") /* bytes the tap never saw */                                      \
	X(TAP_RETRANSMIT, "tap_retransmit")                                                        \
	X(TAP_UNJUDGED, "tap_unjudged")	    /* response no judged request explains */              \
	X(END_LOST, "end_lost")		    /* END record did not fit */                           \
	X(CLOSE_RELEASED, "close_released") /* connection slot given back */                       \
	X(HALF_OPEN_EXPIRED, "half_open_expired")                                                  \
	/* gauges as pairs: in use = new - gone */                                                 \
	X(FLOW_NEW, "flow_new")                                                                    \
	X(FLOW_GONE, "flow_gone")                                                                  \
	X(FLOW_ADOPTED, "flow_adopted") /* open before the agent, or lost and found */             \
	/* request forms (forms.md) */                                                             \
	X(PASS_HEAD_PART, "pass_head_part") /* of a head that goes on */                           \
	X(PASS_REPEAT, "pass_repeat")	    /* resent: acknowledged, or the same as seen */        \
	X(PASS_TLS, "pass_tls")		    /* connection limits only */                           \
	X(PASS_OTHER_PROTOCOL,                                                                     \
	  "pass_other_protocol")		   /* h2c or upgraded, and the tier allows it */   \
	X(DENY_MALFORMED, "malformed")		   /* 400: a head servers read differently */      \
	X(DENY_HEAD_TOO_LARGE, "head_too_large")   /* 431 */                                       \
	X(DENY_PROTOCOL, "protocol")		   /* h2c, upgrade or CONNECT, tier refuses */     \
	X(DENY_LENGTH_REQUIRED, "length_required") /* 411: chunked, and the body must be read */   \
	X(DENY_INPUT_TOKENS, "max_input_tokens")                                                   \
	X(DENY_OUTPUT_TOKENS, "max_output_tokens")                                                 \
	X(DENY_FALLBACK, "fallback_model") /* out of credit, and the model cannot be replaced */   \
	X(DENY_BODY, "body")		   /* JSON written so that a limit would not see it */     \
	X(DROP_FRAGMENT, "drop_fragment")                                                          \
	X(DROP_HEAD_ROOM, "drop_head_room")	  /* too many heads in parts: sent again later */  \
	X(DROP_CHANGED, "drop_changed")		  /* resent with other bytes: flow closed */       \
	X(DROP_BAD_CHUNK, "drop_bad_chunk")	  /* request body's framing broken: closed */      \
	X(DROP_UNJUDGED, "drop_unjudged")	  /* answer to nothing judged: billed, closed */   \
	X(DROP_UPGRADE, "drop_upgrade")		  /* 101 and the tier refuses: closed */           \
	X(REWRITE_TOKENS, "rewrite_max_tokens")	  /* the body's max_tokens lowered */              \
	X(REWRITE_MODEL, "rewrite_model")	  /* the body's model replaced */                  \
	X(STRIP_OPTION, "strip_option")		  /* MPTCP or fast open taken out of a SYN */      \
	X(HEAD_EXPIRED, "head_expired")		  /* a head that never ended: closed */            \
	X(IDLE_EXPIRED, "idle_expired")		  /* forwarded connection, long silent */          \
	X(WIRE_CLOSED, "wire_closed")		  /* forwarded connection, seen to close */        \
	X(DROP_AFTER_ANSWER, "drop_after_answer") /* more, behind an answer that ended it */       \
	X(DROP_HEADERS, "drop_headers") /* more IPv6 extension headers than are followed */        \
	/* limits (limits.md) */                                                                   \
	X(DENY_HALF_OPEN, "half_open")	    /* too many of its handshakes are not complete */      \
	X(PASS_HALF_OPEN, "pass_half_open") /* the same of nobody's: taken in when they are */     \
	X(DROP_CUT, "drop_cut")		    /* answer cut short: both ends reset */                \
	X(DROP_FROZEN, "drop_frozen")	    /* maps are being migrated: will be resent */          \
	X(DRIFT_FLOW, "drift_flow")	    /* connection without a socket, given back */          \
	X(TAP_SKIPPED, "tap_skipped")	    /* vectors, not shipped (WEIR_SKIP_HEAD) */

enum weir_reason {
#define X(id, name) WEIR_##id,
	WEIR_REASONS(X)
#undef X
		WEIR_REASON_MAX
};

/* ------------------------------------------------------------------ config */

/* How a refusal is worded. */
enum weir_dialect { WEIR_API_OPENAI, WEIR_API_ANTHROPIC, WEIR_API_PLAIN, WEIR_API_MAX };

enum weir_unknown_key { WEIR_UNKNOWN_KEY_REFUSE, WEIR_UNKNOWN_KEY_DEFAULT };

/*
 * A path that costs nothing and is asked by machines without a key: `word` where
 * `mask` has ones, then what `flags` says. Compiled by the agent from "/health*".
 */
enum weir_free_flags {
	WEIR_FREE_PREFIX = 1 << 0,     /* more may follow, without "..", "//" or "%" */
	WEIR_FREE_ANY_METHOD = 1 << 1, /* else GET and HEAD */
};

#define WEIR_FREE_PATHS	     32
#define WEIR_FREE_PATH_BYTES 32

struct weir_free_path {
	weir_u64 word[WEIR_FREE_PATH_BYTES / 8]; /* as in memory, zeros behind the end */
	weir_u64 mask[WEIR_FREE_PATH_BYTES / 8];
	weir_u32 len; /* 1 to WEIR_FREE_PATH_BYTES - 1 */
	weir_u32 flags;
};

/* Peers whose x-weir-tenant header is believed. v4 as v4-mapped; host byte order. */
#define WEIR_TRUSTED_MAX 16

struct weir_trusted {
	weir_u64 hi, lo;
	weir_u64 mask_hi, mask_lo;
};

/*
 * Names of request headers whose lines are shipped (WEIR_REC_LINE), as far as the kernel looks at
 * them: the first 16 bytes of "name:", letters in lower case (all bytes | 20). What is longer may
 * be another header with the same start: the agent compares names whole. 0 of them: none.
 */
enum weir_line_flags {
	WEIR_LINE_NOT_ZERO = 1 << 0, /* a value of just "0" is not worth a record */
};

#define WEIR_LINE_NAMES 32

struct weir_line_name {
	weir_u64 word[2]; /* as in memory, | 0x20 in each byte; zero where mask is */
	weir_u64 mask[2]; /* the second may be 0 */
	weir_u32 len;	  /* of the whole name with its colon */
	weir_u16 flags;	  /* enum weir_line_flags */
	weir_u16 next;	  /* the next of its chain, plus one; 0: none (agent/kernel_lines.c) */
};

/* A chain of names for a line's first 8 bytes (| 20 each); its bit is set in weir_config's
 * line_bits if any name has it. Names of less than 8 bytes are at the end of every chain. */
#define WEIR_LINE_CHAINS     64
#define weir_line_hash(word) (((word)*0x9e3779b97f4a7c15ULL) >> 58)
#define weir_line_bit(word)  (1ULL << weir_line_hash(word))

struct weir_service {
	weir_u16 port;	 /* host order */
	weir_u8 dialect; /* enum weir_dialect; paths /v1/messages* are Anthropic anyway */
	weir_u8 pad[5];
};

/*
 * `settings`: array of one, mmapable. Written by the agent only, plain stores;
 * the kernel reads. port_service is the first thing every packet looks at:
 * 0 is a port that is not guarded, else an index into services.
 */
struct weir_config {
	weir_u32 abi_version;
	weir_u32 instance_boot; /* hash of node, instance and boot id: part of request ids */
	weir_u64 heartbeat_ns;	/* stored by the agent at least every 100 ms */
	weir_u64 agent_timeout_ns;
	weir_u64 wall_offset_ns; /* wall clock (Unix ns) minus CLOCK_MONOTONIC */
	weir_u64 half_open_ns;	 /* a SYN that never completes holds its slot this long */
	weir_u64 linger_ns;	 /* how long a refused flow may keep us answering */
	weir_u64 ring_bytes;
	weir_u64 ring_request_max; /* ring fill past which requests need on_agent_down */
	weir_u64 ring_data_max;	   /* ring fill past which response bytes are not shipped */
	weir_u32 default_tenant;   /* WEIR_NO_TENANT: none */
	weir_u32 unknown_key;	   /* enum weir_unknown_key */
	weir_u32 enforce;	   /* 0: judge nothing, meter on */
	weir_u32 n_prefix_lens;
	weir_u8 prefix_lens[WEIR_MAX_PREFIX_LENS]; /* of v4-mapped v6, longest first: v4 /24 is 120
						    */
	struct weir_service services[WEIR_MAX_SERVICES];
	weir_u64 maps_id;  /* random, of this set of maps: tells state kept beside them apart */
	weir_u64 hash_key; /* random: of the hash by which a resent head is known again */
	weir_u64 head_timeout_ns; /* a head that is not whole by then: the flow is closed */
	weir_u64 idle_timeout_ns; /* a forwarded connection without a packet that long is over */
	weir_u32 n_free_paths;
	weir_u32 n_trusted;
	weir_u32 free_options; /* OPTIONS is free whatever its path */
	weir_u32 first_reader; /* readers below are the CPUs' own */
	struct weir_free_path free_paths[WEIR_FREE_PATHS];
	struct weir_trusted trusted[WEIR_TRUSTED_MAX];
	/* Network namespaces (inode numbers) whose sockets may be ours: the tracepoint sees
	 * all of them, and another may use the same addresses. 0 of them: any. */
	weir_u32 n_netns;
	weir_u32 netns[WEIR_MAX_NETNS];
	weir_u32 frozen; /* maps are being copied to a new layout: guarded ports drop */
	weir_u32 max_heads_per_source; /* in parts at a time, of one address */
	weir_u32 asked_bytes; /* of each request body, from its start: shipped (WEIR_REC_ASKED) */
	weir_u32 n_line_names;
	weir_u32 pad_lines;
	weir_u64 line_bits;
	weir_u8 line_first[WEIR_LINE_CHAINS]; /* of each chain, plus one; 0: none */
	struct weir_line_name line_names[WEIR_LINE_NAMES];
	weir_u8 port_service[65536];
};
_Static_assert(sizeof(struct weir_line_name) == 40, "weir_line_name");
_Static_assert(sizeof(struct weir_service) == 8, "weir_service");
_Static_assert(sizeof(struct weir_free_path) == 72, "weir_free_path");
_Static_assert(sizeof(struct weir_trusted) == 32, "weir_trusted");
_Static_assert(sizeof(struct weir_config) == 456 + 32 * 72 + 16 * 32 + 160 + 32 * 40 + 65536,
	       "weir_config");

/* ------------------------------------------------------------------ tenants */

enum weir_tenant_flags {
	WEIR_TENANT_LIVE = 1 << 0, /* the entry means something */
	WEIR_TENANT_SUSPENDED = 1 << 1,
	WEIR_TENANT_SHADOW = 1 << 2,	  /* count what would be refused, refuse nothing */
	WEIR_TENANT_DROP = 1 << 3,	  /* on_limit "drop": SYNs over a limit get no RST */
	WEIR_TENANT_CREDIT = 1 << 4,	  /* credit is hard or soft: the ceiling is checked */
	WEIR_TENANT_LIMIT_CONNS = 1 << 5, /* max_connections is a limit */
	WEIR_TENANT_LIMIT_INFLIGHT = 1 << 6,
	WEIR_TENANT_LIMIT_CONN_RATE = 1 << 7,
	WEIR_TENANT_LIMIT_REQUESTS = 1 << 8,
	WEIR_TENANT_LIMIT_TOKENS = 1 << 9,
	WEIR_TENANT_PASS_PROTOCOLS = 1 << 10, /* h2c, upgrades: passed, connection limits only */
	/* on_agent_down; neither: "hold", go on against the last figures */
	WEIR_TENANT_DOWN_OPEN = 1 << 11,   /* credit and tokens are not checked */
	WEIR_TENANT_DOWN_CLOSED = 1 << 12, /* refuse */
	WEIR_TENANT_SCOPED = 1 << 13,	   /* has entries in `scopes` */
	WEIR_TENANT_ASKED_WHOLE = 1 << 14, /* request bodies are shipped to WEIR_ASKED_MAX */
};

/*
 * What is counted at once for a request or a connection (limits.md): the tenant, its
 * scope for the service, its parent, its parent's parent. 0 is no such level.
 */
enum weir_limit_level {
	WEIR_LEVEL_TENANT,
	WEIR_LEVEL_SCOPE,
	WEIR_LEVEL_PARENT,
	WEIR_LEVEL_TOP,
	WEIR_LEVELS
};

/* `scopes`: (tenant, service) to the number of the entry in `tenants` that has the limits
 * for the two. Agent writes. Value: u32. */
struct weir_scope {
	weir_u32 tenant;
	weir_u32 service;
};

/*
 * What the agent has settled for a tenant, kept twice. The valid copy is the
 * one with the higher ring_pos. The agent overwrites the other one: ring_pos
 * to 0, the figures, then ring_pos with release. A settlement at or below the
 * valid copy's ring_pos has been done: so a kill -9 between any two stores
 * neither loses nor repeats one.
 */
struct weir_settled {
	weir_u64 ring_pos;	/* position after the END record last settled */
	weir_u64 released_nano; /* Σ reservations given back; wraps */
	weir_u64 tokens_tat_ns; /* debt bucket */
};

/*
 * `tenants`: mmapable array, index = the agent's number for a name, for ever.
 * One struct is four cache lines: limits and reservation prices (agent, plain
 * stores), settlement (agent), live figures (moved by atomics only, both sides).
 * An entry is a tenant or a tenant's scope; entry 0 is nobody.
 *
 * Buckets are GCRA (ITU-T I.371; a theoretical arrival time, "tat"): one token
 * may be taken when max(tat, now) + interval - now <= tau, where tau is
 * burst x interval.
 *
 * Credit: the agent stores ceiling = balance + overage + released + lost, the kernel
 * adds to reserved; a request is admitted when, its own reservation added,
 * (s64)(ceiling - reserved) >= 0. One load and one atomic, no order to get
 * wrong, and both may wrap.
 *
 * Expiry: from expiry_wall_ns on expiry_nano is taken off as well, so that credit ends on
 * time whether an agent runs or not. The agent then lowers the ceiling by it first and stores
 * the next expiry behind that (weir_expiry_store): in between it counts twice, which is the
 * safe side. The kernel reads the expiry before the ceiling.
 *
 * Tokens: what is in flight is reserved_tokens - released_tokens of the valid copy (u32,
 * may wrap); a request is admitted when tat + in flight x interval, its own not counted,
 * is less than tau ahead of now.
 */
struct weir_tenant {
	/* line 0: limits */
	weir_u32 flags;		/* enum weir_tenant_flags */
	weir_u32 wallet;	/* tenant index whose ceiling pays */
	weir_u32 parent;	/* next level up, or WEIR_NO_TENANT */
	weir_u16 rules;		/* index into `rules`; 0: bodies are not looked at */
	weir_u16 max_half_open; /* 0: no bound */
	weir_u32 max_connections;
	weir_u32 max_inflight;
	weir_u32 connect_burst;
	weir_u32 request_burst;
	weir_u64 connect_interval_ns;
	weir_u64 request_interval_ns;
	weir_u64 tokens_interval_ns; /* per token, rounded down, at least 1 */
	weir_u64 tokens_tau_ns;
	/* line 1: what a request reserves or an expiry takes, and figures that refusals quote */
	weir_s64 reserve_nano_per_input_token;
	weir_s64 reserve_nano_per_output_token;
	weir_s64 reserve_nano_per_request;
	weir_u32 reserve_input_tokens;
	weir_u32 reserve_output_tokens;
	weir_u32 requests_per_minute; /* as configured, rounded up; for messages */
	weir_u32 tokens_per_minute;   /* as configured; likewise */
	weir_u32 released_tokens[2]; /* Σ reserved tokens given back; each part of settled[same] */
	weir_s64 balance_nano;	     /* agent; informative, for messages */
	weir_s64 expiry_nano;	     /* agent; what the next expiry takes off the balance */
	/* line 2: settlement */
	weir_s64 ceiling_nano;	 /* agent; atomics, wraps */
	weir_u64 expiry_wall_ns; /* agent; when that is, Unix ns; 0: there is none */
	struct weir_settled settled[2];
	/* line 3: live, atomics only */
	weir_u64 reserved_nano; /* kernel; Σ reservations ever made; wraps */
	weir_u64 connect_tat_ns;
	weir_u64 request_tat_ns;
	weir_s32 connections;
	weir_s32 inflight;
	weir_u64 admitted;	  /* requests */
	weir_u64 refused;	  /* requests and connections; not by a limit in shadow */
	weir_u64 lost_nano;	  /* kernel; Σ reservations whose END record did not fit; wraps */
	weir_s32 half_open;	  /* of `connections`, by source: handshake not complete */
	weir_u32 reserved_tokens; /* kernel; Σ tokens ever reserved; wraps */
};
_Static_assert(sizeof(struct weir_tenant) == 4 * WEIR_CACHE_LINE, "weir_tenant");
_Static_assert(__builtin_offsetof(struct weir_tenant, reserve_nano_per_input_token) == 64,
	       "line 1");
_Static_assert(__builtin_offsetof(struct weir_tenant, ceiling_nano) == 128, "line 2");
_Static_assert(__builtin_offsetof(struct weir_tenant, reserved_nano) == 192, "line 3");

#define WEIR_ABI_SECOND 1000000000ULL

/* What messages quote and the above tells. tau is burst x 60 s / tokens_per_minute, rounded
 * down by less than a token: exact. */
static inline __attribute__((unused)) weir_u64 weir_tokens_burst(const struct weir_tenant *t)
{
	weir_u64 rate = t->tokens_per_minute, seconds = t->tokens_tau_ns / WEIR_ABI_SECOND;
	weir_u64 rest = t->tokens_tau_ns % WEIR_ABI_SECOND * rate;

	return (seconds * rate + (rest + WEIR_ABI_SECOND - 1) / WEIR_ABI_SECOND + 59) / 60;
}

/* Rounded up; as configured, up to 30,000 a second. */
static inline __attribute__((unused)) weir_u64 weir_connects_per_second(const struct weir_tenant *t)
{
	weir_u64 each = t->connect_interval_ns;

	return each ? (WEIR_ABI_SECOND + each - 1) / each : 0;
}

/*
 * `rules`: mmapable array of what bodies are held to, shared by the tenants that
 * have the same. Entry 0 is none. Agent writes an entry before a tenant points to it.
 */
#define WEIR_RULES_MAX	 1024
#define WEIR_MODEL_BYTES 64
#define WEIR_EDIT_MAX	 128 /* longest value that is written over, closing quote included */

enum weir_rule_flags {
	WEIR_RULE_REFUSE_OUTPUT = 1 << 0, /* larger max_tokens: refused; else rewritten */
	WEIR_RULE_DEGRADE = 1 << 1,	  /* out of credit: on with fallback_model */
};

struct weir_rules {
	weir_u32 max_input_tokens;  /* 0: no limit */
	weir_u32 max_output_tokens; /* 0: no limit */
	weir_u32 flags;
	weir_u32 fallback_len;
	char fallback_model[WEIR_MODEL_BYTES]; /* plain: no quote, backslash or control */
	/* What is written over a value: its text, then blanks. */
	char tokens_text[WEIR_EDIT_MAX]; /* max_output_tokens in decimal */
	char model_text[WEIR_EDIT_MAX];	 /* fallback_model and the closing quote */
};
_Static_assert(sizeof(struct weir_rules) == 336, "weir_rules");

/* `names`: a tenant's name, NUL padded, to its index (u32). Agent writes. */
#define WEIR_TENANT_NAME_BYTES 64

/* `seen`: mmapable array by service of what came to its port. Kernel, atomic or. */
enum weir_seen { WEIR_SEEN_TLS = 1 << 0, WEIR_SEEN_H2C = 1 << 1, WEIR_SEEN_UPGRADE = 1 << 2 };

/* `keys`: SHA-256 of an API key to its tenant. Agent writes. */
struct weir_key {
	weir_u8 sha256[WEIR_KEY_BYTES] __attribute__((aligned(8)));
};

struct weir_key_value {
	weir_u32 tenant;
	weir_u32 pad;
	weir_u64 expires_wall_ns; /* 0: never; Unix ns */
};
_Static_assert(sizeof(struct weir_key_value) == 16, "weir_key_value");

/* `sources`: prefix to tenant, v4 as v4-mapped. Agent writes. Value: u32 tenant. */
struct weir_source {
	weir_u8 addr[16] __attribute__((aligned(4))); /* host bits zero */
	weir_u32 prefix_len;
};
_Static_assert(sizeof(struct weir_source) == 20, "weir_source");

/* -------------------------------------------------------------------- flows */

/* A connection as the client sees it; v4 as v4-mapped v6; ports in network order. */
struct weir_flow_key {
	weir_u8 client[16] __attribute__((aligned(4)));
	weir_u8 server[16];
	weir_u16 client_port_be;
	weir_u16 server_port_be;
};
_Static_assert(sizeof(struct weir_flow_key) == 36, "weir_flow_key");

enum weir_flow_state {
	WEIR_FLOW_SYN, /* SYN passed, handshake not complete */
	WEIR_FLOW_OPEN,
	WEIR_FLOW_REFUSED, /* answered by us; the server was reset; see linger.h */
	WEIR_FLOW_CLOSED,  /* both ends were reset, and may need it again */
};

enum weir_flow_flags {
	WEIR_FLOW_COUNTED = 1 << 0,    /* in the connections gauge of its levels */
	WEIR_FLOW_TAPPED = 1 << 1,     /* resp_seq and acked are known */
	WEIR_FLOW_FORWARDED = 1 << 2,  /* no socket here: FIN and RST on the wire end it */
	WEIR_FLOW_CLIENT_FIN = 1 << 3, /* forwarded: client_seq counts it */
	WEIR_FLOW_SERVER_FIN = 1 << 4, /* forwarded: resp_seq counts it */
	WEIR_FLOW_GRACE = 1 << 5,      /* adopted: one answer to nothing seen is let through */
	WEIR_FLOW_FIN_ACKED = 1 << 6,  /* forwarded: the client has the server's FIN */
	WEIR_FLOW_OVER = 1 << 7,       /* an answer ended it: no more from the client */
	WEIR_FLOW_HALF_OPEN = 1 << 8,  /* in the half_open gauge of its tenant */
	WEIR_FLOW_CHARGED = 1 << 9,    /* a connect-rate token was taken from its tenant; the */
				       /* next bits: likewise of its other levels */
	WEIR_FLOW_CHARGED_ALL = 15 << 9,
	WEIR_FLOW_RELEASED = 1 << 13, /* given back for good: must not be counted again */
	WEIR_FLOW_USED = 1 << 14, /* a request that counts was let in: it was worth its charge */
	WEIR_FLOW_SOCKET_GONE = 1 << 15, /* it closed while maps were frozen: the agent reaps it */
	WEIR_FLOW_LEFT = 1 << 16,	 /* the client's FIN or RST came while a request was open */
	WEIR_FLOW_VECTORS = 1 << 17,	 /* the request at hand asks for them: see WEIR_SKIP_HEAD */
};

/* `flows`: hash of weir_flow_key to what the kernel knows of the connection, which begins
 * with this. User space may only read it: an update would replace the element and lose what
 * the kernel writes meanwhile. */
struct weir_flow_view {
	weir_u64 opened_ns;
	weir_u32 tenant;		  /* whose connections gauge holds it, */
	weir_u32 others[WEIR_LEVELS - 1]; /* and those of these */
	weir_u32 slot;
	weir_u32 flags; /* enum weir_flow_flags */
	weir_u8 state;	/* enum weir_flow_state */
	weir_u8 service;
	weir_u8 request_phase; /* the kernel's */
	weir_u8 resp_phase;
	weir_u32 ordinal; /* requests judged so far */
};
_Static_assert(sizeof(struct weir_flow_view) == 40, "weir_flow_view");

/* `half_open`: queue of handshakes, in the order they began. Kernel; made anew by the agent
 * when maps are migrated. */
struct weir_half_open {
	struct weir_flow_key key;
	weir_u32 opened_ms; /* wraps: one and a half months */
};

/*
 * `slots`: mmapable array of request slots, one per flow, indexed by the
 * flow's slot number. `state` is moved by compare-and-swap only; the rest is
 * written by the request gate before state becomes OPEN, and stays until the
 * next request of the flow. `tenant` at OPEN is who was charged.
 */
enum weir_slot_state {
	WEIR_SLOT_IDLE,
	WEIR_SLOT_OPEN, /* in flight: counted in inflight and reserved */
	WEIR_SLOT_FREE	/* in flight, but a free path: counted nowhere */
};

struct weir_slot {
	weir_u32 state; /* enum weir_slot_state */
	weir_u32 tenant;
	weir_u32 ordinal; /* of the request on its connection, from 1 */
	weir_u16 service;
	weir_u16 flags; /* enum weir_slot_flags */
	weir_u64 started_ns;
	weir_u64 started_wall_ns;
	weir_s64 reserved_nano; /* whoever ends the request takes it, by exchange */
	weir_u32 wallet;
	weir_u32 others[WEIR_LEVELS - 1]; /* levels charged besides the tenant */
	weir_u32 reserved_tokens;	  /* at each of them; as reserved_nano */
	weir_u32 cut; /* agent: weir_cut_mark() of a request that is to be cut short */
};
_Static_assert(sizeof(struct weir_slot) == WEIR_CACHE_LINE, "weir_slot");

/* Names the request that began then, in the slot's `cut`; never 0. */
#define weir_cut_mark(started_wall_ns) ((weir_u32)(started_wall_ns) | 1)

enum weir_slot_flags {
	WEIR_SLOT_HEAD_METHOD = 1 << 0, /* the answer has no body */
	WEIR_SLOT_SHADOW = 1 << 1,
	WEIR_SLOT_DEGRADED = 1 << 2, /* out of credit: goes to the fall-back model */
	WEIR_SLOT_UNJUDGED = 1 << 3, /* an answer nobody was seen to ask for */
	WEIR_SLOT_FIRST = 1 << 4,    /* of its connection, free ones apart */
	WEIR_SLOT_LEFT = 1 << 5,     /* in END: the client had closed or reset before its end */
	WEIR_SLOT_TAKEN = 1 << 8,    /* a request was taken of the tenant's rate; the next bits: */
				     /* likewise of its other levels */
};

/* --------------------------------------------------------------- ring records */

/*
 * What the kernel tells the agent. A record starts with this header; its
 * sequence number is its position in the ring, which never repeats. A request
 * is named by (slot, ordinal, started_wall_ns).
 *
 * A new agent may find records of an older layout in the ring, and an older agent those of
 * a newer one: so a record's fields never move, new ones go to the end, and DATA, which has
 * bytes behind it, stays as it is for ever.
 */
enum weir_record_type {
	WEIR_REC_REQUEST = 1, /* admitted */
	WEIR_REC_DATA,	      /* response bytes, in order */
	WEIR_REC_END,	      /* request over, whatever the cause */
	WEIR_REC_DENY,	      /* a refusal; not one per packet, see weir_denial */
	WEIR_REC_BODY,	      /* what the request's body said; only of tenants with rules */
	WEIR_REC_LABELS,      /* of ABI 4: not made any more */
	WEIR_REC_LINE,	      /* a line of its head that weir_config's line_names asks for */
	WEIR_REC_ASKED,	      /* request body bytes, in order: struct weir_rec_data */
};

struct weir_record {
	weir_u8 type; /* enum weir_record_type */
	weir_u8 flags;
	weir_u16 service;
	weir_u32 slot;
	weir_u32 ordinal;
	weir_u32 len; /* bytes of payload that follow the type's struct */
	weir_u64 time_ns;
};
_Static_assert(sizeof(struct weir_record) == 24, "weir_record");

#define WEIR_PATH_BYTES	  64
#define WEIR_METHOD_BYTES 8

struct weir_rec_request {
	struct weir_record h;
	weir_u64 started_wall_ns;
	weir_s64 reserved_nano;
	weir_u64 body_bytes; /* ~0: unknown (chunked) */
	weir_u32 tenant;
	weir_u32 wallet;
	weir_u32 flags; /* enum weir_slot_flags */
	weir_u32 pad;
	char method[WEIR_METHOD_BYTES]; /* NUL padded, cut */
	char path[WEIR_PATH_BYTES];	/* NUL padded, cut, no query string */
	weir_u8 client[16];
};
_Static_assert(sizeof(struct weir_rec_request) == 152, "weir_rec_request");

enum weir_body_flags {
	WEIR_BODY_TOKENS_CUT = 1 << 0,	   /* max_tokens was lowered */
	WEIR_BODY_MODEL_REPLACED = 1 << 1, /* by the rules' fallback_model */
};

/* Comes after the REQUEST of the same (slot, ordinal, started_wall_ns). */
struct weir_rec_body {
	struct weir_record h;
	weir_u64 started_wall_ns;
	weir_u64 max_tokens;	      /* as asked; ~0: not seen */
	weir_u32 flags;		      /* enum weir_body_flags */
	weir_u32 model_len;	      /* 0: not seen */
	char model[WEIR_MODEL_BYTES]; /* as asked, cut, as in the JSON */
};
_Static_assert(sizeof(struct weir_rec_body) == 112, "weir_rec_body");

#define WEIR_SESSION_BYTES 64
#define WEIR_FEATURE_BYTES 48

enum weir_label_flags {
	WEIR_LABELS_TRUSTED = 1 << 0, /* by a peer of weir_config's `trusted` */
	WEIR_LINE_CUT = 1 << 1,	      /* LINE: it goes on */
};

/* Of ABI 4, found in a ring that outlived it. Came after the REQUEST of the same (slot, ordinal,
 * started_wall_ns): the headers x-weir-session and x-weir-feature. Visible ASCII, NUL padded; "":
 * not there, twice there, too long or of other bytes. Not what anybody is judged by. */
struct weir_rec_labels {
	struct weir_record h;
	weir_u64 started_wall_ns;
	weir_u32 flags; /* enum weir_label_flags */
	weir_u32 pad;
	char session[WEIR_SESSION_BYTES];
	char feature[WEIR_FEATURE_BYTES];
};
_Static_assert(sizeof(struct weir_rec_labels) == 152, "weir_rec_labels");

/* Comes after the REQUEST of the same (slot, ordinal, started_wall_ns), in the head's order, at
 * most WEIR_HEAD_LINES_MAX of a head: h.len bytes of the line follow, its name included, without
 * its line end, as the client wrote it. */
#define WEIR_LINE_SMALL	    104
#define WEIR_LINE_LARGE	    488 /* longer lines are cut to this */
#define WEIR_HEAD_LINES_MAX 16

struct weir_rec_line {
	struct weir_record h;
	weir_u64 started_wall_ns;
	weir_u32 flags; /* enum weir_label_flags */
	weir_u32 name;	/* index into line_names */
};
_Static_assert(sizeof(struct weir_rec_line) == 40, "weir_rec_line");

/* Most of a request body that is ever shipped; bytes behind a hole are not. Of bodies with
 * Content-Length only: a chunked one is not shipped. */
#define WEIR_ASKED_MAX (1U << 20)

/*
 * Of an answer with Content-Length to a path that ends in "/embeddings" or "/embed", plainly
 * encoded and longer than WEIR_SKIP_MIN, only the start and the end are shipped: offsets jump
 * and END counts nothing lost. Nothing but vectors is in between.
 */
#define WEIR_SKIP_HEAD 8192 /* at least so many bytes of the answer, head included */
#define WEIR_SKIP_TAIL 8192 /* at least so many of its body's end */
#define WEIR_SKIP_MIN  32768

/* Response bytes follow. Records come in size classes; h.len says how much is data.
 * An offset that jumps means bytes that the tap did not see, or had no room for. */
struct weir_rec_data {
	struct weir_record h;
	weir_u64 started_wall_ns;
	weir_u64 offset; /* of the first byte, from the start of this response */
};
_Static_assert(sizeof(struct weir_rec_data) == 40, "weir_rec_data");

enum weir_end_cause {
	WEIR_END_RESPONSE, /* Content-Length reached or last chunk */
	WEIR_END_NEXT,	   /* the next request came on the flow */
	WEIR_END_CLOSE,	   /* the socket closed: the end of a close-delimited answer, or an abort */
	WEIR_END_REFUSED,  /* its body was refused: no answer, nothing to bill */
	WEIR_END_CUT,	   /* the agent asked for it: the rest of the answer was dropped */
};

struct weir_rec_end {
	struct weir_record h; /* flags: enum weir_end_cause */
	weir_u64 started_ns;
	weir_u64 started_wall_ns;
	weir_s64 reserved_nano;
	weir_u32 tenant;
	weir_u32 wallet;
	weir_u64 response_bytes; /* shipped or not */
	weir_u32 lost_bytes;	 /* not shipped: ring full or hole; saturates */
	weir_u32 flags;		 /* enum weir_slot_flags */
	weir_u32 others[WEIR_LEVELS - 1];
	weir_u32 reserved_tokens;
};
_Static_assert(sizeof(struct weir_rec_end) == 88, "weir_rec_end");

/*
 * `denials`: hash of (tenant, reason) to what was refused. Kernel writes, with
 * atomics on count. A DENY record is put in the ring when the pair's last one
 * is more than 100 ms old, so that a flood of refusals cannot fill the ring;
 * exact counts are read here.
 */
struct weir_denial_key {
	weir_u32 tenant;
	weir_u16 reason; /* enum weir_reason */
	weir_u16 shadow; /* 1: nothing was refused, it would have been */
};

struct weir_denial {
	weir_u64 count;
	weir_u64 shown_ns; /* last DENY record */
};

struct weir_rec_deny {
	struct weir_record h;
	weir_u64 wall_ns;
	weir_u64 count; /* of the pair, this one included */
	weir_u32 tenant;
	weir_u32 reason;
	weir_s64 limit; /* the configured value, in the limit's unit (nano for credit) */
	weir_s64 value; /* what stood against it */
	weir_s64 asked; /* what this request wanted */
	weir_u64 retry_after_ns;
	weir_u8 client[16];
	weir_u32 level;	 /* index into `tenants` of whose limit it was: the tenant's own, its
			  * scope's, a parent's; 0: no limit of anybody */
	weir_u32 shadow; /* 1: not refused */
};
_Static_assert(sizeof(struct weir_rec_deny) == 104, "weir_rec_deny");

/*
 * What the agent hands to weir_reap(): connections that have no socket any more. Packed
 * behind WEIR_REAP_OFFSET bytes of the frame it is run on, at most WEIR_REAP_MAX.
 */
#define WEIR_REAP_OFFSET 16
#define WEIR_REAP_MAX	 32

struct weir_reap {
	struct weir_flow_key key;
	weir_u32 pad;
	weir_u64 opened_ns; /* as the flow had it: else it is another one */
};
_Static_assert(sizeof(struct weir_reap) == 48, "weir_reap");

/* ------------------------------------------------------------- reply templates */

/*
 * `replies`: array indexed dialect x WEIR_REASON_MAX + reason. The agent
 * renders the words once; the kernel fills in figures. A template is a run of
 * ops: literal text, or a figure written in decimal. Content-Length is four
 * columns, right aligned (leading blanks are legal there, RFC 9110 5.5).
 */
enum weir_reply_op {
	WEIR_OP_END,
	WEIR_OP_TEXT,		/* off, len into text */
	WEIR_OP_CONTENT_LENGTH, /* four columns, filled when the body's end is known */
	WEIR_OP_BODY,		/* the body starts here */
	WEIR_OP_NUMBER,		/* arg: enum weir_figure */
	WEIR_OP_CREDITS,	/* arg: figure in nano-credits, as decimal credits */
	WEIR_OP_DURATION,	/* arg: figure in ns, rounded up, as 12ms, 7s or 1m15s */
	WEIR_OP_SECONDS,	/* arg: figure in ns, as whole seconds, rounded up, at most 60 */
	WEIR_OP_MILLIS,		/* arg: figure in ns, as whole milliseconds, rounded up */
	WEIR_OP_TIME,		/* arg: figure in ns from now, as an RFC 3339 time, rounded up */
};

enum weir_figure {
	WEIR_FIG_LIMIT, /* of the limit that refused */
	WEIR_FIG_VALUE,
	WEIR_FIG_ASKED,
	WEIR_FIG_RETRY_NS,
	WEIR_FIG_REQUESTS_LIMIT,
	WEIR_FIG_REQUESTS_REMAINING,
	WEIR_FIG_REQUESTS_RESET_NS, /* until the bucket is full again */
	WEIR_FIG_TOKENS_LIMIT,
	WEIR_FIG_TOKENS_REMAINING,
	WEIR_FIG_TOKENS_RESET_NS,
	WEIR_FIG_WALL_NS, /* when it was refused */
	WEIR_FIG_MAX
};

#define WEIR_REPLY_OPS	48
#define WEIR_REPLY_TEXT 1024
#define WEIR_REPLY_MAX	1152 /* a whole reply, head and body; one segment of 1280-byte MTU paths */

struct weir_op_entry {
	weir_u8 op;
	weir_u8 arg;
	weir_u16 off;
	weir_u16 len;
	weir_u16 pad;
};

struct weir_reply {
	struct weir_op_entry ops[WEIR_REPLY_OPS];
	weir_u8 text[WEIR_REPLY_TEXT]; /* an op's text starts on an 8-byte boundary */
};
_Static_assert(sizeof(struct weir_reply) == 384 + 1024, "weir_reply");

#endif
