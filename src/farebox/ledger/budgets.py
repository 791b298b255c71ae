"""Budgets: what a key may spend in a calendar window, taken with each hold and by the same transaction.

A window's row says what its calls were charged and what those that still run hold. A hold is taken only if both,
and the hold itself, stay within the budget, so two keys' or two workers' calls cannot pass it together. A charge
belongs to the window in which its call began, however long the call goes on.

A breaker is the budget of an hour whose amount is so many times what the key's hours usually come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from farebox.core.clock import first_ulid
from farebox.core.money import MAX_NANO
from farebox.store.database import Transaction

HOUR = "hour"
PERIODS = ("day", "week", "month", "total")
HOUR_US = 3_600_000_000
USUAL_HOURS = 168  # A week of them says what is usual.
ID_SLACK_US = 1_000_000  # A call's id is made a moment before its time is taken.
USUAL_HOURS_LEAST = 3  # Of fewer nothing is usual yet, and the breaker's floor alone counts.


class Guard(msgspec.Struct, frozen=True):
    """One window that a hold must fit in. `amount_nano` is the budget; None: the window's own ceiling (a breaker's)."""

    period: str
    starts_us: int
    amount_nano: int | None


class Overspent(msgspec.Struct, frozen=True):
    """A window has no room for the hold; nothing was held."""

    guard: Guard
    amount_nano: int
    spent_nano: int
    held_nano: int


_TAKE = (
    "UPDATE budget_windows SET held = held + ? WHERE key_id = ? AND period = ? AND starts = ?"
    " AND spent + held + ? <= COALESCE(?, ceiling)"
)
_FREE = "UPDATE budget_windows SET held = held - ? WHERE key_id = ? AND period = ? AND starts = ?"
_SETTLE = (
    "UPDATE budget_windows SET spent = spent + ?, held = held - ?"
    " WHERE key_id = ? AND period = ? AND starts = ?"
)
_OPEN = (
    "INSERT INTO budget_windows (key_id, period, starts, account_id, seed, spent, ceiling)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key_id, period, starts) DO NOTHING"
)

# For `check_books`: rows whose amount is not what it should be.
RULES: dict[str, str] = {
    "what a budget's window has held is the sum of its holds": """
        SELECT b.key_id || ' ' || b.period || ':' || b.starts, b.held, COALESCE((
          SELECT SUM(h.amount) FROM holds h WHERE h.key_id = b.key_id AND h.guards IS NOT NULL
          AND ' ' || h.guards || ' ' LIKE '% ' || b.period || ':' || b.starts || ' %'), 0)
        FROM budget_windows b WHERE b.held <> COALESCE((
          SELECT SUM(h.amount) FROM holds h WHERE h.key_id = b.key_id AND h.guards IS NOT NULL
          AND ' ' || h.guards || ' ' LIKE '% ' || b.period || ':' || b.starts || ' %'), 0)""",
    "what a budget's window has spent is the sum of its calls": """
        WITH charged AS (SELECT key_id, ' ' || guards || ' ' AS guards, SUM(charge) AS total FROM requests
          WHERE guards IS NOT NULL GROUP BY key_id, guards),
        windows AS (SELECT b.key_id, b.period, b.starts, b.spent, b.seed + COALESCE((
          SELECT SUM(c.total) FROM charged c WHERE c.key_id = b.key_id
          AND c.guards LIKE '% ' || b.period || ':' || b.starts || ' %'), 0) AS due FROM budget_windows b)
        SELECT key_id || ' ' || period || ':' || starts, spent, due FROM windows WHERE spent <> due""",
}


def take_guards(
    work: Transaction, account_id: int, key_id: int, guards: Sequence[Guard], amount_nano: int
) -> Overspent | None:
    """Hold an amount in every window of a key, or in none."""
    for at, guard in enumerate(guards):
        over = _take(work, account_id, key_id, guard, amount_nano)
        if over is not None:
            free_guards(work, key_id, guards[:at], amount_nano)
            return over
    return None


def free_guards(work: Transaction, key_id: int, guards: Iterable[Guard], amount_nano: int) -> None:
    """Free what was held in windows."""
    for guard in guards:
        work.run(_FREE, amount_nano, key_id, guard.period, guard.starts_us)


def settle_guards(
    work: Transaction, key_id: int, guards: Iterable[Guard], *, charge_nano: int, held_nano: int
) -> None:
    """Turn what was held in windows into what was spent."""
    for guard in guards:
        work.run(_SETTLE, charge_nano, held_nano, key_id, guard.period, guard.starts_us)


def forget_hours(work: Transaction, now_us: int) -> int:
    """Delete the hours that no breaker will look at any more; how many."""
    return work.run(
        "DELETE FROM budget_windows WHERE period = 'hour' AND held = 0 AND starts < ?",
        now_us - (USUAL_HOURS + 1) * HOUR_US,
    )


def raise_ceiling(work: Transaction, key_id: int, now_us: int) -> None:
    """Allow a key as much again, in the hour that runs, as its breaker did."""
    starts_us = now_us - now_us % HOUR_US
    work.run(
        "UPDATE budget_windows SET ceiling = spent + held + ? WHERE key_id = ? AND period = 'hour' AND starts = ?",
        *(_ceiling(work, key_id, starts_us), key_id, starts_us),
    )


def write_guards(guards: Sequence[Guard]) -> str | None:
    """The windows of a call, as its row keeps them."""
    return " ".join(f"{guard.period}:{guard.starts_us}" for guard in guards) or None


def read_guards(text: object) -> tuple[Guard, ...]:
    """The windows in a row, without their amounts."""
    if not isinstance(text, str):
        return ()
    pairs = (name.split(":") for name in text.split())
    return tuple(Guard(period, int(starts), None) for period, starts in pairs)


def _take(
    work: Transaction, account_id: int, key_id: int, guard: Guard, amount_nano: int
) -> Overspent | None:
    window = (key_id, guard.period, guard.starts_us)
    taking = (_TAKE, amount_nano, *window, amount_nano, guard.amount_nano)
    if work.run(*taking):
        return None
    if _open(work, account_id, key_id, guard) and work.run(*taking):
        return None
    row = work.one(
        "SELECT spent, held, ceiling FROM budget_windows WHERE key_id = ? AND period = ? AND starts = ?",
        *window,
    )
    assert row is not None
    spent, held = int(row[0] or 0), int(row[1] or 0)
    ceiling = int(row[2] or 0) if guard.amount_nano is None else guard.amount_nano
    return Overspent(guard, ceiling, spent, held)


def _open(work: Transaction, account_id: int, key_id: int, guard: Guard) -> bool:
    """Begin a window with what its key spent in it before; False if it had begun already."""
    spent = _spent_since(work, account_id, key_id, guard.starts_us)
    ceiling = _ceiling(work, key_id, guard.starts_us) if guard.period == HOUR else None
    return work.run(_OPEN, key_id, guard.period, guard.starts_us, account_id, spent, spent, ceiling) > 0


def _spent_since(work: Transaction, account_id: int, key_id: int, starts_us: int) -> int:
    row = work.one(
        "SELECT COALESCE(SUM(charge), 0) FROM requests WHERE account_id = ? AND id >= ? AND key_id = ?"
        " AND created >= ?",
        *(account_id, first_ulid(max(starts_us - ID_SLACK_US, 0)), key_id, starts_us),
    )
    return int((row or (0,))[0] or 0)


def _ceiling(work: Transaction, key_id: int, starts_us: int) -> int:
    """So many times what the key's hours came to in the week before, of those in which it spent anything."""
    breaker = work.one("SELECT times, floor FROM breakers WHERE key_id = ?", key_id)
    if breaker is None:
        return MAX_NANO // 4  # Taken away a moment ago.
    times, floor = int(breaker[0] or 0), int(breaker[1] or 0)
    row = work.one(
        "SELECT COUNT(*), COALESCE(SUM(spent), 0) FROM budget_windows"
        " WHERE key_id = ? AND period = 'hour' AND starts >= ? AND starts < ? AND spent > 0",
        *(key_id, starts_us - USUAL_HOURS * HOUR_US, starts_us),
    )
    assert row is not None
    hours, spent = int(row[0] or 0), int(row[1] or 0)
    usual = spent // hours if hours >= USUAL_HOURS_LEAST else 0
    return max(usual * times, floor)
