// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the memory that outlives the agent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/state.h"

struct file {
	char dir[32];
	char path[48];
};

static int setup(void **state)
{
	static struct file f;

	strcpy(f.dir, "/tmp/weir-state-XXXXXX");
	if (!mkdtemp(f.dir))
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/x.state", f.dir);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct file *f = *state;

	unlink(f->path);
	rmdir(f->dir);
	return 0;
}

static struct weir_state *open_for(struct file *f, uint64_t maps_id, uint32_t slots)
{
	struct weir_state *s = NULL;
	struct weir_error err;

	if (weir_state_open(f->path, maps_id, slots, &s, &err))
		fail_msg("%s", err.text);
	return s;
}

static struct weir_state *open_it(struct file *f, uint64_t maps_id)
{
	return open_for(f, maps_id, 64);
}

static struct weir_row row(int n)
{
	struct weir_row r = { .tenant = n };

	return r;
}

static void a_copy_counts_once_it_is_flipped_and_not_before(void **state)
{
	struct weir_state *s = open_it(*state, 1);

	weir_state_spare(s, 7)->next_pos = 100;
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 0);
	weir_state_flip(s, 7);
	assert_int_equal(weir_state_open_of(s, 7)->next_pos, 100);
	assert_int_equal(weir_state_open_of(s, 8)->next_pos, 0);
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

/* -- files of older versions */

struct old {
	uint32_t version, row_bytes;
	size_t last_at; /* of its rows' last field */
};
static const struct old old[] = {
	{ 1, 376, offsetof(struct weir_row, finish_reason) },
	{ 2, 448, offsetof(struct weir_row, max_tokens_requested) },
};
enum { OLD = sizeof(old) / sizeof(old[0]) };

/* What an older agent left: the header's fields in their places, rows from the second page
 * on. */
static void make_old(struct file *f, const struct old *o, uint64_t head, uint64_t tail)
{
	const uint32_t numbers[] = { o->version, o->version, o->row_bytes, 1304, 64, 16384 };
	const uint64_t magic = 0x5745495253544154, maps_id = 1;
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	fwrite(&magic, sizeof(magic), 1, file);
	fwrite(numbers, sizeof(numbers), 1, file);
	fwrite(&maps_id, sizeof(maps_id), 1, file);
	fseek(file, 64, SEEK_SET);
	fwrite(&head, sizeof(head), 1, file);
	fseek(file, 128, SEEK_SET);
	fwrite(&tail, sizeof(tail), 1, file);
	for (uint64_t i = head; i < tail; i++) {
		struct weir_row r;

		memset(&r, 0x22, sizeof(r)); /* what the old one had not is not taken from here */
		r.tenant = (uint32_t)i;
		r.price_nano = (int64_t)i * 1000;
		memcpy((char *)&r + o->last_at, "stopped", 8);
		fseek(file, (long)(4096 + i % 16384 * o->row_bytes), SEEK_SET);
		fwrite(&r, o->row_bytes, 1, file);
	}
	/* Parsers: not to be taken for today's. */
	fseek(file, 4096 + (16384 * (long)o->row_bytes + 4095) / 4096 * 4096, SEEK_SET);
	for (int i = 0; i < 64 * 1304; i++)
		fputc(0x11, file);
	fclose(file);
}

static void is_carried_over(const struct weir_row *r, const struct old *o, uint32_t tenant)
{
	assert_int_equal(r->tenant, tenant);
	assert_int_equal(r->price_nano, (int64_t)tenant * 1000);
	assert_memory_equal((const char *)r + o->last_at, "stopped", 8);
	if (o->version < 2) {
		assert_string_equal(r->model_requested, "");
		assert_int_equal(r->max_tokens_requested, WEIR_UNKNOWN);
	} else {
		assert_memory_equal(r->model_requested, "\x22\x22", 2);
	}
	assert_int_equal(r->discount_milli, 0);
	assert_int_equal(r->audio, WEIR_UNKNOWN);
	assert_int_equal(r->image, WEIR_UNKNOWN);
	assert_string_equal(r->session, "");
	assert_string_equal(r->feature, "");
}

