/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about what is said of tenants on the control socket, and about switches. */
#include "control_fixture.h"

#include "agent/control_call.h"
#include "bpf/gcra.h"

static void a_tenant_shows_limits_and_what_is_left(void **state)
{
	uint64_t now = weir_mono_ns();
	json_t *t, *live, *limits;

	f->kernel[1].flags |= WEIR_TENANT_LIMIT_REQUESTS | WEIR_TENANT_LIMIT_TOKENS;
	f->kernel[1].request_interval_ns = UINT64_C(1000000000);
	f->kernel[1].request_burst = 10;
	f->kernel[1].request_tat_ns = now + UINT64_C(3500000000);
	f->kernel[1].tokens_per_minute = 1000; /* burst: 500 */
	f->kernel[1].tokens_tau_ns = UINT64_C(30000000000);
	f->kernel[1].tokens_interval_ns = UINT64_C(60000000);
	/* The later of the two copies counts. */
	f->kernel[1].settled[0] = (struct weir_settled){ 100, 40, now + UINT64_C(15000000000) };
	f->kernel[1].settled[1] = (struct weir_settled){ 90, 10, 0 };
	f->kernel[1].reserved_nano = 1500000040 + 7;
	f->kernel[1].lost_nano = 7; /* given back by raising the ceiling */
	/* In flight, wrapped: they count as if they had been settled. */
	f->kernel[1].reserved_tokens = 60;
	f->kernel[1].released_tokens[0] = (uint32_t)-40;
	f->kernel[1].released_tokens[1] = 7;
	f->kernel[1].connections = 5;
	f->kernel[1].half_open = 3;
	f->kernel[1].balance_nano = -2500000000;
	f->kernel[1].inflight = 2;
	t = result_of(ask("{\"op\":\"tenant.show\",\"tenant\":\"acme\"}"));
	live = json_object_get(t, "live");
	assert_string_equal(text(t, "tier"), "paid");
	assert_int_equal(
		json_integer_value(json_object_get(
			json_object_get(json_object_get(t, "limits"), "requests"), "per_minute")),
		60);
	limits = json_object_get(t, "limits");
	assert_int_equal(json_integer_value(json_object_get(limits, "max_output_tokens")), 4096);
	assert_true(json_is_null(json_object_get(limits, "max_input_tokens")));
	assert_string_equal(text(limits, "on_max_output"), "rewrite");
	assert_string_equal(text(limits, "on_exhausted"), "degrade");
	assert_string_equal(text(limits, "fallback_model"), "small");
	assert_string_equal(text(limits, "other_protocols"), "refuse");
	assert_int_equal(json_integer_value(json_object_get(live, "inflight")), 2);
	assert_in_range(json_integer_value(json_object_get(live, "requests_remaining")), 6, 7);
	assert_in_range(integer(live, "tokens_remaining"), 150, 160);
	assert_int_equal(integer(live, "reserved_tokens"), 100);
	assert_int_equal(integer(live, "connections"), 5);
	assert_int_equal(integer(live, "half_open"), 3);
	assert_string_equal(text(live, "balance"), "-2.5");
	assert_string_equal(text(live, "reserved"), "1.5");
	json_decref(t);
}

/* What the programs put into a refusal and what is shown is the same figure. */
static void what_is_left_is_what_the_kernel_reckons(void **state)
{
	srand(7);
	for (int i = 0; i < 200000; i++) {
		uint64_t now = UINT64_C(1000000000000) + (uint64_t)rand() * 1000;
		struct weir_tenant t = {
			.flags = WEIR_TENANT_LIMIT_REQUESTS | WEIR_TENANT_LIMIT_TOKENS,
			.request_interval_ns = 1 + (uint64_t)rand() % 1000000000,
			.request_burst = 1 + (uint32_t)rand() % 100,
			.tokens_per_minute = 1 + (uint32_t)rand() % 1000000,
			.reserved_tokens = (uint32_t)rand(),
		};
		int copy = rand() % 2;
		uint32_t flying = rand() % 2 ? (uint32_t)rand() % 2000 : 0;
		uint64_t burst = 1 + (uint64_t)rand() % 1000000;
		uint64_t tat, tokens = burst * UINT64_C(60000000000) / t.tokens_per_minute;
		struct weir_live live;

		t.tokens_tau_ns = tokens;
		t.tokens_interval_ns = UINT64_C(60000000000) / t.tokens_per_minute;
		t.request_tat_ns = now - 1000000 +
				   (uint64_t)rand() % (2 * t.request_interval_ns * t.request_burst);
		t.settled[copy] =
			(struct weir_settled){ 2, 0, now - 1000 + (uint64_t)rand() % tokens };
		t.settled[!copy] = (struct weir_settled){ 1, 99, ~UINT64_C(0) };
		t.released_tokens[copy] = t.reserved_tokens - flying;
		tat = t.settled[copy].tokens_tat_ns;
		if (flying)
			tat = (tat > now ? tat : now) + flying * t.tokens_interval_ns;
		weir_live_figures(&t, now, &live);
		assert_int_equal(live.requests_remaining,
				 weir_gcra_left(t.request_tat_ns, now,
						t.request_interval_ns * t.request_burst,
						t.request_burst));
		assert_int_equal(live.tokens_remaining,
				 weir_gcra_left(tat, now, t.tokens_tau_ns, burst));
		assert_int_equal(live.reserved_tokens, flying);
	}
}

