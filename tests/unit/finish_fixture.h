/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A finished request for the tests of what it becomes: an answer as text, an END record,
 * a card.
 */
#ifndef WEIR_FINISH_FIXTURE_H
#define WEIR_FINISH_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/finish.h"

static const char card_json[] = "{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\","
				"\"models\":[{\"match\":\"llama*\","
				"\"price\":{\"input\":\"0.5\",\"output\":\"1.5\",\"per\":1000}}]}";

static const struct weir_terms terms = {
	.name = "acme", .tier = "pro", .live = true, .credit = WEIR_CREDIT_HARD
};

static inline struct weir_rec_end end_record(void)
{
	return (struct weir_rec_end){
		.h = { .type = WEIR_REC_END,
		       .flags = WEIR_END_RESPONSE,
		       .slot = 5,
		       .ordinal = 2,
		       .time_ns = 3000 },
		.started_ns = 1000,
		.started_wall_ns = UINT64_C(1795000000000000000),
		.reserved_nano = 9,
		.tenant = 4,
		.wallet = 4,
	};
}

static inline void answer(struct weir_open *o, struct weir_rec_end *e, const char *text)
{
	memset(o, 0, sizeof(*o));
	strcpy(o->method, "POST /v");
	memcpy(o->path, "/v1/chat/completions?x=1 HTTP/1.1\r\n", 36);
	o->body_bytes = 80;
	weir_body_init(&o->body);
	weir_response_init(&o->response, false);
	weir_response_feed(&o->response, text, strlen(text));
	o->offset = e->response_bytes = strlen(text);
}

/* Services by number; end_record() is of none. */
static const char *const services[] = { NULL, "llm", "embed" };

static inline struct weir_row finish_by(const char *json, const struct weir_open *o,
					const struct weir_rec_end *e)
{
	struct weir_pricing *pricing;
	struct weir_card *card = NULL;
	struct weir_error err;
	struct weir_row row;

	if (weir_card_parse(json, "test", &card, &err) ||
	    weir_pricing_new(services, 3, &pricing, &err))
		fail_msg("%s", err.text);
	card->id = 1;
	weir_pricing_set(pricing, &card, 1, 1);
	weir_finish(o, e, &terms, pricing, 0xabcd, &row);
	weir_pricing_free(pricing);
	weir_card_free(card);
	return row;
}

static inline struct weir_row finish(const struct weir_open *o, const struct weir_rec_end *e)
{
	return finish_by(card_json, o, e);
}

/* A whole answer with this body; `more` bytes of it do not come. */
static inline const char *ok(const char *body, int more)
{
	static char text[1024];

	snprintf(text, sizeof(text),
		 "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
		 "%zu\r\n\r\n%s",
		 strlen(body) + more, body);
	return text;
}

#define BODY                                                                                       \
	"{\"id\":\"chatcmpl-1\",\"model\":\"llama-3\",\"choices\":[{\"finish_reason\":\"stop\"}]," \
	"\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4,\"total_tokens\":14}}"

#endif
