"""Minor units: amounts as payment processors count them, in whole coins. Pure; what is no whole coin is refused."""

from __future__ import annotations

from farebox.billing.papers.tax import BASIS_POINTS, decimals_of
from farebox.core.money import NANO, write_nano

# Cards are charged with at most two decimals: of three, processors want the last to be 0.
PAYABLE_DECIMALS_MAX = 2


def payable_nano(currency: str) -> int:
    """The smallest amount of a currency that can be charged, in nano-units."""
    return NANO // int(10 ** min(decimals_of(currency), PAYABLE_DECIMALS_MAX))


def check_payable(amount_nano: int, currency: str) -> int:
    """Give back an amount that can be charged exactly, or ValueError."""
    coin = payable_nano(currency)
    if amount_nano % coin:
        raise ValueError(
            f"{write_nano(amount_nano)} {currency} cannot be paid exactly:"
            f" the smallest step is {write_nano(coin)}"
        )
    return amount_nano


def to_minor(amount_nano: int, currency: str, decimals: int | None = None) -> int:
    """Nano-units as a processor's integer; ValueError if they are no whole coins. `decimals` is a processor's own."""
    unit = _unit_nano(currency, decimals)
    check_payable(amount_nano, currency)
    minor, rest = divmod(amount_nano, unit)
    if rest:
        raise ValueError(f"{write_nano(amount_nano)} {currency} cannot be paid exactly")
    return minor


def from_minor(minor: int, currency: str, decimals: int | None = None) -> int:
    """A processor's integer as nano-units."""
    return minor * _unit_nano(currency, decimals)


def tax_nano(credit_nano: int, basis_points: int, currency: str) -> int:
    """The tax on a credit, rounded once to the nearest coin, a half upwards."""
    coin = payable_nano(currency)
    return (2 * credit_nano * basis_points + BASIS_POINTS * coin) // (2 * BASIS_POINTS * coin) * coin


def _unit_nano(currency: str, decimals: int | None) -> int:
    return NANO // int(10 ** (decimals_of(currency) if decimals is None else decimals))
