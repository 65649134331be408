/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `price` that look at rate cards: those of the policy files, and those that the
 * database keeps of what was once in force. What something would cost is control_estimate.c's.
 */
#include "control_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"
#include "policy.h"
#include "price.h"
#include "unpriced.h"

/* --------------------------------------------------------------------- what there is */

enum state { IN_FORCE, TO_COME, REPLACED, NOT_IN_FILES };
static const char *const state_names[] = { "in_force", "to_come", "replaced", "not_in_files" };

/* Of a name the latest version that has begun is in force (ledger.md, 16). */
static enum state state_of(const struct weir_policy *p, const struct weir_card *c, uint64_t now_ns)
{
	if (c->effective_from_ns > now_ns)
		return TO_COME;
	for (size_t i = 0; i < p->n_cards; i++) {
		const struct weir_card *other = p->cards[i];

		if (!strcmp(other->name, c->name) && other->effective_from_ns <= now_ns &&
		    other->effective_from_ns > c->effective_from_ns)
			return REPLACED;
	}
	return IN_FORCE;
}

static bool in_files(const struct weir_policy *p, const struct weir_card *c)
{
	for (size_t i = 0; i < p->n_cards; i++) {
		if (!memcmp(p->cards[i]->sha256, c->sha256, sizeof(c->sha256)))
			return true;
	}
	return false;
}

static json_t *scope_json(const struct weir_card *c)
{
	json_t *names = json_array();

	for (const char *const *n = c->scope_names; n && *n; n++)
		json_array_append_new(names, json_string(*n));
	return names;
}

static json_t *optional_money(bool there, int64_t nano)
{
	return there ? weir_json_money(nano) : json_null();
}

static json_t *card_json(const struct weir_card *c, enum state state)
{
	static const char *const scopes[] = {
		[WEIR_SCOPE_ALL] = "all",
		[WEIR_SCOPE_SERVICE] = "service",
		[WEIR_SCOPE_TIER] = "tier",
		[WEIR_SCOPE_TENANT] = "tenant",
	};
	bool floored = c->margin_floor_milli != INT64_MIN;
	char hash[2 * sizeof(c->sha256) + 1];

	weir_hex(c->sha256, sizeof(c->sha256), hash);
	return json_pack(
		"{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:s}", "name", c->name, "version",
		c->version, "state", state_names[state], "scope", scopes[c->scope], "for",
		scope_json(c), "effective_from", weir_json_time(c->effective_from_ns), "entries",
		weir_json_count(c->n_entries), "currency",
		c->currency[0] ? json_string(c->currency) : json_null(), "credit_price",
		optional_money(c->credit_price_nano, c->credit_price_nano), "margin_floor",
		optional_money(floored, floored ? c->margin_floor_milli * (WEIR_NANO / 1000) : 0),
		"sha256", hash);
}

int weir_do_price_list(struct weir_call *c, struct weir_error *err)
{
	struct weir_reader *reader = weir_call_reader(c, err);
	uint64_t now_ns = weir_wall_ns();
	const struct weir_card *card;
	struct weir_policy *p;
	json_t *rows;

	if (!reader)
		return -EIO;
	p = c->view->policy(c->view->ctx);
	rows = json_array();
	for (size_t i = 0; i < p->n_cards; i++)
		json_array_append_new(rows,
				      card_json(p->cards[i], state_of(p, p->cards[i], now_ns)));
	/* Cards are never deleted: their numbers have no gaps. */
	for (uint32_t id = 1; (card = weir_reader_card(reader, id)); id++) {
		if (!in_files(p, card))
			json_array_append_new(rows, card_json(card, NOT_IN_FILES));
	}
	weir_policy_unref(p);
	return weir_call_result(c, rows);
}

/* ----------------------------------------------------------------------- one of them */

static bool is_it(const struct weir_card *c, const char *name, size_t n, const char *version)
{
	return strlen(c->name) == n && !strncmp(c->name, name, n) &&
	       (!version || !strcmp(c->version, version));
}

/* The one in force, else the next to come, else the newest that was. */
static const struct weir_card *find_card(const struct weir_policy *p, struct weir_reader *reader,
					 const char *name, size_t n, const char *version,
					 enum state *state)
{
	uint64_t now_ns = weir_wall_ns();
	const struct weir_card *card, *best = NULL;
	enum state s;

