/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node without a kernel, for parse_bench.c: records as the kernel's programs ship them, in memory
 * one behind the other, and the real fold with the real state file under it. The policy is
 * the bench's: putting one in force needs the kernel's maps.
 */
#ifndef BENCH_FOLD_NODE_H
#define BENCH_FOLD_NODE_H

#include <unistd.h>

#include "agent/fold.h"

#include "tests/bench/answers.h"

enum { NODE_SLOTS = 1024, NODE_TENANTS = 8 };

#define NODE_BEGAN UINT64_C(1763690000000000000) /* in November 2025 */

struct weir_enforce {
	struct weir_terms terms[NODE_TENANTS];
};

/* What folding asks of enforce.c, answered from the above. */
const struct weir_terms *weir_enforce_terms(const struct weir_enforce *e, uint32_t tenant)
{
	return tenant < NODE_TENANTS ? &e->terms[tenant] : NULL;
}

static const char node_card[] =
	"{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
	"{\"match\":\"meta-llama/*\",\"price\":{\"input\":\"0.5\",\"cache_read\":\"0.05\","
	"\"output\":\"1.5\",\"per\":1000000}}]}";

/* Records of one scene: what 1,024 connections say and are answered, in turn. */
struct scene {
	struct answer bytes;	     /* each record behind its length */
	uint64_t records, rows, fed; /* bytes of answers */
	uint64_t input, output;	     /* tokens of all of it */
};

struct node {
	struct weir_enforce enforce;
	struct weir_config config;
	struct weir_tenant tenants[NODE_TENANTS];
	struct weir_slot slots[NODE_SLOTS];
	struct weir_kernel kernel;
	struct weir_label_config labels;
	struct weir_card *card;
	struct weir_row_source rows;
	struct weir_fold fold;
	uint64_t at; /* ring position */
	char path[64];
};

static inline void node_ok(int r, const struct weir_error *err)
{
	if (r)
		die_of(err->text);
}

static inline struct node *node_new(struct weir_decoders *decoders)
{
	static const char *const services[] = { NULL, "llm" };
	struct node *n = some(calloc(1, sizeof(*n)));
	struct weir_fold *f = &n->fold;
	struct weir_error err;

	snprintf(n->path, sizeof(n->path), "/dev/shm/weir-parse-bench-%d.state", getpid());
	n->enforce.terms[1].live = true;
	n->config.enforce = 1;
	n->kernel = (struct weir_kernel){ .config = &n->config,
					  .tenants = n->tenants,
					  .slots = n->slots,
					  .max_tenants = NODE_TENANTS,
					  .max_flows = NODE_SLOTS };
	weir_label_config_default(&n->labels);
	node_ok(weir_card_parse(node_card, "bench", &n->card, &err), &err);
	n->card->id = 1;
	f->kernel = &n->kernel;
	f->enforce = &n->enforce;
	f->labels = &n->labels;
	f->decoders = decoders;
	node_ok(weir_state_open(n->path, 1, NODE_SLOTS, &f->state, &err), &err);
	unlink(n->path);
	n->rows = weir_state_row_source(f->state);
	node_ok(weir_denials_new(NODE_TENANTS - 1, false, &f->denials, &err), &err);
	node_ok(weir_pricing_new(services, 2, &f->pricing, &err), &err);
	weir_pricing_set(f->pricing, &n->card, 1, 1);
	f->learnt = some(weir_learnt_new(64));
	f->hidden = some(weir_hidden_new());
	f->cap = (struct weir_cost_cap){ .kernel = &n->kernel,
					 .enforce = &n->enforce,
					 .pricing = f->pricing,
					 .learnt = f->learnt };
	return n;
}

/* ------------------------------------------------------------------ scenes */

static inline void scene_put(struct scene *s, const void *rec, size_t n, const void *bytes,
			     size_t len)
{
	uint64_t total = (n + len + 7) & ~UINT64_C(7), zero = 0;

	answer_add(&s->bytes, &total, sizeof(total));
	answer_add(&s->bytes, rec, n);
	answer_add(&s->bytes, bytes, len);
	answer_add(&s->bytes, &zero, (size_t)(total - n - len));
	s->records++;
}

static inline struct weir_record scene_head(uint8_t type, uint32_t slot, size_t len)
{
	return (struct weir_record){ .type = type,
				     .service = 1,
				     .slot = slot,
				     .ordinal = 1,
				     .len = (uint32_t)len,
				     .time_ns = 5000000 };
}

