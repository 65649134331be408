/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every module leans on: clean-up attributes, errors with text for the
 * user, the log, hex, time.
 */
#ifndef WEIR_UTIL_H
#define WEIR_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An error for the user: what, on what, what to do; one line, no newline.
 * Low layers fill it in and return -errno; only the top prints it. */
struct weir_error {
	char text[512];
};

/* Fills err (may be NULL) and returns -errnum, so: return weir_fail(err, ENOENT, "…"). */
int weir_fail(struct weir_error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define WEIR_CLEANUP(f) __attribute__((cleanup(f)))
void weir_free_ptr(void *pp); /* free(*pp) */
void weir_close_fd(int *fd);  /* close if >= 0 */
#define weir_autofree  WEIR_CLEANUP(weir_free_ptr)
#define weir_autoclose WEIR_CLEANUP(weir_close_fd)

/* The log goes to stderr, one line a message, "<3>"-style priorities when the
 * journal listens. Never a key, never prompt or completion text. */
enum weir_level { WEIR_ERR = 3, WEIR_WARN = 4, WEIR_NOTE = 5, WEIR_INFO = 6, WEIR_DEBUG = 7 };
void weir_log(enum weir_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void weir_log_max(enum weir_level level); /* quieter or louder than WEIR_INFO, the default */

/* Unix time in ns, as it is believed (clock.h); CLOCK_MONOTONIC in ns. */
#define WEIR_SECOND UINT64_C(1000000000)
uint64_t weir_wall_ns(void);
uint64_t weir_mono_ns(void);

#define WEIR_TIME_TEXT 32
/* RFC 3339 UTC with as many decimals as it takes ("2026-11-01T00:00:00.25Z"). */
void weir_time_format(uint64_t wall_ns, char out[static WEIR_TIME_TEXT]);
/* RFC 3339 with zone offset, at most nine decimals, from 1970 to what 64 bits of ns
 * hold (2554). No leap seconds: Unix time has none. 0 or -EINVAL. */
int weir_time_parse(const char *text, uint64_t *wall_ns);

void weir_hex(const void *bytes, size_t n, char *out /* 2n + 1 */);
int weir_unhex(const char *text, void *out, size_t n); /* exactly 2n digits, else -EINVAL */

/* [a-z0-9_-]{1,63}: tenant and node names are NATS subject tokens. */
bool weir_name_ok(const char *name);
#define WEIR_NAME_BYTES 64
/* A tenant's name, or a scope's, which is "tenant@service". */
#define WEIR_ENTRY_NAME_BYTES (2 * WEIR_NAME_BYTES)

/* Shell-style glob with * and ? only, whole string, bytes, case-sensitive. At most
 * pattern x text steps, whatever the pattern. */
bool weir_glob(const char *pattern, const char *text);

#endif
