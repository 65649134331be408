/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.json into a struct: defaults, bounds, nothing else. Whether an interface
 * or a directory exists is for those who open it; nothing here touches the host,
 * except for its name.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config_read.h"
#include "json.h"

#define NS_PER_MS   1000000
#define NETNS_NAMED "/run/netns/" /* where ip-netns(8) keeps its own */

static const char *const xdp_names[] = { "auto", "native", "generic", "off", NULL };
static const char *const api_names[] = { "openai", "anthropic", "plain", NULL };
_Static_assert(sizeof(api_names) / sizeof(*api_names) == WEIR_API_MAX + 1, "api_names");

/* Copy a checked string into a field that is large enough for it. */
static void put(char *out, const char *text)
{
	memcpy(out, text, strlen(text) + 1);
}

static int read_name(const struct weir_json *at, const char *field, char *out,
		     struct weir_error *err)
{
	struct weir_json child;
	const char *name;
	int r;

	if (!weir_json_get(at, field, &child))
		return 0;
	r = weir_json_name(&child, &name, err);
	if (!r)
		put(out, name);
	return r;
}

int config_path(const struct weir_json *at, const char *field, char *out, size_t size,
		struct weir_error *err)
{
	struct weir_json child;
	const char *path;
	int r;

	if (!weir_json_get(at, field, &child))
		return 0;
	r = weir_json_string(&child, size - 1, &path, err);
	if (r)
		return r;
	if (path[0] != '/')
		return weir_json_refuse(&child, err, "is not an absolute path");
	put(out, path);
	return 0;
}

int config_u32(const struct weir_json *at, const char *field, int64_t min, int64_t max,
	       uint32_t *out, struct weir_error *err)
{
	struct weir_json child;
	int64_t v;
	int r;

	if (!weir_json_get(at, field, &child))
		return 0;
	r = weir_json_int(&child, min, max, &v, err);
	if (!r)
		*out = (uint32_t)v;
	return r;
}

/* The node's name goes into NATS subjects and ids: taken from the host only where it
 * fits as it is (but for case), never bent into shape. */
static int default_node(const struct weir_json *at, char node[static WEIR_NAME_BYTES],
			struct weir_error *err)
{
	char host[256] = "", *dot;

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	dot = strchr(host, '.');
	if (dot)
		*dot = '\0';
	for (char *c = host; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	if (!weir_name_ok(host))
		return weir_json_fail(at, err,
				      "has no \"node\", and the host name \"%s\" is not a name of "
				      "1 to 63 of a-z 0-9 _ -: set \"node\"",
				      host);
	put(node, host);
	return 0;
}

void weir_interface_label(const struct weir_config_interface *f,
			  char out[static WEIR_INTERFACE_LABEL])
{
	const char *netns = f->netns;
	size_t named = sizeof(NETNS_NAMED) - 1;

	if (!strncmp(netns, NETNS_NAMED, named) && !strchr(netns + named, '/'))
		netns += named;
	_Static_assert(WEIR_INTERFACE_LABEL == IF_NAMESIZE - 1 + 1 + 63 + 1, "what is cut at 63");
	snprintf(out, WEIR_INTERFACE_LABEL, "%s%s%.63s", f->name, netns[0] ? "@" : "", netns);
}

/* "pod1" is what ip-netns(8) calls it; anything else is a path. */
static int read_netns(const struct weir_json *at, char out[static WEIR_CONFIG_PATH],
		      struct weir_error *err)
{
	const char *text;
	size_t named = sizeof(NETNS_NAMED) - 1;
	int r = weir_json_string(at, WEIR_CONFIG_PATH - 1 - named, &text, err);

	if (r)
		return r;
	if (text[0] == '/') {
		put(out, text);
		return 0;
	}
	if (strchr(text, '/') || !strcmp(text, ".") || !strcmp(text, ".."))
		return weir_json_refuse(at, err,
					"is neither an absolute path nor a name in " NETNS_NAMED);
	memcpy(out, NETNS_NAMED, named);
	put(out + named, text);
	return 0;
}

static int read_interface(const struct weir_json *at, struct weir_agent_config *c,
			  struct weir_error *err)
{
	static const char *const fields[] = { "name", "netns", NULL };
	struct weir_config_interface *f = &c->interfaces[c->n_interfaces];
	struct weir_json where = *at, child;
	const char *name;
	int r = 0;

