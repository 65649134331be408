// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about `weirctl usage --by` and `weirctl trace`, run against a control socket whose agent
 * has no kernel.
 */
#include "ctl_fixture.h"

/* 2026-09-21T14:13:20Z */
#define T0 UINT64_C(1790000000000000000)

static struct weir_row row;

static void start(void)
{
	row = (struct weir_row){
		.started_wall_ns = T0,
		.ended_wall_ns = T0 + 1234567000,
		.ttft_us = 250500,
		.tenant = 1,
		.wallet = 1,
		.service = 1,
		.status = 200,
		.usage_source = WEIR_USAGE_REPORTED,
		.flags = WEIR_ROW_BILLABLE,
		.usage = { 100, WEIR_UNKNOWN, WEIR_UNKNOWN, 50, WEIR_UNKNOWN },
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
		.max_tokens_requested = WEIR_UNKNOWN,
		.request_bytes = 4000,
		.response_bytes = 999,
		.client = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7 },
		.method = "POST",
		.path = "/v1/chat/completions",
		.model = "llama",
		.response_id = "chatcmpl-1",
	};
}

static int append(struct weir_ledger *l, void *arg)
{
	struct weir_error err;

	return weir_ledger_append(l, arg, 1, NULL, &err);
}

/* The row as the n-th request. */
static void enter(uint8_t n)
{
	row.id.b[15] = n;
	assert_int_equal(weir_writer_call(f->view.writer, append, &row), 0);
}

static json_int_t number(const json_t *o, const char *name)
{
	assert_true(json_is_integer(json_object_get(o, name)));
	return json_integer_value(json_object_get(o, name));
}

/* ------------------------------------------------------------------ usage */

static void a_table_has_columns_for_what_there_is(void **state)
{
	start();
	strcpy(row.user, "alice");
	enter(1);
	assert_int_equal(ctl("usage --by user --since 2026-09-01"), 0);
	assert_says(out, "by user, used from 2026-09-01T00:00:00Z on\n\n"
			 "USER   REQUESTS  INPUT  OUTPUT  PRICE  COST\n"
			 "alice         1    100      50      0     0\n");
	assert_null(strstr(out, "total"));
	row.user[0] = 0;
	row.usage_source = WEIR_USAGE_PARTIAL;
	row.flags = WEIR_ROW_DEGRADED;
	row.usage.cache_read = 7;
	enter(2);
	assert_int_equal(ctl("usage --by user --since 2026-09-01 --until 2026-10-01"), 0);
	assert_says(out, " to 2026-10-01T00:00:00Z\n\n"
			 "USER   REQUESTS  INPUT  CACHE READ  OUTPUT  PARTIAL  DEGRADED  UNBILLED  "
			 "PRICE  COST\n"
			 "alice         1    100           0      50        0         0         0  "
			 "    0     0\n"
			 "-             1    100           7      50        1         1         1  "
			 "    0     0\n"
			 "total         2    200           7     100        1         1         1  "
			 "    0     0\n");
	assert_int_equal(ctl("usage globex --by user --since 2026-09-01"), 0);
	assert_says(out, "by user, of globex, used from");
	assert_says(out, "nothing was used\n");
	assert_int_equal(ctl("usage --by day"), 0);
	assert_says(out, "(this month, UTC)");
}

static void a_session_shows_whose_and_when(void **state)
{
	start();
	strcpy(row.session, "s-1");
	enter(1);
	row.started_wall_ns += 60 * WEIR_SECOND;
	row.ended_wall_ns += 60 * WEIR_SECOND;
	enter(2);
	row.tenant = row.wallet = 2;
	enter(3);
	assert_int_equal(ctl("usage --by session --since 2026-09-01"), 0);
	assert_says(out, "SESSION  TENANT  FIRST                 LAST                  REQUESTS");
	assert_says(out, "s-1      acme    2026-09-21T14:13:20Z  2026-09-21T14:14:21Z         2");
	assert_says(out, "s-1      globex  2026-09-21T14:14:20Z  2026-09-21T14:14:21Z         1");
}

