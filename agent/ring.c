// SPDX-License-Identifier: Apache-2.0
/*
 * Layout and record header are the kernel's (kernel/bpf/ringbuf.c): a page with
 * the consumer's position, a page with the producer's, then the data twice.
 */
#include "ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int weir_ring_map(int fd, size_t bytes, struct weir_ring *out, struct weir_error *err)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *c = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *p;

	if (c == MAP_FAILED)
		return weir_fail(err, errno, "ring: cannot map it: %s", strerror(errno));
	p = mmap(NULL, page + 2 * bytes, PROT_READ, MAP_SHARED, fd, page);
	if (p == MAP_FAILED) {
		int e = errno;

		munmap(c, page);
		return weir_fail(err, e, "ring: cannot map it: %s", strerror(e));
	}
	*out = (struct weir_ring){ .consumer = c,
				   .producer = p,
				   .data = (const uint8_t *)p + page,
				   .bytes = bytes,
				   .page = page,
				   .at = __atomic_load_n((uint64_t *)c, __ATOMIC_ACQUIRE) };
	return 0;
}

void weir_ring_unmap(struct weir_ring *r)
{
	if (!r->consumer)
		return;
	munmap(r->consumer, r->page);
	munmap((void *)r->producer, r->page + 2 * r->bytes);
	r->consumer = NULL;
}

const struct weir_record *weir_ring_next(struct weir_ring *r, uint32_t *len, uint64_t *end)
{
	uint64_t producer = __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);

	while (r->at < producer) {
		const uint32_t *header = (const uint32_t *)(r->data + (r->at & (r->bytes - 1)));
		uint32_t word = __atomic_load_n(header, __ATOMIC_ACQUIRE);
		uint32_t n = word & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (word & BPF_RINGBUF_BUSY_BIT)
			return NULL; /* reserved by another CPU, being written */
		r->at += (n + BPF_RINGBUF_HDR_SZ + 7) & ~7ULL;
		if (word & BPF_RINGBUF_DISCARD_BIT)
			continue;
		*len = n;
		*end = r->at;
		return (const struct weir_record *)(header + 2);
	}
	return NULL;
}

void weir_ring_commit(struct weir_ring *r)
{
	__atomic_store_n(r->consumer, r->at, __ATOMIC_RELEASE);
}

uint64_t weir_ring_used(const struct weir_ring *r)
{
	return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
}
