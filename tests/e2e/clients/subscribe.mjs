// SPDX-License-Identifier: Apache-2.0
//
// A consumer of Weir's events that knows nothing of Weir: the NATS client of npm.
//
//   node subscribe.mjs URL follow SUBJECT…   every message from now on, a line each, until stdin closes
//   node subscribe.mjs URL dump STREAM       what the JetStream stream holds, a line each
//
// A line is {"subject","msg_id","event"}; follow says {"ready":true} first.
import { connect } from "nats";

const [url, mode, ...names] = process.argv.slice(2);
const nc = await connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 100,
                           waitOnFirstConnect: true });
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function show(message) {
  tell({ subject: message.subject, msg_id: message.headers?.get("Nats-Msg-Id") ?? null,
         event: JSON.parse(new TextDecoder().decode(message.data)) });
}

if (mode === "follow") {
  for (const name of names) {
    nc.subscribe(name, { callback: (_error, message) => show(message) });
  }
  await nc.flush();
  tell({ ready: true });
  process.stdin.on("end", () => nc.drain().then(() => process.exit(0)));
  process.stdin.resume();
} else {
  const manager = await nc.jetstreamManager();
  const { state } = await manager.streams.info(names[0]);
  if (state.messages > 0) {
    const consumer = await nc.jetstream().consumers.get(names[0]);
    for await (const message of await consumer.consume()) {
      show(message);
      if (message.info.pending === 0) break;
    }
  }
  await nc.close();
}
