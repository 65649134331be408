# SPDX-License-Identifier: Apache-2.0
# make install: programs, unit, manual page, completion, and a configuration to
# begin with. A configuration that is there is never touched.

SBINDIR  := $(DESTDIR)$(PREFIX)/sbin
BINDIR   := $(DESTDIR)$(PREFIX)/bin
MANDIR   := $(DESTDIR)$(PREFIX)/share/man/man1
COMPDIR  := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
CONFDIR  := $(DESTDIR)$(SYSCONFDIR)/weir
POLICIES := $(wildcard policies/*.json)
SCHEMAS  := $(wildcard policies/schema/*.json)

.PHONY: install uninstall

$(B)/weirctl.1: $(B)/weirctl
	$(call say,MAN,$@)
	$(Q)$< help --man >$@

$(B)/weirctl.bash: $(B)/weirctl
	$(call say,GEN,$@)
	$(Q)$< help --completion >$@

$(B)/weir-agent.service: scripts/weir-agent.service | $(B)/
	$(call say,GEN,$@)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $< >$@

# The unit depends on PREFIX, which is no file: made anew by each install.
install: $(B)/weir-agent $(B)/weirctl $(B)/weirctl.1 $(B)/weirctl.bash
	$(call say,INSTALL,'$(DESTDIR)$(PREFIX)')
	$(Q)rm -f $(B)/weir-agent.service
	$(Q)$(MAKE) --no-print-directory $(B)/weir-agent.service
	$(Q)install -d $(SBINDIR) $(BINDIR) $(MANDIR) $(COMPDIR) $(DESTDIR)$(UNITDIR)
	$(Q)install -m 755 $(B)/weir-agent $(SBINDIR)/weir-agent
	$(Q)install -m 755 $(B)/weirctl $(BINDIR)/weirctl
	$(Q)install -m 644 $(B)/weirctl.1 $(MANDIR)/weirctl.1
	$(Q)install -m 644 $(B)/weirctl.bash $(COMPDIR)/weirctl
	$(Q)install -m 644 $(B)/weir-agent.service $(DESTDIR)$(UNITDIR)/weir-agent.service
	$(Q)install -d -m 755 $(CONFDIR)
	$(Q)[ -e $(CONFDIR)/agent.json ] || install -m 640 scripts/agent.json $(CONFDIR)/agent.json
	$(Q)[ -e $(CONFDIR)/policies ] || { install -d -m 750 $(CONFDIR)/policies && \
		install -m 640 $(POLICIES) $(CONFDIR)/policies/; }
	$(Q)[ -z "$(SCHEMAS)" ] || { install -d $(DESTDIR)$(PREFIX)/share/weir/schema && \
		install -m 644 $(SCHEMAS) $(DESTDIR)$(PREFIX)/share/weir/schema/; }

# Configuration and ledger stay.
uninstall:
	$(Q)rm -f $(SBINDIR)/weir-agent $(BINDIR)/weirctl $(MANDIR)/weirctl.1 $(COMPDIR)/weirctl \
		$(DESTDIR)$(UNITDIR)/weir-agent.service
	$(Q)rm -rf $(DESTDIR)$(PREFIX)/share/weir
