/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes /metrics and the page. Amounts are decimal text made from integers:
 * what Prometheus makes of them is its own business.
 */
#include "metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_call.h"
#include "denials.h"
#include "look.h"
#include "money.h"
#include "reason.h"

struct tenant_row {
	const char *name; /* the policy's */
	const char *tier;
	uint32_t index;
	struct weir_tenant live;
	struct weir_live figures;
};

/* All of them at one time, looked up once: a series each is a walk of its own. */
struct tenant_rows {
	const struct weir_agent_view *view;
	struct weir_policy *policy;
	struct tenant_row *rows;
	size_t n;
};

static void rows_free(struct tenant_rows *t)
{
	free(t->rows);
	if (t->policy)
		weir_policy_unref(t->policy);
}

static int rows_take(const struct weir_agent_view *v, struct tenant_rows *t)
{
	struct weir_policy *p = v->policy(v->ctx);
	size_t max = p->n_tenants < WEIR_METRICS_TENANTS ? p->n_tenants : WEIR_METRICS_TENANTS;

	*t = (struct tenant_rows){ .view = v, .policy = p };
	t->rows = calloc(max + 1, sizeof(*t->rows));
	if (!t->rows)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_tenants && t->n < max; i++) {
		struct tenant_row *row = &t->rows[t->n];

		row->name = p->tenants[i].name;
		row->tier = p->tenants[i].tier;
		if (v->tenant_index(v->ctx, row->name, &row->index) ||
		    v->tenant_live(v->ctx, row->index, &row->live))
			continue;
		weir_live_figures(&row->live, weir_mono_ns(), &row->figures);
		t->n++;
	}
	return 0;
}

typedef void row_fn(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r);

static void each_tenant(const struct tenant_rows *t, FILE *f, row_fn *fn)
{
	for (size_t i = 0; i < t->n; i++)
		fn(f, t->view, &t->rows[i]);
}

void weir_metrics_head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void weir_metrics_one(FILE *f, const char *name, const char *type, const char *help, uint64_t n)
{
	weir_metrics_head(f, name, type, help);
	fprintf(f, "%s %" PRIu64 "\n", name, n);
}

/* -------------------------------------------------------------------- Prometheus */

/* Label values from outside: backslash, quote and newline are escaped (format 0.0.4). */
void weir_metrics_label(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n') {
			fputs("\\n", f);
			continue;
		}
		if (*text == '"' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
}

static void row_admitted(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	fprintf(f, "weir_tenant_admitted_total{tenant=\"%s\"} %" PRIu64 "\n", r->name,
		(uint64_t)r->live.admitted);
}

static void by_reason(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r,
		      const char *series, bool shadow)
{
	uint64_t counts[WEIR_REASON_MAX];

	if (v->denial_counts(v->ctx, r->index, shadow, counts))
		return;
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++) {
		if (weir_reason_is_denial(i) && counts[i])
			fprintf(f, "%s{tenant=\"%s\",reason=\"%s\"} %" PRIu64 "\n", series, r->name,
				weir_reason_name(i), counts[i]);
	}
}

static void row_refused(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	by_reason(f, v, r, "weir_tenant_refused_total", false);
}

static void row_shadow(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	by_reason(f, v, r, "weir_tenant_shadow_refused_total", true);
}

static void row_connections(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	fprintf(f, "weir_tenant_connections{tenant=\"%s\"} %d\n", r->name, r->live.connections);
}

static void row_inflight(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	fprintf(f, "weir_tenant_inflight{tenant=\"%s\"} %d\n", r->name, r->live.inflight);
}

static void row_half_open(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	fprintf(f, "weir_tenant_half_open{tenant=\"%s\"} %d\n", r->name, r->live.half_open);
}

static void row_suspended(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	fprintf(f, "weir_tenant_suspended{tenant=\"%s\"} %d\n", r->name,
		!!(r->live.flags & WEIR_TENANT_SUSPENDED));
}

static void row_tokens(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	fprintf(f, "weir_tenant_reserved_tokens{tenant=\"%s\"} %" PRId64 "\n", r->name,
		r->figures.reserved_tokens);
}

static void row_balance(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	char text[WEIR_MONEY_TEXT];

	weir_money_format(r->live.balance_nano, text);
	fprintf(f, "weir_tenant_balance_credits{tenant=\"%s\"} %s\n", r->name, text);
}

static void row_reserved(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	char text[WEIR_MONEY_TEXT];

	weir_money_format(r->figures.reserved_nano, text);
	fprintf(f, "weir_tenant_reserved_credits{tenant=\"%s\"} %s\n", r->name, text);
}