static void rows_of_older_versions_are_carried_over(void **state)
{
	struct file *f = *state;

	for (int v = 0; v < OLD; v++) {
		struct weir_row_source q;
		const struct weir_row *rows;
		struct weir_state *s;
		char left[64];
		size_t n = 100;

		make_old(f, &old[v], 16380, 16390); /* over the wrap */
		s = open_it(f, 1);
		assert_int_equal(weir_state_rows(s), 10);
		q = weir_state_row_source(s);
		rows = q.peek(q.ctx, &n);
		assert_int_equal(n, 10);
		for (uint32_t i = 0; i < 10; i++)
			is_carried_over(&rows[i], &old[v], 16380 + i);
		for (uint32_t slot = 0; slot < 64; slot++)
			assert_int_equal(weir_state_open_of(s, slot)->next_pos, 0);
		q.pop(q.ctx, 10);
		weir_state_close(s);
		s = open_it(f, 1); /* and it is one of today's now */
		assert_int_equal(weir_state_rows(s), 0);
		weir_state_close(s);
		snprintf(left, sizeof(left), "%s.new", f->path);
		assert_int_not_equal(access(left, F_OK), 0);
	}
}

static void a_full_queue_of_an_older_version_is_carried_over_whole(void **state)
{
	struct file *f = *state;
	struct weir_row_source q;
	struct weir_state *s;
	uint32_t next = 7;

	make_old(f, &old[1], 7, 7 + 16384);
	s = open_it(f, 1);
	q = weir_state_row_source(s);
	for (size_t n = 1000; weir_state_rows(s); n = 1000) {
		const struct weir_row *rows = q.peek(q.ctx, &n);

		for (size_t i = 0; i < n; i++)
			is_carried_over(&rows[i], &old[1], next++);
		q.pop(q.ctx, n);
	}
	assert_int_equal(next, 7 + 16384);
	weir_state_close(s);
}

/* -- open requests of version 2 */

enum { SLOTS_2 = 6400, OPEN_2 = 728, PARSER_2 = 8 + 2 * OPEN_2 };

/* An open request as version 2 had it, of one that is as far. It ended where the answer's
 * parser did, which knew no audio and images: not beside the counts, not in its names. */
static void as_version_2(const struct weir_open *o, uint8_t *old)
{
	const uint8_t *r = (const uint8_t *)&o->response;

	memset(old, 0, OPEN_2);
	memcpy(old, o, 136);
	memcpy(old + 136, &o->body, 80);
	memcpy(old + 216, r, 56);		  /* what was seen, as far as the usage */
	memcpy(old + 272, r + 72, 144);		  /* its names */
	memcpy(old + 416, r + 216, 64);		  /* HTTP */
	memcpy(old + 480, r + 280, 104 + 12 * 8); /* JSON, counts */
	memcpy(old + 680, r + 496, 16);		  /* flags, SSE, lost */
}

/* A file of version 2 with that in one slot, half a second copy, and nothing in others. */
static void make_open(struct file *f, uint32_t slot, const struct weir_open *o, uint64_t active)
{
	const uint32_t numbers[] = { 2, 2, 448, PARSER_2, SLOTS_2, 16384 };
	const uint64_t magic = 0x5745495253544154, maps_id = 1;
	const long parsers = 4096 + 16384 * 448;
	uint8_t parser[PARSER_2];
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	fwrite(&magic, sizeof(magic), 1, file);
	fwrite(numbers, sizeof(numbers), 1, file);
	fwrite(&maps_id, sizeof(maps_id), 1, file);
	memset(parser, 0x33, sizeof(parser));
	memcpy(parser, &active, sizeof(active));
	as_version_2(o, parser + 8 + active * OPEN_2);
	fseek(file, parsers + (long)slot * PARSER_2, SEEK_SET);
	fwrite(parser, sizeof(parser), 1, file);
	fclose(file);
	assert_int_equal(truncate(f->path, parsers + (long)SLOTS_2 * PARSER_2), 0);
}

static const char *const answers[] = {
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 159\r\n\r\n"
	"{\"id\":\"r-1\",\"model\":\"m\",\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":"
	"{\"prompt_tokens\":120,\"completion_tokens\":34,"
	"\"prompt_tokens_details\":{\"cached_tokens\":20}}}",
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	"35\r\ndata: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"\r\n"
	"5\r\n}}]}\n\r\n1\r\n\n\r\n"
	"83\r\ndata: {\"id\":\"r-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":120,"
	"\"completion_tokens\":34,\"prompt_tokens_details\":"
	"{\"cached_tokens\":20}}}\n\n\r\n0\r\n\r\n",
};

