# SPDX-License-Identifier: Apache-2.0
# bench: the figures of the README. Kernel programs by PROG_TEST_RUN, then end to
# end beside nginx and HAProxy. Needs root and a quiet machine.

BENCH_SRC := $(wildcard tests/bench/*.c)
BENCH_BIN := $(BENCH_SRC:%.c=$(B)/%)

.PHONY: bench bench-build
bench-build: all $(BENCH_BIN)

$(B)/tests/bench/%: tests/bench/%.c $(B)/libweir.a | $(B)/tests/bench/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP $< $(B)/libweir.a $(LDFLAGS) $(LDLIBS) -o $@

bench: deps
	$(Q)$(MAKE) --no-print-directory bench-build
	$(Q)set -e; for b in $(filter-out %/loadgen,$(BENCH_BIN)); do echo "# $$b"; $$b; done
	$(Q)echo "# tests/bench/e2e_bench.py"
	$(Q)WEIR_BUILD='$(abspath $(B))' $(PYTHON) tests/bench/e2e_bench.py $(BENCH_ARGS)

-include $(BENCH_BIN:=.d)
