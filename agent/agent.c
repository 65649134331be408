// SPDX-License-Identifier: Apache-2.0
/*
 * Start, tick, stop. The order of starting is what makes it safe:
 *
 *   lock → maps → ledger → state → switches → policy → what a restored ledger lacks → what a dead
 *   agent left (queued rows, then the ring, then what fell due) → ceilings from the ledger →
 *   consumer → outer layers → links
 *
 * so that no packet meets a program before its limits are there, and no request
 * is judged against a balance that misses one.
 */
#include "agent_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "clock.h"
#include "ledger.h"
#include "policy.h"
#include "rederive.h"
#include "takeover.h"

#define PUBLISH_DRAIN_MS 2000
#define SETTLE_WAIT	 (30 * WEIR_SECOND)
#define REFRESH_EVERY	 (60 * WEIR_SECOND) /* a rate card may have come into effect */

/* -- starting */

static void on_commit(void *ctx, struct weir_ledger *l, uint64_t newest_seq)
{
	struct weir_agent *a = ctx;
	struct weir_publisher *p = __atomic_load_n(&a->publisher, __ATOMIC_ACQUIRE);

	if (p)
		weir_publisher_wake(p);
}

static int call_ceilings(struct weir_ledger *l, void *arg)
{
	struct weir_agent *a = arg;

	weir_enforce_ceilings(a->enforce, l);
	weir_writer_keep_time(a->writer);
	return 0;
}

/* What fell due while no agent ran comes behind the rows of that time, and before the
 * ceilings. */
static int call_catch_up(struct weir_ledger *l, void *arg)
{
	return weir_ledger_advance(l, weir_wall_ns(), arg);
}

void weir_agent_note_names(struct weir_agent *a, struct weir_ledger *l,
			   const struct weir_policy *policy)
{
	struct weir_error err = { "" };

	if (weir_naming_put(a->naming, l, a->services, a->cfg.n_services + 1, policy, &err))
		weir_log(WEIR_WARN, "%s; events go by the names of before", err.text);
}

/* What an earlier run left was entered under the names of then. */
static int call_names(struct weir_ledger *l, void *arg)
{
	struct weir_agent *a = arg;
	struct weir_policy *p = weir_enforce_policy(a->enforce);

	weir_agent_note_names(a, l, p);
	weir_policy_unref(p);
	return 0;
}

static int call_lost(struct weir_ledger *l, void *arg)
{
	struct weir_agent *a = arg;

	weir_enforce_lost(a->enforce);
	return 0;
}

static void on_change(void *ctx, const struct weir_wallet_change *c)
{
	struct weir_agent *a = ctx;

	weir_enforce_moved(a->enforce, a->ledger, c);
}

/* What was switched outlives the agent. Suspensions come before the limits: else they would
 * not hold for the moment that a policy is put in force on links of an earlier run. */
static int put_switches(struct weir_agent *a, struct weir_error *err)
{
	weir_autofree struct weir_switch *v = NULL;
	struct weir_switch enforce;
	size_t n = 0;
	int r = weir_ledger_switch_state(a->ledger, WEIR_SWITCH_ENFORCE, 0, &enforce, err);

	if (!r)
		r = weir_ledger_switches(a->ledger, WEIR_SWITCH_SUSPENDED, &v, &n, err);
	if (r)
		return r;
	for (size_t i = 0; !r && i < n; i++) {
		/* Off too: the last run may have died between the two. One past the maps
		 * cannot be in the policy. */
		if (v[i].tenant < a->kernel->max_tenants)
			r = weir_enforce_suspend(a->enforce, v[i].tenant, v[i].on);
	}
	if (r)
		return weir_fail(err, -r, "suspensions cannot be put in force: %s", strerror(-r));
	weir_agent_enforce(a, &enforce);
	if (!enforce.on)
		weir_log(WEIR_WARN, "enforcement is off, by %s: %s", enforce.actor,
			 enforce.reason[0] ? enforce.reason : "no reason given");
	return 0;
}

/* Until every queued row is in the ledger; for SETTLE_WAIT, and so long while it cannot be written.
 */
