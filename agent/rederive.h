/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger that is older than its stream (delivery.md, 21): usage that the stream has and the
 * ledger has not is entered again, from the events, under its ids. Nothing is published by it, and
 * nothing may be before it is done.
 */
#ifndef WEIR_REDERIVE_H
#define WEIR_REDERIVE_H

#include <stddef.h>

#include <nats/nats.h>

#include "agent_view.h"
#include "config.h"
#include "ledger_read.h"
#include "restored.h"
#include "util.h"

/*
 * To be called before anything is read from a lane for resuming, or published. If the database was
 * put back, or METER has an event of it that it does not know, works that off. Reads only on the
 * stream's side. 0: done, or nothing to do. -errno with err: to be called again later; what was
 * entered by then is known the next time.
 */
int weir_rederive(jsCtx *js, const char *node, const struct weir_agent_view *view,
		  struct weir_reader *reader, struct weir_error *err);

/*
 * The same at the agent's start, while nobody else uses the ledger: before what fell due meanwhile
 * is entered, so that all comes in the order in which it was. Only if the database was put back. It
 * waits for NATS some seconds; what cannot be done now is left to weir_rederive. Logs.
 * services: names by number.
 */
void weir_rederive_at_start(struct weir_ledger *l, const char *db_path,
			    const struct weir_nats_config *nats, const char *node,
			    const char *const *services, size_t n_services);

/* What both are made of. */
struct weir_rederive {
	jsCtx *js;
	const char *node;
	struct weir_reader *reader;
	const char *const *services;
	size_t n_services;
	/* Runs fn in the thread that owns the ledger. */
	int (*call)(void *ctx, int (*fn)(struct weir_ledger *l, void *arg), void *arg);
	void *ctx;
	bool marked_only; /* a database that nobody marked is not looked at */
};
int weir_rederive_run(const struct weir_rederive *r, struct weir_error *err);

#endif
