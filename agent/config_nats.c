// SPDX-License-Identifier: Apache-2.0
/*
 * `nats` of agent.json. What does not fit together is an error here rather than a surprise
 * at the server. Whether a file is there is for those who read it, at each connect.
 */
#include "config_read.h"

#include <stdlib.h>
#include <string.h>

static void put(char *out, const char *text)
{
	memcpy(out, text, strlen(text) + 1);
}

/* ----------------------------------------------------------------------- servers */

/* "host", "host:4222", "[::1]:4222"; NULL, or what is wrong. */
static const char *check_host(const char *host)
{
	const char *port;
	size_t n;

	if (*host == '[') {
		n = strcspn(host, "]");
		if (n < 2 || !host[n])
			return "has no host";
		port = host + n + 1;
		if (*port && *port != ':')
			return "has something behind its host that is no port";
	} else {
		n = strcspn(host, ":");
		if (!n)
			return "has no host";
		port = host + n;
	}
	if (!*port)
		return NULL;
	n = strspn(++port, "0123456789");
	if (!n || n > 5 || port[n] || strtol(port, NULL, 10) < 1 || strtol(port, NULL, 10) > 65535)
		return "has a port that is not a number from 1 to 65535, and nothing behind it";
	return NULL;
}

/* NULL, or what is wrong. The value must not be shown: it may carry a password. */
static const char *check_url(const char *url, bool *tls, bool *identity)
{
	const char *rest, *at;

	if (strncmp(url, "nats://", 7) && strncmp(url, "tls://", 6))
		return "does not start with nats:// or tls://";
	*tls |= *url == 't';
	rest = strstr(url, "://") + 3;
	/* Such a byte would end the URL, or the message that carries its password. */
	for (const char *p = rest; *p; p++)
		if (*p <= ' ' || *p > '~' || strchr(",\"\\", *p))
			return "has a blank, comma, quote, backslash or a byte that is not ASCII: "
			       "several servers are an array, and such a password goes into a "
			       "\"password_file\"";
	at = strrchr(rest, '@');
	*identity |= at != NULL;
	return check_host(at ? at + 1 : rest);
}

static int read_url(const struct weir_json *at, struct weir_nats_config *c, bool *identity,
		    struct weir_error *err)
{
	size_t used = strlen(c->url), n;
	const char *url = json_string_value(at->v), *wrong;

	if (!url)
		return weir_json_fail(at, err, "is not a string");
	wrong = check_url(url, &c->tls, identity);
	if (wrong)
		return weir_json_fail(at, err, "%s", wrong);
	n = strlen(url);
	if (used + 1 + n >= sizeof(c->url))
		return weir_json_fail(at, err, "is more than fits: all together %zu bytes",
				      sizeof(c->url) - 1);
	if (used)
		c->url[used++] = ',';
	memcpy(c->url + used, url, n + 1);
	return 0;
}

/* A URL, or several of one cluster. */
static int read_urls(const struct weir_json *at, struct weir_nats_config *c, bool *identity,
		     struct weir_error *err)
{
	struct weir_json child, item;
	int r;

	if (!weir_json_get(at, "url", &child))
		return weir_json_fail(at, err, "has no \"url\"");
	if (!json_is_array(child.v))
		return read_url(&child, c, identity, err);
	r = weir_json_array(&child, 1, WEIR_NATS_SERVERS, err);
	for (size_t i = 0; !r && i < json_array_size(child.v); i++) {
		item = weir_json_element(&child, i);
		r = read_url(&item, c, identity, err);
	}
	return r;
}

/* ---------------------------------------------------------------------- who it is */

static int read_identity(const struct weir_json *at, struct weir_nats_config *c, bool in_url,
			 struct weir_error *err)
{
	const char *ways[5] = { in_url ? "url" : NULL };
	const char *user = "";
	struct weir_json child;
	size_t n = in_url;
	int r = 0;

	if (weir_json_get(at, "user", &child)) {
		ways[n++] = "user";
		r = weir_json_string(&child, sizeof(c->user) - 1, &user, err);
		if (!r)
			put(c->user, user);
	}
	if (!r)
		r = config_path(at, "password_file", c->password_file, sizeof(c->password_file),
				err);
	if (!r)
		r = config_path(at, "token_file", c->token_file, sizeof(c->token_file), err);
	if (!r)
		r = config_path(at, "credentials", c->credentials, sizeof(c->credentials), err);
	if (!r)
		r = config_path(at, "nkey", c->nkey, sizeof(c->nkey), err);
	if (r)
		return r;
	if (c->user[0] && !c->password_file[0])
		return weir_json_fail(at, err, "has \"user\", but no \"password_file\"");
	if (c->password_file[0] && !c->user[0])
		return weir_json_fail(at, err, "has \"password_file\", but no \"user\"");
	if (c->token_file[0])
		ways[n++] = "token_file";
	if (c->credentials[0])
		ways[n++] = "credentials";
	if (c->nkey[0])
		ways[n++] = "nkey";
	if (n > 1)
		return weir_json_fail(at, err,
				      "both \"%s\" and \"%s\" say as whom the agent comes: leave "
				      "one of them",
				      ways[0], ways[1]);
	return 0;
}

