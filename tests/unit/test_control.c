/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about the control socket: what it answers, and what hostile clients cannot do to it. */
#include <jansson.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "control_fixture.h"

/* -------------------------------------------------------------------------- answers */

static void status_has_the_documented_shape(void **state)
{
	json_t *s = result_of(ask("{\"op\":\"status\"}"));
	json_t *i = json_array_get(json_object_get(s, "interfaces"), 0);

	assert_string_equal(text(s, "node"), "gpu-01");
	assert_string_equal(text(i, "xdp_mode"), "native");
	assert_string_equal(json_string_value(json_array_get(json_object_get(i, "neighbours"), 0)),
			    "cilium");
	assert_int_equal(json_integer_value(
				 json_object_get(json_object_get(s, "verdicts"), "admit_request")),
			 12);
	assert_true(json_is_null(json_object_get(s, "nats")));
	assert_int_equal(json_array_size(json_object_get(s, "warnings")), 0);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(s, "answers"), "retry_free")),
		23);
	json_decref(s);
}

static void status_says_how_requests_come_to_the_ledger(void **state)
{
	json_t *s, *want, *got;

	for (int i = 0; i < 100; i++)
		weir_lag_note(&f->lags.settled, 0, i ? 1500000 : 4000000);
	weir_lag_note(&f->lags.committed, 0, UINT64_MAX / 2);
	s = result_of(ask("{\"op\":\"status\"}"));
	got = json_object_get(s, "lag");
	want = json_pack("{s:{s:i,s:i,s:i},s:{s:i,s:n,s:n},s:{s:i,s:n,s:n}}", "settled", "count",
			 100, "p50_us", 2000, "p99_us", 2000, "committed", "count", 1, "p50_us",
			 "p99_us", "published", "count", 0, "p50_us", "p99_us");
	assert_true(json_equal(got, want));
	json_decref(want);
	got = json_object_get(s, "ledger");
	assert_true(json_is_true(json_object_get(got, "healthy")));
	assert_true(json_is_true(json_object_get(got, "heartbeat")));
	assert_true(json_is_null(json_object_get(got, "since")));
	assert_true(json_is_null(json_object_get(got, "full_in_s")));
	assert_int_equal(json_integer_value(json_object_get(got, "room")), 1000);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(got, "spill"), "max")),
			 64 << 20);
	got = json_object_get(s, "clock");
	assert_true(json_is_true(json_object_get(got, "synchronised")));
	assert_true(json_is_false(json_object_get(got, "held")));
	assert_true(json_is_null(json_object_get(s, "gap")));
	assert_true(json_is_null(json_object_get(s, "restored")));
	json_decref(s);
}

static void status_says_what_is_missing_and_what_came_back(void **state)
{
	const uint64_t then = UINT64_C(1793491200) * 1000000000;
	json_t *s, *want;

	f->clock = (struct weir_clock_status){ .held = true, .step_ns = -7300000000000 };
	f->clock.since_ns = then;
	f->gap = (struct weir_run_gap){ true, true, then, then + WEIR_SECOND, 7 };
	f->restored = (struct weir_restored_status){
		.any = true,
		.at_ns = then,
		.from_ns = then,
		.to_ns = then,
		.known_ns = then,
		.report = { .stream = true, .usage = 3, .price_nano = 1500000000, .acts = 2 },
		.text = "it was put back",
	};
	s = result_of(ask("{\"op\":\"status\"}"));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(s, "clock"), "step_s")),
			 -7300);
	want = json_pack("{s:b,s:s,s:s,s:i}", "power_loss", 1, "from", "2026-11-01T00:00:00Z", "to",
			 "2026-11-01T00:00:01Z", "open", 7);
	assert_true(json_equal(json_object_get(s, "gap"), want));
	json_decref(want);
	assert_string_equal(text(json_object_get(s, "restored"), "price"), "1.5");
	assert_string_equal(text(json_object_get(s, "restored"), "text"), "it was put back");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(s, "restored"), "acts")), 2);
	/* And each is warned of. */
	assert_int_equal(json_array_size(json_object_get(s, "warnings")), 3);
	json_decref(s);
}

