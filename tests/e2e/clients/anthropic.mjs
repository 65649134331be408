// SPDX-License-Identifier: Apache-2.0
//
// One tenant: the Anthropic Node SDK, driven line by line (driver.mjs).
//
//   node anthropic.mjs BASE_URL API_KEY
import Anthropic from "@anthropic-ai/sdk";
import { countedFetch, drive } from "./driver.mjs";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey, fetch: countedFetch, timeout: 60_000,
                               maxRetries: 0 });

await drive((_op, params, options) => client.messages.create(params, options), (event, out) => {
  if (event.type === "message_start") out.id = event.message.id;
  if (event.type === "message_delta") out.usage = event.usage;
  return event.type === "content_block_delta";
});
