"""Budgets as a key carries them: how much it may spend in which period, and whether a breaker watches its hours."""

from __future__ import annotations

import msgspec

from farebox.accounts.changes import announce
from farebox.store.database import Transaction

PERIODS = ("day", "week", "month", "total")


class Budget(msgspec.Struct, frozen=True):
    """What a key may spend in each period of a kind; of "total" there is one."""

    period: str
    amount_nano: int


class Breaker(msgspec.Struct, frozen=True):
    """Stops a key whose hour comes to `times` its usual hour; below `floor_nano` never."""

    times: int
    floor_nano: int


class Limits(msgspec.Struct, frozen=True):
    """What a key may spend."""

    budgets: tuple[Budget, ...] = ()
    breaker: Breaker | None = None


UNLIMITED = Limits()
_BREAKER = "account_id, times, floor, created"


def set_budget(work: Transaction, *, key_id: int, account_id: int, budget: Budget, now_us: int) -> None:
    """Give a key a budget, in place of one it may have for that period. It holds for calls that begin from now on."""
    assert budget.period in PERIODS
    work.run(
        "INSERT INTO budgets (key_id, period, account_id, amount, created) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (key_id, period) DO UPDATE SET amount = excluded.amount",
        *(key_id, budget.period, account_id, budget.amount_nano, now_us),
    )
    announce(work, "key", key_id)


def end_budget(work: Transaction, key_id: int, period: str) -> None:
    """Take a budget away."""
    work.run("DELETE FROM budgets WHERE key_id = ? AND period = ?", key_id, period)
    announce(work, "key", key_id)


def set_breaker(work: Transaction, *, key_id: int, account_id: int, breaker: Breaker, now_us: int) -> None:
    """Have a breaker watch a key."""
    work.run(
        "INSERT INTO breakers (key_id, account_id, times, floor, created) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (key_id) DO UPDATE SET times = excluded.times, floor = excluded.floor",
        *(key_id, account_id, breaker.times, breaker.floor_nano, now_us),
    )
    announce(work, "key", key_id)


def end_breaker(work: Transaction, key_id: int) -> None:
    """Have nothing watch a key's hours any more."""
    work.run("DELETE FROM breakers WHERE key_id = ?", key_id)
    announce(work, "key", key_id)


def set_paused(work: Transaction, key_id: int, paused_us: int | None) -> None:
    """Stop a key until somebody lets it go on, or let it go on."""
    work.run("UPDATE keys SET paused = ? WHERE id = ?", paused_us, key_id)
    announce(work, "key", key_id)


def copy_limits(work: Transaction, old_id: int, new_id: int) -> None:
    """Bound a key as another is, with what that has spent in its windows."""
    for table, columns in (("budgets", "period, account_id, amount, created"), ("breakers", _BREAKER)):
        copied = f"SELECT ?, {columns} FROM {table} WHERE key_id = ?"  # noqa: S608 -- our own names
        work.run(f"INSERT INTO {table} (key_id, {columns}) {copied}", new_id, old_id)
    work.run(
        "INSERT INTO budget_windows (key_id, period, starts, account_id, seed, spent, ceiling)"
        " SELECT ?, period, starts, account_id, spent, spent, ceiling FROM budget_windows WHERE key_id = ?",
        *(new_id, old_id),
    )
    announce(work, "key", new_id)


def read_limits(work: Transaction, key_id: int | None = None) -> dict[int, Limits]:
    """The limits of one key, or of every key that has any."""
    where, values = ("", ()) if key_id is None else (" WHERE key_id = ?", (key_id,))
    budgets: dict[int, list[Budget]] = {}
    for id_, period, amount in work.all(
        f"SELECT key_id, period, amount FROM budgets{where} ORDER BY key_id, period",  # noqa: S608 -- our own names
        *values,
    ):
        budgets.setdefault(int(id_ or 0), []).append(Budget(str(period), int(amount or 0)))
    watched = f"SELECT key_id, times, floor FROM breakers{where}"  # noqa: S608 -- our own names
    breakers = {
        int(id_ or 0): Breaker(int(times or 0), int(floor or 0))
        for id_, times, floor in work.all(watched, *values)
    }
    return {
        id_: Limits(tuple(budgets.get(id_, ())), breakers.get(id_))
        for id_ in budgets.keys() | breakers.keys()
    }
