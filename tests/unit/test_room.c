/* SPDX-License-Identifier: Apache-2.0 */
/* A full map is told: once a minute in the log, as long as it lasts in status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/room.h"
#include "agent/util.h"

static struct weir_room room;
static uint64_t verdicts[WEIR_REASON_MAX], now_ns, passed, reset;

static int begin(void **state)
{
	weir_room_init(&room);
	memset(verdicts, 0, sizeof(verdicts));
	now_ns = 1000 * WEIR_SECOND;
	/* Of the time before: no news. */
	verdicts[WEIR_PASS_UNTRACKED] = 500;
	verdicts[WEIR_DENY_MAP_FULL] = 50;
	return 0;
}

static int end(void **state)
{
	weir_room_destroy(&room);
	return 0;
}

/* Lines that a look writes into the log. */
static int look(uint64_t used)
{
	static char text[4096];
	int pipe_fd[2], saved = dup(STDERR_FILENO), lines = 0;
	ssize_t n;

	assert_int_equal(pipe(pipe_fd), 0);
	fflush(stderr);
	dup2(pipe_fd[1], STDERR_FILENO);
	now_ns += WEIR_SECOND;
	weir_room_look(&room, verdicts, used, 100, now_ns);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipe_fd[1]);
	n = read(pipe_fd[0], text, sizeof(text) - 1);
	close(pipe_fd[0]);
	text[n > 0 ? n : 0] = 0;
	for (char *p = text; (p = strstr(p, "\"max_flows\"")); p++)
		lines++;
	weir_room_now(&room, now_ns, &passed, &reset);
	return lines;
}

static void what_was_before_and_late_packets_are_no_news(void **state)
{
	assert_int_equal(look(100), 0);
	assert_int_equal(look(100), 0);
	verdicts[WEIR_PASS_UNTRACKED] += 9; /* there is room: of closed connections */
	assert_int_equal(look(89), 0);
	assert_int_equal(passed + reset, 0);
}

static void it_is_told_once_a_minute_and_shown_while_it_lasts(void **state)
{
	int lines = 0;

	assert_int_equal(look(100), 0);
	verdicts[WEIR_PASS_UNTRACKED] += 3;
	assert_int_equal(look(100), 1);
	assert_int_equal(passed, 3);
	for (int i = 0; i < 130; i++) {
		verdicts[WEIR_DENY_MAP_FULL]++;
		lines += look(100);
	}
	assert_int_equal(lines, 2);
	assert_int_equal(passed, 3);
	assert_int_equal(reset, 130);
	/* A quiet minute, and it is over; what comes then begins anew. */
	for (int i = 0; i < 58; i++)
		assert_int_equal(look(100), 0);
	assert_int_equal(reset, 130);
	for (int i = 0; i < 3; i++)
		look(100);
	assert_int_equal(passed + reset, 0);
	verdicts[WEIR_DENY_MAP_FULL]++;
	assert_int_equal(look(10), 1); /* of another map, too */
	assert_int_equal(reset, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_before_and_late_packets_are_no_news, begin,
						end),
		cmocka_unit_test_setup_teardown(it_is_told_once_a_minute_and_shown_while_it_lasts,
						begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
