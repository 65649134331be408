/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line into struct ctl, by the table. Options may stand anywhere;
 * "--" ends them; "-1" is an argument, because amounts are.
 */
#include "ctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/suggest.h"

int ctl_fail(int status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Arguments are quoted in it: one line, no control characters. */
	for (char *p = text; *p; p++) {
		if (iscntrl((unsigned char)*p))
			*p = '?';
	}
	fflush(stdout);
	fprintf(stderr, "weirctl: %s\n", text);
	return status;
}

const char *ctl_value(const struct ctl *c, const char *option)
{
	for (size_t i = 0; i < CTL_MAX_OPTIONS && c->command->options[i].name; i++) {
		if (!strcmp(c->command->options[i].name, option))
			return c->values[i];
	}
	return NULL;
}

static int no_such_command(const char *noun)
{
	struct weir_suggest s;

	weir_suggest_init(&s, noun);
	for (size_t i = 0; i < ctl_n_commands; i++)
		weir_suggest_offer(&s, ctl_commands[i].noun);
	if (s.best)
		return ctl_fail(CTL_USAGE, "%.64s: no such command (did you mean \"%s\"?)", noun,
				s.best);
	return ctl_fail(CTL_USAGE, "%.64s: no such command; see weirctl help", noun);
}

static int no_such_verb(const char *noun, const char *verb)
{
	char verbs[256] = "";
	struct weir_suggest s;

	weir_suggest_init(&s, verb ? verb : "");
	for (size_t i = 0; i < ctl_n_commands; i++) {
		if (strcmp(ctl_commands[i].noun, noun) || !ctl_commands[i].verb)
			continue;
		if (verb)
			weir_suggest_offer(&s, ctl_commands[i].verb);
		snprintf(verbs + strlen(verbs), sizeof(verbs) - strlen(verbs), "%s%s",
			 verbs[0] ? ", " : "", ctl_commands[i].verb);
	}
	if (!verb)
		return ctl_fail(CTL_USAGE, "%s: which of %s?", noun, verbs);
	if (s.best)
		return ctl_fail(CTL_USAGE, "%s %.64s: no such command (did you mean \"%s\"?)", noun,
				verb, s.best);
	return ctl_fail(CTL_USAGE, "%s %.64s: no such command; there are %s", noun, verb, verbs);
}

size_t ctl_match(const struct ctl_command *m, const char *const *words, size_t n)
{
	const char *blank = m->verb ? strchr(m->verb, ' ') : NULL;
	size_t first = blank ? (size_t)(blank - m->verb) : 0;

	if (!n || strcmp(m->noun, words[0]))
		return 0;
	if (!m->verb)
		return 1;
	if (!blank)
		return n > 1 && !strcmp(m->verb, words[1]) ? 2 : 0;
	return n > 2 && strlen(words[1]) == first && !strncmp(m->verb, words[1], first) &&
			       !strcmp(blank + 1, words[2])
		       ? 3
		       : 0;
}

/* Takes noun and verb out of words; the rest are the command's arguments. The command that more
 * of the words name is meant: "recur list" is no recurrence for a tenant called list. */
static int find_command(struct ctl *c, const char **words, size_t *n)
{
	bool known = false;
	size_t used = 0;

	if (!*n)
		return ctl_fail(CTL_USAGE, "which command? see weirctl help");
	for (size_t i = 0; i < ctl_n_commands; i++) {
		size_t match = ctl_match(&ctl_commands[i], words, *n);

		known |= !strcmp(ctl_commands[i].noun, words[0]);
		if (match <= used)
			continue;
		c->command = &ctl_commands[i];
		used = match;
	}
	if (!known)
		return no_such_command(words[0]);
	if (!c->command)
		return no_such_verb(words[0], *n > 1 ? words[1] : NULL);
	*n -= used;
	memmove(words, words + used, *n * sizeof(*words));
	return CTL_DONE;
}

/* An option as it was written; which command has it is known only later. */
struct written {
	const char *name;
	size_t name_len;
	const char *value; /* after "=", or the next word; NULL: none */
	bool attached;
};

static bool is_option(const struct ctl_option *o, const struct written *w)
{
	return strlen(o->name) == w->name_len && !strncmp(o->name, w->name, w->name_len);
}

/* Does an option of any command take a value? So that words and values can be
 * told apart before the command is known; no name is used in both ways. */
static bool takes_value(const struct written *w)
{
	for (const struct ctl_option *o = ctl_global_options; o->name; o++) {
		if (is_option(o, w))
			return o->arg;
	}
	for (size_t i = 0; i < ctl_n_commands; i++) {
		for (const struct ctl_option *o = ctl_commands[i].options;
		     o < ctl_commands[i].options + CTL_MAX_OPTIONS && o->name; o++) {
			if (is_option(o, w))
				return o->arg;
		}
	}
	return false;
}

static int unknown_option(const struct ctl *c, const struct written *w)
{
	char name[65];
	struct weir_suggest s;

	snprintf(name, sizeof(name), "%.*s", (int)(w->name_len < 64 ? w->name_len : 64), w->name);
	weir_suggest_init(&s, name);
	for (const struct ctl_option *o = ctl_global_options; o->name; o++)
		weir_suggest_offer(&s, o->name);
	for (size_t i = 0; c->command && i < CTL_MAX_OPTIONS && c->command->options[i].name; i++)
		weir_suggest_offer(&s, c->command->options[i].name);
	if (s.best)
		return ctl_fail(CTL_USAGE, "%s: no such option (did you mean \"%s\"?)", name,
				s.best);
	return ctl_fail(CTL_USAGE, "%s: no such option%s%s%s%s", name, c->command ? " of " : "",
			c->command ? c->command->noun : "",
			c->command && c->command->verb ? " " : "",
			c->command && c->command->verb ? c->command->verb : "");
}

