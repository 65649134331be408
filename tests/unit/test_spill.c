// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about where rows wait when the queue is full: in order, over a kill, and as memory that is
 * given back.
 */
#include "tests/unit/state_fixture.h"

#include <fcntl.h>

#include "agent/spill.h"

#define CHUNK_ROWS  512
#define CHUNK_BYTES (CHUNK_ROWS * sizeof(struct weir_row))

static struct weir_row row(uint32_t n)
{
	return (struct weir_row){ .tenant = n };
}

static struct weir_spill *open_spill(struct file *f, uint64_t bytes)
{
	struct weir_spill *s = NULL;
	struct weir_error err;

	if (weir_spill_open(f->path, bytes, &s, &err))
		fail_msg("%s", err.text);
	return s;
}

static uint32_t fill(struct weir_spill *s, uint32_t from)
{
	struct weir_row r = row(from);

	while (weir_spill_put(s, &r))
		r = row(++from);
	return from;
}

static uint32_t take(struct weir_spill *s, size_t n, uint32_t expect)
{
	const struct weir_row *rows = weir_spill_peek(s, &n);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(rows[i].tenant, expect++);
	if (n)
		weir_spill_pop(s, n);
	return expect;
}

static uint64_t on_disk(struct file *f)
{
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void it_takes_what_it_may_and_keeps_order_over_the_wrap(void **state)
{
	struct weir_spill *s = open_spill(*state, 3 * CHUNK_BYTES + 4096);
	uint32_t put, got = 0;

	put = fill(s, 0);
	assert_int_equal(put, 3 * CHUNK_ROWS);
	for (int round = 0; round < 20; round++) {
		got = take(s, 700, got);
		put = fill(s, put);
	}
	while (weir_spill_rows(s))
		got = take(s, 999, got);
	assert_int_equal(got, put);
	weir_spill_close(s);
}

static void memory_comes_with_rows_and_goes_with_them(void **state)
{
	struct file *f = *state;
	struct weir_spill *s = open_spill(f, 64 * CHUNK_BYTES);
	uint64_t used, max;
	uint32_t got = 0;

	assert_true(on_disk(f) <= 2 * 4096);
	fill(s, 0);
	assert_true(on_disk(f) >= 64 * CHUNK_BYTES);
	weir_spill_bytes(s, &used, &max);
	assert_int_equal(used, 64 * CHUNK_BYTES);
	assert_int_equal(max, used);
	while (weir_spill_rows(s))
		got = take(s, 4096, got);
	assert_true(on_disk(f) <= 2 * 4096);
	weir_spill_bytes(s, &used, &max);
	assert_int_equal(used, 0);
	/* And again, from where it stopped. */
	assert_int_equal(fill(s, got), got + 64 * CHUNK_ROWS);
	weir_spill_close(s);
}

static void rows_outlive_the_process_and_another_size(void **state)
{
	struct file *f = *state;
	struct weir_spill *s = open_spill(f, 2 * CHUNK_BYTES);
	uint32_t put = fill(s, 0), got;

	got = take(s, 600, 0);
	weir_spill_close(s);
	assert_false(weir_spill_file_empty(f->path));
	s = open_spill(f, 0); /* what waits is not given up for it */
	assert_int_equal(weir_spill_rows(s), put - got);
	while (weir_spill_rows(s))
		got = take(s, 600, got);
	assert_int_equal(got, put);
	weir_spill_close(s);
	assert_true(weir_spill_file_empty(f->path));
	s = open_spill(f, 0);
	assert_int_equal(fill(s, 0), 0);
	weir_spill_close(s);
	s = open_spill(f, 5 * CHUNK_BYTES);
	assert_int_equal(fill(s, 0), 5 * CHUNK_ROWS);
	weir_spill_close(s);
}

/* Killed between what was taken and what was given back: freed (at 64) is behind head (at 72). */
static void what_was_not_given_back_is_by_the_next_agent(void **state)
{
	struct file *f = *state;
	struct weir_spill *s = open_spill(f, 4 * CHUNK_BYTES);
	uint64_t freed = 0, head = 2 * CHUNK_ROWS + 5;
	int fd;

	fill(s, 0);
	weir_spill_close(s);
	fd = open(f->path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &freed, 8, 64), 8);
	assert_int_equal(pwrite(fd, &head, 8, 72), 8);
	close(fd);
	s = open_spill(f, 4 * CHUNK_BYTES);
	assert_true(on_disk(f) <= 2 * CHUNK_BYTES + 2 * 4096);
	assert_int_equal(take(s, 100, (uint32_t)head), head + 100);
	weir_spill_close(s);
}

