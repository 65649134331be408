/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a connection to NATS. */
#include "nats_connect.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_MS 2000
#define PING_MS	   5000

natsStatus weir_nats_connect(const struct weir_nats_config *c, const char *name,
			     natsConnection **nc, char *why, size_t n)
{
	natsOptions *o = NULL;
	natsStatus s = natsOptions_Create(&o);

	if (s == NATS_OK)
		s = natsOptions_SetURL(o, c->url);
	if (s == NATS_OK)
		s = natsOptions_SetName(o, name);
	if (s == NATS_OK)
		s = natsOptions_SetAllowReconnect(o, false);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(o, CONNECT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetPingInterval(o, PING_MS);
	if (s == NATS_OK)
		s = natsConnection_Connect(nc, o);
	natsOptions_Destroy(o);
	snprintf(why, n, "%s", natsStatus_GetText(s));
	return s;
}

const char *weir_nats_where(const char *url)
{
	const char *at = strrchr(url, '@');

	return at ? at + 1 : url;
}
