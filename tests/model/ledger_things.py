# SPDX-License-Identifier: Apache-2.0
"""What a ledger is made of: lots, schedules, entries (agent/ledger.md, 2 and 3)."""

from dataclasses import dataclass, field

PAID, PROMO, TRIAL = "paid", "promo", "trial"
ADJUST, REFUND, TRUE_UP = "adjust", "refund", "true_up"


@dataclass
class Lot:
    number: int
    wallet: int
    amount: int
    source: str
    priority: int
    effective: int
    expires: int
    created: int
    schedule: int = 0
    voided: bool = False
    pending: int = 0
    remaining: int = 0
    expired: int = 0

    def is_expired(self, time):
        return self.expires != 0 and self.expires <= time

    def burn_order(self):  # 5
        never = self.expires == 0
        paid = self.source == PAID
        return (self.priority, never, self.expires, paid, self.effective, self.created, self.number)


@dataclass
class Schedule:
    number: int
    wallet: int
    amount: int
    source: str
    priority: int
    every: str
    zone: str
    roll_min: int
    roll_max: int
    next: int
    begun: bool = False  # its first grant, which need not be at a boundary, was made
    stopped: bool = False
    rolled_at: int = 0  # the boundary at which its lots expired last


@dataclass
class Entry:
    seq: int
    kind: str
    time: int
    tenant: int
    wallet: int
    amount: int = 0
    before: int = 0
    after: int = 0
    moves: list = field(default_factory=list)  # (purse, lot, nano)
    says: dict = field(default_factory=dict)  # what else is to be compared

    def took(self):
        """Of the wallet, in order of taking: (purse, lot, nano > 0)."""
        return [(p, lot, n if p == "debt" else -n) for p, lot, n in self.moves]
