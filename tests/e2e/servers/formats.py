# SPDX-License-Identifier: Apache-2.0
"""tests/corpus as a real server sends it: starlette on uvicorn, by Content-Length or in chunks,
compressed by starlette's own middleware where the client accepts that.

  python3 formats.py --port 8001

x-corpus names the answer, x-framing how: length, pieces.
"""
import argparse
import pathlib
import random
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "corpus"))
import corpus  # noqa: E402

ANSWERS = corpus.answers()


async def pieces(answer):
    """Its body in pieces of any size. One that is cut ends in an exception, upon which uvicorn
    closes the connection."""
    dice = random.Random(answer.name)
    end, at = len(answer.body) - answer.cut, 0
    while at < end:
        size = min(end - at, dice.randint(1, max(100, end // 3)))
        yield answer.body[at:at + size]
        at += size
    if answer.cut:
        raise ConnectionAbortedError(answer.name)


async def serve(request):
    await request.body()
    answer = ANSWERS[request.headers["x-corpus"]]
    if answer.bodiless:
        made = Response(status_code=answer.status)
    elif request.headers["x-framing"] == "length" and not answer.cut:
        made = Response(answer.body, answer.status)
    else:
        made = StreamingResponse(pieces(answer), answer.status)
        if request.headers["x-framing"] == "length":
            made.raw_headers.append((b"content-length", b"%d" % len(answer.body)))
    made.raw_headers += [(n.lower().encode(), v.encode()) for n, v in answer.headers]
    return made


app = Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST"])],
                middleware=[Middleware(GZipMiddleware, minimum_size=1)])

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(app, host="0.0.0.0", port=parser.parse_args().port, http="h11", lifespan="off",
                log_level="critical", access_log=False, timeout_keep_alive=600, date_header=False,
                server_header=False)
