/* SPDX-License-Identifier: Apache-2.0 */
/* Wallets in force: who pays, what a request reserves of it, and a ceiling that follows the
 * ledger through all that moves it. */
#include "enforce_fixture.h"

#include "agent/account.h"
#include "agent/ledger_read.h"
#include "agent/money.h"

#define CREDIT INT64_C(1000000000)

static void changed(void *ctx, const struct weir_wallet_change *c)
{
	weir_enforce_moved(f.enforce, f.ledger, c);
}

static int open_all(void **state)
{
	int r = up(state);

	weir_ledger_on_change(f.ledger, changed, NULL);
	return r;
}

#define CARD(name, more, price)                                                                    \
	"{\"name\": \"" name "\", \"version\": \"1\", \"effective_from\": "                        \
	"\"2020-01-01T00:00:00Z\"" more ", \"models\": [{\"match\": \"default\", \"price\": "      \
	"{\"input\": \"" price "\", \"output\": \"0\"}}]}"
#define CARDS "\"rate_cards\": [" CARD("list", "", "0.000000001") "]"
#define TIERS                                                                                      \
	"\"tiers\": {\"none\": {}, \"hard\": {\"credit\": \"hard\", \"concurrency\": 3, "          \
	"\"topup\": {\"below\": \"5\", \"ask\": \"50\"}}, \"soft\": {\"credit\": \"soft\", "       \
	"\"overage_limit\": \"10\"}}"
#define TENANT(name, tier, more) "\"" name "\": {\"tier\": \"" tier "\"" more "}"
#define PAID_BY(who)		 ", \"wallet\": \"" who "\""
#define BELOW(parent)		 ", \"parent\": \"" parent "\""

static void put(const char *tenants)
{
	char json[8192];
	int n = snprintf(json, sizeof(json), "{" TIERS ", " CARDS ", \"tenants\": {%s}}", tenants);

	assert_true(n > 0 && (size_t)n < sizeof(json));
	if (try_policy(json))
		fail_msg("%s", f.err.text);
}

/* An organisation with two teams, and somebody else. */
#define ORG TENANT("org", "soft", "")
#define TEAMS                                                                                      \
	TENANT("a", "hard", BELOW("org") PAID_BY("parent"))                                        \
	"," TENANT("b", "none", BELOW("org") PAID_BY("parent"))
#define OTHER TENANT("x", "hard", "")
#define ALL   ORG "," TEAMS "," OTHER

static int64_t left(const char *wallet)
{
	const struct weir_tenant *t = entry(wallet);

	return (int64_t)((uint64_t)t->ceiling_nano - t->reserved_nano);
}

/* -- asking */

static unsigned asked;

static struct weir_op op_of(enum weir_entry_kind kind, const char *tenant, int64_t credits)
{
	struct weir_op op = { .kind = kind,
			      .tenant = number(tenant),
			      .wallet = number(tenant),
			      .priority = 100,
			      .amount_nano = credits * CREDIT,
			      .actor = "test" };

	snprintf(op.key, sizeof(op.key), "key-%u", ++asked);
	return op;
}

static int post(const struct weir_op *op, struct weir_done *done)
{
	return weir_enforce_post(f.enforce, f.ledger, op, done, &f.err);
}

static void grant(const char *tenant, int64_t credits, uint64_t expires_ns)
{
	struct weir_op op = op_of(WEIR_ENTRY_GRANT, tenant, credits);
	struct weir_done done;

	op.expires_ns = expires_ns;
	if (post(&op, &done))
		fail_msg("%s", f.err.text);
}

static int deduct(const char *tenant, int64_t credits)
{
	struct weir_op op = op_of(WEIR_ENTRY_DEDUCT, tenant, credits);
	struct weir_done done;

	return post(&op, &done);
}

/* A request of the tenant's that its wallet pays, as the consumer has settled it: its price is
 * off the ceiling before it is in the ledger. */
