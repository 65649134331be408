/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection, two processors: a packet of the client's while the server answers, or while
 * the socket closes. Whoever comes first, the request ends once, what it held is in one place,
 * and what is held is what is there (histories.h), each time.
 *
 *   WEIR_SAME_ROUNDS   how often
 */
#include "tests/bpf/bodies.h"
#include "tests/bpf/histories.h"
#include "tests/bpf/races.h"

enum { ROUNDS = 1200 };

enum kind { BODY_CLOSE, BAD_BODY_CLOSE, NEXT_CLOSE, NEXT_LAST, MOVE_CLOSE, ACK_EXPIRE, KINDS };
static const char *const kinds[] = { "body and close",	       "refused body and close",
				     "next request and close", "next request and last chunk",
				     "move and close",	       "handshake and its end" };

static struct same {
	struct chain a, b;
	struct conn c;
	struct weir_reap reap;
	enum kind kind;
	bool forgotten;
	uint32_t rounds;
	uint32_t arrived[2];
	const char *text; /* what the client says */
} same;

static const char big_head[] = "POST /v1/chat/completions HTTP/1.1\r\nx-api-key: sk-same-a\r\n"
			       "Content-Length: 19\r\n\r\n";
static const char plain_a[] = "POST /v1/x HTTP/1.1\r\nx-api-key: sk-same-a\r\n\r\n";
static const char plain_b[] = "POST /v1/x HTTP/1.1\r\nx-api-key: sk-same-b\r\n\r\n";
static const char endless[] = "HTTP/1.1 200 OK\r\n\r\nwords";
static const char chunks[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n";

/* A connection that stands where the two will meet. */
static void stand(enum kind kind)
{
	struct conn *c = &same.c;
	struct weir_flow_view f = {};

	lab.config->half_open_ns = 3600 * SECOND;
	*c = new_conn(nobody, host);
	if (lab.next_port > 60000)
		lab.next_port = 20000;
	racer_send(c, true, TCP_SYN, "");
	c->next++;
	racer_send(c, false, TCP_SYN | TCP_ACK, "");
	c->sent++;
	same.kind = kind;
	same.forgotten = false;
	same.text = "";
	if (kind != ACK_EXPIRE)
		racer_send(c, true, TCP_ACK, "");
	switch (kind) {
	case BODY_CLOSE:
	case BAD_BODY_CLOSE:
		racer_send(c, true, TCP_ACK | TCP_PSH, big_head);
		racer_send(c, false, TCP_ACK, "");
		same.text = kind == BODY_CLOSE ? "{\"max_tokens\":4000}" : "{'max_tokens':4000}";
		break;
	case NEXT_CLOSE:
	case NEXT_LAST:
		racer_send(c, true, TCP_ACK | TCP_PSH, plain_a);
		racer_send(c, false, TCP_ACK | TCP_PSH, kind == NEXT_LAST ? chunks : endless);
		same.text = kind == NEXT_LAST ? plain_a : plain_b;
		break;
	case MOVE_CLOSE:
		same.text = plain_b;
		break;
	default:
		break;
	}
	if (!flow_of(c, &f))
		race_wrong("it does not stand");
	same.reap.key = flow_key(c);
	same.reap.opened_ns = f.opened_ns;
}

static void client_says(void)
{
	struct conn c = same.c;

	racer_send(&c, true, TCP_ACK | (*same.text ? TCP_PSH : 0), same.text);
}

static void other_end(void)
{
	uint8_t frame[WEIR_REAP_OFFSET + sizeof(same.reap)] = {};
	struct conn c = same.c;

	if (same.kind == NEXT_LAST) {
		racer_send(&c, false, TCP_ACK | TCP_PSH, "0\r\n\r\n");
		return;
	}
	if (same.kind == ACK_EXPIRE) {
		lab.config->half_open_ns = 0;
		shoot(lab.skel->progs.weir_sweep, frame, sizeof(frame));
		return;
	}
	memcpy(frame + WEIR_REAP_OFFSET, &same.reap, sizeof(same.reap));
	shoot(lab.skel->progs.weir_reap, frame, sizeof(frame));
}

/* It is forgotten, however it stands. */
static void forget(void)
{
	struct conn *c = &same.c;
	uint8_t frame[64] = {};

	lab.config->half_open_ns = 3600 * SECOND;
	racer_send(c, true, TCP_RST, "");
	c->next += 100000;
	c->sent += 100000;
	racer_send(c, true, TCP_SYN, "");
	c->next++;
	racer_send(c, false, TCP_SYN | TCP_ACK, "");
	lab.config->half_open_ns = 0;
	shoot(lab.skel->progs.weir_sweep, frame, sizeof(frame));
}

static void told(const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	race_wrong("%s%s: %s", kinds[same.kind], same.forgotten ? ", forgotten" : "", text);
}

static void meet_at_it(size_t me)
{
	for (uint32_t n = 0; n < same.rounds && !race.failed; n++) {
		if (!me)
			stand(n % KINDS);
		meet_two(&same.arrived[0], n);
		/* A little apart, now one and now the other first. */
		for (volatile uint32_t spin = 0; spin < n * 37 % 900 * (n / KINDS % 2 == me);
		     spin++)
			;
		me ? other_end() : client_says();
		meet_two(&same.arrived[1], n);
		if (me)
			continue;
		is_quiet_or(told);
		forget();
		same.forgotten = true;
		is_quiet_or(told);
		if (n % 50 == 0) {
			struct weir_ring ring = map_ring();

			consume(&ring);
			weir_ring_unmap(&ring);
		}
	}
}

static void whoever_comes_first_all_is_held_once(void **state)
{
	struct weir_ring ring;

	same.a = new_chain("sk-same-a");
	same.b = new_chain("sk-same-b");
	for (int k = 0; k < WEIR_LEVELS; k++) {
		limit_widely(same.a.at[k]);
		limit_widely(same.b.at[k]);
		same.a.at[k]->connect_tat_ns = same.b.at[k]->connect_tat_ns = 0;
		same.a.at[k]->connect_interval_ns = same.b.at[k]->connect_interval_ns = 1;
		same.a.at[k]->request_interval_ns = same.b.at[k]->request_interval_ns = 1;
		same.a.at[k]->request_tat_ns = same.b.at[k]->request_tat_ns = 0;
	}
	new_rules(same.a.at[0], (struct weir_rules){ .max_output_tokens = 5000 });
	same.a.at[0]->reserve_nano_per_output_token = same.b.at[0]->reserve_nano_per_request = 10;
	same.a.at[0]->reserve_output_tokens = same.b.at[0]->reserve_output_tokens = 30;
	same.rounds =
		getenv("WEIR_SAME_ROUNDS") ? strtoul(getenv("WEIR_SAME_ROUNDS"), NULL, 0) : ROUNDS;
	take_records();
	run_racers(2, meet_at_it);
	ring = map_ring();
	consume(&ring);
	weir_ring_unmap(&ring);
	nothing_is_held();
	assert_true(shared->settled > same.rounds / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(whoever_comes_first_all_is_held_once, lab_reset),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("shared memory");
	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
