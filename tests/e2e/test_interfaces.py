# SPDX-License-Identifier: Apache-2.0
"""Interfaces come later, go, come back, are renamed, live in other namespaces or
have no Ethernet header; others use the same hooks. What is guarded stays so."""
import contextlib
import os
import subprocess

import pytest
from checks import assert_metered, wait_events
from test_restart import Load
from weirlab import policy, wait_for
from weirlab.lab import PORT, SERVER4, SERVER6, run
from weirlab.links import (CHAT, ForeignTcx, ModelServer, add_foreign_filter, add_foreign_xdp,
                           add_veth, ask, connect, del_link, filters, ifindex, make_pod, ns_path,
                           pinned, pod, remove_xdp, rename, status_of, tcx_programs,
                           wait_attached, xdp_shown)
from weirlab.raw_http import chat_body, send

POLICY = policy.document({"open": {}, "poor": {"credit": "hard"}},
                         {"acme": ("open", "sk-acme"), "poor": ("poor", "sk-poor")})
BY_SOURCE = policy.document({"open": {}, "one": {"connections": 1}}, {
    "acme": ("open", "sk-acme"),
    "few": {"tier": "one", "sources": ["10.77.0.0/16", "10.81.0.0/24"]}})


def log(lab):
    return lab.log("agent").read_text()


def warnings(lab):
    return lab.warnings()


def assert_guarded(lab, address, port=PORT, ns=None, server=None, tenant="acme"):
    """Admitted and metered, or refused in whole words with the server knowing nothing of it."""
    server, path = server or lab, ns_path(ns or lab.client_ns)
    served, metered = len(server.served()), len(events(lab))
    assert ask(connect(path, address, port), "sk-acme", tokens=3)[0] == 200
    code, document = ask(connect(path, address, port), "sk-poor")
    assert code == 429 and document["error"]["code"] == "insufficient_quota"
    assert ask(connect(path, address, port), "sk-nobody")[0] == 401
    assert len(server.served()) == served + 1 and server.admin()["open"] == 0
    wait_for(lambda: len(events(lab)) >= metered + 1, "the event")
    assert len(events(lab)) == metered + 1
    wait_for(lambda: (live := lab.ctl("tenant", "show", "acme")["live"])["inflight"] == 0 and
             live["connections"] == 0, "connections and slots to be given back")


def events(lab):
    return [e for e in lab.ctl_lines("events") if e["type"] == "weir.usage.v1"]


def assert_unguarded(lab, address):
    assert ask(connect(ns_path(lab.client_ns), address), "sk-nobody")[0] == 200


# ------------------------------------------------------------------ come and go

def test_an_interface_may_come_later(lab):
    lab.start_agent(POLICY, interfaces=["eth0", "eth7"], xdp="auto")
    assert "interface eth7: not there yet, waiting" in log(lab)
    assert "interface eth7: not there yet, waiting" in warnings(lab)
    assert status_of(lab, "eth7")["tc_mode"] == "off"
    assert_guarded(lab, SERVER4)
    for address in add_veth(lab, "eth7", 78):
        wait_attached(lab, "eth7")
        assert_guarded(lab, address)
    assert warnings(lab) == []
    assert_metered([e["data"] for e in events(lab)], lab.served("sk-acme"))


def test_nothing_is_there_at_start(lab):
    lab.start_agent(POLICY, interfaces=["eth7"], xdp="native")
    assert lab.http("/healthz")[0] == 200
    assert_unguarded(lab, SERVER4)
    rename(lab, lab.server_ns, "eth0", "eth7")
    assert wait_attached(lab, "eth7")["xdp_mode"] == "native"
    assert_guarded(lab, SERVER4)


def test_a_name_with_a_dot_and_several_interfaces_and_ports(lab):
    addresses = [SERVER4, SERVER6, *add_veth(lab, "eth1.5", 78)]
    second = ModelServer(lab, lab.server_ns, PORT + 1)
    lab.start_agent(POLICY, interfaces=["eth0", "eth1.5"], xdp="auto", services=[
        {"name": "llm", "port": PORT}, {"name": "claude", "port": PORT + 1, "api": "plain"}])
    for address in addresses:
        assert_guarded(lab, address)
        with connect(ns_path(lab.client_ns), address, PORT + 1) as sock:
            assert send(sock, "POST", CHAT, "sk-poor", chat_body(1)).status == 429
        assert ask(connect(ns_path(lab.client_ns), address, PORT + 1), "sk-acme")[0] == 200
        wait_for(lambda: len(events(lab)) == len(lab.served()) + len(second.served()), "events")
    services = [e["data"]["service"] for e in events(lab)]
    assert services.count("llm") == services.count("claude") == len(addresses)
    assert pinned(lab) == {(hook, ifindex(lab.server_ns, dev)) for dev in ("eth0", "eth1.5")
                           for hook in ("ingress", "egress")}


