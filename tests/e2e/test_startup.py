# SPDX-License-Identifier: Apache-2.0
"""What a bad start gets: one line that says what, on what and what to do; no
crash, and no traffic cut."""
import shutil
import socket
import subprocess

import pytest
from weirlab import policy, wait_for
from weirlab.lab import BUILD, PORT
from weirlab.raw_http import chat_body, send

POLICY = policy.document({"open": {}}, {"acme": ("open", "sk-acme")})


def prepare(lab, **config):
    lab.write_policy(POLICY)
    lab.write_config(nats=False, **config)


def start(lab, *prefix, agent=BUILD / "weir-agent"):
    """Run the agent to its end, which must come; its words."""
    done = subprocess.run([*lab.inside("server"), *prefix, str(agent), "--config",
                           str(lab.config_path)], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=20)
    assert 0 < done.returncode < 126, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture(autouse=True)
def traffic_goes_on(lab):
    yield
    lab.made_agent = True  # whatever a failed start left is to be taken down too
    with lab.connect() as sock:
        assert send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(1)).status == 200


def test_without_root(lab):
    prepare(lab)
    lab.dir.chmod(0o755)
    agent = lab.dir / "weir-agent"
    shutil.copy(BUILD / "weir-agent", agent)
    line = start(lab, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", agent=agent)
    assert "root" in line or "CAP_" in line


@pytest.mark.parametrize("field, value", (("interfaces", "eth0"), ("xdp", "fast"), ("prot", 1),
                                          ("services", []), ("ring_bytes", 12345),
                                          ("max_tenants", -1), ("node", "Not A Token")))
def test_bad_config_names_field_and_value(lab, field, value):
    prepare(lab, **{field: value})
    line = start(lab)
    assert str(lab.config_path) in line and field in line


def test_config_missing_or_not_json(lab):
    prepare(lab)
    lab.config_path.write_text("{")
    assert str(lab.config_path) in start(lab)
    lab.config_path.unlink()
    assert str(lab.config_path) in start(lab)
    prepare(lab)


def test_http_port_taken(lab):
    prepare(lab)
    lab.spawn(["/usr/bin/python3", "-m", "http.server", "9477", "--bind", "127.0.0.1"], "server",
              "squatter", cwd=lab.dir)
    wait_for(lambda: lab.in_server("ss", "-Hltn", "sport = :9477").stdout, "the squatter")
    assert "9477" in start(lab)


def test_control_socket_taken(lab):
    prepare(lab)
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(lab.control))
        squatter.listen()
        assert str(lab.control) in start(lab)
        assert lab.control.exists()


def test_second_agent_on_an_instance(lab):
    lab.start_agent(POLICY)
    lab.config_path.rename(lab.dir / "first.json")
    lab.write_config(nats=False, control=str(lab.dir / "second.sock"), http="127.0.0.1:9478")
    line = start(lab)
    assert lab.instance in line
    assert lab.agent.poll() is None and lab.ctl("status")["pid"] == lab.agent.pid


def test_other_xdp_program_on_the_hook_is_left_alone(lab):
    lab.add_foreign_xdp("server")
    prepare(lab)
    line = start(lab)
    assert "eth0" in line and "xdp" in line.lower()
    shown = lab.in_server("ip", "link", "show", "eth0").stdout
    assert "prog/xdp" in shown, "the other program was removed"


def test_other_tc_program_keeps_running_beside_ours(lab):
    lab.add_foreign_tc("server")
    lab.start_agent(POLICY)
    (interface,) = lab.ctl("status")["interfaces"]
    assert any("foreign" in n for n in interface["neighbours"])
    lab.stop_agent()
    lab.detach()
    assert "foreign" in lab.in_server("tc", "filter", "show", "dev", "eth0", "ingress").stdout


@pytest.mark.parametrize("kind", ("a folder", "not a database"))
def test_database_unusable(lab, kind):
    prepare(lab)
    path = lab.dir / "state" / "weir.db"
    if kind == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"this is no SQLite file" * 100)
    assert str(path) in start(lab)


def test_state_folder_cannot_be_made(lab):
    prepare(lab, state_dir="/proc/weir")
    assert "/proc/weir" in start(lab)


def start_with_mount(lab, what):
    """With something else mounted where the agent looks, for its eyes only."""
    return start(lab, "unshare", "-m", "sh", "-c", f'mount -t tmpfs {what} && exec "$@"', "sh")


def test_database_not_writable(lab):
    prepare(lab)
    line = start_with_mount(lab, f"-o ro none {lab.dir}/state")
    assert str(lab.dir / "state") in line and "Read-only" in line


def test_kernel_without_btf(lab):
    prepare(lab)
    line = start_with_mount(lab, "none /sys/kernel/btf")
    assert "BTF" in line and "6.1" in line


def test_policies_missing(lab):
    prepare(lab, policies=str(lab.dir / "nowhere"))
    assert "nowhere" in start(lab)


def test_model_server_may_start_after_the_agent(lab):
    lab.server.kill()
    lab.server.wait()
    lab.start_agent(POLICY)
    lab.admin_path.unlink()
    lab.start_server()
    with lab.connect(port=PORT) as sock:
        assert send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(1)).status == 200
    wait_for(lambda: lab.ctl("usage", "acme")[0]["requests"] == 1, "the request")
