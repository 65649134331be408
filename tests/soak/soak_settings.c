// SPDX-License-Identifier: Apache-2.0
/* The client's settings, by name. */
#include "soak_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void soak_read_setting(struct soak_settings *set, const char *text)
{
	const struct {
		const char *name;
		unsigned *value;
	} known[] = {
		{ "tenants", &set->tenants },
		{ "first", &set->first },
		{ "connections", &set->connections },
		{ "streams", &set->streams },
		{ "pieces", &set->pieces },
		{ "gap", &set->gap },
		{ "even", &set->even },
		{ "asks", &set->asks },
		{ "unknown", &set->unknown },
		{ "aborts", &set->aborts },
		{ "closes", &set->closes },
		{ "syns", &set->syns },
		{ "opens", &set->opens },
		{ "rest", &set->rest },
		{ "seed", &set->seed },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		size_t n = strlen(known[i].name);

		if (!strncmp(text, known[i].name, n) && text[n] == '=') {
			*known[i].value = (unsigned)strtoul(text + n + 1, NULL, 10);
			return;
		}
	}
	fprintf(stderr, "soak_client: no setting \"%s\"\n", text);
	exit(2);
}
