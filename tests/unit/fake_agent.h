/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent without a kernel, for tests of what stands around it: a real ledger,
 * writer and policy in a folder of its own, and a view whose kernel figures the
 * test sets.
 */
#ifndef WEIR_FAKE_AGENT_H
#define WEIR_FAKE_AGENT_H

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent_view.h"
#include "agent/denials.h"
#include "agent/naming.h"
#include "agent/slots.h"
#include "agent/writer.h"

#define FAKE_TENANTS 8

struct fake {
	char dir[64], db[96], policies[96], socket[96];
	struct weir_ledger *ledger;
	struct weir_policy *policy;
	struct weir_agent_view view;
	struct weir_lags lags;
	struct weir_run_gap gap;
	struct weir_restored_status restored;
	struct weir_clock_status clock;
	pthread_mutex_t lock;
	char names[FAKE_TENANTS][WEIR_ENTRY_NAME_BYTES]; /* by index, from 1 */
	struct weir_tenant kernel[FAKE_TENANTS];
	uint64_t denied[FAKE_TENANTS][WEIR_REASON_MAX];
	uint64_t shadow_denied[FAKE_TENANTS][WEIR_REASON_MAX];
	struct weir_open_request open[64];
	size_t n_open;
	struct weir_cut cut; /* what the next cut does; it fails with cut_error */
	int cut_error;
	bool enforce_configured_off;
	/* what the view was told */
	int reloads, keys_changed, posts, groups, throws, cuts;
	int fail_post; /* 1: the next post fails before it is written, 2: the one after it; 0: none
			*/
	struct weir_switch enforce; /* as it holds */
	uint32_t last_cut;
	struct weir_stored_key last_key;
	struct weir_op last_op;
	int64_t overage_nano; /* of deducts */
};

static const char fake_policy[] =
	"{\"tiers\":{\"paid\":{\"concurrency\":2,\"requests\":{\"per_minute\":60,\"burst\":10},"
	"\"tokens\":{\"per_minute\":1000,\"burst\":500},\"credit\":\"hard\",\"max_output_tokens\":"
	"4096,"
	"\"on_exhausted\":\"degrade\",\"fallback_model\":\"small\"},\"open\":{}},"
	"\"tenants\":{\"acme\":{\"tier\":\"paid\",\"keys\":[\"sha256:"
	"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"]},"
	"\"globex\":{\"tier\":\"open\"}}}";

static const char *const fake_services[] = { NULL, "llm", "embed" };

