/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credit that expires (limits.md 19): at its instant, for whoever's wallet it is, agent or no
 * agent; what was reserved before stays, and a refusal quotes what is left.
 */
#include "agent/expiry.h"
#include "tests/bpf/bodies.h"
#include "tests/bpf/levels.h"

#define CREDIT 1000000000LL /* one credit, in nano */

static uint64_t wall_here(void)
{
	return now_ns() + lab.config->wall_offset_ns;
}

/* Pays for itself: 5 credits, of which requests reserve one each. */
static struct weir_tenant *paying(const char *key)
{
	struct weir_tenant *t = tenant_with(key);

	t->flags |= WEIR_TENANT_CREDIT;
	t->reserve_nano_per_request = CREDIT;
	t->ceiling_nano = t->balance_nano = 5 * CREDIT;
	return t;
}

static void has_expired(struct weir_tenant *t, int64_t nano)
{
	weir_expiry_store(t, wall_here(), nano);
}

/* A request on a connection of its own. */
static struct verdict ask_once(struct conn *c, const char *key)
{
	*c = open_conn(nobody, host);
	return send_text(c, chat(key));
}

static void is_let_in(const char *key)
{
	struct conn c;

	assert_int_equal(ask_once(&c, key).code, OUT_PASS);
}

static struct answer is_broke(const char *key)
{
	struct conn c;
	struct verdict v = ask_once(&c, key);
	struct answer a = is_refused(&c, &v, 429);

	assert_string_equal(json_at(&a, "error", "code"), "insufficient_quota");
	return a;
}

/* -- when */

static void forget_denials(uint32_t tenant)
{
	struct weir_denial_key k = { .tenant = tenant, .reason = WEIR_DENY_CREDIT };

	bpf_map_delete_elem(bpf_map__fd(lab.skel->maps.denials), &k); /* the next one is told */
}

/* Requests around the instant, told by the kernel's own clock: none before it is refused and
 * none from it on is let in. */
static void credit_ends_at_its_instant_on_the_wall_clock(void **state)
{
	struct weir_tenant *t = paying("sk-instant");
	uint64_t in = 0, out = 0, ahead = 20000;

	t->ceiling_nano = CREDIT; /* enough for one */
	for (int round = 0; round < 2000 && (in < 50 || out < 50); round++) {
		struct conn c = open_conn(nobody, host);
		const struct weir_rec_request *r;
		const struct weir_rec_deny *d;
		struct verdict v;
		uint64_t at;

		forget_denials(t - lab.tenants);
		take_records();
		lab.n_records = 0;
		at = wall_here() + ahead;
		weir_expiry_store(t, at, 1);
		v = send_text(&c, chat("sk-instant"));
		r = record(WEIR_REC_REQUEST, 0);
		d = record(WEIR_REC_DENY, 0);
		assert_true(!r != !d);
		if (r) {
			assert_int_equal(v.code, OUT_PASS);
			assert_true(r->started_wall_ns < at);
			t->ceiling_nano += CREDIT; /* settled */
			ahead -= ahead / 8;
			in++;
		} else {
			assert_int_equal(d->reason, WEIR_DENY_CREDIT);
			assert_true(d->wall_ns >= at);
			ahead += ahead / 8 + 100;
			out++;
		}
		hang_up(&c);
	}
	assert_true(in >= 50 && out >= 50);
}

static void what_expires_later_or_never_is_there(void **state)
{
	struct weir_tenant *t = paying("sk-later");

	t->ceiling_nano = CREDIT;
	weir_expiry_store(t, wall_here() + 3600 * SECOND, CREDIT);
	is_let_in("sk-later");
	t->ceiling_nano += CREDIT;
	weir_expiry_store(t, 0, CREDIT);
	is_let_in("sk-later");
	t->ceiling_nano += CREDIT;
	has_expired(t, 1);
	is_broke("sk-later");
}

/* -- how much */

static void a_refusal_quotes_what_has_not_expired(void **state)
{
	struct weir_tenant *t = paying("sk-quote"), before;
	const struct weir_rec_deny *d;
	struct answer a;

	has_expired(t, 3 * CREDIT);
	is_let_in("sk-quote");
	is_let_in("sk-quote");
	before = *t;
	before.connections++;
	a = is_broke("sk-quote");
	uses_up_nothing(&before, t);
	assert_non_null(strstr(a.body, "balance 2 credits"));
	assert_non_null(strstr(a.body, " 0 are available"));
	d = record(WEIR_REC_DENY, 0);
	assert_int_equal(d->limit, 2 * CREDIT);
	assert_int_equal(d->value, 0);
	assert_int_equal(d->asked, CREDIT);
}

/* Of five credits two are reserved, then three expire: nothing is left, but those two go on,
 * end as if nothing had been, and what they gave back is there. */
static void what_was_reserved_before_stays_reserved(void **state)
{
	struct weir_tenant *t = paying("sk-flight");
	struct conn c, d;
	const struct weir_rec_end *e;

	assert_int_equal(ask_once(&c, "sk-flight").code, OUT_PASS);
	assert_int_equal(ask_once(&d, "sk-flight").code, OUT_PASS);
	has_expired(t, 3 * CREDIT);
	is_broke("sk-flight");
	assert_int_equal(t->reserved_nano, 2 * CREDIT);
	assert_int_equal(t->inflight, 2);
	answer_ok(&c);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->h.flags, WEIR_END_RESPONSE);
	assert_int_equal(e->reserved_nano, CREDIT);
	is_broke("sk-flight"); /* not settled yet */
	t->ceiling_nano += CREDIT;
	is_let_in("sk-flight");
	is_broke("sk-flight");
}

