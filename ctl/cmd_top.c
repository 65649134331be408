/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl top: the busiest tenants first, rates from two looks a second apart.
 * On a terminal it takes the alternate screen and gives it back whatever ends
 * it; elsewhere it prints once.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	ended = 1;
}

struct row {
	const json_t *now, *before;
	int64_t inflight, admitted, refused; /* the last two per second, in tenths */
};

static int busier(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->inflight != y->inflight)
		return x->inflight < y->inflight ? 1 : -1;
	if (x->admitted + x->refused != y->admitted + y->refused)
		return x->admitted + x->refused < y->admitted + y->refused ? 1 : -1;
	return strcmp(json_string_value(json_object_get(x->now, "tenant")),
		      json_string_value(json_object_get(y->now, "tenant")));
}

static const json_t *find(const json_t *tenants, const char *name)
{
	const json_t *t;
	size_t i;

	json_array_foreach(tenants, i, t)
	{
		const char *n = json_string_value(json_object_get(t, "tenant"));

		if (n && !strcmp(n, name))
			return t;
	}
	return NULL;
}

static int64_t rate(const struct row *r, const char *name, uint64_t ns)
{
	int64_t d;

	if (!r->before || !ns)
		return 0;
	d = ctl_int(r->now, name) - ctl_int(r->before, name);
	return d <= 0 ? 0 : (int64_t)((unsigned __int128)d * 10000000000 / ns);
}

static void cell_rate(struct ctl_table *t, int64_t tenths, bool known)
{
	char text[CTL_CELL] = "-";

	if (known)
		snprintf(text, sizeof(text), "%" PRId64 ".%" PRId64, tenths / 10, tenths % 10);
	ctl_table_cell(t, text);
}

static void table(const json_t *now, const json_t *before, uint64_t ns, size_t lines)
{
	static const char *const names[] = {
		"TENANT",    "TIER",	 ">CONN",      ">INFLIGHT",    ">ADMIT/S", ">REFUSE/S",
		">ADMITTED", ">REFUSED", ">REQS LEFT", ">TOKENS LEFT", ">BALANCE", ">RESERVED"
	};
	const json_t *list = json_object_get(now, "tenants"), *t;
	size_t n = json_array_size(list), i;
	struct row *rows = calloc(n + 1, sizeof(*rows));
	struct ctl_table *out = ctl_table_new(12, names);

	json_array_foreach(list, i, t)
	{
		const char *name = json_string_value(json_object_get(t, "tenant"));

		if (!rows || !name)
			continue;
		rows[i].now = t;
		/* In the same place but where the policy changed between the looks. */
		rows[i].before = json_array_get(json_object_get(before, "tenants"), i);
		if (rows[i].before &&
		    strcmp(name,
			   json_string_value(json_object_get(rows[i].before, "tenant")) ?: ""))
			rows[i].before = find(json_object_get(before, "tenants"), name);
		rows[i].inflight = ctl_int(json_object_get(t, "live"), "inflight");
		rows[i].admitted = rate(&rows[i], "admitted", ns);
		rows[i].refused = rate(&rows[i], "refused", ns);
	}
	if (rows)
		qsort(rows, n, sizeof(*rows), busier);
	for (i = 0; rows && i < n && i < lines; i++) {
		const json_t *live = json_object_get(rows[i].now, "live");

		ctl_table_field(out, rows[i].now, "tenant");
		ctl_table_field(out, rows[i].now, "tier");
		ctl_table_field(out, live, "connections");
		ctl_table_field(out, live, "inflight");
		cell_rate(out, rows[i].admitted, before);
		cell_rate(out, rows[i].refused, before);
		ctl_table_field(out, rows[i].now, "admitted");
		ctl_table_field(out, rows[i].now, "refused");
		ctl_table_field(out, live, "requests_remaining");
		ctl_table_field(out, live, "tokens_remaining");
		ctl_table_field(out, live, "balance");
		ctl_table_field(out, live, "reserved");
	}
	ctl_table_print(out, "no tenants");
	free(rows);
}

