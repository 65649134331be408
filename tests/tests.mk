# SPDX-License-Identifier: Apache-2.0
# unit: cmocka, native, ASan and UBSan. packet: BPF_PROG_TEST_RUN, root. e2e:
# pytest in network namespaces, root. fuzz: libFuzzer, `make fuzz SECONDS=60`.
# differential: `make differential PACKETS=1000000 SEED=1`, root. model: the ledger against a
# model of agent/ledger.md, `make model HISTORIES=100000 SEED=1`.

UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
PACKET_SRC := $(wildcard tests/bpf/test_*.c)
PACKET_BIN := $(PACKET_SRC:%.c=$(B)/%)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(FUZZ_SRC:%.c=$(B)/%)
FORMATTED := $(wildcard bpf/*.[ch] agent/*.[ch] ctl/*.[ch] tests/*/*.[ch])

.PHONY: test check check-format unit packet differential model examples e2e fuzz

test: deps
	$(Q)$(MAKE) --no-print-directory -j2 all unit-build packet-build soak-build
	$(Q)$(MAKE) --no-print-directory check-format unit packet examples e2e

check-format:
	$(call say,FORMAT,'$(words $(FORMATTED)) files')
	$(Q)clang-format --dry-run --Werror $(FORMATTED)

.PHONY: unit-build packet-build
unit-build: $(UNIT_BIN)
packet-build: $(PACKET_BIN)

$(B)/tests/unit/%: tests/unit/%.c $(B)/libweir-san.a | $(B)/tests/unit/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -MMD -MP $< $(filter %.o,$^) $(B)/libweir-san.a $(LDLIBS) -lcmocka -o $@

# A disk that fails: linked into a test, and preloaded into an agent (LD_PRELOAD).
FAULTY    := tests/chaos/faulty_vfs.c tests/chaos/synced.c
FAULTY_H  := tests/chaos/faulty_vfs.h tests/chaos/synced.h
FAULTY_SO := $(B)/tests/faulty_vfs.so

# A thousand databases, each opened twice: not sanitized, which takes four times as long.
$(B)/tests/unit/test_ledger_faults: tests/unit/test_ledger_faults.c tests/unit/ledger_fixture.h $(FAULTY) $(FAULTY_H) $(B)/libweir.a | $(B)/tests/unit/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) $(filter %.c,$^) $(B)/libweir.a $(LDLIBS) -lcmocka -o $@

$(FAULTY_SO): $(FAULTY) $(FAULTY_H) | $(B)/tests/unit/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -shared -fPIC $(FAULTY) -lsqlite3 -o $@

$(B)/tests/bpf/%: tests/bpf/%.c $(B)/libweir.a | $(B)/tests/bpf/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP $< $(B)/libweir.a $(LDLIBS) -lcmocka -o $@

# clang's libFuzzer; sources of the library are compiled for it, so that they are instrumented.
FUZZ_OBJ := $(AGENT_SRC:%.c=$(B)/fuzz/%.o)
FUZZ_CC   = clang $(filter-out -Wvla,$(CFLAGS)) -Wno-error -O1 -MMD -MP

$(B)/fuzz/agent/%.o: agent/%.c | $(B)/weir.skel.h $(B)/fuzz/agent/
	$(call say,CC,$@)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer-no-link,address,undefined -c $< -o $@

