// SPDX-License-Identifier: Apache-2.0
/*
 * A disk that fails. Every file of SQLite's is one of the default VFS's, asked through here.
 */
#include "tests/chaos/faulty_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/chaos/synced.h"

struct file {
	sqlite3_file base;
	uint32_t kind;
	struct synced *image; /* NULL: none is kept */
	sqlite3_file *real;
};

static struct faults *control, own;
static sqlite3_vfs *under;

/* ---------------------------------------------------------------------- faults */

static void count(uint64_t *n)
{
	__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static int errno_of(uint32_t how)
{
	return how == FAULT_ENOSPC ? ENOSPC : how == FAULT_EROFS ? EROFS : EIO;
}

/* Is the last error of our making? Asked for once it has come up through all of SQLite. */
static bool ours(void)
{
	return __atomic_load_n(&control->on, __ATOMIC_ACQUIRE) && control->failed;
}

/* Is it this operation's turn? */
static bool fails(uint32_t op, uint32_t kind)
{
	uint64_t nth;

	if (!__atomic_load_n(&control->on, __ATOMIC_ACQUIRE) || !(control->ops & op) ||
	    (control->files && !(control->files & kind)))
		return false;
	nth = __atomic_fetch_add(&control->seen, 1, __ATOMIC_RELAXED);
	if (nth < control->skip || nth - control->skip >= control->fail)
		return false;
	if (control->one_in > 1 && fault_mix(control->seed + nth) % control->one_in)
		return false;
	count(&control->failed);
	return true;
}

void faulty_vfs_arm(uint32_t ops, uint32_t files, enum fault_how how, uint64_t skip, uint64_t fail)
{
	faulty_vfs_off();
	control->ops = ops;
	control->files = files;
	control->how = how;
	control->one_in = 0;
	control->skip = skip;
	control->fail = fail;
	control->seen = control->failed = 0;
	__atomic_store_n(&control->on, 1, __ATOMIC_RELEASE);
}

void faulty_vfs_off(void)
{
	__atomic_store_n(&control->on, 0, __ATOMIC_RELEASE);
}

struct faults *faulty_vfs_control(void)
{
	return control;
}

/* ----------------------------------------------------------------------- files */

#define REAL(f) ((struct file *)(f))->real

static int do_close(sqlite3_file *f)
{
	synced_close(((struct file *)f)->image);
	return REAL(f)->pMethods->xClose(REAL(f));
}

static int do_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	if (fails(FAULT_READ, ((struct file *)f)->kind))
		return SQLITE_IOERR_READ;
	return REAL(f)->pMethods->xRead(REAL(f), to, n, at);
}

static int do_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
	struct file *file = (struct file *)f;
	int rc, part;

	count(&control->writes);
	if (!fails(FAULT_WRITE, file->kind)) {
		rc = REAL(f)->pMethods->xWrite(REAL(f), from, n, at);
		synced_wrote(file->image, (uint64_t)at, (uint64_t)n);
		return rc;
	}
	if (control->how == FAULT_ENOSPC)
		return SQLITE_FULL;
	part = (int)(fault_mix(control->seed + (uint64_t)at) % (uint64_t)n);
	if (control->how == FAULT_TORN && part) {
		rc = REAL(f)->pMethods->xWrite(REAL(f), from, part, at);
		synced_wrote(file->image, (uint64_t)at, (uint64_t)part);
		if (rc != SQLITE_OK)
			return rc;
	}
	return SQLITE_IOERR_WRITE;
}

static int do_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	count(&control->truncates);
	if (fails(FAULT_TRUNCATE, ((struct file *)f)->kind))
		return SQLITE_IOERR_TRUNCATE;
	return REAL(f)->pMethods->xTruncate(REAL(f), size);
}

static int do_sync(sqlite3_file *f, int flags)
{
	struct file *file = (struct file *)f;
	int rc = SQLITE_IOERR_FSYNC;

	count(&control->syncs);
	if (!fails(FAULT_SYNC, file->kind))
		rc = REAL(f)->pMethods->xSync(REAL(f), flags);
	synced_done(file->image, rc == SQLITE_OK);
	return rc;
}

static int do_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return REAL(f)->pMethods->xFileSize(REAL(f), size);
}

static int do_lock(sqlite3_file *f, int level)
{
	return REAL(f)->pMethods->xLock(REAL(f), level);
}

static int do_unlock(sqlite3_file *f, int level)
{
	return REAL(f)->pMethods->xUnlock(REAL(f), level);
}

static int do_reserved(sqlite3_file *f, int *out)
{
	return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out);
}

static int do_control(sqlite3_file *f, int op, void *arg)
{
	if (op == SQLITE_FCNTL_LAST_ERRNO && ours()) {
		*(int *)arg = errno_of(control->how);
		return SQLITE_OK;
	}
	return REAL(f)->pMethods->xFileControl(REAL(f), op, arg);
}

static int do_sector(sqlite3_file *f)
{
	return REAL(f)->pMethods->xSectorSize(REAL(f));
}

static int do_device(sqlite3_file *f)
{
	return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}

