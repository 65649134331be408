/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All *.json of a folder as one document: which files, who says what, who may
 * replace whom. It looks at the top two levels only and knows no limit or price.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_read.h"

/* Where `weirctl tier set` and `tenant set` write: replaces what other files say. */
#define LOCAL_FILE "90-local.json"
#define FILES_MAX  1000

static const char *const section_names[POLICY_SECTIONS] = {
	[POLICY_TOP] = NULL,
	[POLICY_TIERS] = "tiers",
	[POLICY_TENANTS] = "tenants",
	[POLICY_PACKS] = "packs",
};

/* ------------------------------------------------------------------------ files */

static int is_policy_file(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	/* an editor's ".10-tiers.json.swp" and the like are not meant */
	return e->d_name[0] != '.' && n > 5 && !strcmp(e->d_name + n - 5, ".json");
}

/* By bytes, whatever the locale: the order decides who may replace whom. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_files(const char *dir, struct policy_files *f, struct weir_error *err)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_policy_file, by_name), r = 0;

	if (n < 0)
		return weir_fail(err, errno, "%s: cannot be read: %s", dir, strerror(errno));
	if (n == 0)
		r = weir_fail(err, ENOENT, "%s: no *.json file in it", dir);
	else if (n > FILES_MAX)
		r = weir_fail(err, E2BIG, "%s: more than %d files", dir, FILES_MAX);
	f->names = r ? NULL : calloc((size_t)n, sizeof(*f->names));
	f->documents = r ? NULL : calloc((size_t)n, sizeof(json_t *));
	if (!r && (!f->names || !f->documents))
		r = weir_fail(err, ENOMEM, "out of memory");
	for (int i = 0; i < n; i++) {
		if (!r) {
			f->names[i] = strdup(entries[i]->d_name);
			f->n = (size_t)i + 1;
			if (!f->names[i])
				r = weir_fail(err, ENOMEM, "out of memory");
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

/* -------------------------------------------------------------------- who says what */

static int take(struct policy_files *f, enum policy_section s, size_t file,
		const struct weir_json *at, struct weir_error *err)
{
	json_t *owner = json_object_get(f->owner[s], at->key);

	if (owner && strcmp(f->names[file], LOCAL_FILE) != 0)
		return weir_json_fail(at, err, "\"%s\" is defined in %s already", at->key,
				      f->names[json_integer_value(owner)]);
	if (json_object_set(f->items[s], at->key, at->v) ||
	    json_object_set_new(f->owner[s], at->key, json_integer((json_int_t)file)))
		return weir_fail(err, ENOMEM, "out of memory");
	return 0;
}

static int take_section(struct policy_files *f, enum policy_section s, size_t file,
			const struct weir_json *root, struct weir_error *err)
{
	struct weir_json at, item;
	const char *name;
	json_t *v;
	int r;

	if (!weir_json_get(root, section_names[s], &at))
		return 0;
	r = weir_json_map(&at, err);
	if (r)
		return r;
	json_object_foreach(at.v, name, v)
	{
		item = weir_json_member(&at, name, v);
		r = take(f, s, file, &item, err);
		if (r)
			return r;
	}
	return 0;
}

static int take_file(struct policy_files *f, size_t file, struct weir_error *err)
{
	static const char *const fields[] = { "tiers",	     "tenants",	   "default_tenant",
					      "unknown_key", "rate_cards", "packs",
					      NULL };
	static const char *const scalars[] = { "default_tenant", "unknown_key" };
	struct weir_json root = weir_json_root(f->documents[file], f->names[file], false), at;
	int r = weir_json_object(&root, fields, err);

	for (size_t i = 0; i < 2 && !r; i++)
		if (weir_json_get(&root, scalars[i], &at))
			r = take(f, POLICY_TOP, file, &at, err);
	for (int s = POLICY_TIERS; s < POLICY_SECTIONS && !r; s++)
		r = take_section(f, (enum policy_section)s, file, &root, err);
	return r;
}

int policy_files_read(const char *dir, struct policy_files *f, struct weir_error *err)
{
	int r;

	*f = (struct policy_files){ 0 };
	r = list_files(dir, f, err);
	for (int s = 0; s < POLICY_SECTIONS && !r; s++) {
		f->items[s] = json_object();
		f->owner[s] = json_object();
		if (!f->items[s] || !f->owner[s])
			r = weir_fail(err, ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < f->n && !r; i++) {
		weir_autofree char *path = NULL;

		if (asprintf(&path, "%s/%s", dir, f->names[i]) < 0) {
			path = NULL;
			r = weir_fail(err, ENOMEM, "out of memory");
			break;
		}
		r = weir_json_read(path, f->names[i], &f->documents[i], err);
		if (!r)
			r = take_file(f, i, err);
	}
	if (r)
		policy_files_free(f);
	return r;
}

void policy_files_free(struct policy_files *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->names[i]);
		json_decref(f->documents[i]);
	}
	free(f->names);
	free(f->documents);
	for (int s = 0; s < POLICY_SECTIONS; s++) {
		json_decref(f->items[s]);
		json_decref(f->owner[s]);
	}
	*f = (struct policy_files){ 0 };
}

bool policy_place(const struct policy_files *f, enum policy_section s, const char *name,
		  struct policy_place *out)
{
	const char *key;
	json_t *owner = json_object_get(f->owner[s], name), *v;
	void *iter = json_object_iter_at(f->items[s], name);
	size_t file;

	if (!owner || !iter)
		return false;
	file = (size_t)json_integer_value(owner);
	key = json_object_iter_key(iter); /* lives as long as the files, name may not */
	v = json_object_iter_value(iter);
	out->root = weir_json_root(f->documents[file], f->names[file], false);
	if (s == POLICY_TOP) {
		out->item = weir_json_member(&out->root, key, v);
		return true;
	}
	out->section = weir_json_member(&out->root, section_names[s],
					json_object_get(f->documents[file], section_names[s]));
	out->item = weir_json_member(&out->section, key, v);
	return true;
}
