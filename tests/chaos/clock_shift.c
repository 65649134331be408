// SPDX-License-Identifier: Apache-2.0
/*
 * Preloaded into the agent by the chaos run: its wall clock can be shifted while it lives, for it
 * and its libraries alone. Nobody may set this machine's clock.
 *
 * What a step of the real clock does is done here too: who waits for an instant of the wall clock
 * (pthread_cond_timedwait, libnats's timers) waits longer or is woken; a timerfd of the wall clock
 * that asked for it (TFD_TIMER_CANCEL_ON_SET) is woken. Monotonic time is left alone.
 */
#include "clock_shift.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND	 INT64_C(1000000000)
#define SLICE_NS (SECOND / 50) /* who waits looks at the shift so often */
#define TIMERS	 1024

/* glibc's: of a condition variable whose clock is monotonic. */
#define COND_MONOTONIC 2

static struct clock_shift *control;
static unsigned char wall_timer[TIMERS]; /* by fd: of the wall clock, to be told of steps */
static int64_t told;			 /* shift that timers know of */

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv(CLOCK_SHIFT_FILE);
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p = MAP_FAILED;

	if (fd >= 0)
		p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		fprintf(stderr,
			"clock_shift: " CLOCK_SHIFT_FILE " names no file that can be mapped\n");
		_exit(125);
	}
	close(fd);
	control = p;
	told = __atomic_load_n(&control->shift_ns, __ATOMIC_RELAXED);
}

static void count(uint64_t *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static int64_t shift_ns(void)
{
	return control ? __atomic_load_n(&control->shift_ns, __ATOMIC_RELAXED) : 0;
}

static int64_t to_ns(const struct timespec *t)
{
	return t->tv_sec * SECOND + t->tv_nsec;
}

static struct timespec to_spec(int64_t ns)
{
	ns = ns > 0 ? ns : 0;
	return (struct timespec){ .tv_sec = ns / SECOND, .tv_nsec = ns % SECOND };
}

static int64_t real_ns(void)
{
	struct timespec t;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
	return to_ns(&t);
}

/* Timers that are to be told of a step go off: their owners look at the clock again. */
static void tell_timers(int64_t shift)
{
	const struct itimerspec now = { .it_value = { .tv_nsec = 1 } };

	if (__atomic_exchange_n(&told, shift, __ATOMIC_RELAXED) == shift)
		return;
	for (int fd = 0; fd < TIMERS; fd++) {
		if (__atomic_load_n(&wall_timer[fd], __ATOMIC_RELAXED) &&
		    !syscall(SYS_timerfd_settime, fd, 0, &now, NULL))
			count(&control->stepped);
	}
}

/* -------------------------------------------------------------------- the clock */

int clock_gettime(clockid_t which, struct timespec *out)
{
	int64_t shift = shift_ns();
	int r;

	/* Of monotonic time the vdso is not bypassed. */
	static int (*real)(clockid_t, struct timespec *);
	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	r = real(which, out);
	if (control && shift != __atomic_load_n(&told, __ATOMIC_RELAXED))
		tell_timers(shift);
	if (r || !shift || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE))
		return r;
	count(&control->clocks);
	*out = to_spec(to_ns(out) + shift);
	return 0;
}

time_t time(time_t *out)
{
	time_t t = (real_ns() + shift_ns()) / SECOND;

	if (out)
		*out = t;
	return t;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	int64_t now = real_ns() + shift_ns();

	(void)zone;
	*out = (struct timeval){ .tv_sec = now / SECOND, .tv_usec = now % SECOND / 1000 };
	return 0;
}

int timespec_get(struct timespec *out, int base)
{
	return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, out) ? base : 0;
}

/* Whoever sets the clock takes it from who synchronises it. */
int adjtimex(struct timex *t)
{
	int r = (int)syscall(SYS_adjtimex, t);

	if (r >= 0 && shift_ns()) {
		t->status |= STA_UNSYNC;
		r = TIME_ERROR;
	}
	return r;
}

/* --------------------------------------------------------------- instants of it */

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict lock,
			   const struct timespec *restrict until)
{
	static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
	int64_t end = to_ns(until), now, left;
	struct timespec t;
	int r;

	if (!real)
		real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(
			RTLD_NEXT, "pthread_cond_timedwait");
	if (!control || cond->__data.__wrefs & COND_MONOTONIC)
		return real(cond, lock, until);
	count(&control->waits);
	do {
		now = real_ns();
		left = end - (now + shift_ns());
		t = to_spec(now + (left < SLICE_NS ? left : SLICE_NS));
		r = real(cond, lock, &t);
	} while (r == ETIMEDOUT && left > SLICE_NS);
	return r;
}

int timerfd_create(int which, int flags)
{
	int fd = (int)syscall(SYS_timerfd_create, which, flags);

	if (fd >= 0 && fd < TIMERS)
		__atomic_store_n(&wall_timer[fd], which == CLOCK_REALTIME, __ATOMIC_RELAXED);
	return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *set, struct itimerspec *old)
{
	struct itimerspec t = *set;

	if (control && fd >= 0 && fd < TIMERS && wall_timer[fd] && flags & TFD_TIMER_ABSTIME &&
	    (t.it_value.tv_sec || t.it_value.tv_nsec)) {
		int64_t at = to_ns(&t.it_value) - shift_ns();

		count(&control->timers);
		t.it_value = to_spec(at > 0 ? at : 1); /* 0 would be none */
	}
	return (int)syscall(SYS_timerfd_settime, fd, flags, &t, old);
}
