// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the memory that outlives the agent.
 */
#include "tests/unit/state_fixture.h"

static struct weir_row row(int n)
{
	struct weir_row r = { .tenant = n };

	return r;
}

static void a_copy_counts_once_it_is_flipped_and_not_before(void **state)
{
	struct weir_state *s = open_it(*state, 1);

	weir_state_spare(s, 7)->next_pos = 100;
	weir_state_asked_spare(s, 7)->next_pos = 200;
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 0);
	assert_int_equal(weir_state_asked_of(s, 7)->next_pos, 0);
	weir_state_flip(s, 7);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 100);
	assert_int_equal(weir_state_open_of(s, 8)->next_pos, 0);
	assert_int_equal(weir_state_asked_of(s, 7)->next_pos, 0);
	weir_state_asked_flip(s, 7);
	assert_int_equal(weir_state_asked_of(s, 7)->next_pos, 200);
	assert_int_equal(weir_state_asked_of(s, 8)->next_pos, 0);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 100);
	weir_state_close(s);
}

/* -- killed in the midst of a flip: the file as it is then */

/* What the journal holds, with its numbers as given, over slots that are half written. */
static void leave_journal(struct file *f, uint64_t open_of, uint64_t asked_of)
{
	struct weir_state *s = open_it(f, 1);
	FILE *file;
	long maps;

	weir_state_spare(s, 7)->next_pos = 100;
	weir_state_spare(s, 7)->response.seen.status = 200;
	weir_state_asked_spare(s, 9)->next_pos = 200;
	strcpy(weir_state_asked_spare(s, 9)->path, "/whole");
	weir_state_close(s);
	file = fopen(f->path, "r+");
	assert_non_null(file);
	maps = (long)weir_state_maps_at(sizeof(struct weir_row));
	fseek(file, maps, SEEK_SET);
	fwrite(&open_of, sizeof(open_of), 1, file);
	fwrite(&asked_of, sizeof(asked_of), 1, file);
	fclose(file);
}

static void a_copy_that_was_begun_is_finished_by_the_next_agent(void **state)
{
	struct weir_state *s;

	leave_journal(*state, 7 + 1, 9 + 1);
	for (int times = 0; times < 2; times++) {
		s = open_it(*state, 1);
		assert_int_equal(weir_state_open_of(s, 7)->next_pos, 100);
		assert_int_equal(weir_state_open_of(s, 7)->response.seen.status, 200);
		assert_int_equal(weir_state_asked_of(s, 9)->next_pos, 200);
		assert_string_equal(weir_state_asked_of(s, 9)->path, "/whole");
		assert_int_equal(weir_state_open_of(s, 9)->next_pos, 0);
		/* Done with: what is spare then is nobody's. */
		weir_state_spare(s, 3)->next_pos = 1;
		weir_state_close(s);
	}
}

static void a_copy_that_was_not_begun_never_was(void **state)
{
	struct weir_state *s;

	leave_journal(*state, 0, 0);
	s = open_it(*state, 1);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 0);
	assert_int_equal(weir_state_asked_of(s, 9)->next_pos, 0);
	weir_state_close(s);
}

static void a_copy_of_other_maps_is_not_finished(void **state)
{
	struct weir_state *s;

	leave_journal(*state, 7 + 1, 9 + 1);
	s = open_it(*state, 2);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 0);
	assert_int_equal(weir_state_asked_of(s, 9)->next_pos, 0);
	weir_state_close(s);
}

static void retries_outlive_the_process_and_not_the_maps(void **state)
{
	static const uint64_t key[2] = { 1, 2 };
	struct weir_state *s = open_it(*state, 1);

	weir_retries_note(weir_state_retries(s), key, 1000, 100);
	weir_state_close(s);
	s = open_for(*state, 1, 640);
	assert_true(weir_retries_take(weir_state_retries(s), key, 1001, 200));
	weir_state_close(s);
	s = open_it(*state, 2);
	assert_false(weir_retries_take(weir_state_retries(s), key, 1002, 300));
	weir_state_close(s);
}

/* 10 k streams that are open at a time are to fit into an agent of 64 MiB. */
static void an_open_request_takes_half_a_page(void **state)
{
	struct file *f = *state;
	struct weir_state *s = open_for(f, 1, 262144);
	struct stat empty, st;

	assert_int_equal(stat(f->path, &empty), 0);
	for (uint32_t slot = 0; slot < 10000; slot++) {
		weir_state_asked_spare(s, slot)->next_pos = 1;
		weir_state_asked_flip(s, slot);
		for (int i = 0; i < 3; i++) {
			weir_state_spare(s, slot)->next_pos = 1;
			weir_state_flip(s, slot);
		}
	}
	assert_int_equal(stat(f->path, &st), 0);
	assert_true((st.st_blocks - empty.st_blocks) * 512 < 18 << 20);
	weir_state_close(s);
}

