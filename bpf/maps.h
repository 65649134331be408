/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, and the few lines that reach into them. Sizes that depend on the
 * configuration are set by the agent before load; what is shared with user space
 * is described in weir_abi.h, the rest (flows, lingers, scratch) is the kernel's
 * alone.
 */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include <bpf/bpf_helpers.h>

#include "base.h"
#include "body.h"
#include "chunked.h"
#include "http_values.h"
#include "packet.h"
#include "reply_text.h"
#include "sha256.h"
#include "tcp_reply.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, weir_u32);
	__type(value, struct weir_config);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, weir_u32);
	__type(value, struct weir_tenant);
} tenants SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct weir_key);
	__type(value, struct weir_key_value);
} keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct weir_source);
	__type(value, weir_u32);
} sources SEC(".maps");

/* What the client's next byte is (next_seq). */
enum weir_request_phase {
	WEIR_REQ_HEAD,	  /* the next head's first; all before it is body */
	WEIR_REQ_PARTS,	  /* inside a head, whose bytes so far are in the reader */
	WEIR_REQ_CHUNKS,  /* inside a chunked body, whose framing the reader follows */
	WEIR_REQ_RULES,	  /* inside a body that the reader holds to rules */
	WEIR_REQ_RAW,	  /* not HTTP; decided by the byte at head_seq */
	WEIR_REQ_ADOPTED, /* not known: look at each segment's start */
	WEIR_REQ_EXPIRED, /* a head that took too long: close at the next segment */
};

enum weir_response_phase {
	WEIR_RESP_HEAD,	  /* a status line comes at resp_seq */
	WEIR_RESP_PARTS,  /* inside a head, whose bytes so far are in the reader */
	WEIR_RESP_LENGTH, /* `left` bytes to go */
	WEIR_RESP_CHUNKS,
	WEIR_RESP_CLOSE,   /* until the server closes, or framing is not known */
	WEIR_RESP_NOBODY,  /* nothing was asked */
	WEIR_RESP_UNASKED, /* in an answer to nothing, let through */
};

/*
 * One connection. The request gate writes the second group, the response tap the third: a
 * connection's two directions run on two CPUs; each reads a little of the other's. Flags and
 * the slot's state are moved by atomics only, since both and the socket's close may end them.
 */
struct weir_flow {
	weir_u64 opened_ns; /* from here to ordinal: struct weir_flow_view */
	weir_u32 tenant;
	weir_u32 others[WEIR_LEVELS - 1];
	weir_u32 slot;
	weir_u32 flags;
	weir_u8 state;
	weir_u8 service;
	weir_u8 request_phase;
	weir_u8 resp_phase;
	weir_u32 ordinal;

	weir_u32 next_seq;   /* next byte to look at */
	weir_u32 head_seq;   /* of the head at hand or judged last */
	weir_u32 head_end;   /* its end, when it came whole: else head_seq */
	weir_u32 head_hash;  /* of that */
	weir_u32 blank_seq;  /* from here to next_seq there is only CR and LF */
	weir_u32 reader;     /* 0: none */
	weir_u32 client_seq; /* forwarded: after the client's last byte */
	weir_u32 seen_s;     /* forwarded: time of the last packet, seconds */

	weir_u32 acked;	   /* the server has accepted all before it */
	weir_u32 resp_seq; /* next byte the tap has not seen */
	weir_u32 resp_reader;
	weir_u32 lost;
	weir_u64 resp_offset;	 /* bytes of this answer so far */
	struct weir_chunk chunk; /* `left` also serves RESP_LENGTH */

	weir_u32 charged_until; /* WEIR_FLOW_CHARGED may be given back, see gcra.h */

	/* The request body's bytes that user space asked for (asked_tap.h); the request gate's. */
	weir_u32 asked_seq;  /* next byte to ship */
	weir_u32 asked_at;   /* where that is in the body */
	weir_u32 asked_left; /* so many more; 0: none, or they stopped at a hole */

	weir_u64 skip_to; /* the tap's: of an answer of vectors, where its tail begins; 0: all is
			   * shipped */
};
_Static_assert(sizeof(struct weir_flow) == 136, "weir_flow");
_Static_assert(__builtin_offsetof(struct weir_flow, ordinal) ==
		       __builtin_offsetof(struct weir_flow_view, ordinal),
	       "weir_flow_view");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct weir_flow_key);
	__type(value, struct weir_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 262144);
	__type(key, weir_u32);
	__type(value, struct weir_slot);
} slots SEC(".maps");

/* Slot numbers not in use; filled by the agent when it creates the maps. Last in,
 * first out: the few slots of a quiet node stay warm. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 262144);
	__uint(key_size, 0);
	__uint(value_size, sizeof(weir_u32));
} free_slots SEC(".maps");

/*
 * Handshakes in the order they began, so that those that are never completed expire without
 * an agent: each new SYN looks at the two oldest. One that finds no room is left to weir_sweep.
 */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 65536);
	__uint(key_size, 0);
	__uint(value_size, sizeof(struct weir_half_open));
} half_open SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct weir_scope);
	__type(value, weir_u32);
} scopes SEC(".maps");

