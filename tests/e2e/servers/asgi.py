# SPDX-License-Identifier: Apache-2.0
"""A model server on uvicorn, with either of its parsers, that writes down every
request as it parsed it: a line of JSON when the head was read, another when the
body's end was.

  python3 asgi.py --http h11|httptools --port 8001 --log requests.log
"""
import argparse
import itertools
import json
import os

import uvicorn

SERIAL = itertools.count(1)
BOOT = os.urandom(4).hex()
log = None


def tell(scope, event, **fields):
    """One write a line, so that a reader never sees a part of one."""
    peer = "%s:%d" % tuple(scope["client"])
    os.write(log, json.dumps({"event": event, "peer": peer, **fields}).encode() + b"\n")


def described(scope):
    """The head, as far as a verdict depends on it. Trailers may come to headers later: a copy."""
    headers = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    target = scope.get("raw_path", scope["path"].encode())
    if scope["query_string"] and b"?" not in target:
        target += b"?" + scope["query_string"]
    return {"method": scope["method"], "target": target.decode("latin-1"), "headers": headers}


def usage_of(body):
    """Words of the prompt, and as many tokens as were asked for."""
    try:
        asked = json.loads(body)
        prompt = " ".join(m["content"] for m in asked["messages"])
        return asked, len(prompt.split()), int(asked.get("max_tokens", 16))
    except (ValueError, KeyError, TypeError):
        return {}, 0, 0


def answer(body):
    """Content type and bytes of a completion for it."""
    asked, prompt, tokens = usage_of(body)
    usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
    name = f"chatcmpl-{BOOT}{next(SERIAL):016x}"
    text = " ".join(["tok"] * tokens)
    common = {"id": name, "created": 1, "model": asked.get("model", "none")}
    if not asked.get("stream"):
        whole = {**common, "object": "chat.completion", "usage": usage, "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text},
             "finish_reason": "length"}]}
        return name, b"application/json", json.dumps(whole).encode()
    chunk = {**common, "object": "chat.completion.chunk"}
    events = [{**chunk, "choices": [{"index": 0, "delta": {"content": text},
                                     "finish_reason": "length"}]},
              {**chunk, "choices": [], "usage": usage}]
    lines = [b"data: " + json.dumps(e).encode() + b"\n\n" for e in events] + [b"data: [DONE]\n\n"]
    return name, b"text/event-stream", b"".join(lines)


async def app(scope, receive, send):
    number = next(SERIAL)
    tell(scope, "head", n=number, **described(scope))
    # Some answers are there before the body: what comes of the body then?
    body, more = b"", scope["path"] != "/v1/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    name, kind, data = answer(body)
    tell(scope, "body", n=number, text=body.decode("latin-1"), id=name)
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", kind), (b"content-length", b"%d" % len(data))]})
    await send({"type": "http.response.body", "body": data})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", choices=("h11", "httptools"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", required=True)
    args = parser.parse_args()
    log = os.open(args.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    uvicorn.run(app, host="0.0.0.0", port=args.port, http=args.http, lifespan="off",
                log_level="error", access_log=False, timeout_keep_alive=600)
