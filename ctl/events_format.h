/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage events in the words of others (policies/mapping.md): one writer a format, each called with
 * one event and writing lines to stdout. Amounts stay exact: credits are read as nano-credits and
 * turned into a currency by integers.
 */
#ifndef WEIR_EVENTS_FORMAT_H
#define WEIR_EVENTS_FORMAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct events_format {
	const char *name;  /* Stripe's event_name, Lago's code */
	const char *value; /* Stripe: the field that is counted */
	int64_t rate_nano; /* what a credit costs, in currency */
	const char *currency;
	const char *issuer;
	bool headed; /* FOCUS: the line of names is out */
};

/* One event of any type; what a format has no words for is left out. An enum ctl_exit. */
int events_stripe(const json_t *event, struct events_format *f);
int events_lago(const json_t *event, struct events_format *f);
int events_focus(const json_t *event, struct events_format *f);
void events_focus_head(struct events_format *f); /* even if no event follows */

/* Fields that may be `value`, NULL-ended. */
extern const char *const events_stripe_values[];

/* What the writers share (events_format.c). */

/* Of a usage event its data, NULL of any other. */
const json_t *events_usage(const json_t *event);
/* Who pays: the wallet, if it is not the tenant's own. */
const char *events_payer(const json_t *data);
/* A decimal string as nano; 0 if there is none. */
int64_t events_nano(const json_t *o, const char *name);
/* n / 10^decimals as the shortest plain decimal. */
#define EVENTS_EXACT 64
void events_exact(__int128 n, unsigned decimals, char out[static EVENTS_EXACT]);
/* A time of the event in Unix ns; false: it has none. */
bool events_time(const json_t *o, const char *name, uint64_t *ns);

#endif
