/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets at the same instant: threads pinned to the processors, each with connections of its
 * own, run the programs side by side. No claim is made in a thread: what is wrong is told when
 * they are through.
 */
#ifndef TEST_RACES_H
#define TEST_RACES_H

#include <pthread.h>
#include <stdarg.h>

#include "tests/bpf/levels.h"

enum { RACERS = 4, EACH = 80, SHOTS = RACERS * EACH };

/* A request that is ready to be sent. */
struct shot {
	struct conn c;
	const char *key;
	uint8_t frame[512];
	size_t len;
	int code; /* what came of it */
};

static struct shot shots[SHOTS];

static struct {
	pthread_barrier_t start;
	void (*run)(size_t racer);
	char wrong[400]; /* what the first one that failed says */
	bool failed;
} race;

static UNUSED void race_wrong(const char *format, ...)
{
	va_list args;

	if (__atomic_exchange_n(&race.failed, true, __ATOMIC_ACQ_REL))
		return;
	va_start(args, format);
	vsnprintf(race.wrong, sizeof(race.wrong), format, args);
	va_end(args);
}

/* The verdict of a program; -99: it could not be run. */
static UNUSED int shoot(struct bpf_program *prog, const uint8_t *frame, size_t len)
{
	uint8_t out[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);

	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
		race_wrong("test run: %s", strerror(errno));
	return (int)opts.retval;
}

/* Text from either end, in order. Returns the verdict. */
static UNUSED int racer_send(struct conn *c, bool client, uint8_t flags, const char *text)
{
	uint8_t frame[FRAME_MAX];
	size_t len = strlen(text);
	size_t n = client ? conn_frame(c, true, flags, c->next, c->sent, text, len, frame)
			  : conn_frame(c, false, flags, c->sent, c->next, text, len, frame);
	int code = shoot(client ? lab.skel->progs.weir_ingress : lab.skel->progs.weir_egress, frame,
			 n);

	*(client ? &c->next : &c->sent) += len;
	return code;
}

/* The connection's ports are used again, by one that is complete. */
static UNUSED void racer_reopen(struct conn *c)
{
	racer_send(c, true, TCP_RST, ""); /* a refused one goes */
	c->next += 100000;
	c->sent += 100000;
	racer_send(c, true, TCP_SYN, "");
	c->next++;
	racer_send(c, false, TCP_SYN | TCP_ACK, "");
	c->sent++;
	racer_send(c, true, TCP_ACK, "");
}

/* The packet tests keep to one processor; racer n has the nth of all. */
static UNUSED void pin_racer(size_t racer)
{
	int n = racer % CPU_COUNT(&lab.all_cpus);
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &lab.all_cpus) && !n--)
			CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		race_wrong("a processor of one's own: %s", strerror(errno));
}

static UNUSED void *racer(void *arg)
{
	pin_racer((size_t)arg);
	pthread_barrier_wait(&race.start);
	race.run((size_t)arg);
	return NULL;
}

static UNUSED void run_racers(size_t n, void (*run)(size_t racer))
{
	pthread_t threads[RACERS];

	race.run = run;
	race.failed = false;
	pthread_barrier_init(&race.start, NULL, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, racer, (void *)i), 0);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&race.start);
	if (race.failed)
		fail_msg("%s", race.wrong);
}

/* Two racers are here, and leave at once. */
static UNUSED void meet_two(uint32_t *arrived, uint32_t round)
{
	uint32_t all = (round + 1) * 2;

	__atomic_add_fetch(arrived, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < all && !race.failed; i++)
		if (i > 3000)
			sched_yield(); /* there may be one processor only */
}

static UNUSED void fire_each(size_t racer)
{
	for (size_t i = racer; i < SHOTS; i += RACERS)
		shots[i].code = shoot(lab.skel->progs.weir_ingress, shots[i].frame, shots[i].len);
}

/* Requests by the keys in turn, each on a connection of its own, all at once. Returns how many
 * were admitted; of[k]: by key k. */
static UNUSED int all_at_once(const char *const *keys, int n_keys, int *of)
{
	int admitted = 0;

	for (int i = 0; i < SHOTS; i++) {
		struct shot *s = &shots[i];
		/* So that each processor has all keys. */
		const char *key = keys[i / RACERS % n_keys], *text = chat(key);

		s->c = open_conn(nobody, host);
		s->key = key;
		s->len = conn_frame(&s->c, true, TCP_PSH | TCP_ACK, s->c.next, s->c.sent, text,
				    strlen(text), s->frame);
	}
	run_racers(RACERS, fire_each);
	for (int k = 0; of && k < n_keys; k++)
		of[k] = 0;
	for (int i = 0; i < SHOTS; i++) {
		assert_true(shots[i].code == OUT_PASS || shots[i].code == OUT_REDIRECT);
		admitted += shots[i].code == OUT_PASS;
		if (of)
			of[i / RACERS % n_keys] += shots[i].code == OUT_PASS;
	}
	return admitted;
}

/* Every connection's socket closes, or its client goes. */
static UNUSED void all_hang_up(void)
{
	for (int i = 0; i < SHOTS; i++) {
		hang_up(&shots[i].c);
		memset(&shots[i], 0, sizeof(shots[i]));
	}
}

#endif
