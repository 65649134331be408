/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backups as files: made from a running agent, checked, and put back while none runs.
 */
#ifndef WEIR_BACKUP_H
#define WEIR_BACKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/ledger_entry.h"
#include "agent/writer.h"
#include "util.h"

/* What a backup, or a database that was put back, has. */
struct weir_backup_info {
	char ledger_id[40];
	int schema;
	uint64_t bytes;
	uint64_t entries;	       /* in the file: of the main log */
	uint64_t newest;	       /* seq of the last entry; 0: none */
	uint64_t time_ns;	       /* its time */
	uint64_t segments;	       /* files beside the database that are not in it */
	uint8_t head[WEIR_HASH_BYTES]; /* its hash */
};

enum weir_backup_phase { WEIR_BACKUP_COPYING, WEIR_BACKUP_CHECKING };

/*
 * Copy the writer's ledger into a file, mode 0600, which is there under its name only when it is
 * complete, checked and durable; force: in place of a backup that is there. progress (may be NULL)
 * is called with pages done and in all, now and then; not 0 ends it with that.
 */
int weir_backup_make(struct weir_writer *w, const char *file, bool force,
		     int (*progress)(void *ctx, enum weir_backup_phase phase, int done, int total),
		     void *ctx, struct weir_backup_info *out, struct weir_error *err);

/* Is a file a ledger of ours, whole, and ending as it says? -EINVAL, -ENOTSUP (schema newer than
 * ours), -EBADMSG with err. */
int weir_backup_check(const char *file, struct weir_backup_info *out, struct weir_error *err);

/*
 * Put a backup in the place of the database at db_path; the caller holds the instance's lock.
 * What is there is moved aside, to `aside` ("" if there was nothing).
 */
int weir_backup_restore(const char *file, const char *db_path, char aside[static 256],
			struct weir_backup_info *out, struct weir_error *err);

#endif
