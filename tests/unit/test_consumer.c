// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the ring's consumer: each record counts once, wherever a kill -9
 * came, and what bodies said reaches the ledger. The ring is a file laid out like
 * the kernel's; state, writer and ledger are the real ones. The policy in force
 * is the test's: putting one in force needs the kernel's maps.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#include "agent/account.h"
#include "agent/consumer.h"

#define RING_BYTES (1 << 20)
#define SLOTS	   16
#define RESERVED   INT64_C(700)
#define CREDIT	   INT64_C(100000)

#define TENANTS 8

struct weir_enforce {
	struct weir_terms terms[TENANTS];
	struct weir_policy policy;
	struct weir_card *card;
};

void weir_enforce_read_lock(struct weir_enforce *e)
{
}

void weir_enforce_read_unlock(struct weir_enforce *e)
{
}

const struct weir_terms *weir_enforce_terms(const struct weir_enforce *e, uint32_t tenant)
{
	return tenant < TENANTS ? &e->terms[tenant] : NULL;
}

const struct weir_policy *weir_enforce_policy_locked(const struct weir_enforce *e)
{
	return &e->policy;
}

/* One node: the kernel's side of it, and what outlives an agent. */
struct node {
	struct fixture *f;
	struct weir_enforce enforce;
	struct weir_kernel kernel;
	struct weir_config config;
	struct weir_tenant tenants[TENANTS];
	struct weir_slot slots[SLOTS];
	struct weir_denials *denials;
	struct weir_state *state;
	char state_path[128];
	uint8_t *ring; /* consumer's page, producer's, data */
	size_t page;
	uint64_t ends[16]; /* position behind each record */
	size_t n;
};

static uint64_t *consumer_at(struct node *b)
{
	return (uint64_t *)b->ring;
}

static uint64_t *producer_at(struct node *b)
{
	return (uint64_t *)(b->ring + b->page);
}

static void put(struct node *b, const void *rec, size_t n)
{
	uint64_t at = b->n ? b->ends[b->n - 1] : 0;
	uint32_t header[2] = { (uint32_t)n, 0 };
	uint8_t *p = b->ring + 2 * b->page + at;

	assert_true(at + n + 16 < RING_BYTES && b->n < 16);
	memcpy(p, header, sizeof(header));
	memcpy(p + sizeof(header), rec, n);
	b->ends[b->n++] = at + ((sizeof(header) + n + 7) & ~UINT64_C(7));
}

/* The first n records have been submitted. */
static void show(struct node *b, size_t n)
{
	*producer_at(b) = n ? b->ends[n - 1] : 0;
}

static struct node *node_new(struct fixture *f)
{
	static const char json[] =
		"{\"version\":\"2\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
		"{\"match\":\"small\",\"price\":{\"input\":\"0.000000001\",\"output\":\"0\"}},"
		"{\"match\":\"big\",\"price\":{\"input\":\"0.000000100\",\"output\":\"0\"}}]}";
	struct node *b = calloc(1, sizeof(*b));
	int fd = memfd_create("ring", MFD_CLOEXEC);