static void use_taken(const char *tenant, uint32_t wallet, int64_t credits, int64_t taken)
{
	static uint32_t made;
	struct weir_row row = { .tenant = number(tenant),
				.wallet = wallet,
				.service = 1,
				.status = 200,
				.flags = WEIR_ROW_BILLABLE | WEIR_ROW_POSTED,
				.usage_source = WEIR_USAGE_REPORTED,
				.usage = { credits * CREDIT, 0, 0, 0, 0 },
				.audio = WEIR_UNKNOWN,
				.image = WEIR_UNKNOWN,
				.price_nano = taken * CREDIT,
				.model = "m" };
	size_t known, n;

	row.started_wall_ns = row.ended_wall_ns = weir_wall_ns();
	memcpy(row.id.b, &row.started_wall_ns, 8);
	made++;
	memcpy(row.id.b + 8, &made, sizeof(made));
	weir_enforce_read_lock(f.enforce);
	row.card_id = weir_enforce_cards_locked(f.enforce, &n)[0]->id;
	weir_enforce_read_unlock(f.enforce);
	assert_int_equal(n, 1);
	weir_ceiling_add(&f.tenants[wallet], -row.price_nano, -row.price_nano);
	if (weir_ledger_append(f.ledger, &row, 1, &known, &f.err))
		fail_msg("%s", f.err.text);
}

static void use(const char *tenant, uint32_t wallet, int64_t credits)
{
	use_taken(tenant, wallet, credits, credits);
}

static void assert_agrees(const char *wallet, int64_t overage)
{
	int64_t balance = weir_ledger_balance(f.ledger, number(wallet));

	assert_int_equal(entry(wallet)->balance_nano, balance);
	assert_int_equal(entry(wallet)->ceiling_nano, balance + overage);
}

/* -- who pays */

static void the_kernel_is_told_who_pays(void **state)
{
	const struct weir_terms *terms;
	uint32_t wallet = 0;

	put(ALL);
	assert_int_equal(entry("org")->wallet, number("org"));
	assert_int_equal(entry("a")->wallet, number("org"));
	assert_int_equal(entry("b")->wallet, number("org"));
	assert_int_equal(entry("x")->wallet, number("x"));
	/* Whose credit is looked at is the tenant's own matter, and so are its limits. */
	assert_true(entry("a")->flags & WEIR_TENANT_CREDIT);
	assert_false(entry("b")->flags & WEIR_TENANT_CREDIT);
	assert_int_equal(entry("a")->max_inflight, 3);
	terms = weir_enforce_terms(f.enforce, number("a"));
	assert_int_equal(terms->wallet, number("org"));
	assert_string_equal(terms->tier, "hard");
	assert_int_equal(weir_enforce_wallet(f.enforce, number("a"), &wallet), 0);
	assert_int_equal(wallet, number("org"));
	assert_int_equal(weir_enforce_wallet(f.enforce, number("x"), &wallet), 0);
	assert_int_equal(wallet, number("x"));
	assert_int_equal(weir_enforce_wallet(f.enforce, 40, &wallet), -ENOENT);
	assert_int_equal(weir_enforce_wallet(f.enforce, TENANTS, &wallet), -ENOENT);
	/* gone from the policy: nobody pays any more */
	uint32_t a = number("a");

	put(ORG "," OTHER);
	assert_int_equal(weir_enforce_wallet(f.enforce, a, &wallet), 0);
	assert_int_equal(wallet, a);
	assert_null(weir_enforce_terms(f.enforce, a)->tier);
}

static void a_tiers_name_outlives_its_policy(void **state)
{
	const char *tier;

	put(ALL);
	tier = weir_enforce_terms(f.enforce, number("x"))->tier;
	for (int i = 0; i < 3; i++)
		put(ALL);
	assert_ptr_equal(weir_enforce_terms(f.enforce, number("x"))->tier, tier);
	assert_string_equal(tier, "hard");
}

/* -- ceilings */