/* A request of a client that says who it is, with a short prompt. */
static inline void scene_ask(struct scene *s, uint32_t slot, bool stream)
{
	static const char user[] = "x-weir-user: user-4711";
	struct weir_rec_request r = { .h = scene_head(WEIR_REC_REQUEST, slot, 0),
				      .started_wall_ns = NODE_BEGAN + slot,
				      .tenant = 1,
				      .wallet = 1,
				      .method = "POST",
				      .path = "/v1/chat/completions" };
	struct weir_rec_line line = { .h = scene_head(WEIR_REC_LINE, slot, sizeof(user) - 1),
				      .started_wall_ns = NODE_BEGAN + slot };
	struct weir_rec_data body = { .started_wall_ns = NODE_BEGAN + slot };
	char text[512];
	int n = snprintf(
		text, sizeof(text),
		"{\"model\":\"meta-llama/Llama-3.3-70B-Instruct\",\"messages\":[{\"role\":"
		"\"system\",\"content\":\"You are a helpful assistant.\"},{\"role\":\"user\","
		"\"content\":\"What is the capital of the country that lies south of "
		"Denmark, and since when?\"}],\"max_tokens\":512%s}",
		stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");

	r.body_bytes = (uint64_t)n;
	body.h = scene_head(WEIR_REC_ASKED, slot, (size_t)n);
	scene_put(s, &r, sizeof(r), NULL, 0);
	scene_put(s, &line, sizeof(line), user, sizeof(user) - 1);
	scene_put(s, &body, sizeof(body), text, (size_t)n);
}

/* The i-th write of an answer; false: it has no more, and its request is over. */
static inline bool scene_answer(struct scene *s, uint32_t slot, const struct answer *a, uint32_t i)
{
	uint32_t from = i ? a->ends[i - 1] : 0;
	struct weir_rec_end end = { .h = scene_head(WEIR_REC_END, slot, 0),
				    .started_ns = 1000,
				    .started_wall_ns = NODE_BEGAN + slot,
				    .tenant = 1,
				    .wallet = 1,
				    .response_bytes = a->n };
	struct weir_rec_data data = { .started_wall_ns = NODE_BEGAN + slot, .offset = from };

	data.h = scene_head(WEIR_REC_DATA, slot, a->ends[i] - from);
	scene_put(s, &data, sizeof(data), a->p + from, a->ends[i] - from);
	if (i + 1 < a->n_ends)
		return true;
	scene_put(s, &end, sizeof(end), NULL, 0);
	s->rows++;
	s->fed += a->n;
	s->input += a->input;
	s->output += a->output;
	return false;
}

/* Every slot has one of the answers; an event of each in turn, as so many open streams come. */
static inline void scene_make(struct scene *s, const struct answer *answers, uint32_t n)
{
	uint32_t open = NODE_SLOTS;

	for (uint32_t slot = 0; slot < NODE_SLOTS; slot++)
		scene_ask(s, slot, answers->n_ends > 1);
	for (uint32_t i = 0; open; i++)
		for (uint32_t slot = 0; slot < NODE_SLOTS; slot++)
			if (i < answers[slot % n].n_ends)
				open -= !scene_answer(s, slot, &answers[slot % n], i);
}

/* ------------------------------------------------------------------ a run */

/* All of it, as new: a slot's request is another one than before by its ring position. */
static inline void scene_fold(struct node *n, const struct scene *s)
{
	uint64_t input = 0, output = 0, rows = 0, len;
	const struct weir_row *row;
	size_t many;

	for (size_t at = 0; at < s->bytes.n; at += sizeof(len) + len) {
		memcpy(&len, s->bytes.p + at, sizeof(len));
		n->at += len + 8;
		if (weir_fold(&n->fold, (const void *)(s->bytes.p + at + sizeof(len)),
			      (uint32_t)len, n->at))
			die_of("the queue of rows is full");
	}
	while (many = SIZE_MAX, (row = n->rows.peek(n->rows.ctx, &many))) {
		for (size_t i = 0; i < many; i++) {
			input += (uint64_t)row[i].usage.input;
			output += (uint64_t)row[i].usage.output;
			rows += row[i].usage_source == WEIR_USAGE_REPORTED &&
				row[i].price_nano > 0 && !strcmp(row[i].user, "user-4711");
		}
		n->rows.pop(n->rows.ctx, many);
	}
	if (rows != s->rows || input != s->input || output != s->output || n->fold.n.orphans) {
		fprintf(stderr,
			"parse_bench: %llu rows, %llu in, %llu out of %llu, %llu, %llu; %llu "
			"orphans\n",
			(unsigned long long)rows, (unsigned long long)input,
			(unsigned long long)output, (unsigned long long)s->rows,
			(unsigned long long)s->input, (unsigned long long)s->output,
			(unsigned long long)n->fold.n.orphans);
		exit(1);
	}
}

#endif
