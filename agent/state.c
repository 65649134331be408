// SPDX-License-Identifier: Apache-2.0
/*
 * The state file. One writer (the ring consumer) for slots, retries and the queue's
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

#include "spill.h"
#include "state_file.h"

struct weir_state {
	struct weir_state_header *h;
	struct weir_row *rows;
	struct weir_spill *spill; /* NULL: what does not fit into the queue waits in the ring */
	struct weir_state_of_maps *m;
	uint8_t *base;
	size_t bytes;
	bool is_new, was_ended;
};

static bool same_layout(const struct weir_state_header *h)
{
	return h->magic == WEIR_STATE_MAGIC && h->version == WEIR_STATE_VERSION &&
	       h->row_version == WEIR_ROW_VERSION && h->row_bytes == sizeof(struct weir_row) &&
	       h->slot_bytes == sizeof(struct weir_state_slot) && h->queue == WEIR_STATE_QUEUE;
}

/* Throw the pages away; they read as zeros afterwards. */
static void forget_maps(struct weir_state *s, int fd)
{
	off_t at = (uint8_t *)s->m - s->base;

	if (ftruncate(fd, at) || ftruncate(fd, s->bytes))
		memset(s->m, 0, s->bytes - at);
}

/* ------------------------------------------------------------------------ journal */

/*
 * The process may be killed between any two instructions. Before the number is stored nothing
 * happened; from then on the copy is made, by us or by the next agent, until the number is gone.
 */
static void put_open(struct weir_state *s)
{
	struct weir_state_journal *j = &s->m->journal;

	s->m->slots[j->open_of - 1].open = j->open;
	__atomic_store_n(&j->open_of, 0, __ATOMIC_RELEASE);
}

static void put_asked(struct weir_state *s)
{
	struct weir_state_journal *j = &s->m->journal;

	s->m->slots[j->asked_of - 1].asked = j->asked;
	__atomic_store_n(&j->asked_of, 0, __ATOMIC_RELEASE);
}

