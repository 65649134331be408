// SPDX-License-Identifier: Apache-2.0
/*
 * A layout is a list of moves, made once by walking two types side by side and run once per
 * element. Moves that lie side by side in both become one: two equal structs are one memcpy.
 */
#include "layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 96
#define DEPTH_MAX  16

enum kind {
	BYTES,	/* as they are */
	NUMBER, /* of another width */
	ZERO,	/* no room for these: must be 0 */
};

struct move {
	enum kind kind;
	uint32_t from, to;
	uint32_t from_bytes, to_bytes;
	bool is_signed; /* NUMBER: in the source */
	char name[NAME_BYTES];
};

struct weir_layout {
	struct move *moves;
	size_t n, room;
	size_t from_bytes, to_bytes;
	bool same;
};

struct walk {
	struct weir_layout *l;
	const struct btf *from_btf, *to_btf;
	char name[NAME_BYTES]; /* of the field at hand */
	struct weir_error *err;
};

static int add(struct walk *w, struct move m)
{
	struct weir_layout *l = w->l;
	struct move *last = l->n ? &l->moves[l->n - 1] : NULL;

	if (m.kind == BYTES && last && last->kind == BYTES &&
	    last->from + last->from_bytes == m.from && last->to + last->to_bytes == m.to) {
		last->from_bytes += m.from_bytes;
		last->to_bytes += m.to_bytes;
		return 0;
	}
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 16;
		struct move *more = realloc(l->moves, room * sizeof(*more));

		if (!more)
			return weir_fail(w->err, ENOMEM, "out of memory");
		l->moves = more;
		l->room = room;
	}
	memcpy(m.name, w->name, sizeof(m.name));
	l->moves[l->n++] = m;
	return 0;
}

static int add_bytes(struct walk *w, uint32_t from, uint32_t to, uint32_t bytes)
{
	return bytes ? add(w, (struct move){ .kind = BYTES,
					     .from = from,
					     .to = to,
					     .from_bytes = bytes,
					     .to_bytes = bytes })
		     : 0;
}

static int walk_type(struct walk *w, uint32_t from, uint32_t from_at, uint32_t to, uint32_t to_at,
		     int depth);

/* Typedefs and qualifiers are names only. */
static const struct btf_type *bare(const struct btf *btf, uint32_t *id)
{
	const struct btf_type *t = btf__type_by_id(btf, *id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t))) {
		*id = t->type;
		t = btf__type_by_id(btf, *id);
	}
	return t;
}

struct member {
	uint32_t type, at, bits; /* at: bytes from the start of the struct; bits: of a bit field */
	const char *name;
};

/* The i-th of a struct; false: a place that is no whole byte. */
static bool member_of(const struct btf *btf, const struct btf_type *t, uint32_t i, uint32_t base,
		      struct member *m)
{
	const struct btf_member *b = &btf_members(t)[i];
	uint32_t bit = btf_member_bit_offset(t, i);

	m->type = b->type;
	m->at = base + bit / 8;
	m->bits = btf_member_bitfield_size(t, i);
	m->name = btf__name_by_offset(btf, b->name_off);
	return bit % 8 == 0 && !m->bits;
}

/* By name, also in structs without a name that are part of it. */
static bool find_member(const struct btf *btf, const struct btf_type *t, const char *name,
			uint32_t base, struct member *out)
{
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const struct btf_type *inner;

		if (!member_of(btf, t, i, base, out))
			continue;
		if (!strcmp(out->name, name))
			return true;
		inner = bare(btf, &out->type);
		if (!out->name[0] && inner && btf_is_composite(inner) &&
		    find_member(btf, inner, name, out->at, out))
			return true;
	}
	return false;
}

/* Is every one of its fields, or of its own unnamed parts, in the other? */
static bool has_all(const struct btf *btf, const struct btf_type *t, const struct btf *other_btf,
		    const struct btf_type *other)
{
	struct member m, there;

	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		if (!member_of(btf, t, i, 0, &m))
			return false;
		if (m.name[0]) {
			if (!find_member(other_btf, other, m.name, 0, &there))
				return false;
		} else {
			const struct btf_type *inner = bare(btf, &m.type);

			if (!inner || !btf_is_composite(inner) ||
			    !has_all(btf, inner, other_btf, other))
				return false;
		}
	}
	return true;
}

static int differs(struct walk *w, const char *how)
{
	return weir_fail(w->err, ENOTSUP, "field %s %s", w->name, how);
}