static void an_unknown_tenant_gets_a_suggestion(void **state)
{
	assert_refused(ask("{\"op\":\"why\",\"tenant\":\"acmee\"}"), "not_found",
		       "tenant \"acmee\": no such tenant (did you mean \"acme\"?)");
	assert_refused(ask("{\"op\":\"why\",\"tenant\":\"zzzzzzz\"}"), "not_found", "no such");
	assert_refused(ask("{\"op\":\"why\",\"tenant\":\"a b;'\\u001b[2J\"}"), "not_found",
		       "no such");
	assert_refused(ask("{\"op\":\"why\"}"), "bad_request", "\"tenant\" is missing");
}

#define SHA "abababababababababababababababababababababababababababababababab"

static void keys_are_added_listed_and_revoked_by_hash(void **state)
{
	json_t *k = result_of(ask("{\"op\":\"key.add\",\"tenant\":\"globex\",\"sha256\":\"" SHA
				  "\",\"hint\":\"wk-abc\",\"id\":\"k1\"}"));
	int fd;

	assert_string_equal(text(k, "key"), "sha256:" SHA);
	json_decref(k);
	assert_int_equal(f->keys_changed, 1);
	assert_int_equal(f->last_key.sha256[31], 0xab);
	k = result_of(ask("{\"op\":\"key.add\",\"tenant\":\"globex\",\"sha256\":\"" SHA
			  "\",\"hint\":\"wk-abc\",\"id\":\"k1\"}"));
	assert_true(json_is_true(json_object_get(k, "repeated")));
	json_decref(k);
	assert_refused(ask("{\"op\":\"key.add\",\"tenant\":\"acme\",\"sha256\":\"" SHA
			   "\",\"id\":\"k1\"}"),
		       "conflict", "k1");
	assert_refused(ask("{\"op\":\"key.add\",\"tenant\":\"acme\",\"sha256\":\"zz\"}"),
		       "bad_request", "64 hex digits");

	fd = dial();
	say_line(fd, "{\"op\":\"key.list\"}\n");
	k = hear(fd);
	assert_string_equal(text(json_object_get(k, "item"), "origin"), "policy");
	json_decref(k);
	k = hear(fd);
	assert_string_equal(text(json_object_get(k, "item"), "hint"), "wk-abc");
	json_decref(k);
	json_decref(result_of(hear(fd)));
	close(fd);

	assert_refused(ask("{\"op\":\"key.revoke\",\"tenant\":\"acme\",\"key\":\"00112233\"}"),
		       "bad_request", "policy files");
	assert_refused(ask("{\"op\":\"key.revoke\",\"tenant\":\"globex\",\"key\":\"abab\"}"),
		       "not_found", "8 digits");
	k = result_of(ask("{\"op\":\"key.revoke\",\"tenant\":\"globex\",\"key\":\"abababab\"}"));
	assert_non_null(text(k, "revoked_at"));
	json_decref(k);
	assert_int_equal(f->keys_changed, 2);
	assert_true(f->last_key.revoked_ns != 0);
}

static void a_wrong_policy_changes_nothing(void **state)
{
	char request[300], bad[160];
	json_t *before = result_of(ask("{\"op\":\"policy.show\"}")), *after;

	snprintf(bad, sizeof(bad), "%s/bad", f->dir);
	mkdir(bad, 0700);
	fake_write(bad, "10.json", "{\"tiers\":{\"x\":{\"concurency\":1}}}");
	snprintf(request, sizeof(request), "{\"op\":\"policy.apply\",\"dir\":\"%s\"}", bad);
	assert_refused(ask(request), "bad_request", "concurency");
	assert_refused(ask("{\"op\":\"policy.apply\",\"dir\":\"policies\"}"), "bad_request",
		       "absolute");
	assert_int_equal(f->reloads, 0);
	after = result_of(ask("{\"op\":\"policy.show\"}"));
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	json_decref(result_of(ask("{\"op\":\"policy.apply\"}")));
	assert_int_equal(f->reloads, 1);
}

static void usage_counts_refusals_from_the_kernel(void **state)
{
	json_t *u, *row;

	fake_requests(f, 1, 0, 3);
	f->denied[1][WEIR_DENY_REQUESTS] = 5;
	f->denied[1][WEIR_DENY_CREDIT] = 2;
	u = result_of(ask("{\"op\":\"usage\"}"));
	assert_int_equal(json_array_size(u), 2);
	row = json_array_get(u, 0);
	assert_string_equal(text(row, "key"), "acme");
	assert_int_equal(json_integer_value(json_object_get(row, "requests")), 3);
	assert_int_equal(json_integer_value(json_object_get(row, "refused")), 7);
	assert_int_equal(json_integer_value(json_object_get(row, "output_tokens")), 303);
	json_decref(u);
}