/* The agent enters the expiry: the same is left, with the ceiling lowered instead. */
static void applying_an_expiry_changes_nothing(void **state)
{
	struct weir_tenant *t = paying("sk-apply");

	has_expired(t, 4 * CREDIT);
	is_let_in("sk-apply");
	is_broke("sk-apply");
	weir_ceiling_add(t, -4 * CREDIT, -4 * CREDIT);
	is_broke("sk-apply"); /* twice for a moment: never not at all */
	weir_expiry_store(t, wall_here() + 3600 * SECOND, CREDIT);
	assert_non_null(strstr(is_broke("sk-apply").body, "balance 1 credits"));
	t->ceiling_nano += CREDIT; /* the first is settled */
	is_let_in("sk-apply");
	is_broke("sk-apply");
}

/* -- whose */

static void the_wallets_expiry_counts_not_the_tenants(void **state)
{
	struct weir_tenant *org = paying("sk-payer"), *team = paying("sk-team");

	team->wallet = org - lab.tenants;
	has_expired(team, 5 * CREDIT);
	is_let_in("sk-team");
	has_expired(org, 4 * CREDIT);
	is_broke("sk-team");
	is_broke("sk-payer");
	assert_int_equal(org->reserved_nano, CREDIT);
	assert_int_equal(team->reserved_nano, 0);
}

static void nobody_is_held_to_credit_that_is_not_looked_at(void **state)
{
	struct weir_tenant *t = paying("sk-postpaid");

	has_expired(t, 5 * CREDIT);
	is_broke("sk-postpaid");
	t->flags &= ~WEIR_TENANT_CREDIT;
	is_let_in("sk-postpaid");
	t->flags |= WEIR_TENANT_CREDIT | WEIR_TENANT_SHADOW;
	is_let_in("sk-postpaid");
	is_counted(WEIR_ADMIT_SHADOW, 1);
}

static void credit_expires_while_no_agent_runs(void **state)
{
	static const char *const keys[] = { "sk-x-hold", "sk-x-open" };

	for (int open = 0; open < 2; open++) {
		struct weir_tenant *t = paying(keys[open]);

		t->flags |= open ? WEIR_TENANT_DOWN_OPEN : 0;
		lab.config->heartbeat_ns = now_ns() - 10 * SECOND;
		lab.config->agent_timeout_ns = SECOND;
		is_let_in(keys[open]);
		has_expired(t, 5 * CREDIT);
		if (open)
			is_let_in(keys[open]);
		else
			is_broke(keys[open]);
	}
}

/* -- bodies that ask for more */

/* max_tokens makes the reservation larger or smaller than the head's, after an expiry. */
static struct verdict body_after_expiry(struct conn *c, const char *key, int64_t expired,
					const char *body)
{
	struct weir_tenant *t = paying(key);
	const char *text = request_with(key, "", body);
	size_t head = body_of(text) - text;

	new_rules(t, (struct weir_rules){ .max_output_tokens = 5000 });
	t->reserve_nano_per_request = 0;
	t->reserve_nano_per_output_token = CREDIT / 100;
	t->reserve_output_tokens = 100; /* a credit */
	*c = open_conn(nobody, host);
	assert_int_equal(send_bytes(c, text, head).code, OUT_PASS);
	assert_int_equal(t->reserved_nano, CREDIT);
	from_server(c, TCP_ACK, c->sent, c->next, NULL, 0);
	has_expired(t, expired);
	return send_text(c, text + head);
}

static void a_body_that_asks_for_more_is_held_to_what_is_left(void **state)
{
	const struct weir_rec_deny *d;
	struct verdict v;
	struct conn c;

	/* Of five credits three have expired, and one is its own. */
	v = body_after_expiry(&c, "sk-b-200", 3 * CREDIT, "{\"max_tokens\":200}");
	assert_int_equal(v.code, OUT_PASS);
	v = body_after_expiry(&c, "sk-b-201", 3 * CREDIT, "{\"max_tokens\":201}");
	is_refused(&c, &v, 429);
	d = record(WEIR_REC_DENY, 0);
	assert_int_equal(d->reason, WEIR_DENY_CREDIT);
	assert_int_equal(d->limit, 2 * CREDIT);
	assert_int_equal(d->value, 2 * CREDIT);
	assert_int_equal(d->asked, 201 * CREDIT / 100);
	/* All has: what is reserved is enough. */
	v = body_after_expiry(&c, "sk-b-100", 5 * CREDIT, "{\"max_tokens\":100}");
	assert_int_equal(v.code, OUT_PASS);
	v = body_after_expiry(&c, "sk-b-101", 5 * CREDIT, "{\"max_tokens\":101}");
	is_refused(&c, &v, 429);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(credit_ends_at_its_instant_on_the_wall_clock),
		CLAIM(what_expires_later_or_never_is_there),
		CLAIM(a_refusal_quotes_what_has_not_expired),
		CLAIM(what_was_reserved_before_stays_reserved),
		CLAIM(applying_an_expiry_changes_nothing),
		CLAIM(the_wallets_expiry_counts_not_the_tenants),
		CLAIM(nobody_is_held_to_credit_that_is_not_looked_at),
		CLAIM(credit_expires_while_no_agent_runs),
		CLAIM(a_body_that_asks_for_more_is_held_to_what_is_left),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
