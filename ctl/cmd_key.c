/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl key. The key is made here and printed here; the agent is told its
 * SHA-256 and its first letters only.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "ctl.h"

#define PREFIX	    "wk-"
#define KEY_LETTERS 43 /* of base62: 256 bits */
#define KEY_BYTES   (sizeof(PREFIX) + KEY_LETTERS)
#define HINT_BYTES  10 /* prefix and six letters */

/* A key of more than 55 bytes takes the kernel two SHA-256 blocks instead of one. */
_Static_assert(KEY_BYTES - 1 <= 55, "one block");

/* Letters drawn evenly: bytes from 248 on are thrown away (248 = 4 x 62). */
static int make_key(char key[static KEY_BYTES])
{
	static const char base62[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t n = strlen(PREFIX);

	memcpy(key, PREFIX, n);
	while (n < KEY_BYTES - 1) {
		uint8_t random[64];

		if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
			return ctl_fail(CTL_REFUSED, "no random numbers: %s", strerror(errno));
		for (size_t i = 0; i < sizeof(random) && n < KEY_BYTES - 1; i++) {
			if (random[i] < 248)
				key[n++] = base62[random[i] % 62];
		}
		OPENSSL_cleanse(random, sizeof(random));
	}
	key[n] = 0;
	return CTL_DONE;
}

static void hash_key(const char *key, char hex[static 65])
{
	uint8_t sha[SHA256_DIGEST_LENGTH];

	SHA256((const uint8_t *)key, strlen(key), sha);
	weir_hex(sha, sizeof(sha), hex);
}

static int show_added(struct ctl *c, json_t *result, const char *key)
{
	char tenant[CTL_CELL], expires[CTL_CELL];

	if (json_is_true(json_object_get(result, "repeated"))) {
		/* This one was made for nothing: the first call's is in force. */
		if (c->json)
			return ctl_print_json(result);
		printf("a key was added with this id already; it was shown then and cannot be "
		       "shown again\n");
		return CTL_DONE;
	}
	if (c->json) {
		json_object_set(result, "sha256", json_object_get(result, "key"));
		json_object_set_new(result, "key", json_string(key));
		json_object_set_new(result, "id", json_string(c->id));
		return ctl_print_json(result);
	}
	printf("%s\n", key);
	fflush(stdout);
	fprintf(stderr, "a new key of %s, %s%s; it is shown this once\n",
		ctl_text(result, "tenant", tenant),
		json_is_string(json_object_get(result, "expires_at")) ? "good until "
								      : "good for ever",
		json_is_string(json_object_get(result, "expires_at"))
			? ctl_when(result, "expires_at", expires)
			: "");
	if (c->id_made_up)
		fprintf(stderr, "id %s\n", c->id);
	return CTL_DONE;
}

int ctl_key_add(struct ctl *c)
{
	const char *expires = ctl_value(c, "--expires");
	char key[KEY_BYTES], hex[65], hint[HINT_BYTES], time[WEIR_TIME_TEXT];
	json_t *o, *result = NULL;
	int r = expires ? ctl_time("--expires", expires, 1, time) : CTL_DONE;

	if (!r)
		r = make_key(key);
	if (r)
		return r;
	hash_key(key, hex);
	snprintf(hint, sizeof(hint), "%.*s", HINT_BYTES - 1, key);
	o = ctl_op(c, "key.add");
	ctl_set(o, "sha256", hex);
	ctl_set(o, "hint", hint);
	ctl_set(o, "expires", expires ? time : NULL);
	r = ctl_request(c, o, NULL, NULL, &result);
	if (!r)
		r = show_added(c, result, key);
	else if (r == CTL_UNKNOWN)
		/* If it was added after all, this is the only place it can be had from. */
		fprintf(stderr, "weirctl: if `key list` shows sha256:%.16s…, the key is %s\n", hex,
			key);
	json_decref(result);
	OPENSSL_cleanse(key, sizeof(key));
	return r;
}

static int collect(json_t *item, void *ctx)
{
	return json_array_append(ctx, item) ? ctl_fail(CTL_REFUSED, "out of memory") : CTL_DONE;
}

static void table(const json_t *all)
{
	static const char *const names[] = { "TENANT",	"SHA256",  "KEY",  "FROM",
					     "CREATED", "EXPIRES", "STATE" };
	struct ctl_table *t = ctl_table_new(7, names);
	const json_t *k;
	size_t i;

	json_array_foreach(all, i, k)
	{
		const char *sha = json_string_value(json_object_get(k, "key"));
		char id[17] = "", text[CTL_CELL], hint[CTL_CELL + 4];

		if (sha && strlen(sha) > 7)
			snprintf(id, sizeof(id), "%s", sha + 7);
		ctl_table_field(t, k, "tenant");
		ctl_table_cell(t, id);
		ctl_text(k, "hint", text);
		snprintf(hint, sizeof(hint), "%s%s", text, strcmp(text, "-") ? "…" : "");
		ctl_table_cell(t, hint);
		ctl_table_field(t, k, "origin");
		ctl_table_cell(t, ctl_when(k, "created_at", text));
		ctl_table_cell(t, ctl_when(k, "expires_at", text));
		ctl_table_cell(t, json_is_string(json_object_get(k, "revoked_at")) ? "revoked"
										   : "active");
	}
	ctl_table_print(t, "no keys");
}

int ctl_key_list(struct ctl *c)
{
	json_t *all = json_array();
	int r = ctl_request(c, ctl_op(c, "key.list"), collect, all, NULL);

	if (!r && c->json)
		r = ctl_print_json(all);
	else if (!r)
		table(all);
	json_decref(all);
	return r;
}

static int show_revoked(struct ctl *c, const json_t *k)
{
	char tenant[CTL_CELL], key[CTL_CELL];

	printf("revoked: %.23s… of %s\n", ctl_text(k, "key", key), ctl_text(k, "tenant", tenant));
	return CTL_DONE;
}

int ctl_key_revoke(struct ctl *c)
{
	json_t *o = ctl_op(c, "key.revoke");
	char hex[65];

	if (!strncmp(c->args[1], PREFIX, strlen(PREFIX))) {
		hash_key(c->args[1], hex);
		ctl_set(o, "key", hex);
	} else {
		ctl_set(o, "key", c->args[1]);
	}
	return ctl_show(c, o, show_revoked);
}
