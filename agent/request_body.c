// SPDX-License-Identifier: Apache-2.0
#include "request_body.h"

#include <string.h>

#include "clean_text.h"
#include "json_text.h"

void weir_body_init(struct weir_body *b)
{
	*b = (struct weir_body){ .max_tokens = WEIR_UNKNOWN };
}

/* From between the quotes: the kernel copies it with its escapes, and may have cut
 * it inside of one. A name that escapes spell is the same name to the server. */
static void put_model(char *out, size_t size, const char *raw, size_t n)
{
	const uint8_t *p = (const uint8_t *)raw;
	struct weir_string s = { 0 };
	const char *text;
	size_t len;

	weir_string_start(&s);
	if (!weir_string_read(&s, &p, p + n, &text, &len)) {
		text = s.bytes;
		len = s.len;
	}
	weir_clean_text(out, size, text, len);
}

void weir_body_fold(struct weir_body *b, const struct weir_rec_body *rec)
{
	uint32_t n = rec->model_len;

	if (n > sizeof(rec->model))
		n = sizeof(rec->model);
	if (n)
		put_model(b->model, sizeof(b->model), rec->model, n);
	if (rec->max_tokens != UINT64_MAX)
		b->max_tokens = rec->max_tokens > INT64_MAX ? INT64_MAX : (int64_t)rec->max_tokens;
	b->flags |= rec->flags;
}
