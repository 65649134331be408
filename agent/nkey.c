// SPDX-License-Identifier: Apache-2.0
/* Reading a seed: base32 (RFC 4648, 6, without padding), CRC-16/XMODEM, Ed25519 (RFC 8032). */
#include "nkey.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KEY	    32
#define PREFIX_SEED (18 << 3) /* 'S' */
#define PREFIX_USER (20 << 3) /* 'U' */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *p, size_t n)
{
	uint16_t crc = 0;

	while (n--) {
		crc ^= (uint16_t)(*p++ << 8);
		for (int i = 0; i < 8; i++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

/* Exactly n bytes, of as many characters as they take. */
static int decode(const char *text, uint8_t *out, size_t n)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t i = 0;

	if (strlen(text) != (n * 8 + 4) / 5)
		return -EINVAL;
	for (; *text; text++) {
		const char *at = strchr(alphabet, *text);

		if (!at)
			return -EINVAL;
		bits = bits << 5 | (uint32_t)(at - alphabet);
		have += 5;
		if (have >= 8) {
			have -= 8;
			out[i++] = (uint8_t)(bits >> have);
		}
	}
	return bits & ((1u << have) - 1) ? -EINVAL : 0;
}

static void encode(const uint8_t *p, size_t n, char *out)
{
	uint32_t bits = 0;
	unsigned have = 0;

	while (n--) {
		bits = bits << 8 | *p++;
		for (have += 8; have >= 5;) {
			have -= 5;
			*out++ = alphabet[bits >> have & 31];
		}
	}
	if (have)
		*out++ = alphabet[bits << (5 - have) & 31];
	*out = '\0';
}

static int public_of(const uint8_t seed[static KEY], uint8_t out[static KEY])
{
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KEY);
	size_t n = KEY;
	int r = k && EVP_PKEY_get_raw_public_key(k, out, &n) == 1 && n == KEY ? 0 : -EIO;

	EVP_PKEY_free(k);
	return r;
}

int weir_nkey_public(const char *seed, char out[static WEIR_NKEY_PUBLIC])
{
	uint8_t raw[2 + KEY + 2], pub[1 + KEY + 2] = { PREFIX_USER };
	uint16_t crc;
	int r = decode(seed, raw, sizeof(raw));

	if (!r) {
		crc = crc16(raw, 2 + KEY);
		if (raw[2 + KEY] != (crc & 0xff) || raw[2 + KEY + 1] != crc >> 8 ||
		    raw[0] != (PREFIX_SEED | PREFIX_USER >> 5) ||
		    raw[1] != (PREFIX_USER << 3 & 0xff))
			r = -EINVAL;
	}
	if (!r)
		r = public_of(raw + 2, pub + 1);
	explicit_bzero(raw, sizeof(raw));
	if (r)
		return r;
	crc = crc16(pub, 1 + KEY);
	pub[1 + KEY] = (uint8_t)crc;
	pub[1 + KEY + 1] = (uint8_t)(crc >> 8);
	encode(pub, sizeof(pub), out);
	return 0;
}
