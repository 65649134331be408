/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's path as servers read it: a client must not be able to dodge a price by spelling the
 * path otherwise.
 */
#ifndef WEIR_PLAIN_PATH_H
#define WEIR_PLAIN_PATH_H

#include <stddef.h>

/* Percent-escapes decoded (but for what would be a control), runs of "/" one, "." and ".." segments
 * taken out (RFC 3986, 5.2.4). out has room for `room` bytes, NUL included; never longer than path.
 */
void weir_plain_path(const char *path, char *out, size_t room);

#endif
