// SPDX-License-Identifier: Apache-2.0
/*
 * The spill: a page for the header, then a ring of rows. Memory is taken and given back a chunk at
 * a time: so many rows that a chunk is whole pages.
 */
#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAGIC	    0x5745495253504c4cULL /* "WEIRSPLL" */
#define VERSION	    1
#define PAGE	    4096
#define CHUNK_ROWS  512
#define CHUNK_BYTES (CHUNK_ROWS * sizeof(struct weir_row))
_Static_assert(CHUNK_BYTES % PAGE == 0, "a chunk is given back in whole pages");

/* This share of the file system stays free: the parsers of open requests are in it too, and a page
 * that cannot be had when it is written to ends the agent (SIGBUS). */
#define SPARE 16

struct header {
	uint64_t magic;
	uint32_t version, row_version;
	uint32_t row_bytes, pad;
	uint64_t capacity; /* rows, whole chunks */
	/* Rows ever: given back <= taken <= put. Where memory is given back nobody writes yet. */
	uint64_t freed __attribute__((aligned(64)));
	uint64_t head; /* with freed, the taker's */
	uint64_t tail __attribute__((aligned(64)));
};

struct weir_spill {
	int fd;
	struct header *h;
	struct weir_row *rows;
	size_t bytes;
};

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static bool is_ours(const struct header *h)
{
	return h->magic == MAGIC && h->version == VERSION && h->row_version == WEIR_ROW_VERSION &&
	       h->row_bytes == sizeof(struct weir_row) && h->capacity % CHUNK_ROWS == 0 &&
	       h->freed % CHUNK_ROWS == 0 && h->freed <= h->head && h->head <= h->tail &&
	       h->tail - h->freed <= h->capacity;
}

static size_t file_bytes(uint64_t capacity)
{
	return PAGE + capacity * sizeof(struct weir_row);
}

/* ---------------------------------------------------------------------- memory */

static off_t chunk_at(const struct weir_spill *s, uint64_t row)
{
	return PAGE + (off_t)(row % s->h->capacity * sizeof(struct weir_row));
}

/* Bytes that may still be had without using up what is to stay free. */
static uint64_t fs_room(const struct weir_spill *s)
{
	struct statvfs fs;
	uint64_t spare;

	if (fstatvfs(s->fd, &fs))
		return 0;
	spare = fs.f_blocks / SPARE;
	return fs.f_bavail > spare ? (fs.f_bavail - spare) * fs.f_frsize : 0;
}

/* Before the first row of a chunk: written to without it, a full file system would be a SIGBUS. */
static bool take_chunk(struct weir_spill *s, uint64_t row)
{
	return fs_room(s) >= CHUNK_BYTES &&
	       !fallocate(s->fd, FALLOC_FL_KEEP_SIZE, chunk_at(s, row), CHUNK_BYTES);
}

/* Until freed moves nobody writes there; killed before it does, the next agent does this again. */
static void give_back(struct weir_spill *s)
{
	struct header *h = s->h;

	while (h->head - h->freed >= CHUNK_ROWS) {
		/* A file system without holes keeps the memory for the next time. */
		if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      chunk_at(s, h->freed), CHUNK_BYTES) &&
		    errno == EINTR)
			continue;
		store(&h->freed, h->freed + CHUNK_ROWS);
	}
}

/* ------------------------------------------------------------------------ file */

static int fail_at(const char *path, const char *what, struct weir_error *err)
{
	return weir_fail(err, errno, "%s: cannot %s it: %s", path, what, strerror(errno));
}

/* What is there, if it is of use. The capacity is that of rows which wait, else the one asked for.
 */
static int look(int fd, const char *path, uint64_t want, uint64_t *capacity, bool *begin,
		struct weir_error *err)
{
	struct header h = { 0 };
	struct stat st;
	ssize_t n = pread(fd, &h, sizeof(h), 0);

