/* SPDX-License-Identifier: Apache-2.0 */
/* Words for a ledger entry. */
#ifndef WEIR_CMD_LEDGER_TEXT_H
#define WEIR_CMD_LEDGER_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* What one wants to know of an entry besides its figures; "" if there is nothing. */
void ctl_entry_words(const json_t *e, char *out, size_t size);

#endif
