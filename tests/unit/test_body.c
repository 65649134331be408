/* SPDX-License-Identifier: Apache-2.0 */
/* JSON bodies held to rules: what limits output or names a model is told at its very
 * byte, however the bytes come, and nothing a server could read otherwise gets by. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/body.h"

/* Windows end at multiples of `size` from the first cut. Events are written to out
 * as words: T@at+len=number, M@at+len=model, END, OTHER, BAD. */
struct reader {
	struct weir_body body;
	char *out;
	size_t room;
	bool over;
};

static void say(struct reader *r, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(r->out, r->room, format, args);
	va_end(args);
	assert_in_range(n, 1, r->room - 1);
	r->out += n;
	r->room -= n;
}

static void event(struct reader *r)
{
	const struct weir_body_state *s = &r->body.state;

	switch (s->event) {
	case WEIR_BODY_TOKENS:
		say(r, "T@%u+%u=", s->value_at, s->value_len);
		if (s->plain)
			say(r, "%llu ", (unsigned long long)s->number);
		else
			say(r, s->quoted ? "quoted " : "odd ");
		if (s->plain)
			assert_false(s->quoted);
		else
			assert_true(s->number == ~0ULL);
		break;
	case WEIR_BODY_MODEL:
		say(r, "M@%u+%u=%.*s ", s->value_at, s->value_len, (int)s->model_len, s->model);
		for (size_t i = s->model_len; i < WEIR_MODEL_BYTES; i++)
			assert_int_equal(s->model[i], 0);
		break;
	case WEIR_BODY_END:
		say(r, "END ");
		break;
	case WEIR_BODY_OTHER:
		say(r, "OTHER ");
		r->over = true;
		break;
	case WEIR_BODY_BAD:
		say(r, "BAD ");
		r->over = true;
		break;
	default:
		fail_msg("event %u", s->event);
	}
}

static void window(struct reader *r, uint32_t offset, const char *p, size_t n, uint8_t leavings)
{
	struct weir_body *b = &r->body;
	unsigned runs = 0;

	memset(b->bytes, leavings, sizeof(b->bytes));
	memcpy(b->bytes, p, n);
	weir_body_window(b, offset, n);
	while (!r->over) {
		assert_in_range(++runs, 1, WEIR_BODY_RUNS);
		if (!weir_body_run(b))
			continue;
		if (b->state.event == WEIR_BODY_MORE) {
			assert_int_equal(b->pos, n);
			return;
		}
		event(r);
	}
	/* For good. */
	assert_int_equal(weir_body_run(b), 1);
	assert_true(b->state.event >= WEIR_BODY_OTHER);
}

static void read_body(const char *text, size_t n, size_t first, size_t size, uint8_t leavings,
		      char *out, size_t room)
{
	static struct reader r;
	size_t at = 0, take = first;

	r = (struct reader){ .out = out, .room = room };
	*out = 0;
	weir_body_start(&r.body);
	while (at < n && !r.over) {
		/* Between two windows a scan may be put away. */
		struct weir_body_state kept = r.body.state;

		if (take > n - at)
			take = n - at;
		if (take > WEIR_BODY_WINDOW)
			take = WEIR_BODY_WINDOW;
		memset(&r.body, 0xa5, sizeof(r.body));
		r.body.state = kept;
		window(&r, at, text + at, take, leavings);
		at += take;
		take = size;
	}
}

static void reads_bytes(const char *text, size_t n, const char *events)
{
	/* What lies behind the window must not matter. */
	static const uint8_t leavings[] = { 0, '"', '\\', '}', '9', ' ', 0xff };
	char out[4096];

	for (size_t l = 0; l < sizeof(leavings); l++) {
		for (size_t cut = 0; cut <= n; cut++) {
			read_body(text, n, cut, n, leavings[l], out, sizeof(out));
			if (strcmp(out, events))
				print_error("%s\ncut at %zu\n", text, cut);
			assert_string_equal(out, events);
		}
		for (size_t size = 1; size < 40; size++) {
			read_body(text, n, size, size, leavings[l], out, sizeof(out));
			if (strcmp(out, events))
				print_error("%s\nin windows of %zu\n", text, size);
			assert_string_equal(out, events);
		}
	}
}

