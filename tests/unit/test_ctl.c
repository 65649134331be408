/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about weirctl: the program itself, run against a control socket whose
 * agent has no kernel.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/un.h>

#include "ctl_fixture.h"

static void every_command_has_help_man_and_completion(void **state)
{
	static const char *const commands[] = {
		"status",
		"top",
		"policy check",
		"policy apply",
		"policy show",
		"tenant list",
		"tenant show",
		"tenant suspend",
		"tenant resume",
		"enforce",
		"enforce off",
		"enforce on",
		"key add",
		"key list",
		"key revoke",
		"credit grant",
		"credit balance",
		"ledger",
		"ledger verify",
		"usage",
		"trace",
		"events",
		"why",
		"credit sell",
		"credit packs",
		"credit recur",
		"credit recur list",
		"credit recur stop",
		"credit void",
		"credit refund",
		"credit adjust",
		"credit deduct",
		"credit breakage",
	};
	static char man[1 << 16], all[1 << 16];
	char words[64];

	assert_int_equal(ctl("help --man"), 0);
	strcpy(man, out);
	assert_int_equal(ctl("help"), 0);
	strcpy(all, out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		snprintf(words, sizeof(words), ".SS %s", commands[i]);
		assert_says(man, words);
		assert_says(all, commands[i]);
		snprintf(words, sizeof(words), "%s --help", commands[i]);
		assert_int_equal(ctl(words), 0);
		assert_says(out, commands[i]);
	}
	/* Of a noun alone: all its verbs, and no line too wide for a terminal. */
	assert_int_equal(ctl("credit --help"), 0);
	assert_says(out, "weirctl credit grant TENANT AMOUNT: ");
	assert_says(out, "weirctl credit recur stop SCHEDULE: ");
	assert_narrow();
	assert_int_equal(ctl("help"), 0);
	assert_narrow();
	assert_int_equal(ctl("__complete cred"), 0);
	assert_string_equal(out, "credit\n");
	assert_int_equal(ctl("__complete credit b"), 0);
	assert_string_equal(out, "balance\nbreakage\n");
	assert_int_equal(ctl("__complete credit rec"), 0);
	assert_string_equal(out, "recur\n");
	assert_int_equal(ctl("__complete credit recur l"), 0);
	assert_string_equal(out, "list\n");
	assert_int_equal(ctl("__complete credit recur ac"), 0);
	assert_string_equal(out, "acme\n");
	assert_int_equal(ctl("__complete credit recur list ac"), 0);
	assert_string_equal(out, "acme\n");
	assert_int_equal(ctl("__complete credit recur acme 5 --roll"), 0);
	assert_string_equal(out, "--rollover-min\n--rollover-max\n");
	assert_int_equal(ctl("__complete credit recur list --roll"), 0);
	assert_string_equal(out, "");
	assert_int_equal(ctl("__complete tenant show ac"), 0);
	assert_string_equal(out, "acme\n");
	assert_int_equal(ctl("__complete credit grant acme 5 --pr"), 0);
	assert_string_equal(out, "--priority\n");
	assert_int_equal(ctl("__complete enforce o"), 0);
	assert_string_equal(out, "off\non\n");
	assert_int_equal(ctl("__complete tenant suspend ac"), 0);
	assert_string_equal(out, "acme\n");
	assert_int_equal(ctl("__complete tenant suspend acme --n"), 0);
	assert_string_equal(out, "--now\n");
}

static void a_wrong_command_line_is_one_line_and_status_2(void **state)
{
	assert_fails("frobnicate", 2, "frobnicate");
	assert_fails("stauts", 2, "did you mean \"status\"");
	assert_fails("tenant", 2, "list, show");
	assert_fails("tenant lst", 2, "did you mean \"list\"");
	assert_fails("status --jsn", 2, "did you mean \"--json\"");
	assert_fails("status --priority 3", 2, "--priority");
	assert_fails("status now", 2, "now");
	assert_fails("credit grant acme", 2, "TENANT AMOUNT");
	assert_fails("credit grant acme 1 --expires soon", 2, "soon");
	assert_fails("credit grant acme 1 --priority x", 2, "x");
	assert_fails("credit grant acme 1 --source", 2, "--source");
	assert_fails("usage --by weekday", 2, "weekday");
	assert_fails("status --id x", 2, "--id");
	assert_fails("--socket", 2, "which command");
	assert_fails("tenant suspend", 2, "TENANT");
	assert_fails("tenant resume acme --now", 2, "--now");
	assert_fails("enforce of", 2, "of");
	assert_fails("enforce off acme", 2, "acme");
	assert_fails("enforce --id x", 2, "--id");
}

