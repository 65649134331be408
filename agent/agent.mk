# SPDX-License-Identifier: Apache-2.0
# The daemon: everything but main.c is libweir.a, which tests and the CLI link too.

AGENT_SRC := $(filter-out agent/main.c,$(wildcard agent/*.c))
AGENT_OBJ := $(AGENT_SRC:%.c=$(B)/%.o)
# The parser of answers: files that call each other for every few bytes. What is linked with
# $(WHOLE) has them optimised as one; others take them as they are.
PARSER := http1 answer_head sse response usage usage_places usage_counts json_scan json_value \
          json_text json_tail
WHOLE  := -flto
SAN_OBJ   := $(AGENT_SRC:%.c=$(B)/san/%.o)

$(B)/ $(B)/agent/ $(B)/ctl/ $(B)/san/agent/ $(B)/tests/unit/ $(B)/tests/bpf/ $(B)/tests/fuzz/ $(B)/fuzz/agent/ $(B)/tests/bench/ $(B)/tests/e2e/:
	@mkdir -p $@

$(PARSER:%=$(B)/agent/%.o): CFLAGS += $(WHOLE) -ffat-lto-objects

# The skeleton is generated: what includes it cannot be compiled before it is there.
$(B)/agent/%.o: agent/%.c | $(B)/weir.skel.h $(B)/agent/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/san/agent/%.o: agent/%.c | $(B)/weir.skel.h $(B)/san/agent/
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -MMD -MP -c $< -o $@

$(B)/libweir.a: $(AGENT_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/libweir-san.a: $(SAN_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/weir-agent: $(B)/agent/main.o $(B)/libweir.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(WHOLE) $^ $(LDFLAGS) $(LDLIBS) -o $@

-include $(AGENT_OBJ:.o=.d) $(SAN_OBJ:.o=.d) $(B)/agent/main.d
