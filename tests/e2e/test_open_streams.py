# SPDX-License-Identifier: Apache-2.0
"""Streams by the thousand, all open at a time (tests/soak/streams.py; `make bench` has ten
thousand of them): each is one event, and the agent stays small."""
import pathlib
import sys

import pytest
from weirlab import Lab

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "soak"))

import streams  # noqa: E402


@pytest.fixture
def bare_lab():
    """A laboratory without the model server: the streams bring their own."""
    with Lab() as made:
        yield made
    assert made.leftovers() == []


def test_every_open_stream_is_one_event(bare_lab):
    print(streams.open_streams(bare_lab, 10000, tenants=50, gap=100))
