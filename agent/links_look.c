// SPDX-License-Identifier: Apache-2.0
/*
 * One look at an interface: is its device there, is it the one that was attached, and
 * what is to be done about it. Works in the interface's network namespace.
 */
#include "links_priv.h"

#include <errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "xdp.h"

#define RETRY_FIRST (WEIR_SECOND / 4)
#define RETRY_MAX   (30 * WEIR_SECOND)

void weir_links_say(struct weir_links *l, struct watched *w, enum weir_level level, const char *fmt,
		    ...)
{
	char note[sizeof(w->note)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(note, sizeof(note), fmt, ap);
	va_end(ap);
	if (!strcmp(note, w->note))
		return;
	weir_links_lock(l);
	memcpy(w->note, note, sizeof(note));
	weir_links_unlock(l);
	if (note[0])
		weir_log(level, "%s", note);
}

static void say_nothing(struct weir_links *l, struct watched *w)
{
	weir_links_say(l, w, WEIR_NOTE, "%s", "");
}

/* a NULL: it is not attached any more. */
static void set_attached(struct weir_links *l, struct watched *w, const struct weir_attachment *a)
{
	weir_links_lock(l);
	w->attached = a != NULL;
	if (a)
		w->at = *a;
	weir_links_unlock(l);
}

void weir_links_wait_for(struct weir_links *l, struct watched *w, const char *what)
{
	char since[WEIR_TIME_TEXT];

	if (w->attached) {
		set_attached(l, w, NULL);
		w->gone_wall_ns = weir_wall_ns() / WEIR_SECOND * WEIR_SECOND;
	}
	if (!w->gone_wall_ns) {
		weir_links_say(l, w, WEIR_WARN, "interface %s: not there yet, waiting%s%s",
			       w->at.name, what[0] ? " for " : "", what);
		return;
	}
	weir_time_format(w->gone_wall_ns, since);
	weir_links_say(l, w, WEIR_WARN, "interface %s: gone since %s, waiting%s%s", w->at.name,
		       since, what[0] ? " for " : "", what);
}

/* Ask the kernel for a device by its name, or by ifindex if name is NULL. 0, -ENODEV,
 * or -EIO: not known now. */
static int find_device(const struct space *s, int ifindex, const char *name,
		       struct weir_attachment *a)
{
	struct rtnl_link *link;
	int r = rtnl_link_get_kernel(s->ask, ifindex, name, &link);

	if (r)
		return r == -NLE_NODEV || r == -NLE_OBJ_NOTFOUND ? -ENODEV : -EIO;
	a->device.netns = s->id;
	a->device.ifindex = rtnl_link_get_ifindex(link);
	a->type = rtnl_link_get_arptype(link);
	a->is_virtual = rtnl_link_get_type(link) != NULL;
	snprintf(a->ifname, sizeof(a->ifname), "%s", rtnl_link_get_name(link));
	rtnl_link_put(link);
	return 0;
}

static bool same_device(const struct weir_device *a, const struct weir_device *b)
{
	return a->netns == b->netns && a->ifindex == b->ifindex;
}

struct watched *weir_links_guard_of(struct weir_links *l, const struct weir_device *d)
{
	for (size_t i = 0; i < l->n_watched; i++)
		if (l->watched[i].attached && same_device(&l->watched[i].at.device, d))
			return &l->watched[i];
	return NULL;
}

static struct watched *who_wants(struct weir_links *l, const struct space *s, const char *name)
{
	for (size_t i = 0; i < l->n_watched; i++)
		if (l->watched[i].space == s && !strcmp(l->watched[i].conf->name, name))
			return &l->watched[i];
	return NULL;
}

static void retry_later(struct watched *w)
{
	w->backoff_ns = w->backoff_ns ? w->backoff_ns * 2 : RETRY_FIRST;
	if (w->backoff_ns > RETRY_MAX)
		w->backoff_ns = RETRY_MAX;
	w->retry_ns = weir_mono_ns() + w->backoff_ns;
}

/* At start, one that is there and cannot be had ends the start; later there is traffic
 * to go on with, and it is tried again. */
static void cannot_attach(struct weir_links *l, struct watched *w, int r,
			  const struct weir_error *err)
{
	if (r == -ENODEV) { /* it went just now */
		retry_later(w);
		weir_links_wait_for(l, w, "");
	} else if (l->starting) {
		l->start_result = weir_fail(l->start_err, -r, "%s", err->text);
	} else {
		retry_later(w);
		weir_links_say(l, w, WEIR_ERR, "%s; trying again", err->text);
	}
}

static void attach(struct weir_links *l, struct watched *w, struct weir_attachment *a)
{
	struct watched *other = weir_links_guard_of(l, &a->device);
	struct weir_error err;
	int r;

	if (other && other != w) {
		weir_links_say(l, w, WEIR_WARN,
			       "interface %s: is the device of interface %s, which guards it",
			       w->at.name, other->at.name);
		return;
	}
	r = weir_attach(l->kernel, l->cfg->instance, l->cfg->xdp, a, &err);
	if (r) {
		cannot_attach(l, w, r, &err);
		return;
	}
	if (l->starting && a->xdp_refused) {
		l->start_result =
			weir_fail(l->start_err, EBUSY, "%s only if \"xdp\" is \"auto\" or \"off\"",
				  a->warning);
		return;
	}
	w->backoff_ns = 0;
	set_attached(l, w, a);
	weir_log(WEIR_NOTE, "interface %s: %sXDP %s, TC %s%s", a->name,
		 w->was_attached ? "attached again, " : "", weir_xdp_names[a->xdp],
		 a->tcx ? "tcx" : "clsact",
		 a->ethernet ? "" : ", frames without an Ethernet header");
	if (a->warning[0])
		weir_log(WEIR_WARN, "%s", a->warning);
	if (w->was_attached && w->last_xdp != a->xdp)
		weir_links_say(l, w, WEIR_WARN, "interface %s: XDP is %s now, it was %s", a->name,
			       weir_xdp_names[a->xdp], weir_xdp_names[w->last_xdp]);
	else
		say_nothing(l, w);
	w->was_attached = true;
	w->last_xdp = a->xdp;
}

/* agent.json has an interface of the name that w's device has now: it is that one's. */
static void hand_over(struct weir_links *l, struct watched *w, struct watched *heir,
		      const struct weir_attachment *now)
{
	struct weir_attachment a = w->at;

	memcpy(a.ifname, now->ifname, sizeof(a.ifname));
	memcpy(a.name, heir->at.name, sizeof(a.name));
	weir_log(WEIR_NOTE, "interface %s: was renamed to %s, and is guarded as that", w->at.name,
		 now->ifname);
	set_attached(l, heir, &a);
	say_nothing(l, heir);
	heir->was_attached = true;
	heir->last_xdp = a.xdp;
	set_attached(l, w, NULL);
	w->gone_wall_ns = weir_wall_ns() / WEIR_SECOND * WEIR_SECOND;
}

/* The device that was attached lives, but its name is another one (now), and may be
 * another device's (next; NULL: nobody's). */
static void renamed(struct weir_links *l, struct watched *w, const struct weir_attachment *now,
		    struct weir_attachment *next)
{
	struct watched *heir = who_wants(l, w->space, now->ifname);
	struct weir_attachment a = w->at;

	if (heir && heir != w) {
		hand_over(l, w, heir, now);
		if (next)
			attach(l, w, next);
		else
			weir_links_wait_for(l, w, "");
		return;
	}
	if (next) { /* that one first */
		weir_log(WEIR_NOTE, "interface %s: another device has the name now; %s is let go",
			 w->at.name, now->ifname);
		set_attached(l, w, NULL);
		attach(l, w, next);
		weir_detach_from(l->cfg->instance, &a);
		return;
	}
	/* Limits do not end because of a name. */
	memcpy(a.ifname, now->ifname, sizeof(a.ifname));
	set_attached(l, w, &a);
	weir_links_say(l, w, WEIR_WARN,
		       "interface %s: was renamed to %s, and stays guarded till another device has "
		       "its name or the agent starts anew; put the new name into agent.json",
		       w->at.name, now->ifname);
}

/* The device has w's name, as it had before: is all as it was left? */
static void check(struct weir_links *l, struct watched *w, struct weir_attachment *now)
{
	struct weir_attachment a = w->at;

	if (!weir_attached(l->cfg->instance, &a) || now->type != a.type || weir_xdp_free_now(&a)) {
		/* It came back with the same number, somebody took a program off, or XDP
		 * may be had now. */
		attach(l, w, now);
		return;
	}
	if (!strcmp(a.ifname, now->ifname))
		return;
	memcpy(a.ifname, now->ifname, sizeof(a.ifname)); /* renamed, and renamed back */
	set_attached(l, w, &a);
	say_nothing(l, w);
}

void weir_links_look(struct weir_links *l, struct watched *w)
{
	struct weir_attachment now = w->at, then = w->at;
	int r = find_device(w->space, 0, w->conf->name, &now), lives = -ENODEV;

	if (w->attached && r != -EIO)
		lives = find_device(w->space, w->at.device.ifindex, NULL, &then);
	if (r == -EIO || lives == -EIO) {
		retry_later(w);
		return;
	}
	if (w->attached && !r && same_device(&now.device, &w->at.device)) {
		check(l, w, &now);
		return;
	}
	/* Another device may have its number by now, but not our programs. */
	if (!lives && weir_attached(l->cfg->instance, &w->at)) {
		renamed(l, w, &then, r ? NULL : &now);
		return;
	}
	if (w->attached) {
		weir_detach_from(l->cfg->instance, &w->at);
		weir_links_wait_for(l, w, "");
	}
	if (r)
		weir_links_wait_for(l, w, "");
	else
		attach(l, w, &now);
}