static void the_ledger_is_listed_and_verified(void **state)
{
	int fd = dial();
	json_t *o;

	fake_requests(f, 1, 0, 3);
	say_line(fd, "{\"op\":\"ledger.list\",\"tenant\":\"acme\"}\n");
	for (int i = 0; i < 3; i++) {
		o = hear(fd);
		assert_string_equal(text(json_object_get(o, "item"), "kind"), "usage");
		json_decref(o);
	}
	json_decref(result_of(hear(fd)));
	close(fd);
	o = result_of(ask("{\"op\":\"ledger.verify\"}"));
	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_int_equal(json_integer_value(json_object_get(o, "entries")), 3);
	json_decref(o);
}

static void following_shows_what_happens_next(void **state)
{
	int fd = dial();
	json_t *o;

	fake_requests(f, 1, 0, 3);
	say_line(fd, "{\"op\":\"events\",\"follow\":true,\"tenant\":\"globex\"}\n");
	json_decref(result_of(ask("{\"op\":\"status\"}")));
	/* Wait until it follows: an entry from before would not be shown. */
	for (unsigned i = 0; i < 100; i++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		fake_requests(f, 2, 100 + i, 1);
		fake_requests(f, 1, 500 + i, 1);
		if (poll(&p, 1, 50) > 0)
			break;
	}
	o = hear(fd);
	assert_string_equal(text(json_object_get(o, "item"), "subject"), "globex");
	json_decref(o);
	close(fd);
}

/* -------------------------------------------------------------------------- hostility */

static void nonsense_is_answered_and_the_connection_lives(void **state)
{
	static const char *const lines[] = {
		"",
		"{",
		"null",
		"[]",
		"\"status\"",
		"{}",
		"{\"op\":1}",
		"{\"op\":\"\"}",
		"{\"op\":\"status\",\"op\":\"top\"}",
		"\xff\xfe",
		"{\"op\":\"status\",\"x\":1}",
		"{\"op\":\"status\"} {}",
		"{\"op\":\"stat\\u0000us\"}",
		"GET / HTTP/1.1\r",
	};
	int fd = dial();

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		json_t *o;

		say(fd, lines[i], strlen(lines[i]));
		say_line(fd, "\n");
		o = hear(fd);
		assert_non_null(o);
		assert_true(json_is_false(json_object_get(o, "ok")));
		json_decref(o);
	}
	say(fd, "{\"op\":\"sta\0us\"}\n", 16);
	json_decref(hear(fd));
	say_line(fd, "{\"op\":\"status\"}\n");
	json_decref(result_of(hear(fd)));
	close(fd);
}

static void deep_nesting_is_refused(void **state)
{
	static char deep[200001];

	memset(deep, '[', sizeof(deep) - 1);
	assert_refused(ask(deep), "bad_request", "request");
}

static void a_line_past_the_bound_is_refused(void **state)
{
	static char big[WEIR_CONTROL_LINE];
	int fd = dial();

	memset(big, 'x', sizeof(big));
	say(fd, big, sizeof(big));
	assert_refused(hear(fd), "too_long", "1048576");
	assert_null(hear(fd));
	close(fd);
}

static void requests_may_come_in_pieces_or_together(void **state)
{
	static const char two[] =
		"{\"op\":\"status\"}\n{\"op\":\"tenant.show\",\"tenant\":\"acme\"}\n";
	int fd = dial();

	for (size_t i = 0; i < 20; i++)
		say(fd, two + i, 1);
	say(fd, two + 20, sizeof(two) - 1 - 20);
	json_decref(result_of(hear(fd)));
	json_decref(result_of(hear(fd)));
	close(fd);
}

static void half_a_request_does_nothing(void **state)
{
	static const char half[] =
		"{\"op\":\"credit.grant\",\"tenant\":\"acme\",\"amount\":\"1\",\"id\":\"h\"}";
	int fd = dial();

	say(fd, half, sizeof(half) - 1);
	shutdown(fd, SHUT_WR);
	assert_null(hear(fd));
	close(fd);
	assert_int_equal(f->posts, 0);
}