$(B)/libweir-fuzz.a: $(FUZZ_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/tests/fuzz/%: tests/fuzz/%.c $(B)/libweir-fuzz.a | $(B)/tests/fuzz/
	$(call say,FUZZ,$@)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined $< $(B)/libweir-fuzz.a $(LDLIBS) -o $@

unit: unit-build
	$(Q)tests/each $(UNIT_BIN)

packet: packet-build
	$(Q)set -e; for t in $(PACKET_BIN); do echo "# $$t"; $$t; done

# The programs against a model of what they must do (tests/bpf/test_differential.c), at length.
PACKETS ?= 1000000
SEED ?= $(shell date +%s)
differential: $(B)/tests/bpf/test_differential
	$(Q)WEIR_DIFF_PACKETS=$(PACKETS) WEIR_DIFF_SEED=$(SEED) $<

# The ledger against a model of its rules: examples with numbers by hand and a few histories for
# every test run; at length with `make model`.
HISTORIES ?= 100000
MODEL := $(B)/tests/model/driver

$(B)/tests/model/:
	@mkdir -p $@

$(MODEL): tests/model/driver.c $(B)/libweir.a | $(B)/tests/model/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP $< $(B)/libweir.a $(LDLIBS) -o $@

$(MODEL)-san: tests/model/driver.c $(B)/libweir-san.a | $(B)/tests/model/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -MMD -MP $< $(B)/libweir-san.a $(LDLIBS) -o $@

examples: $(MODEL) $(MODEL)-san
	$(Q)$(PYTHON) -m pytest -q -p no:cacheprovider tests/model
	$(Q)$(PYTHON) tests/model/run.py $(MODEL)-san --histories 600 --seed 1

model: $(MODEL)
	$(Q)$(PYTHON) tests/model/run.py $< --histories $(HISTORIES) --seed $(SEED)

# The same agent of the next ABI, made up (tests/next): what upgrade and downgrade are tested with.
NEXT := $(B)/next
NEXT_SRC := Makefile $(wildcard agent/* bpf/* ctl/* scripts/*.mk scripts/deps tests/*.mk tests/*/*.mk)

$(B)/tests/weir-agent-next: $(NEXT_SRC) tests/next/abi.sed
	$(call say,NEXT,$@)
	$(Q)mkdir -p $(NEXT) $(@D) && cp -p --parents $(NEXT_SRC) $(NEXT)
	$(Q)for f in bpf/weir_abi.h bpf/maps.h; do \
		sed -E -f tests/next/abi.sed $$f >$(NEXT)/$$f && ! cmp -s $$f $(NEXT)/$$f || exit 1; done
	$(Q)CFLAGS="-O0 -w" $(MAKE) --no-print-directory -C $(NEXT) build/weir-agent
	$(Q)cp $(NEXT)/build/weir-agent $@

# And of the next schema of the database: only that one file differs.
$(B)/tests/weir-agent-schema: tests/next/schema.sed agent/store.c $(B)/agent/main.o $(B)/libweir.a
	$(call say,NEXT,$@)
	$(Q)mkdir -p $(@D)
	$(Q)sed -E -f $< agent/store.c >$(@D)/store_7.c && ! cmp -s agent/store.c $(@D)/store_7.c
	$(Q)$(CC) $(CFLAGS) $(WHOLE) $(@D)/store_7.c $(B)/agent/main.o $(B)/libweir.a $(LDFLAGS) $(LDLIBS) -o $@

e2e: all soak-build chaos-build $(B)/tests/weir-agent-schema $(B)/tests/weir-agent-next $(FAULTY_SO)
	$(Q)$(PYTHON) -m pytest -q -rs -n 3 --dist loadfile tests/e2e $(PYTEST_ARGS)

# Whole answers begin with the files of tests/corpus, which are only read; what is found to be new
# goes to build/. Words of tests/fuzz/<name>.dict come up more often than by chance.
SECONDS ?= 20
FUZZ_SEEDS := $(B)/tests/fuzz/seeds
fuzz: $(FUZZ_BIN)
	$(Q)set -e; for f in $(FUZZ_BIN); do \
		n=$${f##*/}; seeds=; dict=; mkdir -p $(FUZZ_SEEDS)/$$n; \
		if [ $$n = fuzz_response ]; then seeds=$$(echo tests/corpus/*/); fi; \
		if [ -e tests/fuzz/$$n.dict ]; then dict=-dict=tests/fuzz/$$n.dict; fi; \
		echo "# $$f"; $$f -max_total_time=$(SECONDS) -max_len=65536 -artifact_prefix=$(FUZZ_SEEDS)/ \
			$$dict $(FUZZ_SEEDS)/$$n $$seeds; done

-include $(UNIT_BIN:=.d) $(PACKET_BIN:=.d) $(FUZZ_BIN:=.d) $(FUZZ_OBJ:.o=.d) $(MODEL).d $(MODEL)-san.d

include tests/soak/soak.mk
include tests/chaos/chaos.mk
