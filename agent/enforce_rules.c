/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entry of `rules` holds what, and who points to it. The map itself says what
 * an entry holds; here is only the count of its users, so that a new agent can make
 * the same picture from what it finds.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "enforce_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 4096 /* of the index: twice what can be entered in one go */

_Static_assert(SLOTS >= 4 * WEIR_RULES_MAX && (SLOTS & (SLOTS - 1)) == 0, "slots are masked");

struct weir_rules_table {
	struct weir_kernel *kernel;
	struct {
		uint32_t users;	   /* tenants that point to it */
		uint64_t freed_ns; /* when the last one left it; 0: nobody ever pointed */
	} entry[WEIR_RULES_MAX];
};

static const struct weir_rules none;

static bool same(const struct weir_rules *a, const struct weir_rules *b)
{
	return !memcmp(a, b, sizeof(*a));
}

int weir_rules_new(struct weir_kernel *k, uint64_t now_ns, struct weir_rules_table **out,
		   struct weir_error *err)
{
	struct weir_rules_table *t = calloc(1, sizeof(*t));
	bool found = false;

	if (!t)
		return weir_fail(err, ENOMEM, "out of memory");
	t->kernel = k;
	for (uint32_t e = 1; e < WEIR_RULES_MAX; e++) {
		if (same(&k->rules[e], &none))
			continue;
		/* A connection of before may be in the midst of a body. */
		t->entry[e].freed_ns = now_ns;
		found = true;
	}
	for (uint32_t i = 0; found && i < k->max_tenants; i++)
		if (k->tenants[i].rules && k->tenants[i].rules < WEIR_RULES_MAX)
			t->entry[k->tenants[i].rules].users++;
	*out = t;
	return 0;
}

void weir_rules_free(struct weir_rules_table *t)
{
	free(t);
}

/* What the kernel writes over a value: the text, then blanks. */
__attribute__((format(printf, 2, 3))) static void write_over(char out[WEIR_EDIT_MAX],
							     const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(out, WEIR_EDIT_MAX, format, args);
	va_end(args);
	assert(n > 0 && n < WEIR_EDIT_MAX);
	memset(out + n, ' ', (size_t)(WEIR_EDIT_MAX - n));
}

/* The same rules are the same bytes: what has no effect is left zero. */
static struct weir_rules rules_of(const struct weir_limits *l)
{
	struct weir_rules r = {
		.max_input_tokens = l->max_input_tokens,
		.max_output_tokens = l->max_output_tokens,
	};

	if (l->max_output_tokens && l->refuse_output)
		r.flags |= WEIR_RULE_REFUSE_OUTPUT;
	if (l->max_output_tokens)
		write_over(r.tokens_text, "%u", l->max_output_tokens);
	if (l->degrade) {
		r.flags |= WEIR_RULE_DEGRADE;
		r.fallback_len = (uint32_t)strnlen(l->fallback_model, sizeof(l->fallback_model));
		memcpy(r.fallback_model, l->fallback_model, r.fallback_len);
		write_over(r.model_text, "%s\"", l->fallback_model);
	}
	return r;
}

/* One call of weir_rules_place. */
struct plan {
	const struct weir_rules *rules; /* the map */
	uint16_t slot[SLOTS];		/* an entry's number by its content's hash; 0: none */
	bool wanted[WEIR_RULES_MAX];
	size_t distinct;
};

static size_t first_slot(const struct weir_rules *r)
{
	const uint8_t *b = (const uint8_t *)r;
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (size_t i = 0; i < sizeof(*r); i++)
		h = (h ^ b[i]) * UINT64_C(1099511628211);
	return (h ^ h >> 32) & (SLOTS - 1);
}

static void enter(struct plan *p, uint32_t entry)
{
	size_t at = first_slot(&p->rules[entry]);

	while (p->slot[at])
		at = (at + 1) & (SLOTS - 1);
	p->slot[at] = (uint16_t)entry;
}

/* 0: no entry holds r. A slot whose entry was written over since is passed by. */
static uint32_t find(const struct plan *p, const struct weir_rules *r)
{
	for (size_t at = first_slot(r); p->slot[at]; at = (at + 1) & (SLOTS - 1))
		if (same(&p->rules[p->slot[at]], r))
			return p->slot[at];
	return 0;
}

static void want(struct plan *p, uint32_t entry)
{
	p->distinct += !p->wanted[entry];
	p->wanted[entry] = true;
}

/* Of the entries that nobody needs any more the one longest out of use. 0: none. */
static uint32_t spare(const struct weir_rules_table *t, const struct plan *p, uint64_t now_ns)
{
	uint32_t best = 0;

	for (uint32_t e = 1; e < WEIR_RULES_MAX; e++) {
		uint64_t freed = t->entry[e].freed_ns;

		if (t->entry[e].users || p->wanted[e] ||
		    (freed && now_ns - freed < WEIR_RULES_REST_NS))
			continue;
		if (!best || freed < t->entry[best].freed_ns)
			best = e;
	}
	return best;
}

static int no_room(const struct plan *p, struct weir_error *err)
{
	static const char fields[] = "\"max_input_tokens\", \"max_output_tokens\", "
				     "\"on_max_output\" and \"fallback_model\"";

	if (p->distinct == WEIR_RULES_MAX - 1)
		return weir_fail(err, ENOSPC,
				 "policy: more than %d different sets of %s among all tenants",
				 WEIR_RULES_MAX - 1, fields);
	return weir_fail(err, ENOSPC,
			 "policy: no room for so many new sets of %s beside those in force or just "
			 "replaced, %d in all; change them in steps, ten minutes apart",
			 fields, WEIR_RULES_MAX - 1);
}

int weir_rules_place(struct weir_rules_table *t, const struct weir_policy *p, uint64_t now_ns,
		     uint32_t *entries, struct weir_error *err)
{
	weir_autofree struct plan *plan = calloc(1, sizeof(*plan));
	struct weir_rules *map = t->kernel->rules;

	if (!plan)
		return weir_fail(err, ENOMEM, "out of memory");
	plan->rules = map;
	for (uint32_t e = 1; e < WEIR_RULES_MAX; e++)
		if (!same(&map[e], &none))
			enter(plan, e);
	/* What is there already is kept before room is made for what is new. */
	for (size_t i = 0; i < p->n_tenants; i++) {
		struct weir_rules r = rules_of(&p->tenants[i].limits);

		entries[i] = same(&r, &none) ? 0 : find(plan, &r);
		if (entries[i])
			want(plan, entries[i]);
	}
	for (size_t i = 0; i < p->n_tenants; i++) {
		struct weir_rules r = rules_of(&p->tenants[i].limits);

		if (entries[i] || same(&r, &none))
			continue;
		entries[i] = find(plan, &r); /* another tenant's, of this loop */
		if (!entries[i]) {
			entries[i] = spare(t, plan, now_ns);
			if (!entries[i])
				return no_room(plan, err);
			map[entries[i]] = r;
			t->entry[entries[i]].freed_ns = 0;
			enter(plan, entries[i]);
		}
		want(plan, entries[i]);
	}
	return 0;
}

void weir_rules_point(struct weir_rules_table *t, struct weir_tenant *tenant, uint32_t entry,
		      uint64_t now_ns)
{
	uint32_t old = tenant->rules;

	if (old == entry)
		return;
	if (entry)
		t->entry[entry].users++;
	/* What the entry says was stored before. */
	__atomic_store_n(&tenant->rules, (uint16_t)entry, __ATOMIC_RELEASE);
	if (old && old < WEIR_RULES_MAX && !--t->entry[old].users)
		t->entry[old].freed_ns = now_ns;
}