@pytest.mark.parametrize("xdp", ("native", "auto"))
def test_an_interface_that_goes_and_comes_back_is_guarded_again(lab, xdp):
    address, address6 = add_veth(lab, "eth7", 78)
    lab.start_agent(POLICY, interfaces=["eth0", "eth7"], xdp=xdp)
    load = Load(lab, "sk-acme", threads=2)
    seen = set()
    for n in range(4):
        seen.add(ifindex(lab.server_ns, "eth7"))
        wait_attached(lab, "eth7")
        with connect(ns_path(lab.client_ns), address) as sock:  # goes down with its connections
            assert send(sock, "POST", CHAT, "sk-acme",
                        chat_body(2, stream=True, hold=1)).status == 200
            del_link(lab, "eth7")
            wait_for(lambda: status_of(lab, "eth7")["tc_mode"] == "off", "the agent to notice")
        assert any("eth7: gone since" in w for w in warnings(lab))
        assert {i for _, i in pinned(lab)} == {ifindex(lab.server_ns, "eth0")}
        load.more(10)
        add_veth(lab, "eth7", 78)
    wait_attached(lab, "eth7")
    load.finish()
    assert set(load.statuses) == {200}
    assert len(seen) == 4, "the devices had other numbers"
    assert log(lab).count("interface eth7: attached again") == 4
    mode = "native" if xdp == "native" else "off"
    assert status_of(lab, "eth7")["xdp_mode"] == mode and warnings(lab) == []
    hooks = {"ingress", "egress"} | ({"xdp"} if xdp == "native" else set())
    assert pinned(lab) == {(h, ifindex(lab.server_ns, d)) for h in hooks for d in ("eth0", "eth7")}
    lab.admin("release")
    for a in (address, address6):
        with connect(ns_path(lab.client_ns), a) as sock:
            assert send(sock, "POST", CHAT, "sk-poor", chat_body(1)).status == 429


@pytest.mark.parametrize("how", ("kill -9", "--keep"))
def test_it_comes_back_while_no_agent_runs(lab, how):
    address, _ = add_veth(lab, "eth7", 78)
    options = ["--keep"] if how == "--keep" else []
    lab.start_agent(POLICY, interfaces=["eth0", "eth7"], xdp="auto", options=options)
    for n in range(3):
        if how == "kill -9":
            lab.kill_agent()
        else:
            assert lab.stop_agent() == 0
        assert ask(connect(ns_path(lab.client_ns), address), "sk-poor")[0] == 429
        del_link(lab, "eth7")
        if n != 1:
            add_veth(lab, "eth7", 78)
        lab.start_agent(options=options)
        if n == 1:
            assert "interface eth7: not there yet, waiting" in warnings(lab)
            assert {i for _, i in pinned(lab)} == {ifindex(lab.server_ns, "eth0")}
            add_veth(lab, "eth7", 78)
        wait_attached(lab, "eth7")
        assert_guarded(lab, address)
        assert {i for _, i in pinned(lab)} == {ifindex(lab.server_ns, d)
                                               for d in ("eth0", "eth7")}


def test_links_are_kept_where_nothing_changed(lab):
    """A restart replaces the programs inside the links: there is no moment without."""
    lab.start_agent(POLICY, xdp="native")
    before = {p.name: link_id(p) for p in (lab.pins / "links").iterdir() if p.name != "state"}
    load = Load(lab, "sk-acme", threads=2)
    for _ in range(3):
        lab.kill_agent()
        lab.start_agent()
    load.finish()
    assert before == {p.name: link_id(p) for p in (lab.pins / "links").iterdir()
                      if p.name != "state"} and len(before) == 4


def link_id(pin):
    # bpftool 7.1 does not know tcx, but tells the id of any link
    return run("bpftool", "link", "show", "pinned", pin).stdout.split(":")[0]


