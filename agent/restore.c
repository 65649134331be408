// SPDX-License-Identifier: Apache-2.0
/*
 * Putting a backup back. It is copied beside the database and looked at there, down to each hash
 * of the chain; only then do two renames exchange them, and what was there stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/backup.h"
#include "agent/ledger_read.h"
#include "agent/restored.h"
#include "agent/store.h"

static int sync_fd(int fd, const char *path, struct weir_error *err)
{
	if (fd >= 0 && !fsync(fd))
		return 0;
	return weir_fail(err, errno, "%s: not made durable: %s", path, strerror(errno));
}

static int sync_folder_of(const char *path, struct weir_error *err)
{
	weir_autoclose int fd = -1;
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = 0;
	fd = open(dir[0] ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return sync_fd(fd, dir, err);
}

static int copy_file(const char *from, const char *to, struct weir_error *err)
{
	weir_autoclose int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
	ssize_t n = 1;

	if (in < 0)
		return weir_fail(err, errno, "%s: %s", from, strerror(errno));
	unlink(to);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (out < 0)
		return weir_fail(err, errno, "%s: %s", to, strerror(errno));
	while (n > 0) {
		n = copy_file_range(in, NULL, out, NULL, 1 << 26, 0);
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS)) {
			weir_autofree char *buf = malloc(1 << 20);

			n = buf ? read(in, buf, 1 << 20) : -1;
			if (n > 0 && write(out, buf, (size_t)n) != n)
				n = -1;
		}
	}
	if (n < 0)
		return weir_fail(err, errno, "%s: cannot be copied to %s: %s", from, to,
				 strerror(errno));
	return sync_fd(out, to, err);
}

/* The chain, where its segments are; a schema of before is looked at when it has been migrated. */
static int check_chain(const char *path, int schema, struct weir_error *err)
{
	struct weir_reader *rd;
	struct weir_verify v;
	int ret;

	if (schema < weir_store_version())
		return 0;
	ret = weir_reader_open(path, &rd, err);
	if (ret)
		return ret;
	ret = weir_reader_verify_chain(rd, &v, err);
	weir_reader_close(rd);
	return ret;
}

/* The database with its WAL, under another name. */
static int move_aside(const char *db_path, char aside[static 256], struct weir_error *err)
{
	static const char *const ends[] = { "-wal", "-shm", "" };
	char from[PATH_MAX], to[PATH_MAX], stamp[32];
	time_t now = time(NULL);
	struct tm tm;

	aside[0] = 0;
	if (access(db_path, F_OK))
		return 0;
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	if (snprintf(aside, 256, "%s.before-%s", db_path, stamp) >= 256)
		return weir_fail(err, ENAMETOOLONG, "%s: the path is too long", db_path);
	if (!access(aside, F_OK))
		return weir_fail(err, EEXIST, "%s: is there already; wait a second", aside);
	/* The WAL first: without its database it is nothing, the other way round it is a loss. */
	for (size_t i = 0; i < 3; i++) {
		snprintf(from, sizeof(from), "%s%s", db_path, ends[i]);
		snprintf(to, sizeof(to), "%s%s", aside, ends[i]);
		if (rename(from, to) && errno != ENOENT)
			return weir_fail(err, errno, "%s: cannot be moved aside: %s", from,
					 strerror(errno));
	}
	return 0;
}

/* The agent's next start is to see what the stream has behind it (rederive.h). */
static int leave_mark(const char *part, const struct weir_backup_info *info, struct weir_error *err)
{
	struct weir_restored_mark m = {
		.time_ns = weir_wall_ns(),
		.newest = info->newest,
		.newest_time_ns = info->time_ns,
	};

	memcpy(m.head, info->head, sizeof(m.head));
	return weir_restored_put_mark(part, &m, err);
}

static int put_back(const char *part, const char *db_path, char aside[static 256],
		    struct weir_error *err)
{
	int ret = move_aside(db_path, aside, err);

	if (!ret && rename(part, db_path))
		ret = weir_fail(err, errno, "%s: %s; what was there is %s", db_path,
				strerror(errno), aside);
	return ret ? ret : sync_folder_of(db_path, err);
}

int weir_backup_restore(const char *file, const char *db_path, char aside[static 256],
			struct weir_backup_info *out, struct weir_error *err)
{
	struct weir_backup_info info;
	char part[PATH_MAX], end[PATH_MAX + 8];
	int ret;

	if (snprintf(part, sizeof(part), "%s.restore", db_path) >= (int)sizeof(part))
		return weir_fail(err, ENAMETOOLONG, "%s: the path is too long", db_path);
	ret = weir_backup_check(file, &info, err);
	if (!ret)
		ret = copy_file(file, part, err);
	if (!ret)
		ret = check_chain(part, info.schema, err);
	if (!ret)
		ret = leave_mark(part, &info, err);
	if (!ret)
		ret = put_back(part, db_path, aside, err);
	if (ret) {
		unlink(part);
		return ret;
	}
	for (size_t i = 0; i < 2; i++) {
		snprintf(end, sizeof(end), "%s%s", part, i ? "-wal" : "-shm");
		unlink(end);
	}
	*out = info;
	return 0;
}
