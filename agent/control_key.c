/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `key`. A key itself never comes here: the client makes it, and
 * sends its SHA-256 and its first characters. Keys in policy files are listed,
 * but only the files can change them.
 *
 * The ledger knows keys by hash, not by the id of the write that added them, so
 * the last few write ids are remembered here, until the agent ends.
 */
#include "control_call.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writer.h"

#define WRITES_KEPT 256

struct weir_writes {
	pthread_mutex_t lock; /* held from the look-up to the write's end */
	size_t next;
	struct {
		char id[64];
		struct weir_stored_key key;
	} kept[WRITES_KEPT];
};

struct weir_writes *weir_writes_new(void)
{
	struct weir_writes *w = calloc(1, sizeof(*w));

	if (w)
		pthread_mutex_init(&w->lock, NULL);
	return w;
}

void weir_writes_free(struct weir_writes *w)
{
	if (!w)
		return;
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* One key through the writer: add, revoke, or read them all. */
struct key_write {
	struct weir_stored_key *key;
	struct weir_stored_key *all;
	size_t n;
	struct weir_error *err;
};

static int call_add(struct weir_ledger *l, void *arg)
{
	struct key_write *w = arg;

	return weir_ledger_key_add(l, w->key, w->err);
}

static int call_revoke(struct weir_ledger *l, void *arg)
{
	struct key_write *w = arg;

	return weir_ledger_key_revoke(l, w->key->sha256, w->err);
}

static int call_list(struct weir_ledger *l, void *arg)
{
	struct key_write *w = arg;

	return weir_ledger_keys(l, &w->all, &w->n, w->err);
}

/* k NULL: from a policy file, where nothing else is known of it. */
static json_t *key_json(const char *tenant, const uint8_t sha256[static 32],
			const struct weir_stored_key *k)
{
	char hex[65];

	weir_hex(sha256, 32, hex);
	return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:s}", "tenant", tenant, "key",
			 json_sprintf("sha256:%s", hex), "hint", weir_json_text(k ? k->hint : NULL),
			 "created_at", weir_json_time(k ? k->created_ns : 0), "expires_at",
			 weir_json_time(k ? k->expires_ns : 0), "revoked_at",
			 weir_json_time(k ? k->revoked_ns : 0), "origin", k ? "issued" : "policy");
}

static int added(struct weir_call *c, const char *tenant, const struct weir_stored_key *k,
		 bool repeated)
{
	json_t *o = key_json(tenant, k->sha256, k);

	if (o)
		json_object_set_new(o, "repeated", json_boolean(repeated));
	return weir_call_result(c, o);
}

static int add_locked(struct weir_call *c, const char *id, const char *tenant,
		      struct weir_stored_key *k, struct weir_error *err)
{
	struct key_write w = { .key = k, .err = err };
	struct weir_writes *ws = c->writes;
	int r;

	for (size_t i = 0; id && i < WRITES_KEPT; i++) {
		if (strcmp(ws->kept[i].id, id))
			continue;
		if (ws->kept[i].key.tenant != k->tenant ||
		    ws->kept[i].key.expires_ns != k->expires_ns)
			return weir_fail(err, EEXIST,
					 "id \"%s\": was used for another key add; take a new one",
					 id);
		return added(c, tenant, &ws->kept[i].key, true);
	}
	r = weir_writer_call(c->view->writer, call_add, &w);
	if (r)
		return r;
	if (id) {
		snprintf(ws->kept[ws->next].id, sizeof(ws->kept[0].id), "%s", id);
		ws->kept[ws->next].key = *k;
		ws->next = (ws->next + 1) % WRITES_KEPT;
	}
	weir_log(WEIR_NOTE, "key %s… of %s added by %s", k->hint, tenant, c->actor);
	r = c->view->key_changed(c->view->ctx, k, err);
	if (r)
		return r;
	return added(c, tenant, k, false);
}

int weir_do_key_add(struct weir_call *c, struct weir_error *err)
{
	const char *tenant = NULL, *sha = NULL, *hint = NULL, *id = NULL;
	struct weir_stored_key k = { .created_ns = weir_wall_ns() };
	int r = weir_call_tenant(c, false, &tenant, &k.tenant, err);

	if (!r)
		r = weir_call_string(c, "sha256", 64, &sha, err);
	if (!r)
		r = weir_call_string(c, "hint", sizeof(k.hint) - 1, &hint, err);
	if (!r)
		r = weir_call_string(c, "id", 63, &id, err);
	if (!r)
		r = weir_call_time(c, "expires", &k.expires_ns, err);
	if (r)
		return r;
	if (!sha || weir_unhex(sha, k.sha256, sizeof(k.sha256)))
		return weir_fail(err, EINVAL, "request: sha256: 64 hex digits are needed");
	if (k.expires_ns && k.expires_ns <= k.created_ns)
		return weir_fail(err, EINVAL, "request: expires: is in the past");
	snprintf(k.hint, sizeof(k.hint), "%s", hint ? hint : "");
	pthread_mutex_lock(&c->writes->lock);
	r = add_locked(c, id, tenant, &k, err);
	pthread_mutex_unlock(&c->writes->lock);
	return r;
}

