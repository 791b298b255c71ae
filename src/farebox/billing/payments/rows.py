"""Top-ups as the books keep them: the rows, and how to find them. Every query of a customer names the account."""

from __future__ import annotations

import msgspec

from farebox.billing.payments.processors.processor import Order
from farebox.store.database import Record, Transaction

PAGE_MOST = 100
LIFE_US = 86_400 * 1_000_000  # An unpaid top-up is over after a day.
OPEN = ("created", "pending")
UNPAID = (*OPEN, "failed", "expired")  # Of which each may still turn out to be paid.


class Topup(msgspec.Struct, frozen=True):
    """One payment into a wallet; the fields are the columns of `topups`. Nano-units, and microseconds."""

    id: str
    account_id: int
    processor: str
    processor_ref: str | None
    payment_ref: str | None
    status: str
    credit: int
    tax: int
    total: int
    currency: str
    tax_name: str
    url: str | None
    return_url: str
    reason: str | None
    method: str | None
    automatic: bool
    keep_method: bool
    refunded: int
    refunded_total: int
    disputed: int
    checks: int
    next_check: int | None
    paid: int | None
    created: int
    updated: int

    @property
    def left_nano(self) -> int:
        """What of the credit has neither gone back nor is disputed."""
        return self.credit - self.refunded - self.disputed

    def order(self) -> Order:
        """What its processor is asked for."""
        return Order(
            id=self.id,
            credit_nano=self.credit,
            tax_nano=self.tax,
            currency=self.currency,
            tax_name=self.tax_name,
            return_url=self.return_url,
            expires_us=self.created + LIFE_US,
            reason=self.reason,
            method=self.method if self.automatic else None,
            keep_method=self.keep_method,
        )


class RefundRow(msgspec.Struct, frozen=True):
    """Money of a top-up that goes back; the fields are the columns of `topup_refunds`."""

    id: str
    topup_id: str
    account_id: int
    processor_ref: str | None
    status: str
    credit: int
    total: int
    taken: int
    lost: int
    reason: str | None
    checks: int
    next_check: int | None
    created: int
    updated: int


class DisputeRow(msgspec.Struct, frozen=True):
    """A dispute over a top-up; the fields are the columns of `topup_disputes`."""

    id: str
    topup_id: str
    account_id: int
    status: str
    credit: int
    taken: int
    lost: int
    created: int
    updated: int


_TOPUP = ", ".join(Topup.__struct_fields__)
_REFUND = ", ".join(RefundRow.__struct_fields__)
_DISPUTE = ", ".join(DisputeRow.__struct_fields__)
_TOPUPS = f"SELECT {_TOPUP} FROM topups"  # noqa: S608 -- the structs' own names, here and below
_REFUNDS = f"SELECT {_REFUND} FROM topup_refunds"  # noqa: S608 -- as above
_DISPUTES = f"SELECT {_DISPUTE} FROM topup_disputes"  # noqa: S608 -- as above
_TOUCH = "UPDATE topups SET updated = ? WHERE id = ?"


def insert_topup(work: Transaction, topup: Topup) -> None:
    """Write a new top-up down, before its processor hears of it."""
    _insert(work, "topups", _TOPUP, topup)


def insert_refund(work: Transaction, refund: RefundRow) -> None:
    """Write a refund down."""
    _insert(work, "topup_refunds", _REFUND, refund)


def insert_dispute(work: Transaction, dispute: DisputeRow) -> None:
    """Write a dispute down."""
    _insert(work, "topup_disputes", _DISPUTE, dispute)


def lock_topup(work: Transaction, topup_id: str, now_us: int) -> Topup:
    """A top-up to be changed. It is touched first, so that nobody else changes it before we are done."""
    row = work.one(f"{_TOUCH} RETURNING {_TOPUP}", now_us, topup_id)
    assert row is not None
    return _topup(row)


def find_topup(view: Transaction, topup_id: str, account_id: int | None = None) -> Topup | None:
    """A top-up by its id; with an account, only if it is that account's."""
    where, values = ("", ()) if account_id is None else (" AND account_id = ?", (account_id,))
    row = view.one(f"{_TOPUPS} WHERE id = ?{where}", topup_id, *values)
    return None if row is None else _topup(row)


def find_by_reference(view: Transaction, processor: str, reference: str) -> Topup | None:
    """A top-up by what its processor calls it or its payment."""
    for column in ("processor_ref", "payment_ref"):
        row = view.one(
            f"{_TOPUPS} WHERE processor = ? AND {column} = ?",
            *(processor, reference),
        )
        if row is not None:
            return _topup(row)
    return None


