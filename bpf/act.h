/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is to become of a packet from the client. The functions that find out return it to
 * the one place that does it: a chain of calls has 512 bytes of stack between them.
 */
#ifndef WEIR_ACT_H
#define WEIR_ACT_H

#include "maps.h"

enum weir_act {
	WEIR_ACT_PASS,
	WEIR_ACT_DROP,
	WEIR_ACT_REFUSE,      /* as s->refusal says */
	WEIR_ACT_REFUSE_BODY, /* as above; it was admitted */
	WEIR_ACT_CLOSE,	      /* both ends, for s->reason */
	WEIR_ACT_REQUEST,     /* a head is whole: judge it */
	WEIR_ACT_BODY,	      /* a request was admitted: its body begins */
	WEIR_ACT_BODY_MORE,   /* bytes of a body that is read */
};

weir_inline int weir_pass(weir_u32 reason)
{
	weir_count(reason);
	return WEIR_ACT_PASS;
}

weir_inline int weir_drop(weir_u32 reason)
{
	weir_count(reason);
	return WEIR_ACT_DROP;
}

weir_inline int weir_close(struct weir_scratch *s, weir_u32 reason)
{
	s->reason = reason;
	return WEIR_ACT_CLOSE;
}

#endif
