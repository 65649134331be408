# SPDX-License-Identifier: Apache-2.0
"""The agent on Debian 12's stock kernel, which has no tcx: it sits on clsact there.
`make test-vm` runs this in a machine of its own (scripts/vm); it is no part of
`make test`."""
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from test_nat import Pod  # noqa: E402
from weirlab import Lab, policy, wait_for  # noqa: E402
from weirlab.lab import BUILD  # noqa: E402
from weirlab.links import ask, connect, ns_path  # noqa: E402
from weirlab.raw_http import Response, chat_body, head, send  # noqa: E402

CHAT = "/v1/chat/completions"
ONE_A_MINUTE = policy.document({"limited": {"requests": {"per_minute": 1, "burst": 1}}},
                              {"acme": ("limited", "sk-acme")})
# Bodies are read and lowered to three tokens.
SHORT = policy.document({"short": {"max_output_tokens": 3}}, {"acme": ("short", "sk-acme")})
HOOKS = ("ingress", "egress")


@pytest.fixture
def lab():
    with Lab() as made:
        made.start_server()
        yield made
        if made.log("agent").exists():
            print(made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


def filters(lab, hook):
    """Classic filters on eth0: name of the program to its id. TC lists each chain's
    head too, which has no program."""
    shown = lab.in_server("tc", "-j", "filter", "show", "dev", "eth0", hook).stdout
    bpf = [f["options"] for f in json.loads(shown or "[]") if "prog" in f.get("options", {})]
    return {(f["handle"], f["prog"]["name"]): f["prog"]["id"] for f in bpf}


def curl(lab, family=4):
    """A chat request; its status and body."""
    done = lab.in_client("curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}",
                         "-H", "Authorization: Bearer sk-acme", "-H",
                         "Content-Type: application/json", "-d", json.dumps(chat_body(1)),
                         lab.base_url(family) + CHAT)
    body, status = done.stdout.rsplit("\n", 1)
    return int(status), body


def connections(lab):
    return lab.ctl("tenant", "show", "acme")["live"]["connections"]


@pytest.mark.parametrize("xdp, family", (("off", 4), ("native", 6)))
def test_one_request_passes_and_the_next_is_refused(lab, xdp, family):
    lab.start_agent(ONE_A_MINUTE, xdp=xdp)
    (interface,) = lab.ctl("status")["interfaces"]
    assert (interface["tc_mode"], interface["xdp_mode"]) == ("clsact", xdp)
    assert curl(lab, family)[0] == 200
    status, body = curl(lab, family)
    assert status == 429
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    assert len(lab.served("sk-acme")) == 1


def test_a_socket_that_closes_gives_its_connection_back(lab):
    lab.start_agent(ONE_A_MINUTE, xdp="off")
    with lab.connect() as sock:
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(1)).status == 200
        assert connections(lab) == 1
    wait_for(lambda: connections(lab) == 0, "the connection to be given back")


def test_a_new_agent_replaces_the_filters_and_limits_hold(lab):
    lab.start_agent(ONE_A_MINUTE, xdp="off")
    assert curl(lab)[0] == 200
    before = {hook: filters(lab, hook) for hook in HOOKS}
    lab.kill_agent()
    assert {hook: filters(lab, hook) for hook in HOOKS} == before
    assert curl(lab)[0] == 429  # with nobody there
    lab.start_agent()
    for hook in HOOKS:
        now = filters(lab, hook)
        assert now.keys() == before[hook].keys() and len(now) == 1
        assert not set(now.values()) & set(before[hook].values())
    assert curl(lab)[0] == 429


def test_detach_takes_this_instances_filters_and_no_others(lab):
    lab.add_foreign_tc("server")
    foreign = {hook: filters(lab, hook) for hook in HOOKS}
    lab.start_agent(ONE_A_MINUTE, xdp="off")
    one = {hook: filters(lab, hook) for hook in HOOKS}
    first = lab.dir / "first.json"
    lab.config_path.rename(first)
    lab.write_config(nats=False, xdp="off", instance=lab.instance + "b", http="127.0.0.1:9478",
                     control=str(lab.dir / "b.sock"), state_dir=str(lab.dir / "b"))
    (lab.dir / "b").mkdir()
    other = lab.spawn([BUILD / "weir-agent", "--config", lab.config_path], "server", "other")
    wait_for(lambda: "ready" in lab.log("other").read_text(), "the other instance", 20)
    for hook in HOOKS:
        assert len(filters(lab, hook)) == len(one[hook]) + 1
    other.kill()
    other.wait()
    done = lab.in_server(BUILD / "weir-agent", "--detach", "--config", lab.config_path)
    assert done.stderr == ""
    assert {hook: filters(lab, hook) for hook in HOOKS} == one
    first.rename(lab.config_path)
    assert curl(lab)[0] == 200 and curl(lab)[0] == 429
    assert lab.stop_agent() == 0
    assert {hook: filters(lab, hook) for hook in HOOKS} == foreign


