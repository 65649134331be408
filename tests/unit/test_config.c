/* SPDX-License-Identifier: Apache-2.0 */
/* agent.json: defaults, and what every bad one gets told. */
#include "tests/unit/config_fixture.h"

static void little_needs_to_be_said(void **state)
{
	struct weir_agent_config c = load(MINIMAL(""));

	assert_string_equal(c.instance, "default");
	assert_string_equal(c.node, "n");
	assert_int_equal(c.n_interfaces, 1);
	assert_string_equal(c.interfaces[0].name, "eth0");
	assert_int_equal(c.n_services, 1);
	assert_string_equal(c.services[0].name, "port-8000");
	assert_int_equal(c.services[0].port, 8000);
	assert_int_equal(c.services[0].api, WEIR_API_OPENAI);
	assert_int_equal(c.xdp, WEIR_XDP_AUTO);
	assert_string_equal(c.state_dir, "/var/lib/weir");
	assert_string_equal(c.control, "/run/weir/agent.sock");
	assert_string_equal(c.http_host, "127.0.0.1");
	assert_int_equal(c.http_port, 9477);
	assert_string_equal(c.policies, "/etc/weir/policies");
	assert_int_equal(c.ring_bytes, 67108864);
	assert_int_equal(c.max_tenants, 65536);
	assert_int_equal(c.max_flows, 262144);
	assert_int_equal(c.max_keys, 262144);
	assert_string_equal(c.nats.url, "");
	assert_string_equal(c.nats.usage_subject, "");
	assert_int_equal(c.agent_timeout_ns, 3000000000);
	assert_true(c.enforce);
	assert_string_equal(c.interfaces[0].netns, "");
	assert_int_equal(c.head_timeout_ns, 30000000000);
	assert_int_equal(c.idle_timeout_ns, 3600000000000);
	assert_int_equal(c.max_split_heads, 1024);
	assert_true(c.free_options);
	assert_int_equal(c.n_trusted, 0);
}

static void everything_can_be_said(void **state)
{
	struct weir_agent_config c =
		load("{\"instance\": \"blue\", \"node\": \"gpu-01\", \"interfaces\": [\"eth0\", "
		     "\"wg0\"],"
		     " \"services\": [{\"name\": \"llm\", \"port\": 8000, \"api\": \"plain\"},"
		     " {\"name\": \"claude\", \"port\": 65535, \"api\": \"anthropic\"}],"
		     " \"xdp\": \"native\", \"state_dir\": \"/s\", \"control\": \"/c\", \"http\": "
		     "\"[::1]:80\","
		     " \"policies\": \"/p\", \"ring_bytes\": 65536, \"max_tenants\": 2, "
		     "\"max_flows\": 64, \"max_keys\": 5,"
		     " \"nats\": {\"url\": \"nats://127.0.0.1:4222\"}, \"agent_timeout_ms\": 1000,"
		     " \"enforce\": false}");

	assert_string_equal(c.instance, "blue");
	assert_string_equal(c.interfaces[1].name, "wg0");
	assert_string_equal(c.services[1].name, "claude");
	assert_int_equal(c.services[0].api, WEIR_API_PLAIN);
	assert_int_equal(c.services[1].api, WEIR_API_ANTHROPIC);
	assert_int_equal(c.services[1].port, 65535);
	assert_int_equal(c.xdp, WEIR_XDP_NATIVE);
	assert_string_equal(c.http_host, "::1");
	assert_int_equal(c.http_port, 80);
	assert_int_equal(c.ring_bytes, 65536);
	assert_int_equal(c.max_keys, 5);
	assert_string_equal(c.nats.url, "nats://127.0.0.1:4222");
	assert_int_equal(c.agent_timeout_ns, 1000000000);
	assert_false(c.enforce);
}