static void json_of_any_key_is_an_array_of_rows(void **state)
{
	static const char *const keys[] = { "user",    "team", "feature", "cost_center", "model",
					    "session", "day",  "hour",	  "tenant" };
	char words[80];

	start();
	enter(1);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		json_t *o, *r;

		snprintf(words, sizeof(words), "usage --json --since 2026-09-01 --by %s", keys[i]);
		o = ctl_json(words);
		assert_int_equal(json_array_size(o), 1);
		r = json_array_get(o, 0);
		assert_int_equal(number(r, "requests"), 1);
		assert_int_equal(number(r, "output_tokens"), 50);
		assert_int_equal(number(r, "cache_read_tokens"), 0);
		assert_null(json_object_get(r, "refused"));
		assert_non_null(json_object_get(r, "key"));
		if (i < 4)
			assert_true(json_is_null(json_object_get(r, "key")));
		assert_string_equal(err_text, "");
		json_decref(o);
	}
	assert_int_equal(ctl("usage --by tenant"), 0); /* the projection: at once, of all time */
	assert_says(out, "TENANT  REQUESTS");
	assert_null(strstr(out, "used from"));
}

static void what_cannot_be_summed_is_refused(void **state)
{
	assert_fails("usage --by weekday", 2,
		     "usage is shown by tenant, user, team, feature, cost_center, model, session, "
		     "day or hour");
	assert_fails("usage --by user --since yesterday", 2, "--since");
	assert_fails("usage --since 2026-10-01 --until 2026-09-01", 1, "until: is not after since");
	assert_fails("usage acmee --by user", 1, "did you mean \"acme\"?");
}

/* ------------------------------------------------------------------ trace */

static void a_usual_request_is_one_screen(void **state)
{
	start();
	strcpy(row.client_request_id, "req-1");
	enter(1);
	assert_int_equal(ctl("trace req-1"), 1); /* it is older than a day */
	assert_int_equal(ctl("trace req-1 --since 2026-09-21"), 0);
	assert_says(out,
		    "request  00000000000000000000000000000001, by its x-request-id\n"
		    "         POST /v1/chat/completions, service llm, status 200\n"
		    "who      tenant acme\n"
		    "ids      chatcmpl-1  of the answer\n"
		    "         req-1  x-request-id\n"
		    "when     2026-09-21T14:13:20.000Z  admitted, from 10.0.0.7\n"
		    "         2026-09-21T14:13:20.250Z  first byte, after 250.5 ms\n"
		    "         2026-09-21T14:13:21.234Z  the answer is complete, after 1234.6 ms\n"
		    "         3.9 KiB asked, 999 B answered\n"
		    "model    llama, chat\n"
		    "usage    input 100, output 50, as the server reported\n");
	assert_says(out, "\nledger   #1 of 2026-09-21T14:13:21.234Z, balance 0 -> 0\n");
	assert_says(out, "on meter.v1.acme.gpu-01, not published: no NATS is configured\n");
	assert_narrow();
	assert_int_equal(ctl("trace 00000000000000000000000000000001"), 0); /* looked up */
	assert_int_equal(ctl("trace #1"), 0);
}

