// SPDX-License-Identifier: Apache-2.0
/*
 * From JSON to a struct weir_meter_use. What is in it is looked at here as far as it is
 * spelling; whether there is such a tenant is meter.c's business.
 */
#include "meter_message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PREFIX	"usage.v1."
#define UNKNOWN "~unknown" /* no tenant can be called so */

#define ROOM(field) sizeof(((struct weir_op *)0)->field)

void weir_meter_subject_tenant(const char *subject, char out[static WEIR_NAME_BYTES])
{
	size_t n = 0;

	if (!strncmp(subject, PREFIX, sizeof(PREFIX) - 1)) {
		subject += sizeof(PREFIX) - 1;
		n = strcspn(subject, ".");
	}
	snprintf(out, WEIR_NAME_BYTES, "%.*s", n < WEIR_NAME_BYTES ? (int)n : 0, subject);
	if (!weir_name_ok(out))
		strcpy(out, UNKNOWN);
}

static int text(const struct weir_json *at, const char *field, size_t room, const char **out,
		struct weir_error *err)
{
	struct weir_json child;

	return weir_json_get(at, field, &child) ? weir_json_string(&child, room - 1, out, err) : 0;
}

static int read_tenant(const struct weir_json *at, struct weir_meter_message *m,
		       const char *subject, struct weir_error *err)
{
	struct weir_json child;
	const char *name;
	int r;

	weir_meter_subject_tenant(subject, m->tenant);
	if (!weir_name_ok(m->tenant))
		return weir_json_fail(at, err, "came on \"%.80s\", which names no tenant", subject);
	m->use.tenant = m->tenant;
	if (!weir_json_get(at, "tenant", &child))
		return 0;
	r = weir_json_name(&child, &name, err);
	if (!r && strcmp(name, m->tenant))
		r = weir_json_refuse(&child, err, "is not the tenant of its subject, %s",
				     m->tenant);
	return r;
}

static int read_when(const struct weir_json *at, struct weir_meter_use *u, struct weir_error *err)
{
	struct weir_json child;
	const char *when;
	int r;

	if (!weir_json_get(at, "at", &child))
		return 0;
	r = weir_json_string(&child, WEIR_TIME_TEXT + 8, &when, err);
	if (!r && weir_time_parse(when, &u->started_ns))
		r = weir_json_refuse(&child, err, "is not a time such as 2026-11-01T00:00:00Z");
	u->said_when = true;
	return r;
}

static int read_fields(const struct weir_json *at, struct weir_meter_use *u, struct weir_error *err)
{
	struct weir_json child;
	int r = text(at, "id", ROOM(key), &u->key, err);

	if (!r && !u->key)
		return weir_json_fail(at, err, "has no \"id\": it makes a repetition safe");
	if (!r)
		r = text(at, "dimension", ROOM(dimension), &u->dimension, err);
	if (!r && !u->dimension)
		return weir_json_fail(at, err, "has no \"dimension\"");
	if (!r && !weir_json_get(at, "quantity", &child))
		return weir_json_fail(at, err, "has no \"quantity\"");
	if (!r)
		r = weir_json_decimal(&child, 1, INT64_MAX, &u->quantity_nano, err);
	if (!r)
		r = read_when(at, u, err);
	if (!r)
		r = text(at, "model", ROOM(model), &u->model, err);
	if (!r)
		r = text(at, "service", WEIR_NAME_BYTES, &u->service, err);
	if (!r)
		r = text(at, "feature", ROOM(feature), &u->feature, err);
	if (!r)
		r = text(at, "session", ROOM(session), &u->session, err);
	if (!r)
		r = text(at, "reason", ROOM(reason), &u->reason, err);
	return r;
}

int weir_meter_message_read(const char *message, size_t len, const char *subject,
			    uint64_t received_ns, struct weir_meter_message *out,
			    struct weir_error *err)
{
	static const char *const fields[] = { "id",	"dimension", "quantity", "at",
					      "model",	"service",   "feature",	 "session",
					      "reason", "tenant",    NULL };
	struct weir_json root;
	int r;

	*out = (struct weir_meter_message){ 0 };
	/* Who may publish on the subject was let in by NATS. */
	out->use = (struct weir_meter_use){ .started_ns = received_ns,
					    .trusted = true,
					    .actor = "nats" };
	if (len > WEIR_METER_MESSAGE_MAX)
		return weir_fail(err, EINVAL, "message: has %zu bytes, more than %d", len,
				 WEIR_METER_MESSAGE_MAX);
	r = weir_json_parse(message, len, "message", &out->json, err);
	if (r)
		return r;
	root = weir_json_root(out->json, "message", false);
	r = weir_json_object(&root, fields, err);
	if (!r)
		r = read_tenant(&root, out, subject, err);
	if (!r)
		r = read_fields(&root, &out->use, err);
	if (r)
		weir_meter_message_clear(out);
	return r;
}

void weir_meter_message_clear(struct weir_meter_message *m)
{
	weir_json_put(&m->json);
	m->json = NULL;
}
