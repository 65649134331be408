/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that cost nothing (forms.md, "Free requests"), the tricks by which another path
 * might look like one, and peers that may speak for tenants (x-weir-tenant).
 */
#include "tests/bpf/streams.h"

static void is_free(const char *request, bool free)
{
	struct conn c = open_conn(nobody, host);
	uint64_t had = counter(WEIR_PASS_FREE), judged = counter(WEIR_ADMIT_REQUEST);
	struct verdict v = send_text(&c, request);

	if (v.code != OUT_PASS || counter(WEIR_PASS_FREE) - had != free ||
	    counter(WEIR_ADMIT_REQUEST) - judged != !free)
		fail_msg("\"%s\": verdict %d; counted:%s", request, v.code, counted());
	/* A free one is followed like any other. */
	server_acks(&c);
	next_closes(&c, "GET /", WEIR_DROP_PIPELINED);
}

static void paths_that_are_free_and_paths_that_are_not(void **state)
{
	static const struct {
		const char *target;
		bool free;
	} targets[] = {
		{ "/metrics", true }, /* exact */
		{ "/metrics?x=y", true },
		{ "/metrics?a/../b", true },
		{ "/metrics/", false },
		{ "/metricsx", false },
		{ "/metric", false },
		{ "/Metrics", false },
		{ "/health", true }, /* and what follows */
		{ "/health/live", true },
		{ "/healthz?verbose", true },
		{ "/health?../v1/chat", true },
		{ "/health/../v1/chat/completions", false },
		{ "/health/..", false },
		{ "/health//v1", false },
		{ "/health/%2e%2e/v1/chat/completions", false },
		{ "/health\\..\\v1", false },
		{ "/v1/models/org/name", true },
		{ "/v1/models/..%2fchat", false },
		{ "//health", false },
		{ "/./health", false },
		{ "/%68ealth", false },
		{ "http://llm/health", false },
		{ "*", false },
		{ "/", false },
	};

	default_tenant();
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		char text[300];

		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n\r\n", targets[i].target);
		is_free(text, targets[i].free);
		snprintf(text, sizeof(text), "HEAD %s HTTP/1.1\r\nA: b\r\n\r\n", targets[i].target);
		is_free(text, targets[i].free);
		snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\n\r\n", targets[i].target);
		is_free(text, false);
		snprintf(text, sizeof(text), "get %s HTTP/1.1\r\n\r\n", targets[i].target);
		is_free(text, false);
		snprintf(text, sizeof(text), "GET  %s HTTP/1.1\r\n\r\n", targets[i].target);
		is_free(text, false);
	}
}

/* "a path ends at ? or blank" */
static void a_second_blank_makes_it_another_path(void **state)
{
	default_tenant();
	is_free("GET /metrics /v1/chat HTTP/1.1\r\n\r\n", false);
	is_free("GET /health /v1/chat HTTP/1.1\r\n\r\n", false);
}

static void a_free_path_is_shorter_than_128_bytes(void **state)
{
	char text[400];

	default_tenant();
	for (int n = 120; n < 300; n += n < 135 ? 1 : 40) {
		snprintf(text, sizeof(text), "GET /health/%0*d HTTP/1.1\r\n\r\n", n - 8, 0);
		is_free(text, n < 128);
	}
}

static void options_are_free_unless_turned_off(void **state)
{
	default_tenant();
	is_free("OPTIONS /v1/chat/completions HTTP/1.1\r\n\r\n", true);
	is_free("OPTIONS * HTTP/1.1\r\n\r\n", true);
	is_free("OPTIONSX /v1/chat HTTP/1.1\r\n\r\n", false);
	is_free("options /v1/chat HTTP/1.1\r\n\r\n", false);
	lab.config->free_options = 0;
	is_free("OPTIONS /v1/chat/completions HTTP/1.1\r\n\r\n", false);
	is_free("OPTIONS /health HTTP/1.1\r\n\r\n", false);
}

static void an_entry_may_be_of_any_method(void **state)
{
	default_tenant();
	lab.config->n_free_paths = 0;
	free_path("/tokenize");
	lab.config->free_paths[0].flags |= WEIR_FREE_ANY_METHOD;
	is_free("POST /tokenize HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", true);
	is_free("DELETE /tokenize HTTP/1.1\r\n\r\n", true);
	is_free("POST /tokenizer HTTP/1.1\r\n\r\n", false);
	is_free("GET /health HTTP/1.1\r\n\r\n", false);
}

/* Its body and its answer are followed, and nothing is metered. */
static void a_free_request_with_a_body(void **state)
{
	static const char *const bodies[] = {
		"Content-Length: 20\r\n\r\n0123456789",
		"Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n",
	};
	static const char *const ends[] = { "0123456789", "0\r\n\r\n" };

	default_tenant();
	free_path("/tokenize");
	lab.config->free_paths[lab.config->n_free_paths - 1].flags |= WEIR_FREE_ANY_METHOD;
	for (int i = 0; i < 2; i++) {
		struct conn c = open_conn(nobody, host);
		char text[300];

		snprintf(text, sizeof(text), "POST /tokenize HTTP/1.1\r\n%s", bodies[i]);
		passes(send_text(&c, text));
		passes(send_text(&c, ends[i]));
		answer_ok(&c);
		passes(send_text(&c, "GET /health HTTP/1.1\r\n\r\n"));
		answer_ok(&c);
		assert_int_equal(free_readers(), readers_before);
	}
	is_counted(WEIR_PASS_FREE, 4);
	is_counted(WEIR_ADMIT_REQUEST, 0);
	assert_null(record(WEIR_REC_REQUEST, 0));
	assert_null(record(WEIR_REC_DATA, 0));
	assert_null(record(WEIR_REC_END, 0));
}

