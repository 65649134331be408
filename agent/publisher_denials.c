// SPDX-License-Identifier: Apache-2.0
/*
 * Refusals, summed by the second (denials.h), as events. They are in no ledger, and nothing that is
 * waits for them: what is not taken is held beside, and tried again for a while.
 */
#include "publisher_window.h"

#include <stdio.h>
#include <string.h>

#include "denials.h"
#include "ledger_read.h"
#include "reason.h"

#define EVERY_NS UINT64_C(250000000)
#define AGAIN_NS WEIR_SECOND
#define NOBODY	 "~nobody" /* no tenant can be called so */

static int push(struct weir_publisher *p, const struct weir_denial_sum *s)
{
	char name[WEIR_ENTRY_NAME_BYTES] = NOBODY, limit_of[WEIR_ENTRY_NAME_BYTES];
	char subject[256], id[WEIR_EVENT_ID_TEXT];
	struct weir_event_origin o = { .ledger_id = weir_reader_ledger_id(p->reader),
				       .node = p->node };
	struct weir_denied d = {
		.tenant = name,
		.reason = weir_reason_name(s->reason),
		.limit = s->limit,
		.limit_is_nano = weir_reason_is_money(s->reason),
		.count = s->count,
		.first_wall_ns = s->first_wall_ns,
		.last_wall_ns = s->last_wall_ns,
		.shadow = s->shadow,
	};
	int r;

	if (s->tenant != WEIR_NO_TENANT && p->view->tenant_name(p->view->ctx, s->tenant, name))
		snprintf(name, sizeof(name), "~%u", s->tenant);
	if (s->level && !p->view->tenant_name(p->view->ctx, s->level, limit_of))
		d.limit_of = limit_of;
	r = weir_event_denied_json(&d, &o, &p->text, id);
	if (r)
		return r;
	snprintf(subject, sizeof(subject), "deny.v1.%s.%s", name, p->node);
	return weir_pub_push(p, WEIR_STREAM_DENY, 0, 0, id, subject);
}

void weir_pub_hold_denial(struct weir_publisher *p, struct weir_pub_slot *s, bool definite)
{
	s->state = WEIR_PUB_DONE;
	p->deny_failed = true;
	p->deny_definite = definite;
	p->status.retried++;
	if (p->n_held < WEIR_PUBLISHER_WINDOW) {
		p->held[p->n_held].msg = s->msg;
		memcpy(p->held[p->n_held++].id, s->id, sizeof(s->id));
	} else {
		natsMsg_Destroy(s->msg);
		p->status.skipped++;
	}
	s->msg = NULL;
}

void weir_pub_drop_denials(struct weir_publisher *p)
{
	pthread_mutex_lock(&p->lock);
	p->status.skipped += p->n_held;
	while (p->n_held)
		natsMsg_Destroy(p->held[--p->n_held].msg);
	pthread_mutex_unlock(&p->lock);
}

/* Those that were not taken, once more. */
static void push_held(struct weir_publisher *p, uint64_t now_ns)
{
	struct weir_pub_held again[64];
	size_t n = 0;

	pthread_mutex_lock(&p->lock);
	if (p->deny_failed) {
		weir_pub_refused(p, WEIR_STREAM_DENY, p->deny_definite, now_ns);
		p->deny_failed = false;
		p->held_at_ns = now_ns + AGAIN_NS;
	}
	if (now_ns >= p->held_at_ns) {
		while (p->n_held && n < sizeof(again) / sizeof(again[0]))
			again[n++] = p->held[--p->n_held];
	}
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < n; i++)
		weir_pub_push_message(p, WEIR_STREAM_DENY, again[i].msg, 0, 0, again[i].id);
}

void weir_pub_denials(struct weir_publisher *p, uint64_t now_ns, bool all)
{
	struct weir_denial_sum sums[64];
	size_t n;

	if (weir_pub_given_up(p, WEIR_STREAM_DENY)) {
		weir_pub_drop_denials(p);
		return;
	}
	if (!p->ready[WEIR_STREAM_DENY] || (!all && now_ns < p->denials_at_ns))
		return;
	p->denials_at_ns = now_ns + EVERY_NS;
	if (weir_pub_room(p) > WEIR_PUBLISHER_WINDOW / 2)
		push_held(p, now_ns);
	if (__atomic_load_n(&p->n_held, __ATOMIC_RELAXED))
		return; /* in their order, more or less; sums wait where they are made */
	do {
		size_t max = weir_pub_room(p);

		/* Half of the window stays for what is billed. */
		max = max > WEIR_PUBLISHER_WINDOW / 2 ? max - WEIR_PUBLISHER_WINDOW / 2 : 0;
		n = weir_denials_take(p->view->denials, all ? 0 : weir_wall_ns(),
				      p->view->denial_counts, p->view->ctx, sums,
				      max < 64 ? max : 64);
		for (size_t i = 0; i < n; i++)
			push(p, &sums[i]);
	} while (n == 64);
}
