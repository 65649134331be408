/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of lane_verify.h. Nobody else includes this. */
#ifndef WEIR_LANE_VERIFY_PRIV_H
#define WEIR_LANE_VERIFY_PRIV_H

#include "lane_verify.h"

/* v->stream is known. Fills from and to, of the stream and the ledger; *start is the stream
 * sequence number behind which nothing may be dropped meanwhile. */
int weir_lane_expect(const struct weir_lane_check *c, const struct weir_lane_query *lane,
		     struct weir_lane_verified *v, uint64_t *start, struct weir_error *err);

/* What was dropped while it was read might have been what is missing: -EAGAIN. */
int weir_lane_expect_still(const struct weir_lane_check *c, const struct weir_lane_verified *v,
			   uint64_t start, struct weir_error *err);

#endif
