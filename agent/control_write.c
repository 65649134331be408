// SPDX-License-Identifier: Apache-2.0
/* Shared parts of the handlers that move credit. */
#include "control_write.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clean_text.h"
#include "ledger_book.h"
#include "money.h"
#include "writer.h"

/* -------------------------------------------------------------------- arguments */

/* Into size bytes of *to, whole and clean, or not at all. */
static int clean_word(struct weir_call *c, const char *name, char *to, size_t size,
		      struct weir_error *err)
{
	const char *text = NULL;
	int r = weir_call_string(c, name, size - 1, &text, err);

	if (r || !text)
		return r;
	weir_clean_text(to, size, text, strlen(text));
	if (strcmp(to, text))
		return weir_fail(err, EINVAL, "request: %s: has a control character", name);
	return 0;
}

int weir_write_words(struct weir_call *c, struct weir_op *op, struct weir_error *err)
{
	int r = clean_word(c, "id", op->key, sizeof(op->key), err);

	if (!r)
		r = clean_word(c, "reason", op->reason, sizeof(op->reason), err);
	if (r)
		return r;
	if (!op->key[0])
		return weir_fail(err, EINVAL,
				 "request: \"id\" is missing: it makes a repetition safe");
	snprintf(op->actor, sizeof(op->actor), "%s", c->actor);
	return 0;
}

int weir_write_tenant(struct weir_call *c, struct weir_op *op, const char **tenant,
		      struct weir_error *err)
{
	char payer[WEIR_ENTRY_NAME_BYTES] = "?";
	struct weir_named before;
	uint32_t wallet;
	int r = weir_call_tenant(c, false, tenant, &op->tenant, err);

	if (r)
		return r;
	op->wallet = op->tenant;
	if (c->view->wallet_of(c->view->ctx, op->tenant, &wallet) || wallet == op->tenant)
		return 0;
	r = weir_call_written(c, op->key, &before, err);
	if (r != -ENOENT)
		return r;
	c->view->tenant_name(c->view->ctx, wallet, payer);
	return weir_fail(err, EINVAL,
			 "tenant \"%s\": has no credit of its own, \"%s\" pays for it; name that "
			 "one",
			 *tenant, payer);
}

int weir_call_decimal(struct weir_call *c, const char *name, int64_t min, int64_t max,
		      int64_t *nano, struct weir_error *err)
{
	struct weir_json at;

	return weir_json_get(&c->args, name, &at) ? weir_json_decimal(&at, min, max, nano, err) : 0;
}

int weir_write_amount(struct weir_call *c, const char *name, int64_t min, int64_t max,
		      int64_t *nano, struct weir_error *err)
{
	struct weir_json at;

	if (!weir_json_get(&c->args, name, &at))
		return weir_fail(err, EINVAL, "request: \"%s\" is missing", name);
	return weir_json_decimal(&at, min, max, nano, err);
}

int weir_write_terms(struct weir_call *c, struct weir_op *op, struct weir_error *err)
{
	/* The ledger's own sources are not to be asked for. */
	static const char *const sources[] = { "paid", "promo", "trial", NULL };
	struct weir_json at;
	int64_t priority = WEIR_PRIORITY;
	int source = WEIR_GRANT_PAID, r = 0;

	if (weir_json_get(&c->args, "source", &at))
		r = weir_json_choice(&at, sources, &source, err);
	if (!r)
		r = weir_call_int(c, "priority", 0, 255, &priority, err);
	if (r)
		return r;
	op->source = (uint8_t)source;
	op->priority = (uint8_t)priority;
	return 0;
}

/* ------------------------------------------------------------- the entry that is meant */

static int copy_named(const struct weir_entry *e, void *ctx)
{
	struct weir_named *n = ctx;

	*n = (struct weir_named){
		.seq = e->seq,
		.time_ns = e->time_ns,
		.kind = e->kind,
		.id = e->id,
		.tenant = e->tenant,
		.wallet = e->wallet,
		.amount_nano = e->amount_nano,
	};
	if (e->op)
		n->op = *e->op;
	snprintf(n->tenant_name, sizeof(n->tenant_name), "%s",
		 e->tenant_name ? e->tenant_name : "?");
	return 0;
}

