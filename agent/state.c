// SPDX-License-Identifier: Apache-2.0
/*
 * The state file. One writer (the ring consumer) for parsers and for the queue's
 * tail, one (the ledger's writer) for its head.
 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC	0x5745495253544154ULL /* "WEIRSTAT" */
#define VERSION 3
#define QUEUE	16384 /* rows; at 100 k/s and 20 ms a group, four groups deep and then some */
#define PAGE	4096

struct header {
	uint64_t magic;
	uint32_t version, row_version;
	uint32_t row_bytes, parser_bytes;
	uint32_t max_slots, queue;
	uint64_t maps_id;
	uint64_t head __attribute__((aligned(64))); /* rows committed, ever */
	uint64_t tail __attribute__((aligned(64))); /* rows put, ever */
};

struct parser {
	uint64_t active; /* 0 or 1 */
	struct weir_open copy[2];
};

struct weir_state {
	struct header *h;
	struct weir_row *rows;
	struct parser *parsers;
	uint8_t *base;
	size_t bytes;
};

static size_t round_up(size_t n)
{
	return (n + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static bool same_layout(const struct header *h)
{
	return h->magic == MAGIC && h->version == VERSION && h->row_version == WEIR_ROW_VERSION &&
	       h->row_bytes == sizeof(struct weir_row) &&
	       h->parser_bytes == sizeof(struct parser) && h->queue == QUEUE;
}

/* Throw the parsers' pages away; they read as zeros afterwards. */
static void forget_parsers(struct weir_state *s, int fd)
{
	off_t at = (uint8_t *)s->parsers - s->base;

	if (ftruncate(fd, at) || ftruncate(fd, s->bytes))
		memset(s->parsers, 0, s->bytes - at);
}

/* ------------------------------------------------------- files of older versions */

/* How long a row was in each version of the file; both had the same number. */
static const uint32_t row_bytes_of[] = { [1] = WEIR_ROW_BYTES_1, [2] = WEIR_ROW_BYTES_2 };
_Static_assert(sizeof(row_bytes_of) / sizeof(*row_bytes_of) == VERSION &&
		       VERSION == WEIR_ROW_VERSION,
	       "an older version of the row");

static bool is_older(const struct header *h)
{
	return h->magic == MAGIC && h->version >= 1 && h->version < VERSION &&
	       h->row_version == h->version && h->row_bytes == row_bytes_of[h->version] &&
	       h->queue == QUEUE && h->tail >= h->head && h->tail - h->head <= QUEUE;
}

/* The waiting rows of one file to the start of another's queue. What a row did not have is
 * unknown, or none. */
static bool copy_rows(int from, const struct header *h, int to)
{
	off_t queue_at = round_up(sizeof(*h));
	struct header new = { .version = VERSION,
			      .row_version = WEIR_ROW_VERSION,
			      .row_bytes = sizeof(struct weir_row),
			      .parser_bytes = sizeof(struct parser),
			      .queue = QUEUE,
			      .tail = h->tail - h->head,
			      .magic = MAGIC };

	for (uint64_t i = 0; i < new.tail; i++) {
		struct weir_row row = { .max_tokens_requested = WEIR_UNKNOWN,
					.audio = WEIR_UNKNOWN,
					.image = WEIR_UNKNOWN };
		off_t at = (off_t)((h->head + i) % QUEUE * h->row_bytes);

		if (pread(from, &row, h->row_bytes, queue_at + at) != (ssize_t)h->row_bytes)
			return false;
		row.discount_milli = 0; /* padding once */
		if (pwrite(to, &row, sizeof(row), queue_at + (off_t)(i * sizeof(row))) !=
		    (ssize_t)sizeof(row))
			return false;
	}
	return pwrite(to, &new, sizeof(new), 0) == (ssize_t)sizeof(new);
}

/*
 * Rows that an older agent finished go into a new file, which then takes the old
 * one's place: at any instant one of the two is whole. Parsers stay behind: what an
 * answer's has in it is another thing in each version. A file that is no such thing is left as it
 * is.
 */
static int upgrade(const char *path, struct weir_error *err)
{
	weir_autoclose int from = open(path, O_RDONLY | O_CLOEXEC), to = -1;
	struct header h;
	char new[4096];

	if (from < 0 || read(from, &h, sizeof(h)) != sizeof(h) || !is_older(&h))
		return 0;
	if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new))
		return weir_fail(err, ENAMETOOLONG, "%s: its name is too long", path);
	errno = 0;
	to = open(new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (to < 0 || !copy_rows(from, &h, to) || rename(new, path))
		return weir_fail(err, errno ? errno : EIO, "%s: cannot carry its rows over: %s",
				 new, errno ? strerror(errno) : "it is cut short");
	weir_log(WEIR_NOTE, "%s: of an older version; %llu finished requests carried over", path,
		 (unsigned long long)(h.tail - h.head));
	return 0;
}

/* ------------------------------------------------------------------------ opening */

int weir_state_open(const char *path, uint64_t maps_id, uint32_t max_slots, struct weir_state **out,
		    struct weir_error *err)
{
	size_t queue_at = round_up(sizeof(struct header));
	size_t parsers_at = queue_at + round_up(QUEUE * sizeof(struct weir_row));
	size_t bytes = parsers_at + round_up((size_t)max_slots * sizeof(struct parser));
	weir_autofree struct weir_state *s = calloc(1, sizeof(*s));
	weir_autoclose int fd = -1;
	struct stat st;
	int r;

	if (!s)
		return weir_fail(err, ENOMEM, "out of memory");
	r = upgrade(path, err);
	if (r)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st))
		return weir_fail(err, errno, "%s: cannot open it: %s", path, strerror(errno));
	if (ftruncate(fd, bytes))
		return weir_fail(err, errno, "%s: cannot make it %zu bytes: %s", path, bytes,
				 strerror(errno));
	s->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->base == MAP_FAILED)
		return weir_fail(err, errno, "%s: cannot map it: %s", path, strerror(errno));
	s->bytes = bytes;
	s->h = (struct header *)s->base;
	s->rows = (struct weir_row *)(s->base + queue_at);
	s->parsers = (struct parser *)(s->base + parsers_at);
	if (st.st_size > 0 && s->h->magic && !same_layout(s->h)) {
		uint64_t waiting = s->h->tail - s->h->head;

		munmap(s->base, bytes);
		return weir_fail(
			err, EPROTO,
			"%s: written by another version of weir-agent, with %llu finished "
			"requests not in the ledger yet; start that version once to commit "
			"them, or remove the file to give them up",
			path, (unsigned long long)waiting);
	}
	/* More slots for the same maps: they were migrated, and numbers mean what they did. */
	if (s->h->maps_id != maps_id)
		forget_parsers(s, fd);
	s->h->version = VERSION;
	s->h->row_version = WEIR_ROW_VERSION;
	s->h->row_bytes = sizeof(struct weir_row);
	s->h->parser_bytes = sizeof(struct parser);
	s->h->max_slots = max_slots;
	s->h->queue = QUEUE;
	s->h->maps_id = maps_id;
	__atomic_store_n(&s->h->magic, MAGIC, __ATOMIC_RELEASE);
	*out = s;
	s = NULL;
	return 0;
}

