// SPDX-License-Identifier: Apache-2.0
/*
 * Messages of every length. Two claims: the hash is what OpenSSL says, whatever the
 * context held before and whatever stands behind the message; and a message that is too
 * long is told, not hashed.
 *
 * Input: the message and what stands behind it. Each of its beginnings is hashed.
 */
#include <openssl/evp.h>

#include "bpf/sha256.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct weir_sha256 s; /* the hash before leaves its traces */
	static EVP_MD *sha256;
	static EVP_MD_CTX *context;
	uint8_t *message, ours[32], theirs[32];
	uint8_t readable[256];

	if (!size)
		return 0;
	if (!context) {
		sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
		context = EVP_MD_CTX_new();
		CHECK(sha256 && context);
	}
	for (size_t i = 0; i < sizeof(readable); i++)
		readable[i] = data[i % size];
	message = own_copy(readable, sizeof(readable));
	for (uint32_t len = 0; len <= WEIR_SHA_MAX; len++) {
		CHECK(!weir_sha256_short(&s, message, len));
		weir_sha256_digest(&s, ours);
		CHECK(EVP_DigestInit_ex2(context, sha256, NULL));
		CHECK(EVP_DigestUpdate(context, message, len));
		CHECK(EVP_DigestFinal_ex(context, theirs, NULL));
		CHECK(!memcmp(ours, theirs, sizeof(ours)));
	}
	CHECK(!memcmp(message, readable, sizeof(readable)));
	for (uint32_t over = 1; over < 80; over++) {
		CHECK(weir_sha256_short(&s, message, WEIR_SHA_MAX + over) == -1);
		CHECK(weir_sha256_short(&s, message, -over) == -1);
	}
	weir_sha256_digest(&s, ours);
	CHECK(!memcmp(ours, theirs, sizeof(ours)));
	free(message);
	return 0;
}
