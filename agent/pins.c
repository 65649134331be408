// SPDX-License-Identifier: Apache-2.0
/*
 * Pins of links. Knows paths and links; not what the programs are, nor how they
 * got there.
 */
#include "pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"

static const char *const hooks[WEIR_HOOKS] = { "xdp", "ingress", "egress" };

void weir_pin_path(const char *instance, enum weir_hook hook, const struct weir_device *d,
		   char out[static WEIR_PIN_PATH])
{
	snprintf(out, WEIR_PIN_PATH, WEIR_PIN_ROOT "/%s/links/%s-%" PRIu64 "-%d", instance,
		 hooks[hook], d->netns, d->ifindex);
}

bool weir_pin_parse(const char *name, enum weir_hook *hook, struct weir_device *d)
{
	struct weir_device found;

	for (int h = 0; h < WEIR_HOOKS; h++) {
		size_t n = strlen(hooks[h]);
		int end = 0;

		if (strncmp(name, hooks[h], n) ||
		    sscanf(name + n, "-%" SCNu64 "-%d%n", &found.netns, &found.ifindex, &end) < 2 ||
		    name[n + end] || found.ifindex <= 0)
			continue;
		*hook = h;
		*d = found;
		return true;
	}
	return false;
}

/* The pinned link as an fd, if it is alive on the device: one whose device went has
 * ifindex 0. XDP and tcx links have theirs in the same place of the union. */
static int open_link(const char *path, int ifindex, struct bpf_link_info *info)
{
	uint32_t len = sizeof(*info);
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return -ENOENT;
	memset(info, 0, sizeof(*info));
	if (!bpf_obj_get_info_by_fd(fd, info, &len) && (int)info->xdp.ifindex == ifindex)
		return fd;
	close(fd);
	unlink(path);
	return -ENOENT;
}

uint32_t weir_pin_program(const char *instance, enum weir_hook hook, const struct weir_device *d)
{
	struct bpf_link_info info;
	char path[WEIR_PIN_PATH];
	int fd;

	weir_pin_path(instance, hook, d, path);
	fd = open_link(path, d->ifindex, &info);
	if (fd < 0)
		return 0;
	close(fd);
	return info.prog_id;
}

int weir_pin_replace(const char *instance, enum weir_hook hook, const struct weir_device *d,
		     int prog_fd)
{
	struct bpf_link_info info;
	char path[WEIR_PIN_PATH];
	int fd, r;

	weir_pin_path(instance, hook, d, path);
	fd = open_link(path, d->ifindex, &info);
	if (fd < 0)
		return fd;
	r = bpf_link_update(fd, prog_fd, NULL) ? -errno : 0;
	close(fd);
	/* Its device went just now. */
	return r == -ENOLINK ? -ENOENT : r;
}

int weir_pin_link(int link_fd, const char *path, struct weir_error *err)
{
	int r = 0;

	unlink(path);
	if (bpf_obj_pin(link_fd, path))
		r = weir_fail(err, errno, "%s: cannot pin the link: %s", path, strerror(errno));
	close(link_fd); /* the pin keeps it, if there is one */
	return r;
}

/* Without its pin a link ends by itself, but in its own time (a kernel worker), and
 * the hook would look taken until then. Links of tracepoints cannot be detached. */
static void remove_link(const char *path)
{
	weir_autoclose int fd = bpf_obj_get(path);

	if (fd >= 0)
		bpf_link_detach(fd);
	if (unlink(path) && errno != ENOENT)
		weir_log(WEIR_WARN, "%s: cannot remove it: %s", path, strerror(errno));
}

void weir_pin_remove(const char *instance, enum weir_hook hook, const struct weir_device *d)
{
	char path[WEIR_PIN_PATH];

	weir_pin_path(instance, hook, d, path);
	remove_link(path);
}

static bool among(const struct weir_device *d, const struct weir_device *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (all[i].netns == d->netns && all[i].ifindex == d->ifindex)
			return true;
	return false;
}

static DIR *open_links(const char *instance, char dir[static WEIR_PIN_PATH])
{
	snprintf(dir, WEIR_PIN_PATH, WEIR_PIN_ROOT "/%s/links", instance);
	return opendir(dir);
}

unsigned weir_pins_sweep(const char *instance, const struct weir_device *keep, unsigned n)
{
	char dir[WEIR_PIN_PATH];
	DIR *d = open_links(instance, dir);
	struct weir_device device;
	enum weir_hook hook;
	unsigned living = 0;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!weir_pin_parse(e->d_name, &hook, &device) || among(&device, keep, n))
			continue;
		if (weir_pin_program(instance, hook, &device))
			living++;
		weir_pin_remove(instance, hook, &device);
	}
	if (d)
		closedir(d);
	return living;
}

unsigned weir_pins_replace(const char *instance, int (*prog)(void *ctx, uint32_t prog_id),
			   void *ctx)
{
	char dir[WEIR_PIN_PATH];
	DIR *d = open_links(instance, dir);
	struct weir_device device;
	enum weir_hook hook;
	unsigned failed = 0;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		uint32_t id;
		int fd, r;

		if (!weir_pin_parse(e->d_name, &hook, &device))
			continue;
		id = weir_pin_program(instance, hook, &device);
		if (!id)
			continue;
		fd = prog(ctx, id);
		r = fd < 0 ? fd : weir_pin_replace(instance, hook, &device, fd);
		if (!r || r == -ENOENT)
			continue;
		weir_log(WEIR_WARN, "%s/%s: its program cannot be replaced: %s", dir, e->d_name,
			 strerror(-r));
		failed++;
	}
	if (d)
		closedir(d);
	return failed;
}

void weir_pins_drop_dead(const char *instance)
{
	char dir[WEIR_PIN_PATH];
	DIR *d = open_links(instance, dir);
	struct weir_device device;
	enum weir_hook hook;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (weir_pin_parse(e->d_name, &hook, &device))
			weir_pin_program(instance, hook, &device);
	if (d)
		closedir(d);
}

int weir_pins_clear(const char *instance, struct weir_error *err)
{
	char dir[WEIR_PIN_PATH], path[WEIR_PIN_PATH + 300];
	DIR *d = open_links(instance, dir);
	struct dirent *e;

	if (!d && errno != ENOENT)
		return weir_fail(err, errno, "%s: %s", dir, strerror(errno));
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		remove_link(path);
	}
	if (d)
		closedir(d);
	return 0;
}
