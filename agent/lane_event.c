/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Five values of a CloudEvent: id, source, data.ledger_seq, data.previous_seq, and data.seq, as
 * entries of LEDGER call their place. One that is there twice makes the message malformed: two
 * readers could read two events.
 */
#include "lane_event.h"

#include <errno.h>
#include <string.h>

#include "json_scan.h"

enum place {
	NOWHERE,
	DOCUMENT,
	DOCUMENTS,
	ID,
	SOURCE,
	DATA,
	LEDGER_SEQ,
	PREVIOUS_SEQ,
	SEQ,
	PLACES
};

static const uint16_t want[PLACES] = {
	[DOCUMENT] = WEIR_SCAN_OBJECT,	 [ID] = WEIR_SCAN_STRING,
	[SOURCE] = WEIR_SCAN_STRING,	 [DATA] = WEIR_SCAN_OBJECT | WEIR_SCAN_OPEN,
	[LEDGER_SEQ] = WEIR_SCAN_NUMBER, [PREVIOUS_SEQ] = WEIR_SCAN_NUMBER,
	[SEQ] = WEIR_SCAN_NUMBER,
};

static const struct {
	const char *key;
	uint8_t parent, node;
} keys[] = {
	{ "id", DOCUMENT, ID },
	{ "source", DOCUMENT, SOURCE },
	{ "data", DOCUMENT, DATA },
	{ "ledger_seq", DATA, LEDGER_SEQ },
	{ "previous_seq", DATA, PREVIOUS_SEQ },
	{ "seq", DATA, SEQ },
};

struct reading {
	char id[2 * WEIR_ID_BYTES + 1];
	char source[WEIR_LANE_SOURCE];
	int64_t number[PLACES];
	unsigned seen; /* bit per place */
	bool bad;
};

static uint8_t child(uint8_t node, const char *key, size_t len)
{
	if (!key)
		return NOWHERE;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i].parent == node && strlen(keys[i].key) == len &&
		    !memcmp(keys[i].key, key, len))
			return keys[i].node;
	}
	return NOWHERE;
}

/* What is too long is kept as nothing: it is no source or id of ours. */
static void keep(char *out, size_t room, const struct weir_scan_found *f)
{
	size_t n = f->len < room && !memchr(f->text, 0, f->len) ? f->len : 0;

	memcpy(out, f->text, n);
	out[n] = 0;
}

static void found(void *ctx, uint8_t node, const struct weir_scan_found *f)
{
	struct reading *r = ctx;

	r->bad |= r->seen & 1u << node;
	r->seen |= 1u << node;
	if (f->event == WEIR_SCAN_IS_NUMBER)
		r->number[node] = f->number;
	else if (node == ID)
		keep(r->id, sizeof(r->id), f);
	else if (node == SOURCE)
		keep(r->source, sizeof(r->source), f);
}

static const struct weir_scan_schema schema = { .want = want, .child = child, .found = found };

static bool saw(const struct reading *r, enum place place)
{
	return r->seen & 1u << place;
}

enum weir_lane_kind weir_lane_event_read(const char *json, size_t n, const char *source,
					 struct weir_lane_event *out,
					 char found_source[static WEIR_LANE_SOURCE])
{
	struct weir_scan scan = { 0 };
	struct reading r = { 0 };
	struct weir_id id;
	bool all;

	while (n && (json[n - 1] == '\n' || json[n - 1] == ' '))
		n--;
	all = weir_scan_feed(&scan, &schema, &r, (const uint8_t *)json, n) == n;
	memcpy(found_source, r.source, sizeof(r.source));
	if (!all || !weir_scan_over(&scan) || r.bad || !r.source[0])
		return WEIR_LANE_MALFORMED;
	if (strcmp(r.source, source))
		return WEIR_LANE_FOREIGN;
	if (weir_unhex(r.id, id.b, WEIR_ID_BYTES))
		return WEIR_LANE_MALFORMED;
	out->id = id;
	out->ledger_seq =
		saw(&r, LEDGER_SEQ) ? (uint64_t)r.number[LEDGER_SEQ] : (uint64_t)r.number[SEQ];
	out->previous_seq = saw(&r, PREVIOUS_SEQ) ? (uint64_t)r.number[PREVIOUS_SEQ] : UINT64_MAX;
	return WEIR_LANE_OURS;
}