int weir_do_key_list(struct weir_call *c, struct weir_error *err)
{
	struct key_write w = { .err = err };
	struct weir_policy *p;
	const char *tenant = NULL;
	uint32_t index = 0;
	int r = weir_call_tenant(c, true, &tenant, &index, err);

	if (!r)
		r = weir_writer_call(c->view->writer, call_list, &w);
	if (r)
		return r;
	p = c->view->policy(c->view->ctx);
	for (size_t i = 0; !r && i < p->n_tenants; i++) {
		const struct weir_tenant_policy *tp = &p->tenants[i];

		for (size_t j = 0; !r && (!tenant || !strcmp(tenant, tp->name)) && j < tp->n_keys;
		     j++)
			r = weir_call_item(c, key_json(tp->name, tp->keys[j], NULL));
	}
	weir_policy_unref(p);
	for (size_t i = 0; !r && i < w.n; i++) {
		char name[WEIR_ENTRY_NAME_BYTES];

		if (tenant && w.all[i].tenant != index)
			continue;
		if (c->view->tenant_name(c->view->ctx, w.all[i].tenant, name))
			snprintf(name, sizeof(name), "~%u", w.all[i].tenant);
		r = weir_call_item(c, key_json(name, w.all[i].sha256, &w.all[i]));
	}
	free(w.all);
	return r;
}

/* `wanted`: at least eight of the hash's first digits, "sha256:" before them or not. */
static bool id_matches(const char *wanted, const uint8_t sha256[static 32])
{
	char hex[65];

	if (!strncmp(wanted, "sha256:", 7))
		wanted += 7;
	weir_hex(sha256, 32, hex);
	return strlen(wanted) >= 8 && !strncmp(hex, wanted, strlen(wanted));
}

static bool in_policy(struct weir_call *c, const char *tenant, const char *wanted)
{
	struct weir_policy *p = c->view->policy(c->view->ctx);
	const struct weir_tenant_policy *tp = weir_policy_tenant(p, tenant);
	bool found = false;

	for (size_t i = 0; tp && i < tp->n_keys; i++)
		found = found || id_matches(wanted, tp->keys[i]);
	weir_policy_unref(p);
	return found;
}

int weir_do_key_revoke(struct weir_call *c, struct weir_error *err)
{
	struct key_write w = { .err = err };
	const char *tenant = NULL, *wanted = NULL, *id = NULL;
	uint32_t index = 0;
	size_t hits = 0;
	int r = weir_call_tenant(c, false, &tenant, &index, err);

	if (!r)
		r = weir_call_string(c, "key", 71, &wanted, err);
	if (!r)
		r = weir_call_string(c, "id", 63, &id, err);
	if (!r && !wanted)
		r = weir_fail(err, EINVAL, "request: \"key\" is missing");
	if (!r)
		r = weir_writer_call(c->view->writer, call_list, &w);
	if (r)
		return r;
	for (size_t i = 0; i < w.n; i++) {
		if (w.all[i].tenant != index || !id_matches(wanted, w.all[i].sha256))
			continue;
		w.key = &w.all[i];
		hits++;
	}
	if (!hits && in_policy(c, tenant, wanted))
		r = weir_fail(err, EINVAL,
			      "key %s: is listed in the policy files; remove it there and apply",
			      wanted);
	else if (hits != 1)
		r = weir_fail(err, hits ? EINVAL : ENOENT,
			      hits ? "key \"%s\" of tenant \"%s\": stands for more than one key"
				   : "key \"%s\" of tenant \"%s\": no such key (see key list; at "
				     "least 8 digits of its id)",
			      wanted, tenant);
	if (!r && !w.key->revoked_ns) {
		r = weir_writer_call(c->view->writer, call_revoke, &w);
		if (!r)
			w.key->revoked_ns = weir_wall_ns();
		if (!r)
			weir_log(WEIR_NOTE, "key %s… of %s revoked by %s", w.key->hint, tenant,
				 c->actor);
	}
	/* Also for one revoked before: repeating heals a kernel that does not know yet. */
	if (!r)
		r = c->view->key_changed(c->view->ctx, w.key, err);
	if (!r)
		r = weir_call_result(c, key_json(tenant, w.key->sha256, w.key));
	free(w.all);
	return r;
}