	if (n < 0 || fstat(fd, &st))
		return fail_at(path, "read", err);
	*begin = n < (ssize_t)sizeof(h) || !h.magic;
	*capacity = want;
	if (*begin)
		return 0;
	if (!is_ours(&h) || (uint64_t)st.st_size < file_bytes(h.capacity))
		return weir_fail(err, EPROTO,
				 "%s: damaged, or written by another version of weir-agent, with "
				 "%" PRIu64 " finished requests not in the ledger yet; start that "
				 "version once to commit them, or remove the file to give them up",
				 path, h.tail - h.head);
	if (h.head == h.tail)
		*begin = h.capacity != want;
	else
		*capacity = h.capacity;
	return 0;
}

static int map(struct weir_spill *s, const char *path, uint64_t capacity, bool begin,
	       struct weir_error *err)
{
	if (begin && ftruncate(s->fd, 0))
		return fail_at(path, "empty", err);
	s->bytes = file_bytes(capacity);
	if (ftruncate(s->fd, (off_t)s->bytes) || fallocate(s->fd, 0, 0, PAGE))
		return fail_at(path, "lengthen", err);
	s->h = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->h == MAP_FAILED) {
		s->h = NULL;
		return fail_at(path, "map", err);
	}
	s->rows = (struct weir_row *)((uint8_t *)s->h + PAGE);
	if (!begin)
		return 0;
	s->h->version = VERSION;
	s->h->row_version = WEIR_ROW_VERSION;
	s->h->row_bytes = sizeof(struct weir_row);
	s->h->capacity = capacity;
	store(&s->h->magic, MAGIC);
	return 0;
}

int weir_spill_open(const char *path, uint64_t max_bytes, struct weir_spill **out,
		    struct weir_error *err)
{
	struct weir_spill *s = calloc(1, sizeof(*s));
	uint64_t capacity = 0;
	bool begin = false;
	int ret = 0;

	if (!s)
		return weir_fail(err, ENOMEM, "out of memory");
	s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->fd < 0)
		ret = fail_at(path, "open", err);
	if (!ret)
		ret = look(s->fd, path, max_bytes / CHUNK_BYTES * CHUNK_ROWS, &capacity, &begin,
			   err);
	if (!ret)
		ret = map(s, path, capacity, begin, err);
	if (ret) {
		weir_spill_close(s);
		return ret;
	}
	give_back(s);
	*out = s;
	return 0;
}

void weir_spill_close(struct weir_spill *s)
{
	if (!s)
		return;
	if (s->h)
		munmap(s->h, s->bytes);
	weir_close_fd(&s->fd);
	free(s);
}

bool weir_spill_file_empty(const char *path)
{
	weir_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct header h;

	return fd < 0 || read(fd, &h, sizeof(h)) != sizeof(h) || h.magic != MAGIC ||
	       h.head == h.tail;
}

/* ------------------------------------------------------------------------ rows */

bool weir_spill_put(struct weir_spill *s, const struct weir_row *row)
{
	struct header *h = s->h;
	uint64_t tail = h->tail;

	if (tail - load(&h->freed) >= h->capacity)
		return false;
	if (tail % CHUNK_ROWS == 0 && !take_chunk(s, tail))
		return false;
	s->rows[tail % h->capacity] = *row;
	store(&h->tail, tail + 1);
	return true;
}

const struct weir_row *weir_spill_peek(struct weir_spill *s, size_t *n)
{
	uint64_t ready = weir_spill_rows(s), at;

	if (!ready) {
		*n = 0;
		return NULL;
	}
	at = s->h->head % s->h->capacity;
	if (ready > s->h->capacity - at)
		ready = s->h->capacity - at; /* up to the wrap */
	if (*n > ready)
		*n = ready;
	return *n ? &s->rows[at] : NULL;
}

void weir_spill_pop(struct weir_spill *s, size_t n)
{
	store(&s->h->head, s->h->head + n);
	give_back(s);
}

uint64_t weir_spill_rows(const struct weir_spill *s)
{
	uint64_t head = load(&s->h->head);

	return load(&s->h->tail) - head;
}

void weir_spill_bytes(const struct weir_spill *s, uint64_t *used, uint64_t *max)
{
	uint64_t freed = load(&s->h->freed), tail = load(&s->h->tail), room = fs_room(s);
	uint64_t most = s->h->capacity * sizeof(struct weir_row);

	*used = (tail - freed + CHUNK_ROWS - 1) / CHUNK_ROWS * CHUNK_BYTES;
	*max = *used + room < most ? *used + room : most;
}
