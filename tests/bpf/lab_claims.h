/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test claims: counters, ring records, the refusal that a client reads, a tenant's
 * figures.
 */
#ifndef TEST_LAB_CLAIMS_H
#define TEST_LAB_CLAIMS_H

#include "tests/bpf/lab.h"

static UNUSED void is_counted(uint32_t reason, uint64_t times)
{
	uint64_t n = counter(reason) - lab.before[reason];

	if (n != times)
		fail_msg("%s counted %lu times, not %lu", weir_reason_name(reason),
			 (unsigned long)n, (unsigned long)times);
}

/* How often that was refused, or would have been (shadow), of the tenant by now. */
static UNUSED uint64_t denied(const struct weir_tenant *t, uint32_t reason, bool shadow)
{
	struct weir_denial_key key = { .tenant = t - lab.tenants,
				       .reason = reason,
				       .shadow = shadow };
	struct weir_denial d = {};

	bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.denials), &key, &d);
	return d.count;
}

static UNUSED void take_records(void)
{
	ring_buffer__consume(lab.ring);
}

/* The nth record of a type since the test began, NULL if there is none. */
static UNUSED const void *record(uint8_t type, size_t nth)
{
	take_records();
	for (size_t i = 0; i < lab.n_records; i++) {
		const struct weir_record *h = (const void *)lab.records[i].bytes;

		if (h->type == type && !nth--)
			return h;
	}
	return NULL;
}

/* All response bytes that the ring holds, in order, as one text. */
static UNUSED size_t tapped(char *out, size_t size)
{
	const struct weir_rec_data *d;
	size_t n = 0;

	for (size_t i = 0; (d = record(WEIR_REC_DATA, i)); i++) {
		assert_int_equal(d->offset, n);
		assert_true(n + d->h.len < size);
		memcpy(out + n, d + 1, d->h.len);
		n += d->h.len;
	}
	out[n] = 0;
	return n;
}

/* A refusal as the client reads it. */
struct answer {
	struct segment tcp;
	char head[1200];
	char body[1200];
	int status;
	uint8_t copy[FRAME_MAX];
};

static UNUSED const char *header(const struct answer *a, const char *name)
{
	static char value[8][256];
	static unsigned int turn;
	char *out = value[turn++ % 8];
	size_t n = strlen(name);

	for (const char *line = strstr(a->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, name, n) || line[2 + n] != ':')
			continue;
		line += 3 + n;
		while (*line == ' ')
			line++;
		snprintf(out, 256, "%.*s", (int)strcspn(line, "\r"), line);
		return out;
	}
	return NULL;
}

/* The verdict is a whole HTTP answer to the client of c, in one segment with FIN. */
static UNUSED struct answer is_refused(const struct conn *c, const struct verdict *v, int status)
{
	struct answer a = {};
	const char *wrong, *end, *length;
	uint8_t client[16], server[16];
	bool v6;

	assert_int_equal(v->code, OUT_REDIRECT);
	memcpy(a.copy, v->frame, v->frame_len);
	wrong = read_frame(a.copy, v->frame_len, &a.tcp);
	if (wrong)
		fail_msg("reply: %s", wrong);
	address(c->client, client, &v6);
	address(c->server, server, &v6);
	assert_memory_equal(a.tcp.src, server, 16);
	assert_memory_equal(a.tcp.dst, client, 16);
	assert_memory_equal(a.tcp.to_mac, "\2\0\0\0\0\1", 6);
	assert_int_equal(a.tcp.sport, c->server_port);
	assert_int_equal(a.tcp.dport, c->client_port);
	assert_int_equal(a.tcp.flags, TCP_FIN | TCP_PSH | TCP_ACK);
	assert_int_equal(a.tcp.has_ts, c->has_ts);
	if (c->has_ts) {
		assert_int_equal(a.tcp.tsval, 2000);
		assert_int_equal(a.tcp.tsecr, 1000);
	}
	assert_true(a.tcp.len && a.tcp.len < sizeof(a.head));
	memcpy(a.head, a.tcp.payload, a.tcp.len);
	end = strstr(a.head, "\r\n\r\n");
	assert_non_null(end);
	snprintf(a.body, sizeof(a.body), "%s", end + 4);
	a.head[end + 2 - a.head] = 0;
	assert_int_equal(sscanf(a.head, "HTTP/1.1 %d ", &a.status), 1);
	assert_int_equal(a.status, status);
	length = header(&a, "content-length");
	assert_non_null(length);
	assert_int_equal(atoi(length), strlen(a.body));
	assert_string_equal(header(&a, "connection"), "close");
	if (!strcmp(header(&a, "content-type"), "application/json")) {
		json_t *root = json_loads(a.body, 0, NULL);

		assert_non_null(root);
		json_decref(root);
	}
	return a;
}

/* The string at a path of the answer's JSON, "error.code"; "" for null. */
static UNUSED const char *json_at(const struct answer *a, const char *object, const char *name)
{
	static char value[4][512];
	static unsigned int turn;
	char *out = value[turn++ % 4];
	json_t *root = json_loads(a->body, 0, NULL), *at = root;

	assert_non_null(root);
	if (object)
		at = json_object_get(at, object);
	at = json_object_get(at, name);
	snprintf(out, 512, "%s", json_is_string(at) ? json_string_value(at) : "");
	json_decref(root);
	return out;
}

/* Nothing but `refused` moved: a refusal uses up nothing. */
static UNUSED void uses_up_nothing(const struct weir_tenant *before, const struct weir_tenant *now)
{
	struct weir_tenant same = *now;

	same.refused = before->refused;
	assert_memory_equal(before, &same, sizeof(same));
}

#endif
