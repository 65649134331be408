/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy in force: a ledger in a folder of its own, maps that are real (root), entries that
 * are plain memory. For the tests of what puts policies in force.
 */
#ifndef WEIR_ENFORCE_FIXTURE_H
#define WEIR_ENFORCE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/enforce.h"

#define TENANTS 64

static struct {
	char dir[64], db[96], policies[96];
	struct weir_config config;
	struct weir_tenant tenants[TENANTS];
	struct weir_rules rules[WEIR_RULES_MAX];
	struct weir_kernel kernel;
	struct weir_agent_config cfg;
	struct weir_ledger *ledger;
	struct weir_enforce *enforce;
	struct weir_error err;
} f;

static inline int map(size_t key, size_t value)
{
	LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, NULL, key, value, TENANTS * 8, &o);

	if (fd < 0 && errno == EPERM)
		fail_msg("needs root: it makes BPF maps");
	assert_true(fd >= 0);
	return fd;
}

static inline void service(const char *name)
{
	struct weir_config_service *s = &f.cfg.services[f.cfg.n_services++];

	snprintf(s->name, sizeof(s->name), "%s", name);
}

static inline void start(void)
{
	if (weir_ledger_open(f.db, &f.ledger, &f.err) ||
	    weir_enforce_new(&f.kernel, &f.cfg, &f.enforce, &f.err))
		fail_msg("%s", f.err.text);
}

static inline void stop(void)
{
	weir_enforce_free(f.enforce);
	weir_ledger_close(f.ledger);
}

static inline int up(void **state)
{
	memset(&f, 0, sizeof(f));
	strcpy(f.dir, "/tmp/weir-levels-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	snprintf(f.db, sizeof(f.db), "%s/weir.db", f.dir);
	snprintf(f.policies, sizeof(f.policies), "%s/p.json", f.dir);
	f.kernel = (struct weir_kernel){
		.config = &f.config,
		.tenants = f.tenants,
		.rules = f.rules,
		.max_tenants = TENANTS,
		.max_flows = 4096,
		.max_keys = TENANTS,
		.keys_fd = map(sizeof(struct weir_key), sizeof(struct weir_key_value)),
		.sources_fd = map(sizeof(struct weir_source), sizeof(uint32_t)),
		.names_fd = map(WEIR_TENANT_NAME_BYTES, sizeof(uint32_t)),
		.scopes_fd = map(sizeof(struct weir_scope), sizeof(uint32_t)),
	};
	service("chat");
	service("embed");
	start();
	return 0;
}

static inline int down(void **state)
{
	char command[128];

	stop();
	close(f.kernel.keys_fd);
	close(f.kernel.sources_fd);
	close(f.kernel.names_fd);
	close(f.kernel.scopes_fd);
	snprintf(command, sizeof(command), "rm -r %s", f.dir);
	return system(command);
}

/* Put a whole policy document in force. */
static inline int try_policy(const char *json)
{
	struct weir_policy *p;
	FILE *file = fopen(f.policies, "w");
	int r;

	assert_non_null(file);
	fputs(json, file);
	assert_int_equal(fclose(file), 0);
	if (weir_policy_load(f.dir, &p, &f.err))
		fail_msg("%s", f.err.text);
	r = weir_enforce_apply(f.enforce, p, f.ledger, &f.err);
	weir_policy_unref(p);
	return r;
}

static inline uint32_t number(const char *name)
{
	uint32_t n = 0;

	assert_int_equal(weir_enforce_index(f.enforce, name, &n), 0);
	assert_true(n > 0 && n < TENANTS);
	return n;
}

static inline struct weir_tenant *entry(const char *name)
{
	return &f.tenants[number(name)];
}

#endif