def test_filters_left_in_another_namespace_guard_nothing(lab):
    lab.start_agent(ONE_A_MINUTE, xdp="off")
    lab.kill_agent()
    assert curl(lab)[0] == 200
    lab.detach()  # from this namespace, where eth0 is not
    assert filters(lab, "ingress")
    assert curl(lab)[0] == 200 and curl(lab)[0] == 200


# ------------------------------------------- what the programs took 6.1's verifier far to see

def verdict(lab, name):
    return lab.ctl("status")["verdicts"].get(name, 0)


def test_a_head_in_three_segments_is_judged_by_its_last(lab):
    lab.start_agent(ONE_A_MINUTE, xdp="off")
    body = json.dumps(chat_body(1)).encode()
    request = head("POST", CHAT, "sk-acme", len(body)) + body
    for status in (200, 429):
        parts = verdict(lab, "pass_head_part")
        with lab.connect() as sock:
            for n, part in enumerate((request[:9], request[9:70])):  # cut inside target and name
                sock.sendall(part)
                wait_for(lambda: verdict(lab, "pass_head_part") == parts + n + 1, "the part")
            sock.sendall(request[70:])
            assert Response(sock).read_head().status == status
    assert len(lab.served("sk-acme")) == 1


def test_a_chunked_upload_is_followed_to_its_end(lab):
    lab.start_agent(policy.document({"open": {}}, {"acme": ("open", "sk-acme")}), xdp="off")
    body = json.dumps(chat_body(2, prompt="word " * 5000)).encode()
    framing = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    with lab.connect() as sock:
        for _ in range(2):  # the next head is found behind it
            sock.sendall(head("POST", CHAT, "sk-acme", extra=framing))
            for at in range(0, len(body), 3000):
                part = body[at:at + 3000]
                sock.sendall(b"%x\r\n" % len(part) + part + b"\r\n")
            sock.sendall(b"0\r\n\r\n")
            answer = Response(sock).read_head()
            assert (answer.status, answer.json()["usage"]["prompt_tokens"]) == (200, 5000)
    assert verdict(lab, "drop_bad_chunk") == 0 and verdict(lab, "admit_request") == 2


@pytest.mark.parametrize("family", (4, 6))
def test_max_tokens_is_rewritten_in_the_body(lab, family):
    lab.start_agent(SHORT, xdp="off")
    with lab.connect(family) as sock:
        answer = send(sock, "POST", CHAT, "sk-acme", chat_body(4000, prompt="word " * 2000))
        assert (answer.status, answer.json()["usage"]["completion_tokens"]) == (200, 3)
    assert verdict(lab, "rewrite_max_tokens") == 1
    assert lab.served("sk-acme")[0]["completion"] == 3


def test_a_server_behind_nat_is_guarded_and_gives_its_connections_back(lab):
    pod = Pod(lab, "nat over a veth")
    pod.start_agent()
    assert ask(pod.connect(), "sk-acme")[0] == 200
    status, document = ask(pod.connect(), "sk-poor")
    assert (status, document["error"]["code"]) == (429, "insufficient_quota")
    assert {r["key"] for r in pod.server.served()} == {"sk-acme"}
    for tenant in ("acme", "poor"):
        pod.wait_in_use(0, 0, tenant)


@pytest.mark.parametrize("guarded", ("eth0", "eth0.7"))
def test_requests_in_a_vlan_are_judged(lab, guarded):
    """On the device below the tag is looked through; on the VLAN's own there is none."""
    for ns, host in ((lab.client_ns, 1), (lab.server_ns, 2)):
        lab.ip(ns, "link", "add", "link", "eth0", "name", "eth0.7", "type", "vlan", "id", "7")
        lab.ip(ns, "addr", "add", f"10.78.0.{host}/24", "dev", "eth0.7")
        lab.ip(ns, "link", "set", "eth0.7", "up")
    lab.start_agent(ONE_A_MINUTE, xdp="off", interfaces=[guarded])
    statuses = []
    for _ in range(2):
        with connect(ns_path(lab.client_ns), "10.78.0.2") as sock:
            statuses.append(send(sock, "POST", CHAT, "sk-acme", chat_body(1)).status)
    assert statuses == [200, 429] and len(lab.served("sk-acme")) == 1
    wait_for(lambda: connections(lab) == 0, "the connections to be given back")