static void a_damaged_file_is_refused_and_said(void **state)
{
	struct file *f = *state;
	struct weir_spill *s = open_spill(f, 4 * CHUNK_BYTES);
	uint64_t head = UINT64_MAX;
	struct weir_error err;
	int fd;

	fill(s, 0);
	weir_spill_close(s);
	fd = open(f->path, O_RDWR);
	assert_int_equal(pwrite(fd, &head, 8, 72), 8);
	assert_int_equal(weir_spill_open(f->path, 0, &s, &err), -EPROTO);
	assert_non_null(strstr(err.text, f->path));
	head = 0;
	assert_int_equal(pwrite(fd, &head, 8, 72), 8);
	assert_int_equal(ftruncate(fd, 8192), 0);
	close(fd);
	assert_int_equal(weir_spill_open(f->path, 0, &s, &err), -EPROTO);
}

/* ------------------------------------------------------------ behind the queue */

static void the_queue_goes_on_in_the_spill_and_comes_back(void **state)
{
	struct file *f = *state;
	struct weir_state *s = open_it(f, 1);
	struct weir_row_source q = weir_state_row_source(s);
	struct weir_state_room room;
	struct weir_row r = row(0);
	struct weir_error err;
	uint32_t put = 0, got = 0;
	size_t n;

	assert_int_equal(weir_state_add_spill(s, f->path, 10 * CHUNK_BYTES, &err), 0);
	weir_state_room(s, &room);
	assert_int_equal(room.rows, WEIR_STATE_QUEUE + 10 * CHUNK_ROWS);
	while (weir_state_put_row(s, &r))
		r = row(++put);
	assert_int_equal(put, WEIR_STATE_QUEUE + 10 * CHUNK_ROWS);
	assert_int_equal(weir_state_rows(s), put);
	weir_state_room(s, &room);
	assert_int_equal(room.rows, 0);
	/* Drained in part, refilled, and over another agent: in order, each once. */
	for (int round = 0; round < 40; round++) {
		n = 3000;
		const struct weir_row *rows = q.peek(q.ctx, &n);

		for (size_t i = 0; i < n; i++)
			assert_int_equal(rows[i].tenant, got++);
		q.pop(q.ctx, n);
		if (round < 20) {
			r = row(put);
			while (weir_state_put_row(s, &r))
				r = row(++put);
		}
		if (round % 10 == 3) {
			bool empty = !weir_state_rows(s);

			weir_state_close(s);
			assert_int_equal(weir_state_file_empty(f->path), empty);
			s = open_it(f, 1);
			assert_int_equal(weir_state_add_spill(s, f->path, 10 * CHUNK_BYTES, &err),
					 0);
			q = weir_state_row_source(s);
		}
	}
	assert_int_equal(got, put);
	assert_int_equal(weir_state_rows(s), 0);
	weir_state_close(s);
	assert_true(weir_state_file_empty(f->path));
	weir_state_remove(f->path);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(it_takes_what_it_may_and_keeps_order_over_the_wrap),
		CLAIM(memory_comes_with_rows_and_goes_with_them),
		CLAIM(rows_outlive_the_process_and_another_size),
		CLAIM(what_was_not_given_back_is_by_the_next_agent),
		CLAIM(a_damaged_file_is_refused_and_said),
		CLAIM(the_queue_goes_on_in_the_spill_and_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
