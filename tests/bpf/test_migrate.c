// SPDX-License-Identifier: Apache-2.0
/*
 * Kernel maps made anew in a larger size while something is in them, and an agent that is
 * killed behind any step of it: the next one finishes or goes back, and everything counted is
 * there once. What another ABI looks like is for tests/unit/test_layout.c and
 * tests/e2e/test_upgrade.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/attach.h"
#include "agent/kernel.h"
#include "agent/migrate.h"
#include "agent/takeover.h"
#include "weir.skel.h"

#define SMALL  256
#define LARGE  8192 /* half_open is of another size, too */
#define FLOWS  100  /* connections, numbered from 1 */
#define HALF   10   /* of them, not complete */
#define CLOSED 7    /* the one whose socket goes while the maps are frozen */
#define TENANT 5

static struct weir_agent_config config(uint32_t flows)
{
	struct weir_agent_config c = { .n_interfaces = 0,
				       .ring_bytes = 65536,
				       .max_tenants = flows / 4,
				       .max_flows = flows,
				       .max_keys = flows,
				       .max_split_heads = flows / 16,
				       .head_timeout_ns = 1000 };

	snprintf(c.instance, sizeof(c.instance), "migrate-%d", getpid());
	return c;
}

/* Of the test, however many processes it is. */
static char instance[WEIR_NAME_BYTES];

static struct weir_agent_config config_of_test(uint32_t flows)
{
	struct weir_agent_config c = config(flows);

	memcpy(c.instance, instance, sizeof(c.instance));
	return c;
}

static struct weir_kernel *open_kernel(uint32_t flows)
{
	struct weir_agent_config c = config_of_test(flows);
	struct weir_kernel *k = NULL;
	struct weir_error err;

	if (weir_kernel_open(&c, &k, &err))
		fail_msg("%s", err.text);
	return k;
}

static void take_over(struct weir_kernel *k, uint32_t flows)
{
	struct weir_agent_config c = config_of_test(flows);
	struct weir_error err;

	if (weir_takeover(k, &c, &err))
		fail_msg("%s", err.text);
}

static struct weir_flow_key key_of(uint32_t n)
{
	struct weir_flow_key key = { .server_port_be = 0x401f };

	memcpy(key.client, &n, sizeof(n));
	return key;
}

/* A connection as the kernel writes it; of weir_flow only what begins it is known here. */
static void put_flow(struct weir_kernel *k, uint32_t n, uint32_t flags)
{
	size_t bytes = bpf_map__value_size(k->skel->maps.flows);
	struct weir_flow_view *f = calloc(1, bytes);
	struct weir_flow_key key = key_of(n);
	uint32_t slot;

	assert_non_null(f);
	if (!bpf_map_lookup_elem(k->flows_fd, &key, f))
		slot = f->slot;
	else
		assert_int_equal(bpf_map_lookup_and_delete_elem(
					 bpf_map__fd(k->skel->maps.free_slots), NULL, &slot),
				 0);
	*f = (struct weir_flow_view){ .opened_ns = UINT64_C(1000000000) * n,
				      .tenant = TENANT,
				      .slot = slot,
				      .flags = flags | WEIR_FLOW_COUNTED,
				      .state = n <= HALF ? WEIR_FLOW_SYN : WEIR_FLOW_OPEN,
				      .ordinal = n };
	if (n > HALF)
		k->slots[slot] = (struct weir_slot){
			.state = WEIR_SLOT_OPEN, .tenant = TENANT, .ordinal = n, .reserved_nano = n
		};
	assert_int_equal(bpf_map_update_elem(k->flows_fd, &key, f, BPF_ANY), 0);
	free(f);
}

