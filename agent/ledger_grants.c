// SPDX-License-Identifier: Apache-2.0
/*
 * Credit that is granted. A grant is asked for under a key; asking again finds
 * the first one, so that a client that lost the answer can repeat.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/money.h"
#include "agent/store.h"

int weir_ledger_put_credit(struct weir_ledger *l, const struct weir_entry_head *h,
			   const struct weir_grant *g, int64_t remaining, struct weir_error *err)
{
	int ret = 0;

	sqlite3_bind_int64(l->put_credit, 1, (sqlite3_int64)h->seq);
	sqlite3_bind_text(l->put_credit, 2, g->key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(l->put_credit, 3, g->tenant);
	sqlite3_bind_int64(l->put_credit, 4, g->amount_nano);
	sqlite3_bind_int64(l->put_credit, 5, remaining);
	if (sqlite3_step(l->put_credit) != SQLITE_DONE)
		ret = weir_store_fail(l->db, err, "writing a grant");
	sqlite3_reset(l->put_credit);
	return ret;
}

/* Whoever asks a second time may be somebody else: the actor does not count. */
static bool same_content(const struct weir_grant *x, bool x_now, const struct weir_grant *y)
{
	uint64_t x_asked = x_now ? 0 : x->effective_ns;

	return x->tenant == y->tenant && x->amount_nano == y->amount_nano &&
	       x->source == y->source && x->priority == y->priority && x_asked == y->effective_ns &&
	       x->expires_ns == y->expires_ns && !strncmp(x->reason, y->reason, sizeof(x->reason));
}

/* The grant made under that key before: 1 and *seq, 0 if none, or an error. */
static int find_earlier(struct weir_ledger *l, const struct weir_grant *g, uint64_t *seq,
			struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_entry_row r;
	struct weir_grant was;
	bool now;
	int rc;

	if (sqlite3_prepare_v2(l->db,
			       "SELECT " WEIR_ENTRY_COLUMNS
			       " FROM entry WHERE seq = (SELECT seq FROM credit WHERE key = ?)",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "looking up a grant");
	sqlite3_bind_text(st, 1, g->key, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return weir_store_fail(l->db, err, "looking up a grant");
	if (weir_entry_row_read(st, &r) ||
	    weir_decode_grant(&r.head, r.body, r.n_body, &was, &now, &l->post))
		return weir_fail(err, EBADMSG, "ledger: the grant with id \"%s\" is damaged",
				 g->key);
	if (!same_content(&was, now, g))
		return weir_fail(err, EEXIST,
				 "id \"%s\" was used for another grant (entry %" PRIu64
				 "); repeat it unchanged, or take another id",
				 g->key, r.head.seq);
	*seq = r.head.seq;
	return 1;
}

static int check(struct weir_ledger *l, const struct weir_grant *g, uint64_t now_ns,
		 struct weir_error *err)
{
	if (!g->key[0] || !memchr(g->key, 0, sizeof(g->key)) ||
	    !memchr(g->reason, 0, sizeof(g->reason)) || !memchr(g->actor, 0, sizeof(g->actor)))
		return weir_fail(err, EINVAL, "grant: its id is empty, or a text too long");
	if (!weir_ledger_tenant_name(l, g->tenant))
		return weir_fail(err, ENOENT, "grant \"%s\": no such tenant", g->key);
	if (g->amount_nano <= 0)
		return weir_fail(err, EINVAL, "grant \"%s\": the amount must be above 0", g->key);
	if (g->source > WEIR_GRANT_TRIAL)
		return weir_fail(err, EINVAL, "grant \"%s\": no such source", g->key);
	/* Table `entry` keeps times as signed numbers. */
	if (g->effective_ns > INT64_MAX || g->expires_ns > INT64_MAX)
		return weir_fail(err, EINVAL, "grant \"%s\": a time past the year 2262", g->key);
	if (g->expires_ns && (g->expires_ns <= g->effective_ns || g->expires_ns <= now_ns))
		return weir_fail(err, EINVAL, "grant \"%s\": expired before it is effective",
				 g->key);
	return 0;
}

/* Time first, so that ids sort; the rest comes from the key. */
static int make_id(struct weir_ledger *l, const struct weir_grant *g, uint64_t time_ns,
		   struct weir_id *id)
{
	uint8_t hash[EVP_MAX_MD_SIZE];

	if (EVP_Digest(g->key, strlen(g->key), hash, NULL, l->chain.sha256, NULL) != 1)
		return -EIO;
	for (int i = 0; i < 8; i++)
		id->b[i] = (uint8_t)(time_ns >> (56 - 8 * i));
	memcpy(id->b + 8, hash, 8);
	return 0;
}

static int put_grant(struct weir_ledger *l, const struct weir_grant *g, bool now,
		     struct weir_entry_head *h, struct weir_error *err)
{
	int ret;

	ret = weir_accounts_plan_grant(&l->accounts, g, h->time_ns, h, &l->post);
	if (ret == -ERANGE)
		return weir_fail(err, ERANGE,
				 "grant \"%s\": more credit than a wallet can hold (9223372036)",
				 g->key);
	l->body.len = 0;
	if (!ret)
		ret = make_id(l, g, h->time_ns, &h->id);
	if (!ret)
		ret = weir_encode_grant(&l->body, g, now, &l->post);
	if (ret)
		return weir_fail(err, -ret, "grant \"%s\": out of memory", g->key);
	ret = weir_ledger_put(l, h, err);
	if (ret == -EEXIST)
		return weir_fail(err, EEXIST, "grant \"%s\": its entry's id is taken", g->key);
	if (!ret)
		ret = weir_ledger_put_credit(l, h, g, g->amount_nano + l->post.debt_nano, err);
	if (ret)
		return ret;
	ret = weir_accounts_apply_grant(&l->accounts, g, h, &l->post);
	if (ret == -ENOMEM)
		return weir_fail(err, ENOMEM, "grant \"%s\": out of memory", g->key);
	assert(!ret);
	assert(weir_accounts_balance(&l->accounts, g->tenant, h->time_ns) == h->after_nano);
	return 0;
}

int weir_ledger_grant(struct weir_ledger *l, const struct weir_grant *g, uint64_t *seq,
		      bool *repeated, struct weir_error *err)
{
	uint64_t now = weir_wall_ns(), earlier = 0;
	struct weir_entry_head h = {
		.kind = WEIR_ENTRY_GRANT,
		.tenant = g->tenant,
		.wallet = g->tenant,
		.time_ns = now > l->tip.time_ns ? now : l->tip.time_ns,
	};
	struct weir_grant at = *g;
	int ret;

	/* Earlier first: what expired meanwhile was made all the same. */
	if (g->key[0] && memchr(g->key, 0, sizeof(g->key))) {
		ret = find_earlier(l, g, &earlier, err);
		if (ret < 0)
			return ret;
		if (ret) {
			*seq = earlier;
			if (repeated)
				*repeated = true;
			return 0;
		}
	}
	/* By the wall clock, should ledger time be ahead of it: it counts at once. */
	if (!at.effective_ns)
		at.effective_ns = now;
	ret = check(l, &at, now, err);
	if (ret)
		return ret;
	ret = weir_ledger_begin(l, err);
	if (ret)
		return ret;
	ret = weir_ledger_end(l, put_grant(l, &at, !g->effective_ns, &h, err), err);
	if (ret)
		return ret;
	*seq = h.seq;
	if (repeated)
		*repeated = false;
	return 0;
}