static void an_interface_may_be_in_another_namespace(void **state)
{
	char label[WEIR_INTERFACE_LABEL];
	struct weir_agent_config c =
		load("{\"node\": \"n\", \"interfaces\": [\"eth0\", {\"name\": \"eth0\", "
		     "\"netns\": \"pod1\"}, {\"name\": \"eth0\", \"netns\": \"/proc/7/ns/net\"},"
		     " {\"name\": \"eth1\"}], \"services\": [{\"port\": 8000}]}");

	assert_int_equal(c.n_interfaces, 4);
	assert_string_equal(c.interfaces[0].netns, "");
	assert_string_equal(c.interfaces[1].name, "eth0");
	assert_string_equal(c.interfaces[1].netns, "/run/netns/pod1");
	assert_string_equal(c.interfaces[2].name, "eth0");
	assert_string_equal(c.interfaces[2].netns, "/proc/7/ns/net");
	assert_string_equal(c.interfaces[3].name, "eth1");
	assert_string_equal(c.interfaces[3].netns, "");
	weir_interface_label(&c.interfaces[0], label);
	assert_string_equal(label, "eth0");
	weir_interface_label(&c.interfaces[1], label);
	assert_string_equal(label, "eth0@pod1");
	weir_interface_label(&c.interfaces[2], label);
	assert_string_equal(label, "eth0@/proc/7/ns/net");
	memset(c.interfaces[2].netns + 1, 'x', sizeof(c.interfaces[2].netns) - 2);
	weir_interface_label(&c.interfaces[2], label);
	assert_int_equal(strlen(label), strlen("eth0@") + 63);
}

/* As the kernel does: the words where the mask has ones, then what may follow. */
static bool is_free(const struct weir_agent_config *c, const char *method, const char *path)
{
	uint64_t word[WEIR_FREE_PATH_BYTES / 8] = { 0 };
	size_t n = strcspn(path, "?");

	memcpy(word, path, n < sizeof(word) ? n : sizeof(word));
	for (size_t i = 0; i < c->n_free_paths; i++) {
		const struct weir_free_path *f = &c->free_paths[i];
		bool same = true;

		for (size_t j = 0; j < WEIR_FREE_PATH_BYTES / 8; j++)
			same &= (word[j] & f->mask[j]) == f->word[j];
		if (same && (n == f->len || (n > f->len && (f->flags & WEIR_FREE_PREFIX))) &&
		    (!strcmp(method, "GET") || (f->flags & WEIR_FREE_ANY_METHOD)))
			return true;
	}
	return false;
}

static void health_metrics_and_models_are_free_unless_said_otherwise(void **state)
{
	struct weir_agent_config c = load(MINIMAL(""));

	assert_int_equal(c.n_free_paths, 10);
	assert_true(is_free(&c, "GET", "/health"));
	assert_true(is_free(&c, "GET", "/health?full"));
	assert_true(is_free(&c, "GET", "/health/ready"));
	assert_true(is_free(&c, "GET", "/healthz"));
	assert_true(is_free(&c, "GET", "/health_generate"));
	assert_true(is_free(&c, "GET", "/metrics"));
	assert_true(is_free(&c, "GET", "/v1/models/llama-3.3-70b"));
	assert_true(is_free(&c, "GET", "/ping"));
	assert_true(is_free(&c, "GET", "/version"));
	assert_false(is_free(&c, "POST", "/health"));
	assert_false(is_free(&c, "GET", "/healthy"));
	assert_false(is_free(&c, "GET", "/v1/modelsx"));
	assert_false(is_free(&c, "GET", "/v1/completions"));
	assert_false(is_free(&c, "GET", "/"));
	c = load(MINIMAL(", \"free_paths\": [], \"free_options\": false"));
	assert_int_equal(c.n_free_paths, 0);
	assert_false(c.free_options);
}

