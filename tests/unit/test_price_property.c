// SPDX-License-Identifier: Apache-2.0
/*
 * Any entry, any quantities, any counters: a price is what a slow and simple reckoning says.
 * That one has fractions of unbounded integers, no common denominator, and asks of each step
 * how much of [position, position + quantity) lies in it. More than the few of `make test`:
 * WEIR_PRICE_ROUNDS=1000000 WEIR_PRICE_SEED=2 build/tests/unit/test_price_property
 */
#include "tests/unit/price_fixture.h"

#include <openssl/bn.h>
#include <stdlib.h>

#define ROUNDS	  4000
#define STEPS_MAX 4

/* ---------------------------------------------------------------- fractions */

struct fraction {
	BIGNUM *num, *den;
};

static BN_CTX *ctx;

static BIGNUM *big(__int128 v)
{
	BIGNUM *b = BN_new();

	assert_true(v >= 0);
	BN_set_word(b, (BN_ULONG)(v >> 64));
	BN_lshift(b, b, 64);
	BN_add_word(b, (BN_ULONG)v);
	return b;
}

static struct fraction zero(void)
{
	return (struct fraction){ big(0), big(1) };
}

static void fraction_free(struct fraction *f)
{
	BN_free(f->num);
	BN_free(f->den);
}

/* f x a / b */
static void times(struct fraction *f, __int128 a, __int128 b)
{
	BIGNUM *x = big(a), *y = big(b);

	BN_mul(f->num, f->num, x, ctx);
	BN_mul(f->den, f->den, y, ctx);
	BN_free(x);
	BN_free(y);
}

/* f + a x b / c */
static void plus(struct fraction *f, __int128 a, __int128 b, __int128 c)
{
	struct fraction g = { big(a), big(1) };

	times(&g, b, c);
	BN_mul(g.num, g.num, f->den, ctx);
	BN_mul(f->num, f->num, g.den, ctx);
	BN_add(f->num, f->num, g.num);
	BN_mul(f->den, f->den, g.den, ctx);
	fraction_free(&g);
}

/* Half to even: floor((2 num + den) / (2 den)), less one if that was a half and is odd.
 * false: it does not fit. */
static bool rounded(const struct fraction *f, int64_t *out)
{
	BIGNUM *a = BN_new(), *b = BN_new(), *q = BN_new(), *r = BN_new();
	bool fits;

	BN_lshift1(a, f->num);
	BN_add(a, a, f->den);
	BN_lshift1(b, f->den);
	BN_div(q, r, a, b, ctx);
	if (BN_is_zero(r) && BN_is_odd(q))
		BN_sub_word(q, 1);
	fits = BN_num_bits(q) < 64;
	*out = fits ? (int64_t)BN_get_word(q) : 0;
	BN_free(a);
	BN_free(b);
	BN_free(q);
	BN_free(r);
	return fits;
}

/* ------------------------------------------------------------------ any entry */

static uint64_t state = 1;

static uint64_t any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * UINT64_C(2685821657736338717);
}

static int64_t below(int64_t n)
{
	return (int64_t)(any() % (uint64_t)n);
}

/* Of any magnitude, to 2^bits. */
static int64_t scaled(int bits)
{
	return (int64_t)(any() >> (63 - below(bits)) >> 1);
}

struct dimension {
	bool priced, volume;
	size_t n_steps; /* 0: flat */
	int64_t up_to[STEPS_MAX];
	int64_t unit[STEPS_MAX]; /* [0] of a flat one */
};

struct entry {
	struct dimension price[WEIR_DIM_MAX], cost[WEIR_DIM_MAX];
	int64_t price_per, cost_per;
	bool meter, markup, in_currency;
	int64_t credit_price;
	int64_t milli; /* multiplier, or 1 + markup */
	size_t n_bands;
	int64_t band_up_to[3], band_milli[3];
	int64_t discount;
};

static const int parent_of[WEIR_DIM_MAX] = { 0, 0, 0, 0, 0, 5, 5, 7, 8, 9, 10 };

