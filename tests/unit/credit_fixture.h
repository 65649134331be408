/* SPDX-License-Identifier: Apache-2.0 */
/* A control socket, a catalogue of packs, and words for what is asked of credit. */
#ifndef WEIR_CREDIT_FIXTURE_H
#define WEIR_CREDIT_FIXTURE_H

#include "control_fixture.h"

static const char shop[] =
	"{\"tiers\":{\"paid\":{\"credit\":\"hard\"},\"soft\":{\"credit\":\"soft\","
	"\"overage_limit\":\"2\"}},"
	"\"tenants\":{\"acme\":{\"tier\":\"paid\"},\"globex\":{\"tier\":\"paid\"}},"
	"\"packs\":{\"small\":{\"amount\":\"50\",\"price\":\"50\",\"currency\":\"USD\"},"
	"\"large\":{\"amount\":\"500\",\"bonus\":\"25.5\",\"price\":\"450\",\"currency\":\"USD\","
	"\"expires_days\":365,\"priority\":50}}}";

static inline void open_shop(void)
{
	struct weir_error err = { "" };

	fake_write(f->policies, "10.json", shop);
	if (f->view.reload(f, f->policies, &err))
		fail_msg("%s", err.text);
}

static inline json_t *put(const char *request)
{
	return result_of(ask(request));
}

/* Entries there are; so that "nothing was written" is seen, not believed. */
static inline json_int_t entries(void)
{
	json_t *v = put("{\"op\":\"ledger.verify\"}");
	json_int_t n = integer(v, "entries");

	assert_true(truth(v, "ok"));
	json_decref(v);
	return n;
}

static inline void assert_balance(const char *tenant, const char *balance, const char *debt)
{
	char request[128];
	json_t *b;

	snprintf(request, sizeof(request), "{\"op\":\"credit.balance\",\"tenant\":\"%s\"}", tenant);
	b = put(request);
	assert_string_equal(text(b, "balance"), balance);
	assert_string_equal(text(b, "debt"), debt);
	json_decref(b);
}

#define ACME "\"tenant\":\"acme\","

static inline void grant(const char *amount, const char *id, const char *rest)
{
	char request[512];

	snprintf(request, sizeof(request),
		 "{\"op\":\"credit.grant\"," ACME "\"amount\":\"%s\",\"id\":\"%s\"%s%s}", amount,
		 id, *rest ? "," : "", rest);
	json_decref(put(request));
}

#endif
