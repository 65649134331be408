/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails, as a VFS of SQLite in front of the default one. Which operation fails, and
 * how, is said in memory: the test's own, or a file that another process has mapped (preloaded into
 * an agent: WEIR_FAULTS names the file). It also keeps what a power loss would leave: beside each
 * file a copy with only what was synced (WEIR_FAULTS_SYNCED names the folder), and a failed sync
 * loses for good what was written before it, as Linux does.
 *
 * Of the memory-mapped parts only -shm is used, which a power loss takes away.
 */
#ifndef WEIR_FAULTY_VFS_H
#define WEIR_FAULTY_VFS_H

#include <stddef.h>
#include <stdint.h>

#define FAULTS_MAGIC 0x57464c54 /* "WFLT" */

enum fault_op {
	FAULT_WRITE = 1 << 0,
	FAULT_SYNC = 1 << 1,
	FAULT_TRUNCATE = 1 << 2,
	FAULT_READ = 1 << 3,
	FAULT_OPEN = 1 << 4,
	FAULT_DELETE = 1 << 5,
	FAULT_SHM = 1 << 6, /* making the WAL's index longer */
	/* What changes the disk. */
	FAULT_CHANGES = FAULT_WRITE | FAULT_SYNC | FAULT_TRUNCATE | FAULT_DELETE | FAULT_SHM,
};

enum fault_file {
	FAULT_DB = 1 << 0,
	FAULT_WAL = 1 << 1,
	FAULT_OTHER = 1 << 2, /* journals, backups, temporary ones */
};

enum fault_how {
	FAULT_EIO,
	FAULT_ENOSPC,
	FAULT_TORN,  /* of a write: a part of it is done, then EIO; else as EIO */
	FAULT_EROFS, /* as a file system that was made read-only under open files */
};

/* Laid out for ctypes too: all little-endian u32, then u64. */
struct faults {
	uint32_t magic;
	uint32_t on;	     /* stored last, and first taken back */
	uint32_t ops, files; /* of which: masks; files 0: all */
	uint32_t how;
	uint32_t one_in; /* of those that would fail one of so many does, by seed; 0, 1: all */
	uint64_t skip;	 /* so many go well first */
	uint64_t fail;	 /* then so many do not; UINT64_MAX: until it is off */
	uint64_t seed;
	/* Written by the VFS. seen, failed: set to 0 before on. */
	uint64_t seen; /* of ops and files, while on */
	uint64_t failed;
	uint64_t writes, syncs, truncates; /* ever */
	uint64_t opened;		   /* files, ever: 0 says that it is in nobody's way */
};

/* Register it as the default. control NULL: memory of this process; else a file, made if missing.
 * synced NULL: nothing is kept for a power loss. 0 or -errno. Once per process. */
int faulty_vfs_install(const char *control, const char *synced);

struct faults *faulty_vfs_control(void);

/* Let the next fail of ops fail after skip; all of it off. */
void faulty_vfs_arm(uint32_t ops, uint32_t files, enum fault_how how, uint64_t skip, uint64_t fail);
void faulty_vfs_off(void);

/*
 * The power is lost: of a database that nobody has open, its WAL and its journal what was not
 * synced is taken back. seed 0: all of it; else each sector of 512 bytes stays or goes by chance,
 * so that what was in flight is torn. 0 or -errno.
 */
int faulty_vfs_lose(const char *db, const char *synced, uint64_t seed);

#endif
