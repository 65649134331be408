# SPDX-License-Identifier: Apache-2.0
#
#   make            build the agent, the CLI and the kernel programs into build/
#   make demo       the main job on real traffic, in two network namespaces
#   make test       install what is missing, build, pass every test
#   make bench      the figures of the README
#   make install    DESTDIR, PREFIX, SYSCONFDIR honoured
#   make help       all targets
#
# V=1 shows the commands.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= /lib/systemd/system
VERSION    := 0.1.0

CC      := gcc
CLANG   ?= clang
BPFTOOL ?= /usr/sbin/bpftool
NODE    ?= node
PYTHON  := /usr/bin/python3

B := build
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))

LIBS     := libbpf zlib libzstd libnl-3.0 libnl-route-3.0 libnl-idiag-3.0 jansson libnats sqlite3 libcrypto libmicrohttpd glib-2.0
PKGFLAGS  = $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
LDLIBS    = $(shell pkg-config --libs $(LIBS) 2>/dev/null) -lpthread
CFLAGS   ?= -O2 -g
CFLAGS   += -std=gnu11 -Wall -Wextra -Werror -Wvla -Wmissing-prototypes -Wstrict-prototypes \
            -Wno-unused-parameter -fno-strict-aliasing -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' \
            -I. -I$(B) $(PKGFLAGS)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

.PHONY: all help deps clean
all: $(B)/weir-agent $(B)/weirctl

help:
	@sed -n '3,12s/^# \{0,1\}//p' Makefile
	@echo '  make deps check-format unit packet differential model e2e chaos soak fuzz test-vm clean'

deps:
	$(Q)scripts/deps

include bpf/bpf.mk
include agent/agent.mk
include ctl/ctl.mk
include tests/tests.mk
include scripts/install.mk
include scripts/demo.mk
include scripts/bench.mk
-include scripts/vm.mk

clean:
	$(Q)rm -rf $(B)
