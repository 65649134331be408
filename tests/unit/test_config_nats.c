/* SPDX-License-Identifier: Apache-2.0 */
/* "nats" of agent.json: what it may say, what makes no sense, and that no value of it is shown. */
#include "tests/unit/config_fixture.h"

#define NATS(fields) MINIMAL(", \"nats\": {" fields "}")
#define AT(fields)   NATS("\"url\": \"nats://x\", " fields)

static void one_url_is_enough(void **state)
{
	struct weir_agent_config c = load(NATS("\"url\": \"nats://127.0.0.1:4222\""));

	assert_string_equal(c.nats.url, "nats://127.0.0.1:4222");
	assert_false(c.nats.tls);
	assert_int_equal(c.nats.replicas, 1);
	assert_string_equal(c.nats.user, "");
	assert_string_equal(c.nats.nkey, "");
	assert_string_equal(load(MINIMAL(", \"nats\": null")).nats.url, "");
}

static void several_servers_are_an_array(void **state)
{
	struct weir_agent_config c =
		load(NATS("\"url\": [\"nats://a:4222\", \"nats://[fd77::1]:4223\", \"tls://c\"], "
			  "\"replicas\": 3"));

	assert_string_equal(c.nats.url, "nats://a:4222,nats://[fd77::1]:4223,tls://c");
	assert_true(c.nats.tls); /* of one is of all */
	assert_int_equal(c.nats.replicas, 3);
}

static void each_way_to_say_who_it_is(void **state)
{
	struct weir_agent_config c =
		load(AT("\"user\": \"Weir 1\", \"password_file\": \"/etc/weir/pw\""));

	assert_string_equal(c.nats.user, "Weir 1");
	assert_string_equal(c.nats.password_file, "/etc/weir/pw");
	assert_string_equal(load(AT("\"token_file\": \"/t\"")).nats.token_file, "/t");
	assert_string_equal(load(AT("\"credentials\": \"/c\"")).nats.credentials, "/c");
	assert_string_equal(load(AT("\"nkey\": \"/n\"")).nats.nkey, "/n");
	assert_string_equal(load(NATS("\"url\": \"nats://me:pw@x:4222\"")).nats.url,
			    "nats://me:pw@x:4222");
}

