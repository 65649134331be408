/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The projections of the log, in memory: what each tenant used, what each
 * wallet owes, what is left of each grant; and the rule by which a charge burns
 * grants. Pure: no database, no clock. The ledger keeps one in step with what
 * it commits; verify builds a second one from the log and compares.
 */
#ifndef WEIR_LEDGER_ACCOUNTS_H
#define WEIR_LEDGER_ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ledger_encode.h"

/* Tenant numbers are array indexes; past this one is taken for garbage. */
#define WEIR_ACCOUNT_MAX (1u << 20)

/* Sums stop at INT64_MAX instead of wrapping; debt never gets that far. */
struct weir_figures {
	int64_t debt; /* nano, >= 0 */
	int64_t requests, estimated, partial;
	struct weir_usage tokens;
	int64_t price, cost; /* nano */
};

/* A grant as far as burning needs it. */
struct weir_credit_lot {
	uint64_t seq;
	uint64_t effective_ns, expires_ns, created_ns; /* wall; expires 0: never */
	int64_t amount, remaining;
	uint8_t priority, source;
	bool dirty; /* in the open transaction */
};

struct weir_account {
	struct weir_figures f;
	struct weir_credit_lot *lots; /* in burn order; used-up ones are dropped at commit */
	uint32_t n_lots, cap_lots;
	bool dirty;
};

/* What the open transaction touched first, with the figures from before. */
struct weir_undo_account {
	uint32_t index;
	struct weir_figures f;
};
struct weir_undo_lot {
	uint32_t index;
	uint64_t seq;
	int64_t remaining; /* -1: it was not there */
};

struct weir_accounts {
	struct weir_account *v; /* by tenant number */
	size_t n;
	struct weir_undo_account *accounts;
	size_t n_accounts, cap_accounts;
	struct weir_undo_lot *lots;
	size_t n_lots, cap_lots;
};

void weir_accounts_clear(struct weir_accounts *a);

/* Planning says what an entry will do to the wallet at ledger time time_ns and
 * fills h->amount, before, after and the posting; nothing is changed yet. Then
 * applying changes it, and cannot fail on what was just planned.
 *
 * 0; -ENOMEM; -ERANGE: tenant number past the limit, negative price, or the
 * debt (of a grant: the wallet's credit) would not fit. A row that is not
 * WEIR_ROW_POSTED touches no wallet and never is -ERANGE. */
int weir_accounts_plan_usage(struct weir_accounts *a, const struct weir_row *row, uint64_t time_ns,
			     struct weir_entry_head *h, struct weir_posting *post);
int weir_accounts_plan_grant(struct weir_accounts *a, const struct weir_grant *g, uint64_t time_ns,
			     struct weir_entry_head *h, struct weir_posting *post);

/* -EBADMSG: burns what is not there (a log that was tampered with). */
int weir_accounts_apply_usage(struct weir_accounts *a, const struct weir_row *row,
			      const struct weir_posting *post);
int weir_accounts_apply_grant(struct weir_accounts *a, const struct weir_grant *g,
			      const struct weir_entry_head *h, const struct weir_posting *post);

/* A grant as a checkpoint has it. */
int weir_accounts_load_lot(struct weir_accounts *a, uint32_t wallet,
			   const struct weir_credit_lot *lot);

/* NULL: nothing known of it. make: so that it exists; NULL is then -ENOMEM or
 * past the limit. */
struct weir_account *weir_accounts_get(struct weir_accounts *a, uint32_t index, bool make);
struct weir_credit_lot *weir_account_lot(struct weir_account *acc, uint64_t seq);

/* Σ remaining of grants effective and not expired at now_ns, minus debt. */
int64_t weir_accounts_balance(const struct weir_accounts *a, uint32_t index, uint64_t now_ns);

/* The transaction is durable, or never happened. */
void weir_accounts_commit(struct weir_accounts *a);
void weir_accounts_rollback(struct weir_accounts *a);

/* Burn order of two lots: < 0, 0, > 0. */
int weir_lot_compare(const struct weir_credit_lot *x, const struct weir_credit_lot *y);
void weir_lot_from_grant(struct weir_credit_lot *lot, const struct weir_grant *g, uint64_t seq,
			 uint64_t created_ns);

#endif