def test_an_interface_that_agent_json_names_no_more_is_let_go(lab):
    address, _ = add_veth(lab, "eth7", 78)
    lab.start_agent(POLICY, interfaces=["eth0", "eth7"], xdp="auto")
    lab.kill_agent()
    lab.start_agent(POLICY, interfaces=["eth0"], xdp="auto")
    assert {i for _, i in pinned(lab)} == {ifindex(lab.server_ns, "eth0")}
    assert_unguarded(lab, address)
    assert_guarded(lab, SERVER4)


def test_a_renamed_interface_stays_guarded_till_another_has_its_name(lab):
    address, _ = add_veth(lab, "eth7", 78)
    lab.start_agent(POLICY, interfaces=["eth0", "eth7"], xdp="auto")
    first = ifindex(lab.server_ns, "eth7")
    rename(lab, lab.server_ns, "eth7", "lan0")
    wait_for(lambda: any("eth7: was renamed to lan0" in w for w in warnings(lab)), "the warning")
    assert_guarded(lab, address)
    rename(lab, lab.server_ns, "lan0", "eth7")
    wait_for(lambda: warnings(lab) == [], "the warning to go")
    rename(lab, lab.server_ns, "eth7", "lan0")
    other, _ = add_veth(lab, "eth7", 79)
    wait_for(lambda: {i for _, i in pinned(lab)} ==
             {ifindex(lab.server_ns, d) for d in ("eth0", "eth7")}, "the change")
    assert first == ifindex(lab.server_ns, "lan0")
    assert_guarded(lab, other)
    assert_unguarded(lab, address)


def test_two_interfaces_of_agent_json_swap_their_names(lab):
    addresses = [add_veth(lab, "eth6", 78)[0], add_veth(lab, "eth7", 79)[0]]
    lab.start_agent(POLICY, interfaces=["eth6", "eth7"], xdp="auto")
    before = pinned(lab)
    rename(lab, lab.server_ns, "eth6", "swap")
    rename(lab, lab.server_ns, "eth7", "eth6")
    rename(lab, lab.server_ns, "swap", "eth7")
    wait_for(lambda: warnings(lab) == [] and pinned(lab) == before, "all to be as it was")
    for address in addresses:
        assert_guarded(lab, address)


# ------------------------------------------------------------- other namespaces

def interface_in(ns, dev="eth0"):
    return {"name": dev, "netns": ns_path(ns)}


def test_an_interface_in_another_namespace(lab):
    with pod(lab, 80) as ns:
        server = ModelServer(lab, ns)
        lab.start_agent(POLICY, interfaces=[interface_in(ns)], xdp="auto")
        name = f"eth0@{ns}"
        wait_attached(lab, name)
        for address in ("10.80.0.2", "fd80::2"):
            assert_guarded(lab, address, server=server)
        assert_unguarded(lab, SERVER4)  # of the same name, but not of that namespace
        for _ in range(2):
            lab.kill_agent()
            assert ask(connect(ns_path(lab.client_ns), "10.80.0.2"), "sk-poor")[0] == 429
            lab.start_agent()
            assert_guarded(lab, "10.80.0.2", server=server)
        lab.stop_agent()
        lab.detach()
        assert tcx_programs(ns, "eth0", "ingress") == tcx_programs(ns, "eth0", "egress") == []
        assert ask(connect(ns_path(lab.client_ns), "10.80.0.2"), "sk-poor")[0] == 200


def test_the_same_name_in_three_namespaces_and_a_clean_stop(lab):
    with pod(lab, 80, "p") as one, pod(lab, 81, "q") as two:
        lab.start_agent(POLICY, interfaces=["eth0", interface_in(one), interface_in(two)],
                        xdp="native")
        shown = {i["name"]: (i["xdp_mode"], i["tc_mode"])
                 for i in lab.ctl("status")["interfaces"]}
        assert shown == {n: ("native", "tcx") for n in
                         ("eth0", f"eth0@{one}", f"eth0@{two}")}
        servers = [ModelServer(lab, ns, name=ns) for ns in (one, two)]
        assert_guarded(lab, SERVER4)
        for net, server in zip((80, 81), servers):
            with connect(ns_path(lab.client_ns), f"10.{net}.0.2") as sock:
                assert send(sock, "POST", CHAT, "sk-acme", chat_body(1)).json()
        wait_for(lambda: len(events(lab)) == 3, "events")
        lab.stop_agent()
        for ns in (lab.server_ns, one, two):
            assert xdp_shown(ns, "eth0") is None
            assert tcx_programs(ns, "eth0", "ingress") == []