static int wait_rows(struct weir_agent *a, uint64_t patience_ns, struct weir_error *err)
{
	uint64_t deadline = weir_mono_ns() + SETTLE_WAIT;

	while (weir_state_rows(a->state)) {
		uint64_t ill = weir_writer_ill_ns(a->writer), now;
		struct weir_writer_stats w;

		weir_writer_kick(a->writer);
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
		now = weir_mono_ns();
		if (now < deadline && !(ill && now - ill >= patience_ns))
			continue;
		weir_writer_stats(a->writer, &w);
		return weir_fail(err, EIO,
				 "%s: %zu finished requests cannot be committed now and stay in "
				 "memory: %s",
				 a->db_path, weir_state_rows(a->state), w.error);
	}
	return 0;
}

static int open_files(struct weir_agent *a, struct weir_error *err)
{
	struct weir_policy *policy = NULL;
	int r;

	if (mkdir(a->cfg.state_dir, 0700) && errno != EEXIST)
		return weir_fail(err, errno, "%s: cannot make it: %s", a->cfg.state_dir,
				 strerror(errno));
	snprintf(a->db_path, sizeof(a->db_path), "%s/weir.db", a->cfg.state_dir);
	r = weir_policy_load(a->cfg.policies, &policy, err);
	if (r)
		return r;
	r = weir_ledger_open(a->db_path, &a->ledger, err);
	if (!r)
		r = weir_naming_new(a->ledger, &a->naming, err);
	if (!r)
		r = weir_kernel_open(&a->cfg, &a->kernel, err);
	if (!r)
		r = weir_takeover(a->kernel, &a->cfg, err);
	if (!r)
		r = weir_run_path(a->cfg.instance, ".state", a->state_path, sizeof(a->state_path),
				  err);
	if (!r)
		r = weir_state_open(a->state_path, a->kernel->config->maps_id, a->kernel->max_flows,
				    &a->state, err);
	if (!r)
		r = weir_state_add_spill(a->state, a->state_path, a->cfg.spill_bytes, err);
	if (!r)
		r = weir_agent_run_begin(a, err);
	if (!r)
		r = weir_denials_new(a->kernel->max_tenants, a->cfg.nats.url[0], &a->denials, err);
	if (!r)
		r = weir_enforce_new(a->kernel, &a->cfg, &a->enforce, err);
	if (!r)
		r = put_switches(a, err);
	if (!r)
		weir_ledger_on_change(a->ledger, on_change, a);
	if (!r)
		r = weir_enforce_apply(a->enforce, policy, a->ledger, err);
	weir_policy_unref(policy);
	return r;
}

static int start_threads(struct weir_agent *a, struct weir_error *err)
{
	struct weir_row_source rows = weir_state_row_source(a->state);
	struct weir_writer_options o = { .on_commit = on_commit,
					 .lag = &a->lags.committed,
					 .chore = weir_agent_run_alive,
					 .chore_ns = WEIR_RUN_ALIVE_NS,
					 .ctx = a };
	int r;

	weir_agent_store_settings(a);
	weir_rederive_at_start(a->ledger, a->db_path, &a->cfg.nats, a->cfg.node, a->services,
			       a->cfg.n_services + 1);
	r = weir_consumer_new(&(struct weir_consumer_parts){ .kernel = a->kernel,
							     .enforce = a->enforce,
							     .state = a->state,
							     .denials = a->denials,
							     .labels = &a->cfg.labels,
							     .services = a->services,
							     .n_services = a->cfg.n_services + 1,
							     .decoder_bytes = a->cfg.decoder_bytes,
							     .lag = &a->lags.settled },
			      &a->consumer, err);
	if (!r)
		r = weir_writer_start(a->ledger, &rows, &o, &a->writer, err);
	if (!r)
		r = wait_rows(a, SETTLE_WAIT, err);
	if (!r && weir_consumer_recover(a->consumer, a->writer))
		r = weir_fail(err, ETIMEDOUT,
			      "ring: what the last run left in it cannot be taken out: the ledger "
			      "takes no rows, or a record was never finished");
	if (!r)
		r = wait_rows(a, SETTLE_WAIT, err);
	if (!r)
		r = weir_writer_call(a->writer, call_catch_up, err);
	if (!r)
		r = weir_writer_call(a->writer, call_names, a);
	if (!r)
		r = weir_writer_call(a->writer, call_ceilings, a);
	if (!r)
		r = weir_consumer_start(a->consumer, a->writer, err);
	if (r)
		return r;
	weir_agent_make_view(a);
	/* Before those who show what they know; the writer's thread already looks at the publisher.
	 */
	r = weir_money_watch_start(&a->view, 0, &a->money, err);
	a->view.money = a->money;
	if (r)
		return r;
	if (a->cfg.nats.url[0]) {
		struct weir_publisher *p = NULL;

		a->view.nats = &a->cfg.nats;
		r = weir_publisher_start(&a->cfg.nats, a->cfg.node, &a->view, &p, err);
		a->view.publisher = p;
		__atomic_store_n(&a->publisher, p, __ATOMIC_RELEASE);
	}
	if (!r && a->cfg.nats.usage_subject[0])
		r = weir_meter_in_start(&a->cfg.nats, a->cfg.node, &a->view, &a->meter_in, err);
	a->view.meter_in = a->meter_in;
	if (!r)
		r = weir_control_start(a->cfg.control, &a->view, &a->control, err);
	if (!r && a->cfg.http_host[0])
		r = weir_httpd_start(a->cfg.http_host, a->cfg.http_port, &a->view, &a->httpd, err);
	return r;
}

