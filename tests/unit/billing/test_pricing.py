from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from farebox.billing.prices.pricing import (
    MAX_OUTPUT_TOKENS,
    MediaUnits,
    affordable_output,
    can_sell,
    charge_nano,
    hold_nano,
    price_from_cost,
    receipt_lines,
    version_of,
)
from farebox.core.money import NANO
from farebox.core.rates import TOKEN_RATES, Rates, Tier, image_rate, rates_at, read_rates
from farebox.core.usage import TOKEN_CLASSES, Usage

CHAINS = {
    "input_fresh": ("input",),
    "cache_read": ("cache_read", "input"),
    "cache_write": ("cache_write", "input"),
    "cache_write_1h": ("cache_write_1h", "cache_write", "input"),
    "output_visible": ("output",),
    "output_thought": ("thought", "output"),
    "audio_in": ("audio_in", "input"),
    "audio_out": ("audio_out", "output"),
    "image_in": ("image_in", "input"),
    "image_out": ("image_out", "output"),
}

counts = st.integers(0, 3_000_000)
amounts = st.integers(0, 10**13)
some_amounts = st.none() | amounts
usages = st.builds(Usage, **dict.fromkeys(TOKEN_CLASSES, st.just(0) | counts))
media = st.builds(
    MediaUnits,
    images=st.integers(0, 10),
    image=st.sampled_from(["1024x1024", "1024x1024/hd", "9x9", ""]),
    audio_ms=st.integers(0, 10**7),
    characters=st.integers(0, 10**5),
)
tables = st.dictionaries(st.sampled_from(["", "1024x1024", "1024x1024/hd", "/hd"]), amounts).map(
    lambda table: tuple(sorted(table.items()))
)
tiers = st.lists(
    st.builds(Tier, st.integers(0, 1_000_000), **dict.fromkeys(TOKEN_RATES, some_amounts)),
    max_size=3,
    unique_by=lambda tier: tier.above_input_tokens,
).map(lambda some: tuple(sorted(some, key=lambda tier: tier.above_input_tokens)))
rates_of_any_kind = st.builds(
    Rates,
    st.just("USD"),
    **dict.fromkeys((*TOKEN_RATES, "second", "character", "request"), some_amounts),
    images=tables,
    tiers=tiers,
)


def exact(usage: Usage, rates: Rates, media: MediaUnits | None) -> Fraction:
    """The charge by the rule, without rounding and without the code under test."""
    in_force = rates_at(rates, usage.input_total)
    total = Fraction(in_force.request or 0)
    for name, chain in CHAINS.items():
        price = next((rate for up in chain if (rate := getattr(in_force, up)) is not None), 0)
        total += Fraction(getattr(usage, name) * price, 10**6)
    if media is not None:
        if not (usage.image_out and in_force.image_out is not None):
            total += media.images * (image_rate(rates, media.image) or 0)
        total += Fraction(media.audio_ms, 1000) * (rates.second or 0) + media.characters * (
            rates.character or 0
        )
    return total


def test_every_class_of_tokens_has_a_chain() -> None:
    assert set(CHAINS) == set(TOKEN_CLASSES)


@given(usages, rates_of_any_kind, st.none() | media)
def test_a_charge_is_the_exact_sum_rounded_up_once(
    usage: Usage, rates: Rates, media: MediaUnits | None
) -> None:
    assert charge_nano(usage, rates, media) == ceil(exact(usage, rates, media))


@given(usages, rates_of_any_kind, st.none() | media)
def test_the_lines_of_a_receipt_add_up_to_the_charge(
    usage: Usage, rates: Rates, media: MediaUnits | None
) -> None:
    lines = receipt_lines(usage, rates, media)
    assert sum(line.amount_femto for line in lines) == charge_nano(usage, rates, media) * 10**6
    *priced, rounding = lines
    assert rounding.unit_class == "rounding"
    assert 0 <= rounding.amount_femto < 10**6
    for line in priced:
        assert line.amount_femto * line.per == line.units * line.price_nano * 10**6


@given(usages, usages, rates_of_any_kind)
def test_more_usage_in_the_same_tier_never_costs_less(less: Usage, more: Usage, rates: Rates) -> None:
    both = Usage(**{name: getattr(less, name) + getattr(more, name) for name in TOKEN_CLASSES})
    assume(rates_at(rates, both.input_total) == rates_at(rates, less.input_total))
    assert charge_nano(both, rates) >= charge_nano(less, rates) >= 0


@given(usages, rates_of_any_kind, counts, counts, st.none() | media)
def test_no_charge_is_above_the_hold_of_its_bounds(
    usage: Usage, rates: Rates, room_in: int, room_out: int, media: MediaUnits | None
) -> None:
    held = hold_nano(usage.input_total + room_in, usage.output_total + room_out, rates, media)
    assert held >= charge_nano(usage, rates, media)


@given(counts, rates_of_any_kind, st.integers(0, 10**16))
def test_what_is_affordable_fits_and_one_token_more_does_not(
    input_tokens: int, rates: Rates, available: int
) -> None:
    tokens = affordable_output(available, input_tokens, rates)
    assert 0 <= tokens <= MAX_OUTPUT_TOKENS
    if tokens > 0:
        assert hold_nano(input_tokens, tokens, rates) <= available
    if tokens < MAX_OUTPUT_TOKENS:
        assert hold_nano(input_tokens, tokens + 1, rates) > available


