/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON documents, whole in a buffer, read by a function that calls itself for each bracket. It is
 * strict where values are asked for, and of what nobody asks for only strings and brackets are
 * looked at: as agent/json_scan.h says of the scanner. Where a document breaks off it stops; what
 * was told before stands.
 */
#ifndef WEIR_REF_JSON_H
#define WEIR_REF_JSON_H

#include "agent/json_scan.h"
#include "bytes.h"

/* One step of a path: a key as it means, or (key.p NULL) an array's element. */
struct ref_step {
	struct bytes key;
	bool known; /* the key was spelt validly, and is no longer than any that matters */
};

struct ref_path {
	struct ref_step step[WEIR_SCAN_DEPTH + 1];
	size_t n;
};

/* Told of a place: what the scanner tells. */
struct ref_told {
	enum weir_scan_event event;
	int64_t number;
	const struct bytes *text; /* of a string: what it means */
	bool whole;		  /* text is all of it */
};

struct ref_json {
	const uint8_t *p, *end;
	struct ref_path path; /* empty: the document, be it an element of an array of them */
	bool array;  /* the document is such an array; want and told: told of that itself */
	bool inside; /* of it */
	unsigned (*want)(void *ctx, const struct ref_json *r);
	void (*told)(void *ctx, const struct ref_json *r, const struct ref_told *t);
	void *ctx;
};

/* "choices[].delta.content": does the path lead there, or (prefix) on the way there? */
static inline bool ref_path_is(const struct ref_path *path, const char *name, bool prefix,
			       bool *next_is_element)
{
	for (size_t i = 0; i < path->n; i++) {
		const struct ref_step *s = &path->step[i];
		size_t len = strcspn(name, ".[");

		if (i && *name == '.')
			name++, len = strcspn(name, ".[");
		if (!s->key.p) {
			if (strncmp(name, "[]", 2))
				return false;
			name += 2;
			continue;
		}
		if (!s->known || !len || !bytes_are(&s->key, name, len))
			return false;
		name += len;
	}
	if (!prefix)
		return !*name;
	*next_is_element = *name == '[';
	return *name;
}

static inline void ref_tell(struct ref_json *r, struct ref_told t)
{
	r->told(r->ctx, r, &t);
}

static inline int ref_peek(struct ref_json *r)
{
	while (r->p < r->end && *r->p && strchr(" \t\r\n", *r->p))
		r->p++;
	return r->p < r->end ? *r->p : -1;
}

static inline void ref_put_code_point(struct bytes *out, uint32_t c)
{
	if (c < 0x80) {
		put_byte(out, c);
	} else if (c < 0x800) {
		put_byte(out, 0xc0 + c / 64);
		put_byte(out, 0x80 + c % 64);
	} else {
		if (c < 0x10000) {
			put_byte(out, 0xe0 + c / 4096);
		} else {
			put_byte(out, 0xf0 + c / 262144);
			put_byte(out, 0x80 + c / 4096 % 64);
		}
		put_byte(out, 0x80 + c / 64 % 64);
		put_byte(out, 0x80 + c % 64);
	}
}

static inline int32_t ref_hex4(const uint8_t *p, const uint8_t *end)
{
	int32_t v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const char *digits = "0123456789abcdefABCDEF", *at = strchr(digits, p[i]);

		if (!p[i] || !at)
			return -1;
		v = v * 16 + (int)(at - digits > 15 ? at - digits - 6 : at - digits);
	}
	return v;
}

