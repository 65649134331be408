// SPDX-License-Identifier: Apache-2.0
/*
 * Structs of one version into those of another, by the names of their fields. The types are
 * made up here, in BTF as clang writes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/btf.h>
#include <errno.h>
#include <string.h>

#include "agent/layout.h"

struct types {
	struct btf *btf;
	int u8, u16, u32, u64, s16, s32, s64;
};

static struct types new_types(void)
{
	struct types t = { .btf = btf__new_empty() };

	assert_non_null(t.btf);
	t.u8 = btf__add_int(t.btf, "u8", 1, 0);
	t.u16 = btf__add_int(t.btf, "u16", 2, 0);
	t.u32 = btf__add_int(t.btf, "u32", 4, 0);
	t.u64 = btf__add_int(t.btf, "u64", 8, 0);
	t.s16 = btf__add_int(t.btf, "s16", 2, BTF_INT_SIGNED);
	t.s32 = btf__add_int(t.btf, "s32", 4, BTF_INT_SIGNED);
	t.s64 = btf__add_int(t.btf, "s64", 8, BTF_INT_SIGNED);
	return t;
}

static int add_struct(struct types *t, uint32_t bytes)
{
	return btf__add_struct(t->btf, "element", bytes);
}

static void field(struct types *t, const char *name, int type, uint32_t at)
{
	assert_int_equal(btf__add_field(t->btf, name, type, at * 8, 0), 0);
}

static int array_of(struct types *t, int type, uint32_t n)
{
	return btf__add_array(t->btf, t->u32, type, n);
}

static struct weir_layout *layout(const struct types *from, int f, const struct types *to, int t)
{
	struct weir_layout *l = NULL;
	struct weir_error err;

	if (weir_layout_new(from->btf, f, to->btf, t, &l, &err))
		fail_msg("%s", err.text);
	return l;
}

static void done(struct weir_layout *l, struct types *a, struct types *b)
{
	weir_layout_free(l);
	btf__free(a->btf);
	btf__free(b->btf);
}

static void fields_are_found_by_name_wherever_they_are(void **state)
{
	struct types a = new_types(), b = new_types();
	int f, t;
	struct __attribute__((packed)) {
		uint32_t one;
		uint16_t two, three;
		uint64_t gone;
	} from = { 1, 2, 3, 4 };
	struct __attribute__((packed)) {
		uint64_t added;
		uint16_t three, two;
		uint32_t one;
	} to;

	f = add_struct(&a, 16);
	field(&a, "one", a.u32, 0);
	field(&a, "two", a.u16, 4);
	field(&a, "three", a.u16, 6);
	field(&a, "gone", a.u64, 8);
	t = add_struct(&b, 16);
	field(&b, "added", b.u64, 0);
	field(&b, "three", b.u16, 8);
	field(&b, "two", b.u16, 10);
	field(&b, "one", b.u32, 12);
	struct weir_layout *l = layout(&a, f, &b, t);

	assert_false(weir_layout_same(l));
	memset(&to, 0xff, sizeof(to));
	assert_null(weir_layout_copy(l, &from, &to));
	assert_true(to.one == 1 && to.two == 2 && to.three == 3 && to.added == 0);
	done(l, &a, &b);
}

static void numbers_may_be_wider_and_narrower_if_they_fit(void **state)
{
	struct types a = new_types(), b = new_types();
	int wide, narrow;
	struct {
		int64_t balance;
		uint64_t count;
	} w = { -5, 70000 };
	struct {
		int16_t balance;
		uint16_t pad;
		uint32_t count;
	} n;

	wide = add_struct(&a, 16);
	field(&a, "balance", a.s64, 0);
	field(&a, "count", a.u64, 8);
	narrow = add_struct(&b, 8);
	field(&b, "balance", b.s16, 0);
	field(&b, "count", b.u32, 4);
	struct weir_layout *down = layout(&a, wide, &b, narrow);
	struct weir_layout *up = layout(&b, narrow, &a, wide);

	assert_null(weir_layout_copy(down, &w, &n));
	assert_true(n.balance == -5 && n.count == 70000);
	memset(&w, 0x55, sizeof(w));
	assert_null(weir_layout_copy(up, &n, &w));
	assert_true(w.balance == -5 && w.count == 70000);

	w.count = UINT64_C(1) << 32;
	assert_string_equal(weir_layout_copy(down, &w, &n), "count");
	w.count = UINT32_MAX;
	w.balance = -32769;
	assert_string_equal(weir_layout_copy(down, &w, &n), "balance");
	w.balance = -32768;
	assert_null(weir_layout_copy(down, &w, &n));
	assert_true(n.balance == -32768 && n.count == UINT32_MAX);
	weir_layout_free(up);
	done(down, &a, &b);
}

/* struct { u32 head; struct { u8 tag; u16 n; } items[3]; u8 text[5]; } */
static int nested(struct types *t, bool next, uint32_t items, uint32_t text)
{
	int item = btf__add_struct(t->btf, "item", next ? 8 : 4), s, list, chars;

	field(t, "n", next ? t->u32 : t->u16, next ? 0 : 2);
	field(t, "tag", t->u8, next ? 4 : 0);
	list = array_of(t, item, items);
	chars = array_of(t, t->u8, text);
	s = add_struct(t, 4 + items * (next ? 8 : 4) + text);
	field(t, "items", list, 4);
	field(t, "text", chars, 4 + items * (next ? 8 : 4));
	field(t, "head", t->u32, 0);
	return s;
}

