/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of the kernel's `tenants`: limits from the policy as flags, intervals and
 * depths. A limit that changes while traffic runs keeps what is used of it, in units;
 * one that appears starts full; one that goes is forgotten (bpf/limits.md, 15).
 *
 * Nobody else may write limits at the same time, and nobody may settle.
 */
#ifndef WEIR_ENFORCE_LIMITS_H
#define WEIR_ENFORCE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "policy.h"
#include "price.h"

/* Put l in force. wallet: the number of the entry that pays. price: NULL is none.
 * Leaves alone what is not a limit: rules, parent, scopes, a suspension, what is used. */
void weir_limits_store(struct weir_tenant *t, uint32_t wallet, const struct weir_limits *l,
		       const struct weir_reserve_price *price, uint64_t now_ns);

/* Nothing is limited any more, and nobody is above. A suspension stays. */
void weir_limits_clear(struct weir_tenant *t);

/*
 * The theoretical arrival time that stands for as many units at the new interval as tat
 * does at the old one: new_interval : old_interval as num : den, den > 0. Rounded up, so
 * that a change forgives nothing; at most 73 years from now.
 */
uint64_t weir_tat_rescaled(uint64_t tat_ns, uint64_t now_ns, uint64_t num, uint64_t den);

#endif
