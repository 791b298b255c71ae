"""Budget: the windows that a key's call is held in beside its wallet, and what a caller is told when one is full."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from farebox.accounts.keys import Key
from farebox.billing.periods import Calendar, Period
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.ledger.budgets import HOUR, HOUR_US, Guard, Overspent

HELD_RETRY_S = 1.0
_NAMES = {"day": "daily ", "week": "weekly ", "month": "monthly ", "total": "", HOUR: "hourly "}


class Guards:
    """Finds the windows of a call: calendar days, ISO weeks and months of the operator's time zone, and UTC hours.

    The current window of each kind is remembered: a call looks up its start, and computes no calendar.
    """

    def __init__(self, calendar: Calendar) -> None:
        self._makers: dict[str, Callable[[int], Period]] = {
            "day": calendar.day,
            "week": calendar.week,
            "month": calendar.month,
        }
        self._current: dict[str, Period] = {}

    def of(self, key: Key, at_us: int) -> tuple[Guard, ...]:
        """The windows of a key's budgets at a time, and its breaker's."""
        limits = key.limits
        if not limits.budgets and limits.breaker is None:
            return ()
        guards = [
            Guard(budget.period, self._start_us(budget.period, at_us), budget.amount_nano)
            for budget in limits.budgets
        ]
        if limits.breaker is not None:
            guards.append(Guard(HOUR, at_us - at_us % HOUR_US, None))
        return tuple(guards)

    def end_us(self, period: str, at_us: int) -> int | None:
        """When a window ends that holds a time; None: never."""
        if period == HOUR:
            return at_us - at_us % HOUR_US + HOUR_US
        make = self._makers.get(period)
        return None if make is None else make(at_us).end_us

    def _start_us(self, period: str, at_us: int) -> int:
        current = self._current.get(period)
        if current is None or not current.start_us <= at_us < current.end_us:
            make = self._makers.get(period)
            if make is None:
                return 0  # The total began with the key.
            current = self._current[period] = make(at_us)
        return current.start_us


def check_paused(key: Key) -> None:
    """Refuse a key that its breaker has stopped; Fault KEY_PAUSED."""
    if key.paused_us is not None:
        raise _paused()


def overspent(over: Overspent, need_nano: int, currency: str) -> Fault:
    """The 402 of a budget: what is spent is not worth a retry before the window ends, what is only held is."""
    if over.guard.period == HOUR:
        return _paused()
    only_held = over.spent_nano + need_nano <= over.amount_nano
    amount, spent, needed = (write_nano(nano) for nano in (over.amount_nano, over.spent_nano, need_nano))
    return Fault(
        Kind.BUDGET_SPENT,
        f"This key's {_NAMES[over.guard.period]}budget is {amount} {currency}, of which {spent} is spent and"
        f" {write_nano(over.held_nano)} held by calls that are still running; this call needs {needed}."
        + (" Try again when they are done." if only_held else " Ask whoever gave you the key to raise it."),
        retry=only_held,
        retry_after_s=HELD_RETRY_S if only_held else None,
        fields=(
            ("budget", amount),
            ("period", _text(over.guard.period)),
            ("spent", spent),
            ("held", write_nano(over.held_nano)),
            ("needed", needed),
            ("currency", _text(currency)),
        ),
    )


def _paused() -> Fault:
    return Fault(
        Kind.KEY_PAUSED,
        "This key was stopped because it spent far more in an hour than it usually does. Its owner can let it go on"
        " with farebox keys resume, or in the console.",
        retry=False,
    )


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()
