// SPDX-License-Identifier: Apache-2.0
/*
 * What a request says of itself, before its answer and while that runs: its first line, lines of
 * its head, its body. Each record changes a copy, which then takes its place.
 */
#include <string.h>

#include "account.h"
#include "fold.h"

#define HURRY_NS (100 * UINT64_C(1000000)) /* a tenant near a limit has requests for so long */

/* A tenant may be refused because of what we have not settled yet: do not keep it waiting. */
static void look_at_limits(struct weir_fold *f, const struct weir_rec_request *rec)
{
	const struct weir_slot *s = &f->kernel->slots[rec->h.slot];
	const uint32_t entries[] = { rec->tenant, s->others[0], s->others[1], s->others[2],
				     s->wallet };

	if (rec->h.time_ns + HURRY_NS / 2 < f->hurry_until_ns)
		return; /* hurrying already */
	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		if (!entries[i] || entries[i] >= f->kernel->max_tenants ||
		    !weir_is_tight(&f->kernel->tenants[entries[i]], rec->h.time_ns))
			continue;
		f->hurry_until_ns = rec->h.time_ns + HURRY_NS;
		return;
	}
}

static void begin_asked(struct weir_fold *f, const struct weir_rec_request *rec, uint64_t end)
{
	struct weir_asked *a;

	if (weir_state_asked_of(f->state, rec->h.slot)->next_pos >= end)
		return;
	a = weir_state_asked_spare(f->state, rec->h.slot);
	memset(a, 0, sizeof(*a));
	a->next_pos = end;
	a->started_wall_ns = rec->started_wall_ns;
	a->body_bytes = rec->body_bytes;
	a->ordinal = rec->h.ordinal;
	memcpy(a->method, rec->method, sizeof(a->method));
	memcpy(a->path, rec->path, sizeof(a->path));
	memcpy(a->client, rec->client, sizeof(a->client));
	weir_body_init(&a->body);
	weir_asked_init(&a->text);
	weir_state_asked_flip(f->state, rec->h.slot);
}

void weir_fold_request(struct weir_fold *f, const struct weir_rec_request *rec, uint64_t end)
{
	begin_asked(f, rec, end);
	if (!weir_fold_begin(f, rec, end))
		return;
	look_at_limits(f, rec);
	weir_fold_count(&f->n.begun);
}

/* A copy to be changed by a record of that request, or NULL: it was folded before a crash, or
 * nobody knows of the request. */
static struct weir_asked *change(struct weir_fold *f, const struct weir_record *h,
				 uint64_t started_wall_ns, uint64_t end)
{
	const struct weir_asked *now = weir_state_asked_of(f->state, h->slot);
	struct weir_asked *a;

	if (now->next_pos >= end)
		return NULL;
	if (now->started_wall_ns != started_wall_ns || now->ordinal != h->ordinal) {
		weir_fold_count(&f->n.orphans);
		return NULL;
	}
	a = weir_state_asked_spare(f->state, h->slot);
	*a = *now;
	a->next_pos = end;
	return a;
}

/* Are the h.len bytes behind the record's struct in it? */
static bool is_whole(struct weir_fold *f, const struct weir_record *h, size_t size, uint32_t len)
{
	if (h->len <= len - size)
		return true;
	weir_fold_count(&f->n.orphans);
	return false;
}

void weir_fold_line(struct weir_fold *f, const struct weir_rec_line *rec, uint32_t len,
		    uint64_t end)
{
	struct weir_asked *a;

	if (!is_whole(f, &rec->h, sizeof(*rec), len))
		return;
	a = change(f, &rec->h, rec->started_wall_ns, end);
	if (!a)
		return;
	weir_labels_line(f->labels, &a->labels, (const char *)(rec + 1), rec->h.len, rec->flags);
	weir_state_asked_flip(f->state, rec->h.slot);
}

void weir_fold_asked(struct weir_fold *f, const struct weir_rec_data *rec, uint32_t len,
		     uint64_t end)
{
	struct weir_asked *a;

	if (!is_whole(f, &rec->h, sizeof(*rec), len))
		return;
	a = change(f, &rec->h, rec->started_wall_ns, end);
	if (!a)
		return;
	/* The key lives as long as the retries do. */
	weir_asked_feed(&a->text, rec->offset, rec + 1, rec->h.len, f->kernel->config->maps_id);
	weir_labels_body_user(f->labels, &a->labels, a->text.user,
			      strnlen(a->text.user, sizeof(a->text.user)));
	weir_state_asked_flip(f->state, rec->h.slot);
}

void weir_fold_body(struct weir_fold *f, const struct weir_rec_body *rec, uint64_t end)
{
	struct weir_asked *a = change(f, &rec->h, rec->started_wall_ns, end);

	if (!a)
		return;
	weir_body_fold(&a->body, rec);
	weir_state_asked_flip(f->state, rec->h.slot);
}

void weir_fold_labels(struct weir_fold *f, const struct weir_rec_labels *rec, uint64_t end)
{
	struct weir_asked *a = change(f, &rec->h, rec->started_wall_ns, end);

	if (!a)
		return;
	a->labels.trusted = rec->flags & WEIR_LABELS_TRUSTED;
	memcpy(a->labels.session, rec->session, sizeof(a->labels.session) - 1);
	memcpy(a->labels.feature, rec->feature, sizeof(a->labels.feature) - 1);
	weir_state_asked_flip(f->state, rec->h.slot);
}
