// SPDX-License-Identifier: Apache-2.0
/* Reading passwords, tokens, seeds and credentials, and forgetting them. */
#include "nats_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 65536

/* ------------------------------------------------------------------------- files */

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;

/* Once per file, or it would be said at every connect. */
static void tell_open(const char *field, const char *path, const struct stat *st)
{
	static struct {
		dev_t dev;
		ino_t ino;
	} told[8];
	static size_t n;
	bool known = false;

	if (!(st->st_mode & S_IROTH))
		return;
	pthread_mutex_lock(&told_lock);
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
		known |= told[i].dev == st->st_dev && told[i].ino == st->st_ino;
	if (!known) {
		told[n % 8].dev = st->st_dev;
		told[n++ % 8].ino = st->st_ino;
	}
	pthread_mutex_unlock(&told_lock);
	if (!known)
		weir_log(WEIR_WARN, "nats.%s: %s can be read by everybody (mode %04o): chmod o-r",
			 field, path, st->st_mode & 07777);
}

static int open_file(const char *field, const char *path, bool secret, struct weir_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return weir_fail(err, errno, "nats.%s: %s: %s", field, path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return weir_fail(err, EINVAL, "nats.%s: %s: is not a file", field, path);
	}
	if (secret)
		tell_open(field, path, &st);
	return fd;
}

int weir_nats_readable(const char *field, const char *path, bool secret, struct weir_error *err)
{
	weir_autoclose int fd = open_file(field, path, secret, err);

	return fd < 0 ? fd : 0;
}

static void forget(void *p)
{
	char *text;

	memcpy(&text, p, sizeof(text));
	if (text)
		explicit_bzero(text, FILE_MAX);
	free(text);
}

/* The whole file, FILE_MAX bytes with its NUL: to be given to forget(). */
static int read_file(const char *field, const char *path, char **out, struct weir_error *err)
{
	WEIR_CLEANUP(forget) char *text = calloc(1, FILE_MAX);
	weir_autoclose int fd = -1;
	size_t n = 0;
	ssize_t got;

	if (!text)
		return weir_fail(err, ENOMEM, "nats.%s: out of memory", field);
	fd = open_file(field, path, true, err);
	if (fd < 0)
		return fd;
	do {
		got = read(fd, text + n, FILE_MAX - n);
		if (got < 0)
			return weir_fail(err, errno, "nats.%s: %s: %s", field, path,
					 strerror(errno));
		n += (size_t)got;
	} while (got && n < FILE_MAX);
	if (n == FILE_MAX || memchr(text, 0, n))
		return weir_fail(err, EINVAL, "nats.%s: %s: is no text, or too much of it", field,
				 path);
	*out = text;
	text = NULL;
	return 0;
}

/* --------------------------------------------------------------- passwords, tokens */

/* As it stands between the quotes of JSON; false: there is no room. */
static bool to_json(const char *text, char *out, size_t room)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		int n;

		if (c < ' ')
			n = snprintf(out, room, "\\u%04x", c);
		else
			n = snprintf(out, room, c == '"' || c == '\\' ? "\\%c" : "%c", c);
		if ((size_t)n >= room)
			return false;
		out += n;
		room -= (size_t)n;
	}
	*out = '\0';
	return true;
}

/* The file's first line, which must be all there is. */
static int read_secret(const char *field, const char *path, char *out, size_t room,
		       struct weir_error *err)
{
	WEIR_CLEANUP(forget) char *text = NULL;
	size_t n;
	int r = read_file(field, path, &text, err);

	if (r)
		return r;
	n = strcspn(text, "\r\n");
	if (!n || n >= WEIR_NATS_SECRET || text[n + strspn(text + n, "\r\n")])
		return weir_fail(err, EINVAL, "nats.%s: %s: is not one line of 1 to %d bytes",
				 field, path, WEIR_NATS_SECRET - 1);
	text[n] = '\0';
	return to_json(text, out, room)
		       ? 0
		       : weir_fail(err, EINVAL, "nats.%s: %s: is too long", field, path);
}

/* --------------------------------------------------------------- seeds, credentials */

/* Cut the line at *rest off it, without blanks around it. NULL: there is none. */
static char *next_line(char **rest)
{
	char *line = *rest, *end;

	if (!line || !*line)
		return NULL;
	end = line + strcspn(line, "\n");
	*rest = *end ? end + 1 : end;
	*end = '\0';
	line += strspn(line, " \t\r");
	for (end = line + strlen(line); end > line && strchr(" \t\r", end[-1]);)
		*--end = '\0';
	return line;
}

static int take_seed(const char *field, const char *path, const char *seed,
		     struct weir_nats_identity *out, struct weir_error *err)
{
	int r = weir_nkey_public(seed, out->nkey);

	if (r)
		return weir_fail(err, -r,
				 "nats.%s: %s: its seed is not that of a user (SU and 56 "
				 "characters), or was copied wrong",
				 field, path);
	memcpy(out->seed, seed, WEIR_NKEY_SEED);
	return 0;
}

