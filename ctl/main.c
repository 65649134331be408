/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl: parses, runs one command, ends with its status.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

int main(int argc, char **argv)
{
	struct ctl c;
	int r;

	if (argc > 1 && !strcmp(argv[1], "__complete"))
		return ctl_complete(argc - 2, argv + 2);
	r = ctl_parse(&c, argc, argv);
	if (!r)
		r = c.command->run(&c);
	ctl_disconnect(&c);
	if (fflush(stdout) && !r)
		r = ctl_fail(CTL_REFUSED, "cannot write: %s", strerror(errno));
	return r;
}
