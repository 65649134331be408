// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about state files that older agents left: what they hold is carried over, whole or not at
 * all.
 */
#include "tests/unit/state_fixture.h"

#include "agent/state_old.h"

struct old {
	uint32_t version, row_bytes;
	size_t last_at; /* of its rows' last field */
};
static const struct old old[] = {
	{ 1, 376, offsetof(struct weir_row, finish_reason) },
	{ 2, 448, offsetof(struct weir_row, max_tokens_requested) },
	{ 3, 576, offsetof(struct weir_row, feature) },
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
	static const char none[sizeof(*r) - WEIR_ROW_BYTES_3];

	assert_int_equal(r->tenant, tenant);
	assert_int_equal(r->price_nano, (int64_t)tenant * 1000);
	assert_memory_equal((const char *)r + o->last_at, "stopped", 8);
	if (o->version < 2) {
		assert_string_equal(r->model_requested, "");
		assert_int_equal(r->max_tokens_requested, WEIR_UNKNOWN);
	} else {
		assert_memory_equal(r->model_requested, "\x22\x22", 2);
	}
	if (o->version < 3) {
		assert_int_equal(r->discount_milli, 0);
		assert_int_equal(r->audio, WEIR_UNKNOWN);
		assert_int_equal(r->image, WEIR_UNKNOWN);
		assert_string_equal(r->session, "");
		assert_string_equal(r->feature, "");
	} else {
		assert_int_equal(r->discount_milli, 0x22222222);
		assert_memory_equal(r->session, "\x22\x22", 2);
	}
	assert_memory_equal((const char *)r + WEIR_ROW_BYTES_3, none, sizeof(none));
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

/* -- open requests of version 3 */

enum { SLOTS_3 = 6400, OPEN_3 = 848, PARSER_3 = 8 + 2 * OPEN_3 };

/* A stream between two events: what it said of its usage, and how it is framed. */
static void fill_answer(struct weir_response_3 *r)
{
	memset(r, 0, sizeof(*r));
	r->status = r->http.status = 200;
	r->stream = r->has_usage = r->body_started = 1;
	r->chunks = 34;
	strcpy(r->model, "m");
	strcpy(r->response_id, "r-1");
	strcpy(r->finish_reason, "stop");
	r->http.phase = 4; /* before a chunk's size */
	r->http.flags = 4 | 8;
	r->http.type = 1;
	for (size_t i = 0; i < WEIR_COUNTS_3; i++)
		r->counts[i] = WEIR_UNKNOWN;
	r->counts[0] = 155; /* all of the prompt */
	r->counts[2] = 34;
	r->counts[3] = 20; /* cached */
	r->counts[12] = 7; /* audio */
	r->counts[13] = 8;
	r->sse_phase = 1;
	r->produced = r->answered = 1;
}

/* Of POST /v1/chat/completions by 9.9…, whose labels and body were read. */
static void fill_open(uint8_t *o)
{
	const uint64_t numbers[] = { 4096, 77, 66, 400, 123 };
	const uint32_t ordinal[] = { 3, 5000 };
	const struct weir_body body = { .max_tokens = 9000, .model = "asked" };
	struct weir_response_3 answer;

	memset(o, 0, OPEN_3);
	memcpy(o, numbers, sizeof(numbers));
	memcpy(o + 40, ordinal, sizeof(ordinal));
	memcpy(o + 48, "POST", 4);
	memcpy(o + 56, "/v1/chat/completions", 20);
	memset(o + 120, 9, 16);
	o[136] = 1; /* trusted */
	memcpy(o + 144, "s-1", 3);
	memcpy(o + 208, "chat", 4);
	memcpy(o + 256, &body, sizeof(body));
	fill_answer(&answer);
	memcpy(o + 336, &answer, sizeof(answer));
}

/* A file of version 3 with that in one slot, half a second copy, and nothing in others. */
static void make_open(struct file *f, uint32_t slot, uint64_t active)
{
	const uint32_t numbers[] = { 3, 3, 576, PARSER_3, SLOTS_3, 16384 };
	const uint64_t magic = 0x5745495253544154, maps_id = 1;
	const long parsers = 4096 + 16384 * 576;
	uint8_t parser[PARSER_3];
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	fwrite(&magic, sizeof(magic), 1, file);
	fwrite(numbers, sizeof(numbers), 1, file);
	fwrite(&maps_id, sizeof(maps_id), 1, file);
	memset(parser, 0x33, sizeof(parser));
	memcpy(parser, &active, sizeof(active));
	fill_open(parser + 8 + active * OPEN_3);
	fseek(file, parsers + (long)slot * PARSER_3, SEEK_SET);
	fwrite(parser, sizeof(parser), 1, file);
	fclose(file);
	assert_int_equal(truncate(f->path, parsers + (long)SLOTS_3 * PARSER_3), 0);
}

static void open_requests_of_version_3_are_carried_over(void **state)
{
	struct file *f = *state;

	weir_log_max(WEIR_WARN); /* each says that it was carried over */
	for (uint64_t i = 0; i < 4; i++) {
		uint32_t slot = i < 2 ? (uint32_t)i * 3 : SLOTS_3 - 1;
		const struct weir_response_seen *seen;
		const struct weir_asked *a;
		const struct weir_open *o;
		struct weir_state *s;
		uint64_t hash[2];

		make_open(f, slot, i & 1);
		s = open_for(f, 1, SLOTS_3);
		o = weir_state_open_of(s, slot);
		a = weir_state_asked_of(s, slot);
		seen = &o->response.seen;
		assert_int_equal(o->next_pos, 4096);
		assert_int_equal(o->started_wall_ns, 77);
		assert_int_equal(o->started_ns, 66);
		assert_int_equal(o->offset, 123);
		assert_int_equal(o->ordinal, 3);
		assert_int_equal(o->ttft_us, 5000);
		assert_int_equal(seen->status, 200);
		assert_int_equal(seen->stream, 1);
		assert_int_equal(seen->has_usage, 1);
		assert_int_equal(seen->chunks, 34);
		assert_int_equal(seen->usage.input, 120);
		assert_int_equal(seen->usage.cache_read, 20);
		assert_int_equal(seen->usage.output, 34);
		assert_int_equal(seen->usage.reasoning, WEIR_UNKNOWN);
		assert_int_equal(seen->audio, 7);
		assert_int_equal(seen->image, 8);
		assert_string_equal(seen->model, "m");
		assert_string_equal(seen->response_id, "r-1");
		assert_string_equal(seen->finish_reason, "stop");
		assert_int_equal(a->next_pos, 4096);
		assert_int_equal(a->started_wall_ns, 77);
		assert_int_equal(a->ordinal, 3);
		assert_int_equal(a->body_bytes, 400);
		assert_string_equal(a->method, "POST");
		assert_string_equal(a->path, "/v1/chat/completions");
		assert_int_equal(a->client[0], 9);
		assert_int_equal(a->client[15], 9);
		assert_int_equal(a->labels.trusted, 1);
		assert_string_equal(a->labels.session, "s-1");
		assert_string_equal(a->labels.feature, "chat");
		assert_string_equal(a->labels.user, "");
		assert_string_equal(a->body.model, "asked");
		assert_int_equal(a->body.max_tokens, 9000);
		assert_int_equal(a->text.max_tokens, WEIR_UNKNOWN);
		assert_false(weir_asked_hash(&a->text, 0, hash));
		/* Others are as if they had never been. */
		assert_int_equal(weir_state_open_of(s, slot ^ 1)->next_pos, 0);
		assert_int_equal(weir_state_asked_of(s, slot ^ 1)->next_pos, 0);
		weir_state_close(s);
	}
}

/* Their slots are of a set of maps that is gone. */
static void open_requests_of_other_maps_are_forgotten(void **state)
{
	struct file *f = *state;
	struct weir_state *s;

	make_open(f, 5, 0);
	s = open_for(f, 2, SLOTS_3);
	assert_int_equal(weir_state_open_of(s, 5)->next_pos, 0);
	assert_int_equal(weir_state_asked_of(s, 5)->next_pos, 0);
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

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(rows_of_older_versions_are_carried_over),
		CLAIM(a_full_queue_of_an_older_version_is_carried_over_whole),
		CLAIM(open_requests_of_version_3_are_carried_over),
		CLAIM(open_requests_of_other_maps_are_forgotten),
		CLAIM(an_older_file_that_is_cut_short_is_left_alone),
		CLAIM(an_older_file_that_contradicts_itself_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
