"""Tax lines add up to the tax exactly, whatever it is split by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.papers.tax import TaxLine, TaxPart, coin_nano, decimals_of, split_tax
from farebox.core.money import MAX_NANO, NANO

PAISA = coin_nano("INR")
GST = (TaxPart("CGST", 900), TaxPart("SGST", 900))
parts = st.lists(st.builds(TaxPart, st.text(max_size=5), st.integers(1, 10_000)), min_size=1, max_size=5)
coins = st.sampled_from([NANO, NANO // 100, NANO // 1000])


@given(st.integers(0, MAX_NANO), parts, coins)
def test_the_lines_add_up_to_the_tax_and_none_is_negative(tax: int, named: list[TaxPart], coin: int) -> None:
    lines = split_tax(tax, named, coin)
    assert sum(line.amount_nano for line in lines) == tax
    assert all(line.amount_nano >= 0 for line in lines)
    if tax:
        assert [(line.name, line.basis_points) for line in lines] == [
            (part.name, part.basis_points) for part in named
        ]


@given(st.integers(1, MAX_NANO), parts, coins)
def test_each_line_is_its_share_to_within_a_coin_and_the_last_has_the_rest(
    tax: int, named: list[TaxPart], coin: int
) -> None:
    *others, last = split_tax(tax, named, coin)
    whole = sum(part.basis_points for part in named)
    for line in others:
        assert line.amount_nano % coin == 0
        assert 0 <= tax * line.basis_points - line.amount_nano * whole < coin * whole
    assert 0 <= last.amount_nano * whole - tax * last.basis_points < coin * whole * max(len(others), 1)


def test_halves_of_an_odd_coin_differ_by_it() -> None:
    assert split_tax(18_010_000_000, GST, PAISA) == (
        TaxLine("CGST", 900, 9_000_000_000),
        TaxLine("SGST", 900, 9_010_000_000),
    )


def test_a_tax_without_a_rate_is_one_line_and_no_tax_is_none() -> None:
    assert split_tax(7, [TaxPart("VAT", 0)], PAISA) == (TaxLine("VAT", 0, 7),)
    assert split_tax(7, [], PAISA) == (TaxLine("Tax", 0, 7),)
    assert split_tax(0, GST, PAISA) == ()


def test_coins_are_as_small_as_their_currency_has_them() -> None:
    assert [decimals_of(currency) for currency in ("INR", "USD", "JPY", "KWD")] == [2, 2, 0, 3]
    assert [coin_nano(currency) for currency in ("INR", "JPY", "KWD")] == [10**7, 10**9, 10**6]