	if (json_is_object(at->v)) {
		r = weir_json_object(at, fields, err);
		if (!r && !weir_json_get(at, "name", &where))
			return weir_json_fail(at, err, "has no \"name\"");
		if (!r && weir_json_get(at, "netns", &child))
			r = read_netns(&child, f->netns, err);
	}
	if (!r)
		r = weir_json_string(&where, IF_NAMESIZE - 1, &name, err);
	if (r)
		return r;
	/* the kernel's own rule (dev_valid_name), a ':' being an alias */
	if (!strcmp(name, ".") || !strcmp(name, "..") || strpbrk(name, "/: \t\n\v\f\r"))
		return weir_json_refuse(&where, err, "is not an interface name");
	for (size_t i = 0; i < c->n_interfaces; i++)
		if (!strcmp(c->interfaces[i].name, name) &&
		    !strcmp(c->interfaces[i].netns, f->netns))
			return weir_json_refuse(&where, err, "is listed twice");
	put(f->name, name);
	c->n_interfaces++;
	return 0;
}

static int read_interfaces(const struct weir_json *at, struct weir_agent_config *c,
			   struct weir_error *err)
{
	struct weir_json item;
	int r = weir_json_array(at, 1, WEIR_MAX_INTERFACES, err);

	for (size_t i = 0; !r && i < json_array_size(at->v); i++) {
		item = weir_json_element(at, i);
		r = read_interface(&item, c, err);
	}
	return r;
}

static int read_service(const struct weir_json *at, struct weir_agent_config *c,
			struct weir_error *err)
{
	static const char *const fields[] = { "name", "port", "api", NULL };
	struct weir_config_service *s = &c->services[c->n_services];
	uint32_t port = 0;
	struct weir_json child;
	int api = WEIR_API_OPENAI;
	int r = weir_json_object(at, fields, err);

	if (!r && !weir_json_get(at, "port", &child))
		return weir_json_fail(at, err, "has no \"port\"");
	if (!r)
		r = config_u32(at, "port", 1, 65535, &port, err);
	if (r)
		return r;
	snprintf(s->name, sizeof(s->name), "port-%u", port);
	r = read_name(at, "name", s->name, err);
	if (!r && weir_json_get(at, "api", &child))
		r = weir_json_choice(&child, api_names, &api, err);
	if (r)
		return r;
	s->port = (uint16_t)port;
	s->api = (enum weir_dialect)api;
	for (size_t i = 0; i < c->n_services; i++) {
		if (c->services[i].port == port) {
			weir_json_get(at, "port", &child);
			return weir_json_refuse(&child, err, "is also the port of services[%zu]",
						i);
		}
		if (!strcmp(c->services[i].name, s->name)) {
			if (!weir_json_get(at, "name", &child))
				child = *at;
			return weir_json_fail(&child, err,
					      "\"%s\" is also the name of services[%zu]", s->name,
					      i);
		}
	}
	c->n_services++;
	return 0;
}

static int read_services(const struct weir_json *at, struct weir_agent_config *c,
			 struct weir_error *err)
{
	struct weir_json item;
	int r = weir_json_array(at, 1, WEIR_CONFIG_SERVICES, err);

	for (size_t i = 0; !r && i < json_array_size(at->v); i++) {
		item = weir_json_element(at, i);
		r = read_service(&item, c, err);
	}
	return r;
}

/* "127.0.0.1:9477", "[::1]:9477"; null is off. */
static int read_http(const struct weir_json *at, struct weir_agent_config *c,
		     struct weir_error *err)
{
	const char *text, *colon, *host;
	size_t n;
	long port = 0;
	int r;

	if (json_is_null(at->v)) {
		c->http_host[0] = '\0';
		c->http_port = 0;
		return 0;
	}
	r = weir_json_string(at, sizeof(c->http_host) + 7, &text, err);
	if (r)
		return r;
	host = text;
	colon = strrchr(text, ':');
	n = colon ? (size_t)(colon - text) : 0;
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host++;
		n -= 2;
	} else if (memchr(host, ':', n) || memchr(host, '[', n)) {
		n = 0; /* an IPv6 address without its brackets */
	}
	for (const char *p = colon ? colon + 1 : ""; *p; p++) {
		port = *p >= '0' && *p <= '9' && port <= 65535 ? port * 10 + (*p - '0') : 65536;
	}
	if (n < 1 || n >= sizeof(c->http_host) || port < 1 || port > 65535)
		return weir_json_refuse(at, err, "is not \"address:port\"");
	memcpy(c->http_host, host, n);
	c->http_host[n] = '\0';
	c->http_port = (uint16_t)port;
	return 0;
}

static int read_ring(const struct weir_json *at, struct weir_agent_config *c,
		     struct weir_error *err)
{
	struct weir_json child;
	int r = config_u32(at, "ring_bytes", 1 << 16, 1 << 30, &c->ring_bytes, err);

	/* the kernel wants it so (ringbuf_map_alloc) */
	if (!r && (c->ring_bytes & (c->ring_bytes - 1)) && weir_json_get(at, "ring_bytes", &child))
		return weir_json_refuse(&child, err, "is not a power of two");
	return r;
}

static int read_spill(const struct weir_json *at, struct weir_agent_config *c,
		      struct weir_error *err)
{
	int64_t bytes = (int64_t)c->spill_bytes;
	struct weir_json child;
	int r = 0;

