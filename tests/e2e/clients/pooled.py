# SPDX-License-Identifier: Apache-2.0
"""Python's HTTP clients: requests one after the other on a pool of connections.

  python3 pooled.py httpx|httpx-async|aiohttp URL API_KEY BODY…

Prints a line {"status", "retry_after", "body"} each, as fetch.mjs does."""
import asyncio
import json
import sys


def tell(status, headers, body):
    print(json.dumps({"status": status, "retry_after": headers.get("retry-after"),
                      "body": body}), flush=True)


def by_httpx(url, headers, bodies):
    import httpx
    with httpx.Client(headers=headers, timeout=30) as client:
        for body in bodies:
            with client.stream("POST", url, content=body) as answer:
                text = "".join(answer.iter_text())
            tell(answer.status_code, answer.headers, text)


async def by_httpx_async(url, headers, bodies):
    import httpx
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        for body in bodies:
            async with client.stream("POST", url, content=body) as answer:
                text = "".join([part async for part in answer.aiter_text()])
            tell(answer.status_code, answer.headers, text)


async def by_aiohttp(url, headers, bodies):
    import aiohttp
    async with aiohttp.ClientSession(headers=headers) as session:
        for body in bodies:
            async with session.post(url, data=body) as answer:
                tell(answer.status, answer.headers, await answer.text())


if __name__ == "__main__":
    library, target, key, *given = sys.argv[1:]
    fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    given = [body.encode() for body in given]
    if library == "httpx":
        by_httpx(target, fields, given)
    else:
        asyncio.run({"httpx-async": by_httpx_async, "aiohttp": by_aiohttp}[library](
            target, fields, given))