def test_a_namespace_comes_later_goes_and_comes_back(lab):
    ns = f"{lab.name}p"
    name = f"eth0@{ns}"
    lab.start_agent(POLICY, interfaces=["eth0", interface_in(ns)], xdp="auto")
    assert any(w.startswith(f"interface {name}: not there yet, waiting") for w in warnings(lab))
    load = Load(lab, "sk-acme", threads=1)
    try:
        for n in range(3):
            run("ip", "netns", "add", ns)
            load.more(5)  # a namespace without the device, for a while
            assert status_of(lab, name)["tc_mode"] == "off"
            run("ip", "netns", "del", ns)
            make_pod(lab, ns, 80)
            wait_attached(lab, name)
            server = ModelServer(lab, ns, name=f"pod{n}")
            assert ask(connect(ns_path(lab.client_ns), "10.80.0.2"), "sk-poor")[0] == 429
            assert ask(connect(ns_path(lab.client_ns), "10.80.0.2"), "sk-acme")[0] == 200
            server.end()
            run("ip", "netns", "del", ns)
            # Nobody holds the namespace, so its devices go, and our end of the veth with them.
            wait_for(lambda: run("ip", "-n", lab.client_ns, "link", "show", "dev", "c80",
                                 check=False).returncode, "the devices to go")
            wait_for(lambda: {i for _, i in pinned(lab)} == {ifindex(lab.server_ns, "eth0")},
                     "dead links to be unpinned")
            assert any(f"{name}: gone since" in w for w in warnings(lab))
        load.finish()
    finally:
        run("ip", "netns", "del", ns, check=False)
    assert set(load.statuses) == {200}


# --------------------------------------------------------------------- loopback

@pytest.mark.parametrize("xdp", ("auto", "generic"))
def test_loopback(lab, xdp):
    lab.start_agent(POLICY, interfaces=["lo"], xdp=xdp)
    assert status_of(lab, "lo")["xdp_mode"] == "off"
    assert (warnings(lab) == []) == (xdp == "auto") and xdp_shown(lab.server_ns, "lo") is None
    for address in ("127.0.0.1", "::1"):
        assert_guarded(lab, address, ns=lab.server_ns)
    assert_metered([e["data"] for e in events(lab)], lab.served("sk-acme"))
    for address in ("127.0.0.1", "::1"):  # more than a segment in both directions, GSO and all
        with connect(ns_path(lab.server_ns), address) as sock:
            answer = send(sock, "POST", CHAT, "sk-acme",
                          chat_body(300, prompt="x " * 40_000, stream=True, include_usage=True,
                                    pad=500))
            assert answer.status == 200 and answer.body().endswith(b"[DONE]\n\n")
    assert_metered([e for e in wait_events(lab, 4)], lab.served("sk-acme"))


# ------------------------------------------------- devices without a link header

@contextlib.contextmanager
def tun_pair(lab):
    """tun0 in both namespaces, a wire between them."""
    relay = lab.spawn(["/usr/bin/python3", "-m", "weirlab.tun_relay", "tun0",
                       ns_path(lab.client_ns), ns_path(lab.server_ns)], "server", "relay",
                      cwd=os.path.dirname(__file__))
    for ns, host in ((lab.client_ns, 1), (lab.server_ns, 2)):
        wait_for(lambda: run("ip", "-n", ns, "link", "show", "dev", "tun0",
                             check=False).returncode == 0, "tun0")
        lab.ip(ns, "addr", "add", f"10.82.0.{host}/24", "dev", "tun0")
        lab.ip(ns, "addr", "add", f"fd82::{host}/64", "dev", "tun0", "nodad")
        lab.ip(ns, "link", "set", "tun0", "up")
    try:
        yield relay
    finally:
        relay.kill()
        relay.wait()


@pytest.mark.parametrize("address", ("10.82.0.2", "fd82::2"))
def test_a_tun_device(lab, address):
    with tun_pair(lab):
        lab.start_agent(POLICY, interfaces=["tun0"], xdp="auto")
        assert status_of(lab, "tun0")["xdp_mode"] == "off" and warnings(lab) == []
        assert "tun0: XDP off, TC tcx, frames without an Ethernet header" in log(lab)
        assert_guarded(lab, address)
        with connect(ns_path(lab.client_ns), address) as sock:  # many segments each way
            answer = send(sock, "POST", CHAT, "sk-acme",
                          chat_body(100, prompt="x " * 20_000, stream=True, include_usage=True,
                                    pad=200))
            assert answer.status == 200 and answer.body().endswith(b"[DONE]\n\n")
        assert_metered(wait_events(lab, 2), lab.served("sk-acme"))