	assert_non_null(b);
	assert_true(fd >= 0);
	b->f = f;
	b->page = (size_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(ftruncate(fd, 2 * b->page + 2 * RING_BYTES), 0);
	b->ring = mmap(NULL, 2 * b->page + RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(b->ring != MAP_FAILED);
	ok(f, weir_card_parse(json, "test", &b->enforce.card, &f->err));
	ok(f, weir_ledger_card(f->l, b->enforce.card, &b->enforce.card->id, &f->err));
	b->enforce.policy.cards = &b->enforce.card;
	b->enforce.policy.n_cards = 1;
	b->enforce.terms[f->acme].live = true;
	b->enforce.terms[f->acme].credit = WEIR_CREDIT_HARD;
	b->config.enforce = 1;
	b->kernel = (struct weir_kernel){ .config = &b->config,
					  .tenants = b->tenants,
					  .slots = b->slots,
					  .max_tenants = TENANTS,
					  .max_flows = SLOTS,
					  .ring_fd = fd,
					  .ring_bytes = RING_BYTES };
	ok(f, weir_denials_new(TENANTS - 1, false, &b->denials, &f->err));
	snprintf(b->state_path, sizeof(b->state_path), "%s/x.state", f->dir);
	ok(f, weir_state_open(b->state_path, 1, SLOTS, &b->state, &f->err));
	/* As after a grant, with one request admitted. */
	b->tenants[f->acme].reserved_nano = RESERVED;
	weir_ceiling_set(&b->tenants[f->acme], CREDIT, 0, 0);
	return b;
}

static void node_free(struct node *b)
{
	weir_state_close(b->state);
	unlink(b->state_path);
	weir_denials_free(b->denials);
	weir_card_free(b->enforce.card);
	munmap(b->ring, 2 * b->page + RING_BYTES);
	close(b->kernel.ring_fd);
	free(b);
}

/* An agent's life: it finds the ring as it is, folds it, ends. live: records come
 * while it runs, and ceilings move. */
static struct weir_consumer_stats run(struct node *b, bool live)
{
	struct weir_row_source src = weir_state_row_source(b->state);
	struct weir_consumer_stats stats;
	struct weir_consumer *c;
	struct weir_writer *w;

	ok(b->f, weir_writer_start(b->f->l, &src, NULL, &w, &b->f->err));
	ok(b->f, weir_consumer_new(&b->kernel, &b->enforce, b->state, b->denials, &c, &b->f->err));
	if (live)
		ok(b->f, weir_consumer_start(c, w, &b->f->err));
	else
		ok(b->f, weir_consumer_recover(c, w));
	while (live && *(volatile uint64_t *)consumer_at(b) < *producer_at(b))
		sched_yield();
	weir_consumer_stats(c, &stats);
	assert_true(weir_consumer_stop(c));
	weir_writer_stop(w); /* commits what is queued */
	return stats;
}

/* ----------------------------------------------------------------------- records */

static struct weir_record head_of(uint8_t type, uint32_t ordinal, uint32_t len)
{
	return (struct weir_record){
		.type = type, .slot = 3, .ordinal = ordinal, .len = len, .time_ns = 2000
	};
}

static void put_request(struct node *b, uint32_t ordinal, uint32_t flags, const char *word)
{
	struct weir_rec_request r = { .h = head_of(WEIR_REC_REQUEST, ordinal, 0),
				      .started_wall_ns = b->f->t0 + ordinal,
				      .reserved_nano = RESERVED,
				      .body_bytes = 400,
				      .tenant = b->f->acme,
				      .wallet = b->f->acme,
				      .flags = flags };

	snprintf(r.method, sizeof(r.method), "%s", *word == '-' ? word : "POST");
	snprintf(r.path, sizeof(r.path), "%s", word);
	put(b, &r, sizeof(r));
}

static void put_body(struct node *b, uint32_t ordinal, const char *model, uint32_t flags)
{
	struct weir_rec_body r = { .h = head_of(WEIR_REC_BODY, ordinal, 0),
				   .started_wall_ns = b->f->t0 + ordinal,
				   .max_tokens = 9000,
				   .flags = flags,
				   .model_len = (uint32_t)strlen(model) };

	memcpy(r.model, model, strlen(model));
	put(b, &r, sizeof(r));
}

/* An answer of 10 input tokens, in two records. */
static void put_answer(struct node *b, uint32_t ordinal, const char *model)
{
	struct {
		struct weir_rec_data r;
		char text[512];
	} rec;
	char text[512], body[256];
	size_t n, half;

	snprintf(body, sizeof(body),
		 "{%s%s%s\"choices\":[{}],\"usage\":{\"prompt_tokens\":10,"
		 "\"completion_tokens\":4,\"total_tokens\":14}}",
		 *model ? "\"model\":\"" : "", model, *model ? "\"," : "");
	n = (size_t)snprintf(text, sizeof(text),
			     "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
			     "content-length: %zu\r\n\r\n%s",
			     strlen(body), body);
	half = n - 20;
	for (size_t at = 0; at < n; at += half) {
		uint32_t len = (uint32_t)(n - at < half ? n - at : half);

		rec.r = (struct weir_rec_data){ .h = head_of(WEIR_REC_DATA, ordinal, len),
						.started_wall_ns = b->f->t0 + ordinal,
						.offset = at };
		memcpy(rec.text, text + at, len);
		put(b, &rec, sizeof(rec.r) + len);
	}
}

static void put_end(struct node *b, uint32_t ordinal, uint32_t flags, uint8_t cause)
{
	struct weir_rec_end r = { .h = head_of(WEIR_REC_END, ordinal, 0),
				  .started_ns = 1000,
				  .started_wall_ns = b->f->t0 + ordinal,
				  .reserved_nano = RESERVED,
				  .tenant = b->f->acme,
				  .wallet = b->f->acme,
				  .flags = flags };

	r.h.flags = cause;
	put(b, &r, sizeof(r));
}

/* ------------------------------------------------------------------------ claims */

static void degraded(struct node *b)
{
	put_request(b, 1, WEIR_SLOT_DEGRADED, "/v1/chat/completions");
	put_body(b, 1, "big", WEIR_BODY_MODEL_REPLACED | WEIR_BODY_TOKENS_CUT);
	put_answer(b, 1, "small");
	put_end(b, 1, WEIR_SLOT_DEGRADED, WEIR_END_RESPONSE);
}

static void refused(struct node *b)
{
	put_request(b, 1, 0, "/v1/chat/completions");
	put_body(b, 1, "big", 0);
	put_end(b, 1, 0, WEIR_END_REFUSED);
}

static void assert_degraded(struct node *b)
{
	struct kept *k = all(b->f);

	assert_int_equal(k->n, 1);
	assert_string_equal(k->row[0].model_requested, "big");
	assert_string_equal(k->row[0].model, "small");
	assert_int_equal(k->row[0].max_tokens_requested, 9000);
	assert_int_equal(k->row[0].usage_source, WEIR_USAGE_REPORTED);
	assert_int_equal(k->row[0].flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_DEGRADED |
						  WEIR_ROW_TOKENS_CUT);
	assert_int_equal(k->row[0].price_nano, 10);
}

static void assert_nothing(struct node *b)
{
	assert_int_equal(all(b->f)->n, 0);
}

/* Killed after any record, with the ring's position anywhere before that: the next
 * agent ends where one that was never killed does. */
static void killed_anywhere(void **state, void (*fill)(struct node *b),
			    void (*check)(struct node *b))
{
	size_t n = 1;

	for (size_t seen = 0; seen <= n; seen++) {
		for (size_t kept = 0; kept <= seen; kept++) {
			struct fixture *f;
			struct node *b;

			fixture_up(state);
			f = *state;
			b = node_new(f);
			fill(b);
			n = b->n;
			show(b, seen);
			run(b, false);
			assert_int_equal(*consumer_at(b), seen ? b->ends[seen - 1] : 0);
			*consumer_at(b) = kept ? b->ends[kept - 1] : 0;
			show(b, n);
			run(b, false);
			check(b);
			assert_int_equal(weir_reserved_now(&b->tenants[f->acme]), 0);
			assert_int_equal(weir_released(&b->tenants[f->acme]), RESERVED);
			assert_int_equal(weir_state_rows(b->state), 0);
			assert_verifies(f);
			node_free(b);
			fixture_down(state);
		}
	}
	assert_true(n >= 3);
}

static void what_the_body_said_is_billed_once_wherever_it_was_killed(void **state)
{
	killed_anywhere(state, degraded, assert_degraded);
}

static void a_refusal_in_the_body_is_settled_once_wherever_it_was_killed(void **state)
{
	killed_anywhere(state, refused, assert_nothing);
}

static void a_refusal_in_the_body_gives_back_what_it_reserved(void **state)
{
	struct node *b = node_new(*state);
	struct weir_tenant *t = &b->tenants[b->f->acme];
	struct weir_consumer_stats stats;

	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT - RESERVED);
	refused(b);
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT);
	assert_int_equal(t->balance_nano, CREDIT);
	assert_int_equal(stats.open, 0);
	assert_int_equal(stats.rows, 0);
	assert_nothing(b);
	/* Once: another agent that finds the record again changes nothing. */
	*consumer_at(b) = 0;
	run(b, true);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT);
	node_free(b);
}

