// SPDX-License-Identifier: Apache-2.0
/* What came of a database that was put back, for status: looked up now and then, for the publisher
 * may work it off at any time, and kept, for status must not wait for the database. */
#include "agent_priv.h"

#include "ledger_read.h"

#define LOOK_EVERY_NS (10 * WEIR_SECOND)

void weir_agent_restored_look(struct weir_agent *a, uint64_t now_ns)
{
	struct weir_restored_status found = { .any = false };
	struct weir_reader *rd = NULL;
	struct weir_error err;
	int r;

	if (now_ns < a->restored_at_ns)
		return;
	a->restored_at_ns = now_ns + LOOK_EVERY_NS;
	r = weir_reader_open(a->db_path, &rd, &err);
	if (!r)
		r = weir_restored_look(rd, &found, &err);
	weir_reader_close(rd);
	if (r)
		return; /* the writer tells of a database that does not work */
	/* While it is not worked off, the end of that is waited for. */
	if (found.pending)
		a->restored_at_ns = now_ns + WEIR_SECOND;
	pthread_mutex_lock(&a->restored_lock);
	a->restored = found;
	pthread_mutex_unlock(&a->restored_lock);
}

void weir_agent_restored(struct weir_agent *a, struct weir_restored_status *out)
{
	pthread_mutex_lock(&a->restored_lock);
	*out = a->restored;
	pthread_mutex_unlock(&a->restored_lock);
}
