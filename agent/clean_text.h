/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short text from outside (a model's name, a response's id), made fit for logs,
 * events and the ledger: valid UTF-8, no control characters.
 */
#ifndef WEIR_CLEAN_TEXT_H
#define WEIR_CLEAN_TEXT_H

#include <stddef.h>

/* As much of text as fits into dst (NUL padded) and is clean, up to the first
 * character that is not. What has no clean start leaves dst as it is. */
void weir_clean_text(char *dst, size_t size, const char *text, size_t len);

#endif
