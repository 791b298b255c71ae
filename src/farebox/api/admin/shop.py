"""The shop: what the operator's actions work with, given by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from farebox.accounts.plans import Plan
from farebox.billing.periods import Calendar
from farebox.billing.receipts import Receipts
from farebox.gateway.house import House
from farebox.ledger.checks import Checked
from farebox.store.database import Database


class Shop(msgspec.Struct, frozen=True):
    """Parts, and the few settings that actions go by."""

    house: House
    database: Database
    receipts: Receipts
    calendar: Calendar
    starter_credit_nano: int
    check_books: Callable[[], Checked]

    @property
    def currency(self) -> str:
        """The one currency of the deployment."""
        return self.house.prices.terms.currency

    @property
    def plans(self) -> Mapping[str, Plan]:
        """Every plan, by name."""
        return self.house.plans
