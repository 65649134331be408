/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a power loss would leave of SQLite's files: beside each a copy of what was synced. Inside of
 * the faulty VFS.
 */
#ifndef WEIR_SYNCED_H
#define WEIR_SYNCED_H

#include <stdbool.h>
#include <stdint.h>

struct synced; /* a path */

/* Where the copies are; NULL: none are made, and synced_open gives NULL, which is fine below. */
void synced_folder(const char *dir);

/* Before the file is opened: one that is there was synced by somebody. Any thread, as all here. */
struct synced *synced_open(const char *path);
void synced_close(struct synced *s);

void synced_wrote(struct synced *s, uint64_t at, uint64_t n);

/* A sync. ok: what was written is durable now. Else it never will be: the kernel takes pages that
 * it could not write for clean, and the next sync has nothing to say about them. */
void synced_done(struct synced *s, bool ok);

/* durable: the folder was synced too, or the name comes back with the power. */
void synced_deleted(const char *path, bool durable);

/* splitmix64: the n-th number of a seed by itself is that of seed + n. */
uint64_t fault_mix(uint64_t x);

#endif