def test_a_syn_over_a_tun_device_is_refused(lab):
    document = policy.document({"one": {"connections": 1}},
                               {"few": {"tier": "one", "sources": ["10.82.0.0/24", "fd82::/64"]}})
    with tun_pair(lab):
        lab.start_agent(document, interfaces=["tun0"], xdp="auto")
        for address in ("10.82.0.2", "fd82::2"):
            with connect(ns_path(lab.client_ns), address):
                with pytest.raises(ConnectionRefusedError):
                    connect(ns_path(lab.client_ns), address)
            wait_for(lambda: lab.ctl("tenant", "show", "few")["live"]["connections"] == 0, "close")


@pytest.mark.parametrize("xdp", ("native", "generic"))
def test_xdp_is_off_where_frames_have_no_ethernet_header_and_that_is_said(lab, xdp):
    with tun_pair(lab) as relay:
        lab.start_agent(POLICY, interfaces=["eth0", "tun0"], xdp=xdp)
        assert status_of(lab, "eth0")["xdp_mode"] == xdp
        assert status_of(lab, "tun0")["xdp_mode"] == "off"
        assert any("tun0" in w and "no Ethernet header" in w for w in warnings(lab))
        assert "no Ethernet header" in log(lab)
        assert xdp_shown(lab.server_ns, "tun0") is None
        relay.kill()
        relay.wait()
        wait_for(lambda: any("tun0: gone since" in w for w in warnings(lab)), "tun0 to go")


# ------------------------------------------------------------------- XDP modes

@pytest.mark.parametrize("xdp", ("native", "generic", "off", "auto"))
def test_the_xdp_mode_is_the_one_asked_for_and_refuses_syns(lab, xdp):
    lab.start_agent(BY_SOURCE, xdp=xdp)
    mode = xdp if xdp in ("native", "generic") else "off"  # never by itself on veth
    assert status_of(lab, "eth0")["xdp_mode"] == mode
    shown = xdp_shown(lab.server_ns, "eth0")
    assert (shown and shown[0]) == (mode if mode != "off" else None)
    with lab.connect() as sock:
        with pytest.raises(ConnectionRefusedError):
            lab.connect()
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(1)).status == 200
    for address in (SERVER4, SERVER6):  # and requests are judged in every mode
        with connect(ns_path(lab.client_ns), address) as sock:
            assert send(sock, "POST", CHAT, "sk-nobody", chat_body(1)).status == 401


def test_an_agent_that_is_told_another_mode_changes_to_it(lab):
    for xdp in ("native", "generic", "native", "auto", "generic", "off"):
        lab.start_agent(BY_SOURCE, xdp=xdp, options=["--keep"])
        mode = xdp if xdp in ("native", "generic") else "off"
        shown = xdp_shown(lab.server_ns, "eth0")
        assert status_of(lab, "eth0")["xdp_mode"] == mode
        assert (shown and shown[0]) == (mode if mode != "off" else None)
        assert lab.stop_agent() == 0


def test_native_that_the_driver_refuses_is_an_error_at_start(lab):
    lab.write_policy(POLICY)
    lab.write_config(nats=False, interfaces=["lo"], xdp="native")
    lab.made_agent = True
    done = run(*lab.inside("server"), os.path.join(os.environ.get("WEIR_BUILD", "build"),
               "weir-agent"), "--config", lab.config_path, check=False)
    assert done.returncode == 1 and "lo" in done.stderr and "native" in done.stderr
    assert xdp_shown(lab.server_ns, "lo") is None


def test_xdp_that_is_taken_when_the_interface_comes_is_said_and_had_later(lab):
    lab.start_agent(BY_SOURCE, interfaces=["eth0", "eth7"], xdp="native")
    address, _ = add_veth(lab, "tmp7", 81)
    add_foreign_xdp(lab, lab.server_ns, "tmp7")
    theirs = xdp_shown(lab.server_ns, "tmp7")
    rename(lab, lab.server_ns, "tmp7", "eth7")
    shown = wait_attached(lab, "eth7")
    assert shown["xdp_mode"] == "off" and any("foreign_xdp" in n for n in shown["neighbours"])
    assert any("eth7" in w and "foreign_xdp" in w and "TC" in w for w in warnings(lab))
    assert "foreign_xdp" in log(lab)
    with connect(ns_path(lab.client_ns), address):  # TC judges the SYNs
        with pytest.raises(ConnectionRefusedError):
            connect(ns_path(lab.client_ns), address)
    assert xdp_shown(lab.server_ns, "eth7") == theirs
    remove_xdp(lab.server_ns, "eth7")
    wait_for(lambda: status_of(lab, "eth7")["xdp_mode"] == "native", "native XDP")
    assert xdp_shown(lab.server_ns, "eth7")[0] == "native"


