/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes the words of a refusal: runs a template (weir_abi.h) that user space
 * rendered, filling in figures. Like the head scanner it keeps its state in map
 * memory and moves in small steps, each of which the verifier sees alike: fetch
 * an op, or copy eight bytes.
 */
#ifndef WEIR_REPLY_TEXT_H
#define WEIR_REPLY_TEXT_H

#include "base.h"

struct weir_writer_state {
	weir_u32 out;	    /* bytes written */
	weir_u32 op;	    /* next op */
	weir_u32 from;	    /* copying: next byte of the source */
	weir_u32 left;	    /* copying: bytes to go */
	weir_u32 figure;    /* copying from `digits` and not from the template */
	weir_u32 length_at; /* where Content-Length's four columns are */
	weir_u32 body_at;
	weir_u32 done;
	weir_u64 figures[WEIR_FIG_MAX];
	weir_u8 digits[64];
	weir_u8 bytes[WEIR_REPLY_MAX + 64] __attribute__((aligned(8)));
};

/* v in decimal, right aligned so that it ends before w->digits[end], with at least
 * `least` digits. Returns its start. */
weir_global weir_u32 weir_write_decimal(struct weir_writer_state *w, weir_u32 end, weir_u64 v,
					weir_u32 least)
{
	weir_u32 at = end;

	if (!w)
		return 0;

#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < 20; i++) {
		if (i >= least && !v)
			break;
		at = (end - 1 - i) & 63;
		weir_opaque(at);
		w->digits[at & 63] = '0' + v % 10;
		v /= 10;
	}
	return at;
}

/* Days since 1970-01-01 to a civil date: H. Hinnant, "chrono-compatible
 * low-level date algorithms", for days >= 0. */
weir_inline void weir_civil(weir_u32 days, weir_u32 *y, weir_u32 *m, weir_u32 *d)
{
	weir_u32 z = days + 719468;
	weir_u32 era = z / 146097;
	weir_u32 doe = z - era * 146097;
	weir_u32 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	weir_u32 doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	weir_u32 mp = (5 * doy + 2) / 153;

	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = yoe + era * 400 + (*m <= 2);
}

weir_inline void weir_two(weir_u8 *p, weir_u32 v)
{
	p[0] = '0' + v / 10 % 10;
	p[1] = '0' + v % 10;
}

/* "2026-11-21T10:00:00Z" at digits[0..19]. */
weir_inline void weir_write_time(weir_u8 *digits, weir_u64 wall_ns)
{
	weir_u64 s = (wall_ns + 999999999) / 1000000000;
	weir_u32 y, m, d, t = s % 86400;

	weir_civil(s / 86400, &y, &m, &d);
	weir_two(digits, y / 100);
	weir_two(digits + 2, y);
	digits[4] = '-';
	weir_two(digits + 5, m);
	digits[7] = '-';
	weir_two(digits + 8, d);
	digits[10] = 'T';
	weir_two(digits + 11, t / 3600);
	digits[13] = ':';
	weir_two(digits + 14, t / 60 % 60);
	digits[16] = ':';
	weir_two(digits + 17, t % 60);
	digits[19] = 'Z';
}

/* Put one figure into w->digits. Returns where it came to stand: start << 8 | length. */
weir_global weir_u32 weir_write_figure(struct weir_writer_state *w, weir_u32 op, weir_u32 arg)
{
	if (!w)
		return 0;
	weir_u64 v = 0;
	weir_u32 at, end = 24;
	bool minus = false;

	weir_opaque(arg);
	if (arg < WEIR_FIG_MAX)
		v = w->figures[arg];
	if (op == WEIR_OP_TIME) {
		weir_write_time(w->digits, w->figures[WEIR_FIG_WALL_NS] + v);
		return 20;
	}
	if (op == WEIR_OP_SECONDS) {
		v = (v + 999999999) / 1000000000;
		if (v > 60)
			v = 60;
	} else if (op == WEIR_OP_MILLIS) {
		v = (v + 999999) / 1000000;
	} else if (op == WEIR_OP_DURATION) {
		if (v && v < 1000000000) {
			v = (v + 999999) / 1000000;
			w->digits[24] = 'm';
			w->digits[25] = 's';
			end = 26;
		} else {
			v = (v + 999999999) / 1000000000;
			end = 25;
			if (v >= 60) {
				w->digits[24] = 'm';
				weir_write_decimal(w, 27, v % 60, v % 60 < 10 ? 1 : 2);
				/* one digit stands at 26: close the gap before it */
				if (v % 60 < 10)
					w->digits[25] = w->digits[26];
				end = v % 60 < 10 ? 27 : 28;
				v /= 60;
			}
			w->digits[(end - 1) & 63] = 's';
		}
	} else {
		if ((weir_s64)v < 0) {
			minus = true;
			v = -v;
		}
		if (op == WEIR_OP_CREDITS) {
			/* nine decimals at 25..33, cut at the last that is not 0 */
			weir_u64 fraction = v % 1000000000;

			v /= 1000000000;
			weir_write_decimal(w, 34, fraction, 9);
			w->digits[24] = '.';
			end = 34;
#pragma clang loop unroll(disable)
			for (int i = 0; i < 9; i++) {
				if (end < 26 || w->digits[(end - 1) & 63] != '0')
					break;
				end--;
			}
			if (end == 25)
				end = 24;
		}
	}
	at = weir_write_decimal(w, 24, v, 1);
	if (minus) {
		at = (at - 1) & 63;
		w->digits[at & 63] = '-';
	}
	return (at & 63) << 8 | ((end - at) & 63);
}