/* What an earlier run, or the time without one, has cost. */
static void tell_lost(struct weir_agent *a)
{
	uint64_t n[WEIR_REASON_MAX];

	weir_kernel_counters(a->kernel, n);
	if (n[WEIR_END_LOST] || n[WEIR_TAP_LOST])
		weir_log(
			WEIR_WARN,
			"ring: since its maps were made %llu requests ended without room for their "
			"record and are not billed, %llu records of requests and answers were lost",
			(unsigned long long)n[WEIR_END_LOST], (unsigned long long)n[WEIR_TAP_LOST]);
}

/* Status may be asked for while this goes on. */
static int start_links(struct weir_agent *a, struct weir_error *err)
{
	struct weir_links *links;
	int r = weir_links_start(a->kernel, &a->cfg, &links, err);

	if (!r)
		__atomic_store_n(&a->links, links, __ATOMIC_RELEASE);
	return r;
}

static int start_drift(struct weir_agent *a, struct weir_error *err)
{
	struct weir_drift *drift;
	int r = weir_drift_start(a->kernel, &a->cfg, a->enforce, &drift, err);

	if (!r)
		__atomic_store_n(&a->drift, drift, __ATOMIC_RELEASE);
	return r;
}

int weir_agent_start(const struct weir_agent_config *cfg, struct weir_agent **out,
		     struct weir_error *err)
{
	struct weir_agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return weir_fail(err, ENOMEM, "out of memory");
	a->cfg = *cfg;
	a->lock_fd = -1;
	pthread_mutex_init(&a->switch_lock, NULL);
	pthread_mutex_init(&a->restored_lock, NULL);
	weir_room_init(&a->room);
	weir_clock_tick();
	a->started_wall_ns = weir_wall_ns();
	a->started_ns = weir_mono_ns();
	if (geteuid() != 0) {
		free(a);
		return weir_fail(err, EPERM,
				 "weir-agent loads kernel programs and reads maps: run it as root");
	}
	a->lock_fd = weir_instance_lock(cfg->instance, err);
	if (a->lock_fd < 0) {
		r = a->lock_fd;
		free(a);
		return r;
	}
	r = open_files(a, err);
	if (!r)
		r = start_threads(a, err);
	if (!r)
		r = start_links(a, err);
	if (!r)
		r = start_drift(a, err);
	if (r) {
		/* What an earlier agent left goes on holding; what is ours alone goes. */
		weir_agent_stop(a, !a->kernel || !a->kernel->fresh);
		return r;
	}
	tell_lost(a);
	weir_agent_restored_look(a, weir_mono_ns());
	a->started = true;
	*out = a;
	return 0;
}

/* -- running */

void weir_agent_reload(struct weir_agent *a)
{
	struct weir_error err;

	if (a->view.reload(a, a->cfg.policies, &err))
		weir_log(WEIR_ERR, "policy not changed: %s", err.text);
	else
		weir_log(WEIR_NOTE, "policy of %s is in force", a->cfg.policies);
}

static int call_refresh(struct weir_ledger *l, void *arg)
{
	struct weir_agent *a = arg;
	struct weir_policy *p = weir_enforce_policy(a->enforce);
	struct weir_error err;

	if (weir_enforce_apply(a->enforce, p, l, &err))
		weir_log(WEIR_WARN, "refreshing limits: %s", err.text);
	weir_agent_note_names(a, l, p);
	weir_policy_unref(p);
	return 0;
}