static int64_t any_per(void)
{
	static const int64_t pers[] = { 1, 7, 1000, 1000000, 999999937, 1000000000, 48, 3600 };

	return pers[below(8)];
}

static int64_t parts(int d)
{
	return d == WEIR_DIM_SECOND || d == WEIR_DIM_UNIT ? WEIR_NANO : 1;
}

static void any_dimensions(struct dimension *v, bool meter, bool steps)
{
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		struct dimension *x = &v[d];

		*x = (struct dimension){ .priced = (d == WEIR_DIM_UNIT) == meter &&
						   (meter || below(2)) };
		x->unit[0] = scaled(below(4) ? 34 : 63);
		if (!x->priced || !steps || below(3))
			continue;
		x->n_steps = (size_t)below(STEPS_MAX) + 1;
		x->volume = below(3) == 0;
		for (size_t i = 0; i < x->n_steps; i++) {
			x->up_to[i] = (i ? x->up_to[i - 1] : 0) + 1 + below(20);
			x->unit[i] = scaled(34);
		}
	}
	if (!meter) /* at least one */
		v[WEIR_DIM_REQUEST].priced = true;
}

static struct entry any_entry(void)
{
	struct entry e = { .meter = below(6) == 0,
			   .markup = below(4) == 0,
			   .in_currency = below(3) == 0,
			   .credit_price = scaled(below(4) ? 34 : 63) + 1,
			   .price_per = any_per(),
			   .cost_per = any_per(),
			   .milli = below(2) ? 1000 : scaled(23) % 10000001,
			   .discount = below(2) ? 0 : below(1001) };
	bool volume = false;

	any_dimensions(e.cost, e.meter, false);
	if (e.markup) {
		memcpy(e.price, e.cost, sizeof(e.price));
		e.price_per = e.cost_per;
	} else {
		any_dimensions(e.price, e.meter, true);
	}
	for (int d = 0; d < WEIR_DIM_MAX; d++)
		volume |= e.price[d].volume;
	e.n_bands = e.meter || volume ? 0 : (size_t)below(4);
	for (size_t i = 0; i < e.n_bands; i++) {
		e.band_up_to[i] = (i ? e.band_up_to[i - 1] : 0) + 1 + below(60);
		e.band_milli[i] = scaled(23) % 10000001;
	}
	return e;
}

/* ------------------------------------------------------------------ as a card */

static size_t put_money(char *out, int64_t v)
{
	char text[WEIR_MONEY_TEXT];

	weir_money_format(v, text);
	return (size_t)sprintf(out, "\"%s\"", text);
}

static size_t put_rates(char *out, const struct dimension *v, int64_t per)
{
	size_t n = (size_t)sprintf(out, "{\"per\":%lld", (long long)per);

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		if (!v[d].priced)
			continue;
		n += (size_t)sprintf(out + n, ",\"%s\":", weir_dimension_names[d]);
		if (!v[d].n_steps) {
			n += put_money(out + n, v[d].unit[0]);
			continue;
		}
		n += (size_t)sprintf(out + n, "{\"mode\":\"%s\",\"steps\":[",
				     v[d].volume ? "volume" : "graduated");
		for (size_t i = 0; i < v[d].n_steps; i++) {
			n += (size_t)sprintf(out + n, "%s{\"price\":", i ? "," : "");
			n += put_money(out + n, v[d].unit[i]);
			if (i < v[d].n_steps - 1)
				n += (size_t)sprintf(out + n, ",\"up_to\":%lld",
						     (long long)v[d].up_to[i]);
			n += (size_t)sprintf(out + n, "}");
		}
		n += (size_t)sprintf(out + n, "]}");
	}
	return n + (size_t)sprintf(out + n, "}");
}

static struct weir_card *as_card(const struct entry *e)
{
	static char models[16384];
	char fields[256];
	size_t n;

