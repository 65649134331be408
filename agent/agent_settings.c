// SPDX-License-Identifier: Apache-2.0
/*
 * What the kernel's programs are told of this agent: its ports, its patience, the time.
 */
#include "agent_priv.h"

#include <string.h>

#define CLOCK_TOOK 1000 /* ns; two clocks read at once */

/* FNV-1a: short, and only has to tell nodes, instances and boots apart. */
static uint32_t hash(uint32_t h, const char *s)
{
	do
		h = (h ^ (uint8_t)*s) * 16777619u;
	while (*s++);
	return h;
}

static uint32_t boot_hash(const struct weir_agent_config *cfg)
{
	char id[WEIR_BOOT_ID];

	weir_boot_id(id);
	return hash(hash(hash(2166136261u, cfg->node), cfg->instance), id);
}

/* Credit expires by this in the kernel: of some readings that which took least time, lest we
 * are preempted in the midst of the only one. */
void weir_agent_store_clock(struct weir_agent *a)
{
	uint64_t best_ns = UINT64_MAX, offset_ns = 0;

	for (int i = 0; i < 16 && best_ns > CLOCK_TOOK; i++) {
		uint64_t before = weir_mono_ns(), wall = weir_wall_ns(), after = weir_mono_ns();

		if (after - before >= best_ns)
			continue;
		best_ns = after - before;
		offset_ns = wall - (before + best_ns / 2);
	}
	__atomic_store_n(&a->kernel->config->wall_offset_ns, offset_ns, __ATOMIC_RELAXED);
}

void weir_agent_store_settings(struct weir_agent *a)
{
	struct weir_config *c = a->kernel->config;
	const struct weir_agent_config *cfg = &a->cfg;
	static uint8_t ports[65536];

	c->instance_boot = boot_hash(cfg);
	c->agent_timeout_ns = cfg->agent_timeout_ns;
	c->half_open_ns = 5 * WEIR_SECOND;
	c->linger_ns = 20 * WEIR_SECOND;
	c->ring_bytes = cfg->ring_bytes;
	/* Headroom by weight: ends always fit, then answers, then new requests. */
	c->ring_data_max = cfg->ring_bytes - cfg->ring_bytes / 16;
	c->ring_request_max = cfg->ring_bytes - cfg->ring_bytes / 8;
	weir_agent_store_clock(a);
	memset(ports, 0, sizeof(ports));
	for (size_t i = 0; i < cfg->n_services; i++) {
		c->services[i + 1].port = cfg->services[i].port;
		c->services[i + 1].dialect = cfg->services[i].api;
		ports[cfg->services[i].port] = i + 1;
		a->services[i + 1] = cfg->services[i].name;
	}
	memcpy(c->port_service, ports, sizeof(ports));
}
