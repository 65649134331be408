/* SPDX-License-Identifier: Apache-2.0 */
/* What a request's body says, by jansson: a whole document that it takes, no key twice. */
#ifndef WEIR_REF_ASKED_H
#define WEIR_REF_ASKED_H

#include <jansson.h>

#include "agent/asked.h"
#include "agent/clean_text.h"
#include "agent/row.h"
#include "bytes.h"

struct ref_asked {
	bool stream, include_usage;
	bool unsure; /* 12.0 is a count, 1.2e1 and -0 are none: to jansson they are numbers like
			others */
	int64_t max_tokens, choices;
	char model[64], user[64];
};

static inline void ref_largest(struct ref_asked *a, const json_t *in, const char *key, int64_t *out)
{
	const json_t *v = json_object_get(in, key);

	if (json_is_integer(v) && json_integer_value(v) > *out)
		*out = json_integer_value(v);
	a->unsure |= json_is_real(v) || (json_is_integer(v) && !json_integer_value(v));
}

/* Visible ASCII that fits: else "". */
static inline void ref_asked_user(const json_t *v, char *out, size_t size)
{
	const char *text = json_string_value(v);

	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~')
			return;
	if (strlen(text) < size)
		memcpy(out, text, strlen(text));
}

/* false: jansson does not take it. */
static inline bool ref_asked(const uint8_t *p, size_t n, struct ref_asked *a)
{
	static const char *const more[] = { "parameters", "sampling_params", "options" };
	static const char *const limits[] = { "max_tokens", "max_completion_tokens",
					      "max_output_tokens", "n_predict" };
	static const char *const limits_inside[] = { "max_tokens", "max_new_tokens",
						     "num_predict" };
	json_t *root = json_loadb((const char *)p, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *v;

	*a = (struct ref_asked){ .max_tokens = WEIR_UNKNOWN, .choices = WEIR_UNKNOWN };
	/* A NUL behind a number is none of JSON's blanks; jansson takes it. */
	if (!json_is_object(root) || memchr(p, '\0', n)) {
		json_decref(root);
		return false;
	}
	v = json_object_get(root, "model");
	if (json_is_string(v))
		weir_clean_text(a->model, sizeof(a->model), json_string_value(v),
				json_string_length(v));
	v = json_object_get(root, "user");
	if (!json_is_string(v))
		v = json_object_get(json_object_get(root, "metadata"), "user_id");
	if (json_is_string(v))
		ref_asked_user(v, a->user, sizeof(a->user));
	a->stream = json_is_true(json_object_get(root, "stream"));
	a->include_usage = json_is_true(
		json_object_get(json_object_get(root, "stream_options"), "include_usage"));
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		ref_largest(a, root, limits[i], &a->max_tokens);
	ref_largest(a, root, "n", &a->choices);
	ref_largest(a, root, "best_of", &a->choices);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		const json_t *inside = json_object_get(root, more[i]);

		for (size_t k = 0; k < sizeof(limits_inside) / sizeof(limits_inside[0]); k++)
			ref_largest(a, inside, limits_inside[k], &a->max_tokens);
		ref_largest(a, inside, "n", &a->choices);
		ref_largest(a, inside, "best_of", &a->choices);
	}
	json_decref(root);
	return true;
}

#endif
