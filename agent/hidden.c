// SPDX-License-Identifier: Apache-2.0
/*
 * Counts a minute, a ring of minutes a service. What a server is guessed by was read in the
 * sources of vLLM 0.11 to 0.26, SGLang 0.5, TGI 3.3, llama.cpp and Ollama of 2026.
 */
#include "hidden.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/weir_abi.h"
#include "util.h"

struct minute {
	uint64_t number; /* since 1970; 0: nothing */
	struct weir_hidden_counts n;
};

struct weir_hidden {
	pthread_mutex_t lock;
	struct minute minutes[WEIR_MAX_SERVICES][WEIR_HIDDEN_MINUTES];
};

struct weir_hidden *weir_hidden_new(void)
{
	struct weir_hidden *h = calloc(1, sizeof(*h));

	if (h)
		pthread_mutex_init(&h->lock, NULL);
	return h;
}

void weir_hidden_free(struct weir_hidden *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* -------------------------------------------------------------------- which server */

#define HEX "0123456789abcdef"

/* Just so many hexadecimal digits. */
static bool is_hex(const char *text, size_t n)
{
	return strspn(text, HEX) == n && !text[n];
}

/* "chatcmpl-", "cmpl-" and 32 digits, or 16 since 2026. */
static bool is_vllm(const struct weir_row *row)
{
	const char *id = row->response_id, *dash = strchr(id, '-');

	if (!dash || (strncmp(id, "chatcmpl-", 9) && strncmp(id, "cmpl-", 5)))
		return false;
	return is_hex(dash + 1, 32) || is_hex(dash + 1, 16);
}

/* "b6497-cd08fc3e": build and commit. */
static bool is_llama_cpp(const struct weir_row *row)
{
	const char *v = row->model_version;
	size_t digits = v[0] == 'b' ? strspn(v + 1, "0123456789") : 0;

	return digits && v[1 + digits] == '-' && v[2 + digits] &&
	       !v[2 + digits + strspn(v + 2 + digits, HEX)];
}

/* "3.3.6-sha-24c7af5", "3.3.6-native": version and image. */
static bool is_tgi(const struct weir_row *row)
{
	const char *v = row->model_version, *dash = strchr(v, '-');

	return dash && dash > v && strspn(v, "0123456789.") == (size_t)(dash - v) &&
	       (!strncmp(dash, "-sha-", 5) || !strcmp(dash, "-native"));
}

enum weir_server weir_hidden_server(const struct weir_row *row)
{
	/* What is surest first: an id's shape is the weakest. */
	return !strncmp(row->path, "/v2/models/", 11)	  ? WEIR_SERVER_TRITON
	       : !strcmp(row->model_version, "fp_ollama") ? WEIR_SERVER_OLLAMA
	       : is_llama_cpp(row)			  ? WEIR_SERVER_LLAMA_CPP
	       : is_tgi(row)				  ? WEIR_SERVER_TGI
	       : is_vllm(row)				  ? WEIR_SERVER_VLLM
	       : is_hex(row->response_id, 32)		  ? WEIR_SERVER_SGLANG
							  : WEIR_SERVER_MAX;
}

/* -------------------------------------------------------------------------- counts */

static uint64_t minute_of(uint64_t wall_ns)
{
	return wall_ns / (60 * WEIR_SECOND);
}

/* Compressed, and not even its id was found in it. */
static bool is_unread(const struct weir_row *row)
{
	return row->flags2 & WEIR_ROW_ENCODED && !row->response_id[0] && !row->finish_reason[0];
}

static void count(struct weir_hidden_counts *n, const struct weir_row *row, bool asked)
{
	bool streamed = row->flags & WEIR_ROW_STREAM;
	enum weir_server server;

	*(streamed ? &n->streamed : &n->plain) += 1;
	if (!(row->flags2 & WEIR_ROW_OUTPUT_GUESSED))
		return;
	if (is_unread(row)) {
		n->unread++;
		return;
	}
	*(streamed ? &n->streamed_hidden : &n->plain_hidden) += 1;
	n->asked += streamed && asked;
	server = weir_hidden_server(row);
	if (server < WEIR_SERVER_MAX)
		n->of[server]++;
}

void weir_hidden_note(struct weir_hidden *h, const struct weir_row *row,
		      const struct weir_asked *asked)
{
	uint64_t number = minute_of(row->ended_wall_ns);
	struct minute *m;

	/* One that was cut hides nothing: it had not come to where usage is told. */
	if (row->service >= WEIR_MAX_SERVICES ||
	    (row->usage_source != WEIR_USAGE_REPORTED && row->usage_source != WEIR_USAGE_ESTIMATED))
		return;
	pthread_mutex_lock(&h->lock);
	m = &h->minutes[row->service][number % WEIR_HIDDEN_MINUTES];
	if (m->number != number)
		*m = (struct minute){ .number = number };
	count(&m->n, row, asked && asked->text.flags & WEIR_ASKED_INCLUDE_USAGE);
	pthread_mutex_unlock(&h->lock);
}

static void add(struct weir_hidden_counts *sum, const struct weir_hidden_counts *n)
{
	sum->streamed += n->streamed;
	sum->plain += n->plain;
	sum->streamed_hidden += n->streamed_hidden;
	sum->plain_hidden += n->plain_hidden;
	sum->unread += n->unread;
	sum->asked += n->asked;
	for (size_t i = 0; i < WEIR_SERVER_MAX; i++)
		sum->of[i] += n->of[i];
}

void weir_hidden_look(struct weir_hidden *h, uint16_t service, uint64_t now_wall_ns,
		      struct weir_hidden_counts *out)
{
	uint64_t now = minute_of(now_wall_ns);

	*out = (struct weir_hidden_counts){ 0 };
	if (service >= WEIR_MAX_SERVICES)
		return;
	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < WEIR_HIDDEN_MINUTES; i++) {
		const struct minute *m = &h->minutes[service][i];

		/* A clock that was set back leaves minutes that are not yet. */
		if (m->number && m->number <= now && now - m->number < WEIR_HIDDEN_MINUTES)
			add(out, &m->n);
	}
	pthread_mutex_unlock(&h->lock);
}
