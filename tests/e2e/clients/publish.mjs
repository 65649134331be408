// SPDX-License-Identifier: Apache-2.0
//
// A sender of messages that knows nothing of Weir: the NATS client of npm.
//
//   node publish.mjs URL     a line {"subject","data","msg_id"?} of stdin each
//
// Each is published to JetStream until it is acknowledged, through whatever happens to the
// server. stdout: {"ready":true}, then {"seq"} for each line, or {"error"}.
import { createInterface } from "node:readline";
import { connect } from "nats";

const nc = await connect({ servers: process.argv[2], maxReconnectAttempts: -1,
                           reconnectTimeWait: 100, waitOnFirstConnect: true });
const js = nc.jetstream();
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function publish({ subject, data, msg_id: msgID }) {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  for (let tries = 0; ; tries++) {
    try {
      return { seq: (await js.publish(subject, text, { msgID, timeout: 2000 })).seq };
    } catch (error) {
      if (tries === 20) return { error: String(error) };
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

tell({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  tell(await publish(JSON.parse(line)));
}
await nc.close();
