/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces by path: opening one, and doing something inside one.
 */
#ifndef WEIR_NETNS_H
#define WEIR_NETNS_H

#include <stdint.h>

/* Open the network namespace at path and tell its inode number, which no other
 * living one has. Returns an fd (it keeps the namespace alive: close it soon),
 * -ENOENT if nothing is there, -EINVAL if it is no network namespace (`ip netns
 * add` makes the file first and mounts after), or another -errno. */
int weir_netns_open(const char *path, uint64_t *id);

/* Run fn(arg) inside the namespace of fd, in a thread that is thrown away, and wait
 * for it: the caller's thread never changes its namespace. fd -1: right here. 0 if
 * fn ran, or -errno. */
int weir_netns_call(int fd, void (*fn)(void *arg), void *arg);

#endif
