/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real ledger, driven by lines of JSON: one operation in, one line out that says what came of
 * it and every entry that was made. Histories begin with "begin", each in a database of its own.
 * The clock is what the operation says. tests/model/run.py compares with the model.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/model/say.h"

/* ----------------------------------------------------------------------- reading JSON */

static int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void copy(char *to, size_t cap, const char *from)
{
	snprintf(to, cap, "%s", from ? from : "");
}

static uint8_t index_of(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n && name; i++)
		if (names[i] && !strcmp(names[i], name))
			return (uint8_t)i;
	return UINT8_MAX;
}

/* ------------------------------------------------------------------------- the ledger */

static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	must(in < 0 || out < 0 ? -errno : 0, to, NULL);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		must(write(out, buf, (size_t)n) == n ? 0 : -EIO, to, NULL);
	close(in);
	close(out);
}

static void close_ledger(void)
{
	weir_reader_close(d.reader);
	weir_ledger_close(d.ledger);
	d.reader = NULL;
	d.ledger = NULL;
}

static void open_ledger(void)
{
	struct weir_error err = { "" };

	must(weir_ledger_open(d.path, &d.ledger, &err), "opening", &err);
	must(weir_reader_open(d.path, &d.reader, &err), "opening to read", &err);
}

/* A database with the schema and the tenants, made once. */
static void make_fresh(const json_t *tenants)
{
	struct weir_error err = { "" };
	json_t *name;
	uint32_t n;
	size_t i;

	if (!access(d.fresh, F_OK))
		return;
	must(weir_ledger_open(d.fresh, &d.ledger, &err), "making a database", &err);
	json_array_foreach(tenants, i, name) must(
		weir_ledger_tenant(d.ledger, json_string_value(name), &n, &err), "naming", &err);
	weir_ledger_close(d.ledger);
	d.ledger = NULL;
}

static void begin(const json_t *op)
{
	struct weir_error err = { "" };
	char wal[300];
	json_t *card;
	size_t i;

	close_ledger();
	while (d.n_cards)
		weir_card_free(d.cards[--d.n_cards]);
	make_fresh(json_object_get(op, "tenants"));
	snprintf(wal, sizeof(wal), "%s-wal", d.path);
	unlink(wal);
	snprintf(wal, sizeof(wal), "%s-shm", d.path);
	unlink(wal);
	copy_file(d.fresh, d.path);
	open_ledger();
	d.shown = 0;
	json_array_foreach(json_object_get(op, "cards"), i, card)
	{
		char *json = json_dumps(card, JSON_COMPACT);
		struct weir_card **c = &d.cards[d.n_cards];

		must(i < CARDS_MAX && json ? 0 : -E2BIG, "cards", NULL);
		must(weir_card_parse(json, "card", c, &err), json, &err);
		free(json);
		d.n_cards++;
		must(weir_ledger_card(d.ledger, *c, &(*c)->id, &err), "storing a card", &err);
	}
	must(weir_cards_check(d.cards, d.n_cards, &err), "cards", &err);
	puts("{}");
}

/* -------------------------------------------------------------------------- operations */

static struct weir_use use_of(const json_t *op)
{
	return (struct weir_use){
		.tenant = text(op, "name"),
		.tier = text(op, "tier"),
		.service = text(op, "service"),
		.model = text(op, "model"),
		.path = text(op, "path"),
		.status = (uint16_t)number(op, "status"),
		.started_ns = (uint64_t)number(op, "started"),
	};
}

static int64_t count(const json_t *quantities, const char *dimension)
{
	const json_t *n = json_object_get(quantities, dimension);

	return n ? json_integer_value(n) : WEIR_UNKNOWN;
}

