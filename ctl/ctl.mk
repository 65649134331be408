# SPDX-License-Identifier: Apache-2.0
# The CLI: a client of the agent's socket.

CTL_SRC := $(wildcard ctl/*.c)
CTL_OBJ := $(CTL_SRC:%.c=$(B)/%.o)

$(B)/ctl/%.o: ctl/%.c | $(B)/weir.skel.h $(B)/ctl/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/weirctl: $(CTL_OBJ) $(B)/libweir.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDLIBS) -o $@

-include $(CTL_OBJ:.o=.d)

# Runs the program itself.
$(B)/tests/unit/test_ctl $(B)/tests/unit/test_ctl_credit $(B)/tests/unit/test_ctl_usage: | $(B)/weirctl