void weir_state_close(struct weir_state *s)
{
	if (!s)
		return;
	munmap(s->base, s->bytes);
	free(s);
}

const struct weir_open *weir_state_open_of(const struct weir_state *s, uint32_t slot)
{
	const struct parser *p = &s->parsers[slot];

	return &p->copy[__atomic_load_n(&p->active, __ATOMIC_ACQUIRE) & 1];
}

struct weir_open *weir_state_spare(struct weir_state *s, uint32_t slot)
{
	struct parser *p = &s->parsers[slot];

	return &p->copy[(p->active & 1) ^ 1];
}

void weir_state_flip(struct weir_state *s, uint32_t slot)
{
	struct parser *p = &s->parsers[slot];

	__atomic_store_n(&p->active, (p->active & 1) ^ 1, __ATOMIC_RELEASE);
}

bool weir_state_put_row(struct weir_state *s, const struct weir_row *row)
{
	uint64_t tail = s->h->tail;

	if (tail - __atomic_load_n(&s->h->head, __ATOMIC_ACQUIRE) >= QUEUE)
		return false;
	s->rows[tail % QUEUE] = *row;
	__atomic_store_n(&s->h->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}

size_t weir_state_rows(const struct weir_state *s)
{
	uint64_t head = __atomic_load_n(&s->h->head, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&s->h->tail, __ATOMIC_ACQUIRE) - head;
}

static const struct weir_row *peek(void *ctx, size_t *n)
{
	struct weir_state *s = ctx;
	uint64_t head = s->h->head, at = head % QUEUE;
	size_t ready = __atomic_load_n(&s->h->tail, __ATOMIC_ACQUIRE) - head;

	if (ready > QUEUE - at)
		ready = QUEUE - at; /* up to the wrap */
	if (*n > ready)
		*n = ready;
	return *n ? &s->rows[at] : NULL;
}

static void pop(void *ctx, size_t n)
{
	struct weir_state *s = ctx;

	__atomic_store_n(&s->h->head, s->h->head + n, __ATOMIC_RELEASE);
}

static size_t waiting(void *ctx)
{
	return weir_state_rows(ctx);
}

struct weir_row_source weir_state_row_source(struct weir_state *s)
{
	return (struct weir_row_source){ .peek = peek, .pop = pop, .waiting = waiting, .ctx = s };
}

bool weir_state_file_empty(const char *path)
{
	weir_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct header h;

	if (fd < 0 || read(fd, &h, sizeof(h)) != sizeof(h))
		return true;
	return h.magic != MAGIC || h.head == h.tail;
}