static struct weir_row row_of(const json_t *op)
{
	const json_t *q = json_object_get(op, "quantities");
	struct weir_use use = use_of(op);
	struct weir_pick pick;
	struct weir_row row = {
		.started_wall_ns = use.started_ns,
		.ended_wall_ns = (uint64_t)number(op, "ended"),
		.tenant = (uint32_t)number(op, "number"),
		.wallet = (uint32_t)number(op, "wallet"),
		.status = use.status,
		.usage_source = WEIR_USAGE_REPORTED,
		.usage = { count(q, "input"), count(q, "cache_read"), count(q, "cache_write"),
			   count(q, "output"), count(q, "reasoning") },
		.audio = count(q, "audio"),
		.image = count(q, "image"),
		.max_tokens_requested = WEIR_UNKNOWN,
	};

	must(weir_unhex(text(op, "id"), row.id.b, WEIR_ID_BYTES), "id", NULL);
	copy(row.model, sizeof(row.model), use.model);
	copy(row.path, sizeof(row.path), use.path);
	copy(row.session, sizeof(row.session), text(op, "session"));
	if (flag(op, "posted"))
		row.flags |= WEIR_ROW_POSTED;
	if (flag(op, "trusted"))
		row.flags |= WEIR_ROW_TRUSTED;
	if (!flag(op, "billable"))
		return row;
	row.flags |= WEIR_ROW_BILLABLE;
	if (weir_cards_pick(d.cards, d.n_cards, &use, &pick)) {
		row.card_id = pick.card->id;
		row.card_entry = pick.entry;
		row.discount_milli = pick.discount_milli;
	} else {
		row.flags |= WEIR_ROW_UNPRICED;
	}
	return row;
}

static int append(const json_t *op, size_t *known, struct weir_error *err)
{
	const json_t *rows = json_object_get(op, "rows");
	struct weir_row v[16];
	json_t *row;
	size_t i;

	must(json_array_size(rows) <= 16 ? 0 : -E2BIG, "rows", NULL);
	json_array_foreach(rows, i, row) v[i] = row_of(row);
	return weir_ledger_append(d.ledger, v, json_array_size(rows), known, err);
}

static void fill_meter(struct weir_op *o, const json_t *op)
{
	struct weir_use use = use_of(op);
	struct weir_pick pick;

	copy(o->dimension, sizeof(o->dimension), text(op, "dimension"));
	use.meter = o->dimension;
	if (!use.started_ns) {
		use.started_ns = (uint64_t)number(op, "now");
		o->flags |= WEIR_OP_NOW;
	}
	o->started_ns = use.started_ns;
	o->quantity_nano = number(op, "quantity");
	o->wallet = (uint32_t)number(op, "wallet");
	copy(o->model, sizeof(o->model), use.model);
	if (weir_cards_pick(d.cards, d.n_cards, &use, &pick)) {
		o->card_id = pick.card->id;
		o->card_entry = pick.entry;
		o->discount_milli = pick.discount_milli;
	} else {
		o->flags |= WEIR_OP_UNPRICED;
	}
	if (flag(op, "posted"))
		o->flags |= WEIR_OP_POSTED;
}

static int post(const json_t *op, struct weir_done *done, struct weir_error *err)
{
	struct weir_op o = {
		.kind = index_of(weir_entry_kind_names, WEIR_ENTRY_KIND_MAX, text(op, "kind")),
		.source = text(op, "source") ? index_of(weir_grant_source_names,
							WEIR_GRANT_SOURCE_MAX, text(op, "source"))
					     : 0,
		.priority = (uint8_t)number(op, "priority"),
		.every = text(op, "every") ? index_of(weir_every_names, 4, text(op, "every")) : 0,
		.tenant = (uint32_t)number(op, "tenant"),
		.wallet = (uint32_t)number(op, "tenant"),
		.amount_nano = number(op, "amount"),
		.effective_ns = (uint64_t)number(op, "effective"),
		.expires_ns = (uint64_t)number(op, "expires"),
		.of = (uint64_t)number(op, "of"),
		.roll_min_nano = number(op, "roll_min"),
		.roll_max_nano = number(op, "roll_max"),
		.overage_nano = number(op, "overage"),
		.flags = (flag(op, "as_grant") ? WEIR_OP_AS_GRANT : 0) |
			 (flag(op, "allow_debt") ? WEIR_OP_ALLOW_DEBT : 0) |
			 (flag(op, "schedule") ? WEIR_OP_SCHEDULE : 0),
		.actor = "model",
	};

	copy(o.zone, sizeof(o.zone), text(op, "zone"));
	copy(o.key, sizeof(o.key), text(op, "key"));
	if (o.kind == WEIR_ENTRY_METER)
		fill_meter(&o, op);
	else if (!o.effective_ns)
		o.flags |= WEIR_OP_NOW;
	return weir_ledger_post(d.ledger, &o, (uint64_t)number(op, "now"), done, err);
}