static void idle_and_unreading_clients_hold_nobody_up(void **state)
{
	int fds[3 * WEIR_CONTROL_CLIENTS];

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		fds[i] = dial();
		if (i % 2)
			say(fds[i], "{\"op\":", 6);
	}
	json_decref(result_of(ask("{\"op\":\"status\"}")));
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		close(fds[i]);
}

static void a_client_that_reads_nothing_holds_nobody_up(void **state)
{
	int fd = dial(), small = 4096;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	fake_requests(f, 1, 0, 2000);
	say_line(fd, "{\"op\":\"events\"}\n");
	json_decref(result_of(ask("{\"op\":\"status\"}")));
	json_decref(result_of(ask(
		"{\"op\":\"credit.grant\",\"tenant\":\"acme\",\"amount\":\"1\",\"id\":\"n\"}")));
	close(fd);
}

static void others_are_turned_away(void **state)
{
	int status, hush[2];
	pid_t pid;

	if (geteuid()) {
		print_message("skip: only root can become somebody else\n");
		skip();
	}
	/* Past the file's mode, so that the peer's credentials are what decides. */
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(chmod(f->socket, 0666), 0);
	assert_int_equal(pipe(hush), 0);
	pid = fork();
	if (!pid) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };
		char reply[512] = "";
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		strcpy(a.sun_path, f->socket);
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534) ||
		    connect(fd, (struct sockaddr *)&a, sizeof(a)))
			_exit(2);
		/* It may be turned away before it has asked: the answer is there all the same. */
		if (send(fd, "{\"op\":\"status\"}\n", 16, MSG_NOSIGNAL) < 0 && errno != EPIPE)
			_exit(3);
		if (recv(fd, reply, sizeof(reply) - 1, MSG_WAITALL) <= 0)
			_exit(4);
		_exit(strstr(reply, "\"forbidden\"") && !strstr(reply, "gpu-01") ? 0 : 5);
	}
	close(hush[0]);
	close(hush[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_socket_in_use_is_not_taken_and_a_dead_one_is(void **state)
{
	struct weir_control *second = NULL;
	struct weir_error err = { "" };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char file[160];
	int fd;

	assert_int_equal(weir_control_start(f->socket, &f->view, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, f->socket));
	snprintf(file, sizeof(file), "%s/weir.db", f->dir);
	assert_int_equal(weir_control_start(file, &f->view, &second, &err), -EEXIST);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/dead.sock", f->dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	assert_int_equal(weir_control_start(a.sun_path, &f->view, &second, &err), 0);
	weir_control_stop(second);
}

static void stopping_ends_followers(void **state)
{
	int fd = dial();

	say_line(fd, "{\"op\":\"events\",\"follow\":true}\n");
	json_decref(result_of(ask("{\"op\":\"status\"}")));
	weir_control_stop(control);
	control = NULL;
	while (recv(fd, &(char){ 0 }, 1, 0) > 0)
		;
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(status_has_the_documented_shape),
		CLAIM(status_says_how_requests_come_to_the_ledger),
		CLAIM(status_says_what_is_missing_and_what_came_back),
		CLAIM(an_unknown_tenant_gets_a_suggestion),
		CLAIM(keys_are_added_listed_and_revoked_by_hash),
		CLAIM(a_wrong_policy_changes_nothing),
		CLAIM(usage_counts_refusals_from_the_kernel),
		CLAIM(the_ledger_is_listed_and_verified),
		CLAIM(following_shows_what_happens_next),
		CLAIM(nonsense_is_answered_and_the_connection_lives),
		CLAIM(deep_nesting_is_refused),
		CLAIM(a_line_past_the_bound_is_refused),
		CLAIM(requests_may_come_in_pieces_or_together),
		CLAIM(half_a_request_does_nothing),
		CLAIM(idle_and_unreading_clients_hold_nobody_up),
		CLAIM(a_client_that_reads_nothing_holds_nobody_up),
		CLAIM(others_are_turned_away),
		CLAIM(a_socket_in_use_is_not_taken_and_a_dead_one_is),
		CLAIM(stopping_ends_followers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
