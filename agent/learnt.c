// SPDX-License-Identifier: Apache-2.0
/*
 * A hash table of models, and the averages of each. An average is of the first answers' ratios
 * until there are sixteen of them; from then on each moves it by a sixteenth.
 */
#include "learnt.h"

#include <stdlib.h>
#include <string.h>

#define FEW	  3  /* answers that are not believed yet */
#define WEIGHT	  16 /* of what is known, to one of a new answer */
#define BYTES_MIN 1  /* of a token */
#define BYTES_MAX 16
#define SCALE	  65536 /* of a ratio, as it is kept: 16.16 bits */

struct ratio {
	uint32_t bytes; /* per token, x SCALE */
	uint32_t n;	/* answers, to WEIGHT */
};

struct model {
	char name[sizeof(((struct weir_row *)0)->model)]; /* "": whoever names none */
	struct ratio input, output;
	uint64_t used; /* by the count of notes; 0: free */
	uint32_t next; /* of its bucket, + 1; 0: the last */
};

struct weir_learnt {
	size_t max;
	uint64_t notes;
	uint32_t *buckets; /* max of them: the first model, + 1 */
	struct model *models;
};

struct weir_learnt *weir_learnt_new(size_t max_models)
{
	struct weir_learnt *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->max = max_models;
	l->buckets = calloc(max_models, sizeof(*l->buckets));
	l->models = calloc(max_models, sizeof(*l->models));
	if (l->buckets && l->models)
		return l;
	weir_learnt_free(l);
	return NULL;
}

void weir_learnt_free(struct weir_learnt *l)
{
	if (!l)
		return;
	free(l->buckets);
	free(l->models);
	free(l);
}

/* -------------------------------------------------------------------------- models */

/* FNV-1a. Names come from servers: they have no reason to make them collide. */
static uint32_t *bucket_of(const struct weir_learnt *l, const char *model)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *model; model++)
		h = (h ^ (uint8_t)*model) * UINT64_C(0x100000001b3);
	return &l->buckets[h % l->max];
}

static struct model *find(const struct weir_learnt *l, const char *model)
{
	for (uint32_t i = *bucket_of(l, model); i; i = l->models[i - 1].next)
		if (!strcmp(l->models[i - 1].name, model))
			return &l->models[i - 1];
	return NULL;
}

static void forget(struct weir_learnt *l, struct model *m)
{
	uint32_t *at = bucket_of(l, m->name);

	while (&l->models[*at - 1] != m)
		at = &l->models[*at - 1].next;
	*at = m->next;
}

static struct model *longest_unused(struct weir_learnt *l)
{
	struct model *found = l->models;

	for (size_t i = 1; i < l->max && found->used; i++)
		if (l->models[i].used < found->used)
			found = &l->models[i];
	return found;
}

static struct model *add(struct weir_learnt *l, const char *model)
{
	struct model *m = longest_unused(l);
	uint32_t *bucket;

	if (m->used)
		forget(l, m);
	*m = (struct model){ .used = l->notes };
	memcpy(m->name, model, strnlen(model, sizeof(m->name) - 1));
	bucket = bucket_of(l, m->name);
	m->next = *bucket;
	*bucket = (uint32_t)(m - l->models) + 1;
	return m;
}

/* -------------------------------------------------------------------------- ratios */

static uint32_t ratio_of(uint64_t bytes, uint64_t tokens)
{
	unsigned __int128 r = (unsigned __int128)bytes * SCALE / tokens;

	return r < BYTES_MIN * SCALE   ? BYTES_MIN * SCALE
	       : r > BYTES_MAX * SCALE ? BYTES_MAX * SCALE
				       : (uint32_t)r;
}

static void teach(struct ratio *of, uint64_t bytes, uint64_t tokens)
{
	if (!bytes || !tokens)
		return;
	if (of->n < WEIGHT)
		of->n++;
	of->bytes += ((int64_t)ratio_of(bytes, tokens) - of->bytes) / (int64_t)of->n;
}

static int64_t tokens_of(const struct ratio *r, uint64_t bytes)
{
	uint32_t per = r && r->n >= FEW ? r->bytes : WEIR_BYTES_PER_TOKEN_DEFAULT * SCALE;
	unsigned __int128 n = (unsigned __int128)bytes * SCALE / per;

	if (bytes && !n)
		return 1;
	return n < INT64_MAX ? (int64_t)n : INT64_MAX;
}

/* ---------------------------------------------------------------------------- doors */

static uint64_t known(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

void weir_learnt_note(struct weir_learnt *l, const struct weir_row *row, uint64_t text_bytes)
{
	const struct weir_usage *u = &row->usage;
	struct model *m;

	if (row->usage_source != WEIR_USAGE_REPORTED || row->audio > 0 || row->image > 0)
		return;
	l->notes++;
	m = find(l, row->model);
	if (!m)
		m = add(l, row->model);
	m->used = l->notes;
	if (u->input != WEIR_UNKNOWN && row->request_bytes != UINT64_MAX)
		teach(&m->input, row->request_bytes,
		      known(u->input) + known(u->cache_read) + known(u->cache_write));
	/* Who reasons may not show it: then its text is not what the tokens are of. */
	if (!known(u->reasoning))
		teach(&m->output, text_bytes, known(u->output));
}

int64_t weir_learnt_input(const struct weir_learnt *l, const char *model, uint64_t body_bytes)
{
	const struct model *m = l ? find(l, model) : NULL;

	return tokens_of(m ? &m->input : NULL, body_bytes);
}

int64_t weir_learnt_output(const struct weir_learnt *l, const char *model, uint64_t text_bytes)
{
	const struct model *m = l ? find(l, model) : NULL;

	return tokens_of(m ? &m->output : NULL, text_bytes);
}