/*
 * A reader takes in what is judged in more than one packet: a head in parts, a chunked
 * body's framing, a body that is held to rules. The first ones are the CPUs' own, for
 * heads that come whole; the rest belong to flows, whose ingress alone writes them.
 * What the server has not acknowledged may only come again as it was: the last segments
 * that were read are known by their place and hash.
 */
#define WEIR_PARTS	 8
#define WEIR_DATA_RANGES 4

struct weir_part {
	weir_u32 seq;
	weir_u32 end;
	weir_u64 hash;
};

/* What was written over in a body, so that it is again when it is resent. */
#define WEIR_EDITS 8

enum weir_edit_kind { WEIR_EDIT_TOKENS, WEIR_EDIT_MODEL };

struct weir_edit {
	weir_u32 seq;  /* of the value's first byte */
	weir_u32 len;  /* of the value as it was, without quotes */
	weir_u32 kind; /* enum weir_edit_kind */
};

struct weir_reader {
	struct weir_part parts[WEIR_PARTS];
	weir_u32 n_parts;  /* ever; the next one goes to n_parts % WEIR_PARTS */
	weir_u32 until;	   /* sequence number behind the last one */
	weir_u32 data_seq; /* CHUNKS: data of the chunk at hand from here on */
	weir_u32 n_data;
	weir_u32 pad0;
	/* Data of the chunks before, without their framing: may come again when it likes. */
	struct {
		weir_u32 seq;
		weir_u32 end;
	} data[WEIR_DATA_RANGES];
	weir_u32 rule;	   /* index of what the body is held to */
	weir_u64 began_ns; /* of a body: when it last went on */
	struct weir_chunk chunk;
	weir_u32 body_seq;
	weir_u32 body_end;   /* RULES */
	weir_u32 body_bytes; /* CHUNKS: so far, with framing */
	weir_u32 degrade;    /* the model must be replaced */
	weir_u32 dialect;
	weir_u32 n_edits;
	struct weir_edit edits[WEIR_EDITS];
	weir_u64 max_tokens;  /* the largest asked for; ~0: none */
	weir_u32 told;	      /* enum weir_body_flags, for the BODY record */
	weir_u32 taken_until; /* WEIR_SLOT_TAKEN may be given back, see gcra.h */
	weir_u32 place;	      /* of its head in heads_waiting, plus one; 0: none */
	weir_u32 pad;
	struct weir_body body;
	struct weir_head head;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, weir_u32);
	__type(value, struct weir_reader);
} readers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 1024);
	__uint(key_size, 0);
	__uint(value_size, sizeof(weir_u32));
} free_readers SEC(".maps");

/*
 * Heads that are not whole, by a keyed hash of the client's address (of IPv6 the first half):
 * before a head is whole nobody is known, and one address must not hold all readers. Two
 * addresses may share a place; they then share the bound.
 */
#define WEIR_HEAD_PLACES 4096

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WEIR_HEAD_PLACES);
	__type(key, weir_u32);
	__type(value, weir_u32);
} heads_waiting SEC(".maps");

/* A refused flow's answer, so that it can be sent again word for word. */
struct weir_linger {
	weir_u64 until_ns;
	weir_u32 reply_seq; /* of the reply's first byte */
	weir_u32 reply_len;
	weir_u32 acked;	   /* client bytes received, as an ACK number */
	weir_u32 template; /* index into replies */
	weir_u32 fin;	   /* the client has sent its FIN */
	weir_u32 pad;
	weir_u64 figures[WEIR_FIG_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct weir_flow_key);
	__type(value, struct weir_linger);
} lingers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct weir_denial_key);
	__type(value, struct weir_denial);
} denials SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WEIR_API_MAX *WEIR_REASON_MAX);
	__type(key, weir_u32);
	__type(value, struct weir_reply);
} replies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEIR_REASON_MAX);
	__type(key, weir_u32);
	__type(value, weir_u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024 * 1024);
} ring SEC(".maps");

/* A walk over the chunks in one segment (tap.h). */
struct weir_chunk_walk {
	struct weir_chunk chunk;
	weir_u32 off;
	weir_u32 end;
	weir_u32 strict; /* a request's: forms.md */
	weir_u32 pad;
	weir_u8 window[WEIR_CHUNK_WINDOW];
};

/* What one head asks for. */
struct weir_request {
	weir_u64 now_ns;
	weir_u64 body_bytes; /* WEIR_NO_LENGTH: chunked */
	weir_u32 reader;     /* holds the head */
	weir_u32 reset_seq;  /* what the server waits for: its RST must carry it */
	weir_u32 body_seq;   /* of the body's first byte */
	weir_u32 path_off;
	weir_u32 path_len;
	weir_u32 form;	  /* 0, or the reason to refuse it for its form */
	weir_u32 tenant;  /* whose it is */
	weir_u32 unknown; /* 0, or the reason why nobody knows */
	weir_u8 service;
	weir_u8 head_method;
	weir_u8 free;
	weir_u8 dialect;
	weir_u32 start;	     /* of the request line in the reader */
	weir_u32 result;     /* enum weir_head_result, of the scan */
	weir_u32 encoded;    /* the body is compressed, or the like */
	weir_u32 tunnel;     /* CONNECT */
	weir_u32 rules_hold; /* the tenant's rules are enforced on the body */
	weir_u32 vectors;    /* its path is one that answers with them */
	weir_u64 line_bits;  /* of weir_config: lines to be kept of the head */
};

