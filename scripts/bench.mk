# SPDX-License-Identifier: Apache-2.0
# bench: the figures of the README. Kernel programs by PROG_TEST_RUN, the parsers of answers, the
# ledger at ten million rows, from the wire to the acknowledged event, then connections beside nftables and iptables, then end to end beside nginx and HAProxy.
# Needs root, a quiet machine and 4 GB in /var/tmp.
#
#   make bench BENCH_ROUNDS=3        shorter: as many rounds of each part
#   make bench BENCH_ROWS=1000000    shorter: so many rows in the ledger
#   make bench BENCH_BACKLOG=100000  shorter: so many rows that are not published

BENCH_SRC := $(filter-out %.bpf.c,$(wildcard tests/bench/*.c))
BENCH_BIN := $(BENCH_SRC:%.c=$(B)/%)

.PHONY: bench bench-build
bench-build: all soak-build $(BENCH_BIN)

$(B)/tests/bench/%: tests/bench/%.c $(B)/libweir.a | $(B)/tests/bench/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) $(WHOLE) -MMD -MP $< $(B)/libweir.a $(LDFLAGS) $(LDLIBS) -o $@

$(B)/synflood.bpf.o: tests/bench/synflood.bpf.c | $(B)/
	$(call say,BPF,$@)
	$(Q)$(CLANG) -O2 -g -target bpf -Wall -Werror -I/usr/include/$(shell $(CC) -print-multiarch) \
		-c $< -o $@

$(B)/synflood.skel.h: $(B)/synflood.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name synflood_bpf >$@

$(B)/tests/bench/synflood: $(B)/synflood.skel.h

bench: deps
	$(Q)$(MAKE) --no-print-directory bench-build
	$(Q)echo "# kernel programs"
	$(Q)$(B)/tests/bench/kernel_bench $(BENCH_ROUNDS)
	$(Q)echo "# parsers, of a core"
	$(Q)$(B)/tests/bench/parse_bench $(BENCH_ROUNDS)
	$(Q)echo "# ledger"
	$(Q)$(B)/tests/bench/ledger_bench $(BENCH_ROWS)
	$(Q)echo "# delivery"
	$(Q)WEIR_BUILD='$(abspath $(B))' $(PYTHON) tests/bench/delivery_bench.py \
		$(BENCH_ROUNDS:%=--rounds %) $(BENCH_BACKLOG:%=--backlog %)
	$(Q)echo "# open streams"
	$(Q)WEIR_BUILD='$(abspath $(B))' $(PYTHON) tests/soak/streams.py
	$(Q)echo "# beside firewalls"
	$(Q)WEIR_BUILD='$(abspath $(B))' $(PYTHON) tests/bench/firewalls.py $(BENCH_ROUNDS:%=--rounds %)
	$(Q)echo "# end to end"
	$(Q)WEIR_BUILD='$(abspath $(B))' $(PYTHON) tests/bench/e2e_bench.py $(BENCH_ROUNDS:%=--rounds %) \
		$(BENCH_ARGS)

-include $(BENCH_BIN:=.d)
