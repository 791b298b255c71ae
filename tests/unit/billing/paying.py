"""A till: top-ups over a ledger file, a processor that does as it is told, and crashes at any step one likes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import msgspec

from farebox.billing.payments.processors.processor import (
    Dispute,
    Event,
    ForgedEventError,
    Order,
    Payment,
    PaymentState,
    ProcessorAwayError,
    ProcessorRefusedError,
    Refund,
    RefundOrder,
    RefundState,
    Started,
)
from farebox.billing.payments.rules import RULES
from farebox.billing.payments.topups import Pricing, Topups, Wish
from farebox.billing.telling.notices import list_notices
from farebox.core.clock import ManualClock, Ulids
from farebox.core.money import NANO
from farebox.store.database import Database, Record, Transaction, Value
from tests.ledger.ledger_file import CURRENCY, NOW_US, LedgerFile
from tests.support.stores import Store
from tests.unit.store.failing import FailingDatabase

PRICING = Pricing(CURRENCY, 5 * NANO, 10_000 * NANO, 1_800, "GST")


class CrashError(BaseException):
    """The process is gone: nothing of ours catches this."""


class Crashes:
    """Ends the process at its n-th step; -1: never."""

    def __init__(self) -> None:
        self.left = -1
        self.seen = 0  # Steps so far.

    def step(self) -> None:
        self.seen += 1
        if self.left == 0:
            raise CrashError
        self.left -= self.left > 0


class Told:
    """A processor with a memory of its own, as the real ones have. Every question and answer is a step."""

    listens = True

    def __init__(self, crashes: Crashes) -> None:
        self.payments: dict[str, Payment] = {}
        self.made: dict[str, Refund] = {}
        self.asked: list[str] = []
        self.away = False
        self.refuses = False
        self._crashes = crashes

    def start(self, order: Order) -> Started:
        self._ask("start")
        ref = f"told_{order.id}"
        self.payments.setdefault(ref, Payment(order.id, ref, PaymentState.PENDING))
        if order.method is not None:
            self.pay(order.id, order.total_nano)
        self._crashes.step()
        return Started(ref, None if order.method else f"https://pay.example/{order.id}")

    def look_up(self, reference: str) -> Payment | None:
        self._ask("look_up")
        self._crashes.step()
        return self.payments.get(reference)

    def refund(self, order: RefundOrder) -> Refund:
        self._ask("refund")
        made = self.made.setdefault(
            order.id, Refund(f"re_{order.id}", order.total_nano, RefundState.DONE, order.id)
        )
        payment = self._of(order.topup_id)
        if made not in payment.refunds:
            self._set(payment, refunds=(*payment.refunds, made))
        self._crashes.step()
        return made

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        raise ForgedEventError(body, headers)

    def pay(self, topup_id: str, paid_nano: int, currency: str = CURRENCY) -> None:
        """The payer has paid."""
        self._set(
            self._of(topup_id),
            state=PaymentState.PAID,
            paid_nano=paid_nano,
            currency=currency,
            payment_ref=f"pay_{topup_id}",
        )

    def end(self, topup_id: str, state: PaymentState) -> None:
        self._set(self._of(topup_id), state=state)

    def give_back(self, topup_id: str, refund: Refund) -> None:
        """A refund made at the processor's dashboard."""
        payment = self._of(topup_id)
        kept = [one for one in payment.refunds if one.ref != refund.ref]
        self._set(payment, refunds=(*kept, refund))

    def dispute(self, topup_id: str, dispute: Dispute) -> None:
        self._set(self._of(topup_id), disputes=(dispute,))

    def _ask(self, what: str) -> None:
        self._crashes.step()
        self.asked.append(what)
        if self.away:
            raise ProcessorAwayError(what)
        if self.refuses:
            raise ProcessorRefusedError("no")

    def _of(self, topup_id: str) -> Payment:
        return self.payments[f"told_{topup_id}"]

    def _set(self, payment: Payment, **changes: object) -> None:
        self.payments[payment.ref] = msgspec.structs.replace(payment, **changes)


class Till:
    """Top-ups of account `a`, whose wallet begins empty."""

    def __init__(self, ledger: LedgerFile) -> None:
        self.ledger = ledger
        self.clock = ManualClock(NOW_US)
        self.ids = Ulids(self.clock)
        self.crashes = Crashes()
        self.told = Told(self.crashes)
        self.account = ledger.open_wallet("a")
        self.database = CrashingDatabase(ledger.database, self.crashes)
        self.topups = self.another()

    def another(self) -> Topups:
        """The top-ups of another worker on the same books."""
        # A name of the table, so that customers may choose it; what stands behind it is ours.
        return Topups(self.database, self.clock, self.ids, {"stripe": self.told}, PRICING)

    def wish(self, units: int = 100, **members: object) -> Wish:
        return msgspec.structs.replace(Wish(self.account, units * NANO, "https://shop.example/"), **members)

    def paid(self, units: int = 100) -> str:
        """The id of a top-up that was paid and credited."""
        topup = self.topups.start(self.wish(units))
        self.told.pay(topup.id, topup.total)
        assert self.topups.check(topup.id).status == "paid"
        return topup.id

    def hear(self, event: str, topup_id: str, topups: Topups | None = None) -> bool:
        return (topups or self.topups).hear("stripe", Event(event, f"told_{topup_id}"))

    def status(self, topup_id: str) -> str:
        return str(self.ledger.rows("SELECT status FROM topups WHERE id = ?", topup_id)[0][0])

    @property
    def units(self) -> float:
        return self.ledger.amounts("a").balance / NANO

    def notices(self, whom: int | None = None) -> list[str]:
        with self.ledger.database.read() as view:
            return [one.notice.text for one in list_notices(view, whom)]

    def assert_whole(self) -> None:
        """The books keep every rule, the ledger's and those of top-ups."""
        report = self.ledger.check()
        assert report.balanced, report.breaches
        breaches = {rule: self.ledger.rows(sql) for rule, sql in RULES.items()}
        assert not {rule: rows for rule, rows in breaches.items() if rows}


@contextmanager
def till_on(store: Store) -> Iterator[Till]:
    till = Till(LedgerFile(store.database))
    yield till
    till.crashes.left = -1
    till.assert_whole()


class CrashingDatabase(FailingDatabase):
    """A database in which every statement of a write transaction, and its commit, is a step."""

    def __init__(self, database: Database, crashes: Crashes) -> None:
        super().__init__(database)
        self._crashes = crashes

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self._crashes.step()
        with super().transaction() as work:
            yield cast("Transaction", _CrashingTransaction(work, self._crashes))
            self._crashes.step()
        self._crashes.step()


class _CrashingTransaction:
    def __init__(self, work: Transaction, crashes: Crashes) -> None:
        self._work = work
        self._crashes = crashes

    def __getattr__(self, name: str) -> object:
        return getattr(self._work, name)

    def all(self, sql: str, *values: Value) -> list[Record]:
        self._crashes.step()
        return self._work.all(sql, *values)

    def one(self, sql: str, *values: Value) -> Record | None:
        self._crashes.step()
        return self._work.one(sql, *values)

    def run(self, sql: str, *values: Value) -> int:
        self._crashes.step()
        return self._work.run(sql, *values)

    def run_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> int:
        self._crashes.step()
        return self._work.run_many(sql, rows)