static void the_agents_refusal_is_status_1(void **state)
{
	assert_fails("tenant show acmee", 1,
		     "tenant \"acmee\": no such tenant (did you mean \"acme\"?)");
	assert_fails("credit grant acme -1", 1, "-1");
	assert_fails("credit grant acme 1.0000000001 --json", 1, "1.0000000001");
}

static void no_agent_is_status_3(void **state)
{
	assert_fails("--socket /nonexistent/agent.sock status", 3, "/nonexistent/agent.sock");
	weir_control_stop(control);
	control = NULL;
	assert_fails("status", 3, "weir-agent");
}

/* An agent that takes the request and dies. */
static void a_write_without_an_answer_is_status_4_and_names_its_id(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char words[300];
	pid_t pid;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/dies.sock", f->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 8), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when an assertion ends the test */
		for (;;) {
			char buf[4096];
			int c = accept(fd, NULL, NULL);

			if (read(c, buf, sizeof(buf)) < 0)
				_exit(1);
			close(c);
		}
	}
	snprintf(words, sizeof(words), "--socket %s credit grant acme 1 --id order-9", a.sun_path);
	assert_fails(words, 4, "order-9");
	snprintf(words, sizeof(words), "--socket %s tenant suspend acme --now --id s-9",
		 a.sun_path);
	assert_fails(words, 4, "s-9");
	snprintf(words, sizeof(words), "--socket %s enforce off --id e-9", a.sun_path);
	assert_fails(words, 4, "e-9");
	snprintf(words, sizeof(words), "--socket %s enforce", a.sun_path);
	assert_fails(words, 3, "went away");
	snprintf(words, sizeof(words), "--socket %s status", a.sun_path);
	assert_fails(words, 3, "went away");
	snprintf(words, sizeof(words), "--socket %s key add acme", a.sun_path);
	assert_int_equal(ctl(words), 4);
	/* It may be in force: then this is the only place to have it from. */
	assert_says(err_text, "wk-");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
}

static void a_grant_prints_its_id_and_can_be_repeated(void **state)
{
	char words[128];
	json_t *g = ctl_json("credit grant acme 2.5 --source promo --expires 30d --json"), *again;

	snprintf(words, sizeof(words), "credit grant acme 2.5 --source promo --json --id=%s",
		 json_string_value(json_object_get(g, "id")));
	assert_string_equal(json_string_value(json_object_get(g, "balance")), "2.5");
	json_decref(g);
	/* Another expiry is another grant. */
	assert_int_equal(ctl(words), 1);
	g = ctl_json("credit grant acme 1 --json --id again-1");
	again = ctl_json("credit grant acme 1 --json --id again-1");
	assert_true(json_is_true(json_object_get(again, "repeated")));
	assert_true(json_equal(json_object_get(g, "seq"), json_object_get(again, "seq")));
	json_decref(g);
	json_decref(again);
	assert_int_equal(ctl("credit grant acme 1"), 0);
	assert_says(out, "balance 4.5");
	assert_says(out, "id ");
	assert_int_equal(f->posts, 4); /* the repeated one too */
}

static void a_suspension_prints_its_id_and_what_it_cut(void **state)
{
	json_t *o;

	f->cut = (struct weir_cut){ .answers = 3, .sockets = 5 };
	assert_int_equal(ctl("tenant suspend acme --now --reason unpaid"), 0);
	assert_says(out,
		    "acme is suspended, and all below it\n3 answers cut, 5 sockets destroyed\n");
	assert_says(out, "id ");
	assert_int_equal(ctl("tenant show acme"), 0);
	assert_says(out, "suspended since ");
	assert_says(out, ": unpaid\n");
	assert_int_equal(ctl("tenant list"), 0);
	assert_says(out, "suspended\n");
	o = ctl_json("tenant resume acme --id r-1 --json");
	assert_true(json_is_false(json_object_get(o, "suspended")));
	json_decref(o);
	assert_int_equal(ctl("tenant resume acme --id r-1"), 0);
	assert_string_equal(out, "acme is not suspended (this id was used before)\n");
	assert_fails("tenant suspend acme --id r-1", 1, "r-1");
	/* What this kernel cannot do is said, and does not spoil the rest. */
	strcpy(f->cut.warning, "sockets stay: no CONFIG_INET_DIAG_DESTROY");
	assert_int_equal(ctl("tenant suspend acme --now --id s-2"), 0);
	assert_string_equal(out, "acme is suspended, and all below it\n3 answers cut\n");
	assert_string_equal(err_text, "weirctl: sockets stay: no CONFIG_INET_DIAG_DESTROY\n");
}

