/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client of the control socket: its state, shared between the thread that
 * serves it (control_client.c) and the one that accepts and evicts (control.c).
 * Nobody else includes this.
 */
#ifndef WEIR_CONTROL_CLIENT_H
#define WEIR_CONTROL_CLIENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "control.h"
#include "ledger_read.h"

#define WEIR_CONTROL_GROUP "weir"
#define WEIR_CLIENT_OUT	   32768

enum weir_client_state {
	WEIR_CLIENT_IDLE,    /* nothing asked */
	WEIR_CLIENT_READING, /* half a request is there */
	WEIR_CLIENT_RUNNING,
	WEIR_CLIENT_SENDING
};

struct weir_client {
	struct weir_control *control;
	int fd;
	enum weir_client_state state; /* these four under control->lock */
	uint64_t since_ns;	      /* of that state, monotonic */
	bool evicted;
	bool following;
	/* the client thread's own */
	char actor[64];
	struct weir_reader *reader;
	char *in;
	size_t in_len, in_cap;
	char out[WEIR_CLIENT_OUT];
	size_t out_len;
};

struct weir_writes;

struct weir_control {
	const struct weir_agent_view *view;
	struct weir_writes *writes;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	ino_t inode; /* of the socket file; 0: not made */
	int listener;
	int wake; /* readable once the control stops */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t gone; /* a client left */
	bool stop;
	size_t n_clients, n_following;
	struct weir_client *clients[WEIR_CONTROL_CLIENTS];
};

/* Thread of a client: checks who it is, serves it until it goes, frees it. */
void *weir_client_main(void *client);

#endif
