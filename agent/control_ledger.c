/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `ledger`: entries and their proof. Each client has its own reader.
 */
#include "control_call.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "entry_json.h"
#include "entry_out.h"

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
