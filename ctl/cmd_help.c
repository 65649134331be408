/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help, manual page and completion, all from the table of commands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static size_t usage_of(const struct ctl_command *m, char *out, size_t n)
{
	return (size_t)snprintf(out, n, "%s%s%s%s%s", m->noun, m->verb ? " " : "",
				m->verb ? m->verb : "", m->args[0] ? " " : "", m->args);
}

static size_t n_options(const struct ctl_command *m)
{
	size_t n = 0;

	while (n < CTL_MAX_OPTIONS && m->options[n].name)
		n++;
	return n;
}

static void print_option(const struct ctl_option *o)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	ctl_wrap(o->help, (size_t)printf("  %-22s ", left), 25);
}

/* ---------------------------------------------------------------------------- help */

static void help_all(void)
{
	char usage[64];

	printf("weirctl: limits and metering of the inference server on this host\n\n");
	for (size_t i = 0; i < ctl_n_commands; i++) {
		usage_of(&ctl_commands[i], usage, sizeof(usage));
		ctl_wrap(ctl_commands[i].summary, (size_t)printf("  %-28s ", usage), 31);
	}
	printf("\nEverywhere:\n");
	for (const struct ctl_option *o = ctl_global_options; o->name; o++)
		print_option(o);
	printf("\nExit status: 0 done, 1 refused, 2 usage, 3 agent unreachable, 4 outcome "
	       "unknown.\n");
}

static void help_command(const struct ctl_command *m)
{
	char usage[64];

	usage_of(m, usage, sizeof(usage));
	ctl_wrap(m->summary, (size_t)printf("weirctl %s: ", usage), 0);
	if (m->details)
		ctl_wrap(m->details, 0, 0);
	for (size_t i = 0; i < n_options(m); i++)
		print_option(&m->options[i]);
	if (m->writes)
		print_option(&ctl_global_options[2]);
}

/* ------------------------------------------------------------------------ manual page */

/* A hyphen that stays one, no line that troff takes for a request. */
static void troff(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", stdout);
		else if (*text == '\\')
			fputs("\\e", stdout);
		else
			putchar(*text);
	}
}

static void troff_option(const struct ctl_option *o)
{
	printf(".TP\n\\fB");
	troff(o->name);
	printf("\\fR");
	if (o->arg)
		printf(" \\fI%s\\fR", o->arg);
	putchar('\n');
	troff(o->help);
	printf(".\n");
}

static int man_page(void)
{
	printf(".TH WEIRCTL 1 \"\" \"weir " WEIR_VERSION "\" \"Weir\"\n.SH NAME\nweirctl \\- "
	       "limits and metering of the inference server on this host\n.SH SYNOPSIS\n.B "
	       "weirctl\n[\\fB\\-\\-json\\fR] [\\fB\\-\\-socket\\fR \\fIPATH\\fR]\n"
	       "\\fICOMMAND\\fR [\\fIVERB\\fR] [\\fIARGUMENTS\\fR]\n.SH DESCRIPTION\nTalks to "
	       "weir\\-agent over its unix socket. Only root and members of group\n.B weir\nmay.\n"
	       ".SH COMMANDS\n");
	for (size_t i = 0; i < ctl_n_commands; i++) {
		const struct ctl_command *m = &ctl_commands[i];

		printf(".SS %s%s%s\\fR %s\n", m->noun, m->verb ? " " : "", m->verb ? m->verb : "",
		       m->args);
		troff(m->summary);
		printf(".\n");
		if (m->details) {
			troff(m->details);
			putchar('\n');
		}
		for (size_t j = 0; j < n_options(m); j++)
			troff_option(&m->options[j]);
	}
	printf(".SH OPTIONS\n");
	for (const struct ctl_option *o = ctl_global_options; o->name; o++)
		troff_option(o);
	printf(".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nrefused by the agent, or a check failed\n"
	       ".TP\n2\nwrong command line\n.TP\n3\nno agent answers\n.TP\n4\noutcome of a write "
	       "unknown: repeat it with the same\n.B \\-\\-id\n.SH FILES\n.TP\n" CTL_SOCKET
	       "\nthe agent's socket\n.TP\n/etc/weir/policies\nthe policy\n.SH ENVIRONMENT\n.TP\n"
	       "WEIR_SOCKET\nas \\-\\-socket\n");
	return CTL_DONE;
}

/* ------------------------------------------------------------------------- completion */

static int completion_script(void)
{
	printf("# bash completion of weirctl; what there is, it says itself\n"
	       "_weirctl() {\n"
	       "\tlocal IFS=$'\\n'\n"
	       "\tCOMPREPLY=($(weirctl __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" "
	       "2>/dev/null))\n"
	       "\tif [[ ${COMPREPLY[0]} == __dir__ ]]; then\n"
	       "\t\tCOMPREPLY=($(compgen -d -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
	       "\tfi\n"
	       "}\n"
	       "complete -F _weirctl weirctl\n");
	return CTL_DONE;
}