static void reads(const char *text, const char *events)
{
	reads_bytes(text, strlen(text), events);
}

static void what_is_asked_for_is_told_at_its_place(void **state)
{
	reads("{\"max_tokens\":100}", "T@14+3=100 END ");
	reads(" { \"model\" : \"gpt-4o\" ,\r\n\t\"max_tokens\" : 7 } \r\n",
	      "M@14+6=gpt-4o T@41+1=7 END ");
	reads("{\"max_completion_tokens\":1,\"max_output_tokens\":22,\"max_tokens\":333}",
	      "T@25+1=1 T@47+2=22 T@63+3=333 END ");
	reads("{\"model\":\"\"}", "M@10+0= END ");
	reads("{}", "END ");
	reads("{\"a\":1,\"b\":\"c\",\"d\":{},\"e\":[],\"f\":null,\"g\":-1.5e3,\"h\":true}", "END ");
	reads("{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a \\\"b\\\" {\"}],"
	      "\"max_tokens\":5}",
	      "T@79+1=5 END ");
}

static void only_whole_names_of_the_outer_object_count(void **state)
{
	reads("{\"a\":{\"max_tokens\":1,\"model\":\"x\"},\"b\":[{\"max_tokens\":2}]}", "END ");
	reads("{\"max_token\":1,\"max_tokensx\":2,\"xmax_tokens\":3,\"max-tokens\":4,"
	      "\"max tokens\":5,\"modeL \":\"x\",\"models\":\"x\",\"mode\":\"x\",\"\":6}",
	      "END ");
	reads("{\"max_output_token\":1,\"max_completion_token\":2,\"max_output_tokensx\":3,"
	      "\"max_completion_tokenss\":4,\"max_completion_tokens_max_completion_tokens\":5}",
	      "END ");
	reads("{\"moder\":\"x\",\"nodel\":\"x\",\"max_tokent\":1,\"max_tolens\":1,\"nax_tokens\":"
	      "1}",
	      "END ");
	reads("{\"max_output_tokent\":1,\"max_output_tolens\":1,\"max_outqut_tokens\":1,"
	      "\"max_completion_tokent\":1,\"max_completiom_tokens\":1,\"max_comqletion_tokens\":"
	      "1}",
	      "END ");
	/* bit 20, which tells the cases of letters apart, makes _ of nothing but _ and 7f */
	reads("{\"max?tokens\":1,\"max_tokens?\":2,\"mAx\x3etokens\":3}", "END ");
	reads("{\"a\":\"max_tokens\",\"b\":\"model\",\"c\":[\"max_tokens\",9],\"d\":9}", "END ");
	reads("{\"prompt\":\"\\\"max_tokens\\\":9, \\\\\",\"max_tokens\":3}", "T@46+1=3 END ");
}

/* Go's encoding/json */
static void names_are_known_in_any_case(void **state)
{
	reads("{\"Max_Tokens\":1,\"MAX_COMPLETION_TOKENS\":2,\"Max_Output_Tokens\":3,"
	      "\"MODEL\":\"m\"}",
	      "T@14+1=1 T@40+1=2 T@62+1=3 M@73+1=m END ");
}

static void each_of_the_same_keys_is_told(void **state)
{
	reads("{\"max_tokens\":1,\"max_tokens\":2,\"model\":\"a\",\"model\":\"bc\",\"model\":3}",
	      "T@14+1=1 T@29+1=2 M@40+1=a M@52+2=bc END ");
}

static void a_key_that_could_be_read_as_another_is_bad(void **state)
{
	reads("{\"max\\u005ftokens\":1}", "BAD ");
	reads("{\"a\\\\b\":1}", "BAD ");
	reads("{\"a\":{\"b\\u005f\":1}}", "END "); /* nobody asks for this one */
	reads("{\"max_to\xe2\x84\xaa"
	      "ens\":1}",
	      "BAD ");				    /* KELVIN SIGN, k to Go */
	reads("{\"max_token\xc5\xbf\":1}", "BAD "); /* LONG S, s to Go */
	reads("{\"mo\xff"
	      "del\":1}",
	      "BAD ");
	reads("{\"model\x7f\":1}", "BAD ");
	reads_bytes("{\"model\0\":1}", 12, "BAD "); /* ends a C string */
	reads("{\"mo\ndel\":1}", "BAD ");
	reads("{\"\xef\xbb\xbfmodel\":1}", "BAD ");
}

