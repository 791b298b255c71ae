"""The margin guard's arithmetic: what is too low is found in every class and tier, and raised just enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.prices.margin import Shortfall, floor_of, raised, shortfalls
from farebox.billing.prices.pricing import charge_nano
from farebox.core.money import NANO
from farebox.core.rates import TOKEN_RATES, Rates, Tier
from farebox.core.usage import Usage

_amount = st.none() | st.integers(0, 30)
_tokens = st.fixed_dictionaries(dict.fromkeys(TOKEN_RATES, _amount))
_usages = st.builds(Usage, **{name: st.integers(0, 40) for name in Usage.__struct_fields__})


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    """Rates of a chat model: input and output always, the rest perhaps, in up to two tiers more."""
    base = draw(_tokens) | {"input": draw(st.integers(0, 30)), "output": draw(st.integers(0, 30))}
    thresholds = sorted(draw(st.sets(st.sampled_from([20, 60, 100]), max_size=2)))
    tiers = tuple(Tier(above, **draw(_tokens)) for above in thresholds)
    images = draw(st.dictionaries(st.sampled_from(["", "a", "a/hd", "/hd"]), st.integers(0, 9), max_size=2))
    request = draw(_amount)
    return Rates("USD", request=request, images=tuple(sorted(images.items())), tiers=tiers, **base)


@given(rates(), rates())
def test_a_raised_price_is_nowhere_too_low_and_nowhere_lower_than_before(price: Rates, floor: Rates) -> None:
    new = raised(price, [floor])
    assert not list(shortfalls(new, floor))
    assert not list(shortfalls(new, price))


@given(rates(), rates(), _usages)
def test_a_raised_price_charges_the_dearer_of_the_two_at_least_and_no_class_more(
    price: Rates, floor: Rates, usage: Usage
) -> None:
    new = raised(price, [floor])
    assert charge_nano(usage, new) >= max(charge_nano(usage, price), charge_nano(usage, floor))
    assert raised(new, [floor]) == new
    for name in Usage.__struct_fields__:  # Of one class alone it is exactly the dearer one.
        alone = Usage(**{name: getattr(usage, name) * 1_000_000})
        without = [charge_nano(alone, one) - (one.request or 0) for one in (new, price, floor)]
        assert without[0] == max(without[1:])


@given(rates(), _usages)
def test_a_price_with_no_shortfall_never_charges_below_its_floor(cost: Rates, usage: Usage) -> None:
    price = floor_of(cost, factor_nano=1_200_000_000, fx_nano=NANO, currency="USD")
    floor = floor_of(cost, factor_nano=NANO, fx_nano=NANO, currency="USD")
    assert not list(shortfalls(price, floor))
    assert charge_nano(usage, price) >= charge_nano(usage, floor)


def test_a_price_at_its_floor_is_not_too_low() -> None:
    same = Rates("USD", input=5, output=9)
    assert not list(shortfalls(same, same))
    assert raised(same, [same]) is same


def test_free_on_purpose_is_fine_where_it_costs_nothing() -> None:
    free = Rates("USD", input=0, output=0)
    assert not list(shortfalls(free, free))
    assert list(shortfalls(free, Rates("USD", input=1, output=0))) == [Shortfall("input", 0, 0, 1)] + [
        Shortfall(name, 0, 0, 1)
        for name in ("cache_read", "cache_write", "cache_write_1h", "audio_in", "image_in")
    ]


def test_a_class_that_only_the_cost_prices_dearly_is_found_by_what_it_falls_back_to() -> None:
    price = Rates("USD", input=10, output=20)
    cost = Rates("USD", input=8, output=16, cache_write=12)
    assert [short.unit_class for short in shortfalls(price, cost)] == ["cache_write", "cache_write_1h"]
    new = raised(price, [cost])
    assert (new.input, new.output, new.cache_write) == (10, 20, 12)


def test_a_dear_tier_of_the_cost_is_found_and_made_one_of_the_price() -> None:
    price = Rates("USD", input=10, output=20)
    cost = Rates("USD", input=5, output=10, tiers=(Tier(200_000, input=15),))
    assert next((short.unit_class, short.above) for short in shortfalls(price, cost)) == ("input", 200_000)
    assert raised(price, [cost]).tiers == (Tier(200_000, input=15, output=20),)


def test_a_request_without_a_price_is_free_and_so_too_low() -> None:
    cost = Rates("USD", input=1, output=1, request=3)
    assert list(shortfalls(Rates("USD", input=1, output=1), cost)) == [Shortfall("request", 0, 0, 3)]
    assert raised(Rates("USD", input=1, output=1), [cost]).request == 3


def test_images_are_compared_by_variant() -> None:
    price = Rates("USD", images=(("", 4), ("1024x1024/hd", 8)))
    cost = Rates("USD", images=(("", 3), ("512x512", 5)))
    assert [short.unit_class for short in shortfalls(price, cost)] == ["image 512x512"]
    assert dict(raised(price, [cost]).images) == {"": 4, "1024x1024/hd": 8, "512x512": 5}


def test_of_several_floors_the_dearest_counts() -> None:
    floors = [Rates("USD", input=amount, output=1) for amount in (3, 9, 6)]
    assert raised(Rates("USD", input=1, output=1), floors).input == 9
