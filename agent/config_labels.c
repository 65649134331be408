/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.json's `labels`: where requests say who and what they are for. A list that is given takes
 * the place of that label's defaults, an empty one turns the source off.
 *
 * Lines of the head leave the kernel for these names, so names of secrets are refused, and those
 * that the kernel could not tell from one.
 */
#include <string.h>

#include "config_read.h"

#define NAMES_OF_ONE 8 /* of one label, and of one kind */

/* Secrets, and what says where a request ends or whose it is. */
static const char *const never[] = {
	"authorization",
	"proxy-authorization",
	"x-api-key",
	"api-key",
	"x-goog-api-key",
	"cookie",
	"set-cookie",
	"x-weir-tenant",
	"host",
	"content-length",
	"content-encoding",
	"transfer-encoding",
	"connection",
	"keep-alive",
	"expect",
	"upgrade",
	"te",
	"trailer",
	NULL,
};

static const char *const baggage_labels[] = {
	"user", "team", "cost_center", "session", "feature", NULL,
};

/* RFC 9110 5.6.2; what names of headers and keys of baggage are made of. */
static bool is_token(const char *s)
{
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		      (*s >= '0' && *s <= '9') || strchr("!#$%&'*+-.^_`|~", *s)))
			return false;
	return true;
}

/* One of `never`, or one that begins like it as far as the kernel looks. */
static const char *never_like(const char *name)
{
	struct weir_line_name a, b;

	weir_label_line_name(name, &a);
	for (size_t i = 0; never[i]; i++) {
		weir_label_line_name(never[i], &b);
		if (!memcmp(a.word, b.word, sizeof(a.word)))
			return never[i];
	}
	return NULL;
}

static int check_header(const struct weir_json *at, const char *name, struct weir_error *err)
{
	const char *like = never_like(name);

	if (!strcmp(name, "baggage"))
		return weir_json_refuse(at, err, "is read by \"labels.baggage\"");
	if (like && !strcmp(like, name))
		return weir_json_refuse(at, err, "is a header that is never read for a label");
	if (like)
		return weir_json_refuse(at, err,
					"begins like \"%s\", which is never read for a label: the "
					"kernel looks at 16 bytes",
					like);
	return 0;
}

static int add(const struct weir_json *at, struct weir_label_config *l, uint8_t label,
	       enum weir_label_kind kind, const char *name, struct weir_error *err)
{
	struct weir_label_source *s = &l->sources[l->n_sources];

	if (l->n_sources == WEIR_LABEL_SOURCES)
		return weir_json_fail(at, err, "more than %d names in all", WEIR_LABEL_SOURCES);
	*s = (struct weir_label_source){ .label = label, .kind = (uint8_t)kind };
	memcpy(s->name, name, strlen(name));
	for (char *c = s->name; kind == WEIR_LABEL_HEADER && *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c | 0x20);
	for (size_t i = 0; i < l->n_sources; i++)
		if (l->sources[i].label == label && l->sources[i].kind == kind &&
		    !strcmp(l->sources[i].name, s->name))
			return weir_json_refuse(at, err, "is listed twice");
	l->n_sources++;
	return kind == WEIR_LABEL_HEADER ? check_header(at, s->name, err) : 0;
}

static int read_list(const struct weir_json *at, struct weir_label_config *l, uint8_t label,
		     enum weir_label_kind kind, struct weir_error *err)
{
	int r = weir_json_array(at, 0, NAMES_OF_ONE, err);

	for (size_t i = 0; !r && i < json_array_size(at->v); i++) {
		struct weir_json item = weir_json_element(at, i);
		const char *name;

		r = weir_json_string(&item, WEIR_LABEL_NAME_BYTES - 1, &name, err);
		if (r)
			return r;
		if (!is_token(name))
			return weir_json_refuse(&item, err, "is not a name of %s",
						kind == WEIR_LABEL_HEADER ? "a header"
									  : "a baggage member");
		r = add(&item, l, label, kind, name, err);
	}
	return r;
}

/* Those of one label and kind: as listed in `in`, which may be NULL, or the defaults. */
static int read_sources(const struct weir_json *at, const struct weir_json *in,
			struct weir_label_config *l, uint8_t label, enum weir_label_kind kind,
			struct weir_error *err)
{
	struct weir_label_config defaults;
	struct weir_json list;
	int r = 0;

	if (in && weir_json_get(in, weir_label_names[label], &list))
		return read_list(&list, l, label, kind, err);
	weir_label_config_default(&defaults);
	for (size_t i = 0; !r && i < defaults.n_sources; i++)
		if (defaults.sources[i].label == label && defaults.sources[i].kind == kind)
			r = add(at, l, label, kind, defaults.sources[i].name, err);
	return r;
}

/* The kernel's list has so much room. */
static int check_lines(const struct weir_json *at, const struct weir_label_config *l,
		       struct weir_error *err)
{
	struct weir_line_name seen[WEIR_LABEL_SOURCES], name;
	size_t n = 0, j;

	for (size_t i = 0; i < l->n_sources; i++) {
		bool is_header = l->sources[i].kind == WEIR_LABEL_HEADER;

		weir_label_line_name(is_header ? l->sources[i].name : "baggage", &name);
		for (j = 0; j < n && memcmp(&seen[j], &name, sizeof(name)); j++)
			;
		if (j == n)
			seen[n++] = name;
	}
	if (n > WEIR_LINE_NAMES)
		return weir_json_fail(at, err, "%zu different headers, at most %d may be there", n,
				      WEIR_LINE_NAMES);
	return 0;
}

int config_read_labels(const struct weir_json *root, struct weir_agent_config *c,
		       struct weir_error *err)
{
	static const char *const fields[] = { "user",	 "team",      "cost_center", "session",
					      "feature", "trace_id",  "request_id",  "retry_count",
					      "baggage", "body_user", "body_bytes",  NULL };
	struct weir_label_config *l = &c->labels, defaults;
	struct weir_json at, baggage, child, *baggage_at = NULL;
	int r;

	_Static_assert(sizeof(fields) / sizeof(*fields) == WEIR_LABEL_MAX + 4, "fields");
	weir_label_config_default(&defaults);
	*l = defaults;
	if (!weir_json_get(root, "labels", &at))
		return 0;
	r = weir_json_object(&at, fields, err);
	if (!r && weir_json_get(&at, "baggage", &baggage)) {
		baggage_at = &baggage;
		r = weir_json_object(baggage_at, baggage_labels, err);
	}
	l->n_sources = 0;
	for (uint8_t label = 0; !r && label < WEIR_LABEL_MAX; label++) {
		r = read_sources(&at, &at, l, label, WEIR_LABEL_HEADER, err);
		if (!r)
			r = read_sources(&at, baggage_at, l, label, WEIR_LABEL_BAGGAGE, err);
	}
	if (!r)
		r = check_lines(&at, l, err);
	if (!r && weir_json_get(&at, "body_user", &child))
		r = weir_json_bool(&child, &l->body_user, err);
	if (!r)
		r = config_u32(&at, "body_bytes", 0, WEIR_ASKED_MAX, &l->asked_bytes, err);
	return r;
}
