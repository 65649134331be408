/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the files that read agent.json share the work. Nobody else includes this.
 */
#ifndef WEIR_CONFIG_READ_H
#define WEIR_CONFIG_READ_H

#include "config.h"
#include "json.h"

/* The whole number `field`, if it is there, else *out stays. */
int config_u32(const struct weir_json *at, const char *field, int64_t min, int64_t max,
	       uint32_t *out, struct weir_error *err);

/* Likewise an absolute path of fewer than `size` bytes: the agent changes directory. */
int config_path(const struct weir_json *at, const char *field, char *out, size_t size,
		struct weir_error *err);

/* `nats`: where it is, and as whom the agent comes. */
int config_read_nats(const struct weir_json *root, struct weir_nats_config *c,
		     struct weir_error *err);

/* What says how requests are told apart: free_paths, free_options, trusted_sources, and
 * how long a head or a silence may last; with their defaults. */
int config_read_forms(const struct weir_json *root, struct weir_agent_config *c,
		      struct weir_error *err);

/* `labels`: where requests say what they are for, and how much of their bodies is read. */
int config_read_labels(const struct weir_json *root, struct weir_agent_config *c,
		       struct weir_error *err);

#endif
