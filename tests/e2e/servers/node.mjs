// SPDX-License-Identifier: Apache-2.0
//
// A model server on node:http that writes down every request as it parsed it: a
// line of JSON when the head was read, another when the body's end was.
//
//   node node.mjs PORT LOG
import { randomUUID } from "node:crypto";
import { openSync, writeSync } from "node:fs";
import { createServer } from "node:http";

const [port, path] = process.argv.slice(2);
const log = openSync(path, "a", 0o600);

function tell(request, event, fields) {
  const peer = `${request.socket.remoteAddress}:${request.socket.remotePort}`;
  writeSync(log, JSON.stringify({ event, peer, ...fields }) + "\n");
}

function headersOf({ rawHeaders }) {
  const headers = Object.create(null);
  for (let i = 0; i < rawHeaders.length; i += 2) {
    (headers[rawHeaders[i].toLowerCase()] ??= []).push(rawHeaders[i + 1]);
  }
  return headers;
}

/** Words of the prompt, and as many tokens as were asked for. */
function usageOf(body) {
  try {
    const asked = JSON.parse(body);
    const prompt = asked.messages.map((m) => m.content).join(" ").trim().split(/\s+/).length;
    const tokens = asked.max_tokens > 0 ? Number(asked.max_tokens) : 16;
    return [asked, prompt, Math.min(Math.trunc(tokens), 100_000)];
  } catch {
    return [{}, 0, 0];
  }
}

function answer(body) {
  const [asked, prompt, tokens] = usageOf(body);
  const usage = { prompt_tokens: prompt, completion_tokens: tokens, total_tokens: prompt + tokens };
  const id = `chatcmpl-${randomUUID()}`;
  const common = { id, created: 1, model: asked.model ?? "none" };
  const content = Array(tokens).fill("tok").join(" ");
  if (!asked.stream) {
    const choice = { index: 0, message: { role: "assistant", content }, finish_reason: "length" };
    return [id, "application/json",
            JSON.stringify({ ...common, object: "chat.completion", choices: [choice], usage })];
  }
  const chunk = { ...common, object: "chat.completion.chunk" };
  const events = [
    { ...chunk, choices: [{ index: 0, delta: { content }, finish_reason: "length" }] },
    { ...chunk, choices: [], usage },
  ].map((e) => JSON.stringify(e));
  return [id, "text/event-stream", [...events, "[DONE]"].map((e) => `data: ${e}\n\n`).join("")];
}

let served = 0;

const server = createServer({ keepAliveTimeout: 600_000 }, async (request, response) => {
  const n = ++served;
  tell(request, "head", { n, method: request.method, target: request.url,
                          headers: headersOf(request) });
  const parts = [];
  try {
    // Some answers are there before the body: what comes of the body then?
    if (request.url !== "/v1/early") for await (const part of request) parts.push(part);
  } catch {
    return; // the client left in the middle of its body
  }
  const body = Buffer.concat(parts).toString("latin1");
  const [id, type, data] = answer(body);
  tell(request, "body", { n, text: body, id });
  response.writeHead(200, { "content-type": type, "content-length": Buffer.byteLength(data) });
  response.end(data);
});

server.listen(Number(port), "0.0.0.0");
