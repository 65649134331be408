// SPDX-License-Identifier: Apache-2.0
//
// One tenant: the OpenAI Node SDK, driven line by line (driver.mjs).
//
//   node sdk.mjs BASE_URL API_KEY
import OpenAI from "openai";
import { countedFetch, drive } from "./driver.mjs";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, fetch: countedFetch, timeout: 60_000, maxRetries: 0 });

const calls = {
  chat: (params, options) => client.chat.completions.create(params, options),
  completion: (params, options) => client.completions.create(params, options),
  embedding: (params, options) => client.embeddings.create(params, options),
  models: (_params, options) => client.models.list(options),
};

function outputOf(choice) {
  if (!choice) return "";
  if (!choice.delta) return choice.text;
  return choice.delta.content || choice.delta.tool_calls?.[0]?.function?.arguments;
}

await drive((op, params, options) => calls[op](params, options), (chunk, out) => {
  out.id = chunk.id;
  if (chunk.usage) out.usage = chunk.usage;
  return Boolean(outputOf(chunk.choices[0]));
});