static void free_paths_are_words_and_masks(void **state)
{
	struct weir_agent_config c = load(MINIMAL(
		", \"free_paths\": [\"/\", \"/v1/x*\", {\"path\": \"/hook\", \"any_method\": "
		"true}, {\"path\": \"/hook*\"}, \"/234567890123456789012345678901\", "
		"\"/345678901234567890123456789012*\"]"));
	const struct weir_free_path *p = c.free_paths;

	assert_int_equal(c.n_free_paths, 6);
	assert_int_equal(p[0].len, 1);
	assert_memory_equal(p[0].word, "/\0\0\0\0\0\0\0", 8);
	assert_memory_equal(p[0].mask, "\xff\0\0\0\0\0\0\0", 8);
	assert_int_equal(p[0].flags, 0);
	assert_int_equal(p[1].len, 5);
	assert_int_equal(p[1].flags, WEIR_FREE_PREFIX);
	assert_int_equal(p[2].flags, WEIR_FREE_ANY_METHOD);
	assert_int_equal(p[3].flags, WEIR_FREE_PREFIX);
	assert_int_equal(p[4].len, 32 - 1);
	assert_int_equal(p[5].len, 32 - 1);
	assert_true(is_free(&c, "GET", "/"));
	assert_false(is_free(&c, "GET", "/a"));
	assert_true(is_free(&c, "GET", "/v1/xyz"));
	assert_true(is_free(&c, "POST", "/hook"));
	assert_false(is_free(&c, "POST", "/hooks"));
	assert_true(is_free(&c, "GET", "/hooks"));
	assert_true(is_free(&c, "GET", "/345678901234567890123456789012/and/on/and/on"));
	assert_false(is_free(&c, "GET", "/234567890123456789012345678901/and/on"));
}

static void trusted_sources_are_bits_and_masks(void **state)
{
	struct weir_agent_config c = load(
		MINIMAL(", \"trusted_sources\": [\"10.1.0.0/16\", \"2001:db8::/32\", \"::1/128\", "
			"\"0.0.0.0/0\", \"::/0\", \"2001:db8::/64\"]"));
	const struct weir_trusted want[] = {
		{ 0, 0xffff0a010000, ~0ULL, ~0ULL << 16 },
		{ 0x20010db800000000, 0, ~0ULL << 32, 0 },
		{ 0, 1, ~0ULL, ~0ULL },
		{ 0, 0xffff00000000, ~0ULL, ~0ULL << 32 },
		{ 0, 0, 0, 0 },
		{ 0x20010db800000000, 0, ~0ULL, 0 },
	};

	assert_int_equal(c.n_trusted, 6);
	assert_memory_equal(c.trusted, want, sizeof(want));
}

static void how_long_heads_and_silence_may_last(void **state)
{
	struct weir_agent_config c = load(MINIMAL(
		", \"head_timeout_ms\": 1500, \"idle_timeout_s\": 10, \"max_split_heads\": 16"));

	assert_int_equal(c.head_timeout_ns, 1500000000);
	assert_int_equal(c.idle_timeout_ns, 10000000000);
	assert_int_equal(c.max_split_heads, 16);
}

static void how_often_drift_is_looked_for(void **state)
{
	assert_int_equal(load(MINIMAL("")).sweep_interval_ns, 10000000000);
	assert_int_equal(load(MINIMAL(", \"sweep_interval_s\": 3600")).sweep_interval_ns,
			 3600000000000);
}

static void reported_usage_is_taken_where_it_is_asked_for(void **state)
{
#define USAGE(subject)                                                                             \
	MINIMAL(", \"nats\": {\"url\": \"nats://x\", \"usage_subject\": " subject "}")
	assert_string_equal(load(USAGE("\"usage.v1.>\"")).nats.usage_subject, "usage.v1.>");
	assert_string_equal(load(USAGE("\"usage.v1.*\"")).nats.usage_subject, "usage.v1.*");
	assert_string_equal(load(USAGE("\"usage.v1.*.gpu-01\"")).nats.usage_subject,
			    "usage.v1.*.gpu-01");
	assert_string_equal(load(USAGE("null")).nats.usage_subject, "");
#undef USAGE
}

static void null_turns_http_and_nats_off(void **state)
{
	struct weir_agent_config c = load(MINIMAL(", \"http\": null, \"nats\": null"));

	assert_string_equal(c.http_host, "");
	assert_int_equal(c.http_port, 0);
	assert_string_equal(c.nats.url, "");
}

static void the_node_is_the_hosts_first_label(void **state)
{
	struct weir_agent_config c;
	struct weir_error err;
	char host[256], *dot;
	int r;

	put("{\"interfaces\": [\"eth0\"], \"services\": [{\"port\": 8000}]}");
	r = weir_agent_config_load(path, &c, &err);
	assert_int_equal(gethostname(host, sizeof(host)), 0);
	dot = strchr(host, '.');
	if (dot)
		*dot = '\0';
	if (r) /* this host's name is no name */
		assert_non_null(strstr(err.text, "set \"node\""));
	else
		assert_int_equal(strcasecmp(c.node, host), 0);
}

