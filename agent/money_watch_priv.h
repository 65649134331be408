/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the watch over money: what it knows. money_watch.c finds it out, money_show.c puts
 * it into words and figures.
 */
#ifndef WEIR_MONEY_WATCH_PRIV_H
#define WEIR_MONEY_WATCH_PRIV_H

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledger_read.h"
#include "money_watch.h"

/* What is summed: what a tenant used by a card, or what an entry of it sold. */
struct money_sum {
	char *tenant; /* NULL: of an entry */
	char *card, *entry;
	__int128 price, refunds, cost;
	int64_t floor_milli;
	bool below, told;
};

struct money_unpriced {
	char *what;
	const char *service;
	int64_t count;
	bool told, seen; /* seen: in this look */
};

struct weir_money_watch {
	const struct weir_agent_view *view;
	unsigned wait_ms;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	struct weir_reader *reader;
	uint64_t next_seq;
	uint32_t month;
	GHashTable *sums;     /* by tenant or "", card, entry */
	GHashTable *unpriced; /* by service and what */
	bool complained;      /* of a ledger that cannot be read */
	unsigned logged;      /* in this look */
};

/* One line: what is below its floor, by how much. */
#define MONEY_TEXT 256
void money_describe(const struct money_sum *s, char out[static MONEY_TEXT]);
const char *money_what(const struct money_unpriced *u);

#endif
