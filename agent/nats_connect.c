// SPDX-License-Identifier: Apache-2.0
/*
 * One server after the other, each with options of its own: so it is known which of them failed,
 * and why. What libnats and the server say is put into words that name what is to be done.
 */
#include "nats_connect.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats_identity.h"
#include "nats_watch.h"

#define NATS_PORT  4222
#define CONNECT_MS 2000
#define ANSWER_MS  3000 /* from being connected to being taken */
#define PING_MS	   5000
#define ENOUGH_NS  (3 * WEIR_SECOND) /* no further server is begun with after it */

struct server {
	char url[sizeof(((struct weir_nats_config *)0)->url)];
	const char *shown; /* without a user and password; part of url */
	char host[256];	   /* without brackets and port */
	uint16_t port;
};

struct attempt {
	const struct weir_nats_config *c;
	const struct weir_nats_identity *id;
	const struct server *server;
	const char *name;
	bool tls;
};

/* ----------------------------------------------------------------------- servers */

static atomic_size_t first_server; /* that answered last, or whose turn it is */

static size_t count_servers(const char *url)
{
	size_t n = 1;

	for (; (url = strchr(url, ',')); url++)
		n++;
	return n;
}

bool weir_nats_several(const struct weir_nats_config *c)
{
	return count_servers(c->url) > 1;
}

void weir_nats_next(void)
{
	atomic_fetch_add(&first_server, 1);
}

/* The i-th of a url. */
static void pick(const char *url, size_t i, struct server *out)
{
	const char *host, *port;

	while (i--)
		url = strchr(url, ',') + 1;
	snprintf(out->url, sizeof(out->url), "%.*s", (int)strcspn(url, ","), url);
	out->shown = strrchr(out->url, '@');
	if (out->shown)
		out->shown++;
	else
		out->shown = strstr(out->url, "://") ? strstr(out->url, "://") + 3 : out->url;
	host = out->shown + (*out->shown == '[');
	snprintf(out->host, sizeof(out->host), "%.*s",
		 (int)strcspn(host, *out->shown == '[' ? "]" : ":"), host);
	port = strrchr(host + strlen(out->host), ':');
	out->port = port ? (uint16_t)strtol(port + 1, NULL, 10) : NATS_PORT;
}

void weir_nats_where(const char *url, char *out, size_t n)
{
	size_t count = count_servers(url), used = 0;
	struct server s;

	*out = '\0';
	for (size_t i = 0; i < count && used < n; i++) {
		pick(url, i, &s);
		used += (size_t)snprintf(out + used, n - used, "%s%s", i ? ", " : "", s.shown);
	}
}

/* ------------------------------------------------------------------------- reasons */

/* Why nobody could be reached: libnats does not tell. */
static const char *unreachable(const struct server *s)
{
	struct addrinfo *found = NULL, hints = { .ai_socktype = SOCK_STREAM };
	int r = getaddrinfo(s->host, NULL, &hints, &found);

	if (found)
		freeaddrinfo(found);
	return r ? gai_strerror(r) : "nobody accepts a connection there";
}

static const char *tls_advice(const char *text)
{
	if (strstr(text, "ostname mismatch") || strstr(text, "IP address mismatch"))
		return "its certificate is for another name: reach it by that, or set "
		       "nats.tls.name";
	if (strstr(text, "has expired"))
		return "its certificate, or that of its CA, has expired: renew it";
	if (strstr(text, "not yet valid"))
		return "its certificate is not valid yet: compare the clocks";
	if (strstr(text, "self-signed") || strstr(text, "issuer certificate"))
		return "its certificate is of a CA that is not known here: set nats.tls.ca";
	if (strstr(text, "wrong version number") || strstr(text, "unexpected eof"))
		return "it speaks no TLS";
	return NULL;
}

static void tell_tls(const struct attempt *a, const char *text, struct weir_error *err)
{
	const char *advice = tls_advice(text);

	if (advice)
		weir_fail(err, 0, "%s: %s (%s)", a->server->shown, advice, text);
	else
		weir_fail(err, 0, "%s: TLS fails: %s", a->server->shown, text);
}