static void what_was_not_as_usual_is_in_words(void **state)
{
	static const struct {
		uint16_t flags;
		uint32_t flags2;
		uint8_t source, cause;
		const char *words;
	} t[] = {
		{ 0, WEIR_ROW_LEFT | WEIR_ROW_ABORT_FREE, WEIR_USAGE_PARTIAL, WEIR_END_CLOSE,
		  "Z the client left, after 1234.6 ms" },
		{ 0, WEIR_ROW_LEFT | WEIR_ROW_ABORT_FREE, WEIR_USAGE_PARTIAL, WEIR_END_CLOSE,
		  "the client left: not billed" },
		{ WEIR_ROW_BILLABLE, WEIR_ROW_ABORT_FULL, WEIR_USAGE_PARTIAL, WEIR_END_CLOSE,
		  "the client left: billed in full" },
		{ 0, WEIR_ROW_RETRY_FREE, WEIR_USAGE_REPORTED, 0,
		  "a retry of an answer that broke off: not billed" },
		{ 0, WEIR_ROW_CACHE_FREE, WEIR_USAGE_REPORTED, 0, "out of a cache: not billed" },
		{ 0, 0, WEIR_USAGE_NONE, 0, "0 credits, not billed" },
		{ WEIR_ROW_UNPRICED | WEIR_ROW_BILLABLE, 0, WEIR_USAGE_REPORTED, 0,
		  "no rate card has a price for it" },
		{ WEIR_ROW_BILLABLE, WEIR_ROW_INPUT_GUESSED, WEIR_USAGE_ESTIMATED, 0,
		  "input about 100, output 50, estimated: the server reports no usage" },
		{ WEIR_ROW_BILLABLE | WEIR_ROW_LOST_BYTES, 0, WEIR_USAGE_PARTIAL, WEIR_END_CUT,
		  "bytes of it were lost" },
		{ WEIR_ROW_BILLABLE, 0, WEIR_USAGE_PARTIAL, WEIR_END_CUT, "cut short by us" },
		{ WEIR_ROW_BILLABLE | WEIR_ROW_UNJUDGED, WEIR_ROW_ENCODED, WEIR_USAGE_REPORTED, 0,
		  "nobody was seen to ask for it" },
		{ WEIR_ROW_BILLABLE | WEIR_ROW_STREAM, WEIR_ROW_ENCODED, WEIR_USAGE_REPORTED, 0,
		  "llama, chat, streamed, compressed, cache stale, retry 2" },
	};
	char words[16], flat[sizeof(out)];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		size_t n = 0;

		start();
		row.flags = t[i].flags;
		row.flags2 = t[i].flags2;
		row.usage_source = t[i].source;
		row.end_cause = t[i].cause;
		row.cache_status = WEIR_CACHE_STALE;
		row.retry_count = 2;
		enter((uint8_t)(i + 1));
		snprintf(words, sizeof(words), "trace #%zu", i + 1);
		assert_int_equal(ctl(words), 0);
		assert_narrow();
		for (char *p = out; *p; p++) { /* as one line: it may be wrapped anywhere */
			if (*p == '\n')
				*p = ' ';
			if (*p != ' ' || !n || flat[n - 1] != ' ')
				flat[n++] = *p;
		}
		flat[n] = 0;
		assert_says(flat, t[i].words);
	}
}

static void an_events_line_says_what_was_not_as_usual(void **state)
{
	start();
	row.flags = WEIR_ROW_LOST_BYTES;
	row.flags2 = WEIR_ROW_LEFT | WEIR_ROW_ABORT_FREE;
	enter(1);
	row.flags = 0;
	row.flags2 = WEIR_ROW_RETRY_FREE;
	enter(2);
	row.flags2 = WEIR_ROW_CACHE_FREE;
	enter(3);
	assert_int_equal(ctl("events"), 0);
	assert_says(out, ", client left, abort free, bytes lost\n");
	assert_says(out, ", free retry\n");
	assert_says(out, ", free of a cache\n");
}

static void what_was_never_seen_is_no_figure(void **state)
{
	start();
	row.status = 0;
	row.ttft_us = 0;
	row.usage_source = WEIR_USAGE_NONE;
	row.flags = 0;
	row.usage.input = row.usage.output = WEIR_UNKNOWN;
	row.request_bytes = UINT64_MAX;
	memset(row.client, 0, sizeof(row.client));
	enter(1);
	assert_int_equal(ctl("trace #1"), 0);
	assert_says(out, ", no answer\n");
	assert_says(out, "Z  admitted\n");
	assert_says(out, "no byte of a body was seen\n");
	assert_says(out, "\nusage    nothing that is metered\n");
	assert_null(strstr(out, "asked,"));
}

static void text_of_others_cannot_speak_to_the_terminal(void **state)
{
	start();
	strcpy(row.path, "/v1/\033[2J\n\r\xc2\x9b");
	strcpy(row.model, "m\033]0;x\007");
	strcpy(row.response_id, "id\033[31m");
	strcpy(row.client_request_id, "\xff\xfe");
	enter(1);
	assert_int_equal(ctl("trace #1"), 0);
	for (char *p = out; *p; p++)
		assert_true(*p == '\n' || (unsigned char)*p >= ' ');
	json_decref(ctl_json("trace #1 --json"));
}

static void a_trace_of_several_is_a_line_each(void **state)
{
	json_t *o;

	start();
	memset(row.trace_id, 0xab, sizeof(row.trace_id));
	enter(1);
	row.tenant = row.wallet = 2;
	row.started_wall_ns += WEIR_SECOND;
	row.ended_wall_ns += WEIR_SECOND;
	enter(2);
	assert_int_equal(ctl("trace abababababababababababababababab --since 2026-09-01"), 0);
	assert_says(out, "ADMITTED                  REQUEST");
	assert_true(strstr(out, "globex") < strstr(out, "acme")); /* the newest first */
	o = ctl_json("trace abababababababababababababababab --since 2026-09-01 --json");
	assert_int_equal(json_array_size(o), 2);
	json_decref(o);
	assert_fails("trace nope", 1, "no request has the id \"nope\"");
	assert_fails("trace", 2, "ID");
}

