// SPDX-License-Identifier: Apache-2.0
/*
 * A ledger that cannot be written (delivery.md, rules 3 to 5): when to try again, and what is told
 * of it meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "agent/writer_priv.h"

#define SAY_AGAIN_NS (60 * WEIR_SECOND)

static size_t waiting(const struct weir_writer *w)
{
	return w->src.waiting ? w->src.waiting(w->src.ctx) : 0;
}

static void try_later(struct weir_writer *w)
{
	w->retry_at_ns = weir_mono_ns() + w->backoff_ns;
	w->backoff_ns =
		2 * w->backoff_ns < w->o.retry_max_ns ? 2 * w->backoff_ns : w->o.retry_max_ns;
}

/* Once per cause, and now and then: a log that is full of it tells no more. */
static void say_ill(struct weir_writer *w, int ret, const struct weir_error *err)
{
	uint64_t now = weir_mono_ns(), since = atomic_load(&w->ill_ns);

	if (w->ill_ret == ret && now - w->said_ns < SAY_AGAIN_NS)
		return;
	w->ill_ret = ret;
	w->said_ns = now;
	if (now - since < SAY_AGAIN_NS)
		weir_log(WEIR_ERR, "%s; %zu requests wait in memory, trying again until it works",
			 err->text, waiting(w));
	else
		weir_log(WEIR_ERR,
			 "%s; so it has been for %llu s, %zu requests wait in memory, trying again "
			 "until it works",
			 err->text, (unsigned long long)((now - since) / WEIR_SECOND), waiting(w));
}

void weir_writer_fell_ill(struct weir_writer *w, int ret, const struct weir_error *err)
{
	bool first;

	pthread_mutex_lock(&w->lock);
	first = w->stats.healthy;
	w->stats.healthy = false;
	snprintf(w->stats.error, sizeof(w->stats.error), "%s", err->text);
	if (first) {
		w->stats.failures++;
		w->stats.ill_since_ns = weir_wall_ns();
		w->stats.ill_waiting = waiting(w);
		atomic_store(&w->ill_ns, weir_mono_ns());
	}
	pthread_mutex_unlock(&w->lock);
	say_ill(w, ret, err);
	if (first && w->o.on_health)
		w->o.on_health(w->o.ctx, err->text);
	try_later(w);
}

void weir_writer_got_well(struct weir_writer *w)
{
	uint64_t since = atomic_load(&w->ill_ns);

	w->backoff_ns = w->o.retry_ns;
	w->retry_at_ns = 0;
	w->ill_ret = 0;
	if (!since)
		return;
	pthread_mutex_lock(&w->lock);
	w->stats.healthy = true;
	w->stats.ill_since_ns = 0;
	pthread_mutex_unlock(&w->lock);
	weir_log(WEIR_NOTE, "ledger: writing again, after %llu ms; %zu requests wait",
		 (unsigned long long)((weir_mono_ns() - since) / 1000000), waiting(w));
	atomic_store(&w->ill_ns, 0);
	if (w->o.on_health)
		w->o.on_health(w->o.ctx, NULL);
}

uint64_t weir_writer_ill_ns(const struct weir_writer *w)
{
	return atomic_load(&w->ill_ns);
}

void weir_writer_stats(struct weir_writer *w, struct weir_writer_stats *out)
{
	pthread_mutex_lock(&w->lock);
	*out = w->stats;
	pthread_mutex_unlock(&w->lock);
	out->waiting = waiting(w);
}

uint64_t weir_writer_full_in_s(const struct weir_writer_stats *s, uint64_t room, uint64_t now_ns)
{
	uint64_t came = s->waiting > s->ill_waiting ? s->waiting - s->ill_waiting : 0;
	uint64_t ms = now_ns > s->ill_since_ns ? (now_ns - s->ill_since_ns) / 1000000 : 0;
	unsigned __int128 left = (unsigned __int128)room * ms;

	if (s->healthy || !came)
		return UINT64_MAX;
	left /= (unsigned __int128)came * 1000;
	return left < UINT64_MAX ? (uint64_t)left : UINT64_MAX;
}
