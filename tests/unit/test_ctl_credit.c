/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about weirctl credit and weirctl ledger: what people read, and what scripts rely on. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/un.h>

#include "ctl_fixture.h"

static const char shop[] =
	"{\"tiers\":{\"paid\":{\"credit\":\"hard\"}},"
	"\"tenants\":{\"acme\":{\"tier\":\"paid\"},\"globex\":{\"tier\":\"paid\"}},"
	"\"packs\":{\"p50\":{\"amount\":\"50\",\"price\":\"50\",\"currency\":\"USD\"},"
	"\"p500\":{\"amount\":\"500\",\"bonus\":\"25.5\",\"price\":\"450\",\"currency\":\"USD\","
	"\"expires_days\":365}}}";

static void open_shop(void)
{
	struct weir_error err = { "" };

	fake_write(f->policies, "10.json", shop);
	if (f->view.reload(f, f->policies, &err))
		fail_msg("%s", err.text);
}

static void done(const char *words)
{
	if (ctl(words))
		fail_msg("weirctl %s: %s", words, err_text);
	assert_string_equal(err_text, "");
}

static void each_write_says_what_it_did(void **state)
{
	open_shop();
	done("credit sell acme p50 --id s");
	assert_string_equal(out,
			    "sold pack p50 to acme: 50 credits for 50 USD; balance 50 (entry 1)\n");
	done("credit sell acme p500 --id t");
	assert_says(out, "sold pack p500 to acme: 500 credits for 450 USD and a bonus of 25.5, "
			 "until 20");
	assert_says(out, "; balance 575.5 (entry 2)\n");
	done("credit sell acme p500 --id t");
	assert_says(out, "; balance 575.5 (entry 2, done before: this id was used)\n");
	done("credit deduct acme 30 --id d --reason scan");
	assert_string_equal(out, "deducted 30 credits from acme; balance 545.5 (entry 4)\n");
	done("credit refund d --amount 10 --id r");
	assert_string_equal(out,
			    "refunded 10 credits of entry #4 to acme; balance 555.5 (entry 5)\n");
	done("credit adjust acme -5.5 --reason typo --id a");
	assert_string_equal(out, "adjusted acme by -5.5 credits; balance 550 (entry 6)\n");
	done("credit adjust acme +5.5 --reason typo --id b");
	assert_string_equal(out, "adjusted acme by +5.5 credits; balance 555.5 (entry 7)\n");
	done("credit void #1 --id v --reason fraud");
	assert_says(out, "voided grant #1 of acme, 50 credits of it were left; balance 505.5");
	done("credit recur acme 20 --every month --zone Europe/Berlin --rollover-max 5 --id plan");
	assert_string_equal(out, "schedule #9: 20 credits every month (Europe/Berlin) for acme; "
				 "balance 525.5 (entry 9)\n");
	done("credit recur list");
	assert_narrow();
	assert_says(out, "#9        acme        20  month  Europe/Berlin  0 to 5    20");
	done("credit recur stop plan --id stop");
	assert_says(out, "stopped schedule #9 of acme; what it has granted stays; balance 525.5");
	done("credit recur list acme");
	assert_says(out, "  stopped\n");
	done("ledger verify");
	/* Made up, and printed. */
	done("credit deduct acme 1");
	assert_says(out, "\nid ");
}

static void a_balance_shows_what_can_be_used_and_in_which_order(void **state)
{
	done("credit grant acme 10 --id late --priority 200");
	done("credit grant acme 2 --id promo --source promo --expires 30d");
	done("credit grant acme 5 --id next --effective 2d");
	done("credit grant acme 1 --id gone");
	done("credit void gone --id v");
	done("credit balance acme");
	assert_narrow();
	assert_says(out, "acme: balance 12, reserved 0, debt 0, not usable yet 5\n");
	assert_true(strstr(out, "#2 ") < strstr(out, "#1 "));
	assert_says(out, "  not yet\n");
	assert_says(out, "#3 can be used from 20");
	assert_null(strstr(out, "  voided"));
	assert_says(out, "1 more used up, expired or voided (--all)\n");
	done("credit balance acme --all");
	assert_says(out, "  voided\n");
	f->kernel[2].wallet = 1;
	done("credit balance globex");
	assert_says(out,
		    "acme pays for globex; what follows is the credit of acme\nacme: balance 12");
}

static int call_threshold(struct weir_ledger *l, void *arg)
{
	return weir_ledger_threshold(l, 1, INT64_C(2000000000), INT64_C(100000000000));
}

static void the_ledger_says_why(void **state)
{
	done("credit grant acme 10 --id g --source trial --cost-basis 8 --currency EUR --reason "
	     "welcome");
	done("credit deduct acme 12 --allow-debt --id d --reason scans");
	done("credit grant acme 5 --id h");
	done("ledger acme");
	assert_narrow();
	assert_says(out, "       1  20");
	assert_says(out, "          trial, priority 100, cost 8 EUR, \"welcome\", by ");
	assert_says(out, ", id g\n");
	assert_says(out, "          10 of grant #1, debt +2, \"scans\", by ");
	assert_says(out, "debt -2");
	/* A balance that fell below what the policy says asks for more, once. */
	assert_int_equal(weir_writer_call(f->view.writer, call_threshold, NULL), 0);
	done("credit deduct acme 2 --id e");
	done("credit deduct acme 0.5 --id f");
	done("ledger acme");
	assert_says(out, "          below 2: asks for 100\n");
	assert_non_null(strstr(out, "top_up"));
	assert_ptr_equal(strstr(strstr(out, "top_up") + 1, "top_up"), NULL);
	done("ledger globex");
	assert_string_equal(out, "no entries\n");
}

