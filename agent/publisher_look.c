// SPDX-License-Identifier: Apache-2.0
/*
 * A look at the streams now and then: what happens to one while nothing is published, and a
 * second ledger under this node's name, no acknowledgement tells.
 */
#include "publisher_window.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ledger_read.h"

#define LOOK_NS	       (10 * WEIR_SECOND)
#define FOREIGN_FOR_NS (600 * WEIR_SECOND) /* told so long after it was last seen */

static void begin_anew(struct weir_publisher *p, enum weir_stream which, const char *why)
{
	weir_log(WEIR_WARN, "nats: stream %s %s; looking at what it has", weir_stream_name(which),
		 why);
	p->resumed = false;
}

static void look_at_stream(struct weir_publisher *p, enum weir_stream which)
{
	struct weir_pub_lane *l = &p->lanes[which];
	struct weir_error err = { "" };
	struct weir_lane_stream s;
	uint64_t highest;
	int r = weir_lane_stream(p->js, weir_stream_name(which), &s, &err);

	pthread_mutex_lock(&p->lock);
	highest = l->highest;
	pthread_mutex_unlock(&p->lock);
	if (r == -ENOENT) {
		p->ready[which] = false;
		p->check_at_ns = 0;
		begin_anew(p, which, "is gone");
	} else if (!r && s.made_ns != l->made_ns) {
		begin_anew(p, which, "was deleted and made again");
	} else if (!r && s.replicas < 2 && s.last_seq < highest) {
		/* Replicas disagree for a while; of them what is there is read back. */
		begin_anew(p, which, "has fewer messages than it had");
	}
}

/* From bytes of anybody: what is between the quotes behind "source":, as far as it is one. */
static void find_source(const char *json, size_t n, char *out, size_t max)
{
	static const char key[] = "\"source\":\"";
	const char *at = memmem(json, n, key, sizeof(key) - 1), *end = json + n;
	size_t i = 0;

	for (at = at ? at + sizeof(key) - 1 : end; at < end && i + 1 < max; at++) {
		if (!isalnum((unsigned char)*at) && !strchr("/-_.~", *at))
			break;
		out[i++] = *at;
	}
	out[i] = 0;
}

static void tell_of(struct weir_publisher *p, enum weir_stream which, const char *source)
{
	struct weir_pub_lane *l = &p->lanes[which];
	bool told = l->foreign[0];

	l->foreign_ns = weir_mono_ns();
	snprintf(l->foreign, sizeof(l->foreign),
		 "nats: another ledger publishes on %s under this node's name: %.110s; give each "
		 "node its own (\"node\" in agent.json)",
		 weir_stream_name(which), source[0] ? source : "no source");
	if (!told)
		weir_log(WEIR_WARN, "%s", l->foreign);
}

/* Rule 17: the lane's last message, if it came since this publisher did. */
static void look_for_others(struct weir_publisher *p, enum weir_stream which, const char *topic)
{
	struct weir_pub_lane *l = &p->lanes[which];
	char subject[2 * WEIR_NAME_BYTES], ours[160], source[160];
	natsMsg *msg = NULL;
	jsOptions o;

	jsOptions_Init(&o);
	o.Wait = 2000;
	snprintf(subject, sizeof(subject), "%s.v1.*.%s", topic, p->node);
	snprintf(ours, sizeof(ours), "/weir/%s/%s", weir_reader_ledger_id(p->reader), p->node);
	if (js_GetLastMsg(&msg, p->js, weir_stream_name(which), subject, &o, NULL) == NATS_OK &&
	    natsMsg_GetSequence(msg) > l->foreign_seen) {
		find_source(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), source,
			    sizeof(source));
		l->foreign_seen = natsMsg_GetSequence(msg);
		if (strcmp(source, ours))
			tell_of(p, which, source);
	}
	natsMsg_Destroy(msg);
	if (l->foreign[0] && weir_mono_ns() - l->foreign_ns > FOREIGN_FOR_NS)
		l->foreign[0] = 0;
}

void weir_pub_look(struct weir_publisher *p, uint64_t now_ns)
{
	if (!p->resumed || now_ns < p->look_at_ns)
		return;
	p->look_at_ns = now_ns + LOOK_NS;
	for (int i = 0; i < WEIR_STREAM_PUBLISHED && p->resumed; i++) {
		if (weir_pub_cursor_name(i) && p->lanes[i].known)
			look_at_stream(p, i);
	}
	if (p->resumed)
		look_for_others(p, WEIR_STREAM_METER, "meter");
}