static void tell_refused(const struct attempt *a, const char *text, struct weir_error *err)
{
	if (a->id->who[0])
		weir_fail(err, 0, "%s refuses %s: %s", a->server->shown, a->id->who, text);
	else if (strchr(a->server->url, '@'))
		weir_fail(err, 0, "%s refuses whom nats.url names: %s", a->server->shown, text);
	else
		weir_fail(err, 0,
			  "%s wants to know who comes: %s: set one of user, token_file, "
			  "credentials, nkey of \"nats\"%s",
			  a->server->shown, text, a->c->tls_cert[0] ? "" : ", or a tls.cert");
}

/* A server that wants a certificate ends the connection without a word (TLS 1.3: after the
 * client has finished). */
static void tell_hung_up(const struct attempt *a, struct weir_error *err)
{
	weir_fail(err, 0, "%s: the server closed the connection%s", a->server->shown,
		  !a->tls	      ? ""
		  : a->c->tls_cert[0] ? ": it may not take the certificate of nats.tls.cert"
				      : ": it may want a certificate: nats.tls.cert and key");
}

static void tell(const struct attempt *a, natsStatus s, struct weir_error *err)
{
	natsStatus last = NATS_OK;
	const char *text = nats_GetLastError(&last);

	if (!text || last != s)
		text = natsStatus_GetText(s);
	else if (*text == '(' && strstr(text, "): "))
		text = strstr(text, "): ") + 3; /* where in libnats */
	switch (s) {
	case NATS_NO_SERVER:
		weir_fail(err, 0, "%s: %s", a->server->shown, unreachable(a->server));
		break;
	case NATS_TIMEOUT:
		weir_fail(err, 0, "%s: no answer within %d s", a->server->shown, CONNECT_MS / 1000);
		break;
	case NATS_SECURE_CONNECTION_WANTED:
		weir_fail(err, 0,
			  "%s: the server has no TLS, and \"nats\" asks for it: nothing was sent",
			  a->server->shown);
		break;
	case NATS_CONNECTION_AUTH_FAILED:
		tell_refused(a, text, err);
		break;
	case NATS_SSL_ERROR:
		tell_tls(a, text, err);
		break;
	case NATS_CONNECTION_CLOSED:
	case NATS_PROTOCOL_ERROR:
	case NATS_IO_ERROR:
		tell_hung_up(a, err);
		break;
	default:
		weir_fail(err, 0, "%s: %s", a->server->shown, text);
		break;
	}
}

/* ------------------------------------------------------------------------- options */

static natsStatus on_jwt(char **jwt, char **error, void *ctx)
{
	const struct weir_nats_identity *id = ctx;

	*jwt = strdup(id->jwt);
	return *jwt ? NATS_OK : NATS_NO_MEMORY;
}

static natsStatus on_nonce(char **error, unsigned char **signature, int *n, const char *nonce,
			   void *ctx)
{
	const struct weir_nats_identity *id = ctx;

	return nats_Sign(id->seed, nonce, signature, n);
}

static natsStatus set_identity(natsOptions *o, const struct weir_nats_identity *id)
{
	void *ctx = (void *)id;

	if (id->jwt)
		return natsOptions_SetUserCredentialsCallbacks(o, on_jwt, ctx, on_nonce, ctx);
	if (id->nkey[0])
		return natsOptions_SetNKey(o, id->nkey, on_nonce, ctx);
	if (id->token[0])
		return natsOptions_SetToken(o, id->token);
	if (id->user[0])
		return natsOptions_SetUserInfo(o, id->user, id->password);
	return NATS_OK;
}

/* Where nobody asks for TLS and the server wants it, libnats gives it that, and checks name and CA
 * as ever. (Nor is OpenSSL woken for nothing: libnats 3.4.1 frees a part of it twice in a process
 * that ends after nats_Close.) */
static natsStatus set_tls(natsOptions *o, const struct attempt *a)
{
	const struct weir_nats_config *c = a->c;
	natsStatus s;

	if (!a->tls)
		return NATS_OK;
	s = natsOptions_SetSecure(o, true);
	if (s == NATS_OK)
		s = natsOptions_SetExpectedHostname(o,
						    c->tls_name[0] ? c->tls_name : a->server->host);
	if (s == NATS_OK && c->tls_ca[0])
		s = natsOptions_LoadCATrustedCertificates(o, c->tls_ca);
	if (s == NATS_OK && c->tls_cert[0])
		s = natsOptions_LoadCertificatesChain(o, c->tls_cert, c->tls_key);
	return s;
}

