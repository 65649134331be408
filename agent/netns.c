// SPDX-License-Identifier: Apache-2.0
/*
 * A namespace belongs to a thread. One that could not come back to its own would go
 * on doing the agent's work in somebody else's, so who enters one ends there.
 */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

int weir_netns_open(const char *path, uint64_t *id)
{
	/* O_NONBLOCK: a FIFO put there by mistake must not hold us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		r = -EINVAL;
	else if (fstat(fd, &st))
		r = -errno;
	if (r) {
		close(fd);
		return r;
	}
	*id = st.st_ino;
	return fd;
}

struct call {
	int fd, result;
	void (*fn)(void *arg);
	void *arg;
};

static void *run(void *arg)
{
	struct call *c = arg;

	c->result = setns(c->fd, CLONE_NEWNET) ? -errno : 0;
	if (!c->result)
		c->fn(c->arg);
	return NULL;
}

int weir_netns_call(int fd, void (*fn)(void *arg), void *arg)
{
	struct call c = { .fd = fd, .fn = fn, .arg = arg };
	pthread_t thread;
	int r;

	if (fd < 0) {
		fn(arg);
		return 0;
	}
	r = pthread_create(&thread, NULL, run, &c);
	if (r)
		return -r;
	pthread_join(thread, NULL);
	return c.result;
}