static int by_seq(struct weir_reader *reader, uint64_t seq, struct weir_named *out,
		  struct weir_error *err)
{
	struct weir_entry_query q = { .from_seq = seq, .limit = 1 };
	int r;

	out->seq = 0;
	r = weir_reader_entries(reader, &q, copy_named, out, err);
	return r ? r : out->seq == seq ? 0 : -ENOENT;
}

static int by_key(struct weir_reader *reader, const char *key, struct weir_named *out,
		  struct weir_error *err)
{
	uint64_t seq;
	int r = weir_reader_by_key(reader, key, &seq, err);

	return r ? r : by_seq(reader, seq, out, err);
}

int weir_call_written(struct weir_call *c, const char *id, struct weir_named *out,
		      struct weir_error *err)
{
	struct weir_reader *reader = weir_call_reader(c, err);

	return reader ? by_key(reader, id, out, err) : -EIO;
}

/* "#" and a number that is written as we write it. false: it is not meant as one. */
static bool seq_of(const char *text, uint64_t *seq)
{
	char again[32];

	if (text[0] != '#')
		return false;
	*seq = strtoull(text + 1, NULL, 10);
	snprintf(again, sizeof(again), "#%llu", (unsigned long long)*seq);
	return *seq && !strcmp(text, again);
}

int weir_call_entry(struct weir_call *c, const char *name, struct weir_named *out,
		    struct weir_error *err)
{
	struct weir_reader *reader;
	const char *text = NULL;
	struct weir_id id;
	uint64_t seq;
	int r = weir_call_string(c, name, 63, &text, err);

	if (r)
		return r;
	if (!text)
		return weir_fail(err, EINVAL, "request: \"%s\" is missing", name);
	reader = weir_call_reader(c, err);
	if (!reader)
		return -EIO;
	if (seq_of(text, &seq)) {
		r = by_seq(reader, seq, out, err);
	} else {
		/* An id that was made up for a write has as many digits. */
		r = weir_unhex(text, id.b, sizeof(id.b))
			    ? -ENOENT
			    : weir_reader_find(reader, &id, copy_named, out, err);
		if (r == -ENOENT)
			r = by_key(reader, text, out, err);
	}
	if (r == -ENOENT)
		weir_fail(
			err, ENOENT,
			"request: %s: \"%s\": no such entry; it takes an event's or request's id, "
			"the id of a write, or #SEQ",
			name, text);
	return r;
}

/* ---------------------------------------------------------------------- the write */

struct post {
	const struct weir_agent_view *view;
	const struct weir_op *op;
	struct weir_done *done;
	struct weir_error *err;
};

static int call_post(struct weir_ledger *l, void *arg)
{
	struct post *p = arg;

	return p->view->post(p->view->ctx, l, p->op, p->done, p->err);
}

int weir_write_post(struct weir_call *c, const struct weir_op *op, struct weir_done *done,
		    struct weir_error *err)
{
	struct post p = { c->view, op, done, err };

	return weir_writer_call(c->view->writer, call_post, &p);
}

json_t *weir_write_json(const struct weir_op *op, const struct weir_done *done, const char *tenant,
			int64_t amount_nano)
{
	char id[2 * WEIR_ID_BYTES + 1];

	weir_hex(done->id.b, sizeof(done->id.b), id);
	return json_pack("{s:o,s:s,s:o,s:o,s:o,s:o,s:b}", "id", weir_json_text(op->key), "event_id",
			 id, "tenant", weir_json_text(tenant), "amount",
			 weir_json_money(amount_nano), "balance",
			 weir_json_money(done->balance_nano), "seq", weir_json_count(done->seq),
			 "repeated", (int)done->repeated);
}

void weir_write_log(struct weir_call *c, const struct weir_op *op, const struct weir_done *done,
		    const char *fmt, ...)
{
	char what[256];
	va_list ap;

	if (done->repeated)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	weir_log(WEIR_NOTE, "credit: %s by %s%s%s (entry %llu, id %s)", what, c->actor,
		 op->reason[0] ? ": " : "", op->reason, (unsigned long long)done->seq, op->key);
}
