/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl ledger, weirctl ledger verify. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd_ledger_text.h"
#include "ctl.h"

/* A row at a time: a ledger is longer than memory, so columns are of fixed width. */
static int print_entry(json_t *e, void *ctx)
{
	bool *headed = ctx;
	char when[CTL_CELL], kind[CTL_CELL], amount[CTL_CELL], after[CTL_CELL], words[1024];

	if (!*headed)
		printf("%8s  %-20s  %-8s  %18s  %18s\n", "SEQ", "TIME", "KIND", "AMOUNT",
		       "BALANCE");
	*headed = true;
	printf("%8" PRId64 "  %-20s  %-8s  %18s  %18s\n", ctl_int(e, "seq"),
	       ctl_when(e, "time", when), ctl_text(e, "kind", kind), ctl_text(e, "amount", amount),
	       ctl_text(e, "balance_after", after));
	ctl_entry_words(e, words, sizeof(words));
	if (words[0])
		ctl_wrap(words, 0, 10);
	return CTL_DONE;
}

static int set_limit(struct ctl *c, json_t *o)
{
	const char *limit = ctl_value(c, "--limit");
	char *end = "";
	long long n = limit ? strtoll(limit, &end, 10) : 0;

	if (!limit)
		return CTL_DONE;
	if (*end || n < 1) {
		json_decref(o);
		return ctl_fail(CTL_USAGE, "--limit: \"%.64s\" is not a number from 1", limit);
	}
	json_object_set_new(o, "limit", json_integer(n));
	return CTL_DONE;
}

int ctl_ledger_list(struct ctl *c)
{
	const char *since = ctl_value(c, "--since");
	char from[WEIR_TIME_TEXT];
	bool headed = false;
	json_t *o;
	int r;

	if (since && ctl_time("--since", since, -1, from))
		return CTL_USAGE;
	o = ctl_op(c, "ledger.list");
	ctl_set(o, "since", since ? from : NULL);
	if (set_limit(c, o))
		return CTL_USAGE;
	r = ctl_request(c, o, c->json ? ctl_print_item : print_entry, &headed, NULL);
	if (!r && !c->json && !headed)
		printf("no entries\n");
	return r;
}

int ctl_ledger_verify(struct ctl *c)
{
	char head[CTL_CELL];
	const char *wrong;
	json_t *v = NULL;
	bool ok;
	int r = ctl_request(c, ctl_op(c, "ledger.verify"), NULL, NULL, &v);

	if (r)
		return r;
	ok = json_is_true(json_object_get(v, "ok"));
	wrong = json_string_value(json_object_get(v, "wrong"));
	if (c->json)
		ctl_print_json(v);
	else if (ok)
		printf("all agrees: %" PRId64 " entries, %" PRId64 " prices recomputed, head %s\n",
		       ctl_int(v, "entries"), ctl_int(v, "repriced"), ctl_text(v, "head", head));
	if (ok && !c->json && ctl_int(v, "missing"))
		printf("%" PRId64 " entries were not there to be read, and nothing behind them was "
		       "recomputed but the chain: %s\n",
		       ctl_int(v, "missing"), json_string_value(json_object_get(v, "missing_why")));
	if (!ok)
		ctl_fail(CTL_REFUSED,
			 "the ledger does not agree with itself: entry %" PRId64 ": %s",
			 ctl_int(v, "wrong_seq"), wrong ? wrong : "?");
	json_decref(v);
	return ok ? CTL_DONE : CTL_REFUSED;
}
