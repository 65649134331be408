// SPDX-License-Identifier: Apache-2.0
/*
 * Who has it done, and over which connection: the publisher, or the agent at its start.
 */
#include <errno.h>

#include "agent/nats_connect.h"
#include "agent/rederive.h"
#include "agent/writer.h"

#define CONNECT_NS  (5 * WEIR_SECOND)
#define CONNECT_NAP 250 /* ms */

static int by_writer(void *ctx, int (*fn)(struct weir_ledger *l, void *arg), void *arg)
{
	return weir_writer_call(ctx, fn, arg);
}

int weir_rederive(jsCtx *js, const char *node, const struct weir_agent_view *view,
		  struct weir_reader *reader, struct weir_error *err)
{
	struct weir_rederive r = {
		.js = js,
		.node = node,
		.reader = reader,
		.services = view->services,
		.n_services = view->n_services,
		.call = by_writer,
		.ctx = view->writer,
	};

	return weir_rederive_run(&r, err);
}

static int directly(void *ctx, int (*fn)(struct weir_ledger *l, void *arg), void *arg)
{
	return fn(ctx, arg);
}

static natsStatus connect_for(const struct weir_nats_config *nats, uint64_t until_ns,
			      natsConnection **nc, char why[static WEIR_NATS_WHY])
{
	natsStatus s;

	for (;;) {
		s = weir_nats_connect(nats, "weir restore", nc, why, WEIR_NATS_WHY);
		if (s == NATS_OK || weir_mono_ns() >= until_ns)
			return s;
		natsConnection_Destroy(*nc);
		*nc = NULL;
		nats_Sleep(CONNECT_NAP);
	}
}

static int at_start(struct weir_rederive *r, const struct weir_nats_config *nats,
		    struct weir_error *err)
{
	char why[WEIR_NATS_WHY];
	natsConnection *nc = NULL;
	natsStatus s = connect_for(nats, weir_mono_ns() + CONNECT_NS, &nc, why);
	int ret;

	if (s == NATS_OK)
		s = natsConnection_JetStream(&r->js, nc, NULL);
	if (s == NATS_OK)
		ret = weir_rederive_run(r, err);
	else
		ret = weir_fail(err, EIO, "%s", why[0] ? why : natsStatus_GetText(s));
	jsCtx_Destroy(r->js);
	natsConnection_Destroy(nc);
	return ret;
}

/* Without NATS nobody will ever know more. */
static int give_up(struct weir_ledger *l, struct weir_error *err)
{
	static const struct weir_restored_report nothing_known;

	return weir_restored_done(l, weir_wall_ns(), &nothing_known, err);
}

void weir_rederive_at_start(struct weir_ledger *l, const char *db_path,
			    const struct weir_nats_config *nats, const char *node,
			    const char *const *services, size_t n_services)
{
	struct weir_rederive r = { .node = node,
				   .services = services,
				   .n_services = n_services,
				   .call = directly,
				   .ctx = l,
				   .marked_only = true };
	struct weir_restored_mark mark = { 0 };
	struct weir_restored_status s = { 0 };
	struct weir_error err = { "" };
	int ret = weir_restored_adopt(l, &err);

	if (!ret)
		ret = weir_reader_open(db_path, &r.reader, &err);
	if (!ret)
		ret = weir_restored_pending(r.reader, &mark, &err);
	if (!ret && mark.seq && nats->url[0])
		ret = at_start(&r, nats, &err);
	else if (!ret && mark.seq)
		ret = give_up(l, &err);
	if (ret)
		weir_log(WEIR_WARN, "restored: %s", err.text);
	if ((ret && mark.seq) || (!ret && mark.seq && !nats->url[0])) {
		if (!weir_restored_look(r.reader, &s, &err) && s.any)
			weir_log(WEIR_WARN, "%s", s.text);
	}
	weir_reader_close(r.reader);
}