static natsStatus set_options(natsOptions *o, const struct attempt *a)
{
	natsStatus s = natsOptions_SetURL(o, a->server->url);

	if (s == NATS_OK)
		s = natsOptions_SetName(o, a->name);
	if (s == NATS_OK)
		s = natsOptions_SetAllowReconnect(o, false);
	/* Those are the servers; not what one of them says. */
	if (s == NATS_OK)
		s = natsOptions_SetIgnoreDiscoveredServers(o, true);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(o, CONNECT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetPingInterval(o, PING_MS);
	return s;
}

/* late: it was ended for it took too long. */
static natsStatus connect_watched(const struct attempt *a, natsConnection **nc, natsOptions *o,
				  bool *late)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER; /* as nats_watch.h wants it */
	struct weir_nats_watch *w = NULL;
	natsStatus s;

	pthread_mutex_lock(&one);
	if (weir_nats_watch_start(a->server->port, ANSWER_MS, &w)) {
		pthread_mutex_unlock(&one);
		return NATS_NO_MEMORY;
	}
	s = natsConnection_Connect(nc, o);
	*late = weir_nats_watch_end(w) && s != NATS_OK;
	pthread_mutex_unlock(&one);
	return s;
}

static natsStatus try_server(const struct attempt *a, natsConnection **nc, struct weir_error *err)
{
	natsOptions *o = NULL;
	natsStatus s = natsOptions_Create(&o);
	bool late = false;

	if (s == NATS_OK)
		s = set_options(o, a);
	if (s == NATS_OK)
		s = set_tls(o, a);
	if (s == NATS_OK)
		s = set_identity(o, a->id);
	if (s == NATS_OK)
		s = connect_watched(a, nc, o, &late);
	if (late)
		weir_fail(
			err, 0,
			"%s: accepts the connection, and does not go on: is it a nats-server, and "
			"is it well?",
			a->server->shown);
	else if (s != NATS_OK)
		tell(a, s, err);
	natsOptions_Destroy(o);
	return s;
}

/* ---------------------------------------------------------------------- connecting */

/* What OpenSSL would only say in its own words. */
static int check_files(const struct weir_nats_config *c, struct weir_error *err)
{
	int r = 0;

	if (c->tls_ca[0])
		r = weir_nats_readable("tls.ca", c->tls_ca, false, err);
	if (!r && c->tls_cert[0])
		r = weir_nats_readable("tls.cert", c->tls_cert, false, err);
	if (!r && c->tls_key[0])
		r = weir_nats_readable("tls.key", c->tls_key, true, err);
	return r;
}

static natsStatus try_all(const struct weir_nats_config *c, const struct weir_nats_identity *id,
			  const char *name, natsConnection **nc, char *why, size_t n)
{
	size_t count = count_servers(c->url), start = atomic_load(&first_server) % count, used = 0;
	uint64_t began_ns = weir_mono_ns();
	natsStatus s = NATS_NO_SERVER;

	for (size_t i = 0; i < count; i++) {
		struct server server;
		struct attempt a = { c, id, &server, name, c->tls };
		struct weir_error err = { "" };

		if (i && weir_mono_ns() - began_ns > ENOUGH_NS)
			break;
		pick(c->url, (start + i) % count, &server);
		natsConnection_Destroy(*nc);
		*nc = NULL;
		s = try_server(&a, nc, &err);
		atomic_store(&first_server, (start + i + (s != NATS_OK)) % count);
		if (s == NATS_OK)
			return s;
		if (used < n)
			used += (size_t)snprintf(why + used, n - used, "%s%s", used ? "; " : "",
						 err.text);
	}
	return s;
}

natsStatus weir_nats_connect(const struct weir_nats_config *c, const char *name,
			     natsConnection **nc, char *why, size_t n)
{
	struct weir_nats_identity id;
	struct weir_error err = { "" };
	natsStatus s;

	*nc = NULL;
	if (check_files(c, &err) || weir_nats_identity_read(c, &id, &err)) {
		snprintf(why, n, "%s", err.text);
		return NATS_INVALID_ARG;
	}
	*why = '\0';
	s = try_all(c, &id, name, nc, why, n);
	weir_nats_identity_clear(&id);
	if (s == NATS_OK)
		*why = '\0';
	return s;
}