static void breakage_is_a_table(void **state)
{
	done("credit breakage");
	assert_string_equal(out, "no breakage\n");
	done("credit grant acme 10 --id g");
	done("credit grant globex 3 --source trial --id h");
	done("credit void g --id v");
	done("credit void h --id w");
	done("credit breakage");
	assert_string_equal(out, "SOURCE  EXPIRED  USED LATE  VOIDED  BREAKAGE\n"
				 "paid          0          0      10        10\n"
				 "trial         0          0       3         3\n"
				 "all           0          0      13        13\n");
	done("credit breakage globex --by tenant --since 1h");
	assert_says(out, "globex        0          0       3         3\n");
	done("credit breakage --until 1h");
	assert_string_equal(out, "no breakage\n");
}

static void nonsense_ends_in_one_line_and_nothing_is_written(void **state)
{
	static const char *const amounts[] = { "0",    "NaN",	      "1e5", "1.0000000001",
					       "0x10", "1,5",	      "inf", "9223372036.854775808",
					       ".5",   "99999999999", "1.",  "--1" };
	static const char *const writes[] = { "credit grant acme %s", "credit deduct acme %s",
					      "credit recur acme %s --every day",
					      "credit adjust acme %s --reason r",
					      "credit refund g --amount %s" };
	char words[128];
	json_t *o;

	open_shop();
	done("credit grant acme 5 --id g");
	for (size_t w = 0; w < sizeof(writes) / sizeof(*writes); w++) {
		for (size_t i = 0; i < sizeof(amounts) / sizeof(*amounts); i++) {
			snprintf(words, sizeof(words), writes[w], amounts[i]);
			/* "--1" is no option there is, but the value of one. */
			assert_fails(words, strcmp(amounts[i], "--1") || w == 4 ? 1 : 2,
				     amounts[i]);
		}
	}
	assert_fails("credit grant acme -5", 1, "-5");
	assert_fails("credit deduct acme -5", 1, "-5");
	assert_fails("credit deduct acme 5.000000001", 1, "more than there is (balance 5)");
	assert_fails("credit grant acmee 5", 1, "did you mean \"acme\"");
	assert_fails("credit grant acme 5 --expires 2001-01-01", 1, "expires");
	assert_fails("credit grant acme 5 --effective 2099-01-02 --expires 2099-01-01", 1,
		     "expires");
	assert_fails("credit grant acme 5 --expires soon", 2, "soon");
	assert_fails("credit grant acme 5 --priority 256", 2, "256");
	assert_fails("credit grant acme 5 --priority -1", 2, "-1");
	assert_fails("credit grant acme 5 --cost-basis 4", 1, "currency");
	assert_fails("credit recur acme 5", 2, "--every");
	assert_fails("credit recur acme 5 --every year", 1, "year");
	assert_fails("credit recur acme 5 --every day --zone Mars/Phobos", 1, "Mars/Phobos");
	assert_fails("credit recur acme 5 --every day --rollover-min 3", 1, "rollover_min");
	assert_fails("credit recur acme 5 --every day --starts 2001-01-01", 1, "past");
	assert_fails("credit recur stop g", 1, "is a grant, not a schedule");
	assert_fails("credit recur stop", 2, "SCHEDULE");
	assert_fails("credit adjust acme 5", 2, "--reason");
	assert_fails("credit void nope", 1, "no such entry");
	assert_fails("credit refund #77", 1, "no such entry");
	assert_fails("credit refund g", 1, "is a grant, not usage");
	assert_fails("credit sell acme p5", 1, "did you mean \"p50\"");
	assert_fails("credit breakage --by weekday", 1, "weekday");
	o = ctl_json("ledger verify --json");
	assert_int_equal(json_integer_value(json_object_get(o, "entries")), 1);
	json_decref(o);
}

/* An agent that takes the request and dies: what to repeat has no span in it any more. */
static void an_unknown_outcome_says_how_to_repeat_it(void **state)
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
	snprintf(words, sizeof(words),
		 "--socket %s credit grant acme 1 --id o --expires 30d --effective 2030-01-01",
		 a.sun_path);
	assert_fails(words, 4, "repeat with --id o --expires 20");
	assert_null(strstr(err_text, "--effective"));
	for (size_t i = 0; i < 6; i++) {
		static const char *const writes[] = { "sell acme p50", "deduct acme 1",
						      "void g",	       "refund g",
						      "recur stop g",  "adjust acme 1 --reason r" };

		snprintf(words, sizeof(words), "--socket %s credit %s --id o-%zu", a.sun_path,
			 writes[i], i);
		assert_fails(words, 4, "repeat with --id o-");
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(each_write_says_what_it_did),
		CLAIM(a_balance_shows_what_can_be_used_and_in_which_order),
		CLAIM(the_ledger_says_why),
		CLAIM(breakage_is_a_table),
		CLAIM(nonsense_ends_in_one_line_and_nothing_is_written),
		CLAIM(an_unknown_outcome_says_how_to_repeat_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
