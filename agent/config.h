/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.json: what one agent guards and where it keeps its things. Read once at
 * start, strictly: an unknown field or a value out of bounds is an error that
 * names file, path and value. Plain data, no pointers: copy it, free nothing.
 */
#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/weir_abi.h"
#include "labels.h"
#include "util.h"

#define WEIR_CONFIG_FILE     "/etc/weir/agent.json"
#define WEIR_MAX_INTERFACES  16
#define WEIR_CONFIG_PATH     256		     /* bytes of a path or URL, the NUL included */
#define WEIR_CONFIG_SERVICES (WEIR_MAX_SERVICES - 1) /* number 0 means "not guarded" */

#define WEIR_KEYS_PER_TENANT 4 /* unless max_keys says otherwise */

enum weir_xdp { WEIR_XDP_AUTO, WEIR_XDP_NATIVE, WEIR_XDP_GENERIC, WEIR_XDP_OFF };

struct weir_config_service {
	char name[WEIR_NAME_BYTES]; /* default: "port-8000" */
	uint16_t port;		    /* host order */
	enum weir_dialect api;	    /* "openai" (default), "anthropic", "plain" */
};

struct weir_config_interface {
	char name[IF_NAMESIZE];
	char netns[WEIR_CONFIG_PATH]; /* absolute path of a namespace; "": the agent's own */
};

/* How an interface is called in status and messages: "eth0", and in another namespace
 * "eth0@pod1", or with the path where ip-netns(8) has no name for it; cut to fit. */
#define WEIR_INTERFACE_LABEL 80
void weir_interface_label(const struct weir_config_interface *f,
			  char out[static WEIR_INTERFACE_LABEL]);

#define WEIR_NATS_SERVERS 8

/* "nats": how it is reached, and as whom: at most one of user, token_file, credentials and nkey.
 * Secrets are in files, read at each connect: agent.json may be read by more people, and what is
 * put in their place holds from the next connection on. */
struct weir_nats_config {
	char url[WEIR_NATS_SERVERS * 128]; /* one or several, "," between; "": no NATS */
	char usage_subject[96];		   /* reported usage that this node enters; "": none */
	char user[128];			   /* "": as the URL says */
	char password_file[WEIR_CONFIG_PATH];
	char token_file[WEIR_CONFIG_PATH];
	char credentials[WEIR_CONFIG_PATH]; /* file of a JWT and its seed */
	char nkey[WEIR_CONFIG_PATH];	    /* file of a user's seed */
	bool tls;			    /* asked for by "tls" or a tls:// URL */
	char tls_ca[WEIR_CONFIG_PATH];	    /* besides the system's */
	char tls_cert[WEIR_CONFIG_PATH], tls_key[WEIR_CONFIG_PATH]; /* the client's */
	char tls_name[WEIR_CONFIG_PATH]; /* that the server's certificate must have; "": the host */
	uint32_t replicas;		 /* of streams that are made; 1 to 5; 0, unread, is 1 */
};

struct weir_agent_config {
	char instance[WEIR_NAME_BYTES]; /* default "default" */
	char node[WEIR_NAME_BYTES];	/* default: first label of the host name */
	struct weir_config_interface interfaces[WEIR_MAX_INTERFACES]; /* may not exist (yet) */
	size_t n_interfaces;					      /* at least 1 */
	struct weir_config_service services[WEIR_CONFIG_SERVICES];
	size_t n_services; /* at least 1; service number = index + 1 */
	enum weir_xdp xdp;
	char state_dir[WEIR_CONFIG_PATH]; /* absolute; default /var/lib/weir */
	char control[108];		  /* sun_path; default /run/weir/agent.sock */
	char http_host[64];		  /* default 127.0.0.1, no brackets; "" is off (null) */
	uint16_t http_port;		  /* default 9477 */
	char policies[WEIR_CONFIG_PATH];  /* default /etc/weir/policies */
	uint32_t ring_bytes;		  /* power of two; default 64 MiB */
	uint32_t max_tenants;		  /* scopes included; default 65536, up to 4194304 */
	uint32_t max_flows;		  /* connections; default 262144, up to 16777216 */
	uint32_t max_keys;		  /* default max_tenants x 4, up to 16777216 */
	struct weir_nats_config nats;
	uint64_t agent_timeout_ns;  /* agent_timeout_ms; default 3 s */
	bool enforce;		    /* default true; false: meter only */
	uint64_t head_timeout_ns;   /* head_timeout_ms; default 30 s */
	uint64_t idle_timeout_ns;   /* idle_timeout_s, of forwarded connections; default 1 h */
	uint64_t sweep_interval_ns; /* sweep_interval_s, of drift.h; default 10 s */
	uint32_t max_split_heads;   /* heads in parts at a time; default 1024, 16 to 65536 */
	struct weir_free_path free_paths[WEIR_FREE_PATHS]; /* compiled; defaults: config_forms.c */
	size_t n_free_paths;
	bool free_options;			       /* default true */
	struct weir_trusted trusted[WEIR_TRUSTED_MAX]; /* trusted_sources, compiled */
	size_t n_trusted;
	struct weir_label_config labels; /* where they are read; config_labels.c */
	uint32_t decoder_bytes; /* of memory for compressed answers; default 24 MiB, from 1 MiB */
	uint64_t spill_bytes; /* of finished requests while the ledger cannot be written; 256 MiB */
};

/* 0; -ENOENT and the like if it cannot be read, -EINVAL if it is wrong. *out is
 * untouched on errors. */
int weir_agent_config_load(const char *path, struct weir_agent_config *out, struct weir_error *err);

#endif