#define NO_PATH " is not a path of 1 to 31 bytes that begins with / (a * may follow)"
#define NEVER_FREE                                                                                 \
	" has a blank, control, \"?\", \"%\", inner \"*\" or a byte that is not ASCII: such a "    \
	"path "                                                                                    \
	"is never free"
#define INT(low, high) " is not a whole number from " low " to " high

static void every_bad_value_is_told_file_path_and_value(void **state)
{
	static const struct {
		const char *json, *error;
	} bad[] = {
		{ "{", "line 1, column 1: string or '}' expected near end of file" },
		{ "[]", "an array is not an object" },
		{ "{\"node\": \"n\", \"services\": [{\"port\": 1}]}", "has no \"interfaces\"" },
		{ "{\"node\": \"n\", \"interfaces\": [\"e\"]}", "has no \"services\"" },
		{ MINIMAL(", \"prot\": 1"), "prot: no such field (value 1)" },
		{ MINIMAL(", \"max_flow\": 1"),
		  "max_flow: no such field (value 1; did you mean \"max_flows\"?)" },
		{ MINIMAL(", \"node\": \"n\""),
		  "node: line 1, column 74: duplicate object key near '\"node\"'" },
		{ "{\"node\": \"Not A Token\"}",
		  "node: \"Not A Token\" is not a name of 1 to 63 of a-z 0-9 _ -" },
		{ MINIMAL(", \"instance\": \"../x\""),
		  "instance: \"../x\" is not a name of 1 to 63 of a-z 0-9 _ -" },
		{ MINIMAL(", \"xdp\": \"fast\""),
		  "xdp: \"fast\" is not \"auto\", \"native\", \"generic\" or \"off\"" },
		{ MINIMAL(", \"ring_bytes\": 12345"),
		  "ring_bytes: 12345" INT("65536", "1073741824") },
		{ MINIMAL(", \"ring_bytes\": 100000"), "ring_bytes: 100000 is not a power of two" },
		{ MINIMAL(", \"ring_bytes\": 4294967296"),
		  "ring_bytes: 4294967296" INT("65536", "1073741824") },
		{ MINIMAL(", \"max_tenants\": -1"), "max_tenants: -1" INT("2", "4194304") },
		{ MINIMAL(", \"max_flows\": 1e6"), "max_flows: 1000000.0" INT("64", "16777216") },
		{ MINIMAL(", \"agent_timeout_ms\": 5"),
		  "agent_timeout_ms: 5" INT("1000", "600000") },
		{ MINIMAL(", \"enforce\": 1"), "enforce: 1 is not true or false" },
		{ MINIMAL(", \"state_dir\": \"var\""),
		  "state_dir: \"var\" is not an absolute path" },
		{ MINIMAL(", \"control\": "
			  "\"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
		  "control: \"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaa... is not a string of 1 to 107 bytes" },
		{ MINIMAL(", \"http\": \"9477\""), "http: \"9477\" is not \"address:port\"" },
		{ MINIMAL(", \"http\": \"::1:9477\""),
		  "http: \"::1:9477\" is not \"address:port\"" },
		{ MINIMAL(", \"http\": \"localhost:\""),
		  "http: \"localhost:\" is not \"address:port\"" },
		{ MINIMAL(", \"http\": \":80\""), "http: \":80\" is not \"address:port\"" },
		{ MINIMAL(", \"http\": \"a:65536\""), "http: \"a:65536\" is not \"address:port\"" },
		{ MINIMAL(", \"http\": \"a:99999999999999999999\""),
		  "http: \"a:99999999999999999999\" is not \"address:port\"" },
		{ MINIMAL(", \"nats\": {}"), "nats: has no \"url\"" },
		{ MINIMAL(", \"nats\": \"nats://u:secret@x\""), "nats: is not an object" },
		{ MINIMAL(", \"nats\": {\"url\": \"nats://x\", \"usage_subject\": \"usage.v2.>\"}"),
		  "nats.usage_subject: \"usage.v2.>\" is not \"usage.v1.>\", \"usage.v1.*\" or "
		  "\"usage.v1.*.NAME\"" },
		/* It may overlap another node's "usage.v1.*.gpu-01", and no server would tell. */
		{ MINIMAL(", \"nats\": {\"url\": \"nats://x\", \"usage_subject\": "
			  "\"usage.v1.acme.>\"}"),
		  "nats.usage_subject: \"usage.v1.acme.>\" is not \"usage.v1.>\", \"usage.v1.*\" "
		  "or "
		  "\"usage.v1.*.NAME\"" },
		{ MINIMAL(", \"nats\": {\"url\": \"nats://x\", \"usage_subject\": "
			  "\"usage.v1.*.a.b\"}"),
		  "nats.usage_subject: \"usage.v1.*.a.b\" is not \"usage.v1.>\", \"usage.v1.*\" or "
		  "\"usage.v1.*.NAME\"" },
		{ MINIMAL(", \"nats\": {\"usage_subject\": \"usage.v1.>\"}"),
		  "nats: has no \"url\"" },
		{ MINIMAL(", \"nats\": {\"url\": \"http://user:secret@x\"}"),
		  "nats.url: does not start with nats:// or tls://" },
		{ "{\"node\": \"n\", \"interfaces\": \"eth0\"}",
		  "interfaces: \"eth0\" is not an array" },
		{ "{\"node\": \"n\", \"interfaces\": []}",
		  "interfaces: 0 elements, at least 1 must be there" },
		{ "{\"node\": \"n\", \"interfaces\": [\"a\", \"a\"]}",
		  "interfaces[1]: \"a\" is listed twice" },
		{ "{\"node\": \"n\", \"interfaces\": [3]}", "interfaces[0]: 3 is not a string" },
		{ "{\"node\": \"n\", \"interfaces\": [{\"netns\": \"p\"}]}",
		  "interfaces[0]: has no \"name\"" },
		{ "{\"node\": \"n\", \"interfaces\": [{\"name\": \"a\", \"ns\": \"p\"}]}",
		  "interfaces[0].ns: no such field (value \"p\")" },
		{ "{\"node\": \"n\", \"interfaces\": [{\"name\": \"a\", \"netns\": \"p/q\"}]}",
		  "interfaces[0].netns: \"p/q\" is neither an absolute path nor a name in "
		  "/run/netns/" },
		{ "{\"node\": \"n\", \"interfaces\": [{\"name\": \"a\", \"netns\": \"..\"}]}",
		  "interfaces[0].netns: \"..\" is neither an absolute path nor a name in "
		  "/run/netns/" },
		{ "{\"node\": \"n\", \"interfaces\": [{\"name\": \"a\", \"netns\": \"\"}]}",
		  "interfaces[0].netns: \"\" is not a string of 1 to 244 bytes" },
		{ "{\"node\": \"n\", \"interfaces\": [{\"name\": \"a\", \"netns\": \"p\"}, \"a\", "
		  "{\"name\": \"a\", \"netns\": \"/run/netns/p\"}]}",
		  "interfaces[2].name: \"a\" is listed twice" },
		{ "{\"node\": \"n\", \"interfaces\": [\"a\", {\"name\": \"a\"}]}",
		  "interfaces[1].name: \"a\" is listed twice" },
		{ MINIMAL(", \"free_paths\": \"/x\""), "free_paths: \"/x\" is not an array" },
		{ MINIMAL(", \"free_paths\": [7]"),
		  "free_paths[0]: 7 is neither a path nor an object" },
		{ MINIMAL(", \"free_paths\": [\"\"]"),
		  "free_paths[0]: \"\" is not a string of 1 to 32 bytes" },
		{ MINIMAL(", \"free_paths\": [\"*\"]"), "free_paths[0]: \"*\"" NO_PATH },
		{ MINIMAL(", \"free_paths\": [\"health\"]"), "free_paths[0]: \"health\"" NO_PATH },
		{ MINIMAL(", \"free_paths\": [\"/23456789012345678901234567890123\"]"),
		  "free_paths[0]: \"/23456789012345678901234567890123\" is not a string of 1 to 32 "
		  "bytes" },
		{ MINIMAL(", \"free_paths\": [\"/2345678901234567890123456789012x\"]"),
		  "free_paths[0]: \"/2345678901234567890123456789012x\" is not a string of 1 to 32 "
		  "bytes" },
		{ MINIMAL(", \"free_paths\": [\"/234567890123456789012345678901x\"]"),
		  "free_paths[0]: \"/234567890123456789012345678901x\"" NO_PATH },
		{ MINIMAL(", \"free_paths\": [\"/ok\", \"/a?b\"]"),
		  "free_paths[1]: \"/a?b\"" NEVER_FREE },
		{ MINIMAL(", \"free_paths\": [\"/a b\"]"), "free_paths[0]: \"/a b\"" NEVER_FREE },
		{ MINIMAL(", \"free_paths\": [\"/%61\"]"), "free_paths[0]: \"/%61\"" NEVER_FREE },
		{ MINIMAL(", \"free_paths\": [\"/a*b\"]"), "free_paths[0]: \"/a*b\"" NEVER_FREE },
		{ MINIMAL(", \"free_paths\": [\"/a**\"]"), "free_paths[0]: \"/a**\"" NEVER_FREE },
		{ MINIMAL(", \"free_paths\": [\"/\xc3\xa4\"]"),
		  "free_paths[0]: \"/\xc3\xa4\"" NEVER_FREE },
		{ MINIMAL(", \"free_paths\": [\"/a/../b\"]"),
		  "free_paths[0]: \"/a/../b\" has \"..\" or \"//\": such a path is never free" },
		{ MINIMAL(", \"free_paths\": [\"/a//*\"]"),
		  "free_paths[0]: \"/a//*\" has \"..\" or \"//\": such a path is never free" },
		{ MINIMAL(", \"free_paths\": [{\"any_method\": true}]"),
		  "free_paths[0]: has no \"path\"" },
		{ MINIMAL(", \"free_paths\": [{\"path\": \"/a\", \"any_method\": 1}]"),
		  "free_paths[0].any_method: 1 is not true or false" },
		{ MINIMAL(", \"free_paths\": [{\"path\": \"a\"}]"),
		  "free_paths[0].path: \"a\"" NO_PATH },
		{ MINIMAL(", \"free_paths\": [\"/a*\", \"/a\", {\"path\": \"/a*\", \"any_method\": "
			  "true}]"),
		  "free_paths[2].path: \"/a*\" is listed twice" },
		{ MINIMAL(", \"free_options\": \"no\""),
		  "free_options: \"no\" is not true or false" },
		{ MINIMAL(", \"trusted_sources\": [\"10.0.0.1/8\"]"),
		  "trusted_sources[0]: \"10.0.0.1/8\" has bits set past its prefix length" },
		{ MINIMAL(", \"trusted_sources\": [\"10.0.0.1\"]"),
		  "trusted_sources[0]: \"10.0.0.1\" is not a prefix such as \"10.1.0.0/16\" or "
		  "\"2001:db8::/32\"" },
		{ MINIMAL(", \"trusted_sources\": [\"10.0.0.0/8\", \"::ffff:10.0.0.0/104\"]"),
		  "trusted_sources[1]: \"::ffff:10.0.0.0/104\" is listed twice" },
		{ MINIMAL(", \"head_timeout_ms\": 999"),
		  "head_timeout_ms: 999" INT("1000", "300000") },
		{ MINIMAL(", \"idle_timeout_s\": 604801"),
		  "idle_timeout_s: 604801" INT("1", "604800") },
		{ MINIMAL(", \"max_split_heads\": 65537"),
		  "max_split_heads: 65537" INT("16", "65536") },
		{ MINIMAL(", \"sweep_interval_s\": 0"), "sweep_interval_s: 0" INT("1", "3600") },
		{ "{\"node\": \"n\", \"interfaces\": [\"a/b\"]}",
		  "interfaces[0]: \"a/b\" is not an interface name" },
		{ "{\"node\": \"n\", \"interfaces\": [\"sixteen-letters-\"]}",
		  "interfaces[0]: \"sixteen-letters-\" is not a string of 1 to 15 bytes" },
		{ "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": []}",
		  "services: 0 elements, at least 1 must be there" },
		{ "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": [{}]}",
		  "services[0]: has no \"port\"" },
		{ "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": [{\"port\": 65536}]}",
		  "services[0].port: 65536" INT("1", "65535") },
		{ "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": [{\"port\": 1, "
		  "\"api\": "
		  "\"grpc\"}]}",
		  "services[0].api: \"grpc\" is not \"openai\", \"anthropic\" or \"plain\"" },
		{ "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": [{\"port\": 1}, "
		  "{\"port\": "
		  "1}]}",
		  "services[1].port: 1 is also the port of services[0]" },
		{ "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": [{\"port\": 1, "
		  "\"name\": "
		  "\"x\"}, {\"port\": 2, \"name\": \"x\"}]}",
		  "services[1].name: \"x\" is also the name of services[0]" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused(bad[i].json, bad[i].error);
}

static void as_many_services_as_the_kernel_has_numbers_for(void **state)
{
	char text[4096];
	int n = sprintf(text, "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": [");

	for (int i = 1; i <= WEIR_CONFIG_SERVICES + 1; i++)
		n += sprintf(text + n, "%s{\"port\": %d}", i > 1 ? ", " : "", i);
	sprintf(text + n, "]}");
	refused(text, "services: 32 elements, at most 31 may be there");
}

/* n elements "/p0", "/p1"… or "10.0.0.0/32"… of a list. */
static void load_list(const char *field, const char *format, int n, const char *error)
{
	char text[4096];
	int at = sprintf(text,
			 "{\"node\": \"n\", \"interfaces\": [\"e\"], \"services\": [{\"port\": "
			 "1}], \"%s\": [",
			 field);

	for (int i = 0; i < n; i++) {
		at += sprintf(text + at, "%s", i ? ", " : "");
		at += sprintf(text + at, format, i);
	}
	sprintf(text + at, "]}");
	if (error)
		refused(text, error);
	else
		load(text);
}

static void as_many_paths_and_prefixes_as_the_kernel_has_room_for(void **state)
{
	load_list("free_paths", "\"/p%d\"", WEIR_FREE_PATHS, NULL);
	load_list("free_paths", "\"/p%d\"", WEIR_FREE_PATHS + 1,
		  "free_paths: 33 elements, at most 32 may be there");
	load_list("trusted_sources", "\"10.0.0.%d/32\"", WEIR_TRUSTED_MAX, NULL);
	load_list("trusted_sources", "\"10.0.0.%d/32\"", WEIR_TRUSTED_MAX + 1,
		  "trusted_sources: 17 elements, at most 16 may be there");
}

static void a_file_that_is_not_there_is_told(void **state)
{
	struct weir_agent_config c;
	struct weir_error err;

	assert_int_equal(weir_agent_config_load("/nonexistent/agent.json", &c, &err), -ENOENT);
	assert_string_equal(err.text,
			    "/nonexistent/agent.json: cannot be read: No such file or directory");
	assert_int_equal(weir_agent_config_load("/tmp", &c, &err), -EINVAL);
	assert_string_equal(err.text, "/tmp: is not a file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_needs_to_be_said),
		cmocka_unit_test(everything_can_be_said),
		cmocka_unit_test(an_interface_may_be_in_another_namespace),
		cmocka_unit_test(health_metrics_and_models_are_free_unless_said_otherwise),
		cmocka_unit_test(free_paths_are_words_and_masks),
		cmocka_unit_test(trusted_sources_are_bits_and_masks),
		cmocka_unit_test(how_long_heads_and_silence_may_last),
		cmocka_unit_test(how_often_drift_is_looked_for),
		cmocka_unit_test(reported_usage_is_taken_where_it_is_asked_for),
		cmocka_unit_test(null_turns_http_and_nats_off),
		cmocka_unit_test(the_node_is_the_hosts_first_label),
		cmocka_unit_test(every_bad_value_is_told_file_path_and_value),
		cmocka_unit_test(as_many_services_as_the_kernel_has_numbers_for),
		cmocka_unit_test(as_many_paths_and_prefixes_as_the_kernel_has_room_for),
		cmocka_unit_test(a_file_that_is_not_there_is_told),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