static void mark(uint64_t *of, uint32_t slot)
{
	__atomic_store_n(of, (uint64_t)slot + 1, __ATOMIC_RELEASE);
	/* No store of the copy before it: of the compiler, the next agent sees them in order. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void finish_copies(struct weir_state *s, uint32_t max_slots)
{
	const struct weir_state_journal *j = &s->m->journal;

	if (j->open_of && j->open_of <= max_slots)
		put_open(s);
	if (j->asked_of && j->asked_of <= max_slots)
		put_asked(s);
}

/* ------------------------------------------------------------------------ opening */

int weir_state_open(const char *path, uint64_t maps_id, uint32_t max_slots, struct weir_state **out,
		    struct weir_error *err)
{
	size_t queue_at = weir_state_queue_at();
	size_t maps_at = weir_state_maps_at(sizeof(struct weir_row));
	size_t bytes = weir_state_bytes(max_slots);
	weir_autofree struct weir_state *s = calloc(1, sizeof(*s));
	weir_autoclose int fd = -1;
	struct stat st;
	int r;

	if (!s)
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_state_upgrade(path, err);
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
	s->h = (struct weir_state_header *)s->base;
	s->rows = (struct weir_row *)(s->base + queue_at);
	s->m = (struct weir_state_of_maps *)(s->base + maps_at);
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
	s->is_new = !s->h->magic;
	s->was_ended = s->h->ended;
	s->h->ended = 0;
	/* More slots for the same maps: they were migrated, and numbers mean what they did. */
	if (s->h->maps_id != maps_id)
		forget_maps(s, fd);
	finish_copies(s, max_slots);
	s->h->version = WEIR_STATE_VERSION;
	s->h->row_version = WEIR_ROW_VERSION;
	s->h->row_bytes = sizeof(struct weir_row);
	s->h->slot_bytes = sizeof(struct weir_state_slot);
	s->h->max_slots = max_slots;
	s->h->queue = WEIR_STATE_QUEUE;
	s->h->maps_id = maps_id;
	__atomic_store_n(&s->h->magic, WEIR_STATE_MAGIC, __ATOMIC_RELEASE);
	*out = s;
	s = NULL;
	return 0;
}

void weir_state_close(struct weir_state *s)
{
	if (!s)
		return;
	weir_spill_close(s->spill);
	munmap(s->base, s->bytes);
	free(s);
}

bool weir_state_is_new(const struct weir_state *s)
{
	return s->is_new;
}

bool weir_state_was_ended(const struct weir_state *s)
{
	return s->was_ended;
}

void weir_state_end(struct weir_state *s)
{
	s->h->ended = 1;
}

static int spill_path(const char *path, char *out, size_t n)
{
	return snprintf(out, n, "%s.spill", path) < (int)n ? 0 : -ENAMETOOLONG;
}

int weir_state_add_spill(struct weir_state *s, const char *path, uint64_t max_bytes,
			 struct weir_error *err)
{
	char spill[4096];

	if (spill_path(path, spill, sizeof(spill)))
		return weir_fail(err, ENAMETOOLONG, "%s: its name is too long", path);
	return weir_spill_open(spill, max_bytes, &s->spill, err);
}

const struct weir_open *weir_state_open_of(const struct weir_state *s, uint32_t slot)
{
	return &s->m->slots[slot].open;
}

struct weir_open *weir_state_spare(struct weir_state *s, uint32_t slot)
{
	return &s->m->journal.open;
}

void weir_state_flip(struct weir_state *s, uint32_t slot)
{
	mark(&s->m->journal.open_of, slot);
	put_open(s);
}

const struct weir_asked *weir_state_asked_of(const struct weir_state *s, uint32_t slot)
{
	return &s->m->slots[slot].asked;
}

struct weir_asked *weir_state_asked_spare(struct weir_state *s, uint32_t slot)
{
	return &s->m->journal.asked;
}

void weir_state_asked_flip(struct weir_state *s, uint32_t slot)
{
	mark(&s->m->journal.asked_of, slot);
	put_asked(s);
}

struct weir_retries *weir_state_retries(struct weir_state *s)
{
	return &s->m->retries;
}

/*
 * Rows of the queue are older than those of the spill at any time: none is put into the queue while
 * the spill holds one, and none taken from the spill while the queue does.
 */
bool weir_state_put_row(struct weir_state *s, const struct weir_row *row)
{
	uint64_t tail = s->h->tail;

	if ((s->spill && weir_spill_rows(s->spill)) ||
	    tail - __atomic_load_n(&s->h->head, __ATOMIC_ACQUIRE) >= WEIR_STATE_QUEUE)
		return s->spill && weir_spill_put(s->spill, row);
	s->rows[tail % WEIR_STATE_QUEUE] = *row;
	__atomic_store_n(&s->h->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}

static size_t queued(const struct weir_state *s)
{
	uint64_t head = __atomic_load_n(&s->h->head, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&s->h->tail, __ATOMIC_ACQUIRE) - head;
}

size_t weir_state_rows(const struct weir_state *s)
{
	return queued(s) + (s->spill ? weir_spill_rows(s->spill) : 0);
}

void weir_state_room(const struct weir_state *s, struct weir_state_room *out)
{
	*out = (struct weir_state_room){ 0 };
	if (s->spill)
		weir_spill_bytes(s->spill, &out->spill_used, &out->spill_max);
	out->rows = (out->spill_max - out->spill_used) / sizeof(struct weir_row);
	if (!s->spill || !weir_spill_rows(s->spill))
		out->rows += WEIR_STATE_QUEUE - queued(s);
}

static const struct weir_row *peek(void *ctx, size_t *n)
{
	struct weir_state *s = ctx;
	uint64_t head = s->h->head, at = head % WEIR_STATE_QUEUE;
	size_t ready = queued(s);

	if (!ready && s->spill)
		return weir_spill_peek(s->spill, n);
	if (ready > WEIR_STATE_QUEUE - at)
		ready = WEIR_STATE_QUEUE - at; /* up to the wrap */
	if (*n > ready)
		*n = ready;
	return *n ? &s->rows[at] : NULL;
}

static void pop(void *ctx, size_t n)
{
	struct weir_state *s = ctx;

	/* Rows of where they were seen: nothing comes into an empty queue before a full spill. */
	if (queued(s))
		__atomic_store_n(&s->h->head, s->h->head + n, __ATOMIC_RELEASE);
	else
		weir_spill_pop(s->spill, n);
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
	struct weir_state_header h;
	char spill[4096];

	if (!spill_path(path, spill, sizeof(spill)) && !weir_spill_file_empty(spill))
		return false;
	if (fd < 0 || read(fd, &h, sizeof(h)) != sizeof(h))
		return true;
	return h.magic != WEIR_STATE_MAGIC || h.head == h.tail;
}

void weir_state_remove(const char *path)
{
	char spill[4096];

	unlink(path);
	if (!spill_path(path, spill, sizeof(spill)))
		unlink(spill);
}
