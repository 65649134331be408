/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: in whatever order its lines and its body come, a request's labels (agent/labels.c) are
 * those that a reader of all of it finds, source by source.
 */
#ifndef WEIR_AGREE_LABELS_H
#define WEIR_AGREE_LABELS_H

#include "ref_labels.h"

/* Lines and body in an order of chance. */
static inline void labels_read(const struct weir_label_config *c, const struct ref_lines *lines,
			       const struct bytes *user, uint32_t seed, struct weir_labels *out)
{
	uint8_t order[33];
	size_t n = lines->n + 1;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < n; i++)
		order[i] = (uint8_t)i;
	for (size_t i = n; seed && i > 1; i--) {
		size_t k;
		uint8_t was;

		seed = seed * 1664525 + 1013904223;
		k = (seed >> 8) % i;
		was = order[k];
		order[k] = order[i - 1];
		order[i - 1] = was;
	}
	for (size_t i = 0; i < n; i++) {
		bool body = order[i] == lines->n;
		const struct ref_line *line = body ? NULL : &lines->of[order[i]];
		const struct bytes *from = body ? user : &line->text;
		char *text = own_copy(from->p, from->n);

		if (body)
			weir_labels_body_user(c, out, text, from->n);
		else
			weir_labels_line(c, out, text, from->n, line->flags);
		free(text);
	}
}

static inline void labels_agree(const struct weir_label_config *c, const struct ref_lines *lines,
				const struct bytes *user)
{
	struct weir_labels expected, got;

	ref_labels(c, lines, user, &expected);
	for (uint32_t seed = 0; seed < 4; seed++) {
		labels_read(c, lines, user, seed, &got);
		memset(got.rank, 0, sizeof(got.rank)); /* its own affair */
		memset(got.twice, 0, sizeof(got.twice));
		CHECK(!memcmp(&got, &expected, sizeof(got)));
	}
}

static inline void put_baggage(struct bytes *b, struct input *in)
{
	static const char *const members[] = {
		"user.id=ada",
		"team=red;p=1",
		"cost_center = c%2D7 ",
		"session.id=s%3",
		"enduser.id=%41b",
		"feature=",
		"user.id=%FF",
		"userid=x",
		"team",
		"=x",
		"user.id=a=b",
		"session.id=%6C%6c;x=\",\"",
		"User.id=no",
		"feature=a b",
	};

	for (size_t n = 1 + choose(in, 4); n--;) {
		put_text(b, PICK(in, members));
		if (n)
			put_text(b, choose(in, 4) ? "," : " , ");
	}
}

static inline void put_trace(struct bytes *b, struct input *in)
{
	static const char *const versions[] = {
		"00", "00", "01", "ff", "fe", "0", "0A", "g1", "1g"
	};
	static const char *const traces[] = { "4bf92f3577b34da6a3ce929d0e0e4736",
					      "00000000000000000000000000000000",
					      "00000000000000000000000000000001",
					      "4BF92F3577B34DA6A3CE929D0E0E4736" };
	static const char *const parents[] = { "00f067aa0ba902b7", "0000000000000000",
					       "8000000000000000", "00f067aa0ba902b" };
	static const char *const flags[] = { "01", "00", "01-x", "01x", "1", "01-", "g1" };

	put_format(b, "%s-", PICK(in, versions));
	put_format(b, "%s-", PICK(in, traces));
	put_format(b, "%s-", PICK(in, parents));
	put_text(b, PICK(in, flags));
}

static inline void put_label_line(struct bytes *b, struct input *in)
{
	static const char *const names[] = {
		"x-weir-user",
		"x-weir-team",
		"x-weir-cost-center",
		"x-weir-session",
		"x-weir-feature",
		"traceparent",
		"x-stainless-retry-count",
		"x-request-id",
		"baggage",
		"X-Weir-User",
		"Baggage",
		"TraceParent",
		"x-weir-user ",
		"x-weir-users",
		"",
		"x-own",
	};
	static const char *const values[] = {
		"ada",
		"",
		"0",
		"3",
		"255",
		"256",
		"99999999999999999999",
		"+1",
		"two words",
		"\xc3\xa9",
		"\x7f",
		"0123456789012345678901234567890123456789012345678901234567890123",
		"012345678901234567890123456789012345678901234567890123456789012",
		"01234567890123456789012345678901234567890123456",
		"012345678901234567890123456789012345678901234567",
		"a,b=c",
	};
	const char *name = PICK(in, names);
	size_t how = choose(in, 16);

	put_text(b, name);
	put_text(b, how == 15 ? "" : how & 1 ? ":" : ": ");
	if (!strcasecmp(name, "baggage") && how < 12)
		put_baggage(b, in);
	else if (!strcasecmp(name, "traceparent") && how < 12)
		put_trace(b, in);
	else
		put_text(b, PICK(in, values));
	put_text(b, how & 2 ? " \t" : "");
}

/* Input: how, then for each line its flags and how it is made. */
static inline void labels_claim(const uint8_t *data, size_t size)
{
	static struct weir_label_config c;
	struct input in = { data, data + size };
	uint8_t how = take(&in, 1);
	struct ref_lines lines = { 0 };
	struct bytes user = { 0 };

	weir_label_config_default(&c);
	c.body_user = !(how & 1);
	if (how & 2) { /* one header of two labels, and a label of two headers */
		c.sources[c.n_sources++] = (struct weir_label_source){ WEIR_LABEL_FEATURE,
								       WEIR_LABEL_HEADER, "x-own" };
		c.sources[c.n_sources++] =
			(struct weir_label_source){ WEIR_LABEL_TEAM, WEIR_LABEL_HEADER, "x-own" };
		c.sources[c.n_sources++] = (struct weir_label_source){ WEIR_LABEL_REQUEST_ID,
								       WEIR_LABEL_BAGGAGE, "team" };
	}
	put_text(&user, how & 4 ? "body-user" : how & 8 ? "\xc3\xa9" : "");
	for (lines.n = 0; lines.n < 1u + how / 16; lines.n++) {
		struct ref_line *line = &lines.of[lines.n];
		uint8_t flags = take(&in, 1);

		line->flags = (flags & 1 ? WEIR_LABELS_TRUSTED : 0) |
			      ((flags & 14) == 2 ? WEIR_LINE_CUT : 0);
		put(&line->text, "", 0);
		put_label_line(&line->text, &in);
		if (flags & 128)
			hurt(&line->text, &in);
	}
	labels_agree(&c, &lines, &user);
	for (size_t i = 0; i < lines.n; i++)
		bytes_free(&lines.of[i].text);
	bytes_free(&user);
}

#endif
