/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our links in bpffs. A pin is named by hook, network namespace and ifindex, so a
 * device is found again after a restart and whatever it is called by then (and a
 * name with a dot, which bpffs refuses, is no trouble). The pin holds the link: to
 * remove it is to take the program off.
 */
#ifndef WEIR_PINS_H
#define WEIR_PINS_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define WEIR_PIN_PATH 400

/* A device: no two that live at the same time have both numbers in common. */
struct weir_device {
	uint64_t netns; /* inode number of its namespace */
	int ifindex;
};

enum weir_hook { WEIR_HOOK_XDP, WEIR_HOOK_INGRESS, WEIR_HOOK_EGRESS, WEIR_HOOKS };

void weir_pin_path(const char *instance, enum weir_hook hook, const struct weir_device *d,
		   char out[static WEIR_PIN_PATH]);

/* The name of a pin, without its folder, taken apart. false: not a device's. */
bool weir_pin_parse(const char *name, enum weir_hook *hook, struct weir_device *d);

/* Id of the program in the device's pinned link; 0: none is pinned, or the link
 * hangs in the air because its device is gone (its pin is then removed). */
uint32_t weir_pin_program(const char *instance, enum weir_hook hook, const struct weir_device *d);

/* Put another program in the pinned link. 0, -ENOENT: there is no living link, or
 * -errno. */
int weir_pin_replace(const char *instance, enum weir_hook hook, const struct weir_device *d,
		     int prog_fd);

/* Put in every living device's link the program that prog() gives for the one that is there: an
 * fd, or -errno to leave it. Returns how many could not be replaced. */
unsigned weir_pins_replace(const char *instance, int (*prog)(void *ctx, uint32_t prog_id),
			   void *ctx);

/* Pin a link just made at path, in the place of what is there; closes link_fd. */
int weir_pin_link(int link_fd, const char *path, struct weir_error *err);

/* Remove the device's pin; nothing there is fine. */
void weir_pin_remove(const char *instance, enum weir_hook hook, const struct weir_device *d);

/* Remove the pins of every device that is not among keep[n]; returns how many still
 * held a program on a living device. */
unsigned weir_pins_sweep(const char *instance, const struct weir_device *keep, unsigned n);

/* Remove the pins of links whose device is gone. */
void weir_pins_drop_dead(const char *instance);

/* Remove all, that of the socket tracepoint included. */
int weir_pins_clear(const char *instance, struct weir_error *err);

#endif
