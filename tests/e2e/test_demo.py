# SPDX-License-Identifier: Apache-2.0
"""The demo itself: it agrees, says so, and leaves nothing, also when interrupted."""
import os
import signal
import subprocess

from weirlab import ROOT
from weirlab.lab import BPFFS

ENV = {**os.environ, "KEEP": ""}


def traces():
    """Namespaces and instances of any lab on this machine."""
    netns, pins = "/run/netns", BPFFS / "weir"
    return (set(os.listdir(netns)) if os.path.isdir(netns) else set(),
            set(os.listdir(pins)) if pins.is_dir() else set())


def test_demo_agrees_to_the_last_nano_and_leaves_nothing():
    before = traces()
    done = subprocess.run([ROOT / "scripts/demo"], env=ENV, capture_output=True, text=True,
                          timeout=180)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "agree to the last nano-credit" in done.stdout and "Left behind: nothing" in done.stdout
    assert traces() == before


def test_demo_leaves_nothing_after_ctrl_c():
    before = traces()
    demo = subprocess.Popen([ROOT / "scripts/demo"], env=ENV, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    for line in demo.stdout:
        if line.startswith("    4 s"):  # in the middle of its traffic
            break
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Left behind: nothing" in rest
    assert traces() == before
