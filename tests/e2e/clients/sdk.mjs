// SPDX-License-Identifier: Apache-2.0
//
// One tenant: the OpenAI Node SDK, driven line by line.
//
//   node sdk.mjs BASE_URL API_KEY
//
// stdin, a call a line:   {"call":1,"op":"chat","params":{…},"options":{"maxRetries":0}}
//                         {"call":1,"op":"abort"}
// stdout, what came of it: {"call":1,"event":"first"}           first piece of a stream
//                          {"call":1,"event":"end","ok":true,"id","pieces","usage","attempts","ms"}
//                          {"call":1,"event":"end","ok":false,"error":{…},"attempts","ms"}
// `attempts` are the HTTP statuses seen, one per try (0: no answer came).
import { AsyncLocalStorage } from "node:async_hooks";
import { createInterface } from "node:readline";
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const tries = new AsyncLocalStorage();

async function countedFetch(url, init) {
  const attempts = tries.getStore();
  const n = attempts.push(0) - 1;
  const response = await fetch(url, init);
  attempts[n] = response.status;
  return response;
}

const client = new OpenAI({ baseURL, apiKey, fetch: countedFetch, timeout: 60_000, maxRetries: 0 });

const calls = {
  chat: (params, options) => client.chat.completions.create(params, options),
  completion: (params, options) => client.completions.create(params, options),
  embedding: (params, options) => client.embeddings.create(params, options),
  models: (_params, options) => client.models.list(options),
};

const aborts = new Map();
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function pieceOf(chunk) {
  const choice = chunk.choices[0];
  return choice ? (choice.delta ? choice.delta.content : choice.text) : "";
}

async function run({ call, op, params, options }) {
  const abort = new AbortController();
  aborts.set(call, abort);
  const attempts = [];
  const began = performance.now();
  const out = { call, event: "end", ok: true, id: null, pieces: 0, usage: null, attempts };
  try {
    await tries.run(attempts, async () => {
      const answer = await calls[op](params, { ...options, signal: abort.signal });
      if (!params?.stream) {
        out.id = answer.id ?? null;
        out.usage = answer.usage ?? null;
        return;
      }
      for await (const chunk of answer) {
        out.id = chunk.id;
        if (chunk.usage) out.usage = chunk.usage;
        if (!pieceOf(chunk)) continue;
        if (out.pieces++ === 0) tell({ call, event: "first", id: chunk.id });
      }
    });
  } catch (e) {
    out.ok = false;
    out.error = {
      name: e.constructor.name, status: e.status ?? 0, code: e.code ?? null,
      type: e.type ?? null, message: e.message,
      headers: e.headers ? Object.fromEntries(e.headers.entries()) : {},
    };
  }
  // The SDK ends an aborted stream quietly.
  if (abort.signal.aborted) {
    out.ok = false;
    out.error ??= { name: "APIUserAbortError", status: 0, message: "aborted", headers: {} };
  }
  out.ms = Math.round(performance.now() - began);
  aborts.delete(call);
  tell(out);
}

tell({ event: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  if (job.op === "abort") aborts.get(job.call)?.abort();
  else run(job);
}
process.exit(0);