static void a_ceiling_follows_the_ledger(void **state)
{
	struct weir_op op;
	struct weir_done done;

	put(ALL);
	grant("org", 100, 0); /* before the ceilings are settled: the kernel's own figures hold */
	assert_int_equal(entry("org")->ceiling_nano, 0);
	weir_enforce_ceilings(f.enforce, f.ledger);
	assert_agrees("org", 10 * CREDIT);
	assert_agrees("x", 0);
	grant("org", 50, 0);
	assert_agrees("org", 10 * CREDIT);
	use("a", number("org"), 30);
	assert_agrees("org", 10 * CREDIT);
	assert_int_equal(entry("org")->balance_nano, 120 * CREDIT);
	assert_int_equal(entry("a")->balance_nano, 0);
	assert_int_equal(deduct("org", 20), 0);
	assert_agrees("org", 10 * CREDIT);
	op = op_of(WEIR_ENTRY_ADJUST, "org", -200); /* into debt */
	assert_int_equal(post(&op, &done), 0);
	assert_agrees("org", 10 * CREDIT);
	assert_int_equal(entry("org")->balance_nano, -100 * CREDIT);
	op = op_of(WEIR_ENTRY_REFUND, "org", 0);
	op.of = done.seq;
	assert_int_equal(post(&op, &done), -EINVAL); /* an adjustment took nothing that can be */
	assert_agrees("org", 10 * CREDIT);
}

static void a_price_that_the_ledger_knows_better_is_put_right(void **state)
{
	put(ALL);
	grant("x", 100, 0);
	weir_enforce_ceilings(f.enforce, f.ledger);
	/* The consumer took more than the ledger then reckons (steps, a session), or less. */
	use_taken("x", number("x"), 30, 40);
	assert_agrees("x", 0);
	assert_int_equal(left("x"), 70 * CREDIT);
	use_taken("x", number("x"), 30, 0);
	assert_agrees("x", 0);
	assert_int_equal(left("x"), 40 * CREDIT);
}

static void overage_is_the_wallets(void **state)
{
	put(ALL);
	weir_enforce_ceilings(f.enforce, f.ledger);
	assert_int_equal(left("org"), 10 * CREDIT);
	assert_int_equal(left("a"), 0);
	put(TENANT("org", "soft", ", \"overrides\": {\"overage_limit\": \"4\"}") "," TEAMS);
	assert_int_equal(left("org"), 4 * CREDIT);
	put(TENANT("org", "hard", "") "," TEAMS);
	assert_int_equal(left("org"), 0);
	/* gone and back, with something in flight */
	put(ALL);
	entry("org")->reserved_nano += 3 * CREDIT;
	put(OTHER);
	put(ALL);
	assert_int_equal(left("org"), 7 * CREDIT);
	put(TENANT("org", "soft",
		   ", \"overrides\": {\"overage_limit\": \"9223372036.854775807\"}"));
	grant("org", 1000000000, 0);
	assert_true(left("org") > 0); /* no bound, and no wrap */
}

/* What was reserved of one wallet is settled there, whoever pays by then. */
static void a_wallet_changes_hands_with_requests_in_flight(void **state)
{
	put(ALL);
	grant("org", 100, 0);
	grant("x", 100, 0);
	weir_enforce_ceilings(f.enforce, f.ledger);
	put(ORG "," OTHER "," TENANT("a", "hard", PAID_BY("x")));
	assert_int_equal(entry("a")->wallet, number("x"));
	use("a", number("org"), 30); /* it began before */
	use("a", number("x"), 1);
	assert_agrees("org", 10 * CREDIT);
	assert_agrees("x", 0);
	assert_int_equal(left("org"), 80 * CREDIT);
	assert_int_equal(left("x"), 99 * CREDIT);
}

static void what_was_lost_comes_back_to_the_wallet(void **state)
{
	put(ALL);
	grant("org", 100, 0);
	weir_enforce_ceilings(f.enforce, f.ledger);
	/* of a request of a's, whose END record did not fit */
	entry("org")->reserved_nano += 5 * CREDIT;
	entry("org")->lost_nano += 5 * CREDIT;
	assert_int_equal(left("org"), 105 * CREDIT);
	weir_enforce_lost(f.enforce);
	weir_enforce_lost(f.enforce);
	assert_int_equal(left("org"), 110 * CREDIT);
	weir_enforce_ceilings(f.enforce, f.ledger); /* reckoned anew, it is the same */
	assert_int_equal(left("org"), 110 * CREDIT);
}

