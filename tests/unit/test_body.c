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
		if (!s->plain)
			assert_true(s->number == ~0ULL);
		break;
	case WEIR_BODY_MODEL:
		say(r, "M@%u+%u=%.*s ", s->value_at, s->value_len, (int)s->model_len, s->model);
		for (size_t i = s->model_len; i < sizeof(s->model); i++)
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
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_for_is_told_at_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