def test_a_mode_that_is_another_after_a_flap_is_said(lab):
    add_veth(lab, "eth7", 81)
    lab.start_agent(BY_SOURCE, interfaces=["eth0", "eth7"], xdp="native")
    del_link(lab, "eth7")
    add_veth(lab, "tmp7", 81)
    add_foreign_xdp(lab, lab.server_ns, "tmp7")
    rename(lab, lab.server_ns, "tmp7", "eth7")
    wait_attached(lab, "eth7")
    assert any("eth7: XDP is off now, it was native" in w for w in warnings(lab))
    assert "eth7: XDP is off now, it was native" in log(lab)


# ------------------------------------------------------------------- neighbours

def test_programs_of_others_are_named_and_outlive_us_byte_for_byte(lab):
    ns = lab.server_ns
    for hook in ("ingress", "egress"):
        add_foreign_filter(lab, ns, "eth0", hook, 10)
    before = [ForeignTcx(lab, ns, "eth0", hook) for hook in ("ingress", "egress")]
    add_foreign_xdp(lab, ns, "eth0")
    lab.start_agent(POLICY, xdp="auto")
    after = [ForeignTcx(lab, ns, "eth0", hook) for hook in ("ingress", "egress")]
    for hook in ("ingress", "egress"):
        add_foreign_filter(lab, ns, "eth0", hook, 50000)
    theirs = snapshot(ns)
    assert all(len(theirs[hook]) == 3 for hook in ("ingress", "egress"))

    shown = status_of(lab, "eth0")
    assert shown["xdp_mode"] == "off"  # TC takes over
    # of each hook two on tcx and one filter that came before and one that came after
    assert len(shown["neighbours"]) == 8 and all("foreign" in n for n in shown["neighbours"])
    assert warnings(lab) == []
    assert_guarded(lab, SERVER4)  # ours comes first, and ends nobody's chain

    lab.kill_agent()
    lab.start_agent()
    assert_guarded(lab, SERVER4)
    lab.stop_agent()
    lab.detach()
    left = snapshot(ns)
    for hook in ("ingress", "egress"):
        assert len(left[hook]) == 2 and set(left[hook]) < set(theirs[hook])
        assert left[hook] == theirs[hook][1:]  # ours was the first
        assert left[f"{hook} filters"] == theirs[f"{hook} filters"]
    assert left["xdp"] == theirs["xdp"]
    for program in before + after:
        program.close()


def snapshot(ns):
    return {"ingress": tcx_programs(ns, "eth0", "ingress"),
            "egress": tcx_programs(ns, "eth0", "egress"),
            "ingress filters": filters(ns, "eth0", "ingress"),
            "egress filters": filters(ns, "eth0", "egress"),
            "xdp": xdp_shown(ns, "eth0")}


def test_a_program_that_put_itself_before_ours_is_warned_of(lab):
    lab.start_agent(POLICY, xdp="auto")
    theirs = ForeignTcx(lab, lab.server_ns, "eth0", "ingress", first=True)
    assert any("foreign_tc" in w and "before Weir" in w for w in warnings(lab))
    theirs.close()
    wait_for(lambda: warnings(lab) == [], "the warning to go")
    assert_guarded(lab, SERVER4)


def test_another_instance_is_a_neighbour(lab):
    from weirlab import Lab
    lab.start_agent(POLICY, xdp="auto")
    second = Lab.__new__(Lab)  # the same lab, another instance in it
    second.__dict__.update(lab.__dict__, instance=lab.instance + "b", dir=lab.dir / "b")
    second.dir.mkdir()
    second.start_agent(POLICY, xdp="auto", http="127.0.0.1:9478",
                       services=[{"name": "other", "port": PORT + 1}], nats=False)
    try:
        for one in (lab, second):
            assert sorted(n.split()[0] for n in status_of(one, "eth0")["neighbours"]) == \
                ["weir_egress", "weir_ingress"]
        second.stop_agent()
        second.detach()
        assert len(tcx_programs(lab.server_ns, "eth0", "ingress")) == 1
        assert_guarded(lab, SERVER4)
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            second.detach()