static void an_answer_before_the_refusal_is_billed(void **state)
{
	struct node *b = node_new(*state);
	struct weir_tenant *t = &b->tenants[b->f->acme];
	struct kept *k;

	put_request(b, 1, 0, "/v1/chat/completions");
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_REFUSED);
	show(b, b->n);
	run(b, true);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_int_equal(k->row[0].price_nano, 10);
	assert_int_equal(t->ceiling_nano - (int64_t)t->reserved_nano, CREDIT - 10);
	node_free(b);
}

static void an_unjudged_answer_is_metered_and_priced(void **state)
{
	struct node *b = node_new(*state);
	struct kept *k;

	put_request(b, 1, WEIR_SLOT_UNJUDGED, "-");
	put_answer(b, 1, "small");
	put_end(b, 1, WEIR_SLOT_UNJUDGED, WEIR_END_CLOSE);
	show(b, b->n);
	run(b, true);
	k = all(b->f);
	assert_int_equal(k->n, 1);
	assert_string_equal(k->row[0].method, "-");
	assert_string_equal(k->row[0].path, "-");
	assert_int_equal(k->row[0].flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_UNJUDGED);
	assert_int_equal(k->row[0].price_nano, 10);
	assert_int_equal(k->row[0].request_bytes, UINT64_MAX);
	node_free(b);
}