/* --------------------------------------------------------------------------- TLS */

static int read_tls_fields(const struct weir_json *at, struct weir_nats_config *c,
			   struct weir_error *err)
{
	static const char *const fields[] = { "ca", "cert", "key", "name", NULL };
	struct weir_json child;
	const char *name;
	int r = weir_json_object(at, fields, err);

	if (!r)
		r = config_path(at, "ca", c->tls_ca, sizeof(c->tls_ca), err);
	if (!r)
		r = config_path(at, "cert", c->tls_cert, sizeof(c->tls_cert), err);
	if (!r)
		r = config_path(at, "key", c->tls_key, sizeof(c->tls_key), err);
	if (!r && weir_json_get(at, "name", &child)) {
		r = weir_json_string(&child, sizeof(c->tls_name) - 1, &name, err);
		if (!r)
			put(c->tls_name, name);
	}
	if (r)
		return r;
	if (c->tls_cert[0] && !c->tls_key[0])
		return weir_json_fail(at, err, "has \"cert\", but no \"key\"");
	if (c->tls_key[0] && !c->tls_cert[0])
		return weir_json_fail(at, err, "has \"key\", but no \"cert\"");
	c->tls = true;
	return 0;
}

/* true, false or what it is to be checked by. */
static int read_tls(const struct weir_json *at, struct weir_nats_config *c, struct weir_error *err)
{
	struct weir_json child;
	bool wanted = false;
	int r;

	if (!weir_json_get(at, "tls", &child))
		return 0;
	if (json_is_object(child.v))
		return read_tls_fields(&child, c, err);
	if (!json_is_boolean(child.v))
		return weir_json_refuse(&child, err, "is neither true, false nor an object");
	r = weir_json_bool(&child, &wanted, err);
	if (!r && !wanted && c->tls)
		return weir_json_fail(&child, err, "is false, but \"url\" asks for TLS");
	c->tls |= wanted;
	return r;
}

/* ------------------------------------------------------------------------ the rest */

/* "usage.v1.>", "usage.v1.*" or "usage.v1.*.gpu-01": of two such subjects one takes all of the
 * other or nothing of it, which is what nats-server (2.9) can tell of two consumers. */
static int read_usage_subject(const struct weir_json *at, struct weir_nats_config *c,
			      struct weir_error *err)
{
	static const char all[] = "usage.v1.", one[] = "usage.v1.*.";
	struct weir_json child;
	const char *text;
	int r;

	if (!weir_json_get(at, "usage_subject", &child) || json_is_null(child.v))
		return 0;
	r = weir_json_string(&child, sizeof(c->usage_subject) - 1, &text, err);
	if (r)
		return r;
	if (strncmp(text, all, sizeof(all) - 1) ||
	    (strcmp(text + sizeof(all) - 1, ">") && strcmp(text + sizeof(all) - 1, "*") &&
	     (strncmp(text, one, sizeof(one) - 1) || !weir_name_ok(text + sizeof(one) - 1))))
		return weir_json_refuse(
			&child, err,
			"is not \"usage.v1.>\", \"usage.v1.*\" or \"usage.v1.*.NAME\"");
	put(c->usage_subject, text);
	return 0;
}

/* Of these no value is shown: somebody may have written a secret itself. */
static int check_fields(const struct weir_json *at, struct weir_error *err)
{
	static const char *const fields[] = { "url",	       "usage_subject", "user",
					      "password_file", "token_file",	"credentials",
					      "nkey",	       "tls",		"replicas" };
	const char *key;
	json_t *v;

	if (!json_is_object(at->v))
		return weir_json_fail(at, err, "is not an object");
	json_object_foreach(at->v, key, v)
	{
		struct weir_json child = weir_json_member(at, key, v);
		size_t i = 0, n = sizeof(fields) / sizeof(*fields);

		while (i < n && strcmp(fields[i], key))
			i++;
		if (i == n && (!strcmp(key, "password") || !strcmp(key, "token")))
			return weir_json_fail(&child, err,
					      "does not go in here: write it into a file, and the "
					      "file's path into \"%s_file\"",
					      key);
		if (i == n)
			return weir_json_fail(&child, err, "no such field");
	}
	return 0;
}

int config_read_nats(const struct weir_json *root, struct weir_nats_config *c,
		     struct weir_error *err)
{
	struct weir_json at;
	bool identity = false;
	int r;

	if (!weir_json_get(root, "nats", &at) || json_is_null(at.v))
		return 0;
	c->replicas = 1;
	r = check_fields(&at, err);
	if (!r)
		r = read_urls(&at, c, &identity, err);
	if (!r)
		r = read_identity(&at, c, identity, err);
	if (!r)
		r = read_tls(&at, c, err);
	if (!r)
		r = config_u32(&at, "replicas", 1, 5, &c->replicas, err);
	return r ? r : read_usage_subject(&at, c, err);
}
