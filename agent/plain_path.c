// SPDX-License-Identifier: Apache-2.0
#include "plain_path.h"

#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of the path, and how many bytes it takes there. */
static char character(const char *p, size_t *took)
{
	int high, low;

	*took = 1;
	if (*p != '%')
		return *p;
	high = hex(p[1]);
	low = high < 0 ? -1 : hex(p[2]);
	if (low < 0 || (high << 4 | low) < ' ' || (high << 4 | low) == 0x7f)
		return *p;
	*took = 3;
	return (char)(high << 4 | low);
}

/* The segment that begins at `from` is whole: n bytes are there. Gives how many stay. */
static size_t end_segment(const char *out, size_t from, size_t n)
{
	size_t len = n - from;

	if (len == 1 && out[from] == '.')
		return from;
	if (len != 2 || out[from] != '.' || out[from + 1] != '.')
		return n;
	/* Back to behind the slash before the segment before. */
	for (n = from ? from - 1 : 0; n && out[n - 1] != '/'; n--)
		;
	return n ? n : from;
}

void weir_plain_path(const char *path, char *out, size_t room)
{
	size_t n = 0, from = 0, took;

	for (; *path && n < room - 1; path += took) {
		char c = character(path, &took);

		if (c != '/') {
			out[n++] = c;
			continue;
		}
		n = end_segment(out, from, n);
		if (!n || out[n - 1] != '/')
			out[n++] = '/';
		from = n;
	}
	n = end_segment(out, from, n);
	out[n] = 0;
}
