/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads a JSON request body as it passes, for tenants whose bodies are held to
 * rules: says where the object's `model` and limits of output tokens stand, so
 * that the gate can judge them or write over them. forms.md is its rule.
 *
 * The body comes in windows, cut anywhere. All that is known between two bytes is
 * in struct weir_body_state, which can be copied away and back. Like the head
 * scanner it moves in small steps that read phase and position from map memory, so
 * that the verifier sees every step alike; text of strings is stepped over 32 bytes
 * at a time.
 *
 * What must never happen is that a server finds a key here which this did not.
 * Servers' parsers differ, so where they do, this takes the strictest side:
 *
 *  - The same key twice: the first wins in some parsers, the last in others. Each is told.
 *  - Keys are matched in any case: Go's encoding/json (Ollama) takes "Max_Tokens". It
 *    folds as Unicode does, U+017F to s and U+212A to k, and parsers that keep keys as C
 *    strings end them at a NUL. A key of the outer object therefore has bytes 20 to 7e and
 *    no backslash, or is BAD.
 *  - UTF-16 and UTF-32, which Python's json.loads detects by their NULs or byte order
 *    mark, and the mark of UTF-8, which nlohmann and jsoncpp skip: NUL and bytes above
 *    7e are BAD outside strings, also in front of the object.
 *  - Comments and single quotes (jsoncpp, Jackson, Gson, JSON5) could hide a brace or a
 *    quote: their first characters are no characters of JSON, and BAD. A body
 *    that begins with a comment, or Gson's )]}' prefix, may still be an object: BAD.
 *  - Words without quotes may hold a quote in lenient parsers ([x"]). A string therefore
 *    begins only behind one of { [ , : and blanks, else BAD.
 *  - In strings, any byte but quote and backslash is skipped: controls, broken UTF-8,
 *    lone surrogates. Parsers refuse these or keep them, but none ends a string there.
 *  - Numbers other than plain digits (1E5, 4096.0, +5, Infinity) may be read as an
 *    integer by some: told as not plain. So is a quoted value: pydantic (vLLM, SGLang) reads
 *    "100000" as 100000.
 *  - What follows the object is refused by strict parsers and not looked at by others
 *    (Go's Decoder, cJSON): nothing there can count. Told as OTHER.
 *  - The outer object's own grammar is checked. Deeper, only strings and brackets count,
 *    whose kinds need not match: parsers refuse those that do not.
 */
#ifndef WEIR_BODY_H
#define WEIR_BODY_H

#include "json_words.h"

#define WEIR_BODY_WINDOW  1024
#define WEIR_BODY_DEPTH	  (1U << 16) /* deeper is BAD; parsers give up at 128 to 10,000 */
#define WEIR_BODY_KEY_MAX 24	     /* longer keys are not asked for */

enum weir_body_event {
	WEIR_BODY_NONE,
	WEIR_BODY_MORE,	  /* the window is used up */
	WEIR_BODY_TOKENS, /* a limit of output tokens: value_at, value_len, plain, quoted, number */
	WEIR_BODY_MODEL,  /* a model, a string: value_at, value_len, model */
	WEIR_BODY_END,	  /* the object closed */
	WEIR_BODY_OTHER,  /* no object, or bytes behind it: left alone; stays so */
	WEIR_BODY_BAD,	  /* could be read differently elsewhere; stays so */
};

enum weir_body_phase {
	/* Text. These come first: their steps take words. */
	WEIR_BODY_STRING,   /* of no interest, at any depth */
	WEIR_BODY_KEY_TEXT, /* of the outer object */
	WEIR_BODY_MODEL_TEXT,
	WEIR_BODY_ESCAPED,	 /* one byte of a STRING */
	WEIR_BODY_MODEL_ESCAPED, /* one byte of a MODEL_TEXT */
	/* Between. */
	WEIR_BODY_START, /* in front of the object */
	WEIR_BODY_KEY,	 /* of the outer object, or its end */
	WEIR_BODY_COLON,
	WEIR_BODY_VALUE,
	WEIR_BODY_NUMBER, /* in a value that is told */
	WEIR_BODY_WORD,	  /* in another number, true, false, null */
	WEIR_BODY_AFTER,  /* the value */
	WEIR_BODY_DEEP,	  /* inside a value, where a string may begin */
	WEIR_BODY_DEEP_AFTER,
	WEIR_BODY_TAIL, /* behind the object */
	WEIR_BODY_OVER, /* `event` says how */
};

struct weir_body_state {
	weir_u32 phase;	    /* enum weir_body_phase */
	weir_u32 depth;	    /* brackets open */
	weir_u32 event;	    /* enum weir_body_event: the last; NONE while running */
	weir_u32 name;	    /* enum weir_body_name, of the outer object's last key */
	weir_u32 value_at;  /* offset in the body; of a string, behind its quote */
	weir_u32 value_len; /* of a string, without its quotes */
	weir_u32 plain;	    /* TOKENS: nothing but digits */
	weir_u32 quoted;    /* TOKENS: a string; not plain */
	weir_u64 number;    /* TOKENS: if plain; saturates. Else ~0 */
	weir_u32 key_len;
	weir_u32 model_len; /* at most WEIR_MODEL_BYTES; 0: none seen, or empty */
	/* Eight bytes more, since they are written in words. */
	weir_u8 key[WEIR_BODY_KEY_MAX + 8] __attribute__((aligned(8)));
	weir_u8 model[WEIR_MODEL_BYTES + 8]; /* the last one, as in the JSON, cut; NUL padded */
};
_Static_assert(sizeof(struct weir_body_state) == 152, "weir_body_state");

struct weir_body {
	struct weir_body_state state;
	weir_u32 pos;	 /* next byte in the window */
	weir_u32 len;	 /* bytes in the window, at most WEIR_BODY_WINDOW */
	weir_u32 offset; /* in the body, of the window's first byte */
	weir_u32 pad;
	weir_u8 bytes[WEIR_BODY_WINDOW + 64] __attribute__((aligned(8)));
};

/* At the start of a body. */
weir_inline void weir_body_start(struct weir_body *b)
{
	__builtin_memset(&b->state, 0, sizeof(b->state));
	b->state.phase = WEIR_BODY_START;
	b->pos = 0;
	b->len = 0;
	b->offset = 0;
}

/* The next len bytes of the body, the first of them at offset, are in b->bytes. */
weir_inline void weir_body_window(struct weir_body *b, weir_u32 offset, weir_u32 len)
{
	b->pos = 0;
	b->len = len;
	b->offset = offset;
}

weir_inline void weir_body_tell(struct weir_body_state *s, weir_u32 event)
{
	s->event = event;
	if (event >= WEIR_BODY_OTHER)
		s->phase = WEIR_BODY_OVER;
}

/* A string of no interest: up to 32 bytes, or to its next quote or backslash. */
weir_inline void weir_body_skip_step(struct weir_body *b, const weir_u8 *p, weir_u32 pos,
				     weir_u32 left)
{
	struct weir_body_state *s = &b->state;
	weir_u64 marks;
	weir_u32 n;

#pragma clang loop unroll(full)
	for (n = 0; n < 32; n += 8) {
		marks = weir_json_marks(weir_load64(p + n));
		if (marks || n == 24 || n + 8 >= left)
			break;
	}
	n += weir_json_first(marks);
	if (n >= left) {
		b->pos = pos + left;
		return;
	}
	if (!marks) {
		b->pos = pos + n;
		return;
	}
	/* The mark's own byte and what follows it, read where the verifier knows it can. */
	weir_u32 at = pos + n;

	weir_opaque(at);
	if (at >= WEIR_BODY_WINDOW) {
		weir_body_tell(s, WEIR_BODY_BAD);
		return;
	}
	weir_u32 next = weir_load32(b->bytes + at);

	left -= n;
	b->pos = pos + n + 1;
	if ((next & 0xff) == '\\') {
		if (left == 1)
			s->phase = WEIR_BODY_ESCAPED;
		else
			b->pos = pos + n + 2;
		return;
	}
	next >>= 8;
	if (s->depth > 1) {
		weir_u32 mark = next & 0xff;

		/* On to the next string at once, the most common case. */
		s->phase = WEIR_BODY_DEEP_AFTER;
		if (left < 4 || (mark != ',' && mark != ':'))
			return;
		next >>= 8;
		if ((next & 0xff) == '"' || next == (' ' | '"' << 8)) {
			s->phase = WEIR_BODY_STRING;
			b->pos = pos + n + ((next & 0xff) == '"' ? 3 : 4);
		}
		return;
	}
	s->phase = WEIR_BODY_AFTER;
	if (s->name == WEIR_BODY_NAME_TOKENS) {
		s->value_len = b->offset + pos + n - s->value_at;
		s->plain = 0;
		s->quoted = 1;
		s->number = ~0ULL;
		weir_body_tell(s, WEIR_BODY_TOKENS);
	}
}

/* A key of the outer object. */
weir_inline void weir_body_key_step(struct weir_body *b, const weir_u8 *p, weir_u32 pos,
				    weir_u32 left)
{
	struct weir_body_state *s = &b->state;
	weir_u64 word = weir_load64(p);
	weir_u32 n = weir_json_first(weir_json_key_marks(word));
	bool over = n < left && n < 8;
	weir_u32 key_len = s->key_len;

	if (n > left)
		n = left;
	weir_opaque(key_len);
	if (key_len <= WEIR_BODY_KEY_MAX)
		weir_store64(s->key + key_len, word);
	s->key_len = key_len + n;
	b->pos = pos + n;
	if (!over)
		return;
	if ((word >> n * 8 & 0xff) != '"') {
		weir_body_tell(s, WEIR_BODY_BAD);
		return;
	}
	b->pos = pos + n + 1;
	s->name = weir_json_key_name(s->key, s->key_len);
	s->phase = WEIR_BODY_COLON;
}

/* A model's name. */
weir_inline void weir_body_model_step(struct weir_body *b, const weir_u8 *p, weir_u32 pos,
				      weir_u32 left)
{
	struct weir_body_state *s = &b->state;
	weir_u64 word = weir_load64(p);
	weir_u32 model_len = s->model_len, n;
	bool over = false;

	if (s->phase == WEIR_BODY_MODEL_ESCAPED) {
		n = 1;
		s->phase = WEIR_BODY_MODEL_TEXT;
	} else {
		n = weir_json_first(weir_json_marks(word));
		if (n >= left) {
			n = left;
		} else if (n < 8) {
			over = (word >> (n * 8) & 0xff) == '"';
			if (!over) {
				n++;
				s->phase = WEIR_BODY_MODEL_ESCAPED;
			}
		}
	}
	/* Nothing of what follows the name may be left behind it: it leaves the kernel. */
	if (n < 8)
		word &= (1ULL << n * 8) - 1;
	weir_opaque(model_len);
	if (model_len < WEIR_MODEL_BYTES) {
		weir_store64(s->model + model_len, word);
		model_len += n;
		s->model_len = model_len < WEIR_MODEL_BYTES ? model_len : WEIR_MODEL_BYTES;
	}
	b->pos = pos + n;
	if (!over)
		return;
	b->pos = pos + n + 1;
	s->value_len = b->offset + pos + n - s->value_at;
	s->phase = WEIR_BODY_AFTER;
	weir_body_tell(s, WEIR_BODY_MODEL);
}

/* A value of the outer object begins with c. */
weir_inline void weir_body_value(struct weir_body *b, weir_u32 pos, weir_u32 c)
{
	struct weir_body_state *s = &b->state;

	s->value_at = b->offset + pos;
	if (c == '"') {
		s->value_at++;
		s->phase = WEIR_BODY_STRING;
		if (s->name == WEIR_BODY_NAME_MODEL) {
			s->phase = WEIR_BODY_MODEL_TEXT;
			s->model_len = 0;
			__builtin_memset(s->model, 0, sizeof(s->model));
		}
	} else if (c == '{' || c == '[') {
		s->depth = 2;
		s->phase = WEIR_BODY_DEEP;
	} else if (weir_json_word(c)) {
		s->phase = WEIR_BODY_WORD;
		/* Below 0, null, true and false are the server's business. */
		if (s->name == WEIR_BODY_NAME_TOKENS && c != '-' && c != 'n' && c != 't' &&
		    c != 'f') {
			s->phase = WEIR_BODY_NUMBER;
			s->plain = c - '0' < 10;
			s->quoted = 0;
			s->number = s->plain ? c - '0' : ~0ULL;
		}
	} else {
		weir_body_tell(s, WEIR_BODY_BAD);
	}
}

weir_inline void weir_body_figure(struct weir_body_state *s, weir_u32 c)
{
	weir_u64 digit = c - '0', number = s->number * 10 + digit;

	if (digit > 9)
		s->plain = 0;
	/* Not plain is ~0 as well, and stays. */
	s->number = digit > 9 || s->number > ~0ULL / 10 || number < digit ? ~0ULL : number;
}

/* Inside a value, outside strings. */
weir_inline void weir_body_deep(struct weir_body *b, weir_u32 pos, weir_u32 left, weir_u64 word)
{
	struct weir_body_state *s = &b->state;
	weir_u32 c = word & 0xff, last;

	if (c == '"') {
		if (s->phase == WEIR_BODY_DEEP)
			s->phase = WEIR_BODY_STRING;
		else
			weir_body_tell(s, WEIR_BODY_BAD);
	} else if (c == '{' || c == '[') {
		if (s->depth >= WEIR_BODY_DEPTH)
			weir_body_tell(s, WEIR_BODY_BAD);
		else
			s->phase = WEIR_BODY_DEEP;
		s->depth++;
	} else if (c == '}' || c == ']') {
		s->depth--;
		s->phase = s->depth > 1 ? WEIR_BODY_DEEP_AFTER : WEIR_BODY_AFTER;
	} else if (c == ',' || c == ':') {
		s->phase = WEIR_BODY_DEEP;
	} else if (weir_json_word(c)) {
		s->phase = WEIR_BODY_DEEP_AFTER;
		if (left < 8 || !weir_json_figures(word))
			return;
		/* Only the last that is no blank counts. */
		last = word >> 56;
		if (last == ' ')
			last = word >> 48 & 0xff;
		if (last == ' ')
			return;
		s->phase = last == ',' ? WEIR_BODY_DEEP : WEIR_BODY_DEEP_AFTER;
		b->pos = pos + 8;
	} else {
		weir_body_tell(s, WEIR_BODY_BAD);
	}
}

/* Outside strings: one byte, or a run of blanks. */
weir_inline void weir_body_between(struct weir_body *b, const weir_u8 *p, weir_u32 pos,
				   weir_u32 left)
{
	struct weir_body_state *s = &b->state;
	weir_u32 phase = s->phase;
	weir_u64 word = weir_load64(p);
	weir_u32 c = word & 0xff, n;

	if (phase == WEIR_BODY_NUMBER || phase == WEIR_BODY_WORD) {
		if (weir_json_word(c)) {
			b->pos = pos + 1;
			if (phase == WEIR_BODY_NUMBER)
				weir_body_figure(s, c);
			return;
		}
		/* c is looked at again. */
		s->phase = WEIR_BODY_AFTER;
		if (phase == WEIR_BODY_NUMBER) {
			s->value_len = b->offset + pos - s->value_at;
			weir_body_tell(s, WEIR_BODY_TOKENS);
		}
		return;
	}
	b->pos = pos + 1;
	if (weir_json_blank(c)) {
		if ((word >> 8 & 0xff) == ' ') {
			n = 1 + weir_json_spaces(word >> 8);
			b->pos = pos + (n < left ? n : left);
		}
		return;
	}
	switch (phase) {
	case WEIR_BODY_DEEP:
	case WEIR_BODY_DEEP_AFTER:
		weir_body_deep(b, pos, left, word);
		return;
	case WEIR_BODY_START:
		if (c == '{') {
			s->depth = 1;
			s->phase = WEIR_BODY_KEY;
			return;
		}
		if (c > ' ' && c <= '~' && c != '/' && c != '#' && c != ')') {
			weir_body_tell(s, WEIR_BODY_OTHER);
			return;
		}
		break;
	case WEIR_BODY_KEY:
	case WEIR_BODY_AFTER:
		if (c == '}') {
			s->depth = 0;
			s->phase = WEIR_BODY_TAIL;
			weir_body_tell(s, WEIR_BODY_END);
			return;
		}
		if (phase == WEIR_BODY_KEY && c == '"') {
			s->key_len = 0;
			s->phase = WEIR_BODY_KEY_TEXT;
			return;
		}
		if (phase == WEIR_BODY_AFTER && c == ',') {
			s->phase = WEIR_BODY_KEY;
			return;
		}
		break;
	case WEIR_BODY_COLON:
		if (c == ':') {
			s->phase = WEIR_BODY_VALUE;
			return;
		}
		break;
	case WEIR_BODY_VALUE:
		weir_body_value(b, pos, c);
		return;
	case WEIR_BODY_TAIL:
		weir_body_tell(s, WEIR_BODY_OTHER);
		return;
	}
	weir_body_tell(s, WEIR_BODY_BAD);
}

weir_inline void weir_body_step(struct weir_body *b)
{
	weir_u32 pos = *(volatile weir_u32 *)&b->pos;
	weir_u32 len = *(volatile weir_u32 *)&b->len;
	weir_u32 phase = *(volatile weir_u32 *)&b->state.phase;
	weir_u32 at = pos;

	weir_opaque(at);
	if (at >= WEIR_BODY_WINDOW || at >= len) {
		b->state.event = WEIR_BODY_MORE;
		return;
	}
	const weir_u8 *p = b->bytes + at;

	switch (phase) {
	case WEIR_BODY_STRING:
		weir_body_skip_step(b, p, pos, len - pos);
		return;
	case WEIR_BODY_KEY_TEXT:
		weir_body_key_step(b, p, pos, len - pos);
		return;
	case WEIR_BODY_MODEL_TEXT:
	case WEIR_BODY_MODEL_ESCAPED:
		weir_body_model_step(b, p, pos, len - pos);
		return;
	case WEIR_BODY_ESCAPED:
		b->state.phase = WEIR_BODY_STRING;
		b->pos = pos + 1;
		return;
	default:
		weir_body_between(b, p, pos, len - pos);
	}
}

#define WEIR_BODY_STEPS 32

/* Up to WEIR_BODY_STEPS steps. Returns 1 when there is an event in b->state.event,
 * 0 to be called again. After an event other than MORE, OTHER and BAD the scan goes
 * on where it stopped; after MORE with the next window (weir_body_window). */
weir_global int weir_body_run(struct weir_body *b)
{
	if (!b)
		return 1;
	/* OTHER and BAD are for good. */
	if (*(volatile weir_u32 *)&b->state.phase == WEIR_BODY_OVER)
		return 1;
	*(volatile weir_u32 *)&b->state.event = WEIR_BODY_NONE;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_BODY_STEPS; i++) {
		weir_body_step(b);
		if (*(volatile weir_u32 *)&b->state.event != WEIR_BODY_NONE)
			return 1;
	}
	return 0;
}

/* Calls of weir_body_run that use up any window. A byte takes two steps at most, and a
 * call is cut short by an event, which takes at least eleven bytes ("model":"",). */
#define WEIR_BODY_RUNS (WEIR_BODY_WINDOW * 2 / WEIR_BODY_STEPS + WEIR_BODY_WINDOW / 8)

#endif
