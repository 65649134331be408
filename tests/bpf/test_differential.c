/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs against the model: connections made up by a seeded generator, several
 * at a time, their requests and answers cut at any byte, sent twice, out of order,
 * with bytes changed, refused, closed. Each packet must come out alike.
 *
 *   WEIR_DIFF_PACKETS   how many (a short run by default)
 *   WEIR_DIFF_SEED      of the generator
 *   WEIR_DIFF_FEATURES  bits of enum model_feature, F_ALL by default
 */
#include "tests/bpf/diff_life.h"
#include "tests/bpf/diff_tenants.h"

/* Which of the two a head behind its 16 KiB is refused for is open (model.said_malformed), and in
 * shadow no counter tells. */
static uint32_t same_denial(uint32_t reason)
{
	return reason == WEIR_DENY_HEAD_TOO_LARGE ? WEIR_DENY_MALFORMED : reason;
}

static void check_denials(int shadow)
{
	for (uint32_t i = 0; i < model.n_tenants; i++) {
		uint64_t counted[WEIR_REASON_MAX] = {}, expected[WEIR_REASON_MAX] = {};

		for (uint32_t r = 0; r < WEIR_REASON_MAX; r++) {
			struct weir_denial_key key = { .tenant = i, .reason = r, .shadow = shadow };
			struct weir_denial d = {};

			bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.denials), &key, &d);
			counted[same_denial(r)] += d.count;
			expected[same_denial(r)] += model.denials[i][r][shadow];
		}
		for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
			if (counted[r] != expected[r])
				diff_fail("tenant %u: %s %s %llu times, expected %llu", i,
					  weir_reason_name(r), shadow ? "noted" : "refused",
					  (unsigned long long)counted[r],
					  (unsigned long long)expected[r]);
	}
}

static void report(uint64_t began_ns)
{
	printf("# seed %llu: %llu packets, %llu/s; reached", (unsigned long long)diff.seed,
	       (unsigned long long)diff.nr,
	       (unsigned long long)(diff.nr * SECOND / (now_ns() - began_ns)));
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		if (diff.seen[r])
			printf(" %s %llu", weir_reason_name(r), (unsigned long long)diff.seen[r]);
	printf("\n");
	fflush(stdout);
}

static void programs_and_model_agree_on_every_packet(void **state)
{
	uint64_t began = now_ns(), told = began;

	set_up();
	while (diff.nr < diff.limit) {
		roll_node();
		for (uint32_t i = 400 + rnd(400); i && diff.nr < diff.limit; i--)
			turn(&diff.peers[rnd(PEERS)]);
		for (int i = 0; i < PEERS; i++)
			if (diff.peers[i].live)
				forget(&diff.peers[i]);
		check_denials(0);
		check_denials(1);
		if (now_ns() - told > 10 * SECOND) {
			told = now_ns();
			report(began);
		}
	}
	report(began);
	free(diff.peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_and_model_agree_on_every_packet),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
