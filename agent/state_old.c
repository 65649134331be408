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

#include "response_priv.h"
#include "state_file.h"

/* How long a row was in each version of the file; both had the same number. */
static const uint32_t row_bytes_of[] = { [1] = WEIR_ROW_BYTES_1, [2] = WEIR_ROW_BYTES_2 };
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
		row.discount_milli = 0; /* padding once */
		if (!put(to, &row, sizeof(row), weir_state_queue_at() + i * sizeof(row)))
			return false;
	}
	return true;
}

/* -- open requests, of version 2 */

#define COUNTS_2 12 /* of enum weir_count, which only grew */

struct seen_2 {
	uint8_t start[56]; /* as far as `usage`, with it */
	uint8_t names[144];
};

struct open_2 {
	uint8_t start[136]; /* as far as `client`, with it */
	struct weir_body body;
	struct seen_2 seen;
	struct weir_http1 http;
	struct weir_scan scan;
	int64_t counts[COUNTS_2];
	uint8_t flags[8]; /* from `document_output` on */
	struct weir_sse sse;
	uint8_t lost;
	uint8_t rest[35];
};
_Static_assert(sizeof(struct open_2) == 728, "weir_open, version 2");

struct parser_2 {
	uint64_t active;
	struct open_2 copy[2];
};

/* What has the same place in both. */
#define SAME(type, field, bytes)                                                                   \
	_Static_assert(offsetof(type, field) + sizeof(((type *)0)->field) == (bytes), #field)
SAME(struct weir_open, client, sizeof(((struct open_2 *)0)->start));
SAME(struct weir_response_seen, usage, sizeof(((struct seen_2 *)0)->start));
_Static_assert(sizeof(struct weir_response_seen) - offsetof(struct weir_response_seen, model) ==
		       sizeof(((struct seen_2 *)0)->names),
	       "names");
_Static_assert(sizeof(struct weir_usage_scan) - offsetof(struct weir_usage_scan, document_output) ==
		       sizeof(((struct open_2 *)0)->flags),
	       "flags");

static void of_open_2(const struct open_2 *old, struct weir_open *o)
{
	struct weir_response_state *s = (void *)o->response.state;

	memset(o, 0, sizeof(*o));
	weir_response_init(&o->response, false);
	memcpy(o, old->start, sizeof(old->start));
	o->body = old->body;
	memcpy(&o->response.seen, old->seen.start, sizeof(old->seen.start));
	memcpy(o->response.seen.model, old->seen.names, sizeof(old->seen.names));
	s->http = old->http;
	s->usage.scan = old->scan;
	memcpy(s->usage.counts, old->counts, sizeof(old->counts));
	memcpy(&s->usage.document_output, old->flags, sizeof(old->flags));
	s->sse = old->sse;
	s->lost = old->lost;
}

/* Most slots were never used: those are holes in the file. */
static bool copy_parsers(int from, const struct weir_state_header *h, int to)
{
	size_t old_at = weir_state_parsers_at(h->row_bytes);
	size_t new_at = weir_state_parsers_at(sizeof(struct weir_row));

	if (h->version != 2 || h->parser_bytes != sizeof(struct parser_2))
		return true; /* of maps that are gone */
	for (uint32_t slot = 0; slot < h->max_slots; slot++) {
		struct weir_state_parser new = { 0 };
		struct parser_2 old;
		off_t data = lseek(from, (off_t)(old_at + slot * sizeof(old)), SEEK_DATA);

		if (data < 0)
			return errno == ENXIO; /* nothing but holes */
		if ((size_t)data >= old_at + (slot + 1) * sizeof(old))
			slot = (uint32_t)(((size_t)data - old_at) / sizeof(old));
		if (slot >= h->max_slots)
			break;
		if (!get(from, &old, sizeof(old), old_at + slot * sizeof(old)))
			return false;
		of_open_2(&old.copy[old.active & 1], &new.copy[0]);
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
					 .parser_bytes = sizeof(struct weir_state_parser),
					 .max_slots = h->max_slots,
					 .queue = WEIR_STATE_QUEUE,
					 .maps_id = h->maps_id,
					 .tail = h->tail - h->head };

	return copy_rows(from, h, to) && copy_parsers(from, h, to) && put(to, &new, sizeof(new), 0);
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
