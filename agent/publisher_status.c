// SPDX-License-Identifier: Apache-2.0
/* What the publisher says of itself (delivery.md, 18). */
#include "publisher_window.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ledger_read.h"
#include "writer.h"

#define LAG_EVERY_NS (WEIR_SECOND / 2)

static int keep_time(const struct weir_entry *e, void *ctx)
{
	*(uint64_t *)ctx = e->time_ns;
	return 1;
}

/* When the oldest entry that is not acknowledged was made. */
static void find_oldest(struct weir_publisher *p)
{
	uint64_t now_ns = weir_mono_ns(), seq = p->status.seq, oldest_ns = 0;
	struct weir_entry_query q = { .from_seq = seq + 1, .limit = 1 };
	struct weir_error err;

	if (now_ns < p->lag_at_ns)
		return;
	p->lag_at_ns = now_ns + LAG_EVERY_NS;
	if (p->newest_seq > seq)
		weir_reader_entries(p->reader, &q, keep_time, &oldest_ns, &err);
	pthread_mutex_lock(&p->lock);
	p->oldest_ns = oldest_ns;
	pthread_mutex_unlock(&p->lock);
}

/* Totals at the end of each of the last seconds. With the lock held. */
static void count_rate(struct weir_publisher *p)
{
	const struct weir_publisher_status *s = &p->status;
	uint64_t total = s->acked + s->denied + s->alerts + s->entries;
	uint64_t second = weir_mono_ns() / WEIR_SECOND;
	const unsigned n = WEIR_PUB_RATE_S + 1;
	uint64_t behind;

	if (!p->rate_second)
		p->rate_second = p->rate_from = second;
	for (; p->rate_second < second; p->rate_second++) {
		/* Only the last of them matter after a long wait. */
		if (second - p->rate_second > n)
			p->rate_second = second - n;
		p->acked_by_second[p->rate_second % n] = total;
	}
	behind = second - p->rate_from < WEIR_PUB_RATE_S ? second - p->rate_from : WEIR_PUB_RATE_S;
	if (behind)
		p->status.rate = (total - p->acked_by_second[(second - behind) % n]) / behind;
}

/* With the lock held. */
static void stream_problems(struct weir_publisher *p)
{
	for (int i = 0; i < WEIR_STREAM_PUBLISHED; i++) {
		const struct weir_pub_lane *l = &p->lanes[i];
		const char *what = p->problem[i];

		if (!*what && p->status.seq < l->lost_until)
			what = l->loss;
		if (!*what)
			what = l->foreign;
		snprintf(p->status.problem[i], sizeof(p->status.problem[i]), "%s", what);
	}
}

/* With the lock held. */
static void warn(struct weir_publisher *p, bool connected)
{
	char *out = p->status.warning;
	size_t n = sizeof(p->status.warning);

	if (!connected)
		snprintf(out, n,
			 "NATS: %s; %" PRIu64 " events wait in the ledger, trying again for ever",
			 p->unreachable[0] ? p->unreachable : p->where, p->status.backlog);
	else if (p->failure[0] && (p->n_failed || p->retry_at_ns) &&
		 !p->problem[WEIR_STREAM_METER][0])
		snprintf(out, n, "nats: events were not taken (%.200s); sending them again",
			 p->failure);
	else if (weir_pub_stream_problem(p)[0])
		snprintf(out, n, "%s", weir_pub_stream_problem(p));
	else
		snprintf(out, n, "%s", p->ledger_problem);
}

void weir_pub_update_status(struct weir_publisher *p, bool connected)
{
	struct weir_error err = { "" };
	uint64_t newest = 0;
	int r = weir_reader_newest(p->reader, &newest, &err);

	pthread_mutex_lock(&p->lock);
	p->status.connected = connected;
	p->status.stream_ok = connected && p->ready[WEIR_STREAM_METER];
	if (!r) {
		p->newest_seq = newest;
		p->status.backlog = newest > p->status.seq ? newest - p->status.seq : 0;
	}
	count_rate(p);
	stream_problems(p);
	warn(p, connected);
	pthread_mutex_unlock(&p->lock);
	find_oldest(p);
}

void weir_publisher_status(struct weir_publisher *p, struct weir_publisher_status *out)
{
	struct weir_writer_stats w;
	uint64_t newest, oldest_ns, now_ns = weir_wall_ns();

	weir_writer_stats(p->view->writer, &w);
	pthread_mutex_lock(&p->lock);
	*out = p->status;
	newest = p->newest_seq;
	oldest_ns = p->oldest_ns;
	pthread_mutex_unlock(&p->lock);
	/* Not the thread's last look: what is committed counts at once. */
	if (w.newest_seq > newest)
		newest = w.newest_seq;
	out->backlog = newest > out->seq ? newest - out->seq : 0;
	out->lag_ns = out->backlog && oldest_ns && now_ns > oldest_ns ? now_ns - oldest_ns : 0;
}
