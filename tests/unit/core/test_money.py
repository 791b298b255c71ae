from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.money import MAX_NANO, NANO, ceil_div, check_currency, parse_nano, write_nano

amounts = st.integers(-MAX_NANO, MAX_NANO)


@given(amounts)
def test_an_amount_that_is_written_is_read_as_it_was(nano: int) -> None:
    assert parse_nano(write_nano(nano)) == nano


@given(amounts)
def test_an_amount_is_written_as_a_plain_decimal_without_needless_zeros(nano: int) -> None:
    text = write_nano(nano)
    assert Decimal(text) * NANO == nano
    assert "e" not in text.lower()
    assert text != "-0"
    if "." in text:
        assert not text.endswith(("0", "."))
        assert len(text.partition(".")[2]) <= 9


@given(st.decimals(min_value=-9_000_000_000, max_value=9_000_000_000, places=9))
def test_any_decimal_of_nine_places_is_read_exactly(amount: Decimal) -> None:
    assert parse_nano(f"{amount:f}") == int(amount * NANO)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("41.25", 41_250_000_000),
        ("0", 0),
        ("-0", 0),
        ("  7 ", 7 * NANO),
        ("0.000000001", 1),
        ("-0.5", -500_000_000),
        ("007", 7 * NANO),
        ("9223372036.854775807", MAX_NANO),
    ],
)
def test_an_amount_is_read(text: str, nano: int) -> None:
    assert parse_nano(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".",
        "1.",
        ".5",
        "+1",
        "1,5",
        "1e3",
        "NaN",
        "inf",
        "0x10",
        "1_000",
        "1 000",
        "--1",
        "1.0000000001",
        "9223372036.854775808",
        "99999999999",
        "1.5 INR",
        "1\n2",
        "\u0661\u0662",  # Digits, but not ours.
    ],
)
def test_what_is_no_amount_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|ledger"):
        parse_nano(text)


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0"), (41_250_000_001, "41.250000001"), (NANO, "1"), (-1, "-0.000000001"), (10 * NANO, "10")],
)
def test_an_amount_is_written(nano: int, text: str) -> None:
    assert write_nano(nano) == text


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_a_division_is_rounded_up(dividend: int, divisor: int) -> None:
    assert ceil_div(dividend, divisor) == ceil(Fraction(dividend, divisor))


@pytest.mark.parametrize("text", ["INR", "USD"])
def test_a_currency_is_three_capital_letters(text: str) -> None:
    assert check_currency(text) == text


@pytest.mark.parametrize("text", ["", "inr", "IN", "INRS", "I R", "₹", "USD\n"])
def test_anything_else_is_no_currency(text: str) -> None:
    with pytest.raises(ValueError, match="currency"):
        check_currency(text)
