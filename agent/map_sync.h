/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Make a hash map hold exactly what is wanted, by changing only what differs: a policy
 * that is applied again costs a read of the map, thousands of entries a system call.
 * Nobody else may write the map meanwhile.
 */
#ifndef WEIR_MAP_SYNC_H
#define WEIR_MAP_SYNC_H

#include <stddef.h>

struct weir_map_want {
	int fd;
	size_t key_bytes, value_bytes;
	void *entries; /* a key and, right behind it, its value, n times; no key twice */
	size_t n;
};

/* Sorts the entries, once, before the others are called. */
void weir_map_want_sort(const struct weir_map_want *w);

/* Put in what is not there, or there with another value. 0 or -errno. */
int weir_map_add(const struct weir_map_want *w);
/* Take out what is not wanted. 0 or -errno. */
int weir_map_drop(const struct weir_map_want *w);

#endif
