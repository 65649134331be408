// SPDX-License-Identifier: Apache-2.0
/*
 * State files of older versions, as the agents of then laid them out: rows that are finished
 * and not committed, and the parsers of requests that are open. Nothing else knows of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state_file.h"
#include "state_old.h"

/* How long a row was in each version of the file; both had the same number. */
static const uint32_t row_bytes_of[] = {
	[1] = WEIR_ROW_BYTES_1, [2] = WEIR_ROW_BYTES_2, [3] = WEIR_ROW_BYTES_3
};
_Static_assert(sizeof(row_bytes_of) / sizeof(*row_bytes_of) == WEIR_STATE_VERSION &&
		       WEIR_STATE_VERSION == WEIR_ROW_VERSION,
	       "an older version of the row");

static bool is_older(const struct weir_state_header *h)
{
	return h->magic == WEIR_STATE_MAGIC && h->version >= 1 && h->version < WEIR_STATE_VERSION &&
	       h->row_version == h->version && h->row_bytes == row_bytes_of[h->version] &&
	       h->queue == WEIR_STATE_QUEUE && h->tail >= h->head &&
	       h->tail - h->head <= WEIR_STATE_QUEUE;
}

static bool get(int fd, void *to, size_t n, size_t at)
{
	return pread(fd, to, n, (off_t)at) == (ssize_t)n;
}

static bool put(int fd, const void *from, size_t n, size_t at)
{
	return pwrite(fd, from, n, (off_t)at) == (ssize_t)n;
}

/* -- rows */

/* The waiting ones, to the start of the queue. What a row did not have is unknown, or none. */
static bool copy_rows(int from, const struct weir_state_header *h, int to)
{
	for (uint64_t i = 0; i < h->tail - h->head; i++) {
		struct weir_row row = { .max_tokens_requested = WEIR_UNKNOWN,
					.audio = WEIR_UNKNOWN,
					.image = WEIR_UNKNOWN };
		size_t at = (h->head + i) % WEIR_STATE_QUEUE * h->row_bytes;

		if (!get(from, &row, h->row_bytes, weir_state_queue_at() + at))
			return false;
		if (h->version < 3)
			row.discount_milli = 0; /* padding once */
		if (!put(to, &row, sizeof(row), weir_state_queue_at() + i * sizeof(row)))
			return false;
	}
	return true;
}

/* -- open requests, of version 3 */

struct open_3 {
	uint64_t next_pos, started_wall_ns, started_ns, body_bytes, offset;
	uint32_t ordinal, ttft_us;
	char method[8], path[64];
	uint8_t client[16];
	uint8_t trusted, pad[7];
	char session[64], feature[48];
	struct weir_body body;
	struct weir_response_3 response;
};
_Static_assert(sizeof(struct open_3) == 848, "weir_open, version 3");

struct parser_3 {
	uint64_t active;
	struct open_3 copy[2];
};

static void of_asked_3(const struct open_3 *old, struct weir_asked *a)
{
	memset(a, 0, sizeof(*a));
	a->next_pos = old->next_pos;
	a->started_wall_ns = old->started_wall_ns;
	a->body_bytes = old->body_bytes;
	a->ordinal = old->ordinal;
	memcpy(a->method, old->method, sizeof(a->method));
	memcpy(a->path, old->path, sizeof(a->path));
	memcpy(a->client, old->client, sizeof(a->client));
	a->labels.trusted = old->trusted;
	memcpy(a->labels.session, old->session, sizeof(a->labels.session));
	memcpy(a->labels.feature, old->feature, sizeof(a->labels.feature));
	a->labels.rank[WEIR_LABEL_SESSION] = a->labels.rank[WEIR_LABEL_FEATURE] = 1;
	a->body = old->body;
	weir_asked_init(&a->text);
	a->text.flags |= WEIR_ASKED_HOLE; /* nobody read it */
}

static void of_open_3(const struct open_3 *old, struct weir_open *o)
{
	memset(o, 0, sizeof(*o));
	o->next_pos = old->next_pos;
	o->started_wall_ns = old->started_wall_ns;
	o->started_ns = old->started_ns;
	o->offset = old->offset;
	o->ordinal = old->ordinal;
	o->ttft_us = old->ttft_us;
	weir_response_of_3(&old->response, &o->response);
}

/* Most slots were never used: those are holes in the file. */
static bool copy_slots(int from, const struct weir_state_header *h, int to)
{
	size_t old_at = weir_state_maps_at(h->row_bytes);
	size_t new_at = weir_state_maps_at(sizeof(struct weir_row)) +
			offsetof(struct weir_state_of_maps, slots);

	if (h->version != 3 || h->slot_bytes != sizeof(struct parser_3))
		return true; /* of maps that are gone */
	for (uint32_t slot = 0; slot < h->max_slots; slot++) {
		struct weir_state_slot new;
		struct parser_3 old;
		off_t data = lseek(from, (off_t)(old_at + slot * sizeof(old)), SEEK_DATA);

		if (data < 0)
			return errno == ENXIO; /* nothing but holes */
		if ((size_t)data >= old_at + (slot + 1) * sizeof(old))
			slot = (uint32_t)(((size_t)data - old_at) / sizeof(old));
		if (slot >= h->max_slots)
			break;
		if (!get(from, &old, sizeof(old), old_at + slot * sizeof(old)))
			return false;
		of_open_3(&old.copy[old.active & 1], &new.open);
		of_asked_3(&old.copy[old.active & 1], &new.asked);
		if (!put(to, &new, sizeof(new), new_at + slot * sizeof(new)))
			return false;
	}
	return true;
}

/* -- the file */

static bool copy(int from, const struct weir_state_header *h, int to)
{
	struct weir_state_header new = { .magic = WEIR_STATE_MAGIC,
					 .version = WEIR_STATE_VERSION,
					 .row_version = WEIR_ROW_VERSION,
					 .row_bytes = sizeof(struct weir_row),
					 .slot_bytes = sizeof(struct weir_state_slot),
					 .max_slots = h->max_slots,
					 .queue = WEIR_STATE_QUEUE,
					 .maps_id = h->maps_id,
					 .tail = h->tail - h->head };

	return copy_rows(from, h, to) && copy_slots(from, h, to) && put(to, &new, sizeof(new), 0);
}

/* It then takes the old one's place: at any instant one of the two is whole. */
int weir_state_upgrade(const char *path, struct weir_error *err)
{
	weir_autoclose int from = open(path, O_RDONLY | O_CLOEXEC), to = -1;
	struct weir_state_header h;
	char new[4096];

	if (from < 0 || read(from, &h, sizeof(h)) != sizeof(h) || !is_older(&h))
		return 0;
	if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new))
		return weir_fail(err, ENAMETOOLONG, "%s: its name is too long", path);
	errno = 0;
	to = open(new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (to < 0 || !copy(from, &h, to) || rename(new, path))
		return weir_fail(err, errno ? errno : EIO, "%s: cannot carry its rows over: %s",
				 new, errno ? strerror(errno) : "it is cut short");
	weir_log(WEIR_NOTE, "%s: of an older version; %llu finished requests carried over", path,
		 (unsigned long long)(h.tail - h.head));
	return 0;
}