static int refund(struct weir_ledger *l, void *arg)
{
	struct weir_op op = { .kind = WEIR_ENTRY_REFUND,
			      .tenant = 1,
			      .wallet = 1,
			      .of = 1,
			      .amount_nano = 400,
			      .actor = "root",
			      .reason = "sorry" };
	struct weir_done done;
	struct weir_error err;
	int r = 0;

	for (int i = 0; !r && i < 2; i++) {
		snprintf(op.key, sizeof(op.key), "r%d", i);
		r = weir_ledger_post(l, &op, T0 + 1000 * WEIR_SECOND, &done, &err);
	}
	return r;
}

static int meter(struct weir_ledger *l, void *arg)
{
	struct weir_op op = { .kind = WEIR_ENTRY_METER,
			      .tenant = 1,
			      .wallet = 1,
			      .flags = WEIR_OP_POSTED,
			      .quantity_nano = 1500000000,
			      .dimension = "storage_gb",
			      .actor = "root",
			      .key = "day-17" };
	static const char json[] =
		"{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
		"{\"meter\":\"storage_gb\",\"price\":{\"unit\":\"0.000001\"}}]}";
	struct weir_card *card = NULL;
	struct weir_done done;
	struct weir_error err;
	int r = weir_card_parse(json, "test", &card, &err);

	if (!r)
		r = weir_ledger_card(l, card, &op.card_id, &err);
	weir_card_free(card);
	return r ? r : weir_ledger_post(l, &op, T0, &done, &err);
}

static void a_report_is_traced_with_its_refunds(void **state)
{
	json_t *o, *i;

	assert_int_equal(weir_writer_call(f->view.writer, meter, NULL), 0);
	assert_int_equal(weir_writer_call(f->view.writer, refund, NULL), 0);
	o = ctl_json("trace day-17 --json");
	i = json_array_get(o, 0);
	assert_string_equal(json_string_value(json_object_get(i, "matched")), "usage_id");
	assert_true(json_is_null(json_object_get(i, "request")));
	assert_int_equal(json_array_size(json_object_get(i, "refunds")), 2);
	assert_string_equal(json_string_value(json_object_get(i, "refunded")), "0.0000008");
	json_decref(o);
	assert_int_equal(ctl("trace day-17"), 0);
	assert_says(out, ", by its report's id\n         1.5 of storage_gb, reported, id day-17\n");
	assert_says(out, "\nprice    0.0000015 credits, card list version 1, entry 0");
	assert_says(out, "refunds  0.0000004 on 2026-09-21T14:30:00.000Z by root, \"sorry\"");
	assert_narrow();
}

static void the_path_is_the_tree_down_to_the_tenant(void **state)
{
	json_t *o;

	fake_levels(f);
	start();
	enter(1);
	o = ctl_json("trace #1 --json");
	assert_int_equal(ctl("events --json"), 0);
	assert_says(out, "\"tenant\":\"acme\",\"path\":[\"org\",\"team\",\"acme\"],");
	json_decref(o);
	row.tenant = row.wallet = 2;
	enter(2);
	assert_int_equal(ctl("events --json --tenant globex"), 0);
	assert_says(out, "\"path\":[\"globex\"],");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(a_table_has_columns_for_what_there_is),
		CLAIM(a_session_shows_whose_and_when),
		CLAIM(json_of_any_key_is_an_array_of_rows),
		CLAIM(what_cannot_be_summed_is_refused),
		CLAIM(a_usual_request_is_one_screen),
		CLAIM(what_was_not_as_usual_is_in_words),
		CLAIM(an_events_line_says_what_was_not_as_usual),
		CLAIM(what_was_never_seen_is_no_figure),
		CLAIM(text_of_others_cannot_speak_to_the_terminal),
		CLAIM(a_trace_of_several_is_a_line_each),
		CLAIM(a_report_is_traced_with_its_refunds),
		CLAIM(the_path_is_the_tree_down_to_the_tenant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
