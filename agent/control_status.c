/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `status` and `top`: figures only, nothing is changed.
 */
#include "control_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "denials.h"
#include "look.h"
#include "money.h"
#include "reason.h"

static json_t *interfaces_json(const struct weir_status *s)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < s->n_interfaces && i < WEIR_STATUS_INTERFACES; i++) {
		const struct weir_status_interface *f = &s->interfaces[i];
		json_t *neighbours = json_array();

		for (size_t j = 0; j < f->n_neighbours && j < WEIR_STATUS_NEIGHBOURS; j++)
			json_array_append_new(neighbours, weir_json_text(f->neighbours[j]));
		json_array_append_new(list,
				      json_pack("{s:o,s:s,s:s,s:o}", "name",
						weir_json_text(f->name), "xdp_mode", f->xdp_mode,
						"tc_mode", f->tc_mode, "neighbours", neighbours));
	}
	return list;
}

static json_t *usage_json(const struct weir_agent_view *v, const struct weir_meter_in_status *u)
{
	if (!v->meter_in)
		return json_null();
	return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:o}", "ready", (int)u->ready, "waiting",
			 weir_json_count(u->waiting), "entered", weir_json_count(u->entered),
			 "repeated", weir_json_count(u->repeated), "refused",
			 weir_json_count(u->refused), "retried", weir_json_count(u->retried),
			 "last_refusal", u->refusal[0] ? weir_json_text(u->refusal) : json_null());
}

static json_t *nats_json(const struct weir_agent_view *v, const struct weir_look *l)
{
	const struct weir_publisher_status *n = &l->nats;

	if (!v->publisher)
		return json_null();
	return json_pack("{s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "connected",
			 (int)n->connected, "stream_ok", (int)n->stream_ok, "backlog",
			 weir_json_count(n->backlog), "lag_ms",
			 weir_json_count(n->lag_ns / 1000000), "rate", weir_json_count(n->rate),
			 "acked", weir_json_count(n->acked), "alerts", weir_json_count(n->alerts),
			 "entries", weir_json_count(n->entries), "skipped",
			 weir_json_count(n->skipped), "resent", weir_json_count(n->retried),
			 "known", weir_json_count(n->known), "again", weir_json_count(n->again),
			 "usage", usage_json(v, &l->usage));
}

static json_t *warnings_json(const struct weir_status *s)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < s->n_warnings && i < WEIR_STATUS_WARNINGS; i++)
		json_array_append_new(list, weir_json_text(s->warnings[i]));
	return list;
}

/* ------------------------------------------------------------------------- delivery */

static json_t *ledger_json(const struct weir_look *l)
{
	const struct weir_writer_stats *w = &l->writer;
	const struct weir_state_room *room = &l->status.room;

	return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:{s:o,s:o},s:o,s:b}", "healthy",
			 (int)w->healthy, "since",
			 w->healthy ? json_null() : weir_json_time(w->ill_since_ns), "error",
			 w->healthy ? json_null() : weir_json_text(w->error), "failures",
			 weir_json_count(w->failures), "newest", weir_json_count(w->newest_seq),
			 "newest_at", w->newest_seq ? weir_json_time(w->newest_ns) : json_null(),
			 "rows", weir_json_count(w->rows), "waiting", weir_json_count(w->waiting),
			 "room", weir_json_count(room->rows), "spill", "used",
			 weir_json_count(room->spill_used), "max", weir_json_count(room->spill_max),
			 "full_in_s",
			 l->full_in_s == UINT64_MAX ? json_null() : weir_json_count(l->full_in_s),
			 "heartbeat", (int)!l->status.silent);
}

static json_t *clock_json(const struct weir_clock_status *c)
{
	return json_pack("{s:b,s:b,s:I,s:o}", "synchronised", (int)c->synchronised, "held",
			 (int)c->held, "step_s",
			 (json_int_t)(c->held ? c->step_ns / (int64_t)WEIR_SECOND : 0), "since",
			 c->held ? weir_json_time(c->since_ns) : json_null());
}

