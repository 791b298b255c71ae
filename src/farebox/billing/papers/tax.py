"""Tax lines: one amount of tax told in the parts the law wants, to the last nano-unit. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from farebox.core.money import NANO

BASIS_POINTS = 10_000  # 1 % is 100 of them.
# ISO 4217: how many decimals a currency's smallest coin has, where they are not two.
_DECIMALS = dict.fromkeys(
    (
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ),
    0,
) | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)


class TaxPart(msgspec.Struct, frozen=True):
    """One named part of a tax, such as CGST of 900 basis points."""

    name: str
    basis_points: int


class TaxLine(msgspec.Struct, frozen=True):
    """A part with what it comes to."""

    name: str
    basis_points: int
    amount_nano: int


def decimals_of(currency: str) -> int:
    """How many decimals amounts of a currency are paid with."""
    return _DECIMALS.get(currency, 2)


def coin_nano(currency: str) -> int:
    """The smallest amount of a currency that can be paid."""
    return NANO // int(10 ** decimals_of(currency))


def split_tax(tax_nano: int, parts: Sequence[TaxPart], coin: int) -> tuple[TaxLine, ...]:
    """Split a tax by its parts' basis points, each rounded down to whole coins; the last has what is left.

    So the lines add up to the tax exactly. A tax whose parts name no rate is one line.
    """
    assert tax_nano >= 0
    if not tax_nano:
        return ()
    whole = sum(part.basis_points for part in parts)
    if not whole:
        return (TaxLine(parts[0].name if parts else "Tax", 0, tax_nano),)
    *others, last = parts
    shares = [tax_nano * part.basis_points // whole // coin * coin for part in others]
    lines = [TaxLine(part.name, part.basis_points, share) for part, share in zip(others, shares, strict=True)]
    return (*lines, TaxLine(last.name, last.basis_points, tax_nano - sum(shares)))
