// SPDX-License-Identifier: Apache-2.0
/*
 * The writer's thread. It sleeps on an eventfd and on an alarm; once the first row
 * of a group is seen it waits for more, at most group_ns, then commits, pops, and
 * tells. A group that cannot be committed stays where it is and is tried again, for
 * ever. The alarm is of the wall clock: it rings when the ledger has something due,
 * and when that clock is set.
 */
#include "agent/writer_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/clock.h"

#define GROUP_NS     UINT64_C(20000000)
#define GROUP_ROWS   4096
#define RETRY_NS     UINT64_C(50000000)
#define RETRY_MAX_NS UINT64_C(5000000000)
#define NEVER	     UINT64_MAX

/* In a writer's thread: which one. */
static _Thread_local struct weir_writer *mine;

/* ---------------------------------------------------------------------- waking */

static void wake(struct weir_writer *w)
{
	const uint64_t one = 1;

	/* Only a full counter refuses, and then the thread is awake anyway. */
	if (write(w->wake, &one, sizeof(one)) < 0)
		return;
}

/* -------------------------------------------------------------------- priority */

#define LATE_NS	     100000000 /* rows that wait this long are urgent */
#define PRESSED_NICE (-10)

/*
 * The node's cores belong to the model server: while little waits, commits take
 * only time that nobody else wants (SCHED_IDLE is preempted at once by whoever
 * wakes). A full group, rows that have waited too long because there is no such
 * time, or somebody who waits for a call make it urgent: the thread then runs like
 * any other until the queue is empty. When groups pile up it is pressed, and goes
 * before others: a request that was served must be metered. Any thread.
 */
static void set_urgency(struct weir_writer *w, enum urgency to)
{
	struct sched_param none = { 0 };
	enum urgency was = atomic_exchange(&w->urgency, to);

	if (was == to)
		return;
	if ((was == AT_LEISURE) != (to == AT_LEISURE))
		pthread_setschedparam(w->thread, to == AT_LEISURE ? SCHED_IDLE : SCHED_OTHER,
				      &none);
	if ((was == PRESSED) != (to == PRESSED) && atomic_load(&w->tid))
		setpriority(PRIO_PROCESS, atomic_load(&w->tid), to == PRESSED ? PRESSED_NICE : 0);
}

static void raise_urgency(struct weir_writer *w, enum urgency to)
{
	if (atomic_load(&w->urgency) < to)
		set_urgency(w, to);
}

void weir_writer_kick(struct weir_writer *w)
{
	uint64_t now = weir_mono_ns(), since = atomic_load(&w->since_ns);
	size_t waiting = w->src.waiting ? w->src.waiting(w->src.ctx) : 0;

	if (!since)
		atomic_store(&w->since_ns, now);
	if (waiting >= 2 * w->o.group_rows)
		raise_urgency(w, PRESSED);
	else if (waiting >= w->o.group_rows || (since && now - since > LATE_NS))
		raise_urgency(w, URGENT);
	if (atomic_exchange(&w->idle, false))
		wake(w);
}

/* Until a kick, a call, the stop, the alarm, or an instant. */
static void sleep_until(struct weir_writer *w, uint64_t until_ns)
{
	struct pollfd p[] = { { .fd = w->wake, .events = POLLIN },
			      { .fd = w->alarm, .events = POLLIN } };
	uint64_t now = weir_mono_ns(), count;
	struct timespec left = { 0 };

	if (until_ns != NEVER && until_ns > now) {
		left.tv_sec = (time_t)((until_ns - now) / 1000000000);
		left.tv_nsec = (long)((until_ns - now) % 1000000000);
	}
	ppoll(p, 2, until_ns == NEVER ? NULL : &left, NULL);
	if (p[1].revents) /* it rang, or the clock was set: it is to be set anew */
		w->alarm_ns = NEVER;
	for (size_t i = 0; i < 2; i++)
		if (p[i].revents && read(p[i].fd, &count, sizeof(count)) < 0)
			continue; /* ECANCELED: the clock was set */
}

/* The alarm, of the wall clock as it is believed; NEVER: none. One that is in the past rings at
 * once. */
static void set_alarm(struct weir_writer *w, uint64_t at_ns)
{
	struct itimerspec t = { 0 };

	if (at_ns != NEVER)
		at_ns = weir_clock_real_ns(at_ns);
	if (at_ns == w->alarm_ns)
		return;
	if (at_ns != NEVER) {
		t.it_value.tv_sec = (time_t)(at_ns / 1000000000);
		t.it_value.tv_nsec = (long)(at_ns % 1000000000);
		if (!at_ns)
			t.it_value.tv_nsec = 1; /* 0 would be none */
	}
	timerfd_settime(w->alarm, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &t, NULL);
	w->alarm_ns = at_ns;
}

/* ------------------------------------------------------------------ committing */

