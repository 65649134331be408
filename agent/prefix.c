/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one reader of prefixes. It knows their spelling, not whose they are.
 */
#include "prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "json.h"

#define V4_MAPPED 96 /* bits of ::ffff:0:0 */

/* 0, -EINVAL: not a prefix, -EDOM: host bits. */
static int parse(const char *text, struct weir_source_prefix *out)
{
	const char *slash = strchr(text, '/');
	struct weir_source_prefix p = { 0 };
	char addr[INET6_ADDRSTRLEN];
	unsigned len = 0, base = 0;
	size_t n;

	if (!slash || (size_t)(slash - text) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	n = strspn(slash + 1, "0123456789");
	if (n < 1 || n > 3 || slash[1 + n] || (slash[1] == '0' && n > 1))
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		len = len * 10 + (unsigned)(slash[1 + i] - '0');
	if (inet_pton(AF_INET, addr, p.addr + 12) == 1) {
		p.addr[10] = p.addr[11] = 0xff;
		base = V4_MAPPED;
	} else if (inet_pton(AF_INET6, addr, p.addr) != 1) {
		return -EINVAL;
	}
	if (len > 128 - base)
		return -EINVAL;
	p.len = base + len;
	for (unsigned bit = p.len; bit < 128; bit++)
		if (p.addr[bit / 8] & (0x80 >> bit % 8))
			return -EDOM;
	*out = p;
	return 0;
}

int weir_json_prefix(const struct weir_json *at, struct weir_source_prefix *out,
		     struct weir_error *err)
{
	const char *text;
	int r = weir_json_string(at, 64, &text, err);

	if (r)
		return r;
	r = parse(text, out);
	if (r == -EDOM)
		return weir_json_refuse(at, err, "has bits set past its prefix length");
	if (r)
		return weir_json_refuse(
			at, err, "is not a prefix such as \"10.1.0.0/16\" or \"2001:db8::/32\"");
	return 0;
}
