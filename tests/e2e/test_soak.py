# SPDX-License-Identifier: Apache-2.0
"""The soak, short: what `make soak` does for minutes, with a thousand connections."""
import pathlib
import sys

import pytest
from weirlab import Lab

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "soak"))

import soak  # noqa: E402


@pytest.fixture
def bare_lab():
    """A laboratory without the model server: the soak brings its own."""
    with Lab() as made:
        yield made
    assert made.leftovers() == []


def test_gauges_are_exact_under_churn(bare_lab):
    print(soak.soak(bare_lab, seconds=6, tenants=50, connections=1000, streams=200, phase=3))


def test_gauges_are_exact_when_packets_come_by_interrupt(bare_lab):
    """As from a NIC: a socket may be closed inside whatever this CPU is at. A tracepoint's program
    is not run inside itself, so alone it misses closes, some a second under this load."""
    print(soak.soak(bare_lab, seconds=6, tenants=50, connections=1000, streams=300, phase=2,
                    aborts=200, closes=300, interrupts=True))


def test_gauges_are_exact_after_the_agent_was_killed(bare_lab):
    print(soak.soak(bare_lab, seconds=4, tenants=50, connections=500, streams=100, phase=2,
                    kills=1, seed=2))
