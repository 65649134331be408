// SPDX-License-Identifier: Apache-2.0
/* Memory of texts that are written again and again. */
#include "agent/text.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_BYTES 4096

int weir_text_reserve(struct weir_text *t, size_t want)
{
	size_t cap = t->cap ? t->cap : FIRST_BYTES;
	char *p;

	if (want <= t->cap)
		return 0;
	while (cap < want)
		cap *= 2;
	p = realloc(t->p, cap);
	if (!p)
		return -ENOMEM;
	t->p = p;
	t->cap = cap;
	return 0;
}

void weir_text_end(struct weir_text *t, char *end)
{
	*end = '\0';
	t->len = (size_t)(end - t->p);
}

void weir_text_free(struct weir_text *t)
{
	free(t->p);
	*t = (struct weir_text){ 0 };
}
