// SPDX-License-Identifier: Apache-2.0
#include "drift.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "compare.h"
#include "flows.h"
#include "sockdiag.h"

#define LOW_PRIORITY  10
#define SHARE	      10 /* one part in so many of a core */
#define LINES_MAX     10 /* of the log, a round and kind; more are summed up */
#define SLOTS_AT_ONCE 65536

struct weir_drift {
	struct weir_kernel *kernel;
	const struct weir_agent_config *cfg;
	struct weir_enforce *enforce;
	struct weir_compare *compare;
	char failing[sizeof(
		((struct weir_error *)0)->text)]; /* why the last round did, as logged */

	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t cond;
	bool stop;
	struct weir_drift_stats stats;
};

static const char *const gauge_names[WEIR_GAUGES] = {
	[WEIR_GAUGE_CONNECTIONS] = "connections",
	[WEIR_GAUGE_HALF_OPEN] = "half-open connections",
	[WEIR_GAUGE_INFLIGHT] = "requests in flight",
	[WEIR_GAUGE_TOKENS] = "reserved tokens",
	[WEIR_GAUGE_NANO] = "reserved nano-credits",
};

static void name_of(struct weir_drift *d, uint32_t entry, char out[static WEIR_ENTRY_NAME_BYTES])
{
	if (entry == WEIR_NO_TENANT)
		snprintf(out, WEIR_ENTRY_NAME_BYTES, "nobody");
	else if (weir_enforce_name(d->enforce, entry, out))
		snprintf(out, WEIR_ENTRY_NAME_BYTES, "entry %" PRIu32, entry);
}

/* -- looking */

static int on_socket(const struct weir_flow_key *key, void *arg)
{
	struct weir_drift *d = arg;

	return weir_compare_socket(d->compare, key) ? -ENOMEM : 0;
}

static void on_flow(const struct weir_flow_key *key, const struct weir_flow_view *flow, void *arg)
{
	struct weir_drift *d = arg;

	weir_compare_flow(d->compare, key, flow);
}

static void watch(void *arg)
{
	struct weir_drift *d = arg;

	weir_compare_watch(d->compare, d->kernel->tenants);
}

/* A slot as it was at one time; if it changes all the while, as it was at two. */
static struct weir_slot read_slot(const struct weir_slot *s)
{
	struct weir_slot copy;

	for (int i = 0; i < 3; i++) {
		uint32_t state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
		uint64_t began = __atomic_load_n(&s->started_wall_ns, __ATOMIC_RELAXED);

		memcpy(&copy, s, sizeof(copy));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		copy.state = state;
		if (__atomic_load_n(&s->state, __ATOMIC_RELAXED) == state &&
		    __atomic_load_n(&s->started_wall_ns, __ATOMIC_RELAXED) == began)
			break;
	}
	return copy;
}

static void look_at_slots(struct weir_drift *d, bool watching)
{
	const struct weir_kernel *k = d->kernel;

	for (uint32_t i = 0; i < k->max_flows; i++) {
		if (__atomic_load_n(&k->slots[i].state, __ATOMIC_RELAXED) == WEIR_SLOT_OPEN) {
			struct weir_slot s = read_slot(&k->slots[i]);

			weir_compare_slot(d->compare, i, &s);
		}
		if (watching && i % SLOTS_AT_ONCE == SLOTS_AT_ONCE - 1)
			watch(d);
	}
	if (watching)
		watch(d);
}

/* How many places were taken of any gauge, ever, at most: each that is taken ends in one of
 * these verdicts. Those left out are given to packets that take none, and are many. */
static uint64_t taken(const struct weir_kernel *k)
{
	uint64_t n[WEIR_REASON_MAX], sum = 0;

	weir_kernel_counters(k, n);
	for (int i = 0; i < WEIR_REASON_MAX; i++)
		switch (i) {
		case WEIR_PASS_NO_PAYLOAD:
		case WEIR_PASS_BODY:
		case WEIR_PASS_REPEAT:
		case WEIR_PASS_HEAD_PART:
		case WEIR_TAP_SHIPPED:
		case WEIR_TAP_RETRANSMIT:
		case WEIR_CLOSE_RELEASED:
		case WEIR_FLOW_GONE:
			break;
		default:
			sum += n[i];
		}
	return sum;
}

