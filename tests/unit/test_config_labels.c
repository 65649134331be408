// SPDX-License-Identifier: Apache-2.0
/* agent.json's labels: defaults, lists that take their place, and what every bad one gets told. */
#include "tests/unit/config_fixture.h"

static bool has(const struct weir_label_config *l, size_t at, enum weir_label label,
		enum weir_label_kind kind, const char *name)
{
	const struct weir_label_source *s = &l->sources[at];

	return at < l->n_sources && s->label == label && s->kind == kind && !strcmp(s->name, name);
}

static void labels_have_defaults(void **state)
{
	struct weir_agent_config c = load(MINIMAL("")), d = load(MINIMAL(", \"labels\": {}"));

	assert_int_equal(c.labels.n_sources, 14);
	assert_true(c.labels.body_user);
	assert_int_equal(c.labels.asked_bytes, 4096);
	assert_int_equal(c.decoder_bytes, 24 << 20);
	assert_memory_equal(&c.labels, &d.labels, sizeof(c.labels));
}

/* What is listed takes the place of the defaults of that label and kind, in that order. */
static void labels_are_those_listed(void **state)
{
	struct weir_agent_config c = load(MINIMAL(
		", \"labels\": {\"user\": [\"X-User-Id\", \"x-weir-user\"], \"team\": [],"
		"\"baggage\": {\"team\": [\"Team\", \"org.team\"], \"user\": []},"
		"\"trace_id\": [\"x-traceparent\"], \"body_user\": false, \"body_bytes\": 1048576},"
		"\"decoder_bytes\": 1048576"));
	const struct weir_label_config *l = &c.labels;

	assert_true(has(l, 0, WEIR_LABEL_USER, WEIR_LABEL_HEADER, "x-user-id"));
	assert_true(has(l, 1, WEIR_LABEL_USER, WEIR_LABEL_HEADER, "x-weir-user"));
	assert_true(has(l, 2, WEIR_LABEL_TEAM, WEIR_LABEL_BAGGAGE, "Team"));
	assert_true(has(l, 3, WEIR_LABEL_TEAM, WEIR_LABEL_BAGGAGE, "org.team"));
	assert_true(has(l, 4, WEIR_LABEL_COST_CENTER, WEIR_LABEL_HEADER, "x-weir-cost-center"));
	assert_true(has(l, 5, WEIR_LABEL_COST_CENTER, WEIR_LABEL_BAGGAGE, "cost_center"));
	assert_true(has(l, 10, WEIR_LABEL_TRACE, WEIR_LABEL_HEADER, "x-traceparent"));
	assert_int_equal(l->n_sources, 13);
	assert_false(l->body_user);
	assert_int_equal(l->asked_bytes, 1 << 20);
	assert_int_equal(c.decoder_bytes, 1 << 20);
}

#define LABELS(inner) MINIMAL(", \"labels\": {" inner "}")

static void bad_labels_are_told(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ MINIMAL(", \"labels\": []"), "labels: an array is not an object" },
		{ LABELS("\"usr\": []"),
		  "labels.usr: no such field (value an array; did you mean \"user\"?)" },
		{ LABELS("\"user\": \"x-user\""), "labels.user: \"x-user\" is not an array" },
		{ LABELS("\"user\": [7]"), "labels.user[0]: 7 is not a string" },
		{ LABELS("\"user\": [\"\"]"),
		  "labels.user[0]: \"\" is not a string of 1 to 63 bytes" },
		{ LABELS("\"user\": [\"x user\"]"),
		  "labels.user[0]: \"x user\" is not a name of a header" },
		{ LABELS("\"user\": [\"x:\"]"),
		  "labels.user[0]: \"x:\" is not a name of a header" },
		{ LABELS("\"user\": [\"a\", \"b\", \"A\"]"),
		  "labels.user[2]: \"A\" is listed twice" },
		{ LABELS("\"user\": [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]"),
		  "labels.user: 9 elements, at most 8 may be there" },
		{ LABELS("\"user\": [\"Baggage\"]"),
		  "labels.user[0]: \"Baggage\" is read by \"labels.baggage\"" },
		{ LABELS("\"user\": [\"Authorization\"]"),
		  "labels.user[0]: \"Authorization\" is a header that is never read for a label" },
		{ LABELS("\"team\": [\"ok\", \"x-api-key\"]"),
		  "labels.team[1]: \"x-api-key\" is a header that is never read for a label" },
		{ LABELS("\"team\": [\"proxy-authorizations\"]"),
		  "labels.team[0]: \"proxy-authorizations\" begins like \"proxy-authorization\", "
		  "which is never read for a label: the kernel looks at 16 bytes" },
		{ LABELS("\"team\": [\"transfer-encodinG\"]"),
		  "labels.team[0]: \"transfer-encodinG\" is a header that is never read for a "
		  "label" },
		{ LABELS("\"baggage\": []"), "labels.baggage: an array is not an object" },
		{ LABELS("\"baggage\": {\"trace_id\": []}"),
		  "labels.baggage.trace_id: no such field (value an array)" },
		{ LABELS("\"baggage\": {\"user\": [\"a=b\"]}"),
		  "labels.baggage.user[0]: \"a=b\" is not a name of a baggage member" },
		{ LABELS("\"baggage\": {\"user\": [\"a\", \"a\"]}"),
		  "labels.baggage.user[1]: \"a\" is listed twice" },
		{ LABELS("\"body_user\": 1"), "labels.body_user: 1 is not true or false" },
		{ LABELS("\"body_bytes\": -1"),
		  "labels.body_bytes: -1 is not a whole number from 0 to 1048576" },
		{ LABELS("\"body_bytes\": 1048577"),
		  "labels.body_bytes: 1048577 is not a whole number from 0 to 1048576" },
		{ MINIMAL(", \"decoder_bytes\": 1048575"),
		  "decoder_bytes: 1048575 is not a whole number from 1048576 to 4294967295" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused(bad[i].text, bad[i].error);
}

static const char *const label_lists[] = { "user",    "team",	  "cost_center", "session",
					   "feature", "trace_id", "request_id",	 "retry_count" };

/* A text with n header names in lists of at most eight. */
static const char *many_labels(int n)
{
	static char text[4096];
	size_t at =
		(size_t)snprintf(text, sizeof(text),
				 "{\"node\": \"n\", \"interfaces\": [\"eth0\"], \"services\": "
				 "[{\"port\": 8000}], \"labels\": {\"baggage\": {\"user\": [],"
				 "\"team\":[],\"cost_center\":[],\"session\":[],\"feature\":[]}");

	for (int i = 0; i < 8; i++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, ", \"%s\": [", label_lists[i]);
		for (int j = 0; j < 8 && n > 0; j++, n--)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s\"x-%d\"",
					       j ? "," : "", n);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "]");
	}
	snprintf(text + at, sizeof(text) - at, "}}");
	return text;
}

static void labels_have_as_many_names_as_there_is_room_for(void **state)
{
	struct weir_line_name names[WEIR_LINE_NAMES];
	uint64_t bits;
	struct weir_agent_config c = load(many_labels(32));

	assert_int_equal(weir_label_lines(&c.labels, names, &bits), 32);
	refused(many_labels(33), "labels: 33 different headers, at most 32 may be there");
	refused(many_labels(49), "labels.request_id[0]: more than 48 names in all");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_have_defaults),
		cmocka_unit_test(labels_are_those_listed),
		cmocka_unit_test(bad_labels_are_told),
		cmocka_unit_test(labels_have_as_many_names_as_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