static void write_status(const struct weir_agent_view *v, FILE *f, const struct weir_status *s)
{
	weir_metrics_head(f, "weir_info", "gauge", "Which agent this is.");
	fprintf(f, "weir_info{instance=\"%s\",node=\"%s\",version=\"%s\"} 1\n", s->instance,
		s->node, WEIR_VERSION);
	weir_metrics_one(f, "weir_uptime_seconds", "gauge", "Since this agent started.",
			 s->uptime_s);
	weir_metrics_head(f, "weir_interface", "gauge",
			  "Guarded interfaces and how they are hooked.");
	for (size_t i = 0; i < s->n_interfaces && i < WEIR_STATUS_INTERFACES; i++) {
		fputs("weir_interface{name=\"", f);
		weir_metrics_label(f, s->interfaces[i].name);
		fprintf(f, "\",xdp=\"%s\",tc=\"%s\"} 1\n", s->interfaces[i].xdp_mode,
			s->interfaces[i].tc_mode);
	}
	weir_metrics_head(f, "weir_verdicts_total", "counter", "Packets and requests by verdict.");
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++)
		fprintf(f, "weir_verdicts_total{reason=\"%s\"} %" PRIu64 "\n", weir_reason_name(i),
			s->verdicts[i]);
	weir_metrics_one(f, "weir_ring_bytes", "gauge", "Size of the ring buffer.", s->ring_bytes);
	weir_metrics_one(f, "weir_ring_used_bytes", "gauge", "Of it, not consumed yet.",
			 s->ring_used);
	weir_metrics_one(f, "weir_ring_lost_total", "counter", "Records that did not fit.",
			 s->ring_lost);
	weir_metrics_one(f, "weir_flows", "gauge", "Tracked connections.", s->flows_used);
	weir_metrics_one(f, "weir_flows_max", "gauge", "Room for tracked connections.",
			 s->flows_max);
	weir_metrics_one(f, "weir_tenants", "gauge", "Entries in use: tenants and their scopes.",
			 s->tenants_used);
	weir_metrics_one(f, "weir_tenants_max", "gauge", "Room for tenants.", s->tenants_max);
	weir_metrics_one(f, "weir_tenants_suspended", "gauge", "Tenants that are suspended.",
			 s->suspended);
	weir_metrics_one(f, "weir_enforcing", "gauge", "0: nothing is refused, all is metered.",
			 s->enforcing == WEIR_ENFORCING);
	weir_metrics_one(f, "weir_half_open", "gauge",
			 "Connections whose handshake is not complete.", s->half_open);
	weir_metrics_head(f, "weir_map_bytes", "gauge", "Memory of the maps in the kernel.");
	for (size_t i = 0; i < s->n_maps && i < WEIR_STATUS_MAPS; i++)
		fprintf(f, "weir_map_bytes{map=\"%s\"} %" PRIu64 "\n", s->maps[i].name,
			s->maps[i].bytes);
	weir_metrics_one(f, "weir_capped_total", "counter", "Answers cut for what they cost.",
			 s->capped);
	weir_metrics_one(f, "weir_capped_shadow_total", "counter",
			 "Answers that would have been, were the tenant not in shadow.",
			 s->capped_shadow);
	weir_metrics_one(f, "weir_warnings", "gauge", "Warnings that status shows.", s->n_warnings);
	weir_metrics_one(f, "weir_denials_dropped_total", "counter",
			 "Refusals missing from deny events.", weir_denials_dropped(v->denials));
}

static void write_drift(FILE *f, const struct weir_drift_stats *d)
{
	const struct {
		const char *gauge;
		uint64_t n;
	} corrected[] = {
		{ "connections", d->corrected_connections },
		{ "half_open", d->corrected_half_open },
		{ "inflight", d->corrected_inflight },
	};

	weir_metrics_one(f, "weir_drift_sweeps_total", "counter",
			 "Comparisons of sockets with connections.", d->sweeps);
	weir_metrics_one(f, "weir_drift_failed_total", "counter",
			 "Those that could not be carried through.", d->failed);
	weir_metrics_one(f, "weir_drift_reaped_total", "counter",
			 "Connections without a socket, given back.", d->reaped);
	weir_metrics_head(f, "weir_drift_corrected_total", "counter",
			  "Gauges that were put right.");
	for (size_t i = 0; i < sizeof(corrected) / sizeof(*corrected); i++)
		fprintf(f, "weir_drift_corrected_total{gauge=\"%s\"} %" PRIu64 "\n",
			corrected[i].gauge, corrected[i].n);
	weir_metrics_one(f, "weir_drift_reservations_off_total", "counter",
			 "Sums of reservations that do not agree with what is open.",
			 d->reservations_off);
}

