/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel programs believe, compared with what is: connections with sockets, gauges
 * with connections and requests. Pure: it is told all it knows, and tells what is to be done;
 * drift.c asks the kernel and does it.
 *
 * Traffic goes on meanwhile and nothing can be read at one instant, so a difference is no
 * drift by itself. A round goes like this:
 *
 *   weir_compare_begin     the time t
 *   weir_compare_socket    every socket
 *   weir_compare_flow      every connection ) the first look
 *   weir_compare_slot      every slot       )
 *   weir_compare_gauges    who is off? if nobody, done
 *   weir_compare_flow      again, all of them ) the second look, with
 *   weir_compare_slot      again              ) weir_compare_watch() now and then
 *   weir_compare_end
 *
 * Connections. Sockets come first, and only connections that were opened before t count: such
 * a one that is seen later was there while sockets were listed, and so was its socket. One that
 * closes between is not seen any more, since the programs forget it when its socket closes. A
 * handshake has no socket while its SYN is on its way, none at all with SYN cookies: it has the
 * time that the programs give it, and they end it. What lists may leave out (sockdiag.h), the
 * second round asks again, and then drift.c, by name.
 *
 * Gauges. While a gauge does not move, nor what it counts (the same connections and requests
 * in both looks), it can be told exactly. Else only within bounds: let T be the instant between
 * the looks at which the gauge was G, and let the first have counted a and the second b. The
 * first missed at most what was taken during it, the second shows at most what was taken since
 * T besides what was there. So there were, at T, from b - taken since T to a + taken until T.
 * A gauge within that is left alone: its next quiet moment will tell.
 */
#ifndef WEIR_COMPARE_H
#define WEIR_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"

enum weir_gauge_kind {
	WEIR_GAUGE_CONNECTIONS,
	WEIR_GAUGE_HALF_OPEN,
	WEIR_GAUGE_INFLIGHT,
	WEIR_GAUGES_CORRECTED,
	/* Reservations that no open slot explains are told of and not touched: money and
	 * tokens are the ledger's. */
	WEIR_GAUGE_TOKENS = WEIR_GAUGES_CORRECTED,
	WEIR_GAUGE_NANO,
	WEIR_GAUGES
};

/* As many rounds in a row it takes: no socket; a gauge off, by the same sign. */
#define WEIR_COMPARE_REAP    2
#define WEIR_COMPARE_CORRECT 3

#define WEIR_COMPARE_SUSPECTS 65536 /* remembered from one round to the next; more can wait */

struct weir_off {
	uint32_t entry; /* in `tenants` */
	enum weir_gauge_kind gauge;
	int64_t by; /* more than there is, of three rounds the one nearest to 0 */
};

struct weir_compare;

/* For tenants[n_entries]. NULL: out of memory. */
struct weir_compare *weir_compare_new(uint32_t n_entries);
void weir_compare_free(struct weir_compare *c);

/* A round that is not carried through: what rounds before it suspected is forgotten. */
void weir_compare_abandon(struct weir_compare *c);

/* now_ns: CLOCK_MONOTONIC. half_open_ns: what a handshake is given. -ENOMEM. */
int weir_compare_begin(struct weir_compare *c, uint64_t now_ns, uint64_t half_open_ns);

/* -ENOMEM: abandon the round. */
int weir_compare_socket(struct weir_compare *c, const struct weir_flow_key *key);

void weir_compare_flow(struct weir_compare *c, const struct weir_flow_key *key,
		       const struct weir_flow_view *flow);
void weir_compare_slot(struct weir_compare *c, uint32_t index, const struct weir_slot *slot);

/* The instant T. True: a second look is wanted. */
bool weir_compare_gauges(struct weir_compare *c, const struct weir_tenant *tenants);

/* During the second look, after as little of it as can be, and after all. */
void weir_compare_watch(struct weir_compare *c, const struct weir_tenant *tenants);

/* By the kernel's counters, how many places were taken, at most: from before the first look
 * until after T, and from before T until after the second look, if there was one. */
void weir_compare_end(struct weir_compare *c, uint64_t taken_until_t, uint64_t taken_since_t);

/* After the end, till the next begin: connections to give back, and gauges that are off. Each
 * is told once; what is not done about it takes as many rounds again. */
size_t weir_compare_reap(const struct weir_compare *c, const struct weir_reap **out);
size_t weir_compare_off(const struct weir_compare *c, const struct weir_off **out);

struct weir_compare_seen {
	uint64_t flows, sockets;
	uint64_t untracked; /* sockets without a flow */
	uint32_t unsure;    /* gauges that did not hold still, and may be off */
};
void weir_compare_seen(const struct weir_compare *c, struct weir_compare_seen *out);

#endif
