"""Amounts, counts and dates as people read them. Every digit is there: nothing on a document is rounded."""

from __future__ import annotations

from collections.abc import Iterable

from farebox.billing.papers.tax import BASIS_POINTS, decimals_of
from farebox.billing.periods import Calendar
from farebox.core.money import NANO

DECIMALS_MAX = 9
MINUS = "\N{MINUS SIGN}"
_SYMBOLS = {"INR": "₹", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "NGN": "₦", "KRW": "₩"}
_LAKHS = frozenset({"INR", "NPR", "PKR", "BDT", "LKR"})  # 12,34,567.00: thousands, then pairs.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


class Writer:
    """Writes amounts of one currency."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self._least = decimals_of(currency)

    def amount(self, nano: int, decimals: int | None = None) -> str:
        """An amount with as many decimals as its currency has, or as many as it takes."""
        most = max(decimals or 0, self.decimals([nano]))
        whole, rest = divmod(abs(nano), NANO)
        text = self.grouped(whole)
        if most:
            text += f".{rest:0{DECIMALS_MAX}d}"[: most + 1]
        return MINUS + text if nano < 0 else text

    def column(self, amounts: Iterable[int]) -> list[str]:
        """Amounts below each other: all with as many decimals as the longest needs, but for a bare 0."""
        kept = list(amounts)
        decimals = self.decimals(kept)
        return [self.amount(nano, decimals) if nano else "0" for nano in kept]

    def decimals(self, amounts: Iterable[int]) -> int:
        """How many decimals it takes to write all of some amounts."""
        return max((len(f"{abs(nano) % NANO:09d}".rstrip("0")) for nano in amounts), default=0) or self._least

    def grouped(self, number: int) -> str:
        """A whole number in groups of digits."""
        if self.currency not in _LAKHS or number < NANO // 10**6:
            return f"{number:,}"
        rest, last = divmod(number, 1000)
        digits = str(rest)
        pairs = [digits[max(at - 2, 0) : at] for at in range(len(digits), 0, -2)]
        return ",".join([*pairs[::-1], f"{last:03d}"])

    def paid(self, nano: int) -> str:
        """An amount with its currency's sign, where it has one."""
        sign = _SYMBOLS.get(self.currency)
        amount = self.amount(abs(nano))
        text = f"{self.currency} {amount}" if sign is None else f"{sign}{amount}"
        return MINUS + text if nano < 0 else text


def percent(basis_points: int) -> str:
    """900 → 9 %."""
    whole, rest = divmod(basis_points, BASIS_POINTS // 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + " %"


def written_date(calendar: Calendar, at_us: int) -> str:
    """5 October 2026."""
    local = calendar.local(at_us)
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"


def written_time(calendar: Calendar, at_us: int) -> str:
    """5 October 2026, 14:05."""
    return f"{written_date(calendar, at_us)}, {calendar.local(at_us):%H:%M}"


def written_month(name: str) -> str:
    """2026-10 → October 2026."""
    year, _, month = name.partition("-")
    return f"{_MONTHS[int(month) - 1]} {year}"