static void parsers_and_rows_outlive_the_process(void **state)
{
	struct weir_state *s = open_it(*state, 1);
	struct weir_row r = row(3);
	size_t n = 10;

	weir_state_spare(s, 7)->next_pos = 100;
	weir_state_flip(s, 7);
	assert_true(weir_state_put_row(s, &r));
	weir_state_close(s);
	assert_false(weir_state_file_empty(((struct file *)*state)->path));
	s = open_it(*state, 1);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 100);

	struct weir_row_source q = weir_state_row_source(s);

	assert_int_equal(q.peek(q.ctx, &n)->tenant, 3);
	assert_int_equal(n, 1);
	q.pop(q.ctx, 1);
	weir_state_close(s);
	assert_true(weir_state_file_empty(((struct file *)*state)->path));
}

/* A new set of maps begins its ring at 0 again: positions of the old one mean nothing. */
static void new_maps_forget_parsers_and_keep_rows(void **state)
{
	struct weir_state *s = open_it(*state, 1);
	struct weir_row r = row(3);

	weir_state_spare(s, 7)->next_pos = 100;
	weir_state_flip(s, 7);
	weir_state_put_row(s, &r);
	weir_state_close(s);
	s = open_it(*state, 2);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 0);
	assert_int_equal(weir_state_rows(s), 1);
	weir_state_close(s);
}

static void how_the_last_agent_ended_is_told_once(void **state)
{
	struct weir_state *s = open_it(*state, 1);

	assert_true(weir_state_is_new(s));
	assert_false(weir_state_was_ended(s));
	weir_state_end(s);
	weir_state_close(s);
	s = open_it(*state, 2);
	assert_false(weir_state_is_new(s));
	assert_true(weir_state_was_ended(s));
	weir_state_close(s);
	s = open_it(*state, 2);
	assert_false(weir_state_was_ended(s));
	weir_state_close(s);
}

static void more_slots_for_the_same_maps_keep_the_parsers(void **state)
{
	struct weir_state *s = open_it(*state, 1);

	weir_state_spare(s, 7)->next_pos = 100;
	weir_state_flip(s, 7);
	weir_state_close(s);
	s = open_for(*state, 1, 6400);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 100);
	assert_int_equal(weir_state_open_of(s, 6399)->next_pos, 0);
	weir_state_spare(s, 6399)->next_pos = 5;
	weir_state_flip(s, 6399);
	weir_state_close(s);
	s = open_for(*state, 1, 6400);
	assert_int_equal(weir_state_open_of(s, 6399)->next_pos, 5);
	weir_state_close(s);
}

static void the_queue_refuses_when_full_and_keeps_order_over_the_wrap(void **state)
{
	struct weir_state *s = open_it(*state, 1);
	struct weir_row_source q = weir_state_row_source(s);
	int put = 0, got = 0, room = 0;
	struct weir_row r;

	while (r = row(room), weir_state_put_row(s, &r))
		room++;
	assert_true(room > 4096);
	put = room;
	for (int round = 0; round < 3 * room / 1000; round++) {
		size_t n = 1000;
		const struct weir_row *rows = q.peek(q.ctx, &n);

		assert_true(n > 0 && n <= 1000);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(rows[i].tenant, got++);
		q.pop(q.ctx, n);
		for (size_t i = 0; i < n; i++) {
			r = row(put++);
			assert_true(weir_state_put_row(s, &r));
		}
		r = row(0);
		assert_false(weir_state_put_row(s, &r));
	}
	weir_state_close(s);
}

static void a_file_of_another_layout_is_refused_and_said(void **state)
{
	struct file *f = *state;
	struct weir_state *s = open_it(f, 1);
	struct weir_error err;
	uint32_t other = 99;
	FILE *file;

	weir_state_close(s);
	file = fopen(f->path, "r+");
	assert_non_null(file);
	fseek(file, 8, SEEK_SET);
	fwrite(&other, sizeof(other), 1, file);
	fclose(file);
	assert_int_not_equal(weir_state_open(f->path, 1, 64, &s, &err), 0);
	assert_non_null(strstr(err.text, "another version"));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(a_copy_counts_once_it_is_flipped_and_not_before),
		CLAIM(a_copy_that_was_begun_is_finished_by_the_next_agent),
		CLAIM(a_copy_that_was_not_begun_never_was),
		CLAIM(a_copy_of_other_maps_is_not_finished),
		CLAIM(retries_outlive_the_process_and_not_the_maps),
		CLAIM(an_open_request_takes_half_a_page),
		CLAIM(parsers_and_rows_outlive_the_process),
		CLAIM(how_the_last_agent_ended_is_told_once),
		CLAIM(more_slots_for_the_same_maps_keep_the_parsers),
		CLAIM(new_maps_forget_parsers_and_keep_rows),
		CLAIM(the_queue_refuses_when_full_and_keeps_order_over_the_wrap),
		CLAIM(a_file_of_another_layout_is_refused_and_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