/* What stands between the quotes, as it means (RFC 8259 7); false: not valid from there on. */
static inline bool ref_unescape(const uint8_t *p, const uint8_t *end, struct bytes *out)
{
	static const char spelt[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";

	put(out, "", 0);
	while (p < end) {
		const char *at;
		int32_t c, low;

		if (*p != '\\') {
			put_byte(out, *p++);
			continue;
		}
		at = p + 1 < end && p[1] ? strchr(spelt, p[1]) : NULL;
		if (at) {
			put_byte(out, (uint8_t)meant[at - spelt]);
			p += 2;
			continue;
		}
		c = p + 1 < end && p[1] == 'u' ? ref_hex4(p + 2, end) : -1;
		if (c < 0 || (c >= 0xdc00 && c < 0xe000))
			return false;
		p += 6;
		if (c >= 0xd800 && c < 0xdc00) {
			low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? ref_hex4(p + 2, end)
									  : -1;
			if (low < 0xdc00 || low > 0xdfff)
				return false;
			c = 0x10000 + (c - 0xd800) * 1024 + (low - 0xdc00);
			p += 6;
		}
		ref_put_code_point(out, (uint32_t)c);
	}
	return true;
}

/* r->p behind the opening quote; then behind the closing one. false: there is none. */
static inline bool ref_string(struct ref_json *r, const uint8_t **from, size_t *len)
{
	for (*from = r->p; r->p < r->end; r->p++) {
		if (*r->p == '"') {
			*len = (size_t)(r->p++ - *from);
			return true;
		}
		if (*r->p == '\\' && ++r->p == r->end)
			return false;
	}
	return false;
}

/* What nobody asks for, r->p behind its bracket: only brackets and quotes matter. */
static inline bool ref_skip(struct ref_json *r, uint8_t close, unsigned level)
{
	const uint8_t *from;
	size_t len;

	while (r->p < r->end) {
		uint8_t c = *r->p;

		if (((c == '}' || c == ']') && c != close) ||
		    ((c == '{' || c == '[') && level == WEIR_SCAN_NESTED))
			return false; /* at the byte that cannot be */
		r->p++;
		if (c == close)
			return true;
		if (c == '"' && !ref_string(r, &from, &len))
			return false;
		if ((c == '{' || c == '[') && !ref_skip(r, c == '{' ? '}' : ']', level + 1))
			return false;
	}
	return false;
}

/* A number or a word, up to what may follow it. */
static inline bool ref_scalar(struct ref_json *r, unsigned want)
{
	static const char number[] = "0123456789.+-eE";
	bool is_number = *r->p == '-' || (*r->p >= '0' && *r->p <= '9');
	const uint8_t *from = r->p;
	unsigned __int128 v = 0;
	size_t len = 0, i;

	while (r->p < r->end && !strchr(",}] \t\r\n", *r->p) && *r->p > ' ')
		r->p++, len++;
	if (r->p == r->end || !*r->p || !strchr(",}] \t\r\n", *r->p))
		return false;
	if (!is_number || !(want & WEIR_SCAN_NUMBER)) {
		/* a word of any bytes that words and numbers are made of */
		for (i = 0; i < len; i++)
			if (from[i] < '+' || from[i] > 'z' || from[i] == ':' || from[i] == '[')
				return false;
		return true;
	}
	for (i = 0; i < len; i++)
		if (!from[i] || !strchr(number, from[i]))
			return false;
	if (len > 1 && from[0] == '0' && from[1] >= '0' && from[1] <= '9')
		return true; /* 012 is nothing */
	for (i = 0; i < len && from[i] >= '0' && from[i] <= '9' && v <= INT64_MAX; i++)
		v = v * 10 + (unsigned)(from[i] - '0');
	if (i < len && from[i] == '.')
		while (++i < len && from[i] == '0')
			;
	if (i == len && v <= INT64_MAX)
		ref_tell(r,
			 (struct ref_told){ .event = WEIR_SCAN_IS_NUMBER, .number = (int64_t)v });
	return true;
}

static inline bool ref_value(struct ref_json *r);

static inline bool ref_element(struct ref_json *r)
{
	bool good;

	r->path.step[r->path.n++] = (struct ref_step){ 0 };
	good = ref_value(r);
	r->path.n--;
	return good;
}

static inline bool ref_member(struct ref_json *r)
{
	struct ref_step step = { 0 };
	const uint8_t *from;
	size_t len;
	bool good;

	if (ref_peek(r) != '"')
		return false;
	r->p++;
	if (!ref_string(r, &from, &len))
		return false;
	step.known = ref_unescape(from, from + len, &step.key);
	r->path.step[r->path.n++] = step;
	if (r->want(r->ctx, r) & WEIR_SCAN_KEY)
		ref_tell(r, (struct ref_told){ .event = WEIR_SCAN_IS_KEY });
	good = ref_peek(r) == ':';
	if (good) {
		r->p++;
		good = ref_value(r);
	}
	r->path.n--;
	bytes_free(&step.key);
	return good;
}

/* A container that is asked for, r->p behind its bracket. */
static inline bool ref_container(struct ref_json *r, bool array, unsigned want)
{
	uint8_t close = array ? ']' : '}';
	int c = ref_peek(r);

	while (c != close) {
		if (!(array ? ref_element(r) : ref_member(r)))
			return false;
		c = ref_peek(r);
		if (c == ',') {
			r->p++;
			if (ref_peek(r) == close)
				return false;
		} else if (c != close) {
			return false;
		}
	}
	r->p++;
	if (want & WEIR_SCAN_END)
		ref_tell(r, (struct ref_told){ .event = WEIR_SCAN_IS_END });
	return true;
}

/* false: the document is dead there, or the buffer is over. */
static inline bool ref_value(struct ref_json *r)
{
	unsigned want = r->want(r->ctx, r);
	int c = ref_peek(r);
	struct bytes text = { 0 };
	const uint8_t *from = r->p;
	bool whole, good;
	size_t len;

	if (c == '{' || c == '[') {
		bool down = want & (c == '{' ? WEIR_SCAN_OBJECT : WEIR_SCAN_ARRAY) &&
			    r->path.n + r->inside < WEIR_SCAN_DEPTH;

		r->p++;
		if (want & WEIR_SCAN_OPEN)
			ref_tell(r, (struct ref_told){ .event = WEIR_SCAN_IS_OPEN });
		if (down)
			return ref_container(r, c == '[', want);
		good = ref_skip(r, c == '{' ? '}' : ']', 1);
		if (want == WEIR_SCAN_BYTES)
			ref_tell(r, (struct ref_told){ .event = WEIR_SCAN_IS_BYTES,
						       .number = r->p - from });
		return good;
	}
	if (c == 't' && want & WEIR_SCAN_TRUE) /* whatever becomes of it */
		ref_tell(r, (struct ref_told){ .event = WEIR_SCAN_IS_TRUE });
	if (c != '"')
		return c > 0 && strchr("-0123456789ntfNI", c) && ref_scalar(r, want);
	r->p++;
	good = ref_string(r, &from, &len);
	if (!good)
		len = (size_t)(r->end - from);
	if (want & WEIR_SCAN_BYTES && !(want & WEIR_SCAN_STRING) && len)
		ref_tell(r,
			 (struct ref_told){ .event = WEIR_SCAN_IS_BYTES, .number = (int64_t)len });
	whole = good && ref_unescape(from, from + len, &text);
	if (good && want & WEIR_SCAN_STRING)
		ref_tell(r, (struct ref_told){
				    .event = WEIR_SCAN_IS_STRING, .text = &text, .whole = whole });
	bytes_free(&text);
	return good;
}

/* The elements of an array of documents, behind its bracket: the first one is an object. */
static inline bool ref_documents(struct ref_json *r)
{
	int c = ref_peek(r);

	if (c != '{' && c != ']')
		return false;
	while (c != ']') {
		if (!ref_value(r))
			return false;
		c = ref_peek(r);
		if (c == ',')
			r->p++;
		else if (c != ']')
			return false;
	}
	r->p++;
	return true;
}

/* One document, r->p then behind it. true: it is whole. */
static inline bool ref_json(struct ref_json *r, const uint8_t *p, size_t n)
{
	bool good;
	int c;

	r->p = p;
	r->end = p + n;
	r->path.n = 0;
	c = ref_peek(r);
	if (c != '[')
		return c == '{' && ref_value(r);
	r->p++;
	r->array = true;
	if (r->want(r->ctx, r) & WEIR_SCAN_OPEN)
		ref_tell(r, (struct ref_told){ .event = WEIR_SCAN_IS_OPEN });
	r->array = false;
	r->inside = true;
	good = ref_documents(r);
	r->inside = false;
	r->array = true;
	if (good && r->want(r->ctx, r) & WEIR_SCAN_END)
		ref_tell(r, (struct ref_told){ .event = WEIR_SCAN_IS_END });
	return good;
}

#endif
