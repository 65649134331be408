# SPDX-License-Identifier: Apache-2.0
"""The laboratory: two network namespaces and a veth pair; in the one the clients,
in the other the model server, NATS and the agent. Everything it makes carries
its name and is gone when it closes, however that comes about.

    with Lab() as lab:
        lab.start_server()
        lab.start_agent(policy)
        lab.connect(key).…
"""
import atexit
import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from .contract import check_message

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = pathlib.Path(os.environ.get("WEIR_BUILD", ROOT / "build"))
BPFFS = pathlib.Path("/sys/fs/bpf")
PORT = 8000
CLIENT4, SERVER4 = "10.77.0.1", "10.77.0.2"
CLIENT6, SERVER6 = "fd77::1", "fd77::2"
CLONE_NEWNET = 0x40000000
# How much slower than life the machine is: an emulated one needs its time (tests/vm/run).
PATIENCE = float(os.environ.get("WEIR_PATIENCE", 1))

_serial = itertools.count(1)
_open_labs = []
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something of the laboratory itself did not work; the text says what."""


def wait_for(condition, what, seconds=10.0, every=0.02):
    """The first true value of condition(), polled; LabError after `seconds`."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s for {what}")
        time.sleep(every)


def run(*argv, check=True):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True)
    if check and done.returncode:
        raise LabError(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.returncode}")
    return done


def why_not():
    """Why no laboratory can be had here, or None."""
    if os.geteuid():
        return "needs root: network namespaces and BPF"
    for tool in ("ip", "nsenter", "nats-server", "clang", "bpftool"):
        if not _which(tool):
            return f"{tool} is not installed: run scripts/deps"
    return None


def _which(tool):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(tool, path=path)


