# SPDX-License-Identifier: Apache-2.0
"""A model server that answers as vLLM does, on the HTTP stack vLLM runs on
(uvicorn, starlette, httptools, uvloop), with words for tokens.

What a request can ask of it, so that tests know beforehand what is served:

  prompt tokens       the number of words in the prompt
  completion tokens   max_completion_tokens, max_tokens, or 16
  metadata.ttft_ms    delay before the first token
  metadata.delay_ms   delay between tokens
  metadata.hold       "1": stop after the first token until the admin says release
  metadata.cached     how many prompt tokens came from the prefix cache
  metadata.pad        bytes of padding in each token
  metadata.cut_at     the answer breaks off before this token (from 1 on), or in a plain one's tail …
  metadata.cuts       … of the first so many requests of this very body: default 1
  metadata.fails      so many requests of this very body get a 500, the first
  metadata.usage      "0": nothing says what was used
  metadata.cache      what header x-cache says
  tools               the first of them is called, with the tokens as its arguments

What it served it tells on a unix socket, which nobody guards: connect, send one
line, read one JSON document:

  report    what was served
  release   all that hold go on, and what comes later does not hold
  rearm     what comes from now on holds again
  reset     that, and what is done is forgotten

  python3 -m weirlab.model_server --admin /tmp/admin.sock --port 8000
"""
import argparse
import asyncio
import base64
import itertools
import json
import os
import socket
import struct
import time

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

CHAT_MODEL = "llama-3.3-70b-instruct"
EMBEDDING_MODEL = "bge-m3"
DEFAULT_TOKENS = 16


class Book:
    """What was served, one record per request, in order of arrival."""

    def __init__(self):
        self.records = []
        self.released = asyncio.Event()
        self.bad = 0
        self.counted = {}

    def count(self, body):
        """How many requests of this body there were, this one included."""
        name = json.dumps(body)
        self.counted[name] = self.counted.get(name, 0) + 1
        return self.counted[name]

    def open(self, request, body, kind, prompt):
        auth = request.headers.get("authorization", "")
        key = auth[7:] if auth.startswith("Bearer ") else request.headers.get("x-api-key", "")
        record = {
            "id": "", "key": key, "kind": kind,
            "model": body.get("model", ""), "stream": bool(body.get("stream")),
            "include_usage": bool((body.get("stream_options") or {}).get("include_usage")),
            "prompt": prompt, "cached": 0, "completion": 0, "state": "open",
            "client": request.client.host if request.client else "",
        }
        self.records.append(record)
        return record

    def report(self):
        return {"requests": self.records, "bad": self.bad,
                "open": sum(r["state"] == "open" for r in self.records)}

    def command(self, line):
        if line == "release":
            self.released.set()
        elif line == "rearm":
            self.released = asyncio.Event()
        elif line == "reset":
            self.released = asyncio.Event()
            self.records = [r for r in self.records if r["state"] == "open"]
        return self.report()


book = None
serial = itertools.count(1)
boot = os.urandom(4).hex()


def make_id(prefix):
    return f"{prefix}-{boot}{next(serial):024x}"


def words(text):
    return len(text.split())


def prompt_words(value):
    """Words of a prompt, an input or a list of messages."""
    if isinstance(value, str):
        return words(value)
    if isinstance(value, list):
        return sum(prompt_words(v) for v in value)
    if isinstance(value, dict):
        return prompt_words(value.get("content") or value.get("text") or "")
    return 0


class Broken(Exception):
    """Out of an answer's middle: uvicorn closes the connection."""


class Plan:
    """How the answer to one request is made."""

    def __init__(self, body):
        meta = body.get("metadata") or {}
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        self.tokens = DEFAULT_TOKENS if limit is None else int(limit)
        self.finish = "stop" if limit is None else "length"
        self.ttft = float(meta.get("ttft_ms", 0)) / 1000
        self.delay = float(meta.get("delay_ms", 0)) / 1000
        self.hold = meta.get("hold") == "1"
        self.cached = int(meta.get("cached", 0))
        self.pad = "x" * int(meta.get("pad", 0))
        self.usage = meta.get("usage") != "0"
        self.headers = {"x-cache": meta["cache"]} if "cache" in meta else {}
        tools = body.get("tools") or [None]
        self.tool = tools[0] and (tools[0].get("function") or tools[0])["name"]
        if self.tool:
            self.finish = "tool_calls"
        self.stop = "tool_use" if self.tool else "max_tokens"  # as Anthropic has it
        times = book.count(body) if "cut_at" in meta or "fails" in meta else 0
        self.cut_at = int(meta.get("cut_at", 0)) if times <= int(meta.get("cuts", 1)) else 0
        self.fails = 0 < times <= int(meta.get("fails", 0))

    def token(self, n):
        return f" tok{n}{self.pad}"

    async def wait(self, n):
        """Before token n, counted from 0."""
        if n and n == self.cut_at:
            raise Broken
        if n == 1 and self.hold:
            await book.released.wait()
        pause = self.ttft if n == 0 else self.delay
        if pause:
            await asyncio.sleep(pause)


