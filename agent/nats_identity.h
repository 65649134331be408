/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As whom the agent comes to NATS: what is in the files that "nats" of agent.json names, as it is
 * at this moment, for one connection. It checks what a server's refusal would not tell apart: a
 * file that is not there, or is another kind of thing.
 */
#ifndef WEIR_NATS_IDENTITY_H
#define WEIR_NATS_IDENTITY_H

#include "config.h"
#include "nkey.h"
#include "util.h"

#define WEIR_NATS_SECRET 1024 /* bytes of a password or token at most */

struct weir_nats_identity {
	/* As they stand between the quotes of JSON, for libnats puts them there as they are. "":
	 * none
	 */
	char user[6 * 128];
	char password[6 * WEIR_NATS_SECRET];
	char token[6 * WEIR_NATS_SECRET];
	char *jwt;			  /* NULL: none */
	char nkey[WEIR_NKEY_PUBLIC];	  /* "": neither credentials nor nkey */
	char seed[WEIR_NKEY_SEED];	  /* its seed */
	char who[WEIR_CONFIG_PATH + 192]; /* for people: who that is, and from which file */
};

/* 0 or -errno, then there is nothing to clear. A file that everybody can read is said in the log,
 * once. */
int weir_nats_identity_read(const struct weir_nats_config *c, struct weir_nats_identity *out,
			    struct weir_error *err);
void weir_nats_identity_clear(struct weir_nats_identity *id);

/* Can a file that libnats reads (of TLS) be read? 0 or -errno, err saying "nats.<field>: <path>:
 * …". secret: its mode is looked at, too. */
int weir_nats_readable(const char *field, const char *path, bool secret, struct weir_error *err);

#endif