static json_t *gap_json(const struct weir_run_gap *g)
{
	if (!g->any)
		return json_null();
	return json_pack("{s:b,s:o,s:o,s:o}", "power_loss", (int)g->power_loss, "from",
			 weir_json_time(g->from_ns), "to", weir_json_time(g->to_ns), "open",
			 weir_json_count(g->open));
}

static json_t *restored_json(const struct weir_restored_status *r)
{
	const struct weir_restored_report *w = &r->report;
	char price[WEIR_MONEY_TEXT], difference[WEIR_MONEY_TEXT];

	if (!r->any)
		return json_null();
	weir_money_format(w->price_nano, price);
	weir_money_format(w->difference_nano, difference);
	return json_pack("{s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:s,s:o,s:s,s:o,s:o,s:o,s:o,s:o}", "pending",
			 (int)r->pending, "stream", (int)w->stream, "at", weir_json_time(r->at_ns),
			 "from", weir_json_time(r->from_ns), "to", weir_json_time(r->to_ns),
			 "known_until", weir_json_time(r->known_ns), "usage",
			 weir_json_count(w->usage), "price", price, "differing",
			 weir_json_count(w->differing), "difference", difference, "no_card",
			 weir_json_count(w->no_card), "gaps", weir_json_count(w->gaps), "strange",
			 weir_json_count(w->strange), "acts", weir_json_count(w->acts), "text",
			 weir_json_text(r->text));
}

/* Bounds below which half and 99 of 100 lie; null: there were none, or it has no bound. */
static json_t *lag_json(const struct weir_lag *lag)
{
	static const unsigned per_mille[] = { 500, 990 };
	json_t *v[2];

	for (size_t i = 0; i < 2; i++) {
		uint64_t ns = weir_lag_quantile_ns(lag, per_mille[i]);

		v[i] = ns && ns != UINT64_MAX ? weir_json_count(ns / 1000) : json_null();
	}
	return json_pack("{s:o,s:o,s:o}", "count", weir_json_count(weir_lag_total(lag)), "p50_us",
			 v[0], "p99_us", v[1]);
}

static json_t *drift_json(const struct weir_drift_stats *d)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{ "sweeps", d->sweeps },
		{ "failed", d->failed },
		{ "flows", d->flows },
		{ "sockets", d->sockets },
		{ "untracked_sockets", d->untracked_sockets },
		{ "reaped", d->reaped },
		{ "corrected_connections", d->corrected_connections },
		{ "corrected_half_open", d->corrected_half_open },
		{ "corrected_inflight", d->corrected_inflight },
		{ "reservations_off", d->reservations_off },
		{ "unsure", d->unsure },
		{ "last_ms", d->last_ms },
		{ "last_cpu_ms", d->last_cpu_ms },
	};
	json_t *o = json_object();

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		json_object_set_new(o, fields[i].name, weir_json_count(fields[i].value));
	return o;
}

/* Requests that ended, by where their usage is from, and what was made of them. */
static json_t *answers_json(const struct weir_status *s)
{
	const struct weir_tally *t = &s->tally;
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{ "reported", t->sources[WEIR_USAGE_REPORTED] },
		{ "estimated", t->sources[WEIR_USAGE_ESTIMATED] },
		{ "partial", t->sources[WEIR_USAGE_PARTIAL] },
		{ "none", t->sources[WEIR_USAGE_NONE] },
		{ "lost_bytes", t->lost },
		{ "left", t->left },
		{ "retry_free", t->retry_free },
		{ "cache_free", t->cache_free },
		{ "abort_free", t->abort_free },
		{ "abort_full", t->abort_full },
		{ "compressed", t->encoded },
		{ "decoders", s->decoders.open },
		{ "decoders_given_up", s->decoders.given_up },
	};
	json_t *o = json_object();

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		json_object_set_new(o, fields[i].name, weir_json_count(fields[i].value));
	return o;
}