static int do_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
	if (extend && fails(FAULT_SHM, ((struct file *)f)->kind))
		return control->how == FAULT_ENOSPC ? SQLITE_FULL : SQLITE_IOERR_SHMSIZE;
	return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, out);
}

static int do_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return REAL(f)->pMethods->xShmLock(REAL(f), at, n, flags);
}

static void do_shm_barrier(sqlite3_file *f)
{
	REAL(f)->pMethods->xShmBarrier(REAL(f));
}

static int do_shm_unmap(sqlite3_file *f, int remove)
{
	return REAL(f)->pMethods->xShmUnmap(REAL(f), remove);
}

/* Version 2: without the pages of a database mapped into memory, which nobody could fail. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = do_close,
	.xRead = do_read,
	.xWrite = do_write,
	.xTruncate = do_truncate,
	.xSync = do_sync,
	.xFileSize = do_size,
	.xLock = do_lock,
	.xUnlock = do_unlock,
	.xCheckReservedLock = do_reserved,
	.xFileControl = do_control,
	.xSectorSize = do_sector,
	.xDeviceCharacteristics = do_device,
	.xShmMap = do_shm_map,
	.xShmLock = do_shm_lock,
	.xShmBarrier = do_shm_barrier,
	.xShmUnmap = do_shm_unmap,
};

/* ------------------------------------------------------------------------- VFS */

static int do_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *got)
{
	struct file *file = (struct file *)f;
	int rc;

	file->base.pMethods = NULL;
	file->real = (sqlite3_file *)(file + 1);
	file->kind = flags & SQLITE_OPEN_MAIN_DB ? FAULT_DB
		     : flags & SQLITE_OPEN_WAL	 ? FAULT_WAL
						 : FAULT_OTHER;
	if (fails(FAULT_OPEN, file->kind))
		return SQLITE_CANTOPEN;
	/* Before it is there: what is new was never synced. */
	file->image = synced_open(path);
	rc = under->xOpen(under, path, file->real, flags, got);
	if (rc != SQLITE_OK) {
		synced_close(file->image);
		return rc;
	}
	count(&control->opened);
	file->base.pMethods = &methods;
	return SQLITE_OK;
}

static int do_delete(sqlite3_vfs *v, const char *path, int sync_folder)
{
	size_t n = strlen(path);
	int rc;

	if (fails(FAULT_DELETE, n > 4 && !strcmp(path + n - 4, "-wal") ? FAULT_WAL : FAULT_OTHER))
		return SQLITE_IOERR_DELETE;
	rc = under->xDelete(under, path, sync_folder);
	if (rc == SQLITE_OK)
		synced_deleted(path, sync_folder);
	return rc;
}

static int do_access(sqlite3_vfs *v, const char *path, int flags, int *out)
{
	return under->xAccess(under, path, flags, out);
}

static int do_full_path(sqlite3_vfs *v, const char *path, int n, char *out)
{
	return under->xFullPathname(under, path, n, out);
}

static int do_random(sqlite3_vfs *v, int n, char *out)
{
	return under->xRandomness(under, n, out);
}

static int do_sleep(sqlite3_vfs *v, int us)
{
	return under->xSleep(under, us);
}

static int do_time(sqlite3_vfs *v, double *out)
{
	return under->xCurrentTime(under, out);
}

static int do_time64(sqlite3_vfs *v, sqlite3_int64 *out)
{
	return under->xCurrentTimeInt64(under, out);
}

static int do_last_error(sqlite3_vfs *v, int n, char *out)
{
	if (ours())
		return errno_of(control->how);
	return under->xGetLastError(under, n, out);
}

static sqlite3_vfs vfs = {
	.iVersion = 2,
	.zName = "faulty",
	.xOpen = do_open,
	.xDelete = do_delete,
	.xAccess = do_access,
	.xFullPathname = do_full_path,
	.xRandomness = do_random,
	.xSleep = do_sleep,
	.xCurrentTime = do_time,
	.xGetLastError = do_last_error,
	.xCurrentTimeInt64 = do_time64,
};

static int map_control(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), ret = 0;
	void *p;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*control))) {
		ret = -errno;
	} else {
		p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			ret = -errno;
		else
			control = p;
	}
	close(fd);
	return ret;
}

int faulty_vfs_install(const char *path, const char *dir)
{
	int ret = 0;

	control = &own;
	if (path)
		ret = map_control(path);
	if (ret)
		return ret;
	control->magic = FAULTS_MAGIC;
	synced_folder(dir);
	under = sqlite3_vfs_find(NULL);
	if (!under)
		return -ENOENT;
	vfs.szOsFile = (int)sizeof(struct file) + under->szOsFile;
	vfs.mxPathname = under->mxPathname;
	return sqlite3_vfs_register(&vfs, 1) == SQLITE_OK ? 0 : -EIO;
}

/* Preloaded: it is there before the program's first database. A test that asked for faults and has
 * none would show nothing. */
__attribute__((constructor)) static void preloaded(void)
{
	const char *path = getenv("WEIR_FAULTS");

	if (path && faulty_vfs_install(path, getenv("WEIR_FAULTS_SYNCED"))) {
		fprintf(stderr, "faulty_vfs: %s: cannot be used\n", path);
		abort();
	}
}
