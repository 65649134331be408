// SPDX-License-Identifier: Apache-2.0
/*
 * Follows the log from the start of the month on, so that a month's sums per tenant and per
 * entry of a card need no place in the database. What it knows is behind one lock; the ledger is
 * read outside of it.
 */
#include "money_watch.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calendar.h"
#include "margin.h"
#include "money_watch_priv.h"
#include "policy.h"
#include "unpriced.h"

#define WAIT_MS	   2000
#define PAGE	   10000 /* entries; then it breathes */
#define BREATHE_MS 20
#define KEPT	   100000 /* sums: what is more is not watched */
#define LOGGED	   20	  /* lines a look */

static void free_sum(gpointer p)
{
	struct money_sum *s = p;

	g_free(s->tenant);
	g_free(s->card);
	g_free(s->entry);
	g_free(s);
}

static void free_unpriced(gpointer p)
{
	g_free(((struct money_unpriced *)p)->what);
	g_free(p);
}

/* ------------------------------------------------------------------------- sums */

static int add_to(struct weir_money_watch *w, const char *tenant, const char *card,
		  const char *entry, const struct weir_margin_item *i)
{
	weir_autofree char *key = NULL;
	struct money_sum *s;

	if (asprintf(&key, "%s\n%s\n%s", tenant ? tenant : "", card, entry) < 0)
		return -ENOMEM;
	s = g_hash_table_lookup(w->sums, key);
	if (!s) {
		if (g_hash_table_size(w->sums) >= KEPT)
			return 0;
		s = g_new0(struct money_sum, 1);
		s->tenant = g_strdup(tenant);
		s->card = g_strdup(card);
		s->entry = g_strdup(entry);
		s->floor_milli = INT64_MIN;
		g_hash_table_insert(w->sums, g_strdup(key), s);
	}
	s->price += i->price_nano;
	s->refunds += i->refund_nano;
	s->cost += i->cost_nano;
	return 0;
}

static int item(const struct weir_margin_item *i, void *ctx)
{
	struct weir_money_watch *w = ctx;
	const struct weir_card *c = weir_reader_card(w->reader, i->card_id);
	int r = 0;

	if (!c)
		return 0;
	pthread_mutex_lock(&w->lock);
	if (i->tenant_name)
		r = add_to(w, i->tenant_name, c->name, "", i);
	if (!r)
		r = add_to(w, NULL, c->name, weir_card_entry_key(c, i->card_entry), i);
	pthread_mutex_unlock(&w->lock);
	return r;
}

static bool breathe(struct weir_money_watch *w, unsigned ms)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&w->lock);
	if (!w->stop)
		pthread_cond_timedwait(&w->wake, &w->lock, &until);
	stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	return !stop;
}