	for (size_t i = 0; i < p->n_cards; i++) {
		if (!is_it(p->cards[i], name, n, version))
			continue;
		s = state_of(p, p->cards[i], now_ns);
		if (!best || s < *state) {
			best = p->cards[i];
			*state = s;
		}
	}
	for (uint32_t id = 1; !best && (card = weir_reader_card(reader, id)); id++) {
		if (!is_it(card, name, n, version))
			continue;
		/* The last one with that name is what we want, and it may be this. */
		for (uint32_t next = id + 1; !version; next++) {
			const struct weir_card *later = weir_reader_card(reader, next);

			if (!later)
				break;
			if (is_it(later, name, n, version))
				card = later;
		}
		best = card;
		*state = NOT_IN_FILES;
	}
	return best;
}

static json_t *entries_json(const struct weir_card *c)
{
	json_t *entries = json_array();

	for (size_t rank = 0; rank < c->n_entries; rank++) {
		uint32_t entry = weir_card_entry_at(c, rank);

		json_array_append_new(entries, json_pack("{s:i,s:s}", "entry", (int)entry, "key",
							 weir_card_entry_key(c, entry)));
	}
	return entries;
}

int weir_do_price_show(struct weir_call *c, struct weir_error *err)
{
	const char *wanted = NULL, *slash;
	struct weir_reader *reader;
	const struct weir_card *card;
	enum state state = NOT_IN_FILES;
	struct weir_policy *p;
	json_t *row = NULL;
	int r = weir_call_string(c, "card", 2 * WEIR_NAME_BYTES, &wanted, err);

	if (r)
		return r;
	if (!wanted)
		return weir_fail(err, EINVAL, "request: \"card\" is missing");
	reader = weir_call_reader(c, err);
	if (!reader)
		return -EIO;
	p = c->view->policy(c->view->ctx);
	slash = strchr(wanted, '/');
	card = find_card(p, reader, wanted, slash ? (size_t)(slash - wanted) : strlen(wanted),
			 slash ? slash + 1 : NULL, &state);
	if (card) {
		row = card_json(card, state);
		json_object_set_new(row, "card", json_loads(card->json, 0, NULL));
		json_object_set_new(row, "entries", entries_json(card));
	} else {
		r = weir_fail(err, ENOENT,
			      "rate card \"%s\": there is none, neither in force nor in the past; "
			      "see price list",
			      wanted);
	}
	weir_policy_unref(p);
	return r ? r : weir_call_result(c, row);
}

/* -------------------------------------------------------------------------- unpriced */

struct unpriced_walk {
	struct weir_call *c;
	const struct weir_policy *policy;
	uint64_t now_ns;
	json_t *rows;
};

static int unpriced_row(const struct weir_unpriced *u, void *ctx)
{
	struct unpriced_walk *w = ctx;
	const struct weir_agent_view *v = w->c->view;
	const char *service = weir_unpriced_service(v->services, v->n_services, u->service);
	struct weir_unpriced_what of;
	json_t *row;

	if (weir_unpriced_is_priced(w->policy, u->what, service, w->now_ns))
		return 0;
	weir_unpriced_split(u->what, &of);
	row = json_pack("{s:s,s:s*,s:o,s:s*,s:o,s:o,s:o}", "kind", of.meter[0] ? "meter" : "model",
			"meter", of.meter[0] ? of.meter : NULL, "model", weir_json_text(of.model),
			"service", service, "count", json_integer(u->count), "first",
			weir_json_time(u->first_ns), "last", weir_json_time(u->last_ns));
	return json_array_append_new(w->rows, row) ? -ENOMEM : 0;
}

int weir_do_price_unpriced(struct weir_call *c, struct weir_error *err)
{
	struct unpriced_walk w = { .c = c, .now_ns = weir_wall_ns() };
	struct weir_reader *reader = weir_call_reader(c, err);
	struct weir_policy *p;
	int r;

	if (!reader)
		return -EIO;
	w.policy = p = c->view->policy(c->view->ctx);
	w.rows = json_array();
	r = weir_reader_unpriced(reader, unpriced_row, &w, err);
	weir_policy_unref(p);
	if (r) {
		json_decref(w.rows);
		return r;
	}
	return weir_call_result(c, w.rows);
}