static void fill(struct weir_kernel *k)
{
	struct weir_key key = { .sha256 = { 1 } };
	struct weir_key_value value = { .tenant = TENANT };
	struct weir_denial_key refused = { .tenant = TENANT, .reason = WEIR_DENY_TOKENS };
	struct weir_denial denial = { .count = 77 };
	uint32_t reason = WEIR_ADMIT_REQUEST;
	uint64_t counts[256] = { 41 };

	k->config->heartbeat_ns = 12345;
	k->config->port_service[8000] = 1;
	k->tenants[TENANT] = (struct weir_tenant){ .flags = WEIR_TENANT_LIVE,
						   .connections = FLOWS,
						   .inflight = FLOWS - HALF,
						   .admitted = 1 << 20,
						   .reserved_nano = UINT64_MAX - 3 };
	for (uint32_t n = 1; n <= FLOWS; n++)
		put_flow(k, n, 0);
	assert_int_equal(bpf_map_update_elem(k->keys_fd, &key, &value, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(k->denials_fd, &refused, &denial, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(k->counters_fd, &reason, counts, BPF_ANY), 0);
}

/* Every number but those in use, each once. */
static void check_free_slots(struct weir_kernel *k, uint32_t slots, uint32_t flows)
{
	uint8_t *seen = calloc(slots, 1);
	struct weir_flow_view *f = calloc(1, bpf_map__value_size(k->skel->maps.flows));
	int fd = bpf_map__fd(k->skel->maps.free_slots);
	uint32_t n, free_ones = 0;

	assert_true(seen && f);
	while (!bpf_map_lookup_and_delete_elem(fd, NULL, &n)) {
		assert_true(n < slots && !seen[n]);
		seen[n] = 1;
		free_ones++;
	}
	assert_int_equal(free_ones, slots - flows);
	for (uint32_t i = 1; i <= FLOWS; i++) {
		struct weir_flow_key key = key_of(i);

		if (!bpf_map_lookup_elem(k->flows_fd, &key, f))
			assert_false(seen[f->slot]);
	}
	free(seen);
	free(f);
}

static void check_half_open(struct weir_kernel *k, bool closed)
{
	int fd = bpf_map__fd(k->skel->maps.half_open);
	struct weir_half_open h;

	for (uint32_t n = 1; n <= HALF; n++) {
		struct weir_flow_key key = key_of(n);

		/* Its entry stays behind; the kernel sees that there is no such connection. */
		assert_int_equal(bpf_map_lookup_and_delete_elem(fd, NULL, &h), 0);
		assert_memory_equal(&h.key, &key, sizeof(key));
		assert_int_equal(h.opened_ms, 1000 * n);
	}
	assert_int_not_equal(bpf_map_lookup_and_delete_elem(fd, NULL, &h), 0);
}

/* All that fill() put there is there, once; the closed connection's is given back. */
static void check(struct weir_kernel *k, uint32_t slots, bool closed, bool rebuilt)
{
	struct weir_flow_view *f = calloc(1, bpf_map__value_size(k->skel->maps.flows));
	struct weir_key key = { .sha256 = { 1 } };
	struct weir_key_value value;
	struct weir_denial_key refused = { .tenant = TENANT, .reason = WEIR_DENY_TOKENS };
	struct weir_denial denial;
	uint64_t counts[WEIR_REASON_MAX];
	char path[400];

	assert_non_null(f);
	assert_int_equal(k->config->frozen, 0);
	assert_int_equal(k->config->abi_version, WEIR_ABI_VERSION);
	assert_int_equal(k->config->heartbeat_ns, 12345);
	assert_int_equal(k->config->port_service[8000], 1);
	assert_int_equal(k->config->head_timeout_ns, 1000);
	assert_int_equal(k->tenants[TENANT].connections, FLOWS - closed);
	assert_int_equal(k->tenants[TENANT].inflight, FLOWS - HALF);
	assert_int_equal(k->tenants[TENANT].admitted, 1 << 20);
	assert_true(k->tenants[TENANT].reserved_nano == UINT64_MAX - 3);
	for (uint32_t n = 1; n <= FLOWS; n++) {
		struct weir_flow_key flow = key_of(n);
		int r = bpf_map_lookup_elem(k->flows_fd, &flow, f);

		assert_int_equal(r == 0, !(closed && n == CLOSED));
		if (r)
			continue;
		assert_int_equal(f->ordinal, n);
		if (n > HALF)
			assert_int_equal(k->slots[f->slot].reserved_nano, n);
	}
	assert_int_equal(bpf_map_lookup_elem(k->keys_fd, &key, &value), 0);
	assert_int_equal(bpf_map_lookup_elem(k->denials_fd, &refused, &denial), 0);
	assert_int_equal(denial.count, 77);
	weir_kernel_counters(k, counts);
	assert_int_equal(counts[WEIR_ADMIT_REQUEST], 41);
	if (rebuilt)
		check_half_open(k, closed);
	check_free_slots(k, slots, FLOWS - closed);
	snprintf(path, sizeof(path), "%s/maps_new", k->pin_dir);
	assert_int_equal(access(path, F_OK), -1);
	free(f);
}

static int setup(void **state)
{
	struct weir_agent_config c = config(SMALL);
	struct weir_kernel *k;

	memcpy(instance, c.instance, sizeof(instance));
	k = open_kernel(SMALL);
	assert_true(k->fresh);
	fill(k);
	weir_kernel_close(k);
	return 0;
}

static int teardown(void **state)
{
	struct weir_agent_config c = config_of_test(SMALL);
	struct weir_error err;

	if (weir_detach(&c, &err) || weir_kernel_unpin(c.instance, &err))
		fail_msg("%s", err.text);
	return 0;
}

enum step { STAGED, COPIED_EARLY, FROZEN, COPIED, COMMITTED, REPLACED, WHOLE };

/* In a child that dies behind a step, as by kill -9. */
static void die_behind(enum step step)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		struct weir_agent_config c = config_of_test(LARGE);
		struct weir_kernel *k = open_kernel(LARGE), *old;
		struct weir_migration *m = k->migration;
		struct weir_error err;

		if (step >= COPIED_EARLY && weir_migration_copy_early(m, &err))
			_exit(1);
		if (step >= FROZEN) {
			/* A socket closes: what weir_state does then. */
			if (weir_migration_freeze(m, &err))
				_exit(2);
			old = calloc(1, sizeof(*old));
			*old = *k;
			old->flows_fd = weir_migration_map(m, "flows")->copy.from;
			put_flow(old, CLOSED, WEIR_FLOW_SOCKET_GONE);
		}
		if (step >= COPIED && weir_migration_copy(m, &err))
			_exit(3);
		weir_kernel_store_forms(k, &c);
		if (step >= COMMITTED && weir_migration_commit(m, &err))
			_exit(4);
		if (step >= REPLACED && weir_attach_replace(k, &c, &err))
			_exit(5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void finish_as_large(enum step step)
{
	struct weir_kernel *k;

	die_behind(step);
	k = open_kernel(LARGE);
	assert_false(k->fresh);
	take_over(k, LARGE);
	check(k, LARGE, step >= FROZEN, true);
	weir_kernel_close(k);
}

static void go_back_to_small(enum step step)
{
	struct weir_kernel *k;

	die_behind(step);
	k = open_kernel(SMALL);
	assert_false(k->fresh);
	take_over(k, SMALL);
	check(k, SMALL, step >= FROZEN, false);
	weir_kernel_close(k);
}

#define KILLED(step)                                                                               \
	static void killed_behind_##step##_the_next_finishes(void **state)                         \
	{                                                                                          \
		finish_as_large(step);                                                             \
	}
#define KILLED_BACK(step)                                                                          \
	static void killed_behind_##step##_the_old_goes_on(void **state)                           \
	{                                                                                          \
		go_back_to_small(step);                                                            \
	}

KILLED(STAGED)
KILLED(FROZEN)
KILLED(COPIED)
KILLED(COMMITTED)
KILLED(REPLACED)
KILLED_BACK(FROZEN)
KILLED_BACK(COPIED)

static void maps_grow_with_all_that_is_in_them(void **state)
{
	struct weir_kernel *k = open_kernel(LARGE);

	assert_non_null(k->migration);
	take_over(k, LARGE);
	assert_null(k->migration);
	check(k, LARGE, false, true);
	weir_kernel_close(k);
}

static void maps_as_they_should_be_are_not_touched(void **state)
{
	struct weir_kernel *k = open_kernel(SMALL);

	take_over(k, SMALL);
	check(k, SMALL, false, false);
	weir_kernel_close(k);
}

static void smaller_maps_are_refused(void **state)
{
	struct weir_agent_config c = config_of_test(SMALL);
	struct weir_kernel *k = NULL;
	struct weir_error err;

	c.max_flows /= 2;
	assert_int_equal(weir_kernel_open(&c, &k, &err), -EINVAL);
	assert_non_null(strstr(err.text, "max_flows: map flows"));
	c = config_of_test(SMALL);
	c.ring_bytes *= 2;
	assert_int_equal(weir_kernel_open(&c, &k, &err), -EINVAL);
	assert_non_null(strstr(err.text, "ring_bytes: map ring"));
	maps_as_they_should_be_are_not_touched(state);
}

/* An agent that died while it made them: no packet ever met them. */
static void maps_that_were_never_finished_are_made_anew(void **state)
{
	struct weir_kernel *k = open_kernel(SMALL);

	k->config->abi_version = 0;
	weir_kernel_close(k);
	k = open_kernel(LARGE);
	assert_true(k->fresh);
	assert_int_equal(k->tenants[TENANT].connections, 0);
	check_free_slots(k, LARGE, 0);
	weir_kernel_close(k);
}

static void maps_before_abi_3_are_refused(void **state)
{
	struct weir_agent_config c = config_of_test(SMALL);
	struct weir_kernel *k = open_kernel(SMALL);
	struct weir_error err;

	k->config->abi_version = 2;
	weir_kernel_close(k);
	k = NULL;
	assert_int_equal(weir_kernel_open(&c, &k, &err), -EPROTO);
	assert_non_null(strstr(err.text, "of ABI 2, this agent speaks 5; run weir-agent --detach"));
}

static void memory_is_told_map_by_map(void **state)
{
	struct weir_kernel *k = open_kernel(SMALL);
	struct weir_map_size maps[64];
	size_t n = weir_kernel_maps(k, maps, 64);
	uint64_t sum = 0, slots = 0;

	for (size_t i = 0; i < n; i++) {
		sum += maps[i].bytes;
		assert_true(maps[i].bytes > 0 || !maps[i].entries);
		if (!strcmp(maps[i].name, "slots"))
			slots = maps[i].bytes;
	}
	assert_true(n > 15);
	assert_true(slots >= SMALL * sizeof(struct weir_slot));
	assert_true(weir_kernel_memory(k) == sum);
	weir_kernel_close(k);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(maps_grow_with_all_that_is_in_them),
		TEST(maps_as_they_should_be_are_not_touched),
		TEST(smaller_maps_are_refused),
		TEST(maps_that_were_never_finished_are_made_anew),
		TEST(maps_before_abi_3_are_refused),
		TEST(memory_is_told_map_by_map),
		TEST(killed_behind_STAGED_the_next_finishes),
		TEST(killed_behind_FROZEN_the_next_finishes),
		TEST(killed_behind_COPIED_the_next_finishes),
		TEST(killed_behind_COMMITTED_the_next_finishes),
		TEST(killed_behind_REPLACED_the_next_finishes),
		TEST(killed_behind_FROZEN_the_old_goes_on),
		TEST(killed_behind_COPIED_the_old_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