static void the_kernel_holds_the_next_expiry(void **state)
{
	uint64_t now = weir_wall_ns(), hour = 3600 * WEIR_SECOND;

	put(ALL);
	grant("x", 10, now + 2 * hour);
	weir_enforce_ceilings(f.enforce, f.ledger);
	assert_int_equal(entry("x")->expiry_wall_ns, now + 2 * hour);
	assert_int_equal(entry("x")->expiry_nano, 10 * CREDIT);
	grant("x", 20, now + hour);
	grant("x", 5, now + hour);
	assert_int_equal(entry("x")->expiry_wall_ns, now + hour);
	assert_int_equal(entry("x")->expiry_nano, 25 * CREDIT);
	use("x", number("x"), 22); /* the first to expire gives first */
	assert_int_equal(entry("x")->expiry_nano, 3 * CREDIT);
	assert_int_equal(deduct("x", 3), 0);
	assert_int_equal(entry("x")->expiry_wall_ns, now + 2 * hour);
	assert_int_equal(entry("x")->expiry_nano, 10 * CREDIT);
	assert_int_equal(weir_ledger_advance(f.ledger, now + 2 * hour, &f.err), 0);
	assert_int_equal(entry("x")->expiry_wall_ns, 0);
	assert_int_equal(entry("x")->expiry_nano, 0);
	assert_agrees("x", 0);
	assert_int_equal(left("x"), 0);
}

/* -- deducts */

static void a_deduct_leaves_what_is_reserved(void **state)
{
	struct weir_op op;
	struct weir_done done = { 0 };

	put(ALL);
	grant("x", 100, 0);
	weir_enforce_ceilings(f.enforce, f.ledger);
	entry("x")->reserved_nano += 60 * CREDIT;
	assert_int_equal(deduct("x", 41), -ENODATA);
	assert_string_equal(f.err.text,
			    "x: 41 cannot be deducted: 40 is left (balance 100, overage and what "
			    "requests in flight have reserved counted in)");
	assert_agrees("x", 0);
	op = op_of(WEIR_ENTRY_DEDUCT, "x", 40);
	assert_int_equal(post(&op, &done), 0);
	assert_false(done.repeated);
	assert_int_equal(left("x"), 0);
	assert_agrees("x", 0);
	/* Asked again, it is what was done, and nothing is taken. */
	assert_int_equal(post(&op, &done), 0);
	assert_true(done.repeated);
	assert_agrees("x", 0);
	op.amount_nano = 1; /* another under the same key */
	assert_int_equal(post(&op, &done), -EEXIST);
	assert_agrees("x", 0);
	entry("x")->reserved_nano -= 60 * CREDIT;
	op.amount_nano = 40 * CREDIT;
	assert_int_equal(post(&op, &done), 0); /* likewise when it could be done again */
	assert_true(done.repeated);
	assert_agrees("x", 0);
	assert_int_equal(left("x"), 60 * CREDIT);
}

static void a_deduct_goes_as_far_as_the_overage(void **state)
{
	put(ALL);
	grant("org", 5, 0);
	weir_enforce_ceilings(f.enforce, f.ledger);
	assert_int_equal(deduct("org", 16), -ENODATA);
	assert_int_equal(deduct("org", 15), 0);
	assert_agrees("org", 10 * CREDIT);
	assert_int_equal(left("org"), 0);
	assert_int_equal(entry("org")->balance_nano, -10 * CREDIT);
}

