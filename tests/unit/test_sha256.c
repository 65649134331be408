/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of short messages: the published vectors, and libcrypto for every length. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/sha.h>

#include "agent/util.h"
#include "bpf/sha256.h"

/* FIPS 180-4's examples (NIST, "SHA256.pdf" and the CAVP short messages). */
static const struct {
	const char *message, *digest;
} published[] = {
	{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
	  "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
	  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	{ "\xd3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1" },
	{ "\x11\xaf", "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98" },
	{ "\x74\xba\x25\x21", "b16aa56be3880d18cd41e68384cf1ec8c17680c45a02b1575dc1518923ae8b0e" },
};

static void hash(const void *message, uint32_t len, uint8_t out[32])
{
	struct weir_sha256 s;
	/* Exactly what may be read, so that a byte more is found. */
	uint8_t *from = malloc(256);

	assert_non_null(from);
	memset(from, 0xee, 256);
	memcpy(from, message, len);
	memset(&s, 0xdd, sizeof(s)); /* what the last message left there */
	assert_int_equal(weir_sha256_short(&s, from, len), 0);
	weir_sha256_digest(&s, out);
	free(from);
}

static void published_vectors_come_out(void **state)
{
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
		uint8_t digest[32];
		char text[65];

		hash(published[i].message, strlen(published[i].message), digest);
		weir_hex(digest, sizeof(digest), text);
		assert_string_equal(text, published[i].digest);
	}
}

static void every_length_agrees_with_libcrypto(void **state)
{
	uint8_t message[256], ours[32], theirs[32];

	for (uint32_t len = 0; len <= WEIR_SHA_MAX; len++)
		for (int round = 0; round < 8; round++) {
			for (uint32_t i = 0; i < len; i++)
				message[i] = round == 0 ? 0 : round == 1 ? 0xff : rand();
			hash(message, len, ours);
			SHA256(message, len, theirs);
			assert_memory_equal(ours, theirs, 32);
		}
}

static void a_message_at_any_address_is_the_same(void **state)
{
	uint8_t space[300] = {}, theirs[32], ours[32];
	struct weir_sha256 s;

	SHA256((const uint8_t *)"sk-weir-0123456789abcdef", 24, theirs);
	for (int shift = 0; shift < 16; shift++) {
		memcpy(space + shift, "sk-weir-0123456789abcdef", 24);
		assert_int_equal(weir_sha256_short(&s, space + shift, 24), 0);
		weir_sha256_digest(&s, ours);
		assert_memory_equal(ours, theirs, 32);
	}
}

static void longer_messages_are_refused(void **state)
{
	static uint8_t message[512];
	struct weir_sha256 s;

	assert_int_equal(weir_sha256_short(&s, message, WEIR_SHA_MAX), 0);
	assert_int_equal(weir_sha256_short(&s, message, WEIR_SHA_MAX + 1), -1);
	assert_int_equal(weir_sha256_short(&s, message, 512), -1);
	assert_int_equal(weir_sha256_short(&s, message, UINT32_MAX), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors_come_out),
		cmocka_unit_test(every_length_agrees_with_libcrypto),
		cmocka_unit_test(a_message_at_any_address_is_the_same),
		cmocka_unit_test(longer_messages_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