static void structs_and_arrays_inside_are_followed(void **state)
{
	struct types a = new_types(), b = new_types();
	int f = nested(&a, false, 3, 5), t = nested(&b, true, 4, 5);
	struct __attribute__((packed)) {
		uint32_t head;
		struct {
			uint8_t tag;
			uint16_t n;
		} items[3];
		char text[5];
	} from = { 9, { { 1, 10 }, { 2, 20 }, { 3, 30 } }, "weir" }, back;
	struct __attribute__((packed)) {
		uint32_t head;
		struct {
			uint32_t n;
			uint8_t tag;
		} items[4];
		char text[5];
	} to;
	struct weir_layout *up = layout(&a, f, &b, t), *down = layout(&b, t, &a, f);

	assert_int_equal(weir_layout_from_bytes(up), sizeof(from));
	assert_int_equal(weir_layout_to_bytes(up), sizeof(to));
	memset(&to, 0xff, sizeof(to));
	assert_null(weir_layout_copy(up, &from, &to));
	assert_int_equal(to.head, 9);
	for (int i = 0; i < 3; i++)
		assert_true(to.items[i].tag == i + 1 && to.items[i].n == 10 * (i + 1u));
	assert_true(!to.items[3].tag && !to.items[3].n);
	assert_string_equal(to.text, "weir");

	memset(&back, 0, sizeof(back));
	assert_null(weir_layout_copy(down, &to, &back));
	for (int i = 0; i < 3; i++)
		assert_true(back.items[i].tag == i + 1 && back.items[i].n == 10 * (i + 1));
	/* The fourth has no place there any more: it must be empty. */
	to.items[3].tag = 1;
	assert_string_equal(weir_layout_copy(down, &to, &back), "items");
	to.items[3].tag = 0;
	to.items[1].n = 65536;
	assert_string_equal(weir_layout_copy(down, &to, &back), "items.n");
	weir_layout_free(up);
	done(down, &a, &b);
}

