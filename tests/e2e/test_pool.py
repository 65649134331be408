# SPDX-License-Identifier: Apache-2.0
"""Many clients behind a gateway's few connections: requests of all kinds, tenants and users one
after the other on the same connection, answers compressed or not as the client wants. Each is one
event, with its own tenant, user, counts and price."""
import collections
import concurrent.futures
import gzip
import random
import re

import pytest
from checks import total_input, wait_events
from weirlab import policy, wait_for
from weirlab.lab import CLIENT4, HERE, PORT, SERVER4
from weirlab.raw_http import chat_body, send

FRONT = 8100  # guarded; the model server's own port is not
AT_ONCE, EACH = 8, 60
SOURCES = policy.document({"open": {}}, {"acme": ("open", "sk-acme"), "other": ("open", "sk-other")})


def start_nginx(lab, conf, where, name, port, **names):
    text = conf.read_text()
    for word, value in {"DIR": lab.dir, **names}.items():
        text = text.replace(f"@{word}@", str(value))
    path = lab.dir / f"{name}.conf"
    path.write_text(text.replace("keepalive 2;", f"keepalive {AT_ONCE};"))
    child = lab.spawn(["/usr/sbin/nginx", "-c", path, "-e", lab.log(name)], where, name)

    def listening():
        assert child.poll() is None, lab.log(name).read_text()
        inside = lab.in_server if where == "server" else lab.in_client
        return inside("ss", "-Hltn", f"sport = :{port}").stdout.strip()
    wait_for(listening, f"{name} to listen")


@pytest.fixture
def pool(lab):
    """client, gateway, Weir, compressing front, model server."""
    start_nginx(lab, HERE.parent / "servers/gzip.conf", "server", "gzip", FRONT, PORT=FRONT,
                MODEL=PORT)
    lab.start_agent(SOURCES, trusted_sources=[f"{CLIENT4}/32"],
                    services=[{"name": "llm", "port": FRONT, "api": "openai"}])
    start_nginx(lab, lab.clients / "gateway.conf", "client", "gateway", 9000,
                SERVER=f"{SERVER4}:{FRONT}")
    return lab


def anthropic(tokens, stream):
    return {"model": "llama-3.3-70b-instruct", "max_tokens": tokens, "stream": stream,
            "messages": [{"role": "user", "content": "four words to answer"}]}


def request(n):
    """Path, body, and where its counts come from."""
    tokens, words = random.Random(n).randrange(1, 60), "word " * random.Random(-n).randrange(1, 90)
    chat = "/v1/chat/completions"
    return (
        (chat, chat_body(tokens, words, cached=n % 3), "reported"),
        (chat, chat_body(tokens, words, stream=True, include_usage=True), "reported"),
        (chat, chat_body(tokens, words, stream=True), "estimated"),
        ("/v1/embeddings", {"model": "bge-m3", "input": [words] * (1 + n % 9),
                            "encoding_format": ("base64", "float")[n // 6 % 2]}, "reported"),
        ("/v1/messages", anthropic(tokens, True), "reported"),
        ("/v1/messages", anthropic(tokens, False), "reported"),
    )[n % 6]


def tenant(n):
    return ("acme", "other")[n // 7 % 2]


def ask(lab, n):
    """One client, on a connection of its own to the gateway. The answer's id, and was it
    compressed?"""
    path, body, _ = request(n)
    with lab.socket() as sock:
        sock.connect(("127.0.0.1", 9000))
        answer = send(sock, "POST", f"/named{path}", None, body, [
            f"x-customer: {tenant(n)}", f"x-weir-user: user-{n}", f"x-weir-session: s-{n % 5}",
            f"accept-encoding: {'identity' if n % 4 == 3 else 'gzip'}", "connection: close"])
        assert answer.status == 200
        data = answer.body()
    coded = answer.headers.get("content-encoding") == "gzip"
    text = (gzip.decompress(data) if coded else data).decode()
    return re.search(r'"id": ?"([^"]+)"', text)[1], coded


def test_each_request_of_a_pool_is_its_own_event(pool):
    n_requests = AT_ONCE * EACH
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda n: ask(pool, n), range(n_requests)))
    events = {e["response_id"]: e for e in wait_events(pool, n_requests)}
    served = {r["id"]: r for r in pool.served()}
    assert len(events) == len(served) == n_requests
    assert {coded for n, (_, coded) in enumerate(answers) if n % 4 != 3} == {True}
    for n, (name, coded) in enumerate(answers):
        event, record = events[name], served[name]
        got = {"tenant": event["tenant"], "user": event["user"], "session": event["session"],
               "model": event["model"], "output": event.get("output_tokens", 0),
               "stream": event["stream"], "source": event["usage_source"],
               "coded": event.get("encoded", False)}
        want = {"tenant": tenant(n), "user": f"user-{n}", "session": f"s-{n % 5}",
                "model": record["model"], "output": record["completion"],
                "stream": record["stream"], "source": request(n)[2], "coded": coded}
        assert got == want, (n, record)
        if request(n)[2] == "reported":
            assert total_input(event) == record["prompt"], (n, record)
            assert event.get("cache_read_tokens", 0) == record["cached"], (n, record)
            assert policy.nano(event["price"]) == policy.price(
                record["model"], record["prompt"], record["completion"], record["cached"]), n
    by_tenant = collections.Counter(e["tenant"] for e in events.values())
    assert by_tenant == collections.Counter(tenant(n) for n in range(n_requests))
    connections = pool.ctl("status")["verdicts"]["admit_connection"]
    print(f"{n_requests} requests on {connections} connections")
    assert connections <= n_requests // 5, f"{connections} connections: no pool"


def test_of_a_compressed_stream_no_more_is_read_after_a_kill(pool):
    """What a decoder remembers is not in the state file: what was seen stays, and that it is not all
    is said. The same stream uncompressed, and what comes after, are whole."""
    body = chat_body(30, stream=True, include_usage=True, hold=1)
    socks, first = [], {}
    for coding in ("gzip", "identity"):
        sock = pool.socket()
        sock.connect((SERVER4, FRONT))
        answer = send(sock, "POST", "/v1/chat/completions", "sk-acme", body,
                      [f"accept-encoding: {coding}"])
        assert (answer.headers.get("content-encoding") == "gzip") == (coding == "gzip")
        socks.append((sock, answer.chunks()))
        first[coding] = next(socks[-1][1])
    wait_for(lambda: pool.ctl("status")["answers"]["decoders"] == 1, "the answer to be decoded")
    wait_for(lambda: pool.ctl("status")["ring"]["used"] == 0, "the ring to be read")
    pool.kill_agent()
    pool.start_agent()
    pool.admin("release")
    for sock, chunks in socks:
        assert b"".join(chunks)
        sock.close()
    with pool.socket() as sock:
        sock.connect((SERVER4, FRONT))
        assert send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(3),
                    ["accept-encoding: gzip"]).body()
    events = wait_events(pool, 3)
    coded, plain, later = sorted(events, key=lambda e: (not e.get("encoded", False) or
                                                        e["usage_source"] == "reported",
                                                        not e["stream"]))
    served = {r["id"]: r for r in pool.served()}
    assert (coded["usage_source"], coded["output_tokens"]) == ("partial", 1), coded
    assert coded["response_id"] in served and coded["price"] != "0", coded
    for event in (plain, later):
        record = served[event["response_id"]]
        assert event["usage_source"] == "reported" and event["output_tokens"] == record[
            "completion"], event
