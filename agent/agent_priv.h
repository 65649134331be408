/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a running agent, shared by its files: agent.c starts and stops them, agent_run.c
 * keeps its run on record, view.c shows them to the outer layers.
 */
#ifndef WEIR_AGENT_PRIV_H
#define WEIR_AGENT_PRIV_H

#include "agent.h"
#include "agent_view.h"
#include "consumer.h"
#include "control.h"
#include "denials.h"
#include "drift.h"
#include "enforce.h"
#include "httpd.h"
#include "kernel.h"
#include "lag.h"
#include "links.h"
#include "meter_in.h"
#include "money_watch.h"
#include "naming.h"
#include "publisher.h"
#include "restored.h"
#include "room.h"
#include "run_record.h"
#include "state.h"
#include "writer.h"

struct weir_agent {
	struct weir_agent_config cfg;
	struct weir_agent_view view;
	char db_path[WEIR_CONFIG_PATH + 16];
	char state_path[256];
	const char *services[WEIR_MAX_SERVICES];
	uint64_t started_wall_ns, started_ns;
	int lock_fd;

	struct weir_kernel *kernel;
	struct weir_links *links; /* started last: NULL till then */
	struct weir_ledger *ledger;
	struct weir_naming *naming; /* the writer's thread's */
	struct weir_state *state;
	struct weir_denials *denials;
	struct weir_enforce *enforce;
	struct weir_consumer *consumer;
	struct weir_writer *writer;
	struct weir_publisher *publisher;
	struct weir_meter_in *meter_in;
	struct weir_money_watch *money;
	struct weir_control *control;
	struct weir_httpd *httpd;
	struct weir_drift *drift; /* started last: NULL till then */

	pthread_mutex_t switch_lock;
	struct weir_switch enforce_switch; /* the node's, as it holds */

	struct weir_room room;
	struct weir_lags lags;
	struct weir_run run;
	struct weir_run_gap run_gap;
	uint64_t open; /* requests, as of the last tick; the writer reads it */
	bool started;

	pthread_mutex_t restored_lock;
	struct weir_restored_status restored;

	uint64_t ticked_ns, refreshed_ns, restored_at_ns;
};

/* Put the node's enforce switch in force. */
void weir_agent_enforce(struct weir_agent *a, const struct weir_switch *s);

/* For the kernel's programs (agent_settings.c): all of it, and how the wall clock is ahead of the
 * monotonic one. */
void weir_agent_store_settings(struct weir_agent *a);
void weir_agent_store_clock(struct weir_agent *a);

/* This run on record (agent_run.c). begin: once ledger and state are open. alive: the writer's
 * chore. open: so many requests are open now. end: one that never got to run is forgotten;
 * false: it could not be written. */
int weir_agent_run_begin(struct weir_agent *a, struct weir_error *err);
int weir_agent_run_alive(void *agent, struct weir_ledger *l, struct weir_error *err);
void weir_agent_run_open(struct weir_agent *a);
bool weir_agent_run_end(struct weir_agent *a, bool keep);

/* Of a database that was put back, as of the last look (agent_restored.c). look: by the thread that
 * ticks. */
void weir_agent_restored_look(struct weir_agent *a, uint64_t now_ns);
void weir_agent_restored(struct weir_agent *a, struct weir_restored_status *out);

/* In the writer's thread: what numbers stand for from the next entry on. What cannot be noted now
 * is logged, and noted with the next refresh. */
void weir_agent_note_names(struct weir_agent *a, struct weir_ledger *l,
			   const struct weir_policy *policy);

/* Fill a->view; once the parts it points at are there. */
void weir_agent_make_view(struct weir_agent *a);

#endif