static int compare(struct weir_drift *d, struct weir_sockdiag *sockets, struct weir_error *err)
{
	struct weir_kernel *k = d->kernel;
	uint64_t before, before_t, after_t, after;
	int r;

	if (weir_compare_begin(d->compare, weir_mono_ns(), k->config->half_open_ns))
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_sockdiag_dump(sockets, on_socket, d, err);
	if (r)
		return r;
	before = taken(k);
	r = weir_flows_read(k, on_flow, NULL, d);
	look_at_slots(d, false);
	before_t = taken(k);
	if (!r && weir_compare_gauges(d->compare, k->tenants)) {
		after_t = taken(k);
		r = weir_flows_read(k, on_flow, watch, d);
		look_at_slots(d, true);
		after = taken(k);
	} else {
		after_t = after = before_t;
	}
	if (r)
		return weir_fail(err, -r, "flows: cannot read them: %s", strerror(-r));
	weir_compare_end(d->compare, after_t - before, after - before_t);
	return 0;
}

/* -- putting right */

static void log_reaped(const struct weir_reap *r)
{
	char client[INET6_ADDRSTRLEN];

	if (!memcmp(r->key.client, (uint8_t[12]){ [10] = 0xff, 0xff }, 12))
		inet_ntop(AF_INET, r->key.client + 12, client, sizeof(client));
	else
		inet_ntop(AF_INET6, r->key.client, client, sizeof(client));
	weir_log(WEIR_WARN, "drift: connection of %s port %u to port %u: has no socket, given back",
		 client, ntohs(r->key.client_port_be), ntohs(r->key.server_port_be));
}

static uint64_t drift_flows(const struct weir_kernel *k)
{
	uint64_t n[WEIR_REASON_MAX];

	weir_kernel_counters(k, n);
	return n[WEIR_DRIFT_FLOW];
}

/* Lists may have left its socket out: asked for by name, it is not there either. */
static int reap(struct weir_drift *d, struct weir_sockdiag *sockets, uint64_t *reaped,
		struct weir_error *err)
{
	const struct weir_reap *list;
	size_t n = weir_compare_reap(d->compare, &list), gone = 0;
	weir_autofree struct weir_reap *sure = NULL;
	uint64_t before;
	int r;

	if (!n)
		return 0;
	sure = calloc(n, sizeof(*sure));
	if (!sure)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		r = weir_sockdiag_has(sockets, &list[i].key);
		if (r < 0)
			return weir_fail(err, -r, "sock_diag: cannot look for a socket: %s",
					 strerror(-r));
		if (!r)
			sure[gone++] = list[i];
	}
	before = drift_flows(d->kernel);
	r = weir_kernel_reap(d->kernel, sure, gone);
	*reaped += drift_flows(d->kernel) - before;
	if (r)
		return weir_fail(err, -r, "weir_reap: %s", strerror(-r));
	for (size_t i = 0; i < gone && i < LINES_MAX; i++)
		log_reaped(&sure[i]);
	if (gone > LINES_MAX)
		weir_log(WEIR_WARN, "drift: and %zu more connections have no socket",
			 gone - LINES_MAX);
	return 0;
}

static void correct(struct weir_drift *d, struct weir_drift_stats *s)
{
	const struct weir_off *list;
	size_t n = weir_compare_off(d->compare, &list);
	uint64_t *const count[] = { &s->corrected_connections, &s->corrected_half_open,
				    &s->corrected_inflight };

	for (size_t i = 0; i < n; i++) {
		struct weir_tenant *t = &d->kernel->tenants[list[i].entry];
		int32_t *const gauge[] = { &t->connections, &t->half_open, &t->inflight };
		const char *what = gauge_names[list[i].gauge];
		char name[WEIR_ENTRY_NAME_BYTES];
		int64_t by = list[i].by;

		name_of(d, list[i].entry, name);
		if (list[i].gauge < WEIR_GAUGES_CORRECTED) {
			__atomic_fetch_sub(gauge[list[i].gauge], (int32_t)by, __ATOMIC_RELAXED);
			++*count[list[i].gauge];
		} else {
			s->reservations_off++;
		}
		if (i < LINES_MAX)
			weir_log(WEIR_WARN,
				 "drift: tenant \"%s\": %s were %" PRId64 " too %s for %d rounds, "
				 "%s",
				 name, what, by > 0 ? by : -by, by > 0 ? "high" : "low",
				 WEIR_COMPARE_CORRECT,
				 list[i].gauge < WEIR_GAUGES_CORRECTED ? "corrected"
								       : "not corrected");
	}
	if (n > LINES_MAX)
		weir_log(WEIR_WARN, "drift: and %zu more gauges", n - LINES_MAX);
}