def usage_of(record):
    usage = {"prompt_tokens": record["prompt"],
             "total_tokens": record["prompt"] + record["completion"],
             "completion_tokens": record["completion"],
             "prompt_tokens_details": None}
    if record["cached"]:
        usage["prompt_tokens_details"] = {"cached_tokens": record["cached"]}
    return usage


def tool_call(name, arguments):
    return {"index": 0, "id": "call_1", "type": "function",
            "function": {"name": name, "arguments": arguments}}


def chat_choice(text, finish, tool):
    return {"index": 0,
            "message": {"role": "assistant", "content": None if tool else text, "refusal": None,
                        "annotations": None, "audio": None, "function_call": None,
                        "tool_calls": [tool_call(tool, text)] if tool else [],
                        "reasoning_content": None},
            "logprobs": None, "finish_reason": finish, "stop_reason": None, "token_ids": None}


def text_choice(text, finish, tool):
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish,
            "stop_reason": None, "prompt_logprobs": None}


def chat_delta(text, finish, first, tool):
    if first:
        delta = {"role": "assistant", "content": None if tool else ""}
        if tool:
            delta["tool_calls"] = [tool_call(tool, "")]
    elif tool:
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
    else:
        delta = {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    if finish:
        choice["stop_reason"] = None
    return choice


def text_delta(text, finish, first, tool):
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish,
            "stop_reason": None}


async def stream_answer(record, plan, envelope, delta, has_role):
    """The chunks of a streamed answer; tells the book how it ended."""
    def event(choices, **extra):
        return "data: " + json.dumps({**envelope, "choices": choices, **extra},
                                     separators=(",", ":")) + "\n\n"
    try:
        for n in range(plan.tokens):
            await plan.wait(n)
            if n == 0 and has_role:
                yield event([delta("", None, True, plan.tool)])
            record["completion"] += 1
            last = n == plan.tokens - 1
            yield event([delta(plan.token(n), plan.finish if last else None, False, plan.tool)])
        if record["include_usage"] and plan.usage:
            yield event([], usage=usage_of(record))
        record["state"] = "done"
        yield "data: [DONE]\n\n"
    finally:
        if record["state"] == "open":
            record["state"] = "aborted"


async def plain_answer(request, record, plan, envelope, choice):
    async def produce():
        for n in range(plan.tokens):
            if n != plan.cut_at:
                await plan.wait(n)

    async def client_gone():
        while (await request.receive())["type"] != "http.disconnect":
            pass

    work, gone = asyncio.create_task(produce()), asyncio.create_task(client_gone())
    await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    aborted = not work.done()
    work.cancel()
    gone.cancel()
    record["state"] = "aborted" if aborted else "done"
    if aborted:
        return PlainTextResponse("", status_code=499)
    record["completion"] = plan.tokens
    text = "".join(plan.token(n) for n in range(plan.tokens))
    whole = {**envelope, "choices": [choice(text, plan.finish, plan.tool)], "service_tier": None,
             "system_fingerprint": None, "prompt_logprobs": None, "kv_transfer_params": None}
    if plan.usage:
        whole["usage"] = usage_of(record)
    if plan.cut_at:
        record["state"] = "aborted"
        return broken_answer(json.dumps(whole).encode())
    return JSONResponse(whole, headers=plan.headers)


def broken_answer(data):
    """An answer of which the last bytes do not come."""
    async def pieces():
        yield data[:-9]
        raise Broken
    return StreamingResponse(pieces(), media_type="application/json",
                             headers={"content-length": str(len(data))})


def refuse(message, status=400):
    book.bad += 1
    return JSONResponse({"error": {"message": message, "type": "BadRequestError", "param": None,
                                   "code": status}}, status_code=status)


def failure(record):
    record["state"] = "failed"
    return JSONResponse({"error": {"message": "try again", "type": "server_error"}}, 500)


async def read_body(request):
    try:
        body = json.loads(await request.body())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


async def generate(request, kind, prompt_field, id_prefix, objects, choice, delta):
    body = await read_body(request)
    if body is None or prompt_field not in body:
        return refuse(f"a JSON object with `{prompt_field}` is expected")
    plan = Plan(body)
    record = book.open(request, body, kind, prompt_words(body[prompt_field]))
    record["id"] = make_id(id_prefix)
    record["cached"] = plan.cached
    if plan.fails:
        return failure(record)
    envelope = {"id": record["id"], "object": objects[record["stream"]],
                "created": int(time.time()), "model": record["model"]}
    if not record["stream"]:
        return await plain_answer(request, record, plan, envelope, choice)
    return StreamingResponse(stream_answer(record, plan, envelope, delta, kind == "chat"),
                             media_type="text/event-stream", headers=plan.headers)


