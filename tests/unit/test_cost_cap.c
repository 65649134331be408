// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about request_cost_cap: the answer that passes it is marked to be cut, at
 * the event that passes it, and no other answer ever is.
 */
#include "tests/unit/consumer_fixture.h"

#include "agent/slots.h"

#define INPUT_NANO  100 /* 400 bytes of body are 100 tokens at 1 */
#define OUTPUT_NANO 10	/* an event is a token at 10 */
#define EVENTS	    8
#define ALLOWED	    5
#define CAP	    (INPUT_NANO + ALLOWED * OUTPUT_NANO)

static struct weir_slot *slot_of(struct node *b)
{
	return &b->slots[3]; /* as head_of */
}

/* What the kernel leaves in the slot of a request that it let in. */
static void open_slot(struct node *b, uint32_t ordinal, uint32_t tenant)
{
	*slot_of(b) = (struct weir_slot){ .state = WEIR_SLOT_OPEN,
					  .tenant = tenant,
					  .ordinal = ordinal,
					  .wallet = tenant,
					  .started_wall_ns = b->f->t0 + ordinal };
}

static bool is_cut(struct node *b, uint32_t ordinal)
{
	return slot_of(b)->cut == weir_cut_mark(b->f->t0 + ordinal);
}

static size_t put_text(struct node *b, uint32_t ordinal, size_t at, const char *text)
{
	put_piece(b, WEIR_REC_DATA, ordinal, at, text, strlen(text));
	return at + strlen(text);
}

