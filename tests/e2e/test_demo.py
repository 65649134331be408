# SPDX-License-Identifier: Apache-2.0
"""The demo itself: it agrees, says so, and leaves nothing, also when interrupted."""
import os
import signal
import subprocess

from weirlab import ROOT
from weirlab.lab import BPFFS

ENV = {**os.environ, "KEEP": ""}


def start():
    return subprocess.Popen([ROOT / "scripts/demo"], env=ENV, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def traces(demo):
    """Namespaces and pins that carry the name of this demo's lab."""
    folders = "/run/netns", BPFFS / "weir"
    return [name for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)
            if name.startswith(f"weir{demo.pid}x")]


def test_demo_agrees_to_the_last_nano_and_leaves_nothing():
    demo = start()
    text, _ = demo.communicate(timeout=180)
    print(text)
    assert demo.returncode == 0
    assert "agree to the last nano-credit" in text and "Left behind: nothing" in text
    assert traces(demo) == []


def test_demo_leaves_nothing_after_ctrl_c():
    demo = start()
    for line in demo.stdout:
        if line.startswith("    4 s"):  # in the middle of its traffic
            break
    assert traces(demo)
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Left behind: nothing" in rest
    assert traces(demo) == []