def list_topups(
    view: Transaction, account_id: int | None, *, before: str | None = None, limit: int = 20
) -> list[Topup]:
    """Top-ups of an account, or of all, newest first, after those a reader has seen; at most PAGE_MOST and one."""
    where, values = ("", ()) if account_id is None else ("account_id = ? AND ", (account_id,))
    rows = view.all(
        f"{_TOPUPS} WHERE {where}id < ? ORDER BY id DESC LIMIT ?",
        *(*values, before or "~", min(limit, PAGE_MOST + 1)),
    )
    return [_topup(row) for row in rows]


def count_open(view: Transaction, account_id: int) -> int:
    """How many top-ups of an account wait to be paid."""
    row = view.one(
        "SELECT COUNT(*) FROM topups WHERE account_id = ? AND status IN ('created', 'pending')", account_id
    )
    assert row is not None
    return int(row[0] or 0)


def due_topups(view: Transaction, now_us: int, limit: int) -> list[Topup]:
    """Top-ups whose processor is to be asked, the longest waiting first."""
    rows = view.all(f"{_TOPUPS} WHERE next_check <= ? ORDER BY next_check LIMIT ?", now_us, limit)
    return [_topup(row) for row in rows]


def due_refunds(view: Transaction, now_us: int, limit: int) -> list[RefundRow]:
    """Refunds whose processor is to be asked, the longest waiting first."""
    rows = view.all(
        f"{_REFUNDS} WHERE next_check <= ? ORDER BY next_check LIMIT ?",
        *(now_us, limit),
    )
    return [_refund(row) for row in rows]


def claim_check(work: Transaction, table: str, row: Topup | RefundRow, next_us: int) -> bool:
    """Take a turn at asking, so that no other worker takes the same; False if one has. `table` is our own word."""
    return bool(
        work.run(
            f"UPDATE {table} SET checks = checks + 1, next_check = ?"  # noqa: S608 -- as above
            " WHERE id = ? AND next_check = ?",
            *(next_us, row.id, row.next_check),
        )
    )


def find_refund(view: Transaction, topup_id: str, *, id_: str) -> RefundRow | None:
    """A refund of a top-up by our id of it."""
    row = view.one(f"{_REFUNDS} WHERE id = ? AND topup_id = ?", id_, topup_id)
    return None if row is None else _refund(row)


def refunds_of(view: Transaction, topup_id: str) -> list[RefundRow]:
    """Every refund of a top-up, oldest first."""
    rows = view.all(f"{_REFUNDS} WHERE topup_id = ? ORDER BY created", topup_id)
    return [_refund(row) for row in rows]


def find_dispute(view: Transaction, id_: str) -> DisputeRow | None:
    """A dispute by our id of it."""
    row = view.one(f"{_DISPUTES} WHERE id = ?", id_)
    return None if row is None else msgspec.convert(_named(DisputeRow, row), DisputeRow)


def note_event(work: Transaction, processor: str, event_id: str, topup_id: str, now_us: int) -> None:
    """Remember an event that moved money."""
    work.run(
        "INSERT INTO payment_events (processor, event_id, topup_id, created) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (processor, event_id) DO NOTHING",
        *(processor, event_id, topup_id, now_us),
    )


def event_is_known(view: Transaction, processor: str, event_id: str) -> bool:
    """Whether an event has moved its money."""
    sql = "SELECT 1 FROM payment_events WHERE processor = ? AND event_id = ?"
    return view.one(sql, processor, event_id) is not None


def _insert(work: Transaction, table: str, columns: str, row: msgspec.Struct) -> None:
    values = [int(value) if isinstance(value, bool) else value for value in msgspec.structs.astuple(row)]
    marks = ", ".join("?" * len(values))
    work.run(f"INSERT INTO {table} ({columns}) VALUES ({marks})", *values)  # noqa: S608 -- our own names


def _topup(row: Record) -> Topup:
    members = _named(Topup, row)
    members |= {name: bool(members[name]) for name in ("automatic", "keep_method")}
    return msgspec.convert(members, Topup)


def _refund(row: Record) -> RefundRow:
    return msgspec.convert(_named(RefundRow, row), RefundRow)


def _named(struct: type[msgspec.Struct], row: Record) -> dict[str, object]:
    return dict(zip(struct.__struct_fields__, row, strict=True))
