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
    print(soak.soak(bare_lab, seconds=9, tenants=50, connections=1000, streams=200, phase=3))


def test_gauges_are_exact_after_the_agent_was_killed(bare_lab):
    print(soak.soak(bare_lab, seconds=4, tenants=50, connections=500, streams=100, phase=2,
                    kills=1, seed=2))
