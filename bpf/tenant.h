/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who is it? By API key, else by source prefix, else the default tenant.
 */
#ifndef WEIR_TENANT_H
#define WEIR_TENANT_H

#include "maps.h"

/* Longest prefix that holds addr: one hash probe per prefix length in use, which
 * at a million entries is five times as fast as an LPM trie. */
weir_inline weir_u32 weir_tenant_by_source(const struct weir_config *c, const weir_u8 *addr)
{
	weir_u64 hi = __builtin_bswap64(weir_load64(addr));
	weir_u64 lo = __builtin_bswap64(weir_load64(addr + 8));

#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_MAX_PREFIX_LENS; i++) {
		if (i >= c->n_prefix_lens)
			break;
		weir_u32 len = c->prefix_lens[i], *found;
		struct weir_source s __attribute__((aligned(8))) = { .prefix_len = len };
		weir_u64 h = hi, l = lo;

		if (len <= 64) {
			h = len ? hi & ~0ULL << ((64 - len) & 63) : 0;
			l = 0;
		} else {
			l = lo & ~0ULL << ((128 - len) & 63);
		}
		weir_store64(s.addr, __builtin_bswap64(h));
		weir_store64(s.addr + 8, __builtin_bswap64(l));
		found = bpf_map_lookup_elem(&sources, &s);
		if (found)
			return *found;
	}
	return WEIR_NO_TENANT;
}

/* The tenant that answers for a connection whose key is not known. */
weir_inline weir_u32 weir_tenant_of_source(const struct weir_config *c, const weir_u8 *addr)
{
	weir_u32 t = weir_tenant_by_source(c, addr);

	return t ? t : c->default_tenant;
}

/* Hash the key in the request's head into s->api_key. 1: done, 0: there is none,
 * -1: longer than any key we know. */
weir_global int weir_hash_key(struct weir_scratch *s)
{
	struct weir_reader *r;
	weir_u32 place, off, index;

	if (!s)
		return 0;
	index = s->request.reader;
	r = bpf_map_lookup_elem(&readers, &index);
	if (!r)
		return 0;
	place = weir_head_key(&r->head);
	off = place >> 16;
	if (!place)
		return 0;
	weir_opaque(off);
	if (off >= WEIR_HEAD_MAX || weir_sha256_short(&s->sha, r->head.bytes + off, place & 0xffff))
		return -1;
	weir_sha256_digest(&s->sha, s->api_key.sha256);
	return 1;
}

enum weir_key_found {
	WEIR_KEY_ABSENT,
	WEIR_KEY_KNOWN,
	WEIR_KEY_UNKNOWN, /* or expired, or longer than any key */
};

/* May this peer speak for tenants (x-weir-tenant)? */
weir_inline bool weir_trusted_peer(const struct weir_config *c, const weir_u8 *addr)
{
	weir_u64 hi = __builtin_bswap64(weir_load64(addr));
	weir_u64 lo = __builtin_bswap64(weir_load64(addr + 8));

#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_TRUSTED_MAX; i++) {
		if (i >= c->n_trusted)
			break;
		if (!((hi & c->trusted[i].mask_hi) ^ c->trusted[i].hi) &&
		    !((lo & c->trusted[i].mask_lo) ^ c->trusted[i].lo))
			return true;
	}
	return false;
}

/* Copy a name of len < WEIR_TENANT_NAME_BYTES bytes, padded with NULs. */
weir_global int weir_copy_name(struct weir_tenant_name *to, const struct weir_head *h, weir_u32 at,
			       weir_u32 len)
{
	if (!to || !h)
		return 0;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_TENANT_NAME_BYTES / 8; i++) {
		weir_u32 off = at + i * 8, left = len - i * 8;
		weir_u64 w = 0;

		weir_opaque(off);
		if (i * 8 < len && off < WEIR_HEAD_MAX) {
			w = weir_load64(h->bytes + off);
			if (left < 8)
				w &= (1ULL << (left * 8)) - 1;
		}
		weir_store64(to->name + i * 8, w);
	}
	return 1;
}

/* The tenant that a trusted peer names in x-weir-tenant. */
weir_inline enum weir_key_found weir_tenant_by_name(const struct weir_config *c,
						    struct weir_scratch *s,
						    const struct weir_packet *p, weir_u32 *tenant)
{
	weir_u32 index = s->request.reader, at, end, *found;
	struct weir_reader *r = bpf_map_lookup_elem(&readers, &index);

	if (!r || !r->head.value[WEIR_HDR_TENANT].end || !weir_trusted_peer(c, p->src))
		return WEIR_KEY_ABSENT;
	at = weir_head_value(&r->head, r->head.value[WEIR_HDR_TENANT].off);
	end = weir_head_value_end(&r->head, at, r->head.value[WEIR_HDR_TENANT].end);
	if (end <= at || end - at >= WEIR_TENANT_NAME_BYTES)
		return WEIR_KEY_UNKNOWN;
	weir_copy_name(&s->tenant_name, &r->head, at, end - at);
	found = bpf_map_lookup_elem(&names, &s->tenant_name);
	if (!found)
		return WEIR_KEY_UNKNOWN;
	*tenant = *found;
	return WEIR_KEY_KNOWN;
}

/* The tenant of the key in the request's head, which weir_hash_key() has hashed. */
weir_inline enum weir_key_found weir_tenant_by_key(const struct weir_config *c,
						   struct weir_scratch *s, int hashed,
						   weir_u64 now_ns, weir_u32 *tenant)
{
	struct weir_key_value *k;

	if (!hashed)
		return WEIR_KEY_ABSENT;
	if (hashed < 0)
		return WEIR_KEY_UNKNOWN;
	k = bpf_map_lookup_elem(&keys, &s->api_key);
	if (!k || (k->expires_wall_ns && k->expires_wall_ns <= now_ns + c->wall_offset_ns))
		return WEIR_KEY_UNKNOWN;
	*tenant = k->tenant;
	return WEIR_KEY_KNOWN;
}

#endif
