// SPDX-License-Identifier: Apache-2.0
/*
 * Events of what did not happen: requests that were refused, reports of usage that were not
 * entered. They are in no ledger, so their ids are made of what they say.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "agent/event_priv.h"

/* -------------------------------------------------------------------- refusals */

/* Fields end in a NUL each, so that no two sets run together. */
static int id_of(const char *const *parts, size_t n, const uint64_t *numbers, size_t n_numbers,
		 char id[static WEIR_EVENT_ID_TEXT])
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
	for (size_t i = 0; ok && i < n; i++)
		ok = EVP_DigestUpdate(ctx, parts[i], strlen(parts[i]) + 1) == 1;
	ok = ok && EVP_DigestUpdate(ctx, numbers, n_numbers * sizeof(*numbers)) == 1 &&
	     EVP_DigestFinal_ex(ctx, hash, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok)
		return -ENOMEM;
	weir_hex(hash, WEIR_ID_BYTES, id);
	return 0;
}

static int denied_id(const struct weir_denied *d, const struct weir_event_origin *from,
		     char id[static WEIR_EVENT_ID_TEXT])
{
	const char *const parts[] = { from->ledger_id,
				      from->node,
				      d->tenant,
				      d->reason,
				      d->limit_of ? d->limit_of : "",
				      d->shadow ? "shadow" : "" };
	uint64_t second = d->first_wall_ns / 1000000000;

	return id_of(parts, sizeof(parts) / sizeof(parts[0]), &second, 1, id);
}

int weir_event_denied_json(const struct weir_denied *d, const struct weir_event_origin *from,
			   struct weir_text *out, char id_out[WEIR_EVENT_ID_TEXT])
{
	char id[WEIR_EVENT_ID_TEXT];
	struct weir_out o;

	if (weir_text_reserve(out,
			      WEIR_EVENT_FIXED_BYTES + weir_event_names_bytes(from, d->tenant) +
				      WEIR_EVENT_BYTE * (d->limit_of ? strlen(d->limit_of) : 0)) ||
	    denied_id(d, from, id))
		return -ENOMEM;
	o = (struct weir_out){ .p = out->p };
	weir_event_envelope(&o, from, id, "weir.denied.v1", d->tenant, d->last_wall_ns);
	weir_out_cstr(&o, "tenant", d->tenant);
	weir_out_cstr(&o, "reason", d->reason);
	if (d->limit_is_nano)
		weir_out_money(&o, "limit", d->limit);
	else
		weir_out_int(&o, "limit", d->limit);
	if (d->limit_of)
		weir_out_cstr(&o, "limit_of", d->limit_of);
	weir_out_bool(&o, "shadow", d->shadow);
	weir_out_u64(&o, "count", d->count);
	weir_out_time(&o, "first", d->first_wall_ns);
	weir_out_time(&o, "last", d->last_wall_ns);
	weir_out_close(&o, '}');
	weir_out_close(&o, '}');
	if (id_out)
		memcpy(id_out, id, sizeof(id));
	weir_text_end(out, o.p);
	return 0;
}

/* --------------------------------------------------------- usage that was not entered */

int weir_event_usage_refused_json(const struct weir_usage_refused *u,
				  const struct weir_event_origin *from, struct weir_text *out,
				  char id_out[WEIR_EVENT_ID_TEXT])
{
	const char *const parts[] = { from->ledger_id, from->node, "usage", u->subject };
	const uint64_t numbers[] = { u->stream_seq, u->received_wall_ns };
	size_t shown = u->message_len < WEIR_REFUSED_SHOWN ? u->message_len : WEIR_REFUSED_SHOWN;
	char id[WEIR_EVENT_ID_TEXT];
	struct weir_out o;

	if (weir_text_reserve(out,
			      WEIR_EVENT_FIXED_BYTES + weir_event_names_bytes(from, u->tenant) +
				      WEIR_EVENT_BYTE *
					      (strlen(u->subject) + strlen(u->reason) + shown)) ||
	    id_of(parts, sizeof(parts) / sizeof(parts[0]), numbers, 2, id))
		return -ENOMEM;
	o = (struct weir_out){ .p = out->p };
	weir_event_envelope(&o, from, id, "weir.usage_refused.v1", u->tenant, u->received_wall_ns);
	weir_out_cstr(&o, "tenant", u->tenant);
	weir_out_cstr(&o, "reason", u->reason);
	weir_out_cstr(&o, "subject", u->subject);
	weir_out_u64(&o, "stream_seq", u->stream_seq);
	weir_out_str(&o, "message", u->message, shown);
	if (shown < u->message_len)
		weir_out_u64(&o, "message_bytes", u->message_len);
	weir_out_close(&o, '}');
	weir_out_close(&o, '}');
	memcpy(id_out, id, sizeof(id));
	weir_text_end(out, o.p);
	return 0;
}