static size_t listed(void)
{
	int fd = dial();
	size_t n = 0;
	json_t *o;

	say_line(fd, "{\"op\":\"tenant.list\"}\n");
	while ((o = hear(fd)) && json_object_get(o, "item")) {
		assert_null(strchr(text(json_object_get(o, "item"), "tenant"), '@'));
		json_decref(o);
		n++;
	}
	json_decref(result_of(o));
	close(fd);
	return n;
}

static void a_tenant_shows_every_level_it_is_held_to(void **state)
{
	uint32_t top = 0, team = 0, acme = 0, scope = 5;
	json_t *t, *levels, *l;

	fake_levels(f);
	assert_int_equal(fake_index(f, "org", &top) | fake_index(f, "team", &team) |
				 fake_index(f, "acme", &acme),
			 0);
	assert_int_equal(fake_index(f, "acme@embed", &scope), 0);
	f->kernel[acme].parent = team;
	f->kernel[team].parent = top;
	f->kernel[acme].inflight = 1;
	f->kernel[scope].inflight = 2;
	f->kernel[scope].flags |= WEIR_TENANT_SHADOW;
	f->kernel[team].inflight = 3;
	f->kernel[team].flags |= WEIR_TENANT_SUSPENDED;
	f->kernel[top].inflight = 4;
	t = result_of(ask("{\"op\":\"tenant.show\",\"tenant\":\"acme\"}"));
	assert_string_equal(text(t, "parent"), "team");
	assert_string_equal(text(t, "wallet"), "acme");
	assert_false(truth(t, "suspended"));
	assert_string_equal(text(t, "suspended_by"), "team");
	levels = json_object_get(json_object_get(t, "limits"), "services");
	assert_int_equal(integer(json_object_get(levels, "embed"), "concurrency"), 3);
	levels = json_object_get(t, "levels");
	assert_int_equal(json_array_size(levels), 4);
	for (int i = 0; i < 4; i++) {
		static const char *const level[] = { "own", "scope", "parent", "top" };
		static const char *const name[] = { "acme", "acme@embed", "team", "org" };

		l = json_array_get(levels, i);
		assert_string_equal(text(l, "level"), level[i]);
		assert_string_equal(text(l, "name"), name[i]);
		assert_int_equal(integer(l, "inflight"), i + 1);
		assert_int_equal(truth(l, "shadow"), i == 1);
		assert_int_equal(truth(l, "suspended"), i == 2);
		assert_true(json_is_null(json_object_get(l, "service")) == (i != 1));
	}
	json_decref(t);
	/* A scope is no tenant: neither listed nor to be asked for. */
	assert_refused(ask("{\"op\":\"tenant.show\",\"tenant\":\"acme@embed\"}"), "not_found",
		       "no such");
	assert_int_equal(listed(), 4);
}

static void a_tenant_shows_what_reserves(void **state)
{
	json_t *t, *q;

	for (f->n_open = 0; f->n_open < 25; f->n_open++)
		f->open[f->n_open] = (struct weir_open_request){
			.slot = 0x0a0b0c,
			.ordinal = 1 + (uint32_t)f->n_open,
			.tenant = f->n_open ? 1 : 2, /* one of a child's */
			.others = { [WEIR_LEVEL_PARENT - 1] = f->n_open ? 0 : 1 },
			.wallet = f->n_open ? 1 : 2,
			.service = 2,
			.started_ns = weir_mono_ns() - UINT64_C(5000000000),
			.started_wall_ns = UINT64_C(0x1122334455667788),
			.reserved_nano = 1500000000,
			.reserved_tokens = 700,
		};
	t = result_of(ask("{\"op\":\"tenant.show\",\"tenant\":\"acme\"}"));
	assert_int_equal(integer(t, "requests_open"), 25);
	assert_int_equal(json_array_size(json_object_get(t, "requests")), 20);
	q = json_array_get(json_object_get(t, "requests"), 0);
	assert_string_equal(text(q, "tenant"), "globex");
	assert_string_equal(text(q, "credits"), "0"); /* its own wallet pays */
	assert_int_equal(integer(q, "tokens"), 700);
	q = json_array_get(json_object_get(t, "requests"), 1);
	/* As the event of the finished request will name it. */
	assert_string_equal(text(q, "request_id"), "1122334455667788010203040a0b0c02");
	assert_string_equal(text(q, "service"), "embed");
	assert_string_equal(text(q, "credits"), "1.5");
	assert_in_range(integer(q, "age_ms"), 5000, 60000);
	json_decref(t);
}

