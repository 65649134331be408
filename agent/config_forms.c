/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those fields of agent.json that the kernel looks requests up by, compiled into
 * what it compares: paths into words and masks, prefixes into bit masks. The rules
 * they serve are in bpf/forms.md.
 */
#include "config_read.h"

#include <errno.h>
#include <string.h>

#include "prefix.h"

#define NS_PER_MS 1000000

/* ------------------------------------------------------------------- free paths */

/* What machines ask without a key, of the servers in use: health and metrics, and the
 * list of models that clients fetch before they send anything. */
static const char *const default_free_paths[] = {
	"/health",    "/health/*",    "/healthz", "/health_generate", "/metrics", "/metrics/*",
	"/v1/models", "/v1/models/*", "/ping",	  "/version",
};

/* Compile a path, which may end in a star. NULL, or what is wrong with it. A path that the
 * kernel would never take for free is an error, not an entry without effect. */
static const char *compile(const char *text, bool any_method, struct weir_free_path *out)
{
	size_t n = strlen(text);
	bool prefix = n > 0 && text[n - 1] == '*';
	struct weir_free_path p = {
		.flags = (prefix ? WEIR_FREE_PREFIX : 0) | (any_method ? WEIR_FREE_ANY_METHOD : 0),
	};

	n -= prefix;
	if (n < 1 || n >= WEIR_FREE_PATH_BYTES || text[0] != '/')
		return "is not a path of 1 to 31 bytes that begins with / (a * may follow)";
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~' || strchr("?%*", text[i]))
			return "has a blank, control, \"?\", \"%\", inner \"*\" or a byte that is "
			       "not ASCII: such a path is never free";
	if (strstr(text, "..") || strstr(text, "//"))
		return "has \"..\" or \"//\": such a path is never free";
	memcpy(p.word, text, n);
	memset(p.mask, 0xff, n);
	p.len = (uint32_t)n;
	*out = p;
	return NULL;
}

static bool same_path(const struct weir_free_path *a, const struct weir_free_path *b)
{
	return a->len == b->len && !memcmp(a->word, b->word, sizeof(a->word)) &&
	       !((a->flags ^ b->flags) & WEIR_FREE_PREFIX);
}

/* "/health*", or {"path": "/health*", "any_method": true}. */
static int read_free_path(const struct weir_json *at, struct weir_agent_config *c,
			  struct weir_error *err)
{
	static const char *const fields[] = { "path", "any_method", NULL };
	struct weir_free_path *p = &c->free_paths[c->n_free_paths];
	struct weir_json where = *at, child;
	const char *text = NULL, *wrong;
	bool any_method = false;
	int r = 0;

	if (json_is_object(at->v)) {
		r = weir_json_object(at, fields, err);
		if (!r && !weir_json_get(at, "path", &where))
			return weir_json_fail(at, err, "has no \"path\"");
		if (!r && weir_json_get(at, "any_method", &child))
			r = weir_json_bool(&child, &any_method, err);
	} else if (!json_is_string(at->v)) {
		return weir_json_refuse(at, err, "is neither a path nor an object");
	}
	if (!r)
		r = weir_json_string(&where, WEIR_FREE_PATH_BYTES, &text, err);
	if (r)
		return r;
	wrong = compile(text, any_method, p);
	if (wrong)
		return weir_json_refuse(&where, err, "%s", wrong);
	for (size_t i = 0; i < c->n_free_paths; i++)
		if (same_path(&c->free_paths[i], p))
			return weir_json_refuse(&where, err, "is listed twice");
	c->n_free_paths++;
	return 0;
}

static int read_free_paths(const struct weir_json *root, struct weir_agent_config *c,
			   struct weir_error *err)
{
	struct weir_json at, item;
	int r = 0;

	c->n_free_paths = 0;
	if (!weir_json_get(root, "free_paths", &at)) {
		size_t n = sizeof(default_free_paths) / sizeof(*default_free_paths);

		for (size_t i = 0; i < n; i++)
			if (!compile(default_free_paths[i], false, &c->free_paths[i]))
				c->n_free_paths++;
		return 0;
	}
	r = weir_json_array(&at, 0, WEIR_FREE_PATHS, err);
	for (size_t i = 0; !r && i < json_array_size(at.v); i++) {
		item = weir_json_element(&at, i);
		r = read_free_path(&item, c, err);
	}
	return r;
}

/* -------------------------------------------------------------- trusted sources */

static uint64_t from_be(const uint8_t *b)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | b[i];
	return v;
}

/* The upper `len` of 64 bits. */
static uint64_t ones(uint32_t len)
{
	return len ? ~UINT64_C(0) << (64 - len) : 0;
}

static int read_trusted(const struct weir_json *root, struct weir_agent_config *c,
			struct weir_error *err)
{
	struct weir_source_prefix p;
	struct weir_json at, item;
	int r;

	if (!weir_json_get(root, "trusted_sources", &at))
		return 0;
	r = weir_json_array(&at, 0, WEIR_TRUSTED_MAX, err);
	for (size_t i = 0; !r && i < json_array_size(at.v); i++) {
		struct weir_trusted *t = &c->trusted[i];

		item = weir_json_element(&at, i);
		r = weir_json_prefix(&item, &p, err);
		if (r)
			return r;
		*t = (struct weir_trusted){
			.hi = from_be(p.addr),
			.lo = from_be(p.addr + 8),
			.mask_hi = ones(p.len < 64 ? p.len : 64),
			.mask_lo = ones(p.len > 64 ? p.len - 64 : 0),
		};
		for (size_t j = 0; j < i; j++)
			if (!memcmp(&c->trusted[j], t, sizeof(*t)))
				return weir_json_refuse(&item, err, "is listed twice");
		c->n_trusted = i + 1;
	}
	return r;
}

/* ------------------------------------------------------------------ all of them */

int config_read_forms(const struct weir_json *root, struct weir_agent_config *c,
		      struct weir_error *err)
{
	uint32_t head_ms = 30000, idle_s = 3600;
	struct weir_json child;
	int r = read_free_paths(root, c, err);

	c->free_options = true;
	c->max_split_heads = 1024;
	if (!r && weir_json_get(root, "free_options", &child))
		r = weir_json_bool(&child, &c->free_options, err);
	if (!r)
		r = read_trusted(root, c, err);
	if (!r)
		r = config_u32(root, "head_timeout_ms", 1000, 300000, &head_ms, err);
	if (!r)
		r = config_u32(root, "idle_timeout_s", 1, 604800, &idle_s, err);
	if (!r)
		r = config_u32(root, "max_split_heads", 16, 65536, &c->max_split_heads, err);
	c->head_timeout_ns = (uint64_t)head_ms * NS_PER_MS;
	c->idle_timeout_ns = (uint64_t)idle_s * WEIR_SECOND;
	return r;
}
