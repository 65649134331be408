/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message that says what was used, as others send it to usage.v1.<tenant>:
 *
 *	{"id": "day-17", "dimension": "storage_gb", "quantity": "1.5",
 *	 "at": "2026-11-01T00:00:00Z", "model": …, "service": …, "feature": …, "session": …,
 *	 "reason": …, "tenant": "acme"}
 *
 * id, dimension and quantity (a decimal string above 0) must be there. Without `at` it was
 * used when the stream took the message. The tenant is the subject's: that is what NATS
 * lets its senders be told apart by; one in the message must be the same.
 */
#ifndef WEIR_METER_MESSAGE_H
#define WEIR_METER_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "json.h"
#include "meter.h"
#include "util.h"

#define WEIR_METER_MESSAGE_MAX 16384 /* bytes */

struct weir_meter_message {
	json_t *json;
	char tenant[WEIR_NAME_BYTES];
	struct weir_meter_use use; /* its texts lie in this struct, in json, or are constant */
};

/* The tenant of a subject, as a word that may stand in another one; "~unknown" if it is no
 * name. */
void weir_meter_subject_tenant(const char *subject, char out[static WEIR_NAME_BYTES]);

/* received_ns: when the stream took it, wall. 0; -EINVAL: err says what is wrong with it;
 * -ENOMEM. On failure there is nothing to clear. */
int weir_meter_message_read(const char *text, size_t len, const char *subject, uint64_t received_ns,
			    struct weir_meter_message *out, struct weir_error *err);
void weir_meter_message_clear(struct weir_meter_message *m);

#endif