	if (weir_json_get(at, "spill_bytes", &child))
		r = weir_json_int(&child, 1 << 20, INT64_C(1) << 40, &bytes, err);
	if (!r)
		c->spill_bytes = (uint64_t)bytes;
	return r;
}

static int read_rest(const struct weir_json *at, struct weir_agent_config *c,
		     struct weir_error *err)
{
	uint32_t timeout_ms = 3000, sweep_s = 10;
	struct weir_json child;
	int xdp = WEIR_XDP_AUTO;
	int r = 0;

	if (weir_json_get(at, "xdp", &child))
		r = weir_json_choice(&child, xdp_names, &xdp, err);
	if (!r)
		r = config_path(at, "state_dir", c->state_dir, sizeof(c->state_dir), err);
	if (!r)
		r = config_path(at, "control", c->control, sizeof(c->control), err);
	if (!r && weir_json_get(at, "http", &child))
		r = read_http(&child, c, err);
	if (!r)
		r = config_path(at, "policies", c->policies, sizeof(c->policies), err);
	if (!r)
		r = read_ring(at, c, err);
	if (!r)
		r = config_u32(at, "max_tenants", 2, 1 << 22, &c->max_tenants, err);
	if (!r)
		r = config_u32(at, "max_flows", 64, 1 << 24, &c->max_flows, err);
	c->max_keys = c->max_tenants * WEIR_KEYS_PER_TENANT;
	if (!r)
		r = config_u32(at, "max_keys", 2, 1 << 24, &c->max_keys, err);
	if (!r)
		r = config_read_nats(at, &c->nats, err);
	if (!r) /* the heartbeat comes every 100 ms: below 1 s a busy host looks dead */
		r = config_u32(at, "agent_timeout_ms", 1000, 600000, &timeout_ms, err);
	if (!r)
		r = config_u32(at, "decoder_bytes", 1 << 20, UINT32_MAX, &c->decoder_bytes, err);
	if (!r)
		r = read_spill(at, c, err);
	if (!r)
		r = config_u32(at, "sweep_interval_s", 1, 3600, &sweep_s, err);
	if (!r && weir_json_get(at, "enforce", &child))
		r = weir_json_bool(&child, &c->enforce, err);
	c->xdp = (enum weir_xdp)xdp;
	c->agent_timeout_ns = (uint64_t)timeout_ms * NS_PER_MS;
	c->sweep_interval_ns = (uint64_t)sweep_s * WEIR_SECOND;
	return r;
}

int weir_agent_config_load(const char *path, struct weir_agent_config *out, struct weir_error *err)
{
	static const char *const fields[] = {
		"instance",
		"node",
		"interfaces",
		"services",
		"xdp",
		"state_dir",
		"control",
		"http",
		"policies",
		"ring_bytes",
		"max_tenants",
		"max_flows",
		"max_keys",
		"nats",
		"enforce",
		"agent_timeout_ms",
		"free_paths",
		"free_options",
		"trusted_sources",
		"head_timeout_ms",
		"idle_timeout_s",
		"max_split_heads",
		"sweep_interval_s",
		"labels",
		"decoder_bytes",
		"spill_bytes",
		NULL,
	};
	struct weir_agent_config c = {
		.instance = "default",
		.state_dir = "/var/lib/weir",
		.control = "/run/weir/agent.sock",
		.http_host = "127.0.0.1",
		.http_port = 9477,
		.policies = "/etc/weir/policies",
		.ring_bytes = 64 << 20,
		.max_tenants = 65536,
		.max_flows = 262144,
		.decoder_bytes = 24 << 20,
		.spill_bytes = 256 << 20,
		.enforce = true,
	};
	weir_autojson json_t *v = NULL;
	struct weir_json root, child;
	int r = weir_json_read(path, path, &v, err);

	if (r)
		return r;
	root = weir_json_root(v, path, false);
	r = weir_json_object(&root, fields, err);
	if (!r)
		r = read_name(&root, "instance", c.instance, err);
	if (!r)
		r = read_name(&root, "node", c.node, err);
	if (!r && !c.node[0])
		r = default_node(&root, c.node, err);
	if (!r && !weir_json_get(&root, "interfaces", &child))
		return weir_json_fail(&root, err, "has no \"interfaces\"");
	if (!r)
		r = read_interfaces(&child, &c, err);
	if (!r && !weir_json_get(&root, "services", &child))
		return weir_json_fail(&root, err, "has no \"services\"");
	if (!r)
		r = read_services(&child, &c, err);
	if (!r)
		r = read_rest(&root, &c, err);
	if (!r)
		r = config_read_forms(&root, &c, err);
	if (!r)
		r = config_read_labels(&root, &c, err);
	if (!r)
		*out = c;
	return r;
}
