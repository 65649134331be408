/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP for machines and for a first look: /metrics (Prometheus text 0.0.4),
 * /healthz, and a plain page at /. Read-only, GET and HEAD only; there is no
 * authentication, so it listens on loopback unless told otherwise. Knows the
 * agent only through struct weir_agent_view.
 */
#ifndef WEIR_HTTPD_H
#define WEIR_HTTPD_H

#include "agent_view.h"
#include "util.h"

struct weir_httpd;

/* host: "127.0.0.1" or "::1"; port 0 picks one. The view must outlive the httpd. */
int weir_httpd_start(const char *host, uint16_t port, const struct weir_agent_view *view,
		     struct weir_httpd **out, struct weir_error *err);
uint16_t weir_httpd_port(const struct weir_httpd *h);
void weir_httpd_stop(struct weir_httpd *h); /* NULL is fine */

#endif