weir_inline void weir_reply_start(struct weir_writer_state *w)
{
	w->out = 0;
	w->op = 0;
	w->left = 0;
	w->length_at = 0;
	w->body_at = 0;
	w->done = 0;
}

weir_inline void weir_reply_step(struct weir_writer_state *w, const struct weir_reply *t)
{
	weir_u32 out = *(volatile weir_u32 *)&w->out;

	weir_opaque(out);
	if (out > WEIR_REPLY_MAX) {
		w->done = 1;
		return;
	}
	weir_u32 left = *(volatile weir_u32 *)&w->left;

	if (left) {
		weir_u32 from = w->from, n = left < 8 ? left : 8;
		weir_u64 word = 0;

		weir_opaque(from);
		if (w->figure) {
			if (from <= sizeof(w->digits) - 8)
				word = weir_load64(w->digits + from);
		} else if (from <= WEIR_REPLY_TEXT - 8) {
			word = weir_load64(t->text + from);
		}
		/* Eight bytes always: what is too much is written over by the next piece. */
		weir_store64(w->bytes + out, word);
		w->from = from + n;
		w->left = left - n;
		w->out = out + n;
		return;
	}

	weir_u32 index = *(volatile weir_u32 *)&w->op;

	weir_opaque(index);
	if (index >= WEIR_REPLY_OPS) {
		w->done = 1;
		return;
	}
	struct weir_op_entry op = t->ops[index];

	w->op = index + 1;
	switch (op.op) {
	case WEIR_OP_END:
		w->done = 1;
		return;
	case WEIR_OP_TEXT:
		w->from = op.off;
		w->left = op.len;
		w->figure = 0;
		return;
	case WEIR_OP_BODY:
		w->body_at = out;
		return;
	case WEIR_OP_CONTENT_LENGTH:
		w->length_at = out;
		weir_store64(w->bytes + out, 0x2020202020202020ULL);
		w->out = out + 4;
		return;
	default: {
		weir_u32 place = weir_write_figure(w, op.op, op.arg);

		w->from = place >> 8;
		w->left = place & 63;
		w->figure = 1;
	}
	}
}

#define WEIR_REPLY_STEPS 32

weir_global int weir_reply_run(struct weir_writer_state *w, const struct weir_reply *t)
{
	if (!w || !t)
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_REPLY_STEPS; i++) {
		weir_reply_step(w, t);
		if (*(volatile weir_u32 *)&w->done)
			return 1;
	}
	return 0;
}

/* Write the whole reply into w->bytes, figures being set. Returns its length, 0
 * if the template is empty or too long. Bytes behind the end, up to a multiple
 * of eight, are 0 (checksums are taken over whole words). */
weir_inline weir_u32 weir_reply_write(struct weir_writer_state *w, const struct weir_reply *t)
{
	weir_reply_start(w);
	for (int i = 0; i < 10; i++)
		if (weir_reply_run(w, t))
			break;

	weir_u32 len = w->out, at = w->length_at, body = len - w->body_at;

	weir_opaque(at);
	if (!w->done || !weir_within(&len, WEIR_REPLY_MAX) || at > WEIR_REPLY_MAX || body > 9999)
		return 0;
	weir_store64(w->bytes + len, 0);
	if (at) {
		w->bytes[at + 3] = '0' + body % 10;
		if (body > 9)
			w->bytes[at + 2] = '0' + body / 10 % 10;
		if (body > 99)
			w->bytes[at + 1] = '0' + body / 100 % 10;
		if (body > 999)
			w->bytes[at] = '0' + body / 1000;
	}
	return len;
}

#endif