static void committed(struct weir_writer *w)
{
	uint64_t newest = weir_ledger_newest(w->ledger);

	pthread_mutex_lock(&w->lock);
	w->stats.newest_seq = newest;
	w->stats.newest_ns = weir_ledger_newest_ns(w->ledger);
	pthread_mutex_unlock(&w->lock);
	if (w->o.on_commit)
		w->o.on_commit(w->o.ctx, w->ledger, newest);
}

static void note_lag(struct weir_lag *lag, const struct weir_row *rows, size_t n)
{
	uint64_t now = weir_wall_ns();

	for (size_t i = 0; lag && i < n; i++)
		weir_lag_note(lag, rows[i].ended_wall_ns, now);
}

static int commit_group(struct weir_writer *w, const struct weir_row *rows, size_t n)
{
	uint64_t start = weir_mono_ns();
	struct weir_error err = { 0 };
	size_t known = 0;
	int ret;

	ret = weir_ledger_append(w->ledger, rows, n, &known, &err);
	if (ret) {
		weir_writer_fell_ill(w, ret, &err);
		return ret;
	}
	note_lag(w->o.lag, rows, n);
	/* Durable now, so it may be forgotten. A crash in between repeats rows that
	 * the ledger then knows by their ids. */
	w->src.pop(w->src.ctx, n);
	pthread_mutex_lock(&w->lock);
	w->stats.rows += n;
	w->stats.known += known;
	w->stats.groups++;
	w->stats.last_commit_ns = weir_mono_ns() - start;
	pthread_mutex_unlock(&w->lock);
	weir_writer_got_well(w);
	committed(w);
	return 0;
}

/* Commit if a group is due. Gives the instant to look again at the latest. */
static uint64_t do_rows(struct weir_writer *w)
{
	size_t n = w->o.group_rows;
	const struct weir_row *rows = w->src.peek(w->src.ctx, &n);
	uint64_t now, due;

	if (!rows || !n) {
		w->first_ns = 0;
		return NEVER;
	}
	now = weir_mono_ns();
	if (!w->first_ns)
		w->first_ns = now;
	due = n >= w->o.group_rows ? now : w->first_ns + w->o.group_ns;
	if (due < w->retry_at_ns)
		due = w->retry_at_ns;
	if (now < due)
		return due;
	if (commit_group(w, rows, n))
		return w->retry_at_ns;
	atomic_store(&w->since_ns, 0);
	w->first_ns = 0;
	return now; /* more may have come meanwhile */
}

/* -------------------------------------------------------------------- the time */

/* Enter what is due, and set the alarm to what will be. Gives the instant (monotonic) to try
 * again, when that failed. */
static uint64_t do_due(struct weir_writer *w)
{
	uint64_t before, now = weir_wall_ns(), due;
	struct weir_error err = { 0 };
	int ret;

	if (!atomic_load(&w->keeps_time))
		return NEVER;
	if (weir_mono_ns() < w->retry_at_ns)
		return w->retry_at_ns;
	due = weir_ledger_next_due(w->ledger);
	if (due <= now) {
		raise_urgency(w, URGENT);
		before = weir_ledger_newest(w->ledger);
		ret = weir_ledger_advance(w->ledger, now, &err);
		if (ret) {
			weir_writer_fell_ill(w, ret, &err);
			return w->retry_at_ns;
		}
		if (weir_ledger_newest(w->ledger) != before) {
			weir_writer_got_well(w);
			committed(w);
		}
		due = weir_ledger_next_due(w->ledger);
	}
	set_alarm(w, due);
	return NEVER;
}

/* Its own commit, also while nothing else is to be written: so a disk that fails is known, and one
 * that works again. Gives the instant to look again. */
static uint64_t do_chore(struct weir_writer *w)
{
	struct weir_error err = { 0 };
	uint64_t now = weir_mono_ns();
	int ret;

	if (!w->o.chore)
		return NEVER;
	if (now < w->retry_at_ns)
		return w->retry_at_ns;
	if (now < w->chore_at_ns && !atomic_load(&w->ill_ns))
		return w->chore_at_ns;
	ret = w->o.chore(w->o.ctx, w->ledger, &err);
	if (ret) {
		weir_writer_fell_ill(w, ret, &err);
		return w->retry_at_ns;
	}
	w->chore_at_ns = weir_mono_ns() + w->o.chore_ns;
	weir_writer_got_well(w);
	return w->chore_at_ns;
}

void weir_writer_keep_time(struct weir_writer *w)
{
	atomic_store(&w->keeps_time, true);
	wake(w);
}

/* ----------------------------------------------------------------------- calls */

