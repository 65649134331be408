/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the soak's client is to do. On its command line as NAME=VALUE:
 *
 *   tenants=N first=N   whose connections (tenant first + i % N); see soak.h
 *   connections=N       kept open; one that ends is opened again
 *   streams=N           kept running
 *   pieces=N gap=MS     of a stream: N/2 to 3N/2 tokens
 *   even=1              exactly N
 *   asks=N              short requests a second; rates below likewise
 *   unknown=N           ... with a key that nobody has
 *   aborts=N            streams left in the middle: reset, closed, or vanished
 *   closes=N            idle connections closed: reset, closed, or vanished
 *   syns=N              handshakes that never complete
 *   opens=N             connections opened a second at most
 *   rest=MS             after a request was refused, on average
 *   seed=N
 */
#ifndef WEIR_SOAK_SETTINGS_H
#define WEIR_SOAK_SETTINGS_H

struct soak_settings {
	unsigned tenants, first, connections, streams, pieces, gap, even, asks, unknown, aborts,
		closes, syns, opens, rest, seed;
};

#define SOAK_SETTINGS                                                                              \
	{                                                                                          \
		.tenants = 1, .first = 1, .pieces = 20, .gap = 100, .opens = 2000, .rest = 2500,   \
		.seed = 1                                                                          \
	}

/* One of the command line's words; ends the program if it is none. */
void soak_read_setting(struct soak_settings *set, const char *text);

#endif