#define SUSPEND(rest) ask("{\"op\":\"tenant.suspend\",\"tenant\":\"acme\"," rest "}")
#define RESUME(rest)  ask("{\"op\":\"tenant.resume\",\"tenant\":\"acme\"," rest "}")

static void a_tenant_is_suspended_until_it_is_resumed(void **state)
{
	json_t *r = result_of(SUSPEND("\"id\":\"s1\",\"reason\":\"unpaid\"")), *s;

	assert_true(truth(r, "suspended"));
	assert_false(truth(r, "repeated"));
	assert_true(json_is_null(json_object_get(r, "cut")));
	json_decref(r);
	assert_true(f->kernel[1].flags & WEIR_TENANT_SUSPENDED);
	assert_int_equal(f->cuts, 0);
	r = result_of(ask("{\"op\":\"tenant.show\",\"tenant\":\"acme\"}"));
	s = json_object_get(r, "suspension");
	assert_true(truth(r, "suspended"));
	assert_string_equal(text(s, "reason"), "unpaid");
	assert_non_null(text(s, "since"));
	json_decref(r);
	/* A kernel that does not know, as after a crash between the two, is healed. */
	f->kernel[1].flags = WEIR_TENANT_LIVE;
	r = result_of(SUSPEND("\"id\":\"s1\",\"reason\":\"unpaid\""));
	assert_true(truth(r, "repeated"));
	json_decref(r);
	assert_true(f->kernel[1].flags & WEIR_TENANT_SUSPENDED);
	assert_refused(SUSPEND("\"id\":\"s1\",\"reason\":\"other\""), "conflict", "s1");
	assert_refused(RESUME("\"id\":\"s1\",\"reason\":\"unpaid\""), "conflict", "s1");
	json_decref(result_of(RESUME("\"id\":\"s2\"")));
	assert_false(f->kernel[1].flags & WEIR_TENANT_SUSPENDED);
	/* Repeated once more: it was done, and what came after it holds. */
	r = result_of(SUSPEND("\"id\":\"s1\",\"reason\":\"unpaid\""));
	assert_true(truth(r, "repeated"));
	assert_false(truth(r, "suspended"));
	json_decref(r);
	assert_false(f->kernel[1].flags & WEIR_TENANT_SUSPENDED);
	r = result_of(ask("{\"op\":\"tenant.show\",\"tenant\":\"acme\"}"));
	assert_true(json_is_null(json_object_get(r, "suspension")));
	json_decref(r);
}

static void suspending_now_says_what_was_cut(void **state)
{
	json_t *r;

	f->cut = (struct weir_cut){ .answers = 3, .sockets = 5 };
	r = result_of(SUSPEND("\"id\":\"s1\",\"now\":true"));
	assert_int_equal(integer(r, "cut"), 3);
	assert_int_equal(integer(r, "destroyed"), 5);
	assert_true(json_is_null(json_object_get(r, "warning")));
	json_decref(r);
	assert_int_equal(f->last_cut, 1);
	/* Lost the answer: what came meanwhile is cut as well. */
	json_decref(result_of(SUSPEND("\"id\":\"s1\",\"now\":true")));
	assert_int_equal(f->cuts, 2);
	json_decref(result_of(RESUME("\"id\":\"s2\"")));
	/* But not once it is let in again. */
	r = result_of(SUSPEND("\"id\":\"s1\",\"now\":true"));
	assert_true(json_is_null(json_object_get(r, "cut")));
	json_decref(r);
	assert_int_equal(f->cuts, 2);
	/* A kernel that cannot destroy sockets still cuts answers. */
	strcpy(f->cut.warning, "this kernel cannot");
	r = result_of(SUSPEND("\"id\":\"s3\",\"now\":true"));
	assert_int_equal(integer(r, "cut"), 3);
	assert_true(json_is_null(json_object_get(r, "destroyed")));
	assert_string_equal(text(r, "warning"), "this kernel cannot");
	json_decref(r);
	f->cut_error = EIO;
	assert_refused(SUSPEND("\"id\":\"s4\",\"now\":true"), "failed", "not today");
	assert_true(f->kernel[1].flags & WEIR_TENANT_SUSPENDED);
}