/* Print each once: nouns come as often as they have verbs. */
static void offer(const char *text, const char *start)
{
	static const char *last = "";

	if (!strncmp(text, start, strlen(start)) && strcmp(text, last))
		printf("%s\n", text);
	last = text;
}

/* The next word of a verb, of which none or the first is there. */
static void offer_verb(const struct ctl_command *m, const char *const *words, size_t n,
		       const char *start)
{
	const char *blank = m->verb ? strchr(m->verb, ' ') : NULL;
	size_t first = blank ? (size_t)(blank - m->verb) : 0;

	if (!m->verb || strcmp(m->noun, words[0]))
		return;
	/* The first of two is a verb of its own, and so offered already. */
	if (n == 1 && !blank)
		offer(m->verb, start);
	if (n == 2 && blank && strlen(words[1]) == first && !strncmp(m->verb, words[1], first))
		offer(blank + 1, start);
}

static int offer_tenant(json_t *item, void *ctx)
{
	const char *name = json_string_value(json_object_get(item, "tenant"));
	const char *start = ctx;

	if (name && !strncmp(name, start, strlen(start)))
		printf("%s\n", name);
	return CTL_DONE;
}

static void offer_tenants(const char *start)
{
	struct weir_error why;
	const char *env = getenv("WEIR_SOCKET");
	struct ctl c = { .socket = env && *env ? env : CTL_SOCKET, .fd = -1 };

	ctl_try(&c, json_pack("{s:s}", "op", "tenant.list"), offer_tenant, (void *)start, NULL,
		&why);
	ctl_disconnect(&c);
}

static const struct ctl_option *last_option(const struct ctl_command *m, const char *name)
{
	for (const struct ctl_option *o = ctl_global_options; o->name; o++) {
		if (!strcmp(o->name, name))
			return o;
	}
	for (size_t i = 0; m && i < n_options(m); i++) {
		if (!strcmp(m->options[i].name, name))
			return &m->options[i];
	}
	return NULL;
}

static void offer_options(const struct ctl_command *m, const char *start)
{
	for (size_t i = 0; m && i < n_options(m); i++)
		offer(m->options[i].name, start);
	for (const struct ctl_option *o = ctl_global_options; o->name; o++) {
		if (strcmp(o->name, "--id") || (m && m->writes))
			offer(o->name, start);
	}
}

/* The words typed so far, the last of them (perhaps empty) to be completed. */
int ctl_complete(int argc, char **argv)
{
	const char *start = argc ? argv[argc - 1] : "";
	const char *words[CTL_MAX_ARGS + 2];
	const struct ctl_command *m = NULL;
	const struct ctl_option *pending = NULL;
	size_t n = 0, used = 0;

	for (int i = 0; i + 1 < argc; i++) {
		if (pending) {
			pending = NULL;
			continue;
		}
		if (argv[i][0] != '-' && n < sizeof(words) / sizeof(*words))
			words[n++] = argv[i];
		used = 0;
		m = NULL;
		for (size_t j = 0; j < ctl_n_commands; j++) {
			size_t match = ctl_match(&ctl_commands[j], words, n);

			if (match <= used)
				continue;
			m = &ctl_commands[j];
			used = match;
		}
		pending = argv[i][0] == '-' ? last_option(m, argv[i]) : NULL;
		if (pending && !pending->arg)
			pending = NULL;
	}
	if (pending) {
		if (!strcmp(pending->arg, "TENANT"))
			offer_tenants(start);
		return CTL_DONE;
	}
	if (start[0] == '-') {
		offer_options(m, start);
		return CTL_DONE;
	}
	if (!n) {
		for (size_t i = 0; i < ctl_n_commands; i++)
			offer(ctl_commands[i].noun, start);
		return CTL_DONE;
	}
	for (size_t i = 0; n < 3 && i < ctl_n_commands; i++)
		offer_verb(&ctl_commands[i], words, n, start);
	if (m && n == used && strstr(m->args, "TENANT"))
		offer_tenants(start);
	else if (m && n == used && strstr(m->args, "DIR"))
		printf("__dir__\n");
	return CTL_DONE;
}

int ctl_help(struct ctl *c)
{
	bool found = false;
	char verb[64];

	if (ctl_value(c, "--man"))
		return man_page();
	if (ctl_value(c, "--completion"))
		return completion_script();
	if (!c->n_args) {
		help_all();
		return CTL_DONE;
	}
	snprintf(verb, sizeof(verb), "%s%s%s", c->n_args > 1 ? c->args[1] : "",
		 c->n_args > 2 ? " " : "", c->n_args > 2 ? c->args[2] : "");
	for (size_t i = 0; i < ctl_n_commands; i++) {
		const struct ctl_command *m = &ctl_commands[i];

		if (strcmp(m->noun, c->args[0]) || (verb[0] && (!m->verb || strcmp(m->verb, verb))))
			continue;
		if (found)
			putchar('\n');
		help_command(m);
		found = true;
	}
	return found ? CTL_DONE
		     : ctl_fail(CTL_USAGE, "%.64s: no such command; see weirctl help", c->args[0]);
}