/* A stream that goes on: request, head, EVENTS events, a record each. */
static void put_stream(struct node *b, uint32_t ordinal, const char *model)
{
	char event[256];
	size_t at;

	put_request(b, ordinal, 0, "/v1/chat/completions");
	at = put_text(b, ordinal, 0, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
	snprintf(event, sizeof(event),
		 "data: {\"model\":\"%s\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
		 model);
	for (int i = 0; i < EVENTS; i++)
		at = put_text(b, ordinal, at, event);
}

static struct node *capped(struct fixture *f)
{
	struct node *b = node_new(f);

	b->enforce.terms[f->acme].request_cost_cap_nano = CAP;
	open_slot(b, 1, f->acme);
	return b;
}

/* An agent that sees the events one by one, and dies after each. */
static void it_is_cut_at_the_event_that_passes_the_cap(void **state)
{
	struct node *b = capped(*state);
	uint64_t cuts = 0;

	put_stream(b, 1, "talker");
	for (size_t events = 0; events <= EVENTS; events++) {
		show(b, 2 + events);
		cuts += run(b, false).capped;
		assert_int_equal(is_cut(b, 1), events > ALLOWED);
	}
	assert_int_equal(cuts, 1); /* one answer, however much of it came after */
	assert_int_equal(slot_of(b)->state, WEIR_SLOT_OPEN); /* ending it is the kernel's */
	node_free(b);
}

/* Killed behind the mark and before the parser that passed the cap was in force, the next
 * agent finds the same and stores the same. */
static void a_mark_stored_again_changes_nothing(void **state)
{
	struct node *b = capped(*state);
	struct weir_slot marked;

	put_stream(b, 1, "talker");
	show(b, b->n);
	run(b, true);
	marked = *slot_of(b);
	assert_true(is_cut(b, 1));
	weir_state_close(b->state);
	unlink(b->state_path);
	ok(b->f, weir_state_open(b->state_path, 1, SLOTS, &b->state, &b->f->err));
	*consumer_at(b) = 0;
	assert_int_equal(run(b, true).capped, 0);
	assert_memory_equal(&marked, slot_of(b), sizeof(marked));
	node_free(b);
}

/* The answer ended while its records waited, and the slot is the next request's. */
static void a_slot_that_was_used_again_is_not_cut(void **state)
{
	struct node *b = capped(*state);

	put_stream(b, 1, "talker");
	show(b, b->n);
	open_slot(b, 2, b->f->acme);
	assert_int_equal(run(b, true).capped, 0);
	assert_int_equal(slot_of(b)->cut, 0);
	node_free(b);
}

static void a_request_that_ended_is_not_cut(void **state)
{
	struct node *b = capped(*state);

	put_stream(b, 1, "talker");
	show(b, b->n);
	slot_of(b)->state = WEIR_SLOT_IDLE;
	assert_int_equal(run(b, true).capped, 0);
	assert_int_equal(slot_of(b)->cut, 0);
	node_free(b);
}

static void tenants_without_a_cap_are_not_cut(void **state)
{
	struct node *b = capped(*state);

	put_stream(b, 1, "talker");
	show(b, b->n);
	open_slot(b, 1, b->f->beta);
	assert_int_equal(run(b, true).capped, 0);
	assert_int_equal(slot_of(b)->cut, 0);
	node_free(b);
}

static void what_no_card_prices_is_not_cut(void **state)
{
	struct node *b = capped(*state);

	put_stream(b, 1, "unheard-of");
	show(b, b->n);
	assert_int_equal(run(b, true).capped, 0);
	assert_int_equal(slot_of(b)->cut, 0);
	node_free(b);
}

/* There is nothing left to save, and the client is to have its end. */
static void an_answer_that_is_whole_is_not_cut(void **state)
{
	struct node *b = capped(*state);

	put_request(b, 1, 0, "/v1/chat/completions");
	put_answer(b, 1, "big"); /* 10 tokens at 100 */
	show(b, b->n);
	assert_int_equal(run(b, true).capped, 0);
	assert_int_equal(slot_of(b)->cut, 0);
	node_free(b);
}

static void in_shadow_it_is_counted_once_and_not_cut(void **state)
{
	struct node *b = capped(*state);

	b->tenants[b->f->acme].flags = WEIR_TENANT_SHADOW;
	put_stream(b, 1, "talker");
	show(b, b->n);
	assert_int_equal(run(b, true).capped_shadow, 1);
	assert_int_equal(slot_of(b)->cut, 0);
	node_free(b);
}

static void with_enforcement_off_it_is_counted_and_not_cut(void **state)
{
	struct node *b = capped(*state);
	struct weir_consumer_stats stats;

	b->config.enforce = 0;
	put_stream(b, 1, "talker");
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(stats.capped_shadow, 1);
	assert_int_equal(stats.capped, 0);
	assert_int_equal(slot_of(b)->cut, 0);
	node_free(b);
}

/* The kernel ended it: what came until then is billed, and by no more than it was cut for. */
static void what_was_produced_is_billed(void **state)
{
	struct node *b = capped(*state);
	struct kept *k;

	put_stream(b, 1, "talker");
	b->n -= EVENTS - ALLOWED - 1;
	put_end(b, 1, 0, WEIR_END_CUT);
	show(b, b->n);
	run(b, true);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_int_equal(k->row[0].end_cause, WEIR_END_CUT);
	assert_int_equal(k->row[0].usage_source, WEIR_USAGE_PARTIAL);
	assert_true(k->row[0].flags & WEIR_ROW_BILLABLE);
	assert_int_equal(k->row[0].price_nano, CAP + OUTPUT_NANO);
	node_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_cut_at_the_event_that_passes_the_cap),
		TEST(a_mark_stored_again_changes_nothing),
		TEST(a_slot_that_was_used_again_is_not_cut),
		TEST(a_request_that_ended_is_not_cut),
		TEST(tenants_without_a_cap_are_not_cut),
		TEST(what_no_card_prices_is_not_cut),
		TEST(an_answer_that_is_whole_is_not_cut),
		TEST(in_shadow_it_is_counted_once_and_not_cut),
		TEST(with_enforcement_off_it_is_counted_and_not_cut),
		TEST(what_was_produced_is_billed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