class Lab:
    node_name = "lab"

    def __init__(self, native=True):
        """native: the client's end can take what native XDP sends."""
        self.name = f"weir{os.getpid()}x{next(_serial)}"
        self.client_ns, self.server_ns = f"{self.name}c", f"{self.name}s"
        self.instance = self.name
        self.clients = HERE.parent / "clients"
        self.node = shutil.which(os.environ.get("NODE", "node")) or "node"
        self.nats_url = "nats://127.0.0.1:4222"
        self.agent = self.nats = self.server = self.dir = None
        self.agent_env = None  # of the agents that are started; None: ours
        self._native = native
        self._children = []
        self._undo = contextlib.ExitStack()
        self._lock = threading.Lock()
        self.made_agent = False

    # ------------------------------------------------------------ make, unmake

    def __enter__(self):
        _open_labs.append(self)
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _make(self):
        if reason := why_not():
            raise LabError(reason)
        if not os.path.ismount(BPFFS):
            run("mount", "-t", "bpf", "bpf", BPFFS)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self._undo.callback(shutil.rmtree, self.dir, ignore_errors=True)
        for ns in (self.client_ns, self.server_ns):
            run("ip", "netns", "add", ns)
            self._undo.callback(run, "ip", "netns", "del", ns, check=False)
        run("ip", "link", "add", "eth0", "netns", self.client_ns, "type", "veth",
            "peer", "name", "eth0", "netns", self.server_ns)
        for ns, v4, v6 in ((self.client_ns, CLIENT4, CLIENT6), (self.server_ns, SERVER4, SERVER6)):
            self.ip(ns, "link", "set", "lo", "up")
            self.ip(ns, "addr", "add", f"{v4}/16", "dev", "eth0")
            self.ip(ns, "addr", "add", f"{v6}/64", "dev", "eth0", "nodad")
            self.ip(ns, "link", "set", "eth0", "up")
        # veth wakes its peer for XDP_TX only where that one runs XDP too (veth_xdp_flush; GRO
        # gives it NAPI, but nobody schedules it).
        if self._native:
            self.add_foreign_xdp("client")

    def close(self):
        """Takes everything down; safe to call twice, and deaf to Ctrl-C meanwhile."""
        with self._lock:
            if self not in _open_labs:
                return
            _open_labs.remove(self)
        with deaf():
            self._guarded(self.detach)
            for child in reversed(self._children):
                self._guarded(stop, child)
            self._guarded(self._undo.close)

    @staticmethod
    def _guarded(step, *args):
        try:
            step(*args)
        except Exception as e:  # the rest must still be taken down
            print(f"lab: while cleaning up: {e}", file=sys.stderr)

    def leftovers(self):
        """What of this lab is still there after close(): a list of words."""
        found = [f"namespace {ns}" for ns in (self.client_ns, self.server_ns)
                 if os.path.exists(f"/run/netns/{ns}")]
        if self.pins.exists():
            found.append(f"pins {self.pins}")
        found += [f"process {c.pid} ({c.args[-1]})" for c in self._children if c.poll() is None]
        if self.dir and self.dir.exists():
            found.append(f"folder {self.dir}")
        return found

    # ---------------------------------------------------------------- commands

    def ip(self, ns, *args):
        run("ip", "-n", ns, *args)

    def inside(self, where):
        """Prefix of a command that runs in a namespace and sees bpffs."""
        ns = self.client_ns if where == "client" else self.server_ns
        return ["nsenter", f"--net=/run/netns/{ns}", "--"]

    def in_client(self, *argv, check=True):
        return run(*self.inside("client"), *argv, check=check)

    def in_server(self, *argv, check=True):
        return run(*self.inside("server"), *argv, check=check)

    @contextlib.contextmanager
    def _foreign(self, kind):
        """A program of pass.bpf.c, pinned as long as it takes to attach it. Loaded by bpftool:
        ip and tc leave folders in bpffs."""
        obj = self.dir / "pass.o"
        if not obj.exists():
            run("clang", "-O2", "-g", "-target", "bpf", "-c", HERE / "pass.bpf.c", "-o", obj)
        folder = BPFFS / f"{self.name}-{kind}"
        run("bpftool", "prog", "loadall", obj, folder)
        try:
            yield folder / f"foreign_{kind}"
        finally:
            shutil.rmtree(folder)

    def add_foreign_xdp(self, where):
        """Put an XDP program of somebody else on eth0, in native mode."""
        with self._foreign("xdp") as pin:
            run(*self.inside(where), "bpftool", "net", "attach", "xdpdrv", "pinned", pin,
                "dev", "eth0")

    def add_foreign_tc(self, where):
        tc = [*self.inside(where), "tc"]
        with self._foreign("tc") as pin:
            run(*tc, "qdisc", "add", "dev", "eth0", "clsact")
            run(*tc, "filter", "add", "dev", "eth0", "ingress", "bpf", "da", "pinned", pin)

    def log(self, name):
        return self.dir / f"{name}.log"

    def spawn(self, argv, where, name, **kwargs):
        """A child in a namespace, in a session of its own (Ctrl-C is for us to handle),
        ended by close() at the latest. Its stderr goes to log(name)."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        with open(self.log(name), "ab") as log:
            kwargs.setdefault("stdout", log)
            child = subprocess.Popen(self.inside(where) + [str(a) for a in argv], stderr=log,
                                     start_new_session=True, **kwargs)
        self._children.append(child)
        return child

    # ----------------------------------------------------------------- sockets

    def socket(self, family=4, source=None, where="client"):
        """A TCP socket that lives in the client's namespace, or the server's."""
        sock, ns = None, self.client_ns if where == "client" else self.server_ns

        def make():
            nonlocal sock
            fd = os.open(f"/run/netns/{ns}", os.O_RDONLY)
            try:
                if _libc.setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
            finally:
                os.close(fd)

        thread = threading.Thread(target=make)  # a namespace belongs to a thread
        thread.start()
        thread.join()
        if sock is None:
            raise LabError(f"no socket in namespace {ns}")
        sock.settimeout(20 * PATIENCE)
        if source:
            sock.bind((source, 0))
        return sock

    def connect(self, family=4, source=None, port=PORT):
        sock = self.socket(family, source)
        try:
            sock.connect((SERVER4 if family == 4 else SERVER6, port))
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def base_url(self, family=4):
        return f"http://{SERVER4 if family == 4 else f'[{SERVER6}]'}:{PORT}"

    # ------------------------------------------------------------ model server

    def start_server(self, ports=(PORT,)):
        self.admin_path = self.dir / "admin.sock"
        self.server = self.spawn(["/usr/bin/python3", "-m", "weirlab.model_server", "--admin",
                                  self.admin_path, "--port", *ports], "server", "server",
                                 cwd=HERE.parent)
        self.await_listening(self.server, ports[-1], "the model server", "server")

    def admin(self, command="report"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20 * PATIENCE)
            sock.connect(str(self.admin_path))
            sock.sendall(command.encode() + b"\n")
            with sock.makefile("rb") as f:
                return json.loads(f.read())

    def served(self, key=None, state="done"):
        """What the server says it served: records, of one key if given."""
        return [r for r in self.admin()["requests"]
                if r["state"] == state and key in (None, r["key"])]

    def await_listening(self, child, port, what, log):
        def listening():
            if child.poll() is not None:
                raise LabError(f"{what} ended:\n{self.log(log).read_text()[-2000:]}")
            # -H -l: one line per listening socket
            return self.in_server("ss", "-Hltn", f"sport = :{port}").stdout.strip()
        wait_for(listening, f"{what} to listen", 20)

    # -------------------------------------------------------------------- NATS

    def start_nats(self):
        store = self.dir / "nats"
        self.nats = self.spawn(["nats-server", "--jetstream", "--store_dir", store, "--addr",
                                "127.0.0.1", "--port", 4222], "server", "nats")
        self.await_listening(self.nats, 4222, "nats-server", "nats")

    def stop_nats(self):
        stop(self.nats)

    def stream(self, name="METER"):
        """Messages that the JetStream stream holds."""
        done = self.in_server(self.node, self.clients / "subscribe.mjs", self.nats_url, "dump",
                              name)
        return [check_message(json.loads(line)) for line in done.stdout.splitlines()]

    # ------------------------------------------------------------------- agent

    @property
    def pins(self):
        return BPFFS / "weir" / self.instance

    @property
    def config_path(self):
        return self.dir / "agent.json"

    @property
    def control(self):
        return self.dir / "agent.sock"

    def write_policy(self, document, folder="policies"):
        path = self.dir / folder
        path.mkdir(exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document, indent=1)
        (path / "10-policy.json").write_text(text)
        return path

    def write_config(self, nats=True, **fields):
        config = {"instance": self.instance, "node": self.node_name, "interfaces": ["eth0"],
                  "services": [{"name": "llm", "port": PORT, "api": "openai"}],
                  "xdp": "native" if self._native else "auto",
                  "state_dir": str(self.dir / "state"),
                  "control": str(self.control), "http": "127.0.0.1:9477",
                  "policies": str(self.dir / "policies"), "ring_bytes": 4 << 20,
                  "max_tenants": 1024, "max_flows": 8192, **fields}
        if nats:
            config["nats"] = {"url": self.nats_url, **(nats if isinstance(nats, dict) else {})}
        (self.dir / "state").mkdir(exist_ok=True)
        self.config_path.write_text(json.dumps(config, indent=1))

    def spawn_agent(self, options=()):
        """Start the agent and do not wait."""
        self.made_agent = True
        self.agent = self.spawn([BUILD / "weir-agent", "--config", self.config_path, *options],
                                "server", "agent", env=self.agent_env)

    def start_agent(self, document=None, nats=None, options=(), **fields):
        """Write policy and config (if given) and start the agent; returns once it says
        that the limits are in force."""
        if document is not None:
            self.write_policy(document)
            self.write_config(nats=self.nats is not None if nats is None else nats, **fields)
        log = self.log("agent")
        start = log.stat().st_size if log.exists() else 0
        self.spawn_agent(options)

        def ready():
            text = log.read_bytes()[start:].decode(errors="replace")
            if "ready" in text.splitlines():
                return True
            if self.agent.poll() is not None:
                raise LabError(f"weir-agent ended with {self.agent.returncode}:\n{text[-3000:]}")
            return False
        wait_for(ready, "weir-agent to be ready", 20)

    def kill_agent(self):
        self.agent.kill()
        self.agent.wait()

    @contextlib.contextmanager
    def agent_down(self, how):
        """Inside: no agent, or one that is stopped ("SIGKILL", "SIGSTOP"). After it a new one, or
        the same again."""
        if how == "SIGKILL":
            self.kill_agent()
            try:
                yield
            finally:
                self.start_agent()
            return
        self.agent.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.agent.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self.agent.send_signal(signal.SIGCONT)

    def stop_agent(self):
        """SIGTERM; returns the exit status."""
        self.agent.terminate()
        return self.agent.wait(15 * PATIENCE)

    def detach(self):
        """Stop the agent and take down what outlives it."""
        if not self.made_agent:
            return
        if self.agent:
            stop(self.agent)
        run(BUILD / "weir-agent", "--detach", "--config", self.config_path, check=False)
        if self.pins.exists():
            print(f"lab: {self.pins} was left behind; removing it", file=sys.stderr)
            shutil.rmtree(self.pins)

    def weirctl(self, *args, check=True):
        return run(BUILD / "weirctl", "--socket", self.control, *args, check=check)

    def ctl(self, *args):
        """A command's JSON."""
        return json.loads(self.weirctl(*args, "--json").stdout)

    def warnings(self):
        """What status warns of, but for this machine's clock: whether anybody synchronises it is
        not of the laboratory's making."""
        return [w for w in self.ctl("status")["warnings"] if not w.startswith("clock: not sync")]

    def ctl_lines(self, *args):
        """The JSON of a command that prints one object a line."""
        return [json.loads(line) for line in self.weirctl(*args, "--json").stdout.splitlines()]

    def http(self, path):
        """GET from the agent's own HTTP port: status and text."""
        done = self.in_server("curl", "-s", "-w", "\n%{http_code}", f"http://127.0.0.1:9477{path}")
        text, status = done.stdout.rsplit("\n", 1)
        return int(status), text


def stop(child, seconds=10):
    """End one child by its pid, and reap it."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


@contextlib.contextmanager
def deaf():
    """No Ctrl-C, hang-up or TERM inside: cleaning up is not to be cut short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {s: signal.signal(s, signal.SIG_IGN)
           for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)


def interrupt_on_signals():
    """TERM and HUP end us as Ctrl-C does: through every `finally`."""
    def interrupt(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@atexit.register
def _close_all():
    for lab in list(_open_labs):
        lab.close()