static void do_calls(struct weir_writer *w)
{
	uint64_t before = weir_ledger_newest(w->ledger);
	struct call *c, *next;

	pthread_mutex_lock(&w->lock);
	c = w->calls;
	w->calls = NULL;
	w->last_call = &w->calls;
	pthread_mutex_unlock(&w->lock);
	if (!c)
		return;
	for (struct call *i = c; i; i = i->next)
		i->result = i->fn(w->ledger, i->arg);
	/* Told before the callers go on: they find their effects in place. */
	if (weir_ledger_newest(w->ledger) != before) {
		w->retry_at_ns = 0; /* it can be written: what waits need not wait longer */
		committed(w);
	}
	pthread_mutex_lock(&w->lock);
	for (; c; c = next) {
		next = c->next; /* c is gone once done is seen */
		c->done = true;
	}
	pthread_cond_broadcast(&w->called);
	pthread_mutex_unlock(&w->lock);
}

int weir_writer_call(struct weir_writer *w, int (*fn)(struct weir_ledger *l, void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };

	if (mine == w)
		return -EDEADLK;
	pthread_mutex_lock(&w->lock);
	/* Under the lock: the thread looks at the list once more after this is set. */
	if (atomic_load(&w->stopping)) {
		pthread_mutex_unlock(&w->lock);
		return -ESHUTDOWN;
	}
	*w->last_call = &c;
	w->last_call = &c.next;
	raise_urgency(w, URGENT);
	wake(w);
	while (!c.done)
		pthread_cond_wait(&w->called, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return c.result;
}

/* ---------------------------------------------------------------------- thread */

/* One try each: a disk that is full must not keep the agent from stopping. */
static void drain(struct weir_writer *w)
{
	size_t n;
	const struct weir_row *rows;

	do_calls(w);
	for (;;) {
		n = w->o.group_rows;
		rows = w->src.peek(w->src.ctx, &n);
		if (!rows || !n || commit_group(w, rows, n))
			return;
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void *run(void *arg)
{
	struct weir_writer *w = mine = arg;

	atomic_store(&w->tid, gettid());
	/* Whoever made us holds it until our handle is stored. */
	pthread_mutex_lock(&w->lock);
	pthread_mutex_unlock(&w->lock);
	while (!atomic_load(&w->stopping)) {
		uint64_t again, look, other;

		/* Before the look at the queue: a row put after it kicks. */
		atomic_store(&w->idle, true);
		do_calls(w);
		again = do_rows(w);
		other = earlier(do_due(w), do_chore(w));
		if (again == NEVER) {
			pthread_mutex_lock(&w->lock);
			if (!w->calls)
				set_urgency(w, AT_LEISURE);
			pthread_mutex_unlock(&w->lock);
		} else {
			/* Rows wait, so kicks tell nothing new; that the group has
			 * filled up before its time is found by looking now and then. */
			atomic_store(&w->idle, false);
			look = weir_mono_ns() + w->o.group_ns / 4;
			if (!w->retry_at_ns && look < again)
				again = look;
		}
		sleep_until(w, earlier(again, other));
	}
	drain(w);
	return NULL;
}

static void set_defaults(struct weir_writer_options *o)
{
	o->group_ns = o->group_ns ? o->group_ns : GROUP_NS;
	o->group_rows = o->group_rows ? o->group_rows : GROUP_ROWS;
	o->retry_ns = o->retry_ns ? o->retry_ns : RETRY_NS;
	o->retry_max_ns = o->retry_max_ns ? o->retry_max_ns : RETRY_MAX_NS;
}

/* Signals are the main thread's. */
static int start_thread(struct weir_writer *w)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_mutex_lock(&w->lock);
	ret = pthread_create(&w->thread, NULL, run, w);
	pthread_mutex_unlock(&w->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret)
		pthread_setname_np(w->thread, "weir-writer");
	return -ret;
}

int weir_writer_start(struct weir_ledger *l, const struct weir_row_source *src,
		      const struct weir_writer_options *o, struct weir_writer **out,
		      struct weir_error *err)
{
	struct weir_writer *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return weir_fail(err, ENOMEM, "writer: out of memory");
	w->ledger = l;
	w->src = *src;
	if (o)
		w->o = *o;
	set_defaults(&w->o);
	w->backoff_ns = w->o.retry_ns;
	w->chore_at_ns = weir_mono_ns() + w->o.chore_ns;
	w->last_call = &w->calls;
	atomic_init(&w->urgency, URGENT);
	w->stats.healthy = true;
	w->stats.newest_seq = weir_ledger_newest(l);
	w->stats.newest_ns = weir_ledger_newest_ns(l);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->called, NULL);
	w->alarm_ns = NEVER;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->alarm = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	ret = w->wake < 0 || w->alarm < 0 ? -errno : start_thread(w);
	if (ret) {
		weir_close_fd(&w->wake);
		weir_close_fd(&w->alarm);
		free(w);
		return weir_fail(err, -ret, "writer: cannot start: %s", strerror(-ret));
	}
	*out = w;
	return 0;
}

void weir_writer_stop(struct weir_writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	atomic_store(&w->stopping, true);
	raise_urgency(w, URGENT);
	pthread_mutex_unlock(&w->lock);
	wake(w);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->called);
	pthread_mutex_destroy(&w->lock);
	weir_close_fd(&w->wake);
	weir_close_fd(&w->alarm);
	free(w);
}
