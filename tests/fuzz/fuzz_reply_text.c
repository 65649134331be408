// SPDX-License-Identifier: Apache-2.0
/*
 * Any template with any figures. Two claims: what is written is, byte for byte, what printf
 * and gmtime make of it, with a Content-Length that is the body's; and what would be longer
 * than a reply may be is not written at all.
 *
 * Input: a byte that says what stood in the writer's memory, the figures, then two bytes or
 * more for each op.
 */
#include <stdbool.h>
#include <time.h>

#include "bpf/reply_text.h"
#include "fuzz.h"

#define SECOND	 1000000000ULL
#define WAIT_MAX (INT64_MAX - SECOND)

/* 1972-02-29, 2000-02-29, 2100-02-28, 2400-02-29: leap years and what is none. */
static const uint64_t leap_days[] = { 68169600, 951782400, 4107456000, 13574563200 };

struct expected {
	char bytes[WEIR_REPLY_OPS * WEIR_REPLY_TEXT];
	size_t len, body_at, length_at;
	bool has_length;
};

static uint64_t ceil_div(unsigned __int128 v, uint64_t by)
{
	return (v + by - 1) / by;
}

static void put(struct expected *e, const char *text)
{
	strcpy(e->bytes + e->len, text);
	e->len += strlen(text);
}

static void put_credits(struct expected *e, int64_t nano)
{
	uint64_t v = nano < 0 ? 0 - (uint64_t)nano : (uint64_t)nano;
	char text[40];
	int n = snprintf(text, sizeof(text), "%s%llu.%09llu", nano < 0 ? "-" : "",
			 (unsigned long long)(v / SECOND), (unsigned long long)(v % SECOND));

	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	text[n] = 0;
	put(e, text);
}

static void put_duration(struct expected *e, uint64_t ns)
{
	uint64_t s = ceil_div(ns, SECOND);
	char text[40];

	if (ns && ns < SECOND)
		snprintf(text, sizeof(text), "%llums", (unsigned long long)ceil_div(ns, 1000000));
	else if (s < 60)
		snprintf(text, sizeof(text), "%llus", (unsigned long long)s);
	else
		snprintf(text, sizeof(text), "%llum%llus", (unsigned long long)s / 60,
			 (unsigned long long)s % 60);
	put(e, text);
}

static void put_time(struct expected *e, uint64_t ns)
{
	time_t s = (time_t)ceil_div(ns, SECOND);
	char text[40];
	struct tm tm;

	CHECK(gmtime_r(&s, &tm));
	CHECK(strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm));
	put(e, text);
}

static void put_figure(struct expected *e, uint32_t op, uint64_t v, uint64_t wall)
{
	char text[40];

	switch (op) {
	case WEIR_OP_CREDITS:
		put_credits(e, (int64_t)v);
		return;
	case WEIR_OP_DURATION:
		put_duration(e, v);
		return;
	case WEIR_OP_TIME:
		put_time(e, wall + v);
		return;
	case WEIR_OP_NUMBER:
		snprintf(text, sizeof(text), "%lld", (long long)v);
		break;
	case WEIR_OP_SECONDS:
		v = ceil_div(v, SECOND);
		snprintf(text, sizeof(text), "%d", v > 60 ? 60 : (int)v);
		break;
	default:
		CHECK(op == WEIR_OP_MILLIS);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)ceil_div(v, 1000000));
	}
	put(e, text);
}

/* One op, into the template and into what is expected of it. */
static void add_op(struct input *in, struct weir_reply *t, struct weir_op_entry *op,
		   const uint64_t *figures, struct expected *e)
{
	op->op = WEIR_OP_TEXT + take(in, 1) % (WEIR_OP_TIME - WEIR_OP_TEXT + 1);
	/* A length at the very start is taken for none: every reply begins with a status. */
	if (op->op == WEIR_OP_CONTENT_LENGTH && !e->len)
		op->op = WEIR_OP_TEXT;
	switch (op->op) {
	case WEIR_OP_TEXT:
		op->off = take(in, 1) * 8 % WEIR_REPLY_TEXT;
		op->len = take(in, 2) % (WEIR_REPLY_TEXT - op->off + 1);
		memcpy(e->bytes + e->len, t->text + op->off, op->len);
		e->len += op->len;
		return;
	case WEIR_OP_BODY:
		e->body_at = e->len;
		return;
	case WEIR_OP_CONTENT_LENGTH:
		e->has_length = true;
		e->length_at = e->len;
		put(e, "    ");
		return;
	}
	op->arg = take(in, 1) % WEIR_FIG_MAX;
	if (op->op != WEIR_OP_CREDITS && figures[op->arg] > WAIT_MAX)
		op->op = WEIR_OP_NUMBER;
	put_figure(e, op->op, figures[op->arg], figures[WEIR_FIG_WALL_NS]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct expected e;
	struct input in = { data, data + size };
	struct weir_writer_state *w = malloc(sizeof(*w));
	struct weir_reply *t = calloc(1, sizeof(*t));
	uint64_t figures[WEIR_FIG_MAX];
	uint32_t len;
	char length[5];

	CHECK(w && t);
	e.len = e.body_at = e.has_length = 0;
	memset(w, (int)take(&in, 1), sizeof(*w));
	/* Numbers and credits may be below zero; what is a time is not, and the clock and a wait
	 * from now on add up to no more than there are nanoseconds for (the year 2554). */
	for (int i = 0; i < WEIR_FIG_MAX; i++)
		figures[i] = take_scaled(&in);
	figures[WEIR_FIG_WALL_NS] >>= 1;
	if (take(&in, 1) & 1) /* some hours from a day that comes up seldom */
		figures[WEIR_FIG_WALL_NS] =
			(leap_days[take(&in, 1) % 4] + take(&in, 1) * 1000) * SECOND;
	for (size_t i = 0; i < sizeof(t->text); i++)
		t->text[i] = ' ' + i % 89;
	for (int i = 0; i < WEIR_REPLY_OPS && input_left(&in); i++)
		add_op(&in, t, &t->ops[i], figures, &e);
	memcpy(w->figures, figures, sizeof(figures));
	len = weir_reply_write(w, t);
	if (!e.len || e.len > WEIR_REPLY_MAX) {
		CHECK(!len);
		goto out;
	}
	CHECK(len == e.len);
	if (e.has_length) {
		snprintf(length, sizeof(length), "%4zu", e.len - e.body_at);
		memcpy(e.bytes + e.length_at, length, 4);
	}
	CHECK(!memcmp(w->bytes, e.bytes, len));
	for (size_t i = len; i % 8; i++)
		CHECK(!w->bytes[i]);
out:
	free(w);
	free(t);
	return 0;
}