static void the_same_is_seen_to_be_the_same(void **state)
{
	struct types a = new_types(), b = new_types();
	struct weir_layout *l;
	uint8_t from[21], to[21];

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 11);
	l = layout(&a, nested(&a, false, 3, 5), &b, nested(&b, false, 3, 5));
	assert_true(weir_layout_same(l));
	assert_null(weir_layout_copy(l, from, to));
	assert_memory_equal(from, to, 4);
	assert_memory_equal(from + 16, to + 16, 5);
	weir_layout_free(l);
	/* Nothing but an array's length, or a field at the end. */
	l = layout(&a, nested(&a, false, 3, 5), &b, nested(&b, false, 3, 6));
	assert_false(weir_layout_same(l));
	done(l, &a, &b);
}

static void a_field_that_is_gone_is_a_difference(void **state)
{
	struct types a = new_types(), b = new_types();
	int f = add_struct(&a, 8), t;

	field(&a, "one", a.u32, 0);
	field(&a, "two", a.u32, 4);
	t = add_struct(&b, 8);
	field(&b, "one", b.u32, 0);
	struct weir_layout *l = layout(&a, f, &b, t);

	assert_false(weir_layout_same(l));
	done(l, &a, &b);
}

static void fields_of_unnamed_parts_count_as_the_structs_own(void **state)
{
	struct types a = new_types(), b = new_types();
	int part, f, t;
	uint32_t from[3] = { 1, 2, 3 }, to[3];

	part = btf__add_struct(a.btf, NULL, 8);
	field(&a, "two", a.u32, 0);
	field(&a, "three", a.u32, 4);
	f = add_struct(&a, 12);
	field(&a, "one", a.u32, 0);
	field(&a, NULL, part, 4);
	t = add_struct(&b, 12);
	field(&b, "three", b.u32, 0);
	field(&b, "two", b.u32, 4);
	field(&b, "one", b.u32, 8);
	struct weir_layout *l = layout(&a, f, &b, t), *back = layout(&b, t, &a, f);

	assert_null(weir_layout_copy(l, from, to));
	assert_true(to[0] == 3 && to[1] == 2 && to[2] == 1);
	memset(from, 0, sizeof(from));
	assert_null(weir_layout_copy(back, to, from));
	assert_true(from[0] == 1 && from[1] == 2 && from[2] == 3);
	weir_layout_free(back);
	done(l, &a, &b);
}

static void what_is_of_another_kind_is_refused_by_name(void **state)
{
	struct types a = new_types(), b = new_types();
	struct weir_layout *l = NULL;
	struct weir_error err;
	int inner, f, t;

	inner = btf__add_struct(a.btf, "item", 4);
	field(&a, "tag", a.u32, 0);
	f = add_struct(&a, 4);
	field(&a, "one", inner, 0);
	t = add_struct(&b, 4);
	field(&b, "one", b.u32, 0);
	assert_int_equal(weir_layout_new(a.btf, f, b.btf, t, &l, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "field one is not what it was"));
	assert_null(l);
	btf__free(a.btf);
	btf__free(b.btf);
}

static void a_field_is_found_with_its_place_and_size(void **state)
{
	struct types a = new_types();
	int s = nested(&a, false, 3, 5);
	size_t at, bytes;

	assert_true(weir_layout_field(a.btf, s, "text", &at, &bytes));
	assert_int_equal(at, 16);
	assert_int_equal(bytes, 5);
	assert_false(weir_layout_field(a.btf, s, "tag", &at, &bytes));
	assert_false(weir_layout_field(a.btf, a.u32, "text", &at, &bytes));
	btf__free(a.btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_found_by_name_wherever_they_are),
		cmocka_unit_test(numbers_may_be_wider_and_narrower_if_they_fit),
		cmocka_unit_test(structs_and_arrays_inside_are_followed),
		cmocka_unit_test(the_same_is_seen_to_be_the_same),
		cmocka_unit_test(a_field_that_is_gone_is_a_difference),
		cmocka_unit_test(fields_of_unnamed_parts_count_as_the_structs_own),
		cmocka_unit_test(what_is_of_another_kind_is_refused_by_name),
		cmocka_unit_test(a_field_is_found_with_its_place_and_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