	n = (size_t)sprintf(models, "{%s,", e->meter ? "\"meter\":\"x\"" : "\"match\":\"x\"");
	if (e->markup) {
		n += (size_t)sprintf(models + n, "\"markup\":");
		n += put_money(models + n, (e->milli - 1000) * 1000000);
	} else {
		n += (size_t)sprintf(models + n, "\"price\":");
		n += put_rates(models + n, e->price, e->price_per);
		n += (size_t)sprintf(models + n, ",\"multiplier\":");
		n += put_money(models + n, e->milli * 1000000);
	}
	for (size_t i = 0; i < e->n_bands; i++) {
		n += (size_t)sprintf(models + n, "%s{\"multiplier\":", i ? "," : ",\"bands\":[");
		n += put_money(models + n, e->band_milli[i] * 1000000);
		if (i < e->n_bands - 1)
			n += (size_t)sprintf(models + n, ",\"up_to\":%lld",
					     (long long)e->band_up_to[i]);
		n += (size_t)sprintf(models + n, i < e->n_bands - 1 ? "}" : "}]");
	}
	n += (size_t)sprintf(models + n, ",\"cost\":");
	n += put_rates(models + n, e->cost, e->cost_per);
	sprintf(models + n, "}");
	n = (size_t)sprintf(fields, "\"currency\":\"USD\",\"cost_unit\":\"%s\",\"credit_price\":",
			    e->in_currency ? "currency" : "credit");
	put_money(fields + n, e->credit_price);
	return card_of(fields, models);
}

/* ------------------------------------------------------------------ the slow way */

static int priced_as(const struct dimension *v, int d)
{
	return v[d].priced ? d : v[parent_of[d]].priced ? parent_of[d] : -1;
}

static int64_t per_of(int d, int64_t per)
{
	return d == WEIR_DIM_REQUEST || d == WEIR_DIM_SESSION ? 1
	       : d == WEIR_DIM_SECOND			      ? WEIR_NANO
							      : per * parts(d);
}

/* What a line costs where its counter stands. */
static void add_slowly(struct fraction *f, const struct dimension *x, int as, int64_t per,
		       int64_t at, int64_t quantity)
{
	__int128 low = 0, begin = at, end = (__int128)at + quantity;

	if (!x->n_steps) {
		plus(f, quantity, x->unit[0], per_of(as, per));
		return;
	}
	for (size_t i = 0; i < x->n_steps; i++) {
		bool last = i == x->n_steps - 1;
		__int128 high = last ? (__int128)1 << 100 : (__int128)x->up_to[i] * parts(as);
		__int128 from = begin > low ? begin : low, to = end < high ? end : high;

		if (x->volume && end > low && end <= high)
			plus(f, quantity, x->unit[i], per_of(as, per));
		else if (!x->volume && to > from)
			plus(f, to - from, x->unit[i], per_of(as, per));
		low = high;
	}
}

static struct fraction slow_sum(const struct dimension *v, int64_t per,
				const struct weir_quantities *q, const int64_t *positions)
{
	struct fraction f = zero();
	int64_t moved[WEIR_DIM_MAX] = { 0 };

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		int as = priced_as(v, d);

		if (as < 0 || q->of[d] == U)
			continue;
		add_slowly(&f, &v[as], as, per, positions[as] + moved[as], q->of[d]);
		moved[as] += q->of[d];
	}
	return f;
}

static int64_t slow_band(const struct entry *e, const struct weir_quantities *q)
{
	__int128 total = 0;

	for (int d = WEIR_DIM_INPUT; d <= WEIR_DIM_IMAGE; d++)
		total += q->of[d] == U ? 0 : q->of[d];
	for (size_t i = 0; i + 1 < e->n_bands; i++)
		if (total <= e->band_up_to[i])
			return e->band_milli[i];
	return e->n_bands ? e->band_milli[e->n_bands - 1] : 1000;
}

/* What the lines add up to, which is all that an invoice shows. */
static void check_lines(const struct weir_charge *c)
{
	struct fraction f = zero();
	int64_t price;

	for (size_t i = 0; i < c->n_lines; i++)
		plus(&f, c->lines[i].quantity, c->lines[i].unit_nano, c->lines[i].per);
	times(&f, c->factor, WEIR_FACTOR);
	if (c->lines_credit_nano)
		times(&f, WEIR_NANO, c->lines_credit_nano);
	assert_true(rounded(&f, &price));
	assert_true(price == c->price_nano);
	fraction_free(&f);
}

