/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds and other secrets as files have them. What a server says of them is tests/e2e's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/nats_connect.h"
#include "agent/nats_identity.h"

static char path[] = "/tmp/weir-identity-XXXXXX";

/* Nobody's: the bytes 0 to 31. */
#define PUBLIC "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"
#define SEED   "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"

static void put(const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void says(const struct weir_nats_config *c, const char *error)
{
	struct weir_nats_identity id;
	struct weir_error err;
	char want[600];

	assert_true(weir_nats_identity_read(c, &id, &err) < 0);
	snprintf(want, sizeof(want), error, path);
	assert_string_equal(err.text, want);
}

static struct weir_nats_config with(size_t field)
{
	struct weir_nats_config c = { 0 };

	strcpy((char *)&c + field, path);
	return c;
}
#define WITH(field) with(offsetof(struct weir_nats_config, field))

static void a_seed_is_one_user(void **state)
{
	static const char *const bad[] = {
		"",
		"SU",
		PUBLIC,
		"SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776",
		"SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776YA",
		"SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Z",
		"SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H766Y",
		"suaaaaicamcakbqhbaequcymbuha6earcijrifiwc4mbsgq3dqor4h776y",
		"SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H771Y",
	};
	char public[WEIR_NKEY_PUBLIC];

	assert_int_equal(weir_nkey_public(SEED, public), 0);
	assert_string_equal(public, PUBLIC);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(weir_nkey_public(bad[i], public), -EINVAL);
}

static void a_password_goes_into_json_as_it_must(void **state)
{
	struct weir_nats_config c = WITH(password_file);
	struct weir_nats_identity id;
	struct weir_error err;

	strcpy(c.user, "a\"b");
	put("p\"w\\ \t\xc3\xb6\r\n", 9);
	assert_int_equal(weir_nats_identity_read(&c, &id, &err), 0);
	assert_string_equal(id.user, "a\\\"b");
	assert_string_equal(id.password, "p\\\"w\\\\ \\u0009\xc3\xb6");
	assert_null(strstr(id.who, "p\""));
	weir_nats_identity_clear(&id);
	assert_int_equal(id.password[0], 0);
}

static void files_that_are_something_else_are_told(void **state)
{
	struct weir_nats_config token = WITH(token_file), nkey = WITH(nkey),
				creds = WITH(credentials), none = { 0 };
	struct weir_nats_identity id;
	char big[70000];

	put("", 0);
	says(&token, "nats.token_file: %s: is not one line of 1 to 1023 bytes");
	put("a\nb", 3);
	says(&token, "nats.token_file: %s: is not one line of 1 to 1023 bytes");
	put("a\0b", 3);
	says(&token, "nats.token_file: %s: is no text, or too much of it");
	memset(big, 'a', sizeof(big));
	put(big, 1024);
	says(&token, "nats.token_file: %s: is not one line of 1 to 1023 bytes");
	put(big, sizeof(big));
	says(&token, "nats.token_file: %s: is no text, or too much of it");
	put(big, 65535);
	says(&nkey, "nats.nkey: %s: has no seed (a line \"SU…\", as `nsc` and `nk -gen user` write "
		    "it)");
	says(&creds, "nats.credentials: %s: has not both a JWT and a seed of a user, as `nsc "
		     "generate creds` writes them");
	put(PUBLIC, strlen(PUBLIC));
	says(&nkey, "nats.nkey: %s: has no seed (a line \"SU…\", as `nsc` and `nk -gen user` write "
		    "it)");
	put("-----BEGIN NATS USER JWT-----\nnonsense\n---BEGIN USER NKEY SEED---\n" SEED "\n",
	    29 + 10 + 27 + 1 + strlen(SEED));
	says(&creds, "nats.credentials: %s: its JWT is none");
	put("---BEGIN NATS USER JWT---\na.!!.c\n---BEGIN USER NKEY SEED---\n" SEED "\n",
	    25 + 1 + 7 + 27 + 1 + strlen(SEED));
	says(&creds, "nats.credentials: %s: its JWT is none");
	strcpy(nkey.nkey, "/tmp");
	assert_int_equal(weir_nats_identity_read(&nkey, &id, NULL), -EINVAL);
	assert_int_equal(weir_nats_identity_read(&none, &id, NULL), 0);
	assert_string_equal(id.who, "");
}

static void nobody_is_shown_a_password_of_a_url(void **state)
{
	char where[WEIR_NATS_WHERE];

	weir_nats_where("nats://me:hush@a:4222,nats://b,tls://tok@en@[::1]:1", where,
			sizeof(where));
	assert_string_equal(where, "a:4222, b, [::1]:1");
	weir_nats_where("nats://me:hush@a:4222,nats://b", where, 5);
	assert_string_equal(where, "a:42");
}

/* Nothing is connected to where a file is wrong. */
static void a_wrong_file_is_why(void **state)
{
	struct weir_nats_config c = WITH(tls_ca);
	natsConnection *nc;
	char why[WEIR_NATS_WHY];

	strcpy(c.url, "nats://127.0.0.1:1");
	strcpy(c.tls_ca, "/nowhere/ca.pem");
	assert_int_equal(weir_nats_connect(&c, "t", &nc, why, sizeof(why)), NATS_INVALID_ARG);
	assert_string_equal(why, "nats.tls.ca: /nowhere/ca.pem: No such file or directory");
	assert_null(nc);
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_seed_is_one_user),
		cmocka_unit_test(a_password_goes_into_json_as_it_must),
		cmocka_unit_test(files_that_are_something_else_are_told),
		cmocka_unit_test(nobody_is_shown_a_password_of_a_url),
		cmocka_unit_test(a_wrong_file_is_why),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
