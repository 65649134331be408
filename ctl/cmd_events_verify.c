/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl events verify. */
#include <inttypes.h>
#include <stdio.h>

#include "ctl.h"

/* What was looked at; the range may be empty. */
static void print_range(const json_t *v)
{
	char node[CTL_CELL], ledger[CTL_CELL];

	printf("METER, node %s, ledger %s: ", ctl_text(v, "node", node),
	       ctl_text(v, "ledger", ledger));
	if (ctl_int(v, "from_seq") > ctl_int(v, "to_seq"))
		printf("the stream has nothing of what is acknowledged (up to entry %" PRId64 ")\n",
		       ctl_int(v, "to_seq"));
	else
		printf("entries %" PRId64 " to %" PRId64 ", messages from %" PRId64 "\n",
		       ctl_int(v, "from_seq"), ctl_int(v, "to_seq"), ctl_int(v, "from_stream"));
	printf("%" PRId64 " entries of usage must be there; %" PRId64 " events were read (%" PRId64
	       " older, %" PRId64 " newer than these)\n",
	       ctl_int(v, "entries"), ctl_int(v, "events"), ctl_int(v, "older"),
	       ctl_int(v, "newer"));
	if (ctl_int(v, "reworded"))
		printf("%" PRId64 " say the same of what is billed in other words (an agent of "
		       "another version, or a restore)\n",
		       ctl_int(v, "reworded"));
	if (ctl_int(v, "renumbered"))
		printf("%" PRId64 " are of entries that have other numbers since an older database "
		       "was put back\n",
		       ctl_int(v, "renumbered"));
}

static void print_findings(const json_t *rows)
{
	static const char *const names[] = { "WRONG", ">ENTRY", ">MESSAGE", "ID", "WHY" };
	struct ctl_table *t;
	const json_t *r;
	size_t i;

	if (!json_array_size(rows))
		return;
	t = ctl_table_new(5, names);
	json_array_foreach(rows, i, r)
	{
		char why[256];
		const char *text = json_string_value(json_object_get(r, "why"));

		ctl_table_field(t, r, "wrong");
		ctl_table_field(t, r, "ledger_seq");
		ctl_table_field(t, r, "stream_seq");
		ctl_table_field(t, r, "id");
		snprintf(why, sizeof(why), "%s", text ? text : "-");
		for (char *p = why; *p; p++) {
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				*p = '?';
		}
		ctl_table_cell(t, why);
	}
	ctl_table_print(t, "");
}

static void print_sums(const json_t *rows)
{
	static const char *const names[] = { "TENANT", ">EVENTS", ">PRICE", ">ENTRIES", ">PRICE" };
	struct ctl_table *t;
	const json_t *r;
	size_t i;

	if (!json_array_size(rows))
		return;
	t = ctl_table_new(5, names);
	json_array_foreach(rows, i, r)
	{
		ctl_table_field(t, r, "tenant");
		ctl_table_field(t, r, "events");
		ctl_table_field(t, r, "price_events");
		ctl_table_field(t, r, "entries");
		ctl_table_field(t, r, "price_entries");
	}
	ctl_table_print(t, "");
}

static void print_others(const json_t *v)
{
	char source[CTL_CELL];

	if (ctl_int(v, "malformed"))
		printf("%" PRId64 " messages on this node's subjects are no events\n",
		       ctl_int(v, "malformed"));
	if (ctl_int(v, "foreign"))
		printf("%" PRId64 " events are of another ledger, the first of %s: %s\n",
		       ctl_int(v, "foreign"), ctl_text(v, "foreign_source", source),
		       json_is_true(json_object_get(v, "foreign_among"))
			       ? "they go on among this one's; do two agents have one \"node\"?"
			       : "all from before this one's first");
}

int ctl_events_verify(struct ctl *c)
{
	json_t *request = ctl_op(c, "events.verify"), *v = NULL;
	char price[CTL_CELL];
	const json_t *total;
	bool ok;
	int r;

	ctl_progress_ask(request);
	r = ctl_request(c, request, ctl_progress_item, NULL, &v);
	if (r)
		return r;
	ok = json_is_true(json_object_get(v, "ok"));
	total = json_object_get(v, "total");
	if (c->json) {
		ctl_print_json(v);
	} else {
		print_range(v);
		print_others(v);
		print_findings(json_object_get(v, "findings"));
		print_sums(json_object_get(v, "sums"));
	}
	if (ok && !c->json)
		printf("all agrees: %" PRId64 " events, %" PRId64 " tenants, price %s\n",
		       ctl_int(total, "events"), ctl_int(v, "tenants"),
		       ctl_text(total, "price_events", price));
	if (!ok)
		ctl_fail(CTL_REFUSED,
			 "the stream does not agree with the ledger: %" PRId64 " missing, %" PRId64
			 " doubled, %" PRId64 " unknown, %" PRId64 " different, %" PRId64
			 " malformed; %" PRId64 " tenants' sums differ",
			 ctl_int(v, "missing"), ctl_int(v, "doubled"), ctl_int(v, "unknown"),
			 ctl_int(v, "different"), ctl_int(v, "malformed"),
			 ctl_int(v, "tenants_wrong"));
	json_decref(v);
	return ok ? CTL_DONE : CTL_REFUSED;
}