/* -- the thread */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * WEIR_SECOND + (uint64_t)t.tv_nsec;
}

/* Said once as long as it stays the same: it would come with each round. */
static void say_failing(struct weir_drift *d, const char *text)
{
	if (!strcmp(text, d->failing))
		return;
	snprintf(d->failing, sizeof(d->failing), "%s", text);
	if (text[0])
		weir_log(WEIR_WARN, "drift is not looked for: %s", text);
	else
		weir_log(WEIR_NOTE, "drift is looked for again");
}

static void sweep(struct weir_drift *d)
{
	struct weir_sockdiag *sockets = NULL;
	struct weir_compare_seen seen = {};
	struct weir_drift_stats s;
	struct weir_error err = {};
	uint64_t began = weir_mono_ns(), cpu = cpu_ns();
	int r;

	weir_drift_stats(d, &s);
	r = weir_sockdiag_open(d->cfg, d->kernel->config, &sockets, &err);
	if (!r)
		r = compare(d, sockets, &err);
	if (!r) {
		weir_compare_seen(d->compare, &seen);
		correct(d, &s);
		r = reap(d, sockets, &s.reaped, &err);
	}
	weir_sockdiag_close(sockets);
	if (r) {
		weir_compare_abandon(d->compare);
		s.failed++;
	} else {
		s.sweeps++;
		s.flows = seen.flows;
		s.sockets = seen.sockets;
		s.untracked_sockets = seen.untracked;
		s.unsure = seen.unsure;
	}
	say_failing(d, r ? err.text : "");
	s.last_cpu_ms = (uint32_t)((cpu_ns() - cpu) / 1000000);
	s.last_ms = (uint32_t)((weir_mono_ns() - began) / 1000000);
	pthread_mutex_lock(&d->lock);
	d->stats = s;
	pthread_mutex_unlock(&d->lock);
}

/* False: it is to stop. */
static bool wait_until(struct weir_drift *d, uint64_t mono_ns)
{
	struct timespec until = { .tv_sec = (time_t)(mono_ns / WEIR_SECOND),
				  .tv_nsec = (long)(mono_ns % WEIR_SECOND) };
	bool stop;

	pthread_mutex_lock(&d->lock);
	while (!d->stop && weir_mono_ns() < mono_ns)
		pthread_cond_timedwait(&d->cond, &d->lock, &until);
	stop = d->stop;
	pthread_mutex_unlock(&d->lock);
	return !stop;
}

static void *run(void *arg)
{
	struct weir_drift *d = arg;
	uint64_t next = weir_mono_ns() + d->cfg->sweep_interval_ns;

	setpriority(PRIO_PROCESS, gettid(), LOW_PRIORITY);
	while (wait_until(d, next)) {
		uint64_t began = weir_mono_ns(), cpu = cpu_ns(), pause = d->cfg->sweep_interval_ns;

		sweep(d);
		cpu = (cpu_ns() - cpu) * SHARE;
		next = began + (cpu > pause ? cpu : pause);
	}
	return NULL;
}

static void free_all(struct weir_drift *d)
{
	weir_compare_free(d->compare);
	pthread_cond_destroy(&d->cond);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int weir_drift_start(struct weir_kernel *k, const struct weir_agent_config *cfg,
		     struct weir_enforce *e, struct weir_drift **out, struct weir_error *err)
{
	struct weir_drift *d = calloc(1, sizeof(*d));
	pthread_condattr_t ca;
	int r;

	if (!d)
		return weir_fail(err, ENOMEM, "out of memory");
	d->kernel = k;
	d->cfg = cfg;
	d->enforce = e;
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&d->cond, &ca);
	pthread_condattr_destroy(&ca);
	d->compare = weir_compare_new(k->max_tenants);
	r = d->compare ? pthread_create(&d->thread, NULL, run, d) : ENOMEM;
	if (r) {
		free_all(d);
		return weir_fail(err, r, "cannot start the thread that looks for drift: %s",
				 strerror(r));
	}
	pthread_setname_np(d->thread, "weir-drift");
	*out = d;
	return 0;
}

void weir_drift_stop(struct weir_drift *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->stop = true;
	pthread_cond_signal(&d->cond);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	free_all(d);
}

void weir_drift_stats(struct weir_drift *d, struct weir_drift_stats *out)
{
	if (!d) {
		*out = (struct weir_drift_stats){};
		return;
	}
	pthread_mutex_lock(&d->lock);
	*out = d->stats;
	pthread_mutex_unlock(&d->lock);
}