static void in_parts_it_is_free_too(void **state)
{
	static const char text[] = "GET /health HTTP/1.1\r\nHost: llm\r\n\r\n";

	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		struct conn c = open_conn(nobody, host);

		passes(send_bytes(&c, text, cut));
		passes(send_text(&c, text + cut));
		is_counted(WEIR_PASS_FREE, cut);
		answer_ok(&c);
	}
}

/* -- x-weir-tenant */

static void name_tenant(const char *name, uint32_t index)
{
	char key[WEIR_TENANT_NAME_BYTES] = "";

	memcpy(key, name, strlen(name));
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(lab.skel->maps.names), key, &index, BPF_ANY), 0);
}

static void a_trusted_peer_names_the_tenant(void **state)
{
	static const char *const peers[] = { "203.0.113.9", "2001:db8:aa::9" };
	char longest[WEIR_TENANT_NAME_BYTES];
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index), *d = default_tenant();

	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	name_tenant("acme", index);
	name_tenant(longest, index);
	trust("203.0.113.0", 24);
	trust("2001:db8:aa::", 48);
	for (int i = 0; i < 2; i++) {
		struct conn c = open_conn(peers[i], i ? "2001:db8::1" : host);
		char text[300];

		passes(send_text(&c, "POST / HTTP/1.1\r\nx-weir-tenant: acme\r\n\r\n"));
		answer_ok(&c);
		passes(send_text(&c, "POST / HTTP/1.1\r\nX-Weir-Tenant:acme  \r\n\r\n"));
		answer_ok(&c);
		snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nx-weir-tenant: %s\r\n\r\n",
			 longest);
		passes(send_text(&c, text));
		answer_ok(&c);
		assert_int_equal(t->admitted, 3 * (i + 1));
	}
	assert_int_equal(d->admitted, 0);
}

static void a_name_that_nobody_has_is_refused(void **state)
{
	static const char *const names[] = {
		"nobody", "acm", "acme2",
		"ACME",	  "",	 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
	};
	uint32_t index;

	new_tenant(&index);
	default_tenant();
	name_tenant("acme", index);
	trust("203.0.113.0", 24);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct conn c = open_conn("203.0.113.9", host);
		char text[300];
		struct verdict v;

		snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nx-weir-tenant: %s\r\n\r\n",
			 names[i]);
		v = send_text(&c, text);
		is_refused(&c, &v, 401);
	}
	is_counted(WEIR_DENY_UNKNOWN_KEY, sizeof(names) / sizeof(names[0]));
}

static void from_others_the_name_is_ignored(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index), *d = default_tenant();
	struct conn c = open_conn(nobody, host), e = open_conn("203.0.114.9", host);

	name_tenant("acme", index);
	trust("203.0.113.0", 24);
	passes(send_text(&c, "POST / HTTP/1.1\r\nx-weir-tenant: acme\r\n\r\n"));
	passes(send_text(&e, "POST / HTTP/1.1\r\nx-weir-tenant: nobody\r\n\r\n"));
	assert_int_equal(t->admitted, 0);
	assert_int_equal(d->admitted, 2);
}

static void a_key_comes_before_the_name(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index), *k = tenant_with("sk-key");
	struct conn c = open_conn("203.0.113.9", host), d = open_conn("203.0.113.9", host);
	struct verdict v;

	name_tenant("acme", index);
	trust("203.0.113.0", 24);
	passes(send_text(&c,
			 "POST / HTTP/1.1\r\nx-weir-tenant: acme\r\nx-api-key: sk-key\r\n\r\n"));
	assert_int_equal(t->admitted, 0);
	assert_int_equal(k->admitted, 1);
	v = send_text(&d, "POST / HTTP/1.1\r\nx-weir-tenant: acme\r\nx-api-key: wrong\r\n\r\n");
	is_refused(&d, &v, 401);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(paths_that_are_free_and_paths_that_are_not),
		STREAM_CLAIM(a_second_blank_makes_it_another_path),
		STREAM_CLAIM(a_free_path_is_shorter_than_128_bytes),
		STREAM_CLAIM(options_are_free_unless_turned_off),
		STREAM_CLAIM(an_entry_may_be_of_any_method),
		STREAM_CLAIM(a_free_request_with_a_body),
		STREAM_CLAIM(in_parts_it_is_free_too),
		STREAM_CLAIM(a_trusted_peer_names_the_tenant),
		STREAM_CLAIM(a_name_that_nobody_has_is_refused),
		STREAM_CLAIM(from_others_the_name_is_ignored),
		STREAM_CLAIM(a_key_comes_before_the_name),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