static void a_switch_that_makes_no_sense_is_refused(void **state)
{
	assert_refused(SUSPEND("\"now\":true"), "bad_request", "\"id\" is missing");
	assert_refused(SUSPEND("\"id\":\"\""), "bad_request", "id");
	assert_refused(SUSPEND("\"id\":\"x\",\"now\":1"), "bad_request", "now");
	assert_refused(SUSPEND("\"id\":\"x\",\"reason\":\"a\\u001b[2J\""), "bad_request",
		       "control character");
	assert_refused(RESUME("\"id\":\"x\",\"now\":true"), "bad_request", "now");
	assert_refused(ask("{\"op\":\"tenant.suspend\",\"tenant\":\"acmee\",\"id\":\"x\"}"),
		       "not_found", "acme");
	assert_refused(ask("{\"op\":\"enforce.set\",\"id\":\"x\"}"), "bad_request",
		       "\"on\" is missing");
	assert_refused(ask("{\"op\":\"enforce.set\",\"on\":true}"), "bad_request",
		       "\"id\" is missing");
	assert_int_equal(f->throws, 0);
	assert_int_equal(f->cuts, 0);
}

static void enforcement_is_switched_and_its_history_kept(void **state)
{
	json_t *r = result_of(ask("{\"op\":\"enforce.show\"}")), *s;

	assert_true(truth(r, "enforcing"));
	assert_true(truth(r, "configured"));
	assert_true(json_is_null(json_object_get(r, "switch")));
	json_decref(r);
	r = result_of(ask("{\"op\":\"enforce.set\",\"on\":false,\"id\":\"e1\",\"reason\":"
			  "\"drill\"}"));
	assert_false(truth(r, "enforcing"));
	assert_string_equal(text(json_object_get(r, "switch"), "reason"), "drill");
	json_decref(r);
	assert_false(f->enforce.on);
	r = result_of(ask("{\"op\":\"status\"}"));
	s = json_object_get(r, "enforce");
	assert_false(truth(s, "enforcing"));
	assert_false(truth(json_object_get(s, "switch"), "on"));
	json_decref(r);
	assert_refused(ask("{\"op\":\"enforce.set\",\"on\":true,\"id\":\"e1\"}"), "conflict", "e1");
	json_decref(result_of(ask("{\"op\":\"enforce.set\",\"on\":true,\"id\":\"e2\"}")));
	assert_true(f->enforce.on);
	f->enforce_configured_off = true;
	r = result_of(ask("{\"op\":\"enforce.show\"}"));
	assert_false(truth(r, "enforcing"));
	assert_false(truth(r, "configured"));
	assert_true(truth(json_object_get(r, "switch"), "on"));
	s = json_object_get(r, "history");
	assert_int_equal(json_array_size(s), 2);
	assert_string_equal(text(json_array_get(s, 0), "id"), "e2");
	assert_string_equal(text(json_array_get(s, 1), "reason"), "drill");
	json_decref(r);
}

static void why_tells_limits_in_their_units(void **state)
{
	struct weir_rec_deny d = {
		.wall_ns = UINT64_C(1790000000000000000),
		.count = 1,
		.tenant = 1,
		.reason = WEIR_DENY_CREDIT,
		.limit = 0,
		.value = -1500000000,
		.asked = 250000000,
		.retry_after_ns = 1500001,
	};
	json_t *w;

	weir_denials_note(f->view.denials, &d);
	w = result_of(ask("{\"op\":\"why\",\"tenant\":\"acme\"}"));
	assert_string_equal(text(json_array_get(w, 0), "value"), "-1.5");
	assert_string_equal(text(json_array_get(w, 0), "asked"), "0.25");
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(w, 0), "retry_after_ms")), 2);
	assert_true(json_is_null(json_object_get(json_array_get(w, 0), "limit_of")));
	assert_false(truth(json_array_get(w, 0), "shadow"));
	json_decref(w);
	/* Another's limit, which only counts. */
	d.level = 2;
	d.shadow = 1;
	d.reason = WEIR_DENY_REQUESTS;
	d.count = 1;
	d.wall_ns++;
	weir_denials_note(f->view.denials, &d);
	w = result_of(ask("{\"op\":\"why\",\"tenant\":\"acme\"}"));
	assert_string_equal(text(json_array_get(w, 0), "limit_of"), "globex");
	assert_true(truth(json_array_get(w, 0), "shadow"));
	json_decref(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_left_is_what_the_kernel_reckons),
		CLAIM(a_tenant_shows_limits_and_what_is_left),
		CLAIM(a_tenant_shows_every_level_it_is_held_to),
		CLAIM(a_tenant_shows_what_reserves),
		CLAIM(a_tenant_is_suspended_until_it_is_resumed),
		CLAIM(suspending_now_says_what_was_cut),
		CLAIM(a_switch_that_makes_no_sense_is_refused),
		CLAIM(enforcement_is_switched_and_its_history_kept),
		CLAIM(why_tells_limits_in_their_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
