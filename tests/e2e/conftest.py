# SPDX-License-Identifier: Apache-2.0
"""End to end: real server, real SDK, real NATS, the real agent, in namespaces.

Fixtures give a laboratory of its own to each test. Without root there is
nothing to test, so all is skipped, saying so; in CI that is a failure."""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from weirlab import Lab  # noqa: E402
from weirlab.lab import interrupt_on_signals, why_not  # noqa: E402


def pytest_configure(config):
    interrupt_on_signals()


def pytest_collection_modifyitems(config, items):
    reason = why_not()
    if not reason:
        return
    if os.environ.get("CI"):
        pytest.exit(f"end-to-end tests may not be skipped in CI: {reason}", returncode=1)
    for item in items:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def lab(request):
    """A laboratory with a model server."""
    with Lab() as made:
        made.start_server()
        yield made
        report = getattr(request.node, "report_call", None)
        if report and report.failed and made.log("agent").exists():
            print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


@pytest.fixture
def lab_nats(lab):
    """The same with a nats-server."""
    lab.start_nats()
    return lab


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report_call = outcome.get_result()
