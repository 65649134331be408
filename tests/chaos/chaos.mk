# SPDX-License-Identifier: Apache-2.0
# chaos: agent and nats-server killed under load, the disk failing, the clock stepping, NATS away, the
# ring full; then stream, ledger and what was served are compared (tests/chaos/README.md), root.
# `make chaos SEED=1 KILLS=200`; CHAOS_ARGS="--only 3" runs one phase of that plan. Then three
# nats-servers, whose leaders are killed and cut off (tests/e2e/test_nats_cluster.py).

CLOCK_SHIFT_SO := $(B)/tests/clock_shift.so

$(B)/tests/chaos/:
	@mkdir -p $@

$(CLOCK_SHIFT_SO): tests/chaos/clock_shift.c tests/chaos/clock_shift.h | $(B)/tests/chaos/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -shared -fPIC $< -ldl -o $@

.PHONY: chaos chaos-build
chaos-build: soak-build $(CLOCK_SHIFT_SO) $(FAULTY_SO)

chaos: KILLS ?= 200
chaos: all chaos-build
	$(Q)WEIR_BUILD='$(abspath $(B))' $(PYTHON) tests/chaos/chaos.py --seed $(SEED) --kills $(KILLS) $(CHAOS_ARGS)
ifndef CHAOS_ARGS
	$(Q)WEIR_BUILD='$(abspath $(B))' WEIR_CLUSTER_ROUNDS=3 $(PYTHON) -m pytest -q -s tests/e2e/test_nats_cluster.py
endif