static void a_body_is_its_own_requests(void **state)
{
	struct node *b = node_new(*state);
	struct weir_consumer_stats stats;
	struct kept *k;

	put_request(b, 1, 0, "/v1/chat/completions");
	put_body(b, 7, "big", WEIR_BODY_MODEL_REPLACED); /* of a request that is not known */
	put_body(b, 1, "small", 0);
	put_answer(b, 1, "");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	put_body(b, 1, "big", 0); /* after the end: the answer did not wait for it */
	put_request(b, 2, 0, "/v1/chat/completions");
	put_answer(b, 2, "");
	put_end(b, 2, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	stats = run(b, true);
	assert_int_equal(stats.orphans, 1);
	assert_int_equal(stats.open, 0);
	k = all(b->f);
	assert_int_equal(k->n, 2);
	assert_string_equal(k->row[0].model, "small");
	assert_string_equal(k->row[0].model_requested, "small");
	assert_int_equal(k->row[0].price_nano, 10);
	assert_int_equal(k->row[0].flags & (WEIR_ROW_DEGRADED | WEIR_ROW_UNPRICED), 0);
	/* The next request on the connection begins with nothing known. */
	assert_string_equal(k->row[1].model_requested, "");
	assert_int_equal(k->row[1].max_tokens_requested, WEIR_UNKNOWN);
	assert_true(k->row[1].flags & WEIR_ROW_UNPRICED);
	node_free(b);
}

static void a_record_that_is_too_short_is_passed_over(void **state)
{
	struct node *b = node_new(*state);
	struct weir_rec_body r = { .h = head_of(WEIR_REC_BODY, 1, 0),
				   .started_wall_ns = b->f->t0 + 1,
				   .model_len = 3,
				   .model = "big" };

	put_request(b, 1, 0, "/v1/chat/completions");
	put(b, &r, sizeof(r) - 8);
	put_answer(b, 1, "small");
	put_end(b, 1, 0, WEIR_END_RESPONSE);
	show(b, b->n);
	run(b, true);
	assert_string_equal(all(b->f)->row[0].model_requested, "");
	node_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_body_said_is_billed_once_wherever_it_was_killed),
		cmocka_unit_test(a_refusal_in_the_body_is_settled_once_wherever_it_was_killed),
		TEST(a_refusal_in_the_body_gives_back_what_it_reserved),
		TEST(an_answer_before_the_refusal_is_billed),
		TEST(an_unjudged_answer_is_metered_and_priced),
		TEST(a_body_is_its_own_requests),
		TEST(a_record_that_is_too_short_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