static void numbers_are_read_or_told_as_odd(void **state)
{
	reads("{\"max_tokens\":0}", "T@14+1=0 END ");
	reads("{\"max_tokens\":4294967296}", "T@14+10=4294967296 END ");
	reads("{\"max_tokens\":18446744073709551599}", "T@14+20=18446744073709551599 END ");
	reads("{\"max_tokens\":18446744073709551615}", "T@14+20=18446744073709551615 END ");
	reads("{\"max_tokens\":18446744073709551614}", "T@14+20=18446744073709551614 END ");
	reads("{\"max_tokens\":18446744073709551616}",
	      "T@14+20=18446744073709551615 END "); /* saturates */
	reads("{\"max_tokens\":99999999999999999999999999999999999999 }",
	      "T@14+38=18446744073709551615 END ");
	/* no JSON, and eight in old JavaScript: no more than it says */
	reads("{\"max_tokens\":010}", "T@14+3=10 END ");
	reads("{\"max_tokens\":1E5}", "T@14+3=odd END ");
	reads("{\"max_tokens\":1e+5}", "T@14+4=odd END ");
	reads("{\"max_tokens\":4096.0}", "T@14+6=odd END ");
	reads("{\"max_tokens\":0.5}", "T@14+3=odd END ");
	reads("{\"max_tokens\":0x1000}", "T@14+6=odd END ");
	reads("{\"max_tokens\":12a34}", "T@14+5=odd END ");
	reads("{\"max_tokens\":+5}", "T@14+2=odd END ");
	reads("{\"max_tokens\":.5e9}", "T@14+4=odd END ");
	reads("{\"max_tokens\":Infinity}", "T@14+8=odd END ");
	reads("{\"max_tokens\":NaN}", "T@14+3=odd END ");
	reads("{\"max_tokens\":5 5}", "T@14+1=5 BAD ");
	reads("{\"max_tokens\":1_000}", "T@14+1=1 BAD ");
	reads("{\"max_tokens\":5//\n0}", "T@14+1=5 BAD ");
}

static void values_that_are_no_limit_are_the_servers_business(void **state)
{
	reads("{\"max_tokens\":-1}", "END ");
	reads("{\"max_tokens\":-0}", "END ");
	reads("{\"max_tokens\":-Infinity}", "END ");
	reads("{\"max_tokens\":null,\"max_tokens\":true,\"max_tokens\":false}", "END ");
	reads("{\"max_tokens\":{\"max_tokens\":5},\"x\":1}", "END ");
	reads("{\"max_tokens\":[5,\"5\"],\"x\":\"y\"}", "END ");
	reads("{\"model\":null,\"model\":5,\"model\":[\"x\"],\"model\":{\"model\":\"x\"}}", "END ");
}

/* pydantic makes 100000 of "100000", " 100000 ", "1_00000", "100000.0", "\u0031…" */
static void a_quoted_limit_is_told(void **state)
{
	reads("{\"max_tokens\":\"100000\"}", "T@15+6=quoted END ");
	reads("{\"max_tokens\":\"\\u0031\\\"\",\"a\":\"b\"}", "T@15+8=quoted END ");
	reads("{\"max_tokens\":\"\",\"max_tokens\":3,\"max_tokens\":\"4\"}",
	      "T@15+0=quoted T@30+1=3 T@46+1=quoted END ");
}

static void a_model_is_told_as_it_stands_and_cut(void **state)
{
	reads("{\"model\":\"a\\\"b\\\\\"}", "M@10+6=a\\\"b\\\\ END ");
	reads("{\"model\":\"\\u0061\xc3\xa9\"}", "M@10+8=\\u0061\xc3\xa9 END ");
	reads("{\"model\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
	      "M@10+64=0123456789012345678901234567890123456789012345678901234567890123 END ");
	reads("{\"model\":\"0123456789012345678901234567890123456789012345678901234567890123456789"
	      "012345678901234567890123456789\",\"model\":\"z\"}",
	      "M@10+100=0123456789012345678901234567890123456789012345678901234567890123 "
	      "M@121+1=z END ");
}

