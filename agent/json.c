/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict reader: cursors, typed getters and the words of their errors. It
 * reads only; documents for others are built with jansson directly.
 */
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "money.h"
#include "suggest.h"

#define FILE_MAX (64u << 20) /* 65536 tenants with keys take about 16 MB */

void weir_json_put(json_t **v)
{
	json_decref(*v);
}

/* ------------------------------------------------------------------ paths */

static bool plain_key(const char *key, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
			    key[i]))
			return false;
	return n > 0;
}

/* Append a step to a path of length n; returns the new length, cut to fit. */
static size_t step_key(char *path, size_t n, const char *key, size_t len)
{
	int r;

	if (len > 80)
		len = 80;
	if (plain_key(key, len))
		r = snprintf(path + n, WEIR_JSON_PATH - n, "%s%.*s", n ? "." : "", (int)len, key);
	else
		r = snprintf(path + n, WEIR_JSON_PATH - n, "[\"%.*s\"]", (int)len, key);
	return r < 0 ? n : n + (size_t)r < WEIR_JSON_PATH ? n + (size_t)r : WEIR_JSON_PATH - 1;
}

static size_t step_index(char *path, size_t n, size_t index)
{
	int r = snprintf(path + n, WEIR_JSON_PATH - n, "[%zu]", index);

	return r < 0 ? n : n + (size_t)r < WEIR_JSON_PATH ? n + (size_t)r : WEIR_JSON_PATH - 1;
}

static size_t path_of(const struct weir_json *at, char *path)
{
	size_t n;

	if (!at->up)
		return 0;
	n = path_of(at->up, path);
	return at->key ? step_key(path, n, at->key, strlen(at->key))
		       : step_index(path, n, at->index);
}

void weir_json_path(const struct weir_json *at, char out[static WEIR_JSON_PATH])
{
	out[path_of(at, out)] = '\0';
}

static const struct weir_json *root_of(const struct weir_json *at)
{
	while (at->up)
		at = at->up;
	return at;
}

/* ----------------------------------------------------------------- errors */

static int vfail(const struct weir_json *at, struct weir_error *err, const char *value,
		 const char *fmt, va_list ap)
{
	const struct weir_json *root = root_of(at);
	char path[WEIR_JSON_PATH], text[384];
	const char *join = root->inner ? "." : ": ";

	weir_json_path(at, path);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	if (!path[0] || (root->inner && path[0] == '['))
		join = "";
	return weir_fail(err, EINVAL, "%s%s%s: %s%s%s", root->key, join, path, value,
			 value[0] ? " " : "", text);
}

int weir_json_fail(const struct weir_json *at, struct weir_error *err, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vfail(at, err, "", fmt, ap);
	va_end(ap);
	return r;
}

#define VALUE_SHOWN 80

/* The value as it stands in the file, cut to what fits a line. */
static void show_value(json_t *v, char out[static VALUE_SHOWN + 4])
{
	weir_autofree char *text = NULL;
	size_t n;

	if (json_is_object(v) || json_is_array(v)) {
		strcpy(out, json_is_object(v) ? "an object" : "an array");
		return;
	}
	text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	n = text ? strlen(text) : 0;
	if (n > VALUE_SHOWN) {
		n = VALUE_SHOWN;
		while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--; /* not inside a character */
	}
	if (text)
		memcpy(out, text, n);
	strcpy(out + n, text && text[n] ? "..." : "");
}

int weir_json_refuse(const struct weir_json *at, struct weir_error *err, const char *fmt, ...)
{
	char value[VALUE_SHOWN + 4];
	va_list ap;
	int r;

	show_value(at->v, value);
	va_start(ap, fmt);
	r = vfail(at, err, value, fmt, ap);
	va_end(ap);
	return r;
}

/* ---------------------------------------------------------------- reading */

#define DEPTH 32

/*
 * The path at byte `end` of a text. jansson says line and column of what it could
 * not read, but a person looks for "tiers.free.burst": walk the text again.
 */
