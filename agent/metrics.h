/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's figures as text: Prometheus exposition format 0.0.4, and a plain
 * page for people. Made new at each call, from one look at the view.
 */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include <stddef.h>
#include <stdio.h>

#include "agent_view.h"

struct weir_look;

#define WEIR_METRICS_TENANTS 10000 /* shown at most; weir_tenants says how many there are */

/* malloc'd, NUL-ended text; NULL when memory is short. */
char *weir_metrics_text(const struct weir_agent_view *v, size_t *len);
/* For its files: the lines before a series, one of one figure, a label's value, what money_watch.h
 * knows, how answers were counted, and how all of it gets to the ledger and to NATS. */
void weir_metrics_head(FILE *f, const char *name, const char *type, const char *help);
void weir_metrics_one(FILE *f, const char *name, const char *type, const char *help, uint64_t n);
void weir_metrics_label(FILE *f, const char *text);
void weir_metrics_money(const struct weir_agent_view *v, FILE *f);
void weir_metrics_usage(const struct weir_agent_view *v, FILE *f, const struct weir_status *s);
void weir_metrics_delivery(const struct weir_agent_view *v, FILE *f, const struct weir_look *l);

/* Likewise, for people. */
char *weir_page_html(const struct weir_agent_view *v, size_t *len);

#endif
