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
#include "meter_in.h"
#include "publisher.h"
#include "reason.h"
#include "writer.h"

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

static json_t *usage_json(const struct weir_agent_view *v)
{
	struct weir_meter_in_status u;

	if (!v->meter_in)
		return json_null();
	weir_meter_in_status(v->meter_in, &u);
	return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:o}", "ready", (int)u.ready, "waiting",
			 weir_json_count(u.waiting), "entered", weir_json_count(u.entered),
			 "repeated", weir_json_count(u.repeated), "refused",
			 weir_json_count(u.refused), "retried", weir_json_count(u.retried),
			 "last_refusal", u.refusal[0] ? weir_json_text(u.refusal) : json_null());
}

static json_t *nats_json(const struct weir_agent_view *v, const struct weir_publisher_status *nats)
{
	if (!v->publisher)
		return json_null();
	return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:o}", "connected", (int)nats->connected,
			 "backlog", weir_json_count(nats->backlog), "acked",
			 weir_json_count(nats->acked), "alerts", weir_json_count(nats->alerts),
			 "entries", weir_json_count(nats->entries), "skipped",
			 weir_json_count(nats->skipped), "usage", usage_json(v));
}

/* The publisher's and the writer's state belong to warnings as much as the wiring's. */
static json_t *warnings_json(const struct weir_agent_view *v, const struct weir_status *s,
			     const struct weir_publisher_status *nats)
{
	struct weir_meter_in_status usage;
	struct weir_writer_stats w;
	json_t *list = json_array();

	for (size_t i = 0; list && i < s->n_warnings && i < WEIR_STATUS_WARNINGS; i++)
		json_array_append_new(list, weir_json_text(s->warnings[i]));
	if (v->publisher && nats->warning[0])
		json_array_append_new(list, weir_json_text(nats->warning));
	if (v->publisher && nats->skipped)
		json_array_append_new(
			list,
			json_sprintf("nats: %llu alerts, refusals and ledger entries were not "
				     "published since the agent started: their "
				     "streams could not be had",
				     (unsigned long long)nats->skipped));
	if (v->meter_in) {
		weir_meter_in_status(v->meter_in, &usage);
		if (usage.warning[0])
			json_array_append_new(list, weir_json_text(usage.warning));
		if (usage.refused)
			json_array_append_new(
				list,
				json_sprintf(
					"nats: %llu report%s of usage refused since the agent "
					"started (stream USAGE_REFUSED has them); the last: %s",
					(unsigned long long)usage.refused,
					usage.refused == 1 ? "" : "s", usage.refusal));
	}
	weir_writer_stats(v->writer, &w);
	if (!w.healthy)
		json_array_append_new(
			list, weir_json_text(w.error[0] ? w.error : "ledger: not writable"));
	return list;
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

json_t *weir_status_json(const struct weir_agent_view *v)
{
	weir_autofree struct weir_status *s = calloc(1, sizeof(*s));
	struct weir_publisher_status nats = { .connected = false };
	json_t *verdicts;

	if (!s)
		return NULL;
	v->status(v->ctx, s);
	if (v->publisher)
		weir_publisher_status(v->publisher, &nats);
	verdicts = json_object();
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++)
		json_object_set_new(verdicts, weir_reason_name(i), weir_json_count(s->verdicts[i]));
	return json_pack("{s:s,s:s,s:s,s:i,s:o,s:o,s:o,s:o,s:{s:o,s:o,s:o},s:o,s:{s:o,s:o,s:o},"
			 "s:{s:o,s:o,s:o},s:{s:o,s:o},s:o,s:o,s:o,s:o}",
			 "instance", s->instance, "node", s->node, "version", WEIR_VERSION, "pid",
			 (int)getpid(), "uptime_s", weir_json_count(s->uptime_s), "interfaces",
			 interfaces_json(s), "enforce", weir_enforce_json(s), "verdicts", verdicts,
			 "ring", "bytes", weir_json_count(s->ring_bytes), "used",
			 weir_json_count(s->ring_used), "lost", weir_json_count(s->ring_lost),
			 "nats", nats_json(v, &nats), "flows", "used",
			 weir_json_count(s->flows_used), "max", weir_json_count(s->flows_max),
			 "half_open", weir_json_count(s->half_open), "tenants", "used",
			 weir_json_count(s->tenants_used), "max", weir_json_count(s->tenants_max),
			 "suspended", weir_json_count(s->suspended), "cost_cap", "cut",
			 weir_json_count(s->capped), "shadow", weir_json_count(s->capped_shadow),
			 "answers", answers_json(s), "memory", memory_json(s), "drift",
			 drift_json(&s->drift), "warnings", warnings_json(v, s, &nats));
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