@given(rates_of_any_kind, st.integers(0, 5 * NANO), st.integers(0, 200 * NANO))
def test_a_price_is_the_cost_marked_up_and_exchanged_each_rate_rounded_up_once(
    cost: Rates, markup: int, fx: int
) -> None:
    price = price_from_cost(cost, markup_nano=markup, fx_nano=fx, currency="INR")

    def sold(rate: int | None) -> int | None:
        return None if rate is None else ceil(Fraction(rate * markup * fx, NANO * NANO))

    assert price.currency == "INR"
    for name in (*TOKEN_RATES, "second", "character", "request"):
        assert getattr(price, name) == sold(getattr(cost, name))
        for tier, marked_up in zip(cost.tiers, price.tiers, strict=True):
            assert name not in TOKEN_RATES or getattr(marked_up, name) == sold(getattr(tier, name))
    assert price.images == tuple((variant, sold(rate)) for variant, rate in cost.images)
    assert [tier.above_input_tokens for tier in price.tiers] == [
        tier.above_input_tokens for tier in cost.tiers
    ]


def test_the_price_of_the_configured_example_is_as_computed_by_hand() -> None:
    cost = read_rates("USD", input="0.15", output="0.60", cache_read="0.075")
    price = price_from_cost(cost, markup_nano=1_200_000_000, fx_nano=88 * NANO, currency="INR")
    assert price == read_rates("INR", input="15.84", output="63.36", cache_read="7.92")
    # 1,000 fresh, 500 from the cache, 200 out: 0.01584 + 0.00396 + 0.012672 rupees.
    assert charge_nano(Usage(input_fresh=1000, cache_read=500, output_visible=200), price) == 32_472_000


@pytest.mark.parametrize(
    ("rates", "usage", "charge"),
    [
        (
            Rates("USD", input=10**6, output=2 * 10**6),
            Usage(cache_read=3, cache_write=4, cache_write_1h=5),
            12,
        ),
        (Rates("USD", input=10**6, cache_write=5 * 10**6), Usage(cache_write_1h=2), 10),
        (Rates("USD", input=10**6, output=2 * 10**6), Usage(audio_in=1, image_in=1), 2),
        (Rates("USD", input=10**6, output=2 * 10**6), Usage(output_thought=3, audio_out=4, image_out=5), 24),
        (Rates("USD", input=10**6, output=2 * 10**6, thought=0), Usage(output_thought=3), 0),
        (Rates("USD", input=1, output=1), Usage(input_fresh=1, output_visible=1), 1),
        (Rates("USD", input=1, output=1, request=7), Usage(), 7),
        (
            Rates("USD", input=10**6, tiers=(Tier(200_000, input=2 * 10**6),)),
            Usage(input_fresh=200_000),
            200_000,
        ),
        (
            Rates("USD", input=10**6, tiers=(Tier(200_000, input=2 * 10**6),)),
            Usage(cache_read=200_001),
            400_002,
        ),
    ],
)
def test_an_unpriced_class_falls_back_towards_the_whole(rates: Rates, usage: Usage, charge: int) -> None:
    assert charge_nano(usage, rates) == charge


def test_images_are_charged_by_their_tokens_where_there_are_any_and_else_by_the_piece() -> None:
    rates = Rates("USD", input=0, image_out=10**6, images=(("", 500),))
    asked = MediaUnits(images=2, image="1024x1024/hd")
    assert charge_nano(Usage(image_out=300), rates, asked) == 300
    assert charge_nano(Usage(), rates, asked) == 1000


def test_audio_is_charged_to_the_millisecond_and_speech_to_the_character() -> None:
    rates = read_rates("USD", second="0.0001", character="0.000015")
    assert charge_nano(Usage(), rates, MediaUnits(audio_ms=4_901)) == 490_100
    assert charge_nano(Usage(), rates, MediaUnits(characters=11)) == 165_000
    assert charge_nano(Usage(), Rates("USD", second=1), MediaUnits(audio_ms=1)) == 1


def test_prices_known_from_the_makers_pages_come_out_to_the_nano_dollar() -> None:
    sonnet = read_rates("USD", input="3", output="15", cache_read="0.30", cache_write="3.75")
    used = Usage(input_fresh=300, cache_read=400, cache_write=300, output_visible=200)
    assert charge_nano(used, sonnet) == 5_145_000
    gpt_5 = read_rates("USD", input="1.25", output="10", cache_read="0.125")
    assert charge_nano(Usage(input_fresh=600, cache_read=400, output_visible=200), gpt_5) == 2_800_000


def test_free_output_is_affordable_without_end() -> None:
    assert affordable_output(0, 100, Rates("USD", input=0, output=0)) == MAX_OUTPUT_TOKENS
    assert affordable_output(0, 100, Rates("USD", input=1, output=0)) == 0


def test_a_version_is_named_by_its_content() -> None:
    rates = read_rates("USD", input="1", output="2")
    version = version_of("price", "openai/gpt-4o", rates)
    assert version == version_of("price", "openai/gpt-4o", read_rates("USD", output="2", input="1"))
    assert len(version.id) == 16
    assert int(version.id, 16) >= 0
    others: list[Any] = [
        version_of("cost", "openai/gpt-4o", rates),
        version_of("price", "openai/gpt-4o-mini", rates),
        version_of("price", "openai/gpt-4o", read_rates("USD", input="1", output="2.1")),
        version_of("price", "openai/gpt-4o", read_rates("INR", input="1", output="2")),
    ]
    assert len({version.id, *(other.id for other in others)}) == 5


def test_a_version_keeps_its_name_from_release_to_release() -> None:
    rates = read_rates("USD", input="1", output="2", tiers=[{"above_input_tokens": 10, "input": "2"}])
    assert version_of("price", "openai/gpt-4o", rates).id == "824fb22ee722e6a8"


def test_pricing_sells_what_the_catalogue_lists() -> None:
    assert can_sell("chat", Rates("USD", input=0, output=0))
    assert not can_sell("image", Rates("USD", input=0, output=0))
