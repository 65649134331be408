// SPDX-License-Identifier: Apache-2.0
/*
 * What is remembered is how far CLOCK_REALTIME was ahead of CLOCK_BOOTTIME, which nobody can set
 * and which goes on while the machine sleeps, at the last tick. A reading that differs from it by
 * more than a step looks twice: whoever reads the clock first after a step must not see it, be it
 * before the tick.
 */
#include "clock.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>

#include "util.h"

#define STEADY_NS 1000000

enum { UNTOUCHED, FOLLOWING, HOLDING };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int mode;	 /* written under the lock, as is what follows */
static _Atomic int64_t ahead_ns; /* of CLOCK_BOOTTIME: the believed clock */
static _Atomic int64_t step_ns;	 /* CLOCK_REALTIME of the believed clock, while holding */
static uint64_t since_ns;	 /* believed */
static bool synchronised;
static int error;

/* ------------------------------------------------------------------------- sources */

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t))
		abort(); /* every Linux has them */
	return (uint64_t)t.tv_sec * WEIR_SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t kernel_real(void)
{
	return read_clock(CLOCK_REALTIME);
}

static uint64_t kernel_boot(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

static int kernel_synchronised(void)
{
	struct timex t = { 0 };

	return adjtimex(&t) < 0 ? -errno : !(t.status & STA_UNSYNC);
}

static const struct weir_clock_source kernel = { kernel_real, kernel_boot, kernel_synchronised };
static const struct weir_clock_source *source = &kernel;

static int64_t now_ahead(uint64_t *real_ns)
{
	*real_ns = source->real_ns();
	return (int64_t)(*real_ns - source->boot_ns());
}

static bool is_step(int64_t ns)
{
	return ns > (int64_t)WEIR_CLOCK_STEP_NS || ns < -(int64_t)WEIR_CLOCK_STEP_NS;
}

/* --------------------------------------------------------------- with the lock held */

static void ask_kernel(void)
{
	int r = source->synchronised();

	synchronised = r > 0;
	error = r < 0 ? -r : 0;
}

static void follow(int64_t ahead)
{
	char text[WEIR_TIME_TEXT];
	uint64_t real_ns;

	if (mode == HOLDING) {
		now_ahead(&real_ns);
		weir_time_format(real_ns, text);
		weir_log(WEIR_NOTE, "clock: %s; it is followed again: %s",
			 is_step(ahead - ahead_ns) ? "it is synchronised" : "it was set back",
			 text);
	}
	ahead_ns = ahead;
	step_ns = 0;
	mode = FOLLOWING;
}

static void hold(int64_t step)
{
	uint64_t minutes = ((uint64_t)(step < 0 ? -step : step) / WEIR_SECOND + 30) / 60;

	if (mode != HOLDING) {
		since_ns = (uint64_t)ahead_ns + source->boot_ns();
		weir_log(WEIR_ERR,
			 "clock: it was set %" PRIu64 ":%02" PRIu64
			 " h %s and is not synchronised: "
			 "the agent goes on by the old time, until it is synchronised or set back; "
			 "if the new time is right, start the agent again",
			 minutes / 60, minutes % 60, step < 0 ? "back" : "forward");
	}
	/* Two readings never agree to the nanosecond: an alarm need not be set anew for that. */
	if (mode != HOLDING || llabs(step - step_ns) > STEADY_NS)
		step_ns = step;
	mode = HOLDING;
}

/* asked: the kernel said just now whether it is synchronised. */
static void look(bool asked)
{
	uint64_t real_ns;
	int64_t ahead = now_ahead(&real_ns), step = ahead - ahead_ns;

	if (mode == UNTOUCHED || !is_step(step)) {
		/* Between ticks it stays what a step is measured by, or two of one hour and a half
		 * within a second would be none. */
		if (asked || mode == HOLDING)
			follow(ahead);
		return;
	}
	if (!asked && mode != HOLDING)
		ask_kernel();
	if (synchronised)
		follow(ahead);
	else
		hold(step);
}

/* --------------------------------------------------------------------------- anybody */

bool weir_clock_tick(void)
{
	int64_t was_step;
	bool jumped;

	pthread_mutex_lock(&lock);
	was_step = step_ns;
	ask_kernel();
	look(true);
	jumped = step_ns != was_step;
	pthread_mutex_unlock(&lock);
	return jumped;
}

void weir_clock_status(struct weir_clock_status *out)
{
	pthread_mutex_lock(&lock);
	if (mode == UNTOUCHED)
		ask_kernel();
	*out = (struct weir_clock_status){ .synchronised = synchronised,
					   .held = mode == HOLDING,
					   .step_ns = step_ns,
					   .since_ns = mode == HOLDING ? since_ns : 0,
					   .error = error };
	pthread_mutex_unlock(&lock);
}

uint64_t weir_wall_ns(void)
{
	int as = mode;
	uint64_t real_ns;
	int64_t ahead;

	if (as == UNTOUCHED)
		return source->real_ns();
	ahead = now_ahead(&real_ns);
	if (as == FOLLOWING && !is_step(ahead - ahead_ns))
		return real_ns;
	pthread_mutex_lock(&lock);
	look(false);
	ahead = now_ahead(&real_ns);
	if (mode == HOLDING)
		real_ns -= (uint64_t)(ahead - ahead_ns);
	pthread_mutex_unlock(&lock);
	return real_ns;
}

uint64_t weir_clock_real_ns(uint64_t wall_ns)
{
	int64_t step;

	weir_wall_ns(); /* a step of just now */
	step = step_ns;
	return step < 0 && wall_ns < (uint64_t)-step ? 0 : wall_ns + (uint64_t)step;
}

void weir_clock_use(const struct weir_clock_source *s)
{
	pthread_mutex_lock(&lock);
	source = s ? s : &kernel;
	mode = UNTOUCHED;
	step_ns = 0;
	pthread_mutex_unlock(&lock);
}
