// SPDX-License-Identifier: Apache-2.0
/*
 * Fills a ledger that no agent has open with requests that nobody has published yet, as many as a
 * long outage of NATS leaves behind.
 *
 *   ledger_fill DATABASE ROWS
 */
#include <string.h>

#include "ledger_rows.h"

int main(int argc, char **argv)
{
	static struct bench b;
	size_t known;

	b.n = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	if (!b.n || strlen(argv[1]) >= sizeof(b.path)) {
		fprintf(stderr, "usage: ledger_fill DATABASE ROWS\n");
		return 2;
	}
	strcpy(b.path, argv[1]);
	open_ledger(&b);
	/* They are over before anybody looks. */
	b.t0 -= b.n * 100000 + 10 * SECOND;
	grant(&b);
	for (uint64_t i = 0; i < b.n;) {
		size_t n = 0;

		for (; n < GROUP && i < b.n; n++, i++)
			b.rows[n] = row(&b, i);
		must(weir_ledger_append(b.l, b.rows, n, &known, &err), "appending");
	}
	weir_ledger_close(b.l);
	return 0;
}
