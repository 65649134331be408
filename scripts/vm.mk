# SPDX-License-Identifier: Apache-2.0
# test-vm: everything loads and does its main job on Debian 12's stock kernel, 6.1,
# in an emulated machine (scripts/vm). Root, for apt only.

.PHONY: test-vm
test-vm: deps
	$(Q)$(MAKE) --no-print-directory -j2 all packet-build
	$(Q)scripts/vm --seconds 3600 env WEIR_BUILD='$(abspath $(B))' tests/vm/run $(PACKET_BIN)
