/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one version's struct is in another's, by the names of its fields. The kernel keeps the
 * types of every map's keys and values (BTF), so maps that another version of the agent made
 * say themselves where everything is: one mechanism, nothing to write per version.
 *
 * A field of the same name is copied wherever it is; a whole number may be wider or narrower,
 * and what does not fit is an error. A field that is new is 0, which must mean what was before
 * there was such a field; one that is gone is left out.
 */
#ifndef WEIR_LAYOUT_H
#define WEIR_LAYOUT_H

#include <bpf/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct weir_layout;

/* How `to` (a type of to_btf) is filled from `from`. -ENOTSUP: a field of that name is of
 * another kind, which err names. The layout does not need the BTF any more. */
int weir_layout_new(const struct btf *from_btf, uint32_t from, const struct btf *to_btf,
		    uint32_t to, struct weir_layout **out, struct weir_error *err);

/* NULL is fine. */
void weir_layout_free(struct weir_layout *l);

/* Same size, same fields, same places. */
bool weir_layout_same(const struct weir_layout *l);

size_t weir_layout_from_bytes(const struct weir_layout *l);
size_t weir_layout_to_bytes(const struct weir_layout *l);

/* All of *to is written, with zeros where nothing comes from *from. NULL, or the name of a
 * field whose value does not fit: then *to is of no use. */
const char *weir_layout_copy(const struct weir_layout *l, const void *from, void *to);

/* Where a struct has a field, and how long it is. false: it has none. */
bool weir_layout_field(const struct btf *btf, uint32_t type, const char *name, size_t *offset,
		       size_t *bytes);

#endif