static void heading(const json_t *now)
{
	const json_t *s = json_object_get(now, "status"), *nats = json_object_get(s, "nats");
	const json_t *flows = json_object_get(s, "flows");
	char node[CTL_CELL], up[CTL_CELL];

	ctl_duration((uint64_t)ctl_int(s, "uptime_s"), up);
	printf("weir on %s, up %s, %lld connections, %lld half-open, ring lost %lld",
	       ctl_text(s, "node", node), up, (long long)ctl_int(flows, "used"),
	       (long long)ctl_int(flows, "half_open"),
	       (long long)ctl_int(json_object_get(s, "ring"), "lost"));
	if (ctl_int(json_object_get(s, "tenants"), "suspended"))
		printf(", %lld tenants suspended",
		       (long long)ctl_int(json_object_get(s, "tenants"), "suspended"));
	if (!json_is_true(json_object_get(json_object_get(s, "enforce"), "enforcing")))
		printf(", limits NOT enforced");
	if (json_is_object(nats))
		printf(", nats backlog %lld", (long long)ctl_int(nats, "backlog"));
	if (json_array_size(json_object_get(s, "warnings")))
		printf(", %zu warnings (see status)",
		       json_array_size(json_object_get(s, "warnings")));
	fputs("\n\n", stdout);
}

static int once(struct ctl *c)
{
	json_t *now = NULL;
	int r = ctl_request(c, ctl_op(c, "top"), NULL, NULL, &now);

	if (!r && c->json) {
		r = ctl_print_json(now);
	} else if (!r) {
		heading(now);
		table(now, NULL, 0, SIZE_MAX);
	}
	json_decref(now);
	return r;
}

/* A screenful, line ends cleared rather than the whole screen: no flicker. */
static void draw(const json_t *now, const json_t *before, uint64_t ns)
{
	struct winsize ws = { .ws_row = 24 };
	weir_autofree char *text = NULL;
	FILE *screen = stdout, *f;
	size_t len = 0, lines = 0;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) || ws.ws_row < 6)
		ws.ws_row = 24;
	f = open_memstream(&text, &len);
	if (!f)
		return;
	stdout = f;
	heading(now);
	table(now, before, ns, (size_t)ws.ws_row - 5);
	stdout = screen;
	if (fclose(f))
		return;
	fputs("\033[H", stdout);
	for (const char *p = text, *nl; p < text + len && lines < (size_t)ws.ws_row - 1;
	     p = nl + 1, lines++) {
		size_t cut;

		nl = strchr(p, '\n');
		if (!nl)
			break;
		cut = (size_t)(nl - p);
		if (ws.ws_col && cut > ws.ws_col)
			cut = ws.ws_col;
		printf("%s%.*s%s\033[K\r\n", lines == 2 ? "\033[1m" : "", (int)cut, p,
		       lines == 2 ? "\033[0m" : "");
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static bool quit_pressed(unsigned ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char key;

	if (poll(&p, 1, (int)ms) <= 0)
		return false;
	if (!(p.revents & POLLIN) || read(STDIN_FILENO, &key, 1) != 1)
		return true;
	return key == 'q' || key == 'Q' || key == 3;
}

static int live(struct ctl *c)
{
	json_t *now = NULL, *before = NULL;
	uint64_t now_ns, before_ns = 0;
	struct weir_error why = { "" };
	int r = CTL_DONE;

	while (!ended) {
		uint64_t until;

		now = NULL;
		r = ctl_try(c, ctl_op(c, "top"), NULL, NULL, &now, &why);
		if (r)
			break;
		now_ns = weir_mono_ns();
		draw(now, before, before_ns ? now_ns - before_ns : 0);
		json_decref(before);
		before = now;
		before_ns = now_ns;
		until = now_ns + UINT64_C(1000000000);
		while (!ended && (now_ns = weir_mono_ns()) < until) {
			if (quit_pressed((unsigned)((until - now_ns) / 1000000) + 1))
				ended = 1;
		}
	}
	json_decref(before);
	/* The screen is given back before anything is said on it. */
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	return r ? ctl_fail(r, "%s", why.text) : CTL_DONE;
}

int ctl_top(struct ctl *c)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct termios was, raw;
	int r;

	if (c->json || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ||
	    tcgetattr(STDIN_FILENO, &was))
		return once(c);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	raw = was;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
	r = live(c);
	tcsetattr(STDIN_FILENO, TCSANOW, &was);
	return r;
}
