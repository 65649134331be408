/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prefixes of addresses as people write them, "10.1.0.0/16" or "2001:db8::/32", of
 * policies (whose tenant) and agent.json (who is trusted) alike. IPv4 becomes
 * v4-mapped, so that everything after deals with 128 bits only.
 */
#ifndef WEIR_PREFIX_H
#define WEIR_PREFIX_H

#include <stdint.h>

struct weir_json;  /* json.h */
struct weir_error; /* util.h */

struct weir_source_prefix {
	uint8_t addr[16]; /* v4 as v4-mapped, host bits zero */
	uint32_t len;	  /* of 128 */
};

/* A string that is a prefix, with no bits set past its length. */
int weir_json_prefix(const struct weir_json *at, struct weir_source_prefix *out,
		     struct weir_error *err);

#endif
