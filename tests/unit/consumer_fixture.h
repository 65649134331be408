/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node for the tests of the ring's consumer: a ring that is a file laid out like
 * the kernel's, with records put into it one by one; state, writer and ledger are
 * the real ones. The policy in force is the test's: putting one in force needs the
 * kernel's maps.
 */
#ifndef WEIR_CONSUMER_FIXTURE_H
#define WEIR_CONSUMER_FIXTURE_H

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
#define TOKENS	   UINT32_C(500)
#define ENDED_NS   UINT64_C(2000) /* monotonic time of all records */
#define TENANTS	   8
#define RECORDS	   40

struct weir_enforce {
	struct weir_terms terms[TENANTS];
	struct weir_policy policy;
	struct weir_card *card;
};

/* What the consumer asks of enforce.c, answered from the above. */
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

struct weir_card *const *weir_enforce_cards_locked(const struct weir_enforce *e, size_t *n)
{
	*n = e->policy.n_cards;
	return e->policy.cards;
}

/* One node: the kernel's side of it, and what outlives an agent. */
struct node {
	struct fixture *f;
	struct weir_enforce enforce;
	struct weir_kernel kernel;
	struct weir_config config;
	struct weir_tenant tenants[TENANTS];
	struct weir_slot slots[SLOTS];
	uint32_t others[WEIR_LEVELS - 1]; /* of the requests that are put */
	uint32_t tokens;		  /* likewise */
	struct weir_denials *denials;
	struct weir_state *state;
	char state_path[128];
	uint8_t *ring; /* consumer's page, producer's, data */
	size_t page;
	uint64_t ends[RECORDS]; /* position behind each record */
	size_t n;
};

static inline uint64_t *consumer_at(struct node *b)
{
	return (uint64_t *)b->ring;
}

static inline uint64_t *producer_at(struct node *b)
{
	return (uint64_t *)(b->ring + b->page);
}

static inline void put(struct node *b, const void *rec, size_t n)
{
	uint64_t at = b->n ? b->ends[b->n - 1] : 0;
	uint32_t header[2] = { (uint32_t)n, 0 };
	uint8_t *p = b->ring + 2 * b->page + at;

	assert_true(at + n + 16 < RING_BYTES && b->n < RECORDS);
	memcpy(p, header, sizeof(header));
	memcpy(p + sizeof(header), rec, n);
	b->ends[b->n++] = at + ((sizeof(header) + n + 7) & ~UINT64_C(7));
}

/* The first n records have been submitted. */
static inline void show(struct node *b, size_t n)
{
	*producer_at(b) = n ? b->ends[n - 1] : 0;
}

