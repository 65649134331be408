# SPDX-License-Identifier: Apache-2.0
# Figures of the kernel programs by BPF_PROG_TEST_RUN. Needs root and a quiet machine.

$(B)/tests/bench/kernel_bench: tests/bench/kernel_bench.c $(B)/libweir.a | $(B)/tests/bench/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP $< $(B)/libweir.a $(LDFLAGS) $(LDLIBS) -o $@
