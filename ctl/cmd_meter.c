/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl meter add. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static int show_metered(struct ctl *c, const json_t *m)
{
	const json_t *card = json_object_get(m, "rate_card");
	char a[CTL_CELL], b[CTL_CELL];

	printf("%s %s ",
	       json_is_true(json_object_get(m, "repeated")) ? "had already entered" : "entered",
	       ctl_text(m, "quantity", a));
	printf("%s of %s: ", ctl_text(m, "dimension", a), ctl_text(m, "tenant", b));
	if (json_is_object(card)) {
		printf("%s credits by ", ctl_text(m, "price", a));
		printf("%s/%s", ctl_text(card, "name", a), ctl_text(card, "version", b));
	} else {
		printf("unpriced, no card in force has a price for it");
	}
	printf("; balance of %s %s ", ctl_text(m, "wallet", a), ctl_text(m, "balance", b));
	printf("(entry %" PRId64 ")\n", ctl_int(m, "seq"));
	if (c->id_made_up)
		printf("id %s\n", c->id);
	return CTL_DONE;
}

int ctl_meter_add(struct ctl *c)
{
	static const struct {
		const char *option, *field;
	} texts[] = {
		{ "--model", "model" },	    { "--service", "service" }, { "--feature", "feature" },
		{ "--session", "session" }, { "--reason", "reason" },
	};
	const char *when = ctl_value(c, "--at");
	char at[WEIR_TIME_TEXT];
	json_t *o;

	if (when && ctl_time("--at", when, -1, at))
		return CTL_USAGE;
	o = ctl_op(c, "meter.add");
	ctl_set(o, "dimension", c->args[1]);
	ctl_set(o, "quantity", c->args[2]);
	ctl_set(o, "at", when ? at : NULL);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		ctl_set(o, texts[i].field, ctl_value(c, texts[i].option));
	return ctl_show(c, o, show_metered);
}
