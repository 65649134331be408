/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about the HTTP pages: what is there, in which format, and nothing else. */
#include <arpa/inet.h>
#include <ctype.h>
#include <regex.h>
#include <sys/socket.h>

#include "fake_agent.h"

#include "agent/httpd.h"

static struct fake *f;
static struct weir_httpd *h;
static char answer[1 << 16];

static int setup(void **state)
{
	struct weir_error err = { "" };

	f = fake_new(NULL);
	f->kernel[1].balance_nano = 1500000000;
	f->denied[1][WEIR_DENY_TOKENS] = 4;
	f->shadow_denied[1][WEIR_DENY_REQUESTS] = 6;
	f->kernel[1].half_open = 2;
	weir_lag_note(&f->lags.settled, 0, 1500000);
	weir_lag_note(&f->lags.settled, 0, 5000000);
	weir_lag_note(&f->lags.settled, 0, UINT64_C(60) * 1000000000);
	f->kernel[1].reserved_tokens = 900;
	f->kernel[1].released_tokens[0] = 200;
	f->kernel[1].flags |= WEIR_TENANT_SUSPENDED;
	if (weir_httpd_start("127.0.0.1", 0, &f->view, &h, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int teardown(void **state)
{
	weir_httpd_stop(h);
	fake_free(f);
	return 0;
}

static int request(const char *method, const char *path)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(weir_httpd_port(h)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[256];
	size_t n = 0;
	ssize_t got;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	snprintf(line, sizeof(line), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		 method, path);
	assert_true(send(fd, line, strlen(line), MSG_NOSIGNAL) > 0);
	while ((got = recv(fd, answer + n, sizeof(answer) - 1 - n, 0)) > 0)
		n += (size_t)got;
	answer[n] = 0;
	close(fd);
	assert_true(n > 12);
	return atoi(answer + 9);
}

static void metrics_are_prometheus_text(void **state)
{
	static const char *const lines[] = {
		/* What was refused and what only would have been are two series. */
		"\nweir_tenant_shadow_refused_total{tenant=\"acme\",reason=\"requests\"} 6\n",
		"\nweir_tenant_half_open{tenant=\"acme\"} 2\n",
		"\nweir_tenant_reserved_tokens{tenant=\"acme\"} 700\n",
		"\nweir_tenant_suspended{tenant=\"acme\"} 1\n",
		"\nweir_tenant_suspended{tenant=\"globex\"} 0\n",
		"\nweir_tenants_suspended 1\n",
		"\nweir_enforcing 1\n",
		"\nweir_half_open 4\n",
		"\nweir_map_bytes{map=\"flows\"} 2097152\n",
		"\nweir_capped_total 11\n",
		"\nweir_drift_reaped_total 8\n",
		"\nweir_drift_corrected_total{gauge=\"inflight\"} 9\n",
		"\nweir_answers_total{usage=\"estimated\"} 21\n",
		"\nweir_guessed_total{count=\"output\"} 22\n",
		"\nweir_unbilled_total{reason=\"retry\"} 23\n",
		"\nweir_lost_bytes_total 24\n",
		"\nweir_decoders_given_up_total 25\n",
		"\nweir_usage_hidden{service=\"llm\",form=\"streamed\"} 26\n",
		"\nweir_usage_hidden{service=\"llm\",form=\"plain\"} 0\n",
		/* Buckets add up. */
		"\n# TYPE weir_settled_seconds histogram\n",
		"\nweir_settled_seconds_bucket{le=\"0.001\"} 0\n",
		"\nweir_settled_seconds_bucket{le=\"0.002\"} 1\n",
		"\nweir_settled_seconds_bucket{le=\"0.005\"} 2\n",
		"\nweir_settled_seconds_bucket{le=\"50\"} 2\n",
		"\nweir_settled_seconds_bucket{le=\"+Inf\"} 3\n",
		"\nweir_settled_seconds_sum 60.0065\n",
		"\nweir_settled_seconds_count 3\n",
		"\nweir_committed_seconds_count 0\n",
		"\nweir_published_seconds_count 0\n",
	};
	char *line, *save = NULL;
	regex_t good;

	assert_int_equal(request("GET", "/metrics"), 200);
	assert_non_null(strstr(answer, "text/plain; version=0.0.4"));
	assert_non_null(strstr(answer, "\nweir_verdicts_total{reason=\"admit_request\"} 12\n"));
	assert_non_null(strstr(answer, "\nweir_tenant_balance_credits{tenant=\"acme\"} 1.5\n"));
	assert_non_null(strstr(
		answer, "\nweir_tenant_refused_total{tenant=\"acme\",reason=\"tokens\"} 4\n"));
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		if (!strstr(answer, lines[i]))
			fail_msg("no line \"%s\"", lines[i]);
	}
	assert_null(
		strstr(answer, "\nweir_tenant_refused_total{tenant=\"acme\",reason=\"requests"));
	assert_int_equal(regcomp(&good,
				 "^(# (HELP|TYPE) weir_[a-z_]+ .+|weir_[a-z_]+"
				 "(\\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\\})? [-0-9.]+)$",
				 REG_EXTENDED | REG_NOSUB),
			 0);
	line = strtok_r(strstr(answer, "\r\n\r\n") + 4, "\n", &save);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		if (regexec(&good, line, 0, NULL, 0))
			fail_msg("not a metric: %s", line);
	}
	regfree(&good);
}

static void a_scope_is_no_tenant_of_the_metrics(void **state)
{
	fake_levels(f);
	assert_int_equal(request("GET", "/metrics"), 200);
	assert_non_null(strstr(answer, "\nweir_tenant_inflight{tenant=\"team\"} "));
	assert_null(strchr(answer, '@'));
	assert_int_equal(request("GET", "/"), 200);
	assert_null(strstr(answer, "acme@embed"));
}

static void health_and_page_answer(void **state)
{
	assert_int_equal(request("GET", "/healthz"), 200);
	assert_int_equal(request("GET", "/"), 200);
	assert_non_null(strstr(answer, "weir on gpu-01"));
	assert_non_null(strstr(answer, "acme"));
	assert_int_equal(request("HEAD", "/metrics"), 200);
	assert_null(strstr(answer, "weir_info"));
}

static void nothing_else_is_there(void **state)
{
	assert_int_equal(request("GET", "/nothing"), 404);
	assert_int_equal(request("GET", "/../etc/passwd"), 404);
	assert_int_equal(request("POST", "/metrics"), 405);
	assert_int_equal(request("DELETE", "/"), 405);
}

static void a_port_in_use_is_told(void **state)
{
	struct weir_error err = { "" };
	struct weir_httpd *second;

	assert_true(weir_httpd_start("127.0.0.1", weir_httpd_port(h), &f->view, &second, &err) < 0);
	assert_non_null(strstr(err.text, "in use"));
	assert_true(weir_httpd_start("localhost", 0, &f->view, &second, &err) < 0);
	assert_non_null(strstr(err.text, "localhost"));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(metrics_are_prometheus_text), CLAIM(a_scope_is_no_tenant_of_the_metrics),
		CLAIM(health_and_page_answer),	    CLAIM(nothing_else_is_there),
		CLAIM(a_port_in_use_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