/* The figures that a refusal is reported with. */
struct weir_refusal {
	weir_u32 tenant;
	weir_u32 reason; /* enum weir_reason */
	weir_s64 limit;
	weir_s64 value;
	weir_s64 asked;
	weir_u64 retry_ns;
	weir_u32 level;	 /* whose limit it was; 0: nobody's */
	weir_u32 shadow; /* 1: noted only */
};

/* What a request or a connection asks of all its levels at once (limits.md). */
struct weir_demand {
	weir_u32 level[WEIR_LEVELS]; /* indices into `tenants`; 0 behind the first: none */
	weir_u32 over;		     /* bit per level: in shadow, and would have refused */
	weir_u32 taken;		     /* bit per level: a rate's token was taken */
	weir_u32 until;		     /* the first of those is given back by time then (gcra.h) */
	weir_u32 unchecked;	     /* enum weir_unchecked */
	weir_u32 tokens;	     /* reserved at each level; 0: none of them limits tokens */
	weir_s64 nano;		     /* reserved of the wallet's credit */
	weir_u32 wallet;
	weir_u32 enforce; /* 0: every level is in shadow */
	weir_u64 now_ns;
	weir_u64 wall_ns; /* of requests */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WEIR_RULES_MAX);
	__type(key, weir_u32);
	__type(value, struct weir_rules);
} rules SEC(".maps");

struct weir_tenant_name {
	char name[WEIR_TENANT_NAME_BYTES] __attribute__((aligned(8)));
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct weir_tenant_name);
	__type(value, weir_u32);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WEIR_MAX_SERVICES);
	__type(key, weir_u32);
	__type(value, weir_u32);
} seen SEC(".maps");

/* Where a loop over a packet's bytes stands. In map memory, read again at each step, or the
 * verifier follows every length through every one. */
struct weir_span {
	weir_u32 off;
	weir_u32 len;
	weir_u32 base;
	weir_u32 type; /* of the records that it is shipped in */
	weir_u64 hash; /* or the offset in an answer, or a body */
	weir_u64 now_ns;
};

/* Pinned like the rest: while one agent takes over from another, a hook's program may hand a
 * packet to the other's. Working memory of the program at hand; the stack has only 512 bytes for a
 * whole chain of calls. Programs of one CPU do not nest while they use it: a packet we send
 * ourselves leaves both hooks by its mark before they touch it. */
#define WEIR_EDIT_ROOM (WEIR_EDIT_MAX + 8)

struct weir_scratch {
	struct weir_packet packet;
	struct weir_segment out;
	struct weir_refusal refusal;
	struct weir_demand demand;
	struct weir_request request;
	weir_u8 headers[WEIR_HEADERS_MAX] __attribute__((aligned(8)));
	struct weir_flow_key key;
	struct weir_key api_key;
	struct weir_tenant_name tenant_name;
	struct weir_linger linger;
	struct weir_sha256 sha;
	weir_u32 answer_off; /* behind the head of the answer at hand */
	weir_u32 reason;     /* of an act (stream.h) */
	struct weir_writer_state text;
	struct weir_chunk_walk walk;
	struct weir_span span;
	weir_u8 old_bytes[WEIR_EDIT_ROOM] __attribute__((aligned(8)));
	weir_u8 new_bytes[WEIR_EDIT_ROOM] __attribute__((aligned(8)));
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, weir_u32);
	__type(value, struct weir_scratch);
} scratch SEC(".maps");

weir_inline void weir_count(weir_u32 reason)
{
	weir_u64 *n = bpf_map_lookup_elem(&counters, &reason);

	if (n)
		++*n;
}

/* The same in one instruction, for what also runs in tasks (weir_state), which an interrupt may
 * stop between load and store. */
weir_inline void weir_count_in_task(weir_u32 reason)
{
	weir_u64 *n = bpf_map_lookup_elem(&counters, &reason);

	if (n)
		__sync_fetch_and_add(n, 1);
}

weir_inline struct weir_config *weir_config(void)
{
	weir_u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

weir_inline struct weir_scratch *weir_scratch(void)
{
	weir_u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

weir_inline struct weir_tenant *weir_tenant(weir_u32 index)
{
	return bpf_map_lookup_elem(&tenants, &index);
}

/* Of a flow. The number is copied: 6.1 does not take the memory that a global function was
 * given for a key. */
weir_inline struct weir_slot *weir_slot(const struct weir_flow *f)
{
	weir_u32 index = f->slot;

	return bpf_map_lookup_elem(&slots, &index);
}

weir_inline bool weir_agent_down(const struct weir_config *c, weir_u64 now_ns)
{
	return (weir_s64)(now_ns - c->heartbeat_ns) > (weir_s64)c->agent_timeout_ns;
}

#endif