static json_t *memory_json(const struct weir_status *s)
{
	json_t *by_map = json_object();

	for (size_t i = 0; i < s->n_maps && i < WEIR_STATUS_MAPS; i++)
		json_object_set_new(by_map, s->maps[i].name, weir_json_count(s->maps[i].bytes));
	return json_pack("{s:o,s:o}", "maps", weir_json_count(weir_status_memory(s)), "by_map",
			 by_map);
}

/* What is between a request and its event. */
static int put_delivery(json_t *o, const struct weir_agent_view *v, const struct weir_look *l)
{
	const struct weir_status *s = &l->status;
	json_t *more =
		json_pack("{s:o,s:o,s:o,s:o,s:o,s:{s:o,s:o,s:o}}", "ledger", ledger_json(l), "nats",
			  nats_json(v, l), "clock", clock_json(&s->clock), "gap", gap_json(&s->gap),
			  "restored", restored_json(&s->restored), "lag", "settled",
			  lag_json(&l->lags.settled), "committed", lag_json(&l->lags.committed),
			  "published", lag_json(&l->lags.published));
	int r = json_object_update(o, more);

	json_decref(more);
	return r;
}

json_t *weir_status_json(const struct weir_agent_view *v)
{
	weir_autofree struct weir_look *l = weir_look(v);
	const struct weir_status *s;
	json_t *verdicts, *o;

	if (!l)
		return NULL;
	s = &l->status;
	verdicts = json_object();
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++)
		json_object_set_new(verdicts, weir_reason_name(i), weir_json_count(s->verdicts[i]));
	o = json_pack("{s:s,s:s,s:s,s:i,s:o,s:o,s:o,s:o,s:{s:o,s:o,s:o},s:{s:o,s:o,s:o},"
		      "s:{s:o,s:o,s:o},s:{s:o,s:o},s:o,s:o,s:o,s:o}",
		      "instance", s->instance, "node", s->node, "version", WEIR_VERSION, "pid",
		      (int)getpid(), "uptime_s", weir_json_count(s->uptime_s), "interfaces",
		      interfaces_json(s), "enforce", weir_enforce_json(s), "verdicts", verdicts,
		      "ring", "bytes", weir_json_count(s->ring_bytes), "used",
		      weir_json_count(s->ring_used), "lost", weir_json_count(s->ring_lost), "flows",
		      "used", weir_json_count(s->flows_used), "max", weir_json_count(s->flows_max),
		      "half_open", weir_json_count(s->half_open), "tenants", "used",
		      weir_json_count(s->tenants_used), "max", weir_json_count(s->tenants_max),
		      "suspended", weir_json_count(s->suspended), "cost_cap", "cut",
		      weir_json_count(s->capped), "shadow", weir_json_count(s->capped_shadow),
		      "answers", answers_json(s), "memory", memory_json(s), "drift",
		      drift_json(&s->drift), "warnings", warnings_json(s));
	if (put_delivery(o, v, l)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

int weir_do_status(struct weir_call *c, struct weir_error *err)
{
	return weir_call_result(c, weir_status_json(c->view));
}

/* A row per tenant of the policy; rates are the client's to reckon, from two looks. */
int weir_do_top(struct weir_call *c, struct weir_error *err)
{
	struct weir_policy *p = c->view->policy(c->view->ctx);
	json_t *rows = json_array();

	for (size_t i = 0; rows && i < p->n_tenants; i++) {
		const struct weir_tenant_policy *tp = &p->tenants[i];
		struct weir_tenant t;
		uint32_t index;

		if (c->view->tenant_index(c->view->ctx, tp->name, &index) ||
		    c->view->tenant_live(c->view->ctx, index, &t))
			continue;
		json_array_append_new(rows,
				      json_pack("{s:s,s:s,s:o,s:o,s:o}", "tenant", tp->name, "tier",
						tp->tier, "admitted", weir_json_count(t.admitted),
						"refused", weir_json_count(t.refused), "live",
						weir_live_json(c->view, index)));
	}
	weir_policy_unref(p);
	return weir_call_result(
		c, json_pack("{s:o,s:o}", "status", weir_status_json(c->view), "tenants", rows));
}