static inline void fake_write(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static inline void fake_status(void *ctx, struct weir_status *out)
{
	struct fake *f = ctx;

	memset(out, 0, sizeof(*out));
	strcpy(out->instance, "test");
	strcpy(out->node, "gpu-01");
	out->uptime_s = 3700;
	out->n_interfaces = 1;
	strcpy(out->interfaces[0].name, "eth0");
	strcpy(out->interfaces[0].xdp_mode, "native");
	strcpy(out->interfaces[0].tc_mode, "tcx");
	out->interfaces[0].n_neighbours = 1;
	strcpy(out->interfaces[0].neighbours[0], "cilium");
	out->verdicts[WEIR_ADMIT_REQUEST] = 12;
	out->ring_bytes = 1 << 20;
	out->flows_used = 3;
	out->flows_max = 8192;
	out->tenants_used = 2;
	out->tenants_max = 1024;
	out->n_maps = 3;
	out->maps[0] = (struct weir_map_size){ "flows", 8192, 2 << 20 };
	out->maps[1] = (struct weir_map_size){ "keys", 4096, 1 << 20 };
	out->maps[2] = (struct weir_map_size){ "seen", 32, 0 };
	out->capped = 11;
	out->half_open = 4;
	out->suspended = 1;
	out->drift.reaped = 8;
	out->drift.corrected_inflight = 9;
	out->tally.sources[WEIR_USAGE_ESTIMATED] = 21;
	out->tally.output_guessed = 22;
	out->tally.retry_free = 23;
	out->tally.lost = 24;
	out->decoders.given_up = 25;
	out->hidden[1].streamed_hidden = 26;
	out->clock = f->clock;
	out->gap = f->gap;
	out->restored = f->restored;
	out->room = (struct weir_state_room){ .rows = 1000, .spill_max = 64 << 20 };
	pthread_mutex_lock(&f->lock);
	out->enforce = f->enforce;
	out->enforcing = f->enforce_configured_off ? WEIR_ENFORCE_CONFIGURED_OFF
			 : f->enforce.on	   ? WEIR_ENFORCING
						   : WEIR_ENFORCE_SWITCHED_OFF;
	pthread_mutex_unlock(&f->lock);
}

static inline int fake_live(void *ctx, uint32_t tenant, struct weir_tenant *out)
{
	struct fake *f = ctx;

	if (tenant >= FAKE_TENANTS || !f->names[tenant][0])
		return -ENOENT;
	*out = f->kernel[tenant];
	return 0;
}

static inline int fake_name(void *ctx, uint32_t tenant, char out[static WEIR_ENTRY_NAME_BYTES])
{
	struct fake *f = ctx;

	if (tenant >= FAKE_TENANTS || !f->names[tenant][0])
		return -ENOENT;
	strcpy(out, f->names[tenant]);
	return 0;
}

static inline int fake_index(void *ctx, const char *name, uint32_t *out)
{
	struct fake *f = ctx;

	for (uint32_t i = 1; i < FAKE_TENANTS; i++) {
		if (strcmp(f->names[i], name))
			continue;
		*out = i;
		return 0;
	}
	return -ENOENT;
}

static inline int fake_denied(void *ctx, uint32_t tenant, bool shadow,
			      uint64_t out[static WEIR_REASON_MAX])
{
	struct fake *f = ctx;

	if (tenant >= FAKE_TENANTS)
		return -ENOENT;
	pthread_mutex_lock(&f->lock);
	memcpy(out, shadow ? f->shadow_denied[tenant] : f->denied[tenant],
	       sizeof(f->denied[tenant]));
	pthread_mutex_unlock(&f->lock);
	return 0;
}

/* The scopes of the policy come after its tenants. */
static inline int fake_scope(void *ctx, uint32_t tenant, const char *service, uint32_t *out)
{
	struct fake *f = ctx;
	char name[WEIR_ENTRY_NAME_BYTES];

	snprintf(name, sizeof(name), "%s@%s", f->names[tenant], service);
	return fake_index(ctx, name, out);
}

static inline size_t fake_open_requests(void *ctx, uint32_t tenant, struct weir_open_request *out,
					size_t max)
{
	struct fake *f = ctx;
	size_t n = 0;

	for (size_t i = 0; i < f->n_open; i++) {
		const struct weir_open_request *q = &f->open[i];

		if (q->tenant != tenant && q->others[WEIR_LEVEL_PARENT - 1] != tenant)
			continue;
		if (n++ < max)
			out[n - 1] = *q;
	}
	return n;
}

static inline int fake_switch_thrown(void *ctx, const struct weir_switch *holds,
				     struct weir_error *err)
{
	struct fake *f = ctx;

	pthread_mutex_lock(&f->lock);
	f->throws++;
	if (holds->name == WEIR_SWITCH_ENFORCE)
		f->enforce = *holds;
	else if (holds->on)
		f->kernel[holds->tenant].flags |= WEIR_TENANT_SUSPENDED;
	else
		f->kernel[holds->tenant].flags &= ~WEIR_TENANT_SUSPENDED;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static inline int fake_cut(void *ctx, uint32_t tenant, struct weir_cut *out, struct weir_error *err)
{
	struct fake *f = ctx;

	f->cuts++;
	f->last_cut = tenant;
	if (f->cut_error)
		return weir_fail(err, f->cut_error, "sock_diag: not today");
	*out = f->cut;
	return 0;
}

static inline struct weir_policy *fake_get_policy(void *ctx)
{
	struct fake *f = ctx;
	struct weir_policy *p;

	pthread_mutex_lock(&f->lock);
	p = weir_policy_ref(f->policy);
	pthread_mutex_unlock(&f->lock);
	return p;
}

static inline int fake_reload(void *ctx, const char *dir, struct weir_error *err)
{
	struct fake *f = ctx;
	struct weir_policy *fresh = NULL, *old;
	int r = weir_policy_load(dir, &fresh, err);

	if (r)
		return r;
	pthread_mutex_lock(&f->lock);
	old = f->policy;
	f->policy = fresh;
	f->reloads++;
	pthread_mutex_unlock(&f->lock);
	weir_policy_unref(old);
	return 0;
}

static inline int fake_key_changed(void *ctx, const struct weir_stored_key *key,
				   struct weir_error *err)
{
	struct fake *f = ctx;

	f->keys_changed++;
	f->last_key = *key;
	return 0;
}

static inline int fake_wallet_of(void *ctx, uint32_t tenant, uint32_t *out)
{
	struct fake *f = ctx;

	if (!tenant || tenant >= FAKE_TENANTS || !f->names[tenant][0])
		return -ENOENT;
	*out = f->kernel[tenant].wallet;
	return 0;
}

/* As the agent's, but that nothing is ever reserved. */
static inline int fake_post(void *ctx, struct weir_ledger *l, const struct weir_op *op,
			    struct weir_done *done, struct weir_error *err)
{
	struct fake *f = ctx;
	struct weir_op ours = *op;
	int r;

	if (f->fail_post && !--f->fail_post)
		return weir_fail(err, EIO, "the disk is gone");
	ours.overage_nano = f->overage_nano;
	r = weir_ledger_post(l, &ours, weir_wall_ns(), done, err);
	f->posts += !r;
	f->last_op = ours;
	return r;
}

static inline int fake_post_all(void *ctx, struct weir_ledger *l, struct weir_post *posts, size_t n,
				struct weir_error *err)
{
	struct fake *f = ctx;
	int r = weir_ledger_post_all(l, posts, n, weir_wall_ns(), err);

	f->groups += !r;
	if (!r && n)
		f->last_op = posts[n - 1].op;
	return r;
}

static inline const struct weir_row *fake_no_rows(void *ctx, size_t *n)
{
	*n = 0;
	return NULL;
}

static inline void fake_pop(void *ctx, size_t n)
{
}

static inline int fake_names(struct weir_ledger *l, void *arg)
{
	struct fake *f = arg;
	struct weir_naming *n = NULL;
	struct weir_error err = { "" };
	int r = weir_naming_new(l, &n, &err);

	if (!r)
		r = weir_naming_put(n, l, f->view.services, f->view.n_services, f->policy, &err);
	weir_naming_free(n);
	return r;
}

/* As the agent does when names come into force: events are made with what the ledger says. */
static inline void fake_note_names(struct fake *f)
{
	assert_int_equal(weir_writer_call(f->view.writer, fake_names, f), 0);
}

static inline struct fake *fake_new(const struct weir_writer_options *o)
{
	const struct weir_row_source none = { .peek = fake_no_rows, .pop = fake_pop };
	struct fake *f = calloc(1, sizeof(*f));
	struct weir_error err = { "" };
	uint32_t index;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/weir-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->db, sizeof(f->db), "%s/weir.db", f->dir);
	snprintf(f->policies, sizeof(f->policies), "%s/policies", f->dir);
	snprintf(f->socket, sizeof(f->socket), "%s/agent.sock", f->dir);
	assert_int_equal(mkdir(f->policies, 0700), 0);
	fake_write(f->policies, "10.json", fake_policy);
	pthread_mutex_init(&f->lock, NULL);
	if (weir_policy_load(f->policies, &f->policy, &err))
		fail_msg("%s", err.text);
	if (weir_ledger_open(f->db, &f->ledger, &err))
		fail_msg("%s", err.text);
	for (size_t i = 0; i < f->policy->n_tenants; i++) {
		assert_int_equal(
			weir_ledger_tenant(f->ledger, f->policy->tenants[i].name, &index, &err), 0);
		strcpy(f->names[index], f->policy->tenants[i].name);
		f->kernel[index].flags = WEIR_TENANT_LIVE;
		f->kernel[index].wallet = index;
	}
	assert_int_equal(weir_writer_start(f->ledger, &none, o, &f->view.writer, &err), 0);
	assert_int_equal(weir_denials_new(FAKE_TENANTS - 1, true, &f->view.denials, &err), 0);
	f->view.ctx = f;
	f->view.lags = &f->lags;
	f->view.db_path = f->db;
	f->view.policy_dir = f->policies;
	f->view.status = fake_status;
	f->view.tenant_live = fake_live;
	f->view.tenant_name = fake_name;
	f->view.tenant_index = fake_index;
	f->view.denial_counts = fake_denied;
	f->view.policy = fake_get_policy;
	f->view.reload = fake_reload;
	f->view.key_changed = fake_key_changed;
	f->view.wallet_of = fake_wallet_of;
	f->view.post = fake_post;
	f->view.post_all = fake_post_all;
	f->view.scope_index = fake_scope;
	f->view.open_requests = fake_open_requests;
	f->view.boot = 0x01020304;
	f->view.services = fake_services;
	f->view.n_services = 3;
	f->view.switch_thrown = fake_switch_thrown;
	f->view.cut = fake_cut;
	fake_note_names(f);
	f->clock.synchronised = true;
	f->enforce = (struct weir_switch){ .name = WEIR_SWITCH_ENFORCE, .on = true };
	return f;
}

/* A policy of three levels and a scope in the place of the first one. */
static inline void fake_levels(struct fake *f)
{
	static const char json[] =
		"{\"tiers\":{\"open\":{},\"paid\":{\"services\":{\"embed\":{\"concurrency\":3}}}},"
		"\"tenants\":{\"org\":{\"tier\":\"open\"},\"team\":{\"tier\":\"open\",\"parent\":"
		"\"org\"},\"acme\":{\"tier\":\"paid\",\"parent\":\"team\"},\"globex\":{\"tier\":"
		"\"open\"}}}";
	static const char *const more[] = { "org", "team", "acme@embed" };
	struct weir_error err = { "" };

	fake_write(f->policies, "10.json", json);
	if (f->view.reload(f, f->policies, &err))
		fail_msg("%s", err.text);
	fake_note_names(f);
	/* acme and globex have the first two numbers. */
	for (uint32_t i = 0; i < 3; i++) {
		strcpy(f->names[3 + i], more[i]);
		f->kernel[3 + i].flags = WEIR_TENANT_LIVE;
		f->kernel[3 + i].wallet = 3 + i;
	}
}

static inline int fake_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static inline void fake_free(struct fake *f)
{
	weir_writer_stop(f->view.writer);
	weir_ledger_close(f->ledger);
	weir_denials_free(f->view.denials);
	weir_policy_unref(f->policy);
	nftw(f->dir, fake_remove, 8, FTW_DEPTH | FTW_PHYS);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* n finished requests of a tenant into the ledger, each of 100 + i output tokens. */
struct fake_rows {
	uint32_t tenant;
	unsigned first, n;
};

static inline int fake_append(struct weir_ledger *l, void *arg)
{
	static struct weir_row rows[4096];
	const struct fake_rows *a = arg;
	struct weir_error err = { "" };
	size_t known;
	int r;

	memset(rows, 0, sizeof(rows));
	for (unsigned i = 0; i < a->n; i++) {
		uint64_t at = UINT64_C(1790000000000000000) + (a->first + i) * UINT64_C(1000000);
		struct weir_row *w = &rows[i];

		for (int b = 0; b < 8; b++)
			w->id.b[b] = (uint8_t)(at >> (56 - 8 * b));
		w->id.b[11] = (uint8_t)a->tenant;
		w->started_wall_ns = at;
		w->ended_wall_ns = at + 500000;
		w->tenant = w->wallet = a->tenant;
		w->status = 200;
		w->service = 1;
		w->usage_source = WEIR_USAGE_REPORTED;
		w->usage = (struct weir_usage){ 10, 0, 0, 100 + i, 0 };
		strcpy(w->method, "POST");
		strcpy(w->path, "/v1/chat/completions");
		strcpy(w->model, "llama-3.3-70b");
	}
	r = weir_ledger_append(l, rows, a->n, &known, &err);
	if (r)
		fprintf(stderr, "append: %s\n", err.text);
	return r;
}

static inline void fake_requests(struct fake *f, uint32_t tenant, unsigned first, unsigned n)
{
	struct fake_rows a = { tenant, first, n };

	assert_true(n <= 4096);
	assert_int_equal(weir_writer_call(f->view.writer, fake_append, &a), 0);
}

#endif