static __int128 tokens_of(const struct weir_quantities *q, int first, int last)
{
	__int128 sum = 0;

	for (int d = first; d <= last; d++)
		sum += q->of[d] == U ? 0 : q->of[d];
	return sum;
}

/* What was set aside for so many tokens and requests was enough; time is not reckoned with. */
static void check_reservation(const struct entry *e, const struct weir_card *card,
			      const struct weir_quantities *q, const struct weir_charge *c)
{
	__int128 calls = q->of[WEIR_DIM_REQUEST], sessions = q->of[WEIR_DIM_SESSION];
	struct weir_reserve_price r;
	__int128 input, output;

	if (e->meter || (e->price[WEIR_DIM_SECOND].priced && q->of[WEIR_DIM_SECOND] > 0))
		return;
	weir_card_reserve_price(card, (uint32_t)e->discount, &r);
	calls = calls > sessions ? calls : sessions;
	if (__builtin_mul_overflow(tokens_of(q, WEIR_DIM_INPUT, WEIR_DIM_IMAGE),
				   (__int128)r.input_nano, &input) ||
	    __builtin_mul_overflow(tokens_of(q, WEIR_DIM_OUTPUT, WEIR_DIM_REASONING),
				   (__int128)r.output_nano, &output) ||
	    __builtin_add_overflow(input, output, &input) ||
	    __builtin_add_overflow(input, (calls > 0 ? calls : 0) * r.request_nano, &input))
		return;
	assert_true(c->price_nano <= input);
}

/* One entry, one use of it. Is it one that has a price? */
static bool check_one(void)
{
	struct entry e = any_entry();
	struct weir_card *card = as_card(&e);
	bool huge = below(8) == 0;
	struct fraction price, cost, plain;
	struct weir_quantities q;
	struct weir_charge c;
	int64_t positions[WEIR_DIM_MAX], want, want_cost, unused;
	bool fits, plain_fits;
	int r;

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		q.of[d] = !below(4) ? U : huge ? scaled(62) : below(30) * (int64_t)parts(d);
		if (parts(d) > 1 && q.of[d] > 0 && !huge)
			q.of[d] += below(WEIR_NANO);
		positions[d] = below(30) * parts(d) + below(parts(d));
	}
	price = slow_sum(e.price, e.price_per, &q, positions);
	plain = slow_sum(e.price, e.price_per, &q, positions);
	cost = slow_sum(e.cost, e.cost_per, &q, positions);
	times(&price, e.milli, 1000);
	times(&price, slow_band(&e, &q), 1000);
	times(&price, 1000 - e.discount, 1000);
	if (e.in_currency) {
		times(&cost, WEIR_NANO, e.credit_price);
		if (e.markup)
			times(&price, WEIR_NANO, e.credit_price);
	}
	fits = rounded(&price, &want) & rounded(&cost, &want_cost);
	plain_fits = rounded(&plain, &unused);
	r = weir_card_charge(card, 0, (uint32_t)e.discount, &q, positions, &c);
	if (!r) {
		assert_true(fits);
		assert_true(c.price_nano == want);
		assert_true(c.cost_nano == want_cost);
		check_lines(&c);
		check_reservation(&e, card, &q, &c);
	} else {
		assert_int_equal(r, -ERANGE);
		/* Or it would, less its factors, but is not for this world. */
		assert_true(!fits || !plain_fits || huge);
	}
	fraction_free(&price);
	fraction_free(&plain);
	fraction_free(&cost);
	weir_card_free(card);
	return !r;
}

static void a_price_is_what_the_slow_way_says(void **unused)
{
	const char *seed = getenv("WEIR_PRICE_SEED"), *many = getenv("WEIR_PRICE_ROUNDS");
	int priced = 0, rounds = many ? atoi(many) : ROUNDS;

	state = seed ? strtoull(seed, NULL, 10) | 1 : 1;
	ctx = BN_CTX_new();
	for (int i = 0; i < rounds; i++)
		priced += check_one();
	assert_true(priced > rounds / 2 && priced < rounds);
	BN_CTX_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_price_is_what_the_slow_way_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
