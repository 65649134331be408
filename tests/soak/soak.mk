# SPDX-License-Identifier: Apache-2.0
# soak: gauges beside the truth under churn (tests/soak/soak.py), root.
# `make soak SECONDS=120 CONNECTIONS=10000 STREAMS=2000 TENANTS=500 SEED=1 KILLS=0`.

SOAK_BIN := $(B)/tests/soak/soak_client $(B)/tests/soak/soak_server

$(B)/tests/soak/:
	@mkdir -p $@

$(B)/tests/soak/%.o: tests/soak/%.c | $(B)/tests/soak/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/tests/soak/soak_client: $(B)/tests/soak/soak_client.o $(B)/tests/soak/soak_settings.o \
                             $(B)/tests/soak/soak_syn.o
$(B)/tests/soak/soak_server: $(B)/tests/soak/soak_server.o
$(SOAK_BIN):
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

.PHONY: soak soak-build
soak-build: $(SOAK_BIN)

soak: CONNECTIONS ?= 10000
soak: STREAMS ?= 2000
soak: TENANTS ?= 500
soak: SEED ?= 1
soak: KILLS ?= 0
soak: all soak-build
	$(Q)WEIR_BUILD='$(abspath $(B))' $(PYTHON) tests/soak/soak.py \
		--seconds $(if $(filter command% environment%,$(origin SECONDS)),$(SECONDS),120) \
		--connections $(CONNECTIONS) --streams $(STREAMS) --tenants $(TENANTS) \
		--seed $(SEED) --kills $(KILLS) $(SOAK_ARGS)

-include $(wildcard $(B)/tests/soak/*.d)
