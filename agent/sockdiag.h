/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP sockets of guarded ports, as the kernel's sock_diag tells of them: which are
 * there, is this one there, away with it. In the agent's network namespace, in those of
 * agent.json, and in those that were guarded before and lost their names but not their
 * processes.
 *
 * A connection is named as the programs name it, struct weir_flow_key. Counted as a
 * connection is what the programs count as one: from the request socket, that a SYN makes,
 * to the full socket's end. What TIME_WAIT leaves behind (and FIN_WAIT2, once it is as
 * small) is none: there the full socket is closed and inet_sock_set_state has told so.
 */
#ifndef WEIR_SOCKDIAG_H
#define WEIR_SOCKDIAG_H

#include "config.h"
#include "kernel.h"

struct weir_sockdiag;

/* Open for a while: it holds the namespaces, and who deletes one waits. settings: the
 * kernel's, for what was guarded. Fails, rather than see only a part, if a namespace that
 * is there cannot be entered. */
int weir_sockdiag_open(const struct weir_agent_config *cfg, const struct weir_config *settings,
		       struct weir_sockdiag **out, struct weir_error *err);
void weir_sockdiag_close(struct weir_sockdiag *d);

/* fn(key, arg) for each socket; not 0 from it ends the dump and is returned. 0, or -errno with
 * err filled in: then not all were seen. A socket that is there all the time may be left out,
 * though hardly ever, when others in its hash bucket go: ask weir_sockdiag_has() before it
 * matters. */
typedef int (*weir_socket_fn)(const struct weir_flow_key *key, void *arg);
int weir_sockdiag_dump(struct weir_sockdiag *d, weir_socket_fn fn, void *arg,
		       struct weir_error *err);

/* Looks for one. 1: there; 0: not; -errno: not known. One that is bound to a device is not
 * found this way. */
int weir_sockdiag_has(struct weir_sockdiag *d, const struct weir_flow_key *key);

/* Can this kernel destroy sockets (CONFIG_INET_DIAG_DESTROY)? 0, -EOPNOTSUPP or -errno. */
int weir_sockdiag_can_destroy(struct weir_sockdiag *d);

/* Destroy those that want(key, arg): their peers are reset, who reads or writes them gets
 * ECONNABORTED. How many were, or -errno. */
typedef bool (*weir_socket_test)(const struct weir_flow_key *key, void *arg);
int weir_sockdiag_destroy(struct weir_sockdiag *d, weir_socket_test want, void *arg,
			  struct weir_error *err);

/* The same for the connections charged to a tenant, itself or as somebody's parent or scope.
 * From any thread. -EOPNOTSUPP, with the text to show, where the kernel cannot. */
int weir_sockdiag_destroy_tenant(const struct weir_kernel *k, const struct weir_agent_config *cfg,
				 uint32_t tenant, struct weir_error *err);

#endif