static void any_byte_of_a_string_is_skipped(void **state)
{
	char text[300] = "{\"a\":\"";
	size_t n = strlen(text);

	for (int c = 0; c < 256; c++)
		if (c != '"' && c != '\\')
			text[n++] = c;
	memcpy(text + n, "\",\"max_tokens\":8}", 17);
	reads_bytes(text, n + 17, "T@275+1=8 END ");
	reads("{\"a\":\"\xf0\",\"max_tokens\":8}", "T@22+1=8 END "); /* a lead byte swallows none */
	reads("{\"a\":\"\\ud800\",\"max_tokens\":8}", "T@27+1=8 END "); /* lone surrogate */
	reads("{\"a\":\"\\x22\\'\\\n\\0\",\"max_tokens\":8}", "T@31+1=8 END ");
	reads("{\"a\":\"\\\\\",\"max_tokens\":8}", "T@23+1=8 END ");
	reads("{\"a\":\"\\\\\\\",\",\"max_tokens\":8}", "T@26+1=8 END ");
	reads("{\"a\":[\"\\\\\",\"\\\"\",\"]\"],\"max_tokens\":8}", "T@34+1=8 END ");
}

static void what_json_does_not_have_is_bad(void **state)
{
	static const char *const pieces[] = {
		"'",  "/*",   "//",	      "#",    "\\", "_",	";",
		"`",  "\x01", "\x7f",	      "\x80", "\f", "\xc2\xa0", "\v",
		"=>", "(",    "\xef\xbb\xbf", "$",    "&",  "*"
	};

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		char text[100];

		snprintf(text, sizeof(text), "{%s\"max_tokens\":1}", pieces[i]);
		reads(text, "BAD ");
		snprintf(text, sizeof(text), "{\"a\"%s:1}", pieces[i]);
		reads(text, "BAD ");
		snprintf(text, sizeof(text), "{\"a\":%s1}", pieces[i]);
		reads(text, "BAD ");
		snprintf(text, sizeof(text), "{\"a\":1%s}", pieces[i]);
		reads(text, "BAD ");
		snprintf(text, sizeof(text), "{\"a\":[%s1]}", pieces[i]);
		reads(text, "BAD ");
		snprintf(text, sizeof(text), "{\"a\":[12345, 67890%s, 1234]}", pieces[i]);
		reads(text, "BAD ");
		snprintf(text, sizeof(text), "{\"a\":{\"b\":\"c\"%s}}", pieces[i]);
		reads(text, "BAD ");
		snprintf(text, sizeof(text), "{\"a\":1,%s}", pieces[i]);
		reads(text, "BAD ");
	}
	reads_bytes("{\"a\":[1,\0]}", 11, "BAD ");
}

/* Python's json.loads finds these encodings out; without a NUL or a mark it is UTF-8. */
static void other_encodings_are_bad(void **state)
{
	reads_bytes("{\0\"\0a\0", 6, "BAD ");
	reads_bytes("\0{\0\"\0a", 6, "BAD ");
	reads_bytes("{\0\0\0\"\0\0\0", 8, "BAD ");
	reads_bytes("\0\0\0{\0\0\0\"", 8, "BAD ");
	reads_bytes(" \0{\0\"\0", 6, "BAD ");
	reads_bytes("\xff\xfe{\0\"\0", 6, "BAD ");
	reads_bytes("\xfe\xff\0{\0\"", 6, "BAD ");
	reads("\xef\xbb\xbf{\"max_tokens\":1}", "BAD ");
	reads("\n\xef\xbb\xbf{\"max_tokens\":1}", "BAD ");
}