/* Taken over at any byte of its answer, a request ends as if it had not been. */
static void open_requests_of_version_2_are_carried_over(void **state)
{
	struct file *f = *state;

	weir_log_max(WEIR_WARN); /* each says that it was carried over */
	for (size_t a = 0; a < sizeof(answers) / sizeof(answers[0]); a++)
		for (size_t cut = 0, len = strlen(answers[a]); cut <= len; cut += 1 + cut % 3) {
			uint32_t slot = cut % 3 ? SLOTS_2 - 1 : cut % 7;
			struct weir_open o = { .next_pos = 4096,
					       .started_wall_ns = 77,
					       .offset = cut,
					       .ordinal = 3,
					       .path = "/v1/chat/completions" },
					 end;
			struct weir_state *s;

			weir_body_init(&o.body);
			strcpy(o.body.model, "asked");
			memset(o.client, 9, sizeof(o.client));
			weir_response_init(&o.response, false);
			weir_response_feed(&o.response, answers[a], cut);
			make_open(f, slot, &o, cut & 1);
			s = open_for(f, 1, SLOTS_2);
			end = *weir_state_open_of(s, slot);
			weir_state_close(s);
			assert_int_equal(end.next_pos, 4096);
			assert_int_equal(end.started_wall_ns, 77);
			assert_int_equal(end.offset, cut);
			assert_int_equal(end.ordinal, 3);
			assert_string_equal(end.path, "/v1/chat/completions");
			assert_memory_equal(end.client, o.client, sizeof(o.client));
			assert_string_equal(end.body.model, "asked");
			assert_string_equal(end.session, "");
			assert_int_equal(end.trusted, 0);
			weir_response_feed(&end.response, answers[a] + cut, len - cut);
			assert_true(end.response.seen.done);
			assert_false(end.response.seen.bad);
			assert_int_equal(end.response.seen.usage.input, 100);
			assert_int_equal(end.response.seen.usage.cache_read, 20);
			assert_int_equal(end.response.seen.usage.output, 34);
			assert_int_equal(end.response.seen.audio, WEIR_UNKNOWN);
			assert_string_equal(end.response.seen.model, "m");
			assert_string_equal(end.response.seen.response_id, "r-1");
			assert_int_equal(end.response.seen.stream, a);
		}
}

/* Their slots are of a set of maps that is gone. */
static void open_requests_of_other_maps_are_forgotten(void **state)
{
	struct file *f = *state;
	struct weir_open o = { .next_pos = 4096 };
	struct weir_state *s;

	make_open(f, 5, &o, 0);
	s = open_for(f, 2, SLOTS_2);
	assert_int_equal(weir_state_open_of(s, 5)->next_pos, 0);
	weir_state_close(s);
}

/* Half a file is not half carried over. */
static void an_older_file_that_is_cut_short_is_left_alone(void **state)
{
	struct file *f = *state;
	struct weir_error err;
	struct weir_state *s;
	char left[64];

	for (int v = 0; v < OLD; v++) {
		make_old(f, &old[v], 0, 10);
		assert_int_equal(truncate(f->path, 4096 + 5 * (long)old[v].row_bytes), 0);
		assert_int_equal(weir_state_open(f->path, 1, 64, &s, &err), -EIO);
		assert_non_null(strstr(err.text, "cut short"));
		assert_false(weir_state_file_empty(f->path));
		snprintf(left, sizeof(left), "%s.new", f->path);
		unlink(left);
	}
}

/* A version's number with another's rows is none that there ever was. */
static void an_older_file_that_contradicts_itself_is_refused(void **state)
{
	struct file *f = *state;
	struct old mixed = { 2, 376, 0 };
	struct weir_error err;
	struct weir_state *s;

	make_old(f, &mixed, 0, 10);
	assert_int_equal(weir_state_open(f->path, 1, 64, &s, &err), -EPROTO);
	assert_non_null(strstr(err.text, "10 finished"));
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
		CLAIM(parsers_and_rows_outlive_the_process),
		CLAIM(more_slots_for_the_same_maps_keep_the_parsers),
		CLAIM(new_maps_forget_parsers_and_keep_rows),
		CLAIM(the_queue_refuses_when_full_and_keeps_order_over_the_wrap),
		CLAIM(rows_of_older_versions_are_carried_over),
		CLAIM(a_full_queue_of_an_older_version_is_carried_over_whole),
		CLAIM(open_requests_of_version_2_are_carried_over),
		CLAIM(open_requests_of_other_maps_are_forgotten),
		CLAIM(an_older_file_that_is_cut_short_is_left_alone),
		CLAIM(an_older_file_that_contradicts_itself_is_refused),
		CLAIM(a_file_of_another_layout_is_refused_and_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