static void the_node_is_switched_and_says_so_everywhere(void **state)
{
	assert_int_equal(ctl("enforce"), 0);
	assert_string_equal(out, "limits are enforced\n");
	assert_int_equal(ctl("enforce off --reason drill"), 0);
	assert_says(out, "enforcement is off: nothing is refused, all is metered\nswitched off ");
	assert_says(out, ": drill\nid ");
	assert_int_equal(ctl("status"), 0);
	assert_says(out, "limits       NOT enforced\n");
	assert_int_equal(ctl("top"), 0);
	assert_says(out, "limits NOT enforced");
	assert_int_equal(ctl("enforce on --id e-2"), 0);
	assert_null(strstr(out, "id e-2")); /* it was given */
	assert_int_equal(ctl("enforce"), 0);
	assert_says(out, "limits are enforced\nswitched on ");
	assert_says(out, "drill");
	f->enforce_configured_off = true;
	assert_int_equal(ctl("enforce"), 0);
	assert_says(out, "off by \"enforce\" in agent.json");
}

static void a_refusal_shows_whose_limit_it_was(void **state)
{
	struct weir_rec_deny d = {
		.wall_ns = 1, .count = 1, .tenant = 1, .reason = WEIR_DENY_CONCURRENCY, .level = 2
	};

	weir_denials_note(f->view.denials, &d);
	assert_int_equal(ctl("why acme"), 0);
	assert_says(out, "concurrency  globex ");
	d.shadow = 1;
	d.wall_ns++;
	weir_denials_note(f->view.denials, &d);
	assert_int_equal(ctl("why acme"), 0);
	assert_says(out, "concurrency (shadow)  globex ");
}

static void what_reserves_is_listed_to_a_bound(void **state)
{
	for (f->n_open = 0; f->n_open < 23; f->n_open++)
		f->open[f->n_open] =
			(struct weir_open_request){ .slot = 1,
						    .ordinal = 1,
						    .tenant = 1,
						    .wallet = 1,
						    .service = 1,
						    .started_wall_ns = 0x1122334455667788,
						    .reserved_nano = 250000000 };
	assert_int_equal(ctl("tenant show acme"), 0);
	assert_says(out, "11223344556677880102030400000101  acme    llm ");
	assert_says(out, "0.25");
	assert_says(out, "and 3 more\n");
	f->n_open = 0;
	assert_int_equal(ctl("tenant show acme"), 0);
	assert_says(out, "no request in flight\n");
}

static void a_key_is_shown_once_and_only_its_hash_is_sent(void **state)
{
	json_t *k = ctl_json("key add globex --json");
	char key[80], words[160];

	snprintf(key, sizeof(key), "%s", json_string_value(json_object_get(k, "key")));
	json_decref(k);
	assert_true(strlen(key) <= 55 && !strncmp(key, "wk-", 3));
	assert_int_equal(strspn(key + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "abcdefghijklmnopqrstuvwxyz"),
			 strlen(key) - 3);
	assert_int_equal(ctl("key list globex --json"), 0);
	assert_null(strstr(out, key));
	assert_says(out, "sha256:");
	assert_true(strlen(f->last_key.hint) < 12);
	snprintf(words, sizeof(words), "key revoke globex %s", key);
	assert_int_equal(ctl(words), 0);
	assert_true(f->last_key.revoked_ns != 0);
}

static void a_policy_is_checked_without_an_agent(void **state)
{
	char bad[128], words[200];

	weir_control_stop(control);
	control = NULL;
	snprintf(words, sizeof(words), "policy check %s", f->policies);
	assert_int_equal(ctl(words), 0);
	assert_says(out, "2 tenants");
	snprintf(bad, sizeof(bad), "%s/bad", f->dir);
	mkdir(bad, 0700);
	fake_write(bad, "10-x.json", "{\"tiers\":{\"free\":{\"concurency\":4}}}");
	snprintf(words, sizeof(words), "policy check %s", bad);
	assert_fails(words, 1, "10-x.json: tiers.free");
}

