// SPDX-License-Identifier: Apache-2.0
#include "look.h"

#include <stdlib.h>
#include <string.h>

#include "warnings.h"

struct weir_look *weir_look(const struct weir_agent_view *v)
{
	struct weir_look *l = calloc(1, sizeof(*l));
	struct weir_status *s;

	if (!l)
		return NULL;
	s = &l->status;
	v->status(v->ctx, s);
	weir_writer_stats(v->writer, &l->writer);
	l->full_in_s = weir_writer_full_in_s(&l->writer, s->room.rows, weir_wall_ns());
	if (v->publisher)
		weir_publisher_status(v->publisher, &l->nats);
	if (v->meter_in)
		weir_meter_in_status(v->meter_in, &l->usage);
	weir_lag_read(&v->lags->settled, &l->lags.settled);
	weir_lag_read(&v->lags->committed, &l->lags.committed);
	weir_lag_read(&v->lags->published, &l->lags.published);
	weir_warnings_delivery(l);
	return l;
}