char *weir_metrics_text(const struct weir_agent_view *v, size_t *len)
{
	static const struct {
		const char *name, *type, *help;
		row_fn *fn;
	} per_tenant[] = {
		{ "weir_tenant_admitted_total", "counter", "Requests admitted.", row_admitted },
		{ "weir_tenant_refused_total", "counter", "Refusals by reason.", row_refused },
		{ "weir_tenant_shadow_refused_total", "counter",
		  "Refusals by reason that a limit in shadow, or enforcement off, let pass.",
		  row_shadow },
		{ "weir_tenant_suspended", "gauge", "1: suspended.", row_suspended },
		{ "weir_tenant_connections", "gauge", "Open connections.", row_connections },
		{ "weir_tenant_half_open", "gauge", "Of them, handshake not complete.",
		  row_half_open },
		{ "weir_tenant_inflight", "gauge", "Requests in flight.", row_inflight },
		{ "weir_tenant_balance_credits", "gauge", "Credit, as enforced.", row_balance },
		{ "weir_tenant_reserved_credits", "gauge", "Held by requests in flight.",
		  row_reserved },
		{ "weir_tenant_reserved_tokens", "gauge", "Likewise, of the token window.",
		  row_tokens },
	};
	weir_autofree struct weir_look *l = weir_look(v);
	WEIR_CLEANUP(rows_free) struct tenant_rows t = { .n = 0 };
	const struct weir_status *s = l ? &l->status : NULL;
	char *text = NULL;
	FILE *f = l && !rows_take(v, &t) ? open_memstream(&text, len) : NULL;

	if (!f)
		return NULL;
	write_status(v, f, s);
	write_drift(f, &s->drift);
	weir_metrics_delivery(v, f, l);
	weir_metrics_usage(v, f, s);
	weir_metrics_money(v, f);
	for (size_t i = 0; i < sizeof(per_tenant) / sizeof(*per_tenant); i++) {
		weir_metrics_head(f, per_tenant[i].name, per_tenant[i].type, per_tenant[i].help);
		each_tenant(&t, f, per_tenant[i].fn);
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---------------------------------------------------------------------- the page */

static void html(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", f);
		else if (*text == '>')
			fputs("&gt;", f);
		else if (*text == '&')
			fputs("&amp;", f);
		else
			fputc(*text, f);
	}
}

static void row_html(FILE *f, const struct weir_agent_view *v, const struct tenant_row *r)
{
	char balance[WEIR_MONEY_TEXT];

	weir_money_format(r->live.balance_nano, balance);
	fprintf(f, "<tr><td>%s<td>%s<td>%d<td>%d<td>%" PRIu64 "<td>%" PRIu64 "<td>%s\n", r->name,
		r->tier, r->live.connections, r->live.inflight, (uint64_t)r->live.admitted,
		(uint64_t)r->live.refused,
		r->live.flags & WEIR_TENANT_CREDIT ? balance : "&ndash;");
}

static void head_html(FILE *f, const struct weir_status *s)
{
	fputs("<!doctype html><html lang=en><meta charset=utf-8>"
	      "<meta http-equiv=refresh content=5><title>weir</title>\n"
	      "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;"
	      "padding:0 1em;color:#222;background:#fff}table{border-collapse:collapse;width:100%}"
	      "th,td{text-align:right;padding:.2em .6em;border-bottom:1px solid #ddd;"
	      "font-variant-numeric:tabular-nums}th:nth-child(-n+2),td:nth-child(-n+2){"
	      "text-align:left}.w{color:#a40000}@media(prefers-color-scheme:dark){body{"
	      "color:#ddd;background:#181818}th,td{border-color:#444}.w{color:#ff8a80}}</style>\n",
	      f);
	fprintf(f, "<h1>weir on %s</h1>\n<p>instance %s, version %s, up %" PRIu64 " s. ", s->node,
		s->instance, WEIR_VERSION, s->uptime_s);
	fputs("<a href=/metrics>metrics</a> <a href=/healthz>health</a>\n", f);
	for (size_t i = 0; i < s->n_warnings && i < WEIR_STATUS_WARNINGS; i++) {
		fputs("<p class=w>", f);
		html(f, s->warnings[i]);
		fputc('\n', f);
	}
	fputs("<p>Guarding", f);
	for (size_t i = 0; i < s->n_interfaces && i < WEIR_STATUS_INTERFACES; i++) {
		fputs(i ? ", " : " ", f);
		html(f, s->interfaces[i].name);
		fprintf(f, " (xdp %s, tc %s)", s->interfaces[i].xdp_mode, s->interfaces[i].tc_mode);
	}
	fprintf(f,
		"; %" PRIu64 " connections, ring %" PRIu64 " of %" PRIu64 " bytes, %" PRIu64
		" lost.\n",
		s->flows_used, s->ring_used, s->ring_bytes, s->ring_lost);
}

char *weir_page_html(const struct weir_agent_view *v, size_t *len)
{
	weir_autofree struct weir_look *l = weir_look(v);
	WEIR_CLEANUP(rows_free) struct tenant_rows t = { .n = 0 };
	const struct weir_status *s = l ? &l->status : NULL;
	char *text = NULL;
	FILE *f = l && !rows_take(v, &t) ? open_memstream(&text, len) : NULL;

	if (!f)
		return NULL;
	head_html(f, s);
	fputs("<table><tr><th>tenant<th>tier<th>connections<th>in flight<th>admitted<th>refused"
	      "<th>balance\n",
	      f);
	each_tenant(&t, f, row_html);
	fputs("</table>\n", f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