static int set_option(struct ctl *c, const struct written *w, bool *help)
{
	const struct ctl_option *o = NULL;
	const char **slot = NULL;
	const char *id = NULL;

	for (const struct ctl_option *g = ctl_global_options; g->name && !o; g++)
		o = is_option(g, w) ? g : NULL;
	if (o && !strcmp(o->name, "--id"))
		slot = &id;
	else if (o && !strcmp(o->name, "--socket"))
		slot = &c->socket;
	for (size_t i = 0; !o && c->command && i < CTL_MAX_OPTIONS && c->command->options[i].name;
	     i++) {
		if (is_option(&c->command->options[i], w)) {
			o = &c->command->options[i];
			slot = &c->values[i];
		}
	}
	if (!o)
		return unknown_option(c, w);
	if (o->arg && (!w->value || !*w->value))
		return ctl_fail(CTL_USAGE, "%s: needs a value: %s", o->name, o->arg);
	if (!o->arg && w->attached)
		return ctl_fail(CTL_USAGE, "%s: takes no value", o->name);
	if (slot)
		*slot = o->arg ? w->value : "";
	else if (!strcmp(o->name, "--json"))
		c->json = true;
	else if (!strcmp(o->name, "--help"))
		*help = true;
	if (!id)
		return CTL_DONE;
	if (c->command && !c->command->writes)
		return ctl_fail(CTL_USAGE, "--id: is for commands that change something");
	if (strlen(id) >= sizeof(c->id))
		return ctl_fail(CTL_USAGE, "--id: at most %zu bytes", sizeof(c->id) - 1);
	snprintf(c->id, sizeof(c->id), "%s", id);
	return CTL_DONE;
}

static int make_id(struct ctl *c)
{
	uint8_t random[16];

	if (c->id[0] || !c->command->writes)
		return CTL_DONE;
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return ctl_fail(CTL_REFUSED, "no random numbers: %s", strerror(errno));
	weir_hex(random, sizeof(random), c->id);
	c->id_made_up = true;
	return CTL_DONE;
}

static int take_args(struct ctl *c, const char **words, size_t n)
{
	const struct ctl_command *m = c->command;
	const char *gap = m->verb ? " " : "", *verb = m->verb ? m->verb : "";

	if (n > m->max_args && m->max_args == 0)
		return ctl_fail(CTL_USAGE, "%s%s%s: \"%.64s\" is one argument too many", m->noun,
				gap, verb, words[0]);
	if (n < m->min_args || n > m->max_args)
		return ctl_fail(CTL_USAGE, "%s%s%s: usage: weirctl %s%s%s %s", m->noun, gap, verb,
				m->noun, gap, verb, m->args);
	for (size_t i = 0; i < n; i++)
		c->args[c->n_args++] = words[i];
	return CTL_DONE;
}

static bool looks_like_option(const char *word)
{
	return word[0] == '-' && word[1] && !isdigit((unsigned char)word[1]) && word[1] != '.';
}

static int parse(struct ctl *c, int argc, char **argv, const char **words, struct written *given)
{
	size_t n_words = 0, n_given = 0;
	bool help = false, options = true;
	int r;

	for (int i = 1; i < argc; i++) {
		struct written *w = &given[n_given];
		const char *eq;

		if (options && !strcmp(argv[i], "--")) {
			options = false;
			continue;
		}
		if (!options || !looks_like_option(argv[i])) {
			words[n_words++] = argv[i];
			continue;
		}
		eq = strchr(argv[i], '=');
		w->name = argv[i];
		if (!strcmp(argv[i], "-h"))
			w->name = "--help";
		/* Of `price import` it is an option. */
		if (!strcmp(argv[i], "--version") && !n_words) {
			words[n_words++] = "version";
			continue;
		}
		w->name_len = eq ? (size_t)(eq - argv[i]) : strlen(w->name);
		w->attached = eq;
		if (eq)
			w->value = eq + 1;
		else if (i + 1 < argc && takes_value(w))
			w->value = argv[++i];
		n_given++;
	}
	if (!n_words && n_given == 1 && !strncmp(given[0].name, "--help", 6))
		words[n_words++] = "help";
	/* `credit --help` is `help credit`: all its verbs. */
	if (n_words == 1 && n_given == 1 && !strcmp(given[0].name, "--help")) {
		words[1] = words[0];
		words[0] = "help";
		n_words = 2;
		n_given = 0;
	}
	r = find_command(c, words, &n_words);
	for (size_t i = 0; !r && i < n_given; i++)
		r = set_option(c, &given[i], &help);
	if (!r && help) {
		/* `credit grant --help` is `help credit grant`. */
		const struct ctl_command *m = c->command;

		c->command = NULL;
		words[0] = "help";
		n_words = 1;
		r = find_command(c, words, &n_words);
		if (!r && m != c->command) {
			c->args[c->n_args++] = m->noun;
			/* Of two words it is one here: ctl_help takes both spellings. */
			if (m->verb)
				c->args[c->n_args++] = m->verb;
		}
		return r;
	}
	if (!r)
		r = take_args(c, words, n_words);
	return r ? r : make_id(c);
}

int ctl_parse(struct ctl *c, int argc, char **argv)
{
	const char *from_env = getenv("WEIR_SOCKET");
	weir_autofree const char **words = calloc((size_t)argc + 1, sizeof(*words));
	weir_autofree struct written *given = calloc((size_t)argc + 1, sizeof(*given));

	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->socket = from_env && *from_env ? from_env : CTL_SOCKET;
	if (!words || !given)
		return ctl_fail(CTL_REFUSED, "out of memory");
	return parse(c, argc, argv, words, given);
}
