# SPDX-License-Identifier: Apache-2.0
"""What the kernel saw on a service is told in status until it means another port."""
from weirlab import policy
from weirlab.lab import PORT, run

DOCUMENT = policy.document({"open": {}}, {"acme": ("open", "sk-acme")})


def saw(lab, service, bits):
    run("bpftool", "map", "update", "pinned", lab.pins / "maps" / "seen",
        "key", service, 0, 0, 0, "value", bits, 0, 0, 0)


def test_what_was_seen_is_told_of_its_service_and_outlives_the_agent(lab):
    two = [{"name": "llm", "port": PORT}, {"name": "other", "port": PORT + 1}]
    lab.start_agent(DOCUMENT, nats=False, services=two)
    assert lab.warnings() == []
    saw(lab, 1, 1)
    saw(lab, 2, 6)
    warnings = lab.warnings()
    assert [w.split(": ")[:2] for w in warnings] == [
        [f"service llm (port {PORT})", "TLS was seen"],
        [f"service other (port {PORT + 1})", "HTTP/2 without TLS was seen"],
        [f"service other (port {PORT + 1})", "Upgrade or CONNECT was seen"]]
    assert "warning: service llm" in lab.weirctl("status").stdout

    lab.kill_agent()
    lab.start_agent()
    assert lab.warnings() == warnings

    lab.kill_agent()
    lab.start_agent(DOCUMENT, nats=False, services=[two[0], {"name": "third", "port": PORT + 2}])
    assert lab.warnings() == warnings[:1]
