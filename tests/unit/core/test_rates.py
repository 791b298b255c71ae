from __future__ import annotations

import msgspec
import pytest

from farebox.core.rates import KINDS, Rates, Tier, image_rate, rates_at, read_rates, sellable


def test_amounts_are_read_as_nano_units_a_million_tokens_or_each() -> None:
    rates = read_rates(
        "USD", input="0.15", output="0.60", cache_read="0.075", second="0.0001", request="0.01"
    )
    assert rates == Rates(
        "USD",
        input=150_000_000,
        output=600_000_000,
        cache_read=75_000_000,
        second=100_000,
        request=10_000_000,
    )


def test_an_image_has_one_rate_or_a_table() -> None:
    assert read_rates("USD", image="0.04").images == (("", 40_000_000),)
    table = read_rates("USD", image={"1024x1024/hd": "0.08", "1024x1024": "0.04"})
    assert table.images == (("1024x1024", 40_000_000), ("1024x1024/hd", 80_000_000))


def test_tiers_are_read_in_order() -> None:
    rates = read_rates("USD", input="1", tiers=[{"above_input_tokens": 200_000, "input": "2"}])
    assert rates.tiers == (Tier(200_000, input=2_000_000_000),)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("input", 0.15),
        ("input", 1),
        ("input", None),
        ("input", "-1"),
        ("input", "1e3"),
        ("input", "0.0000000001"),
        ("inputs", "1"),
        ("image", 0.04),
        ("image.hd", {"hd": 0.08}),
        ("tiers", "1"),
        (r"tiers\[0\].above_input_tokens", [{"input": "1"}]),
        (r"tiers\[0\].above_input_tokens", [{"above_input_tokens": -1}]),
        (r"tiers\[0\].above_input_tokens", [{"above_input_tokens": True}]),
        (r"tiers\[0\].input", [{"above_input_tokens": 1, "input": 1}]),
        (r"tiers\[0\].second", [{"above_input_tokens": 1, "second": "1"}]),
        ("tiers", [{"above_input_tokens": 2}, {"above_input_tokens": 1}]),
    ],
)
def test_what_is_no_rate_is_refused_by_name(member: str, value: object) -> None:
    name = member.split(".", maxsplit=1)[0].removesuffix(r"\[0\]")
    with pytest.raises(ValueError, match=f"^{member}"):
        read_rates("USD", **{"output": "1", name: value})


def test_rates_without_a_rate_or_a_currency_are_refused() -> None:
    with pytest.raises(ValueError, match="no rate"):
        read_rates("USD")
    with pytest.raises(ValueError, match="currency"):
        read_rates("dollars", input="1")


def test_a_tier_replaces_what_it_names_above_its_threshold_and_not_at_it() -> None:
    rates = Rates("USD", input=1, output=5, tiers=(Tier(100, input=2), Tier(200, input=3, output=6)))
    assert rates_at(rates, 100) is rates
    assert rates_at(rates, 101) == Rates("USD", input=2, output=5)
    assert rates_at(rates, 200) == Rates("USD", input=2, output=5)
    assert rates_at(rates, 201) == Rates("USD", input=3, output=6)


def test_an_image_is_priced_by_both_by_size_by_quality_by_any_and_else_at_the_dearest() -> None:
    table = (("1024x1024", 40), ("1024x1024/hd", 80), ("/hd", 90))
    rates = Rates("USD", images=table)
    assert image_rate(rates, "1024x1024/hd") == 80
    assert image_rate(rates, "1024x1024/standard") == 40
    assert image_rate(rates, "512x512/hd") == 90
    assert image_rate(rates, "512x512/standard") == 90
    assert image_rate(Rates("USD", images=(*table, ("", 10))), "512x512") == 10
    assert image_rate(Rates("USD", input=1), "1024x1024") is None


@pytest.mark.parametrize(
    ("kind", "enough", "not_enough"),
    [
        ("chat", Rates("USD", input=0, output=0), Rates("USD", input=1, second=1, character=1)),
        ("image", Rates("USD", images=(("", 0),)), Rates("USD", input=1, output=1, image_in=1)),
        ("image", Rates("USD", image_out=1), Rates("USD", request=1)),
        ("speech", Rates("USD", character=0), Rates("USD", input=1, output=1)),
        ("speech", Rates("USD", audio_out=1), Rates("USD", second=1)),
        ("transcription", Rates("USD", second=0), Rates("USD", audio_in=1)),
        ("transcription", Rates("USD", input=1, output=1), Rates("USD", input=1)),
        ("embedding", Rates("USD", input=0), Rates("USD", output=1)),
    ],
)
def test_a_kind_is_sold_only_with_a_price_for_what_it_delivers(
    kind: str, enough: Rates, not_enough: Rates
) -> None:
    assert sellable(kind, enough)
    assert not sellable(kind, not_enough)
    assert kind in KINDS


def test_an_unknown_kind_is_not_sold() -> None:
    assert not sellable("video", Rates("USD", input=1, output=1, images=(("", 1),)))


def test_unpriced_and_free_are_told_apart_on_the_wire() -> None:
    rates = Rates("USD", input=0, images=(("", 5),), tiers=(Tier(1, input=0),))
    assert msgspec.json.decode(msgspec.json.encode(rates), type=Rates) == rates
    assert b"output" not in msgspec.json.encode(rates)
