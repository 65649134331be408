# SPDX-License-Identifier: Apache-2.0
"""These tests set the clock and take CPUs away: they run in scripts/vm's machine and
nowhere else (`make test-vm`); `make test` does not collect them."""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

OURS = "/run/command"  # scripts/vm leaves it there


def pytest_collection_modifyitems(items):
    if os.path.exists(OURS) and os.uname().nodename == "vm":
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason="only in scripts/vm: it would set this "
                                                "machine's clock and CPUs"))
