/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `ledger` and `usage`: entries, their proof, and sums of them. Each
 * client has its own reader.
 */
#include "control_call.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "entry_json.h"
#include "entry_out.h"
#include "reason.h"

/* ------------------------------------------------------------------ entries */

struct walk {
	struct weir_call *c;
	struct weir_reader *reader;
	struct weir_text text;
};

static int entry_item(const struct weir_entry *e, void *ctx)
{
	struct walk *w = ctx;
	const struct weir_card *card = weir_reader_card(w->reader, weir_entry_card_id(e));
	int r = weir_entry_json(e, card, &w->text);

	return r ? r : weir_call_item_text(w->c, w->text.p, w->text.len);
}

int weir_do_ledger_list(struct weir_call *c, struct weir_error *err)
{
	struct weir_entry_query q = { 0 };
	struct walk w = { .c = c };
	const char *tenant = NULL;
	int r = weir_call_query(c, &q, false, &tenant, err);

	if (r)
		return r;
	w.reader = weir_call_reader(c, err);
	if (!w.reader)
		return -EIO;
	r = weir_reader_entries(w.reader, &q, entry_item, &w, err);
	weir_text_free(&w.text);
	return r;
}

int weir_do_ledger_verify(struct weir_call *c, struct weir_error *err)
{
	/* It reads the whole ledger: one at a time is enough work for the disk. */
	static atomic_flag running = ATOMIC_FLAG_INIT;
	struct weir_reader *reader = weir_call_reader(c, err);
	struct weir_verify v = { 0 };
	char head[2 * WEIR_HASH_BYTES + 1];
	int r;

	if (!reader)
		return -EIO;
	if (atomic_flag_test_and_set(&running))
		return weir_fail(err, EBUSY, "ledger: is being verified already");
	r = weir_reader_verify(reader, &v, err);
	atomic_flag_clear(&running);
	if (r && r != -EBADMSG)
		return r;
	weir_hex(v.head, sizeof(v.head), head);
	return weir_call_result(c,
				json_pack("{s:b,s:o,s:o,s:s,s:o,s:o,s:o,s:o}", "ok", !r, "entries",
					  weir_json_count(v.entries), "repriced",
					  weir_json_count(v.repriced), "head", head, "wrong_seq",
					  v.wrong_seq ? weir_json_count(v.wrong_seq) : json_null(),
					  "wrong", r ? weir_json_text(v.wrong) : json_null(),
					  "missing", weir_json_count(v.missing), "missing_why",
					  v.missing ? weir_json_text(v.missing_why) : json_null()));
}

/* --------------------------------------------------------------------- usage */

static uint64_t refused(const struct weir_agent_view *v, uint32_t tenant)
{
	uint64_t counts[WEIR_REASON_MAX] = { 0 }, sum = 0;

	if (v->denial_counts(v->ctx, tenant, false, counts))
		return 0;
	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++)
		sum += weir_reason_is_denial(i) ? counts[i] : 0;
	return sum;
}

static json_t *usage_json(const char *key, uint64_t refusals, const struct weir_usage_sum *s)
{
	return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "key", key,
			 "requests", json_integer(s->requests), "refused",
			 weir_json_count(refusals), "input_tokens", json_integer(s->tokens.input),
			 "cache_read_tokens", json_integer(s->tokens.cache_read),
			 "cache_write_tokens", json_integer(s->tokens.cache_write), "output_tokens",
			 json_integer(s->tokens.output), "reasoning_tokens",
			 json_integer(s->tokens.reasoning), "estimated", json_integer(s->estimated),
			 "partial", json_integer(s->partial), "price",
			 weir_json_money(s->price_nano), "cost", weir_json_money(s->cost_nano));
}

struct usage_walk {
	struct weir_call *c;
	json_t *rows; /* by name, so that tenants without usage can join */
	json_t *seen;
};

static int usage_row(const struct weir_usage_sum *s, void *ctx)
{
	struct usage_walk *w = ctx;
	char name[WEIR_ENTRY_NAME_BYTES];

	if (w->c->view->tenant_name(w->c->view->ctx, s->tenant, name))
		return 0;
	json_object_set_new(w->seen, name, json_true());
	return json_array_append_new(w->rows, usage_json(name, refused(w->c->view, s->tenant), s))
		       ? -ENOMEM
		       : 0;
}

/* Tenants that used nothing have their refusals to show, or a row of zeros. */
static int usage_rest(struct usage_walk *w, const char *only)
{
	struct weir_policy *p = w->c->view->policy(w->c->view->ctx);
	static const struct weir_usage_sum none;
	uint32_t index;
	int r = 0;

	for (size_t i = 0; !r && i < p->n_tenants; i++) {
		const char *name = p->tenants[i].name;

		if ((only && strcmp(only, name)) || json_object_get(w->seen, name) ||
		    w->c->view->tenant_index(w->c->view->ctx, name, &index))
			continue;
		json_object_set_new(w->seen, name, json_true());
		if (json_array_append_new(w->rows,
					  usage_json(name, refused(w->c->view, index), &none)))
			r = -ENOMEM;
	}
	weir_policy_unref(p);
	/* It may have left the policy without ever having used anything. */
	if (!r && only && !json_object_get(w->seen, only) &&
	    json_array_append_new(w->rows, usage_json(only, 0, &none)))
		r = -ENOMEM;
	return r;
}

int weir_do_usage(struct weir_call *c, struct weir_error *err)
{
	struct usage_walk w = { .c = c };
	struct weir_reader *reader;
	const char *tenant = NULL;
	uint32_t index = 0;
	int r = weir_call_tenant(c, true, &tenant, &index, err);

	if (r)
		return r;
	reader = weir_call_reader(c, err);
	if (!reader)
		return -EIO;
	w.rows = json_array();
	w.seen = json_object();
	r = w.rows && w.seen ? weir_reader_usage(reader, index, usage_row, &w, err) : -ENOMEM;
	if (!r)
		r = usage_rest(&w, tenant);
	json_decref(w.seen);
	if (r) {
		json_decref(w.rows);
		return r;
	}
	return weir_call_result(c, w.rows);
}
