# SPDX-License-Identifier: Apache-2.0
# demo: installs what is missing, builds, and shows the main job on real traffic,
# in namespaces of its own (root). KEEP=1 stays up to look around.

.PHONY: demo
demo: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)KEEP='$(KEEP)' NODE='$(NODE)' WEIR_BUILD='$(abspath $(B))' $(PYTHON) scripts/demo