static void what_is_no_object_is_left_alone(void **state)
{
	reads("[{\"max_tokens\":1}]", "OTHER ");
	reads(" \t\r\n\"{\"", "OTHER ");
	reads("12", "OTHER ");
	reads("null", "OTHER ");
	reads("model=x&max_tokens=1", "OTHER ");
	reads("--boundary\r\n", "OTHER ");
	reads("", "");
	reads(" \r\n\t  ", "");
	reads_bytes("\0", 1, "BAD ");
	reads("\v{}", "BAD ");
	reads("\x7f{}", "BAD ");
	reads("\x1f\x8b\x08", "BAD "); /* gzip */
	/* An object may stand behind a comment, or the prefix that Gson skips. */
	reads("/**/{\"max_tokens\":1}", "BAD ");
	reads("# x\n{\"max_tokens\":1}", "BAD ");
	reads(")]}'\n{\"max_tokens\":1}", "BAD ");
}

static void behind_the_object_nothing_counts(void **state)
{
	reads("{} \r\n\t ", "END ");
	reads("{}{\"max_tokens\":1}", "END OTHER ");
	reads("{} x", "END OTHER ");
	reads("{}}", "END OTHER ");
	reads("{},", "END OTHER ");
	reads_bytes("{}\0", 3, "END OTHER ");
	reads("{\"a\":[]}\xff", "END OTHER ");
}