/* All that came since the last look. false: it is to stop. */
static bool follow(struct weir_money_watch *w, uint64_t now_ns, int *r, struct weir_error *err)
{
	uint32_t month = weir_month_of(now_ns);
	uint64_t newest = 0;

	if (month != w->month) {
		pthread_mutex_lock(&w->lock);
		g_hash_table_remove_all(w->sums);
		pthread_mutex_unlock(&w->lock);
		w->month = month;
		/* What began since then may have been read already, as of the month before. */
		w->next_seq = 0;
	}
	*r = weir_reader_newest(w->reader, &newest, err);
	while (!*r && w->next_seq <= newest) {
		uint64_t last = 0;
		struct weir_margin_query q = { .from_seq = w->next_seq,
					       .since_ns = weir_month_start_ns(month),
					       .limit = PAGE,
					       .last_seq = &last };

		*r = weir_margin_walk(w->reader, &q, item, w, err);
		if (*r)
			break;
		w->next_seq = (last ? last : newest) + 1;
		if (w->next_seq <= newest && !breathe(w, BREATHE_MS))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------ alarms */

/* Of each name the newest card in force: it sets the floor. Cards are in the order in which
 * they begin. */
static GHashTable *cards_in_force(const struct weir_policy *p, uint64_t now_ns)
{
	GHashTable *cards = g_hash_table_new(g_str_hash, g_str_equal);

	for (size_t i = 0; i < p->n_cards; i++) {
		if (p->cards[i]->effective_from_ns <= now_ns)
			g_hash_table_replace(cards, (gpointer)p->cards[i]->name, p->cards[i]);
	}
	return cards;
}

/* So many lines a look; the rest is a number. */
static void __attribute__((format(printf, 3, 4)))
alarm_log(struct weir_money_watch *w, enum weir_level level, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (w->logged++ >= LOGGED)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	weir_log(level, "%s", text);
}

static void judge_margins(struct weir_money_watch *w, const struct weir_policy *p, uint64_t now_ns)
{
	GHashTable *cards = cards_in_force(p, now_ns);
	const struct weir_card *card;
	GHashTableIter it;
	gpointer v;
	char text[MONEY_TEXT];

	g_hash_table_iter_init(&it, w->sums);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		struct money_sum *s = v;

		card = g_hash_table_lookup(cards, s->card);
		s->floor_milli = card ? card->margin_floor_milli : INT64_MIN;
		s->below = weir_margin_below(s->price, s->refunds, s->cost, s->floor_milli);
		if (s->below == s->told)
			continue;
		s->told = s->below;
		if (s->below) {
			money_describe(s, text);
			alarm_log(w, WEIR_WARN, "%s", text);
		} else {
			alarm_log(w, WEIR_NOTE, "margin: %s%s%s is not below its floor any more",
				  s->tenant ? s->tenant : s->card, s->tenant ? "" : ", ",
				  s->tenant ? "" : s->entry);
		}
	}
	g_hash_table_destroy(cards);
}

struct look {
	struct weir_money_watch *w;
	const struct weir_policy *policy;
	uint64_t now_ns;
};

static int look_unpriced(const struct weir_unpriced *u, void *ctx)
{
	struct look *l = ctx;
	const struct weir_agent_view *v = l->w->view;
	const char *service = weir_unpriced_service(v->services, v->n_services, u->service);
	weir_autofree char *key = NULL;
	struct money_unpriced *mine;

	if (weir_unpriced_is_priced(l->policy, u->what, service, l->now_ns))
		return 0;
	if (asprintf(&key, "%u %s", u->service, u->what) < 0)
		return -ENOMEM;
	pthread_mutex_lock(&l->w->lock);
	mine = g_hash_table_lookup(l->w->unpriced, key);
	if (!mine && g_hash_table_size(l->w->unpriced) < KEPT) {
		mine = g_new0(struct money_unpriced, 1);
		mine->what = g_strdup(u->what);
		mine->service = service;
		g_hash_table_insert(l->w->unpriced, g_strdup(key), mine);
	}
	if (mine) {
		mine->count = u->count;
		mine->seen = true;
	}
	pthread_mutex_unlock(&l->w->lock);
	return 0;
}

static gboolean is_over(gpointer key, gpointer v, gpointer ctx)
{
	struct weir_money_watch *w = ctx;
	struct money_unpriced *u = v;

	if (!u->seen) {
		alarm_log(w, WEIR_NOTE, "unpriced: %.80s is priced now", money_what(u));
		return TRUE;
	}
	u->seen = false;
	if (!u->told)
		alarm_log(w, WEIR_WARN,
			  "unpriced: %.80s%s%.63s: no card in force has a price for it; it is "
			  "metered and costs nothing",
			  money_what(u), u->service ? " of service " : "",
			  u->service ? u->service : "");
	u->told = true;
	return FALSE;
}

static bool look(struct weir_money_watch *w, struct weir_error *err, int *r)
{
	uint64_t now_ns = weir_wall_ns();
	struct weir_policy *p;
	bool more;

	*r = w->reader ? 0 : weir_reader_open(w->view->db_path, &w->reader, err);
	if (*r)
		return true;
	more = follow(w, now_ns, r, err);
	if (*r || !more)
		return more;
	p = w->view->policy(w->view->ctx);
	*r = weir_reader_unpriced(w->reader, look_unpriced,
				  &(struct look){ .w = w, .policy = p, .now_ns = now_ns }, err);
	pthread_mutex_lock(&w->lock);
	w->logged = 0;
	judge_margins(w, p, now_ns);
	if (!*r)
		g_hash_table_foreach_remove(w->unpriced, is_over, w);
	if (w->logged > LOGGED)
		weir_log(WEIR_WARN, "%u more changes of margins and unpriced usage",
			 w->logged - LOGGED);
	pthread_mutex_unlock(&w->lock);
	weir_policy_unref(p);
	return true;
}

/* -------------------------------------------------------------------- the thread */

static void *watch_main(void *arg)
{
	struct weir_money_watch *w = arg;
	struct weir_error err;
	int r;

	pthread_setname_np(pthread_self(), "weir-money");
	/* Of this thread only (setpriority(2), "C library/kernel differences"). */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
	do {
		err.text[0] = 0;
		if (!look(w, &err, &r))
			break;
		if (r && !w->complained)
			weir_log(WEIR_WARN, "margins and unpriced usage are not watched: %s",
				 err.text[0] ? err.text : strerror(-r));
		w->complained = r;
	} while (breathe(w, w->wait_ms));
	return NULL;
}

static void watch_free(struct weir_money_watch *w)
{
	weir_reader_close(w->reader);
	g_hash_table_destroy(w->sums);
	g_hash_table_destroy(w->unpriced);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int weir_money_watch_start(const struct weir_agent_view *view, unsigned wait_ms,
			   struct weir_money_watch **out, struct weir_error *err)
{
	struct weir_money_watch *w = calloc(1, sizeof(*w));
	pthread_condattr_t ca;
	sigset_t all, old;
	int r;

	if (!w)
		return weir_fail(err, ENOMEM, "out of memory");
	w->view = view;
	w->wait_ms = wait_ms ? wait_ms : WAIT_MS;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &ca);
	pthread_condattr_destroy(&ca);
	w->sums = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_sum);
	w->unpriced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_unpriced);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = -pthread_create(&w->thread, NULL, watch_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		watch_free(w);
		return weir_fail(err, -r, "the watch over money cannot start a thread: %s",
				 strerror(-r));
	}
	*out = w;
	return 0;
}

void weir_money_watch_stop(struct weir_money_watch *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	watch_free(w);
}
