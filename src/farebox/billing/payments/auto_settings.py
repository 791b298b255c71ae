"""Automatic top-ups as accounts have them set: when, how much, at most how much a month, and by which saved method."""

from __future__ import annotations

import msgspec

from farebox.billing.payments.processors import PROCESSORS
from farebox.billing.telling.notices import Notice, note
from farebox.core.money import write_nano
from farebox.store.database import Record, Transaction

FAILURES_MAX = 3
PAUSE_US = 10 * 60 * 1_000_000  # After a failure: a bank that said no a second ago says no again.


class AutoTopup(msgspec.Struct, frozen=True):
    """One account's setting; the fields are the columns of `auto_topups`. Amounts in nano-units of the wallet."""

    account_id: int
    processor: str
    method: str
    threshold: int
    amount: int
    monthly_cap: int
    active: bool
    failures: int = 0
    running: str | None = None
    not_before: int = 0


_SELECT = f"SELECT {', '.join(AutoTopup.__struct_fields__)} FROM auto_topups"  # noqa: S608 -- the struct's own names


def set_auto_topup(work: Transaction, wanted: AutoTopup, now_us: int) -> AutoTopup:
    """Set an account's automatic top-ups, and begin to count failures anew. ValueError if they cannot work."""
    if not (row := PROCESSORS.get(wanted.processor)) or not row.off_session:
        raise ValueError(f"automatic top-ups are not available with {wanted.processor}")
    if min(wanted.threshold, wanted.amount, wanted.monthly_cap) <= 0:
        raise ValueError("threshold, amount and monthly cap must be more than 0")
    if wanted.monthly_cap < wanted.amount:
        raise ValueError("the monthly cap is less than one top-up")
    if not wanted.method:
        raise ValueError("name the saved method that is charged")
    work.run(
        "INSERT INTO auto_topups (account_id, processor, method, threshold, amount, monthly_cap, active, created,"
        " updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET"
        " processor = excluded.processor, method = excluded.method, threshold = excluded.threshold,"
        " amount = excluded.amount, monthly_cap = excluded.monthly_cap, active = excluded.active, failures = 0,"
        " not_before = 0, updated = excluded.updated",
        *(wanted.account_id, wanted.processor, wanted.method, wanted.threshold, wanted.amount),
        *(wanted.monthly_cap, int(wanted.active), now_us, now_us),
    )
    found = find_auto_topup(work, wanted.account_id)
    assert found is not None
    return found


def stop_auto_topup(work: Transaction, account_id: int, now_us: int) -> bool:
    """End an account's automatic top-ups; one under way goes on. False if there are none."""
    return bool(
        work.run("UPDATE auto_topups SET active = 0, updated = ? WHERE account_id = ?", now_us, account_id)
    )


def find_auto_topup(view: Transaction, account_id: int) -> AutoTopup | None:
    """An account's setting, if it has one."""
    row = view.one(f"{_SELECT} WHERE account_id = ?", account_id)
    return None if row is None else _read(row)


def low_wallets(view: Transaction, now_us: int, limit: int) -> list[AutoTopup]:
    """Settings whose wallet has less free than it should, none of them with a top-up under way."""
    columns = ", ".join(f"a.{name}" for name in AutoTopup.__struct_fields__)
    rows = view.all(
        f"SELECT {columns} FROM auto_topups a JOIN wallets w ON w.account_id = a.account_id"  # noqa: S608 -- ours
        " JOIN accounts c ON c.id = a.account_id"
        " WHERE a.active = 1 AND a.running IS NULL AND a.not_before <= ? AND c.status = 'active'"
        " AND w.balance - w.held < a.threshold ORDER BY a.account_id LIMIT ?",
        *(now_us, limit),
    )
    return [_read(row) for row in rows]


def claim_run(work: Transaction, setting: AutoTopup, now_us: int) -> bool:
    """Take the one turn of an account; False if another has it, or the setting or the wallet changed meanwhile."""
    return bool(
        work.run(
            "UPDATE auto_topups SET running = '', updated = ? WHERE account_id = ? AND active = 1 AND running IS NULL"
            " AND amount = ? AND method = ? AND EXISTS (SELECT 1 FROM wallets w WHERE"
            " w.account_id = auto_topups.account_id AND w.balance - w.held < auto_topups.threshold)",
            *(now_us, setting.account_id, setting.amount, setting.method),
        )
    )


def note_run(work: Transaction, account_id: int, topup_id: str) -> None:
    """Name the top-up that has the turn, in the transaction that took it."""
    work.run("UPDATE auto_topups SET running = ? WHERE account_id = ?", topup_id, account_id)


def wait_until(work: Transaction, account_id: int, until_us: int) -> None:
    """Leave an account alone for a while."""
    work.run("UPDATE auto_topups SET not_before = ? WHERE account_id = ?", until_us, account_id)


def note_result(work: Transaction, topup_id: str, account_id: int, *, paid: bool, now_us: int) -> None:
    """An automatic top-up has ended: the next may run, unless it was one failure too many."""
    ended = work.one(
        "UPDATE auto_topups SET running = NULL, failures = CASE WHEN ? = 1 THEN 0 ELSE failures + 1 END,"
        " not_before = ?, updated = ? WHERE account_id = ? AND running = ? RETURNING failures, amount",
        *(int(paid), 0 if paid else now_us + PAUSE_US, now_us, account_id, topup_id),
    )
    if ended is None or int(ended[0] or 0) < FAILURES_MAX:
        return
    work.run("UPDATE auto_topups SET active = 0 WHERE account_id = ?", account_id)
    text = (
        f"{FAILURES_MAX} automatic top-ups of {write_nano(int(ended[1] or 0))} failed in a row, so there will be no"
        " more until they are switched on again. Check the saved payment method."
    )
    for whom, once in ((account_id, "customer"), (None, "operator")):
        note(
            work,
            Notice(
                f"auto_topup:{topup_id}:stopped:{once}",
                whom,
                "auto_topup_stopped",
                "Automatic top-ups were stopped",
                text,
                {"account_id": str(account_id), "topup": topup_id},
                now_us,
            ),
        )


def _read(row: Record) -> AutoTopup:
    members = dict(zip(AutoTopup.__struct_fields__, row, strict=True))
    return msgspec.convert({**members, "active": bool(members["active"])}, AutoTopup)