async def chat(request):
    return await generate(request, "chat", "messages", "chatcmpl",
                          ("chat.completion", "chat.completion.chunk"), chat_choice, chat_delta)


async def completions(request):
    return await generate(request, "completion", "prompt", "cmpl",
                          ("text_completion", "text_completion"), text_choice, text_delta)


async def embeddings(request):
    body = await read_body(request)
    if body is None or "input" not in body:
        return refuse("a JSON object with `input` is expected")
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    record = book.open(request, body, "embedding", prompt_words(inputs))
    record["id"] = make_id("embd")
    size = int(body.get("dimensions") or 1024)
    vector = [((i * 37) % 1000 - 500) / 7919 for i in range(size)]
    if body.get("encoding_format") == "base64":  # what the SDKs ask for
        vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
    record["state"] = "done"
    return JSONResponse({
        "id": record["id"], "object": "list", "created": int(time.time()), "model": record["model"],
        "data": [{"index": i, "object": "embedding", "embedding": vector}
                 for i in range(len(inputs))],
        "usage": {"prompt_tokens": record["prompt"], "total_tokens": record["prompt"],
                  "completion_tokens": 0, "prompt_tokens_details": None}})


def message_block(text, tool):
    if tool:
        return {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {"a": text} if text
                else {}}
    return {"type": "text", "text": text}


async def stream_message(record, plan, message):
    """Anthropic's events; the answer's length is told last."""
    def event(kind, **fields):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"
    try:
        yield event("message_start", message={**message, "content": [], "stop_reason": None})
        yield event("content_block_start", index=0, content_block=message_block("", plan.tool))
        for n in range(plan.tokens):
            await plan.wait(n)
            record["completion"] += 1
            yield event("content_block_delta", index=0, delta={
                "type": "input_json_delta", "partial_json": plan.token(n)} if plan.tool else {
                "type": "text_delta", "text": plan.token(n)})
        yield event("content_block_stop", index=0)
        yield event("message_delta", delta={"stop_reason": plan.stop, "stop_sequence": None},
                    usage={"output_tokens": record["completion"]})
        yield event("message_stop")
        record["state"] = "done"
    finally:
        if record["state"] == "open":
            record["state"] = "aborted"


async def messages(request):
    """Anthropic's dialect."""
    body = await read_body(request)
    if body is None or "messages" not in body:
        return refuse("a JSON object with `messages` is expected")
    plan = Plan(body)
    record = book.open(request, body, "message", prompt_words(body["messages"]))
    record["id"] = make_id("msg")
    if plan.fails:
        return failure(record)
    message = {"id": record["id"], "type": "message", "role": "assistant",
               "model": record["model"], "stop_sequence": None,
               "usage": {"input_tokens": record["prompt"], "output_tokens": 0}}
    if record["stream"]:
        return StreamingResponse(stream_message(record, plan, message),
                                 media_type="text/event-stream", headers=plan.headers)
    for n in range(plan.tokens):
        await plan.wait(n)
    record["completion"], record["state"] = plan.tokens, "done"
    text = "".join(plan.token(n) for n in range(plan.tokens))
    message["usage"]["output_tokens"] = plan.tokens
    return JSONResponse({**message, "content": [message_block(text, plan.tool)],
                         "stop_reason": plan.stop}, headers=plan.headers)


async def models(request):
    return JSONResponse({"object": "list", "data": [
        {"id": name, "object": "model", "created": int(time.time()), "owned_by": "vllm",
         "root": name, "parent": None, "max_model_len": 131072, "permission": []}
        for name in (CHAT_MODEL, EMBEDDING_MODEL)]})


async def health(request):
    return PlainTextResponse("")


app = Starlette(routes=[
    Route("/v1/chat/completions", chat, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/messages", messages, methods=["POST"]),
    Route("/v1/models", models),
    Route("/health", health),
])


async def admin(reader, writer):
    line = (await reader.readline()).decode().strip()
    writer.write(json.dumps(book.command(line)).encode())
    await writer.drain()
    writer.close()


def listeners(ports):
    """One IPv4 and one IPv6 socket a port, as a server on a dual-stack host has them."""
    socks = []
    for port, (family, host) in itertools.product(ports, ((socket.AF_INET, "0.0.0.0"),
                                                          (socket.AF_INET6, "::"))):
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(2048)
        socks.append(sock)
    return socks


async def main(args):
    global book
    book = Book()
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="off",
                                           log_level="warning", access_log=False,
                                           timeout_keep_alive=60))
    control = await asyncio.start_unix_server(admin, args.admin)
    await server.serve(sockets=listeners(args.port))
    control.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--admin", required=True)
    parser.add_argument("--port", type=int, nargs="+", default=[8000])
    arguments = parser.parse_args()
    uvicorn.Config(app, loop="uvloop").setup_event_loop()
    asyncio.run(main(arguments))