static void path_at(const char *text, size_t end, char path[static WEIR_JSON_PATH])
{
	struct {
		size_t base, index;
		bool array, key_next;
	} level[DEPTH];
	size_t depth = 0, n = 0;

	for (size_t i = 0; i < end && depth < DEPTH; i++) {
		char c = text[i];

		if (c == '"') {
			size_t start = ++i;

			while (i < end && text[i] != '"')
				i += text[i] == '\\' ? 2 : 1;
			if (depth && level[depth - 1].key_next)
				n = step_key(path, level[depth - 1].base, text + start,
					     (i < end ? i : end) - start);
		} else if (c == '{' || c == '[') {
			level[depth].base = n;
			level[depth].index = 0;
			level[depth].array = c == '[';
			level[depth].key_next = c == '{';
			if (c == '[')
				n = step_index(path, n, 0);
			depth++;
		} else if (depth && (c == '}' || c == ']')) {
			n = level[--depth].base;
		} else if (depth && c == ':') {
			level[depth - 1].key_next = false;
		} else if (depth && c == ',') {
			n = level[depth - 1].base;
			if (level[depth - 1].array)
				n = step_index(path, n, ++level[depth - 1].index);
			else
				level[depth - 1].key_next = true;
		}
	}
	path[n] = '\0';
}

int weir_json_parse(const char *text, size_t len, const char *where, json_t **out,
		    struct weir_error *err)
{
	char path[WEIR_JSON_PATH];
	json_error_t e;
	json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);

	if (v) {
		*out = v;
		return 0;
	}
	if (json_error_code(&e) == json_error_out_of_memory)
		return weir_fail(err, ENOMEM, "%s: out of memory", where);
	path_at(text, e.position >= 0 && (size_t)e.position < len ? (size_t)e.position : len, path);
	return weir_fail(err, EINVAL, "%s: %s%sline %d, column %d: %s", where, path,
			 path[0] ? ": " : "", e.line, e.column, e.text);
}

