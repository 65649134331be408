// SPDX-License-Identifier: Apache-2.0
/*
 * weir-agent: options, signals, and the tick. Everything else is in agent.c.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "backup.h"
#include "kernel.h"

static const char usage[] =
	"usage: weir-agent [--config FILE] [--keep]    guard the ports of agent.json\n"
	"       weir-agent --detach [--config FILE]    take everything of the instance down\n"
	"       weir-agent --check [--config FILE]     read the configuration, then exit\n"
	"       weir-agent --restore BACKUP [--config FILE]   put a backup of the database back;\n"
	"                                              what is there is moved aside\n"
	"       weir-agent --version | --help\n"
	"\n"
	"  --config FILE  default " WEIR_CONFIG_FILE "\n"
	"  --keep         on SIGTERM leave limits in force (the ring keeps what is to be\n"
	"                 metered); without it a clean stop takes the programs off\n"
	"\n"
	"SIGHUP reads the policies again. `ready` on stderr says that limits are in force.\n"
	"exit: 0 stopped, 1 could not start, 2 usage\n";

/* systemd's readiness protocol: one datagram. Nothing listens: nothing happens. */
static void tell_systemd(const char *what)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	int fd;

	if (!path || strlen(path) >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, strlen(path));
	if (to.sun_path[0] == '@')
		to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, what, strlen(what), MSG_NOSIGNAL, (struct sockaddr *)&to,
		   offsetof(struct sockaddr_un, sun_path) + strlen(path)) < 0)
		weir_log(WEIR_WARN, "systemd: cannot notify %s: %s", path, strerror(errno));
	close(fd);
}

static int fail(const struct weir_error *err)
{
	fprintf(stderr, "weir-agent: %s\n", err->text);
	return 1;
}

static int run(const struct weir_agent_config *cfg, bool keep)
{
	struct weir_agent *agent;
	struct weir_error err;
	sigset_t signals;
	int fd;

	/* Before any thread: all of them inherit the mask, signals come by fd only. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (fd < 0) {
		weir_fail(&err, errno, "signalfd: %s", strerror(errno));
		return fail(&err);
	}
	if (weir_agent_start(cfg, &agent, &err))
		return fail(&err);
	fprintf(stderr, "ready\n");
	tell_systemd("READY=1");
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct signalfd_siginfo s;

		weir_agent_tick(agent);
		if (poll(&p, 1, 100) != 1 || read(fd, &s, sizeof(s)) != sizeof(s))
			continue;
		if (s.ssi_signo != SIGHUP)
			break;
		weir_agent_reload(agent);
	}
	tell_systemd("STOPPING=1");
	weir_agent_stop(agent, keep);
	return 0;
}

/* Not while an agent of the instance runs: it would go on writing into what was moved aside. */
static int restore(const struct weir_agent_config *cfg, const char *file)
{
	weir_autoclose int lock = -1;
	char db_path[512], aside[256], when[WEIR_TIME_TEXT];
	struct weir_backup_info info;
	struct weir_error err;

	lock = weir_instance_lock(cfg->instance, &err);
	if (lock < 0)
		return fail(&err);
	snprintf(db_path, sizeof(db_path), "%s/weir.db", cfg->state_dir);
	if (weir_backup_restore(file, db_path, aside, &info, &err))
		return fail(&err);
	weir_time_format(info.time_ns, when);
	printf("%s is %s: ledger %s, up to entry %" PRIu64 " of %s\n", db_path, file,
	       info.ledger_id, info.newest, info.newest ? when : "no time");
	if (aside[0])
		printf("what was there is %s\n", aside);
	printf("the next start enters again what the stream has behind that, and says what it "
	       "lacks\n");
	if (info.segments)
		printf("%" PRIu64
		       " sealed segments belong to it, in %s/segments; what of them is not "
		       "there is told by whoever reads it\n",
		       info.segments, cfg->state_dir);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },  { "detach", no_argument, NULL, 'd' },
		{ "keep", no_argument, NULL, 'k' },	     { "check", no_argument, NULL, 'n' },
		{ "restore", required_argument, NULL, 'r' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },	     { NULL, 0, NULL, 0 },
	};
	const char *path = WEIR_CONFIG_FILE, *backup = NULL;
	bool detach = false, keep = false, check = false;
	static struct weir_agent_config cfg;
	struct weir_error err;
	int o;

	while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			path = optarg;
			break;
		case 'd':
			detach = true;
			break;
		case 'k':
			keep = true;
			break;
		case 'n':
			check = true;
			break;
		case 'r':
			backup = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			printf("weir-agent %s\n", WEIR_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "weir-agent: \"%s\": not an option\n%s", argv[optind], usage);
		return 2;
	}
	if (weir_agent_config_load(path, &cfg, &err))
		return fail(&err);
	if (check)
		return 0;
	if (backup)
		return restore(&cfg, backup);
	if (!detach)
		return run(&cfg, keep);
	return weir_agent_detach(&cfg, &err) ? fail(&err) : 0;
}
