// SPDX-License-Identifier: Apache-2.0
/*
 * What kinds of entries and sources of credit are called, wherever one reads or writes them.
 */
#include "agent/ledger_entry.h"

const char *const weir_entry_kind_names[WEIR_ENTRY_KIND_MAX] = {
	[0] = "",
	[WEIR_ENTRY_USAGE] = "usage",
	[WEIR_ENTRY_GRANT] = "grant",
	[WEIR_ENTRY_VOID] = "void",
	[WEIR_ENTRY_REFUND] = "refund",
	[WEIR_ENTRY_ADJUST] = "adjust",
	[WEIR_ENTRY_EXPIRE] = "expire",
	[WEIR_ENTRY_ACTIVATE] = "activate",
	[WEIR_ENTRY_DEDUCT] = "deduct",
	[WEIR_ENTRY_METER] = "meter",
	[WEIR_ENTRY_SCHEDULE] = "schedule",
	[WEIR_ENTRY_RECUR] = "recur",
	[WEIR_ENTRY_TRUE_UP] = "true_up",
	[WEIR_ENTRY_TOP_UP] = "top_up",
};

const char *const weir_grant_source_names[WEIR_GRANT_SOURCE_MAX + 1] = {
	[WEIR_GRANT_PAID] = "paid",	[WEIR_GRANT_PROMO] = "promo",
	[WEIR_GRANT_TRIAL] = "trial",	[WEIR_GRANT_ADJUST] = "adjust",
	[WEIR_GRANT_REFUND] = "refund", [WEIR_GRANT_TRUE_UP] = "true_up",
};