static inline struct node *node_new(struct fixture *f)
{
	static const char json[] =
		"{\"version\":\"2\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
		"{\"match\":\"small\",\"price\":{\"input\":\"0.000000001\",\"output\":\"0\"}},"
		"{\"match\":\"talker\",\"price\":{\"input\":\"0.000000001\","
		"\"output\":\"0.00000001\"}},"
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
	b->config.maps_id = 77;
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

static inline void node_free(struct node *b)
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
static inline struct weir_consumer_stats run(struct node *b, bool live)
{
	static const char *const services[] = { NULL, "llm" };
	struct weir_label_config labels;
	const struct weir_consumer_parts parts = { .kernel = &b->kernel,
						   .enforce = &b->enforce,
						   .state = b->state,
						   .denials = b->denials,
						   .labels = &labels,
						   .services = services,
						   .n_services = 2,
						   .decoder_bytes = 1 << 20 };
	struct weir_row_source src = weir_state_row_source(b->state);
	struct weir_consumer_stats stats;
	struct weir_consumer *c;
	struct weir_writer *w;

	ok(b->f, weir_writer_start(b->f->l, &src, NULL, &w, &b->f->err));
	weir_label_config_default(&labels);
	ok(b->f, weir_consumer_new(&parts, &c, &b->f->err));
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

static inline struct weir_record head_of(uint8_t type, uint32_t ordinal, uint32_t len)
{
	return (struct weir_record){
		.type = type, .slot = 3, .ordinal = ordinal, .len = len, .time_ns = ENDED_NS
	};
}

static inline void put_request(struct node *b, uint32_t ordinal, uint32_t flags, const char *word)
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

static inline void put_body(struct node *b, uint32_t ordinal, const char *model, uint32_t flags)
{
	struct weir_rec_body r = { .h = head_of(WEIR_REC_BODY, ordinal, 0),
				   .started_wall_ns = b->f->t0 + ordinal,
				   .max_tokens = 9000,
				   .flags = flags,
				   .model_len = (uint32_t)strlen(model) };

	memcpy(r.model, model, strlen(model));
	put(b, &r, sizeof(r));
}

static inline void put_labels(struct node *b, uint32_t ordinal, const char *session,
			      const char *feature, uint32_t flags)
{
	struct weir_rec_labels r = { .h = head_of(WEIR_REC_LABELS, ordinal, 0),
				     .started_wall_ns = b->f->t0 + ordinal,
				     .flags = flags };

	memcpy(r.session, session, strlen(session));
	memcpy(r.feature, feature, strlen(feature));
	put(b, &r, sizeof(r));
}

static inline void put_line(struct node *b, uint32_t ordinal, const char *line, uint32_t flags)
{
	struct {
		struct weir_rec_line r;
		char text[WEIR_LINE_LARGE];
	} rec = { .r = { .started_wall_ns = b->f->t0 + ordinal, .flags = flags } };

	rec.r.h = head_of(WEIR_REC_LINE, ordinal, (uint32_t)strlen(line));
	assert_true(strlen(line) <= sizeof(rec.text));
	memcpy(rec.text, line, strlen(line));
	put(b, &rec,
	    sizeof(rec.r) + (strlen(line) > WEIR_LINE_SMALL ? WEIR_LINE_LARGE : WEIR_LINE_SMALL));
}

#define BODY "{\"model\":\"small\",\"user\":\"ann\",\"max_tokens\":90}"

/* As put_request, with a body of that length. */
static inline void put_post(struct node *b, uint32_t ordinal, size_t body_bytes)
{
	struct weir_rec_request r = { .h = head_of(WEIR_REC_REQUEST, ordinal, 0),
				      .started_wall_ns = b->f->t0 + ordinal,
				      .reserved_nano = RESERVED,
				      .body_bytes = body_bytes,
				      .tenant = b->f->acme,
				      .wallet = b->f->acme,
				      .method = "POST",
				      .path = "/v1/chat/completions" };

	put(b, &r, sizeof(r));
}

/* Bytes of a request's body, or (DATA) of an answer. */
static inline void put_piece(struct node *b, uint8_t type, uint32_t ordinal, uint64_t at,
			     const char *text, size_t n)
{
	struct {
		struct weir_rec_data r;
		char text[1024];
	} rec = { .r = { .started_wall_ns = b->f->t0 + ordinal, .offset = at } };

	rec.r.h = head_of(type, ordinal, (uint32_t)n);
	assert_true(n <= sizeof(rec.text));
	memcpy(rec.text, text, n);
	put(b, &rec, sizeof(rec.r) + n);
}

/* An answer of 10 input tokens, in two records. */
static inline void put_answer(struct node *b, uint32_t ordinal, const char *model)
{
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

		put_piece(b, WEIR_REC_DATA, ordinal, at, text + at, len);
	}
}

static inline void put_end(struct node *b, uint32_t ordinal, uint32_t flags, uint8_t cause)
{
	struct weir_rec_end r = { .h = head_of(WEIR_REC_END, ordinal, 0),
				  .started_ns = 1000,
				  .started_wall_ns = b->f->t0 + ordinal,
				  .reserved_nano = RESERVED,
				  .tenant = b->f->acme,
				  .wallet = b->f->acme,
				  .flags = flags,
				  .reserved_tokens = b->tokens };

	memcpy(r.others, b->others, sizeof(r.others));
	r.h.flags = cause;
	put(b, &r, sizeof(r));
}

/* Killed after any record, with the ring's position anywhere before that: the next
 * agent ends where one that was never killed does. */
static inline void killed_anywhere(void **state, void (*fill)(struct node *b),
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
			assert_true(weir_released(&b->tenants[f->acme]) >= RESERVED);
			assert_int_equal(weir_state_rows(b->state), 0);
			assert_verifies(f);
			node_free(b);
			fixture_down(state);
		}
	}
	assert_true(n >= 3);
}

#endif