static void verify(void)
{
	struct weir_error err = { "" };
	struct weir_verify v = { 0 };
	char said[sizeof(v.wrong) + sizeof(err.text) + 64];
	int ret = weir_reader_verify(d.reader, &v, &err);

	snprintf(said, sizeof(said), "entry %" PRIu64 ": %s%s", v.wrong_seq, v.wrong, err.text);
	print_result(ret, said);
}

static void boundary(const json_t *op)
{
	uint64_t next = 0;

	must(weir_calendar_next(index_of(weir_every_names, 4, text(op, "every")), text(op, "zone"),
				(uint64_t)number(op, "after"), &next),
	     "a boundary", NULL);
	printf("{\"next\":%" PRIu64 "}\n", next);
}

static void step(const json_t *op)
{
	const char *what = text(op, "op");
	struct weir_error err = { "" };
	struct weir_done done = { 0 };
	size_t known = 0;
	int ret;

	if (!strcmp(what, "begin")) {
		begin(op);
		return;
	}
	if (!strcmp(what, "boundary")) {
		boundary(op);
		return;
	}
	if (!strcmp(what, "append")) {
		ret = append(op, &known, &err);
		print_result(ret, err.text);
		printf("\"known\":%zu,", known);
	} else if (!strcmp(what, "post")) {
		ret = post(op, &done, &err);
		print_result(ret, err.text);
		if (!ret)
			printf("\"seq\":%" PRIu64 ",\"repeated\":%s,\"moved\":%" PRId64
			       ",\"balance\":%" PRId64 ",",
			       done.seq, done.repeated ? "true" : "false", done.amount_nano,
			       done.balance_nano);
	} else if (!strcmp(what, "advance")) {
		ret = weir_ledger_advance(d.ledger, (uint64_t)number(op, "now"), &err);
		print_result(ret, err.text);
	} else if (!strcmp(what, "threshold")) {
		ret = weir_ledger_threshold(d.ledger, (uint32_t)number(op, "wallet"),
					    number(op, "below"), number(op, "ask"));
		print_result(ret, "");
	} else if (!strcmp(what, "reopen")) {
		close_ledger();
		open_ledger();
		printf("{\"error\":null,");
	} else if (!strcmp(what, "rebuild")) {
		ret = weir_ledger_rebuild(d.ledger, &err);
		print_result(ret, err.text);
	} else if (!strcmp(what, "verify")) {
		verify();
	} else if (!strcmp(what, "state")) {
		printf("{\"error\":null,");
		print_state(op);
		puts("}");
		return;
	} else {
		must(-EINVAL, what, NULL);
	}
	print_new_entries();
	puts("}");
}

int main(int argc, char **argv)
{
	size_t cap = 0;
	char *line = NULL;

	if (argc != 2) {
		fprintf(stderr, "usage: driver FOLDER\n");
		return 2;
	}
	snprintf(d.path, sizeof(d.path), "%s/weir.db", argv[1]);
	snprintf(d.fresh, sizeof(d.fresh), "%s/fresh.db", argv[1]);
	weir_log_max(WEIR_ERR);
	/* An empty line: what was said so far is wanted. */
	while (getline(&line, &cap, stdin) > 0) {
		json_error_t je;
		json_t *op;

		if (line[0] == '\n') {
			fflush(stdout);
			continue;
		}
		op = json_loads(line, 0, &je);
		must(op ? 0 : -EINVAL, je.text, NULL);
		step(op);
		json_decref(op);
	}
	close_ledger();
	free(line);
	return 0;
}
