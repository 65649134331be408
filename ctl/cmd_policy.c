/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl policy: check reads the folder itself, by the agent's own reader, so
 * that it works before there is an agent.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/policy.h"
#include "ctl.h"

#define DEFAULT_DIR "/etc/weir/policies"

int ctl_policy_check(struct ctl *c)
{
	const char *dir = c->n_args ? c->args[0] : DEFAULT_DIR;
	struct weir_policy *p = NULL;
	struct weir_error err = { "" };
	int r = weir_policy_load(dir, &p, &err);

	if (r)
		return ctl_fail(CTL_REFUSED, "%s", err.text[0] ? err.text : strerror(-r));
	if (c->json)
		printf("{\"ok\":true,\"tiers\":%zu,\"tenants\":%zu,\"rate_cards\":%zu}\n",
		       p->n_tiers, p->n_tenants, p->n_cards);
	else
		printf("%s: good: %zu tiers, %zu tenants, %zu rate cards\n", dir, p->n_tiers,
		       p->n_tenants, p->n_cards);
	weir_policy_unref(p);
	return CTL_DONE;
}

static int show_applied(struct ctl *c, const json_t *r)
{
	char dir[CTL_CELL];

	printf("%s is in force: %" PRId64 " tiers, %" PRId64 " tenants, %" PRId64 " rate cards\n",
	       ctl_text(r, "dir", dir), ctl_int(r, "tiers"), ctl_int(r, "tenants"),
	       ctl_int(r, "rate_cards"));
	return CTL_DONE;
}

int ctl_policy_apply(struct ctl *c)
{
	/* The agent has another working folder. */
	weir_autofree char *dir = c->n_args ? realpath(c->args[0], NULL) : NULL;
	json_t *o;

	if (c->n_args && !dir)
		return ctl_fail(CTL_REFUSED, "%s: %s", c->args[0], strerror(errno));
	o = ctl_op(c, "policy.apply");
	ctl_set(o, "dir", dir);
	return ctl_show(c, o, show_applied);
}

static int show_document(struct ctl *c, const json_t *doc)
{
	if (json_dumpf(doc, stdout, JSON_INDENT(2)) || putchar('\n') == EOF)
		return ctl_fail(CTL_REFUSED, "cannot write: %s", strerror(errno));
	return CTL_DONE;
}

int ctl_policy_show(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "policy.show"), show_document);
}