static void the_outer_grammar_is_kept(void **state)
{
	static const char *const texts[] = {
		"{,}",
		"{:}",
		"{1:2}",
		"{a:1}",
		"{\"a\"}",
		"{\"a\",}",
		"{\"a\"1}",
		"{\"a\":}",
		"{\"a\":,}",
		"{\"a\"::1}",
		"{\"a\":]}",
		"{\"a\":1]",
		"{\"a\":1 2}",
		"{\"a\":1,,}",
		"{\"a\":\"b\"\"c\"}",
		"{\"a\":[]1}",
		"{\"a\" \"b\":1}",
		"{]",
		"{{}}",
		"{[]}",
		"{\"a\":1\"b\":2}",
		"{\"a\":1:2}",
		"{\"a\":{}\"b\":2}",
		"{\"a\":1{}}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		reads(texts[i], "BAD ");
	/* hides nothing; some take it */
	reads("{\"max_tokens\":1,}", "T@14+1=1 END ");
}

/* Lenient parsers take words without quotes, which may hold one: [x"], … */
static void a_quote_inside_a_word_is_bad(void **state)
{
	reads("{\"a\":[x\"],\"max_tokens\":9,\"b\":[y\"]}", "BAD ");
	reads("{\"a\":[12345678\"],\"max_tokens\":9,\"b\":[y\"]}", "BAD ");
	reads("{\"a\":[1, 2, 345 \"]}", "BAD ");
	reads("{\"a\":[\"x\"\"y\"]}", "BAD ");
	reads("{\"a\":[[]\"y\"]}", "BAD ");
	reads("{\"a\":[{} \n\"y\"]}", "BAD ");
	reads("{\"a\":[1,\n \"y\"],\"b\":[12, 45, 7, \"z\", 12345,      \"z\"]}", "END ");
	reads("{\"a\":[1234567,\"z\",123456, \"z\",12345,6  ,\"z\"]}", "END ");
	reads("{\"a\":[\"z\",12345678\"z\"]}", "BAD ");
	reads("{\"a\":[\"z\",1234567 \"z\"]}", "BAD ");
	reads("{\"a\":{\"b\":\"c\",\"d\": \"e\", \"f\" :\"g\"}}", "END ");
}

static void depth_is_counted_far(void **state)
{
	static char text[2 * WEIR_BODY_DEPTH + 100], out[100];
	char want[100];
	size_t n, deep;

	/* DEPTH with the outer object */
	for (deep = WEIR_BODY_DEPTH - 2; deep <= WEIR_BODY_DEPTH; deep++) {
		n = sprintf(text, "{\"a\":");
		memset(text + n, '[', deep);
		n += deep;
		memset(text + n, ']', deep);
		n += deep;
		snprintf(want, sizeof(want), "T@%zu+1=9 END ", n + 14);
		n += sprintf(text + n, ",\"max_tokens\":9}");
		read_body(text, n, 1000, 1000, 0, out, sizeof(out));
		assert_string_equal(out, deep < WEIR_BODY_DEPTH ? want : "BAD ");
	}
	reads("{\"a\":{\"b\":[{\"c\":[[],{}]}]},\"max_tokens\":9}", "T@40+1=9 END ");
}

static void long_texts_are_read_in_any_windows(void **state)
{
	static char text[20000], out[200];
	static const char piece[] =
		"It was the best of times,\\n it was \\\"the\\\" worst \\\\\\u00e9";
	char want[200];
	size_t n =
		sprintf(text, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"");

	while (n < 15000)
		n += sprintf(text + n, piece);
	n += sprintf(text + n, "\"}],\"ids\":[");
	for (int i = 0; n < 19000; i++)
		n += sprintf(text + n, i % 7 ? "%d, " : "%d,", i * i * 31);
	n += sprintf(text + n, "-0.5e3, \"}\"],\"max_tokens\":");
	snprintf(want, sizeof(want), "M@10+1=m T@%zu+4=4096 END ", n);
	n += sprintf(text + n, "4096}\n");
	for (size_t size = 1; size <= WEIR_BODY_WINDOW; size += size < 70 ? 1 : 13)
		for (size_t first = 1; first < 9; first += 3) {
			read_body(text, n, first, size, '"', out, sizeof(out));
			assert_string_equal(out, want);
		}
}

static void a_window_full_of_events_is_used_up(void **state)
{
	char text[WEIR_BODY_WINDOW + 1], out[8192];
	size_t n = sprintf(text, "{\"a\":0");
	unsigned count = 0;

	while (n + 11 <= WEIR_BODY_WINDOW)
		n += sprintf(text + n, ",\"model\":\"\""), count++;
	read_body(text, n, n, 1, 0, out, sizeof(out));
	for (const char *p = out; (p = strchr(p, 'M')); p++)
		count--;
	assert_int_equal(count, 0);
	/* bytes of two steps each */
	n = sprintf(text, "{\"a\":[");
	while (n + 2 <= WEIR_BODY_WINDOW)
		n += sprintf(text + n, "{}");
	read_body(text, n, n, 1, 0, out, sizeof(out));
	assert_string_equal(out, "");
}

static void any_bytes_are_survived(void **state)
{
	static const char *const words[] = { "\"max_tokens\":",
					     "\"model\":",
					     "{",
					     "}",
					     "[",
					     "]",
					     ",",
					     ":",
					     "\"",
					     "\\",
					     "1",
					     "2345",
					     " ",
					     "\"a\"",
					     "null" };
	char text[400], once[8192], again[8192];

	srand(5);
	for (int i = 0; i < 60000; i++) {
		size_t n = sprintf(text, "{");

		for (int j = rand() % 40; j > 0; j--)
			n += sprintf(text + n, "%s",
				     words[rand() % (sizeof(words) / sizeof(words[0]))]);
		if (rand() % 4 == 0)
			text[rand() % n] = rand();
		read_body(text, n, n, n, 0, once, sizeof(once));
		read_body(text, n, rand() % n, 1 + rand() % 20, rand(), again, sizeof(again));
		assert_string_equal(once, again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_for_is_told_at_its_place),
		cmocka_unit_test(only_whole_names_of_the_outer_object_count),
		cmocka_unit_test(names_are_known_in_any_case),
		cmocka_unit_test(each_of_the_same_keys_is_told),
		cmocka_unit_test(a_key_that_could_be_read_as_another_is_bad),
		cmocka_unit_test(numbers_are_read_or_told_as_odd),
		cmocka_unit_test(values_that_are_no_limit_are_the_servers_business),
		cmocka_unit_test(a_quoted_limit_is_told),
		cmocka_unit_test(a_model_is_told_as_it_stands_and_cut),
		cmocka_unit_test(any_byte_of_a_string_is_skipped),
		cmocka_unit_test(what_json_does_not_have_is_bad),
		cmocka_unit_test(other_encodings_are_bad),
		cmocka_unit_test(what_is_no_object_is_left_alone),
		cmocka_unit_test(behind_the_object_nothing_counts),
		cmocka_unit_test(the_outer_grammar_is_kept),
		cmocka_unit_test(a_quote_inside_a_word_is_bad),
		cmocka_unit_test(depth_is_counted_far),
		cmocka_unit_test(long_texts_are_read_in_any_windows),
		cmocka_unit_test(a_window_full_of_events_is_used_up),
		cmocka_unit_test(any_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
