// SPDX-License-Identifier: Apache-2.0
//
// One tenant: the Anthropic Node SDK, driven line by line as sdk.mjs is.
//
//   node anthropic.mjs BASE_URL API_KEY
import { AsyncLocalStorage } from "node:async_hooks";
import { createInterface } from "node:readline";
import Anthropic from "@anthropic-ai/sdk";

const [baseURL, apiKey] = process.argv.slice(2);
const tries = new AsyncLocalStorage();

async function countedFetch(url, init) {
  const attempts = tries.getStore();
  const n = attempts.push(0) - 1;
  const response = await fetch(url, init);
  attempts[n] = response.status;
  return response;
}

const client = new Anthropic({ baseURL, apiKey, fetch: countedFetch, timeout: 60_000,
                               maxRetries: 0 });
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function run({ call, params, options }) {
  const attempts = [];
  const began = performance.now();
  const out = { call, event: "end", ok: true, id: null, pieces: 0, usage: null, attempts };
  try {
    await tries.run(attempts, async () => {
      const answer = await client.messages.create(params, options);
      if (!params.stream) {
        out.id = answer.id;
        out.usage = answer.usage;
        return;
      }
      for await (const event of answer) {
        if (event.type === "message_start") out.id = event.message.id;
        if (event.type === "message_delta") out.usage = event.usage;
        if (event.type === "content_block_delta" && out.pieces++ === 0) {
          tell({ call, event: "first", id: out.id });
        }
      }
    });
  } catch (e) {
    out.ok = false;
    out.error = { name: e.constructor.name, status: e.status ?? 0, type: e.error?.error?.type ?? null,
                  message: e.message, headers: Object.fromEntries(e.headers?.entries() ?? []) };
  }
  out.ms = Math.round(performance.now() - began);
  tell(out);
}

tell({ event: "ready" });
for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
process.exit(0);
