/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `policy`: what is in force, and putting another in force.
 */
#include "control_call.h"

#include <errno.h>

int weir_do_policy_show(struct weir_call *c, struct weir_error *err)
{
	struct weir_policy *p = c->view->policy(c->view->ctx);
	json_t *doc = json_loads(p->json, 0, NULL);

	weir_policy_unref(p);
	return doc ? weir_call_result(c, doc)
		   : weir_fail(err, EIO, "policy: the document in force cannot be shown");
}

int weir_do_policy_apply(struct weir_call *c, struct weir_error *err)
{
	const char *dir = c->view->policy_dir, *id = NULL;
	struct weir_policy *p;
	int r = weir_call_string(c, "dir", 4095, &dir, err);

	if (!r)
		r = weir_call_string(c, "id", 63, &id, err);
	if (r)
		return r;
	/* The agent's working folder is not the caller's. */
	if (dir[0] != '/')
		return weir_fail(err, EINVAL, "request: dir: \"%.200s\" is not an absolute path",
				 dir);
	r = c->view->reload(c->view->ctx, dir, err);
	if (r)
		return r;
	weir_log(WEIR_NOTE, "policy: %s put in force by %s", dir, c->actor);
	p = c->view->policy(c->view->ctx);
	r = weir_call_result(c, json_pack("{s:o,s:o,s:o,s:o}", "dir", weir_json_text(dir), "tiers",
					  weir_json_count(p->n_tiers), "tenants",
					  weir_json_count(p->n_tenants), "rate_cards",
					  weir_json_count(p->n_cards)));
	weir_policy_unref(p);
	return r;
}
