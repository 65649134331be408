/* SPDX-License-Identifier: Apache-2.0 */
/* The names of request lines that are shipped, as the kernel looks them up. */
#ifndef WEIR_KERNEL_LINES_H
#define WEIR_KERNEL_LINES_H

#include <stdint.h>

#include "bpf/weir_abi.h"

/* Store n names with their line_bits, chained; programs may be running on them. What is so already
 * is not touched. */
void weir_lines_store(struct weir_config *c,
		      const struct weir_line_name names[static WEIR_LINE_NAMES], uint32_t n,
		      uint64_t bits);

#endif
