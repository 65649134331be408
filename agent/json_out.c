// SPDX-License-Identifier: Apache-2.0
/*
 * Spelling JSON (RFC 8259). Model names and ids come from servers we do not
 * know, so strings are checked byte by byte; plain ASCII, the usual, runs fast.
 */
#include "agent/json_out.h"

#include <string.h>

#include "agent/money.h"
#include "agent/util.h"

static void put(struct weir_out *o, const char *s, size_t n)
{
	memcpy(o->p, s, n);
	o->p += n;
}

static void put_name(struct weir_out *o, const char *name)
{
	if (o->comma)
		*o->p++ = ',';
	o->comma = true;
	if (!name)
		return;
	*o->p++ = '"';
	put(o, name, strlen(name));
	*o->p++ = '"';
	*o->p++ = ':';
}

void weir_out_open(struct weir_out *o, const char *name, char bracket)
{
	put_name(o, name);
	*o->p++ = bracket;
	o->comma = false;
}

void weir_out_close(struct weir_out *o, char bracket)
{
	*o->p++ = bracket;
	o->comma = true;
}

/* Bytes of the UTF-8 sequence at s (RFC 3629: shortest form, no surrogates, at
 * most U+10FFFF), 0 if there is none. */
static size_t utf8(const uint8_t *s, size_t n)
{
	uint8_t lo = 0x80, hi = 0xbf;
	size_t len;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		lo = 0xa0;
	else if (s[0] == 0xed)
		hi = 0x9f;
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;
	if (n < len || s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return len;
}

static void put_escaped(struct weir_out *o, uint8_t c)
{
	static const char digits[] = "0123456789abcdef";
	/* The escapes of one letter; the rest of the control characters are \u00xx. */
	static const char letters[32] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};

	*o->p++ = '\\';
	if (c >= 0x20) {
		*o->p++ = (char)c; /* a quote or a backslash */
	} else if (letters[c]) {
		*o->p++ = letters[c];
	} else {
		put(o, "u00", 3);
		*o->p++ = digits[c >> 4];
		*o->p++ = digits[c & 15];
	}
}

static void put_text(struct weir_out *o, const char *text, size_t n)
{
	const uint8_t *s = (const uint8_t *)text;

	for (size_t i = 0, len; i < n; i += len) {
		len = 1;
		if (s[i] >= 0x80) {
			len = utf8(s + i, n - i);
			if (len) {
				put(o, text + i, len);
			} else {
				put(o, "\xef\xbf\xbd", 3);
				len = 1;
			}
		} else if (s[i] < 0x20 || s[i] == '"' || s[i] == '\\') {
			put_escaped(o, s[i]);
		} else {
			*o->p++ = (char)s[i];
		}
	}
}

void weir_out_str(struct weir_out *o, const char *name, const char *s, size_t n)
{
	put_name(o, name);
	*o->p++ = '"';
	put_text(o, s, n);
	*o->p++ = '"';
}

void weir_out_cstr(struct weir_out *o, const char *name, const char *s)
{
	weir_out_str(o, name, s, strlen(s));
}

static void put_u64(struct weir_out *o, uint64_t v)
{
	char text[20], *p = text + sizeof(text);

	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	put(o, p, (size_t)(text + sizeof(text) - p));
}

void weir_out_u64(struct weir_out *o, const char *name, uint64_t v)
{
	put_name(o, name);
	put_u64(o, v);
}

void weir_out_int(struct weir_out *o, const char *name, int64_t v)
{
	put_name(o, name);
	if (v < 0)
		*o->p++ = '-';
	put_u64(o, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void weir_out_bool(struct weir_out *o, const char *name, bool v)
{
	put_name(o, name);
	put(o, v ? "true" : "false", v ? 4 : 5);
}

void weir_out_null(struct weir_out *o, const char *name)
{
	put_name(o, name);
	put(o, "null", 4);
}

void weir_out_money(struct weir_out *o, const char *name, int64_t nano)
{
	char text[WEIR_MONEY_TEXT];

	weir_money_format(nano, text);
	put_name(o, name);
	*o->p++ = '"';
	put(o, text, strlen(text));
	*o->p++ = '"';
}

void weir_out_time(struct weir_out *o, const char *name, uint64_t wall_ns)
{
	char text[WEIR_TIME_TEXT];

	weir_time_format(wall_ns, text);
	put_name(o, name);
	*o->p++ = '"';
	put(o, text, strlen(text));
	*o->p++ = '"';
}

void weir_out_millis(struct weir_out *o, const char *name, uint64_t us)
{
	unsigned int rest = (unsigned int)(us % 1000);

	put_name(o, name);
	put_u64(o, us / 1000);
	if (!rest)
		return;
	*o->p++ = '.';
	for (unsigned int unit = 100; rest; rest %= unit, unit /= 10)
		*o->p++ = (char)('0' + rest / unit);
}

void weir_out_source(struct weir_out *o, const char *name, const char *ledger, const char *node)
{
	put_name(o, name);
	put(o, "\"/weir/", 7);
	put_text(o, ledger, strlen(ledger));
	*o->p++ = '/';
	put_text(o, node, strlen(node));
	*o->p++ = '"';
}