/* from, from_at: of the struct as a whole, also while to is one of its unnamed parts. */
static int walk_struct(struct walk *w, const struct btf_type *from, uint32_t from_at,
		       const struct btf_type *to, uint32_t to_at, int depth)
{
	size_t prefix = strlen(w->name);
	int r = 0;

	for (uint32_t i = 0; i < btf_vlen(to) && !r; i++) {
		struct member m, source;
		bool plain = member_of(w->to_btf, to, i, to_at, &m);

		snprintf(w->name + prefix, sizeof(w->name) - prefix, "%s%s", prefix ? "." : "",
			 m.name);
		if (!plain) {
			r = differs(w, "is a bit field");
		} else if (!m.name[0]) {
			const struct btf_type *inner = bare(w->to_btf, &m.type);

			w->name[prefix] = '\0';
			r = inner && btf_is_composite(inner)
				    ? walk_struct(w, from, from_at, inner, m.at, depth)
				    : differs(w, "has a part without a name");
		} else if (find_member(w->from_btf, from, m.name, from_at, &source)) {
			r = walk_type(w, source.type, source.at, m.type, m.at, depth + 1);
		} else {
			w->l->same = false;
		}
		w->name[prefix] = '\0';
	}
	return r;
}

/* Parts of a union share their bytes: copied as they are, or not at all. */
static int walk_union(struct walk *w, const struct btf_type *from, uint32_t from_at,
		      const struct btf_type *to, uint32_t to_at)
{
	if (from->size != to->size || btf_vlen(from) != btf_vlen(to) ||
	    !has_all(w->to_btf, to, w->from_btf, from))
		return differs(w, "is a union that has changed");
	return add_bytes(w, from_at, to_at, to->size);
}

/* Does the move made last copy this much as it is? Then so it does what comes behind. */
static bool copied_whole(const struct weir_layout *l, uint32_t from_end, uint32_t to_end,
			 uint32_t bytes)
{
	const struct move *m = l->n ? &l->moves[l->n - 1] : NULL;

	return m && m->kind == BYTES && m->from_bytes >= bytes &&
	       m->from + m->from_bytes == from_end && m->to + m->to_bytes == to_end;
}

static int walk_array(struct walk *w, const struct btf_type *from, uint32_t from_at,
		      const struct btf_type *to, uint32_t to_at, int depth)
{
	const struct btf_array *a = btf_array(from), *b = btf_array(to);
	int64_t from_each = btf__resolve_size(w->from_btf, a->type);
	int64_t to_each = btf__resolve_size(w->to_btf, b->type);
	uint32_t n = a->nelems < b->nelems ? a->nelems : b->nelems, i = 0;
	int r = 0;

	if (from_each <= 0 || to_each <= 0)
		return differs(w, "is an array of unknown size");
	if (a->nelems != b->nelems)
		w->l->same = false;
	for (; i < n && !r; i++) {
		uint32_t f = from_at + i * (uint32_t)from_each;
		uint32_t t = to_at + i * (uint32_t)to_each;

		r = walk_type(w, a->type, f, b->type, t, depth + 1);
		if (!r && from_each == to_each &&
		    copied_whole(w->l, f + from_each, t + to_each, from_each)) {
			r = add_bytes(w, f + from_each, t + to_each, (n - i - 1) * from_each);
			break;
		}
	}
	if (!r && a->nelems > n)
		r = add(w, (struct move){ .kind = ZERO,
					  .from = from_at + n * (uint32_t)from_each,
					  .from_bytes = (a->nelems - n) * (uint32_t)from_each });
	return r;
}

static bool is_number(const struct btf_type *t)
{
	return btf_is_int(t) || btf_is_any_enum(t);
}

static bool is_signed(const struct btf_type *t)
{
	return btf_is_int(t) ? btf_int_encoding(t) & BTF_INT_SIGNED : btf_kflag(t);
}

static int walk_type(struct walk *w, uint32_t from, uint32_t from_at, uint32_t to, uint32_t to_at,
		     int depth)
{
	const struct btf_type *f = bare(w->from_btf, &from), *t = bare(w->to_btf, &to);

	if (from_at != to_at)
		w->l->same = false;
	if (!f || !t || depth > DEPTH_MAX)
		return differs(w, "is of an unknown type");
	if (is_number(f) && is_number(t)) {
		if (f->size == t->size)
			return add_bytes(w, from_at, to_at, t->size);
		w->l->same = false;
		if (f->size > 8 || t->size > 8)
			return differs(w, "is a number of more than 64 bits");
		return add(w, (struct move){ .kind = NUMBER,
					     .from = from_at,
					     .to = to_at,
					     .from_bytes = f->size,
					     .to_bytes = t->size,
					     .is_signed = is_signed(f) });
	}
	if (btf_is_struct(f) && btf_is_struct(t)) {
		if (f->size != t->size || !has_all(w->from_btf, f, w->to_btf, t))
			w->l->same = false;
		return walk_struct(w, f, from_at, t, to_at, depth);
	}
	if (btf_is_union(f) && btf_is_union(t))
		return walk_union(w, f, from_at, t, to_at);
	if (btf_is_array(f) && btf_is_array(t))
		return walk_array(w, f, from_at, t, to_at, depth);
	return differs(w, "is not what it was");
}