int weir_json_read(const char *path, const char *where, json_t **out, struct weir_error *err)
{
	weir_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	weir_autofree char *text = NULL;
	size_t n = 0, size;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return weir_fail(err, errno, "%s: cannot be read: %s", where, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return weir_fail(err, EINVAL, "%s: is not a file", where);
	if (st.st_size > FILE_MAX)
		return weir_fail(err, EFBIG, "%s: is longer than %u bytes", where, FILE_MAX);
	size = (size_t)st.st_size;
	text = malloc(size + 1);
	if (!text)
		return weir_fail(err, ENOMEM, "%s: out of memory", where);
	while (n < size) {
		ssize_t r = read(fd, text + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return weir_fail(err, errno, "%s: cannot be read: %s", where,
					 strerror(errno));
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return weir_json_parse(text, n, where, out, err);
}

/* ---------------------------------------------------------------- cursors */

struct weir_json weir_json_root(json_t *v, const char *where, bool inner)
{
	return (struct weir_json){ .key = where, .inner = inner, .v = v };
}

struct weir_json weir_json_member(const struct weir_json *at, const char *key, json_t *v)
{
	return (struct weir_json){ .up = at, .key = key, .v = v };
}

struct weir_json weir_json_element(const struct weir_json *at, size_t index)
{
	return (struct weir_json){ .up = at, .index = index, .v = json_array_get(at->v, index) };
}

bool weir_json_get(const struct weir_json *at, const char *key, struct weir_json *child)
{
	json_t *v = json_object_get(at->v, key);

	if (v)
		*child = weir_json_member(at, key, v);
	return v != NULL;
}

/* ---------------------------------------------------------------- getters */

int weir_json_map(const struct weir_json *at, struct weir_error *err)
{
	if (json_is_object(at->v))
		return 0;
	return weir_json_refuse(at, err, "is not an object");
}

static int no_such_field(const struct weir_json *at, const char *key, json_t *v,
			 const char *const *fields, struct weir_error *err)
{
	struct weir_json child = weir_json_member(at, key, v);
	char value[VALUE_SHOWN + 4];
	struct weir_suggest near;

	weir_suggest_init(&near, key);
	for (const char *const *f = fields; *f; f++)
		weir_suggest_offer(&near, *f);
	show_value(v, value);
	if (near.best)
		return weir_json_fail(&child, err, "no such field (value %s; did you mean \"%s\"?)",
				      value, near.best);
	return weir_json_fail(&child, err, "no such field (value %s)", value);
}

int weir_json_object(const struct weir_json *at, const char *const *fields, struct weir_error *err)
{
	const char *key;
	json_t *v;
	int r = weir_json_map(at, err);

	if (r)
		return r;
	json_object_foreach(at->v, key, v)
	{
		const char *const *f = fields;

		while (*f && strcmp(*f, key) != 0)
			f++;
		if (!*f)
			return no_such_field(at, key, v, fields, err);
	}
	return 0;
}

int weir_json_array(const struct weir_json *at, size_t min, size_t max, struct weir_error *err)
{
	if (!json_is_array(at->v))
		return weir_json_refuse(at, err, "is not an array");
	if (json_array_size(at->v) < min)
		return weir_json_fail(at, err, "%zu elements, at least %zu must be there",
				      json_array_size(at->v), min);
	if (json_array_size(at->v) > max)
		return weir_json_fail(at, err, "%zu elements, at most %zu may be there",
				      json_array_size(at->v), max);
	return 0;
}

int weir_json_int(const struct weir_json *at, int64_t min, int64_t max, int64_t *out,
		  struct weir_error *err)
{
	if (!json_is_integer(at->v) || json_integer_value(at->v) < min ||
	    json_integer_value(at->v) > max)
		return weir_json_refuse(at, err, "is not a whole number from %lld to %lld",
					(long long)min, (long long)max);
	*out = json_integer_value(at->v);
	return 0;
}

int weir_json_bool(const struct weir_json *at, bool *out, struct weir_error *err)
{
	if (!json_is_boolean(at->v))
		return weir_json_refuse(at, err, "is not true or false");
	*out = json_is_true(at->v);
	return 0;
}

int weir_json_string(const struct weir_json *at, size_t max, const char **out,
		     struct weir_error *err)
{
	if (!json_is_string(at->v))
		return weir_json_refuse(at, err, "is not a string");
	if (json_string_length(at->v) < 1 || json_string_length(at->v) > max)
		return weir_json_refuse(at, err, "is not a string of 1 to %zu bytes", max);
	*out = json_string_value(at->v);
	return 0;
}

int weir_json_name(const struct weir_json *at, const char **out, struct weir_error *err)
{
	if (!json_is_string(at->v) || !weir_name_ok(json_string_value(at->v)))
		return weir_json_refuse(at, err, "is not a name of 1 to 63 of a-z 0-9 _ -");
	*out = json_string_value(at->v);
	return 0;
}

int weir_json_choice(const struct weir_json *at, const char *const *words, int *out,
		     struct weir_error *err)
{
	char list[192] = "";
	size_t n = 0;

	if (json_is_string(at->v))
		for (int i = 0; words[i]; i++)
			if (strcmp(words[i], json_string_value(at->v)) == 0) {
				*out = i;
				return 0;
			}
	for (int i = 0; words[i] && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s\"%s\"",
				      !i	     ? ""
				      : words[i + 1] ? ", "
						     : " or ",
				      words[i]);
	return weir_json_refuse(at, err, "is not %s", list);
}

int weir_json_decimal(const struct weir_json *at, int64_t min, int64_t max, int64_t *out,
		      struct weir_error *err)
{
	char low[WEIR_MONEY_TEXT], high[WEIR_MONEY_TEXT];
	int64_t nano;
	int r;

	/* A JSON number passes through doubles in most tools on its way here. */
	if (json_is_number(at->v))
		return weir_json_refuse(at, err, "is not a decimal string (write it in quotes)");
	r = json_is_string(at->v) ? weir_money_parse(json_string_value(at->v), &nano) : -EINVAL;
	if (r == -EINVAL)
		return weir_json_refuse(at, err,
					"is not a decimal string with at most nine decimals");
	if (r || nano < min || nano > max) {
		weir_money_format(min, low);
		weir_money_format(max, high);
		return weir_json_refuse(at, err, "is not from %s to %s", low, high);
	}
	*out = nano;
	return 0;
}
