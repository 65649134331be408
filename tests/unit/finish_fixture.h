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

/* What the request of the answer said; answer() makes it one of 80 bytes that said nothing. */
static struct weir_asked asked;

static inline void answer(struct weir_open *o, struct weir_rec_end *e, const char *text)
{
	memset(&asked, 0, sizeof(asked));
	strcpy(asked.method, "POST /v");
	memcpy(asked.path, "/v1/chat/completions?x=1 HTTP/1.1\r\n", 36);
	asked.body_bytes = 80;
	weir_body_init(&asked.body);
	weir_asked_init(&asked.text);
	memset(o, 0, sizeof(*o));
	weir_response_init(&o->response, false);
	weir_response_feed(&o->response, NULL, text, strlen(text));
	o->offset = e->response_bytes = strlen(text);
}

/* Another request line than answer() makes; words end in a blank. */
static inline void ask_for(const char *method, const char *path)
{
	memset(asked.method, 0, sizeof(asked.method));
	memset(asked.path, 0, sizeof(asked.path));
	memcpy(asked.method, method, strlen(method));
	memcpy(asked.path, path, strlen(path));
}

/* Services by number; end_record() is of none. */
static const char *const services[] = { NULL, "llm", "embed" };

/* Of a tier with these terms, priced by this card; with `learnt` and as a retry or not. */
static inline struct weir_row finish_as(const char *json, const struct weir_open *o,
					const struct weir_rec_end *e, struct weir_finish_with with)
{
	struct weir_card *card = NULL;
	struct weir_error err;
	struct weir_row row;

	if (weir_card_parse(json, "test", &card, &err) ||
	    weir_pricing_new(services, 3, &with.pricing, &err))
		fail_msg("%s", err.text);
	card->id = 1;
	weir_pricing_set(with.pricing, &card, 1, 1);
	with.boot = 0xabcd;
	weir_finish(o, o ? &asked : NULL, e, &with, &row);
	weir_pricing_free(with.pricing);
	weir_card_free(card);
	return row;
}

static inline struct weir_row finish_by(const char *json, const struct weir_open *o,
					const struct weir_rec_end *e)
{
	return finish_as(json, o, e, (struct weir_finish_with){ .terms = &terms });
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
