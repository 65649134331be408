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

enum weir_map_sync {
	WEIR_MAP_ADD,	   /* put in what is not there, or there with another value */
	WEIR_MAP_DROP,	   /* take out what is not wanted */
	WEIR_MAP_ADD_DROP, /* first this, then that */
	WEIR_MAP_DROP_ADD,
};

/* 0 or -errno. */
int weir_map_sync(const struct weir_map_want *w, enum weir_map_sync how);

#endif