static void tls_is_a_word_or_what_it_is_checked_by(void **state)
{
	struct weir_agent_config c = load(AT("\"tls\": {\"ca\": \"/ca\", \"cert\": \"/cert\", "
					     "\"key\": \"/key\", \"name\": \"nats.example\"}"));

	assert_true(c.nats.tls);
	assert_string_equal(c.nats.tls_ca, "/ca");
	assert_string_equal(c.nats.tls_cert, "/cert");
	assert_string_equal(c.nats.tls_key, "/key");
	assert_string_equal(c.nats.tls_name, "nats.example");
	assert_true(load(AT("\"tls\": true")).nats.tls);
	assert_true(load(AT("\"tls\": {}")).nats.tls);
	assert_false(load(AT("\"tls\": false")).nats.tls);
	assert_true(load(NATS("\"url\": \"tls://x\"")).nats.tls);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ NATS(""), "nats: has no \"url\"" },
		{ NATS("\"url\": []"), "nats.url: 0 elements, at least 1 must be there" },
		{ NATS("\"url\": [\"nats://a\", 3]"), "nats.url[1]: is not a string" },
		{ NATS("\"url\": 3"), "nats.url: is not a string" },
		{ NATS("\"url\": \"\""), "nats.url: does not start with nats:// or tls://" },
		{ NATS("\"url\": \"nats://\""), "nats.url: has no host" },
		{ NATS("\"url\": \"nats://u:p@:4222\""), "nats.url: has no host" },
		{ NATS("\"url\": \"nats://[]:4222\""), "nats.url: has no host" },
		{ NATS("\"url\": \"nats://[::1]4222\""),
		  "nats.url: has something behind its host that is no port" },
		{ NATS("\"url\": \"nats://a:0\""), "nats.url: has a port that is not a number from "
						   "1 to 65535, and nothing behind it" },
		{ NATS("\"url\": \"nats://a:65536\""), "nats.url: has a port that is not a number "
						       "from 1 to 65535, and nothing behind it" },
		{ NATS("\"url\": \"nats://a:4222/\""), "nats.url: has a port that is not a number "
						       "from 1 to 65535, and nothing behind it" },
		{ NATS("\"url\": \"nats://::1\""), "nats.url: has no host" },
		{ NATS("\"url\": \"nats://a,nats://b\""),
		  "nats.url: has a blank, comma, quote, backslash or a byte that is not ASCII: "
		  "several servers are an array, and such a password goes into a "
		  "\"password_file\"" },
		{ NATS("\"url\": \"nats://u:p\\\"w@b\""),
		  "nats.url: has a blank, comma, quote, backslash or a byte that is not ASCII: "
		  "several servers are an array, and such a password goes into a "
		  "\"password_file\"" },
		{ AT("\"user\": \"u\""), "nats: has \"user\", but no \"password_file\"" },
		{ AT("\"password_file\": \"/p\""), "nats: has \"password_file\", but no \"user\"" },
		{ AT("\"token_file\": \"token\""),
		  "nats.token_file: \"token\" is not an absolute path" },
		{ AT("\"token_file\": \"/t\", \"nkey\": \"/n\""),
		  "nats: both \"token_file\" and \"nkey\" say as whom the agent comes: leave one "
		  "of "
		  "them" },
		{ AT("\"user\": \"u\", \"password_file\": \"/p\", \"credentials\": \"/c\""),
		  "nats: both \"user\" and \"credentials\" say as whom the agent comes: leave one "
		  "of "
		  "them" },
		{ NATS("\"url\": [\"nats://a\", \"nats://u:p@b\"], \"nkey\": \"/n\""),
		  "nats: both \"url\" and \"nkey\" say as whom the agent comes: leave one of "
		  "them" },
		{ AT("\"tls\": 1"), "nats.tls: 1 is neither true, false nor an object" },
		{ AT("\"tls\": {\"ca\": \"ca.pem\"}"),
		  "nats.tls.ca: \"ca.pem\" is not an absolute path" },
		{ AT("\"tls\": {\"cert\": \"/c\"}"), "nats.tls: has \"cert\", but no \"key\"" },
		{ AT("\"tls\": {\"key\": \"/k\"}"), "nats.tls: has \"key\", but no \"cert\"" },
		{ AT("\"tls\": {\"insecure\": true}"),
		  "nats.tls.insecure: no such field (value true)" },
		{ NATS("\"url\": \"tls://x\", \"tls\": false"),
		  "nats.tls: is false, but \"url\" asks for TLS" },
		{ AT("\"replicas\": 6"), "nats.replicas: 6 is not a whole number from 1 to 5" },
		{ AT("\"replicas\": 0"), "nats.replicas: 0 is not a whole number from 1 to 5" },
		/* Secrets that somebody wrote into it. */
		{ AT("\"password\": \"hush\""),
		  "nats.password: does not go in here: write it into a file, and the file's path "
		  "into \"password_file\"" },
		{ AT("\"token\": \"hush\""),
		  "nats.token: does not go in here: write it into a file, and the file's path into "
		  "\"token_file\"" },
		{ AT("\"pass\": \"hush\""), "nats.pass: no such field" },
		{ NATS("\"url\": \"http://me:hush@x\""),
		  "nats.url: does not start with nats:// or tls://" },
		{ MINIMAL(", \"nats\": \"nats://me:hush@x\""), "nats: is not an object" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused(bad[i].text, bad[i].error);
}

static void more_servers_than_fit_are_refused(void **state)
{
	char text[4096], url[1200];
	size_t n;

	n = (size_t)snprintf(
		text, sizeof(text),
		"{\"node\": \"n\", \"interfaces\": [\"eth0\"], \"services\": [{\"port\": "
		"8000}], \"nats\": {\"url\": [");
	for (int i = 0; i < WEIR_NATS_SERVERS + 1; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\"nats://a%d\"", i ? "," : "",
				      i);
	snprintf(text + n, sizeof(text) - n, "]}}");
	refused(text, "nats.url: 9 elements, at most 8 may be there");
	memset(url, 'a', sizeof(url));
	memcpy(url, "nats://", 7);
	url[1100] = '\0';
	snprintf(text, sizeof(text), NATS("\"url\": \"%s\""), url);
	refused(text, "nats.url: is more than fits: all together 1023 bytes");
}

static void the_spill_has_bounds(void **state)
{
	assert_int_equal(load(MINIMAL("")).spill_bytes, 256 << 20);
	assert_int_equal(load(MINIMAL(", \"spill_bytes\": 1048576")).spill_bytes, 1 << 20);
	refused(MINIMAL(", \"spill_bytes\": 1048575"),
		"spill_bytes: 1048575 is not a whole number from 1048576 to 1099511627776");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_url_is_enough),
		cmocka_unit_test(several_servers_are_an_array),
		cmocka_unit_test(each_way_to_say_who_it_is),
		cmocka_unit_test(tls_is_a_word_or_what_it_is_checked_by),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(more_servers_than_fit_are_refused),
		cmocka_unit_test(the_spill_has_bounds),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
