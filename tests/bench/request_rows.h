/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of kernel_bench.c for requests and answers: what a head costs by its size, its
 * cut and its verdict, a body that is read, an answer. Every packet is a new one of its stream.
 */
#ifndef BENCH_REQUEST_ROWS_H
#define BENCH_REQUEST_ROWS_H

#define BENCH_KEY	"sk-weir-0123456789abcdef0123456789abcdef0123456789ab"
#define BENCH_RULES_KEY "sk-weir-rules-9abcdef0123456789abcdef0123456789ab000"
#define BENCH_NO_KEY	"sk-weir-broke-9abcdef0123456789abcdef0123456789ab000"

/* The tenants that the rows are measured with. */
enum { PLAIN = 1, RULED = 2, BROKE = 3 };

static struct {
	struct conn request, by_source, data, chunks, text, messages, whole, answer;
	uint32_t opened;
	char by_source_head[512], head[512], head_3k4[3401], head_4k[4097], head_16k[16001];
	char refused[512], refused_4k[4097];
	uint8_t chunk[1400], prose[1400], list[1400], vectors[1448];
	char told[4096]; /* told_rows.h */
	size_t told_len;
} requests;

static struct conn opened(uint32_t tenant)
{
	struct conn c = client_of(tenant, 1024 + requests.opened % 60000);

	snprintf(c.server, sizeof(c.server), "192.0.2.%u", 2 + requests.opened++ / 60000);
	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	c.next++;
	from_server(&c, TCP_SYN | TCP_ACK, c.sent++, c.next, NULL, 0);
	return c;
}

/* -- requests without a body */

/* A request and its answer, which is not measured. */
static double admitted(struct conn *c, const char *head, size_t cuts)
{
	static double v[EACH];
	uint64_t before = lab.tenants[PLAIN].admitted;

	for (int k = 0; k < EACH; k++) {
		v[k] = cut_ns(c, head, cuts, NULL);
		server_ns(c, no_content, sizeof(no_content) - 1);
	}
	drain();
	if (lab.tenants[PLAIN].admitted != before + EACH)
		die("not every request was admitted");
	return median(v, EACH);
}

/* Each is the first request of a connection: a refusal is its end. */
static double refused(const char *head, size_t cuts)
{
	static double v[EACH];

	for (int k = 0; k < EACH; k++) {
		struct conn c = opened(BROKE);
		int code;

		v[k] = cut_ns(&c, head, cuts, &code);
		if (code != OUT_REDIRECT)
			die("a request over its limit was not answered");
	}
	drain();
	return median(v, EACH);
}

static double request_by_source(void)
{
	return admitted(&requests.by_source, requests.by_source_head, 1);
}

static double request_433_in_3(void)
{
	return admitted(&requests.request, requests.head, 3);
}

static double request_433_in_8(void)
{
	return admitted(&requests.request, requests.head, 8);
}

static double request_3k4(void)
{
	return admitted(&requests.request, requests.head_3k4, 1);
}

static double request_4k_in_8(void)
{
	return admitted(&requests.request, requests.head_4k, 8);
}

static double request_16k_in_5(void)
{
	return admitted(&requests.request, requests.head_16k, 5);
}

static double request_16k_in_12(void)
{
	return admitted(&requests.request, requests.head_16k, 12);
}

static double refused_433(void)
{
	return refused(requests.refused, 1);
}

static double refused_4k_in_3(void)
{
	return refused(requests.refused_4k, 3);
}

/* -- bodies that are read */

/* The same bytes again and again, as more of a body without end. */
static double body_each(struct conn *c, const uint8_t *bytes, size_t len)
{
	static double v[EACH];

	for (int k = 0; k < EACH; k++) {
		int code;

		v[k] = client_ns(c, bytes, len, &code);
		if (code != OUT_PASS)
			die("a segment of a body did not pass");
	}
	drain();
	return median(v, EACH);
}

static double chunk_data(void)
{
	return body_each(&requests.data, bench.body, sizeof(bench.body));
}

static double chunk_whole(void)
{
	return body_each(&requests.chunks, requests.chunk, sizeof(requests.chunk));
}

/* The text of one long message; many short messages. */
static double rules_text(void)
{
	return body_each(&requests.text, requests.prose, sizeof(requests.prose));
}

static double rules_messages(void)
{
	return body_each(&requests.messages, requests.list, sizeof(requests.list));
}

/* A chat of 1400 B in a segment of its own, as clients send it; its head and its answer
 * are not measured. */
static double whole_body(const char *max_tokens, int rewritten)
{
	static const char form[] =
		"{\"model\":\"llama-3.3-70b-instruct\",\"messages\":[{\"role\":\"user\","
		"\"content\":\"%.*s\"}],\"stream\":true,\"max_tokens\":%s}";
	static double v[EACH];
	uint64_t before = counter(WEIR_REWRITE_TOKENS);
	int without = snprintf(NULL, 0, form, 0, "", max_tokens);
	char body[1500], head[512];
	struct conn *c = &requests.whole;

	sprintf(body, form, 1400 - without, (const char *)requests.prose, max_tokens);
	sprintf(head,
		"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer %s\r\n"
		"Content-Length: 1400\r\n\r\n",
		BENCH_RULES_KEY);
	for (int k = 0; k < EACH; k++) {
		client_ns(c, head, strlen(head), NULL);
		v[k] = client_ns(c, body, 1400, NULL);
		server_ns(c, no_content, sizeof(no_content) - 1);
	}
	drain();
	if (counter(WEIR_REWRITE_TOKENS) != before + (rewritten ? EACH : 0))
		die("not every body was rewritten that had to be");
	return median(v, EACH);
}

