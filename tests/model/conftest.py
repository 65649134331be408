# SPDX-License-Identifier: Apache-2.0
"""A ledger to write examples with: the agent's own, and the model beside it."""

import os
from datetime import datetime, timedelta

import pytest

from card_model import nano
from run import Driver, Model, alike

BUILD = os.path.join(os.path.dirname(__file__), "..", "..", os.environ.get("WEIR_BUILD", "build"))
MINUTE = 60 * 10**9


def at(text):
    """ "2026-01-31 23:00" (UTC) in nanoseconds."""
    return int((datetime.fromisoformat(text) - datetime(1970, 1, 1)) / timedelta(microseconds=1)
               ) * 1000


class Example:
    """What an example says is checked by its own numbers; the model must agree besides."""

    TENANTS = {"acme": 1, "team": 2, "other": 3}

    def __init__(self, driver, cards):
        begin = {"op": "begin", "tenants": list(self.TENANTS), "cards": cards}
        self.driver, self.model, self.serial = driver, Model(begin), 0
        driver.run([begin])

    def do(self, op):
        (got,) = self.driver.run([op])
        assert alike(self.model.do(op), got) is None
        return got

    def post(self, kind, when, tenant="acme", **fields):
        self.serial += 1
        return self.do({"op": "post", "kind": kind, "now": at(when), "key": f"k{self.serial}",
                        "tenant": self.TENANTS[tenant]} | fields)

    def grant(self, credits, when, source="paid", expires=None, priority=100):
        said = self.post("grant", when, amount=nano(credits), source=source, effective=0,
                         priority=priority, expires=at(expires) if expires else 0)
        assert said["error"] is None
        return said["seq"]

    def use(self, when, entered=None, tenant="acme", tier="free", model="m", path="/v1/chat",
            status=200, session="", trusted=True, **quantities):
        """A request of a minute that begins at `when`. Its entry."""
        self.serial += 1
        started = at(when)
        ended = at(entered) if entered else started + MINUTE
        row = {"id": f"{started:016x}{self.serial:016x}", "number": self.TENANTS[tenant],
               "name": tenant, "tenant": tenant, "tier": tier, "wallet": self.TENANTS[tenant],
               "service": "llm", "started": started, "ended": ended, "model": model, "path": path,
               "status": status, "session": session, "trusted": trusted, "billable": True,
               "posted": True,
               "quantities": {"request": 1, "second": ended - started} | quantities}
        return self.do({"op": "append", "rows": [row]})["entries"][-1]

    def meter(self, when, dimension, quantity, tenant="acme"):
        return self.post("meter", when, tenant, name=tenant, tier="free", service="llm", model="",
                         wallet=self.TENANTS[tenant], dimension=dimension, started=0,
                         quantity=nano(quantity), posted=True)["entries"][-1]

    def advance(self, when):
        return self.do({"op": "advance", "now": at(when)})["entries"]

    def balance(self, tenant="acme"):
        return self.state(tenant)["balance"]

    def state(self, tenant="acme"):
        return self.do({"op": "state", "wallets": [self.TENANTS[tenant]]})["wallets"][0]


@pytest.fixture(scope="session")
def driver():
    driver = Driver(os.path.join(BUILD, "tests", "model", "driver"))
    yield driver
    driver.stop()


@pytest.fixture
def ledger(driver):
    return lambda *cards: Example(driver, list(cards))
