// SPDX-License-Identifier: Apache-2.0
#include "neighbours.h"

#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <string.h>

struct dump {
	struct weir_neighbour *out;
	size_t n, max;
};

static int on_filter(struct nl_msg *msg, void *arg)
{
	static const struct nla_policy known[TCA_MAX + 1] = { [TCA_KIND] = { .type = NLA_STRING } };
	struct nlattr *a[TCA_MAX + 1], *b[TCA_BPF_MAX + 1] = {};
	const struct tcmsg *tc = nlmsg_data(nlmsg_hdr(msg));
	struct dump *d = arg;
	struct weir_neighbour *n = &d->out[d->n];

	if (d->n == d->max ||
	    nlmsg_parse(nlmsg_hdr(msg), sizeof(struct tcmsg), a, TCA_MAX, (void *)known) ||
	    !a[TCA_KIND] || !a[TCA_OPTIONS])
		return NL_OK;
	memset(n, 0, sizeof(*n));
	snprintf(n->name, sizeof(n->name), "%.15s filter", nla_get_string(a[TCA_KIND]));
	if (!strcmp(nla_get_string(a[TCA_KIND]), "bpf")) {
		if (nla_parse_nested(b, TCA_BPF_MAX, a[TCA_OPTIONS], NULL) || !b[TCA_BPF_ID])
			return NL_OK; /* the chain's own head entry: no program in it */
		n->prog_id = nla_get_u32(b[TCA_BPF_ID]);
	} else if (nla_len(a[TCA_OPTIONS]) == 0) {
		return NL_OK;
	}
	n->priority = TC_H_MAJ(tc->tcm_info) >> 16;
	n->handle = tc->tcm_handle;
	d->n++;
	return NL_OK;
}

int weir_clsact_filters(int ifindex, bool ingress, struct weir_neighbour *out, size_t max)
{
	struct tcmsg tc = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS),
	};
	struct dump d = { .out = out, .max = max };
	struct nl_sock *s = nl_socket_alloc();
	int r;

	if (!s)
		return -ENOMEM;
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, on_filter, &d);
	r = nl_connect(s, NETLINK_ROUTE);
	if (!r)
		r = nl_send_simple(s, RTM_GETTFILTER, NLM_F_DUMP, &tc, sizeof(tc));
	if (r >= 0)
		r = nl_recvmsgs_default(s);
	nl_socket_free(s);
	return r < 0 ? -EIO : (int)d.n;
}