static double rules_whole(void)
{
	return whole_body("4000", 0);
}

static double rules_rewritten(void)
{
	return whole_body("100000", 1);
}

/* -- answers */

static double answer_each(size_t cuts)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
				     "server: uvicorn\r\ncontent-length: 0\r\n"
				     "content-type: application/json\r\n\r\n";
	struct conn *c = &requests.answer;
	uint64_t before = lab.tenants[PLAIN].admitted;
	int32_t inflight = lab.tenants[PLAIN].inflight; /* bodies and answers without end */
	static double v[EACH];

	for (int k = 0; k < EACH; k++) {
		size_t len = sizeof(answer) - 1, at = 0;

		client_ns(c, requests.head, strlen(requests.head), NULL);
		v[k] = 0;
		for (size_t i = 1; i <= cuts; i++) {
			size_t to = len * i / cuts;

			v[k] += server_ns(c, answer + at, to - at);
			at = to;
		}
	}
	drain();
	if (lab.tenants[PLAIN].inflight != inflight)
		die("not every answer was seen to end");
	if (lab.tenants[PLAIN].admitted != before + EACH)
		die("not every request was admitted");
	return median(v, EACH);
}

static double answer_in_1(void)
{
	return answer_each(1);
}

static double answer_in_2(void)
{
	return answer_each(2);
}

/* -- what the rows find */

static void tenant_of_rows(uint32_t index, const char *key)
{
	struct weir_tenant *t = &lab.tenants[index];

	t->flags = WEIR_TENANT_LIVE | WEIR_TENANT_LIMIT_INFLIGHT | WEIR_TENANT_LIMIT_REQUESTS |
		   WEIR_TENANT_LIMIT_TOKENS | WEIR_TENANT_CREDIT;
	t->max_inflight = 1000;
	t->request_interval_ns = 1;
	t->request_burst = SECOND;
	t->tokens_interval_ns = 1;
	t->tokens_tau_ns = SECOND;
	t->reserve_nano_per_request = 1;
	t->ceiling_nano = INT64_MAX;
	add_key(key, index, 0);
}

static void make_rule(struct weir_rules *r, uint32_t max_output_tokens)
{
	int n = snprintf(r->tokens_text, sizeof(r->tokens_text), "%u", max_output_tokens);

	r->max_output_tokens = max_output_tokens;
	memset(r->tokens_text + n, ' ', sizeof(r->tokens_text) - n);
}

/* A connection on which a request with a body without end has begun. */
static struct conn begun(uint32_t tenant, const char *key, const char *framing, const char *body)
{
	struct conn c = opened(tenant);
	char head[512];

	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n%s",
		 key, framing, body);
	assert_int_equal(send_text(&c, head).code, OUT_PASS);
	return c;
}

static void fill(uint8_t *to, size_t size, const char *with)
{
	size_t n = strlen(with);

	for (size_t i = 0; i < size; i++)
		to[i] = with[i % n];
}

static void request_rows_begin(void)
{
	static const char message[] =
		"{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"},";
	struct weir_rules *rules = map_memory(lab.skel->maps.rules, 2 * sizeof(*rules));
	size_t n = strlen(message), at;
	int len;

	tenant_of_rows(PLAIN, BENCH_KEY);
	tenant_of_rows(RULED, BENCH_RULES_KEY);
	tenant_of_rows(BROKE, BENCH_NO_KEY);
	lab.tenants[RULED].rules = 1;
	make_rule(&rules[1], 4096);
	lab.tenants[BROKE].ceiling_nano = 0;
	make_head(requests.by_source_head, 371, NULL);
	make_head(requests.head, 433, BENCH_KEY);
	make_head(requests.head_3k4, 3400, BENCH_KEY);
	make_head(requests.head_4k, 4096, BENCH_KEY);
	make_head(requests.head_16k, 16000, BENCH_KEY);
	make_head(requests.refused, 433, BENCH_NO_KEY);
	make_head(requests.refused_4k, 4096, BENCH_NO_KEY);
	fill(requests.prose, sizeof(requests.prose), "The quick brown fox jumps, he said. ");
	/* Whole messages, with blanks between them and the next segment's. */
	memset(requests.list, ' ', sizeof(requests.list));
	for (at = 0; at + n <= sizeof(requests.list); at += n)
		memcpy(requests.list + at, message, n);
	memset(requests.chunk, 'x', sizeof(requests.chunk));
	len = sprintf((char *)requests.chunk, "%zx\r\n", sizeof(requests.chunk) - 7);
	requests.chunk[len] = 'x';
	lab_must(len == 5);
	memcpy(requests.chunk + sizeof(requests.chunk) - 2, "\r\n", 2);

	requests.request = opened(PLAIN);
	requests.by_source = opened(PLAIN);
	requests.answer = opened(PLAIN);
	requests.whole = opened(RULED);
	requests.data = begun(RULED + 2, BENCH_KEY, "Transfer-Encoding: chunked", "ffffffff\r\n");
	requests.chunks = begun(RULED + 2, BENCH_KEY, "Transfer-Encoding: chunked", "");
	requests.text = begun(RULED, BENCH_RULES_KEY, "Content-Length: 1000000000",
			      "{\"messages\":[{\"role\":\"user\",\"content\":\"");
	requests.messages =
		begun(RULED, BENCH_RULES_KEY, "Content-Length: 1000000000", "{\"messages\":[");
}

#endif