static void json_has_the_documented_shapes(void **state)
{
	json_t *o;

	fake_requests(f, 1, 0, 3);
	o = ctl_json("usage acme --json");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(o, 0), "requests")), 3);
	json_decref(o);
	o = ctl_json("tenant list --json");
	assert_int_equal(json_array_size(o), 2);
	json_decref(o);
	o = ctl_json("why acme --json");
	assert_int_equal(json_array_size(o), 0);
	json_decref(o);
	assert_int_equal(ctl("ledger acme --json --limit 2"), 0);
	assert_non_null(strchr(out, '\n'));
	assert_int_equal(ctl("events --json"), 0);
	assert_says(out, "\"specversion\":\"1.0\"");
	o = ctl_json("ledger verify --json");
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
}

static int append_unusual(struct weir_ledger *l, void *arg)
{
	struct weir_row r[2] = {
		{ .id = { { 1 } },
		  .tenant = 1,
		  .wallet = 1,
		  .status = 200,
		  .flags = WEIR_ROW_DEGRADED | WEIR_ROW_TOKENS_CUT,
		  .model = "small",
		  .model_requested = "big",
		  .max_tokens_requested = 9000 },
		{ .id = { { 2 } },
		  .tenant = 1,
		  .wallet = 1,
		  .status = 200,
		  .flags = WEIR_ROW_UNJUDGED,
		  .path = "-",
		  .max_tokens_requested = WEIR_UNKNOWN },
	};
	struct weir_error err;

	return weir_ledger_append(l, r, 2, NULL, &err);
}

static void what_was_not_as_usual_is_shown(void **state)
{
	json_t *o, *row;

	assert_int_equal(weir_writer_call(f->view.writer, append_unusual, NULL), 0);
	assert_int_equal(ctl("events"), 0);
	assert_says(out, "small");
	assert_says(out, ", degraded from big, max_tokens cut from 9000\n");
	assert_says(out, ", unjudged\n");
	o = ctl_json("usage acme --json");
	row = json_array_get(o, 0);
	assert_int_equal(json_integer_value(json_object_get(row, "requests")), 2);
	json_decref(o);
}

static void text_is_for_people(void **state)
{
	static const char *const commands[] = {
		"status",
		"top",
		"policy show",
		"tenant list",
		"tenant show acme",
		"key list",
		"credit balance acme",
		"ledger acme",
		"ledger verify",
		"usage",
		"usage --by day",
		"trace #1",
		"events",
		"why acme",
		"enforce",
		"version",
	};

	fake_requests(f, 1, 0, 3);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (ctl(commands[i]))
			fail_msg("weirctl %s: %s", commands[i], err_text);
		assert_true(strlen(out) > 3);
		assert_string_equal(err_text, "");
	}
	assert_int_equal(ctl("status"), 0);
	assert_says(out,
		    "memory       3.0 MiB of maps in the kernel, flows 2.0 MiB, keys 1.0 MiB\n");
	assert_says(out, "connections  3 of 8192, 4 half-open\n");
	assert_says(out, "tenants      2 of 1024, 1 suspended\n");
	assert_says(out, "drift        8 connections, 9 gauges put right");
	assert_int_equal(ctl("top"), 0);
	assert_says(out, "acme");
	/* Not a terminal: no escapes. */
	assert_null(strchr(out, 27));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(every_command_has_help_man_and_completion),
		CLAIM(a_wrong_command_line_is_one_line_and_status_2),
		CLAIM(the_agents_refusal_is_status_1),
		CLAIM(no_agent_is_status_3),
		CLAIM(a_write_without_an_answer_is_status_4_and_names_its_id),
		CLAIM(a_grant_prints_its_id_and_can_be_repeated),
		CLAIM(a_suspension_prints_its_id_and_what_it_cut),
		CLAIM(the_node_is_switched_and_says_so_everywhere),
		CLAIM(a_refusal_shows_whose_limit_it_was),
		CLAIM(what_reserves_is_listed_to_a_bound),
		CLAIM(a_key_is_shown_once_and_only_its_hash_is_sent),
		CLAIM(a_policy_is_checked_without_an_agent),
		CLAIM(json_has_the_documented_shapes),
		CLAIM(what_was_not_as_usual_is_shown),
		CLAIM(text_is_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
