# SPDX-License-Identifier: Apache-2.0
"""Every answer of tests/corpus, served by uvicorn in every framing HTTP has, becomes the event that
is written beside it."""
import pathlib
import sys

import pytest
from checks import events_of
from weirlab import Lab, policy, wait_for
from weirlab.lab import HERE, PORT
from weirlab.raw_http import Response, head, send

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "corpus"))
import corpus  # noqa: E402

KEY = "sk-acme"
ANSWERS = corpus.answers()
COUNTS = ("input", "cache_read", "cache_write", "output", "reasoning", "audio", "image")
TEXTS = ("model", "model_version", "response_id", "finish_reason", "cache_status")
MODES = ("length", "chunked", "gzip", "gzip in chunks", "close")


def modes_of(answer):
    """A close ends any answer: that one is cut shows only where its length is known."""
    if answer.bodiless:
        return MODES[:1]
    if answer.framing == "close":
        return MODES[-1:]
    return MODES[:2] if answer.cut else MODES[:-1] if answer.framing == "ended" else MODES


def ask(lab, sock, answer, mode):
    """One request for it; None instead of the socket when the connection is used up."""
    extra = [f"x-corpus: {answer.name}", f"x-weir-session: {answer.name}:{MODES.index(mode)}",
             f"x-framing: {'length' if mode in ('length', 'gzip') else 'pieces'}"]
    if mode.startswith("gzip"):
        extra.append("accept-encoding: gzip")
    if mode == "close":  # what HTTP/1.0 has for a stream
        request = head("POST", answer.path, KEY, 2, extra) + b"{}"
        sock.sendall(request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
        got = Response(sock).read_head()
    else:
        got = send(sock, "POST", answer.path, KEY, {}, extra)
    assert got.status == answer.status
    if answer.bodiless:
        return sock
    assert ("content-encoding" in got.headers) == (mode.startswith("gzip") or answer.coded)
    assert ("content-length" in got.headers) == (mode in ("length", "gzip"))
    try:
        size = len(got.body())
    except ConnectionError:
        assert answer.cut
    else:
        assert not answer.cut and (size == len(answer.body) or mode.startswith("gzip"))
    if answer.cut or mode == "close":
        sock.close()
        return None
    return sock


@pytest.fixture(scope="module")
def metered():
    """Events by name and mode, and what `usage` makes of all of them."""
    with Lab() as lab:
        server = lab.spawn(["/usr/bin/python3", HERE.parent / "servers/formats.py", "--port", PORT],
                           "server", "formats")
        lab.await_listening(server, PORT, "the server of formats", "formats")
        # room for all of it: what is tested is what is made of bytes, not that they come
        lab.start_agent(policy.document({"open": {}}, {"acme": ("open", KEY)}), nats=False,
                        ring_bytes=16 << 20)
        sock, asked = None, 0
        for answer in ANSWERS.values():
            for mode in modes_of(answer):
                sock = ask(lab, sock or lab.connect(), answer, mode)
                asked += 1
        events = wait_for(lambda: (e := events_of(lab)) and len(e) >= asked and e,
                          f"{asked} events", 20, every=0.2)
        by_session = {e["session"]: e for e in events}
        assert len(events) == len(by_session) == asked
        yield by_session, lab.ctl("usage", "acme"), lab.ctl("status")
    assert lab.leftovers() == []


def difference(answer, event, mode):
    """Fields of the event that are not as written: name, got, expected."""
    want, got = answer.want, {}
    source = want.get("event_source", want["source"])
    guessed = event.get("estimated_counts", [])
    expect = {"status": want["status"], "stream": want["stream"],
              "usage_source": source if source != "none" else None,
              "client_request_id": want.get("request_id"), "lost_bytes": None,
              "encoded": True if mode.startswith("gzip") or answer.coded else None,
              **{name: want.get(name) or None for name in TEXTS}}
    if want["status"] >= 400:
        expect |= {"billable": False, "price": "0"}
    for name in COUNTS:
        if name in want or name not in guessed:
            expect[f"{name}_tokens"] = want.get(name)
    for name, value in expect.items():
        if event.get(name) != value:
            got[name] = (event.get(name), value)
    if source == "reported" and guessed:
        got["estimated_counts"] = (guessed, None)
    return got


@pytest.mark.parametrize("mode", MODES)
def test_every_answer_becomes_the_event_written_beside_it(metered, mode):
    events, _, _ = metered
    wrong = {}
    for name, answer in ANSWERS.items():
        if mode in modes_of(answer):
            found = difference(answer, events[f"{name}:{MODES.index(mode)}"], mode)
            if found:
                wrong[name] = found
    assert wrong == {}


def test_nothing_was_lost_and_all_of_it_is_counted(metered):
    events, (usage,), status = metered
    assert usage["requests"] == len(events)
    assert status["answers"]["lost_bytes"] == 0
    for source in ("reported", "estimated", "partial"):
        count = sum(e.get("usage_source") == source for e in events.values())
        assert status["answers"][source] == count
