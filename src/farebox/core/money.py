"""Amounts: integers in nano-units (10⁻⁹) of a currency, and the only places where text becomes money or back.

No float comes near: `parse_nano` refuses what nano-units cannot hold exactly, `write_nano` prints every digit.
"""

from __future__ import annotations

import re

NANO = 1_000_000_000
MAX_NANO = 2**63 - 1  # What a 64-bit column holds: 9.2 billion units of a currency.
_AMOUNT = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,9}))?")
_CURRENCY = re.compile(r"[A-Z]{3}")


def parse_nano(text: str) -> int:
    """Read a decimal amount (`"41.25"`, at most nine decimals) as nano-units. ValueError says what is wrong."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount: write digits with at most nine decimals, such as 41.25")
    sign, whole, decimals = match.groups()
    nano = int(whole) * NANO + int((decimals or "").ljust(9, "0"))
    if nano > MAX_NANO:
        raise ValueError(f"{text!r} is more than the ledger can hold")
    return -nano if sign else nano


def write_nano(nano: int) -> str:
    """Write nano-units as a plain decimal with trailing zeros cut: 41250000001 → `41.250000001`."""
    whole, decimals = divmod(abs(nano), NANO)
    text = f"{whole}.{decimals:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano < 0 else text


def ceil_div(dividend: int, divisor: int) -> int:
    """Divide and round up: the one rounding of a charge and of a price, always in favour of the seller."""
    return -(-dividend // divisor)


def check_currency(text: str) -> str:
    """Give back an ISO 4217 style code, or ValueError."""
    if _CURRENCY.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a currency code: write three capital letters, such as INR")
    return text
