// SPDX-License-Identifier: Apache-2.0
/*
 * Handlers of recurring credit: a schedule is made, and listed. It is stopped by a void
 * (control_undo.c). Boundaries are calendar.h's, what happens at them is the ledger's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "calendar.h"
#include "control_write.h"
#include "money.h"

static int calendar_args(struct weir_call *c, struct weir_op *op, struct weir_error *err)
{
	const char *zone = "UTC";
	struct weir_json at;
	int every = 0, r;

	if (!weir_json_get(&c->args, "every", &at))
		return weir_fail(err, EINVAL, "request: \"every\" is missing: day, week or month");
	/* The first of the names is that of never. */
	r = weir_json_choice(&at, weir_every_names + 1, &every, err);
	if (!r)
		r = weir_call_string(c, "zone", sizeof(op->zone) - 1, &zone, err);
	if (!r)
		r = weir_call_time(c, "starts", &op->effective_ns, err);
	if (r)
		return r;
	if (weir_zone_check(zone))
		return weir_fail(err, EINVAL,
				 "request: zone: \"%s\" is not a time zone such as Europe/Berlin",
				 zone);
	op->every = (uint8_t)(every + 1);
	snprintf(op->zone, sizeof(op->zone), "%s", zone);
	return 0;
}

static int roll_args(struct weir_call *c, struct weir_op *op, struct weir_error *err)
{
	char low[WEIR_MONEY_TEXT], high[WEIR_MONEY_TEXT];
	int r = weir_call_decimal(c, "rollover_min", 0, INT64_MAX, &op->roll_min_nano, err);

	if (!r)
		r = weir_call_decimal(c, "rollover_max", 0, INT64_MAX, &op->roll_max_nano, err);
	if (r || op->roll_min_nano <= op->roll_max_nano)
		return r;
	weir_money_format(op->roll_min_nano, low);
	weir_money_format(op->roll_max_nano, high);
	return weir_fail(err, EINVAL,
			 "request: rollover_min: %s is above rollover_max, which is %s", low, high);
}

int weir_do_credit_recur(struct weir_call *c, struct weir_error *err)
{
	struct weir_op op = { .kind = WEIR_ENTRY_SCHEDULE };
	struct weir_done done;
	const char *tenant = NULL;
	char amount[WEIR_MONEY_TEXT];
	json_t *o;
	int r = weir_write_words(c, &op, err);

	if (!r)
		r = weir_write_tenant(c, &op, &tenant, err);
	if (!r)
		r = weir_write_amount(c, "amount", 1, INT64_MAX, &op.amount_nano, err);
	if (!r)
		r = weir_write_terms(c, &op, err);
	if (!r)
		r = calendar_args(c, &op, err);
	if (!r)
		r = roll_args(c, &op, err);
	if (!r)
		r = weir_write_post(c, &op, &done, err);
	if (r)
		return r;
	weir_money_format(op.amount_nano, amount);
	weir_write_log(c, &op, &done, "%s every %s (%s) scheduled for %s", amount,
		       weir_every_names[op.every], op.zone, tenant);
	o = weir_write_json(&op, &done, tenant, op.amount_nano);
	if (o) {
		json_object_set_new(o, "every", weir_json_text(weir_every_names[op.every]));
		json_object_set_new(o, "zone", weir_json_text(op.zone));
	}
	return weir_call_result(c, o);
}

/* --------------------------------------------------------------------------- listing */

struct listing {
	struct weir_call *c;
	struct weir_reader *reader;
};

static json_t *schedule_json(const struct listing *l, const struct weir_schedule_state *s)
{
	const char *tenant = weir_reader_tenant_name(l->reader, s->op.tenant);
	const struct weir_op *op = &s->op;

	return json_pack(
		"{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:i,s:o,s:o,s:o,s:o}", "schedule_seq",
		weir_json_count(s->seq), "id", weir_json_text(op->key), "tenant",
		weir_json_text(tenant ? tenant : "?"), "amount", weir_json_money(op->amount_nano),
		"every", weir_json_text(weir_every_names[op->every]), "zone",
		weir_json_text(op->zone), "next", weir_json_time(s->next_ns), "stopped",
		json_boolean(!s->next_ns), "source",
		weir_json_text(weir_grant_source_names[op->source]), "priority", (int)op->priority,
		"rollover_min", weir_json_money(op->roll_min_nano), "rollover_max",
		weir_json_money(op->roll_max_nano), "starts", weir_json_time(op->effective_ns),
		"reason", weir_json_text(op->reason[0] ? op->reason : NULL));
}

static int schedule_item(const struct weir_schedule_state *s, void *ctx)
{
	struct listing *l = ctx;

	if (s->op.every > WEIR_EVERY_MONTH || s->op.source >= WEIR_GRANT_SOURCE_MAX)
		return -EBADMSG;
	return weir_call_item(l->c, schedule_json(l, s));
}

int weir_do_credit_schedules(struct weir_call *c, struct weir_error *err)
{
	struct listing l = { .c = c };
	const char *tenant = NULL;
	uint32_t index = 0;
	int r = weir_call_tenant(c, true, &tenant, &index, err);

	if (r)
		return r;
	l.reader = weir_call_reader(c, err);
	if (!l.reader)
		return -EIO;
	return weir_reader_schedules(l.reader, index, schedule_item, &l, err);
}