static void look_for_room(struct weir_agent *a, uint64_t now_ns)
{
	uint64_t n[WEIR_REASON_MAX];

	weir_kernel_counters(a->kernel, n);
	weir_room_look(&a->room, n, n[WEIR_FLOW_NEW] - n[WEIR_FLOW_GONE], a->kernel->max_flows,
		       now_ns);
}

void weir_agent_tick(struct weir_agent *a)
{
	uint64_t now = weir_mono_ns();

	if (now - a->ticked_ns < WEIR_SECOND)
		return;
	a->ticked_ns = now;
	if (weir_clock_tick())
		weir_writer_keep_time(a->writer);
	weir_agent_store_clock(a);
	weir_kernel_sweep(a->kernel);
	look_for_room(a, now);
	weir_agent_run_open(a);
	weir_agent_restored_look(a, now);
	weir_writer_call(a->writer, call_lost, a);
	if (!a->refreshed_ns)
		a->refreshed_ns = now;
	if (now - a->refreshed_ns >= REFRESH_EVERY) {
		a->refreshed_ns = now;
		weir_writer_call(a->writer, call_refresh, a);
	}
}

/* -- stopping */

void weir_agent_stop(struct weir_agent *a, bool keep)
{
	bool on_record;

	weir_control_stop(a->control);
	weir_httpd_stop(a->httpd);
	weir_meter_in_stop(a->meter_in);
	weir_drift_stop(a->drift);
	weir_links_stop(a->links); /* or it would put on again what is taken off now */
	/* Off the hooks before the consumer ends: what was tapped is folded in. */
	if (!keep && a->kernel)
		weir_detach(&a->cfg, NULL);
	weir_agent_run_open(a);
	if (!weir_consumer_stop(a->consumer) && !keep) {
		weir_log(WEIR_ERR, "the ledger takes no rows: maps and ring stay, with requests "
				   "that the next start will meter");
		keep = true;
	}
	if (a->publisher) {
		struct weir_error err;

		/* The last rows, so that their events may go out now. */
		if (wait_rows(a, 0, &err))
			weir_log(WEIR_WARN, "%s", err.text);
		weir_publisher_stop(a->publisher, PUBLISH_DRAIN_MS);
	}
	weir_writer_stop(a->writer);
	/* Storing its cursor was a commit, which woke it: only now nobody can. */
	weir_publisher_free(a->publisher);
	weir_money_watch_stop(a->money);
	on_record = weir_agent_run_end(a, keep);
	weir_naming_free(a->naming);
	weir_ledger_close(a->ledger);
	if (!keep && a->kernel) {
		weir_kernel_unpin(a->cfg.instance, NULL);
		/* Empty but for parsers of answers that nobody taps any more. */
		if (a->state && !weir_state_rows(a->state) && on_record)
			weir_state_remove(a->state_path);
		else if (a->state)
			weir_state_end(a->state);
	}
	weir_state_close(a->state);
	weir_enforce_free(a->enforce);
	weir_denials_free(a->denials);
	weir_kernel_close(a->kernel);
	if (a->lock_fd >= 0)
		close(a->lock_fd);
	weir_room_destroy(&a->room);
	pthread_mutex_destroy(&a->switch_lock);
	pthread_mutex_destroy(&a->restored_lock);
	free(a);
}

int weir_agent_detach(const struct weir_agent_config *cfg, struct weir_error *err)
{
	char path[256];
	int fd, r;

	if (geteuid() != 0)
		return weir_fail(err, EPERM,
				 "weir-agent --detach changes the kernel: run it as root");
	fd = weir_instance_lock(cfg->instance, err);
	if (fd < 0)
		return fd;
	r = weir_detach(cfg, err);
	if (!r)
		r = weir_kernel_unpin(cfg->instance, err);
	/* The state file stays while it holds rows that are not in the ledger. */
	if (!r && !weir_run_path(cfg->instance, ".state", path, sizeof(path), err) &&
	    !weir_state_file_empty(path))
		weir_log(WEIR_NOTE,
			 "%s holds finished requests that are not in the ledger yet; the "
			 "next start commits them",
			 path);
	else
		weir_state_remove(path);
	if (!weir_run_path(cfg->instance, ".lock", path, sizeof(path), err))
		unlink(path);
	close(fd);
	return r;
}
