// SPDX-License-Identifier: Apache-2.0
/*
 * What anybody may publish on a node's subjects, made of pieces of an event and of bytes: what is
 * taken for one of ours says, to a strict reader of JSON too, what was read of it; and what such a
 * reader takes for one of ours is not called another ledger's.
 */
#include <jansson.h>

#include "agent/lane_event.h"
#include "fuzz.h"

#define SOURCE "/weir/00112233-4455-6677-8899-aabbccddeeff/gpu-01"
#define ID     "000102030405060708090a0b0c0d0e0f"

static const char *const pieces[] = { "{",
				      "}",
				      "[",
				      "]",
				      ",",
				      ":",
				      "\"id\":",
				      "\"source\":",
				      "\"data\":{",
				      "\"ledger_seq\":",
				      "\"previous_seq\":",
				      "\"seq\":",
				      "\"" SOURCE "\"",
				      "\"" ID "\"",
				      "7",
				      "0",
				      "-1",
				      "1e3",
				      "9223372036854775807",
				      "18446744073709551616",
				      "null",
				      "true",
				      "\"a\\u0041\"",
				      "\"\\",
				      " ",
				      "\n",
				      "{\"id\":\"" ID "\",\"source\":\"" SOURCE "\",\"data\":{" };
#define PIECES (sizeof(pieces) / sizeof(pieces[0]))

static size_t make(struct input *in, char *text, size_t room)
{
	size_t n = 0;

	while (input_left(in)) {
		uint64_t which = take(in, 1) % (PIECES + 1);
		char byte = (char)(which == PIECES ? take(in, 1) : 0);
		const char *piece = which == PIECES ? &byte : pieces[which];
		size_t len = which == PIECES ? 1 : strlen(piece);

		if (n + len > room)
			break;
		memcpy(text + n, piece, len);
		n += len;
	}
	return n;
}

static void same_number(const json_t *data, const char *name, uint64_t seen)
{
	const json_t *v = json_object_get(data, name);

	if (json_is_integer(v) && json_integer_value(v) >= 0)
		CHECK((uint64_t)json_integer_value(v) == seen);
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input in = { bytes, bytes + size };
	char made[4096], found[WEIR_LANE_SOURCE], id[2 * WEIR_ID_BYTES + 1];
	struct weir_lane_event e = { 0 };
	size_t n = make(&in, made, sizeof(made));
	char *text = own_copy(made, n);
	enum weir_lane_kind kind = weir_lane_event_read(text, n, SOURCE, &e, found);
	json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);

	CHECK(memchr(found, 0, sizeof(found)));
	if (json_is_object(o) && !strcmp(text_of(o, "source"), SOURCE))
		CHECK(kind != WEIR_LANE_FOREIGN);
	if (json_is_object(o) && kind == WEIR_LANE_OURS) {
		weir_hex(e.id.b, WEIR_ID_BYTES, id);
		CHECK(!strcmp(text_of(o, "source"), SOURCE));
		CHECK(!strcasecmp(text_of(o, "id"), id));
		same_number(json_object_get(o, "data"), "ledger_seq", e.ledger_seq);
		same_number(json_object_get(o, "data"), "previous_seq", e.previous_seq);
	}
	json_decref(o);
	free(text);
	return 0;
}
