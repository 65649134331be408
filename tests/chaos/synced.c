// SPDX-License-Identifier: Apache-2.0
/*
 * What a power loss would leave. What was written and not synced is a list of ranges per path, for
 * any connection's sync is the file's.
 */
#include "tests/chaos/synced.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/chaos/faulty_vfs.h"

#define SECTOR 512

struct range {
	uint64_t at, n;
};

struct synced {
	struct synced *next;
	char *path;
	unsigned users;
	int fd; /* of the copy; -1: it was never synced */
	struct range *dirty;
	size_t n, cap;
};

static char synced_dir[256]; /* "": nothing is kept */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct synced *images;

uint64_t fault_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

void synced_folder(const char *dir)
{
	snprintf(synced_dir, sizeof(synced_dir), "%s", dir ? dir : "");
}

static int copy_path(const char *dir, const char *path, char *out, size_t n)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	return snprintf(out, n, "%s/%s", dir, name) < (int)n ? 0 : -ENAMETOOLONG;
}

static int copy_all(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char buf[65536];
	ssize_t n = -1;

	while (in >= 0 && out >= 0 && (n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			break;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return n ? -EIO : 0;
}

struct synced *synced_open(const char *path)
{
	struct synced *i;
	char copy[512];
	struct stat st;

	if (!synced_dir[0] || !path || copy_path(synced_dir, path, copy, sizeof(copy)))
		return NULL;
	pthread_mutex_lock(&lock);
	for (i = images; i && strcmp(i->path, path); i = i->next)
		;
	if (!i) {
		i = calloc(1, sizeof(*i));
		if (!i || !(i->path = strdup(path)))
			abort();
		if (access(copy, F_OK) && !stat(path, &st) && st.st_size && copy_all(path, copy))
			abort();
		i->fd = open(copy, O_RDWR | O_CLOEXEC);
		i->next = images;
		images = i;
	}
	i->users++;
	pthread_mutex_unlock(&lock);
	return i;
}

/* What is dirty stays known: it was not synced by being closed. */
void synced_close(struct synced *i)
{
	if (!i)
		return;
	pthread_mutex_lock(&lock);
	i->users--;
	pthread_mutex_unlock(&lock);
}

void synced_wrote(struct synced *i, uint64_t at, uint64_t n)
{
	struct range *last;

	if (!i || !n)
		return;
	pthread_mutex_lock(&lock);
	last = i->n ? &i->dirty[i->n - 1] : NULL;
	if (last && last->at + last->n == at) {
		last->n += n;
	} else {
		if (i->n == i->cap) {
			i->cap = i->cap ? 2 * i->cap : 64;
			i->dirty = realloc(i->dirty, i->cap * sizeof(*i->dirty));
			if (!i->dirty)
				abort();
		}
		i->dirty[i->n++] = (struct range){ at, n };
	}
	pthread_mutex_unlock(&lock);
}

static void keep_range(struct synced *i, int from, struct range r)
{
	char buf[65536];

	while (r.n) {
		ssize_t n = pread(from, buf, r.n < sizeof(buf) ? r.n : sizeof(buf), (off_t)r.at);

		if (n <= 0) /* it was cut short since */
			return;
		if (pwrite(i->fd, buf, (size_t)n, (off_t)r.at) != n)
			abort();
		r.at += (uint64_t)n;
		r.n -= (uint64_t)n;
	}
}

/* What has gone from the folder is gone for good. Under the lock. */
static void sync_folder(void)
{
	char copy[512];

	for (struct synced *i = images; i; i = i->next) {
		if (!access(i->path, F_OK) || copy_path(synced_dir, i->path, copy, sizeof(copy)))
			continue;
		if (i->fd >= 0)
			close(i->fd);
		i->fd = -1;
		unlink(copy);
	}
}

void synced_done(struct synced *i, bool ok)
{
	char copy[512];
	struct stat st;
	int from;

	if (!i)
		return;
	pthread_mutex_lock(&lock);
	if (ok) {
		from = open(i->path, O_RDONLY | O_CLOEXEC);
		if (i->fd < 0 && !copy_path(synced_dir, i->path, copy, sizeof(copy))) {
			/* SQLite syncs the folder with the first sync of what it made. */
			sync_folder();
			i->fd = open(copy, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		}
		if (from < 0 || i->fd < 0 || fstat(from, &st) || ftruncate(i->fd, st.st_size))
			abort();
		for (size_t k = 0; k < i->n; k++)
			keep_range(i, from, i->dirty[k]);
		close(from);
	}
	i->n = 0;
	pthread_mutex_unlock(&lock);
}

void synced_deleted(const char *path, bool durable)
{
	char copy[512];

	if (!synced_dir[0] || copy_path(synced_dir, path, copy, sizeof(copy)))
		return;
	pthread_mutex_lock(&lock);
	for (struct synced *i = images; i; i = i->next) {
		if (strcmp(i->path, path))
			continue;
		i->n = 0;
		if (durable && i->fd >= 0) {
			close(i->fd);
			i->fd = -1;
		}
	}
	if (durable)
		unlink(copy);
	pthread_mutex_unlock(&lock);
}

static void forget_images(void)
{
	pthread_mutex_lock(&lock);
	for (struct synced *i; (i = images);) {
		if (i->users)
			abort();
		images = i->next;
		if (i->fd >= 0)
			close(i->fd);
		free(i->path);
		free(i->dirty);
		free(i);
	}
	pthread_mutex_unlock(&lock);
}

/* Sectors between two ends of a file that differ from what was synced are as they were then, if
 * they go. */
static int lose_sectors(int fd, int from, off_t at, off_t end, uint64_t seed)
{
	char was[SECTOR], is[SECTOR];

	for (; at < end; at += SECTOR) {
		size_t n = end - at < SECTOR ? (size_t)(end - at) : SECTOR;

		memset(was, 0, n); /* where the file has grown: it is longer, and nothing in it */
		if (pread(fd, is, n, at) != (ssize_t)n || pread(from, was, n, at) < 0)
			return -EIO;
		if (memcmp(was, is, n) && (!seed || fault_mix(seed + (uint64_t)at) & 1) &&
		    pwrite(fd, was, n, at) != (ssize_t)n)
			return -EIO;
	}
	return 0;
}

static int lose_file(const char *path, const char *copy, uint64_t seed)
{
	struct stat was, is;
	int fd, from, ret;

	if (stat(copy, &was)) /* never synced: its name may not even be there */
		return unlink(path) && errno != ENOENT ? -errno : 0;
	/* Removed, or cut short: that is one change of the file system, durable by now or not. */
	if (stat(path, &is) || is.st_size < was.st_size) {
		if (seed & 2)
			return 0;
		return copy_all(copy, path);
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	from = open(copy, O_RDONLY | O_CLOEXEC);
	ret = fd < 0 || from < 0 ? -EIO : lose_sectors(fd, from, 0, is.st_size, seed);
	if (!ret && !seed && ftruncate(fd, was.st_size))
		ret = -EIO;
	if (fd >= 0)
		close(fd);
	if (from >= 0)
		close(from);
	return ret;
}

int faulty_vfs_lose(const char *db, const char *dir, uint64_t seed)
{
	static const char *const parts[] = { "", "-wal", "-journal" };
	char path[512], copy[512];
	int ret = 0;

	forget_images();
	for (size_t i = 0; !ret && i < 3; i++) {
		if (snprintf(path, sizeof(path), "%s%s", db, parts[i]) >= (int)sizeof(path))
			return -ENAMETOOLONG;
		ret = copy_path(dir, path, copy, sizeof(copy));
		if (!ret)
			ret = lose_file(path, copy, seed ? fault_mix(seed + i) | 1 : 0);
		unlink(copy); /* what is there now is what is durable */
	}
	snprintf(path, sizeof(path), "%s-shm", db);
	unlink(path);
	return ret;
}