/* The first line that could be a seed. */
static int read_nkey(const char *path, struct weir_nats_identity *out, struct weir_error *err)
{
	WEIR_CLEANUP(forget) char *text = NULL;
	char *rest, *line;
	int r = read_file("nkey", path, &text, err);

	if (r)
		return r;
	rest = text;
	while ((line = next_line(&rest)))
		if (*line == 'S')
			return take_seed("nkey", path, line, out, err);
	return weir_fail(err, EINVAL,
			 "nats.nkey: %s: has no seed (a line \"SU…\", as `nsc` and "
			 "`nk -gen user` write it)",
			 path);
}

/* The middle part of a JWT, which is not verified here: that is the server's. */
static json_t *claims(const char *jwt)
{
	const char *from = strchr(jwt, '.'), *end = from ? strchr(from + 1, '.') : NULL;
	unsigned char *b64, *text;
	json_t *v = NULL;
	size_t n, padded;
	int got;

	if (!end || strspn(jwt, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				"-_.") != strlen(jwt))
		return NULL;
	n = (size_t)(end - ++from);
	padded = (n + 3) / 4 * 4;
	b64 = malloc(padded + 1);
	text = malloc(padded);
	if (b64 && text) {
		memcpy(b64, from, n);
		memset(b64 + n, '=', padded - n);
		for (size_t i = 0; i < n; i++)
			b64[i] = b64[i] == '-' ? '+' : b64[i] == '_' ? '/' : b64[i];
		got = EVP_DecodeBlock(text, b64, (int)padded);
		if (got > 0)
			v = json_loadb((char *)text, (size_t)got - (padded - n), 0, NULL);
	}
	free(b64);
	free(text);
	return v;
}

static int check_claims(const char *path, struct weir_nats_identity *out, struct weir_error *err)
{
	json_t *v = claims(out->jwt);
	const char *sub = json_string_value(json_object_get(v, "sub"));
	uint64_t exp = (uint64_t)json_integer_value(json_object_get(v, "exp"));
	char until[WEIR_TIME_TEXT];
	size_t n = strlen(out->who);
	int r = 0;

	if (!sub)
		r = weir_fail(err, EINVAL, "nats.credentials: %s: its JWT is none", path);
	else if (strcmp(sub, out->nkey))
		r = weir_fail(err, EINVAL,
			      "nats.credentials: %s: its seed is not that of its JWT's user", path);
	if (!r && exp && exp <= weir_wall_ns() / WEIR_SECOND) {
		weir_time_format(exp * WEIR_SECOND, until);
		snprintf(out->who + n, sizeof(out->who) - n, ", which expired %s", until);
	}
	json_decref(v);
	return r;
}

/* What nsc writes: between lines of dashes that say which is which. */
static int read_credentials(const char *path, struct weir_nats_identity *out,
			    struct weir_error *err)
{
	WEIR_CLEANUP(forget) char *text = NULL;
	char *rest, *line, *seed = NULL, *jwt = NULL, **next = NULL;
	int r = read_file("credentials", path, &text, err);

	if (r)
		return r;
	rest = text;
	while ((line = next_line(&rest))) {
		if (!strncmp(line, "---", 3))
			next = strstr(line, "BEGIN NATS USER JWT")    ? &jwt
			       : strstr(line, "BEGIN USER NKEY SEED") ? &seed
								      : NULL;
		else if (*line && next) {
			*next = line;
			next = NULL;
		}
	}
	if (!jwt || !seed)
		return weir_fail(err, EINVAL,
				 "nats.credentials: %s: has not both a JWT and a seed of a user, "
				 "as `nsc generate creds` writes them",
				 path);
	r = take_seed("credentials", path, seed, out, err);
	if (r)
		return r;
	out->jwt = strdup(jwt);
	if (!out->jwt)
		return weir_fail(err, ENOMEM, "nats.credentials: out of memory");
	return check_claims(path, out, err);
}

/* ---------------------------------------------------------------------------- all */

static int read_it(const struct weir_nats_config *c, struct weir_nats_identity *out,
		   struct weir_error *err)
{
	if (c->user[0]) {
		snprintf(out->who, sizeof(out->who), "user \"%.64s\" with the password of %s",
			 c->user, c->password_file);
		if (!to_json(c->user, out->user, sizeof(out->user)))
			return weir_fail(err, EINVAL, "nats.user: is too long");
		return read_secret("password_file", c->password_file, out->password,
				   sizeof(out->password), err);
	}
	if (c->token_file[0]) {
		snprintf(out->who, sizeof(out->who), "the token of %s", c->token_file);
		return read_secret("token_file", c->token_file, out->token, sizeof(out->token),
				   err);
	}
	if (c->nkey[0]) {
		int r = read_nkey(c->nkey, out, err);

		snprintf(out->who, sizeof(out->who), "NKey %s of %s", out->nkey, c->nkey);
		return r;
	}
	if (c->credentials[0]) {
		snprintf(out->who, sizeof(out->who), "the credentials of %s", c->credentials);
		return read_credentials(c->credentials, out, err);
	}
	return 0;
}

int weir_nats_identity_read(const struct weir_nats_config *c, struct weir_nats_identity *out,
			    struct weir_error *err)
{
	int r;

	memset(out, 0, sizeof(*out));
	r = read_it(c, out, err);
	if (r)
		weir_nats_identity_clear(out);
	return r;
}

void weir_nats_identity_clear(struct weir_nats_identity *id)
{
	free(id->jwt);
	explicit_bzero(id, sizeof(*id));
}