int weir_layout_new(const struct btf *from_btf, uint32_t from, const struct btf *to_btf,
		    uint32_t to, struct weir_layout **out, struct weir_error *err)
{
	int64_t from_bytes = btf__resolve_size(from_btf, from);
	int64_t to_bytes = btf__resolve_size(to_btf, to);
	struct weir_layout *l;
	int r;

	if (from_bytes <= 0 || to_bytes <= 0)
		return weir_fail(err, ENOTSUP, "its types are not known");
	l = calloc(1, sizeof(*l));
	if (!l)
		return weir_fail(err, ENOMEM, "out of memory");
	*l = (struct weir_layout){ .from_bytes = (size_t)from_bytes,
				   .to_bytes = (size_t)to_bytes,
				   .same = from_bytes == to_bytes };
	struct walk w = { .l = l, .from_btf = from_btf, .to_btf = to_btf, .err = err };

	r = walk_type(&w, from, 0, to, 0, 0);
	if (r) {
		weir_layout_free(l);
		return r;
	}
	*out = l;
	return 0;
}

void weir_layout_free(struct weir_layout *l)
{
	if (!l)
		return;
	free(l->moves);
	free(l);
}

bool weir_layout_same(const struct weir_layout *l)
{
	return l->same;
}

size_t weir_layout_from_bytes(const struct weir_layout *l)
{
	return l->from_bytes;
}

size_t weir_layout_to_bytes(const struct weir_layout *l)
{
	return l->to_bytes;
}

static uint64_t load(const uint8_t *p, uint32_t bytes, bool is_signed)
{
	switch (bytes) {
	case 1:
		return is_signed ? (uint64_t)(int8_t)*p : *p;
	case 2: {
		uint16_t v;

		memcpy(&v, p, sizeof(v));
		return is_signed ? (uint64_t)(int16_t)v : v;
	}
	case 4: {
		uint32_t v;

		memcpy(&v, p, sizeof(v));
		return is_signed ? (uint64_t)(int32_t)v : v;
	}
	default: {
		uint64_t v;

		memcpy(&v, p, sizeof(v));
		return v;
	}
	}
}

static void store(uint8_t *p, uint32_t bytes, uint64_t v)
{
	uint8_t v8 = (uint8_t)v;
	uint16_t v16 = (uint16_t)v;
	uint32_t v32 = (uint32_t)v;

	switch (bytes) {
	case 1:
		memcpy(p, &v8, sizeof(v8));
		break;
	case 2:
		memcpy(p, &v16, sizeof(v16));
		break;
	case 4:
		memcpy(p, &v32, sizeof(v32));
		break;
	default:
		memcpy(p, &v, sizeof(v));
	}
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

const char *weir_layout_copy(const struct weir_layout *l, const void *from, void *to)
{
	const uint8_t *f = from;
	uint8_t *t = to;

	memset(to, 0, l->to_bytes);
	for (size_t i = 0; i < l->n; i++) {
		const struct move *m = &l->moves[i];
		uint64_t v;

		switch (m->kind) {
		case BYTES:
			memcpy(t + m->to, f + m->from, m->to_bytes);
			break;
		case NUMBER:
			v = load(f + m->from, m->from_bytes, m->is_signed);
			store(t + m->to, m->to_bytes, v);
			if (load(t + m->to, m->to_bytes, m->is_signed) != v)
				return m->name;
			break;
		case ZERO:
			if (!all_zero(f + m->from, m->from_bytes))
				return m->name;
			break;
		}
	}
	return NULL;
}

bool weir_layout_field(const struct btf *btf, uint32_t type, const char *name, size_t *offset,
		       size_t *bytes)
{
	const struct btf_type *t = bare(btf, &type);
	struct member m;
	int64_t size;

	if (!t || !btf_is_struct(t) || !find_member(btf, t, name, 0, &m))
		return false;
	size = btf__resolve_size(btf, m.type);
	if (size <= 0)
		return false;
	*offset = m.at;
	*bytes = (size_t)size;
	return true;
}