static void a_deduct_that_may_make_debt_does(void **state)
{
	struct weir_op op;
	struct weir_done done;

	put(ALL);
	weir_enforce_ceilings(f.enforce, f.ledger);
	op = op_of(WEIR_ENTRY_DEDUCT, "x", 7);
	op.flags = WEIR_OP_ALLOW_DEBT;
	assert_int_equal(post(&op, &done), 0);
	assert_agrees("x", 0);
	assert_int_equal(left("x"), -7 * CREDIT);
	op = op_of(WEIR_ENTRY_DEDUCT, "x", 1);
	op.amount_nano = INT64_MAX;
	assert_int_equal(post(&op, &done), -ENODATA);
	assert_agrees("x", 0);
}

/* What falls due by then is gone, and what comes is there, before it is looked at. */
static void a_deduct_is_judged_by_what_is_there_at_its_time(void **state)
{
	uint64_t soon = weir_wall_ns() + 50000000;

	put(ALL);
	grant("x", 10, soon);
	weir_enforce_ceilings(f.enforce, f.ledger);
	assert_int_equal(left("x"), 10 * CREDIT);
	while (weir_wall_ns() < soon)
		usleep(1000);
	assert_int_equal(deduct("x", 1), -ENODATA);
	assert_agrees("x", 0);
	assert_int_equal(left("x"), 0);
}

/* -- top-ups */

static int count_entry(const struct weir_entry *e, void *ctx)
{
	++*(size_t *)ctx;
	assert_int_equal(e->op->amount_nano, 50 * CREDIT);
	return 0;
}

static size_t top_ups(const char *wallet)
{
	struct weir_entry_query q = { .tenant = number(wallet), .kinds = 1u << WEIR_ENTRY_TOP_UP };
	struct weir_reader *r;
	size_t n = 0;

	if (weir_reader_open(f.db, &r, &f.err) ||
	    weir_reader_entries(r, &q, count_entry, &n, &f.err))
		fail_msg("%s", f.err.text);
	weir_reader_close(r);
	return n;
}

static void a_top_up_is_asked_for_once_a_crossing(void **state)
{
	put(ALL);
	grant("x", 10, 0);
	weir_enforce_ceilings(f.enforce, f.ledger);
	use("x", number("x"), 5); /* 5: not below */
	assert_int_equal(top_ups("x"), 0);
	use("x", number("x"), 1);
	use("x", number("x"), 1);
	put(ALL); /* told anew */
	assert_int_equal(deduct("x", 1), 0);
	assert_int_equal(top_ups("x"), 1);
	grant("x", 100, 0);
	assert_int_equal(top_ups("x"), 1);
	assert_int_equal(deduct("x", 99), 0); /* 3 */
	assert_int_equal(top_ups("x"), 2);
	/* Nobody is asked when the policy says so, nor for who left it, nor for who is paid for. */
	grant("x", 100, 0);
	put(ORG "," TENANT("x", "hard", ", \"overrides\": {\"topup\": null}"));
	assert_int_equal(deduct("x", 100), 0);
	assert_int_equal(top_ups("x"), 2);
	put(ALL);
	grant("x", 100, 0);
	put(ORG);
	assert_int_equal(deduct("x", 100), 0);
	assert_int_equal(top_ups("x"), 2);
	put(ALL);
	grant("a", 6, 0);
	assert_int_equal(deduct("a", 6), 0);
	assert_int_equal(top_ups("a"), 0);
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, open_all, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(the_kernel_is_told_who_pays),
		CLAIM(a_tiers_name_outlives_its_policy),
		CLAIM(a_ceiling_follows_the_ledger),
		CLAIM(a_price_that_the_ledger_knows_better_is_put_right),
		CLAIM(overage_is_the_wallets),
		CLAIM(a_wallet_changes_hands_with_requests_in_flight),
		CLAIM(what_was_lost_comes_back_to_the_wallet),
		CLAIM(the_kernel_holds_the_next_expiry),
		CLAIM(a_deduct_leaves_what_is_reserved),
		CLAIM(a_deduct_goes_as_far_as_the_overage),
		CLAIM(a_deduct_that_may_make_debt_does),
		CLAIM(a_deduct_is_judged_by_what_is_there_at_its_time),
		CLAIM(a_top_up_is_asked_for_once_a_crossing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
