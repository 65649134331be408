// SPDX-License-Identifier: Apache-2.0
//
// What the SDK clients share: calls come line by line, and what came of them goes out.
//
// stdin, a call a line:   {"call":1,"op":"chat","params":{…},"options":{"maxRetries":0}}
//                         {"call":1,"op":"abort"}
// stdout, what came of it: {"call":1,"event":"first"}           first piece of a stream
//                          {"call":1,"event":"end","ok":true,"id","pieces","usage","attempts","ms"}
//                          {"call":1,"event":"end","ok":false,"error":{…},"attempts","ms"}
// `attempts` are the HTTP statuses seen, one per try (0: no answer came).
import { AsyncLocalStorage } from "node:async_hooks";
import { createInterface } from "node:readline";

const tries = new AsyncLocalStorage();
const aborts = new Map();
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

export async function countedFetch(url, init) {
  const attempts = tries.getStore();
  const n = attempts.push(0) - 1;
  const response = await fetch(url, init);
  attempts[n] = response.status;
  return response;
}

// ask(op, params, options): the SDK's promise. read(piece, out): notes what a piece of a stream
// says in out; true if it carried output.
async function run({ call, op, params, options }, ask, read) {
  const abort = new AbortController();
  aborts.set(call, abort);
  const attempts = [];
  const began = performance.now();
  const out = { call, event: "end", ok: true, id: null, pieces: 0, usage: null, attempts };
  try {
    await tries.run(attempts, async () => {
      const answer = await ask(op, params, { ...options, signal: abort.signal });
      if (!params?.stream) {
        out.id = answer.id ?? null;
        out.usage = answer.usage ?? null;
        return;
      }
      for await (const piece of answer) {
        if (read(piece, out) && out.pieces++ === 0) tell({ call, event: "first", id: out.id });
      }
    });
  } catch (e) {
    out.ok = false;
    out.error = {
      name: e.constructor.name, status: e.status ?? 0, code: e.code ?? null,
      type: e.error?.error?.type ?? e.type ?? null, message: e.message,
      headers: e.headers ? Object.fromEntries(e.headers.entries()) : {},
    };
  }
  // The SDKs end an aborted stream quietly.
  if (abort.signal.aborted) {
    out.ok = false;
    out.error ??= { name: "APIUserAbortError", status: 0, message: "aborted", headers: {} };
  }
  out.ms = Math.round(performance.now() - began);
  aborts.delete(call);
  tell(out);
}

export async function drive(ask, read) {
  tell({ event: "ready" });
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    if (job.op === "abort") aborts.get(job.call)?.abort();
    else run(job, ask, read);
  }
  process.exit(0);
}
