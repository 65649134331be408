/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all handlers that move credit share: the parts of a request that each has, the entry
 * that a request is about, the way through the writer, and the answer.
 */
#ifndef WEIR_CONTROL_WRITE_H
#define WEIR_CONTROL_WRITE_H

#include "control_call.h"

/* "id", required, and "reason" into op, with the actor. Neither may hold control characters:
 * they are logged and printed. */
int weir_write_words(struct weir_call *c, struct weir_op *op, struct weir_error *err);

/* "tenant" into op, as whose credit moves. One whose credit is another's is refused, unless
 * the write was done before: then that is what is answered. After weir_write_words. */
int weir_write_tenant(struct weir_call *c, struct weir_op *op, const char **tenant,
		      struct weir_error *err);

/* "amount", required, and any optional decimal, from min to max nano. */
int weir_write_amount(struct weir_call *c, const char *name, int64_t min, int64_t max,
		      int64_t *nano, struct weir_error *err);
int weir_call_decimal(struct weir_call *c, const char *name, int64_t min, int64_t max,
		      int64_t *nano, struct weir_error *err);

/* "source" (paid, promo, trial) and "priority": paid and WEIR_PRIORITY when absent. */
int weir_write_terms(struct weir_call *c, struct weir_op *op, struct weir_error *err);

/* An entry that was named, copied out of the reader. */
struct weir_named {
	uint64_t seq, time_ns;
	enum weir_entry_kind kind;
	struct weir_id id;
	uint32_t tenant, wallet;
	char tenant_name[WEIR_ENTRY_NAME_BYTES];
	int64_t amount_nano;
	struct weir_op op; /* but of usage: all 0 */
};

/* The entry that the field names: by its event or request id (32 hex digits), by the id of the
 * write that made it, or as "#" and its seq. Required. -ENOENT. */
int weir_call_entry(struct weir_call *c, const char *name, struct weir_named *out,
		    struct weir_error *err);
/* The one written under this id; -ENOENT without text. */
int weir_call_written(struct weir_call *c, const char *id, struct weir_named *out,
		      struct weir_error *err);

/* Through the writer into the ledger and the kernel, both durable on return. */
int weir_write_post(struct weir_call *c, const struct weir_op *op, struct weir_done *done,
		    struct weir_error *err);

/* {"id","event_id","tenant","amount","balance","seq","repeated"}; NULL: no memory. */
json_t *weir_write_json(const struct weir_op *op, const struct weir_done *done, const char *tenant,
			int64_t amount_nano);

/* One line of the log, if it was not done before: "credit: <what> by root: reason (entry 7, id
 * k)". what comes from fmt. */
void weir_write_log(struct weir_call *c, const struct weir_op *op, const struct weir_done *done,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
