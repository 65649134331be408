// SPDX-License-Identifier: Apache-2.0
/*
 * An event read back (event_read.c), whatever a server gives for one: what is taken is within its
 * bounds, and told again it is taken again as the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/event.h"
#include "agent/event_read.h"

static void check_row(const struct weir_row *row)
{
	assert(row->usage.input >= WEIR_UNKNOWN && row->usage.output >= WEIR_UNKNOWN);
	assert(row->started_wall_ns <= INT64_MAX && row->ended_wall_ns <= INT64_MAX);
	assert(row->discount_milli < 1000);
	assert(row->usage_source <= WEIR_USAGE_PARTIAL);
	assert(row->cache_status < WEIR_CACHE_STATUS_MAX);
}

static void check_again(const struct weir_event_usage *u)
{
	const struct weir_event_origin o = { "ledger", "node", u->service[0] ? u->service : NULL,
					     NULL, 0 };
	struct weir_entry e = {
		.kind = u->kind,
		.seq = u->ledger_seq,
		.id = u->id,
		.time_ns = u->time_ns,
		.tenant = 1,
		.wallet = strcmp(u->tenant, u->wallet) ? 2 : 1,
		.tenant_name = u->tenant,
		.wallet_name = u->wallet,
		.row = u->kind == WEIR_ENTRY_USAGE ? &u->row : NULL,
		.op = u->kind == WEIR_ENTRY_METER ? &u->op : NULL,
	};
	struct weir_text text = { 0 };
	struct weir_event_usage again;
	struct weir_error err;

	assert(!weir_event_json(&e, &o, NULL, &text));
	assert(!weir_event_read(text.p, text.len, &again, &err));
	assert(again.kind == u->kind && !memcmp(&again.id, &u->id, sizeof(again.id)));
	assert(!strcmp(again.tenant, u->tenant) && !strcmp(again.wallet, u->wallet));
	assert(again.row.started_wall_ns == u->row.started_wall_ns);
	assert(!memcmp(&again.row.usage, &u->row.usage, sizeof(again.row.usage)));
	assert(again.op.quantity_nano == u->op.quantity_nano);
	weir_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct weir_event_usage u;
	struct weir_error err;

	if (weir_event_read((const char *)data, size, &u, &err))
		return 0;
	if (u.kind == WEIR_ENTRY_USAGE)
		check_row(&u.row);
	check_again(&u);
	return 0;
}
