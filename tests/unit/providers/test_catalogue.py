from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.rates import Rates
from farebox.providers.catalogue import build_catalogue
from farebox.providers.listing import Listing, RouteRow

COST = Rates("USD", input=1, output=2)
DEARER = Rates("USD", input=3, output=4)


def chat(id_: str, *routes: RouteRow, aliases: tuple[str, ...] = (), cost: Rates | None = COST) -> Listing:
    return Listing(id_, "chat", aliases=aliases, cost=cost, routes=routes)


RELEASE = (
    chat("openai/gpt-4o"),
    chat("openai/gpt-4o-2024-11-20"),
    chat("openai/gpt-4o-mini", aliases=("gpt-4o-mini-2024-07-18", "openai/small")),
    chat(
        "anthropic/claude-sonnet-4.6",
        RouteRow("anthropic", "claude-sonnet-4-6"),
        RouteRow("openrouter", "x", 99),
    ),
    chat(
        "openai/gpt-oss-20b",
        RouteRow("groq", "openai/gpt-oss-20b", 2),
        RouteRow("cerebras", "gpt-oss-20b", 3),
    ),
    chat("aaa/gpt-4o", RouteRow("openrouter", "aaa/gpt-4o", 99)),
    chat("nobody/weird:floor", RouteRow("openrouter", "nobody/weird:floor", 99)),
)
ALL = ("openai", "anthropic", "openrouter", "groq", "cerebras")


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("gpt-4o", "openai/gpt-4o"),
        ("GPT-4o", "openai/gpt-4o"),
        ("gpt-4o-2024-11-20", "openai/gpt-4o-2024-11-20"),
        ("gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("openai/gpt-4o-20240806", "openai/gpt-4o"),
        ("gpt-4o-latest", "openai/gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini"),
        ("openai/gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini"),
        ("small", "openai/gpt-4o-mini"),
        ("openai/small", "openai/gpt-4o-mini"),
        ("anthropic/claude-sonnet-4.6", "anthropic/claude-sonnet-4.6"),
        ("claude-sonnet-4.6", "anthropic/claude-sonnet-4.6"),
        ("claude-sonnet-4-6", "anthropic/claude-sonnet-4.6"),
        ("anthropic/claude-sonnet-4-6-20260101", "anthropic/claude-sonnet-4.6"),
        ("claude-sonnet-4-6@20260101", "anthropic/claude-sonnet-4.6"),
        ("aaa/gpt-4o", "aaa/gpt-4o"),
        ("gpt-4o:floor", "openai/gpt-4o"),
        ("openai/gpt-4o:nitro", "openai/gpt-4o"),
        ("gpt-4o-2024-08-06:nitro", "openai/gpt-4o"),
        ("nobody/weird:floor", "nobody/weird:floor"),
        ("weird:floor", "nobody/weird:floor"),
    ],
)
def test_a_name_finds_its_listing(name: str, id_: str) -> None:
    found = build_catalogue(RELEASE, (), ALL, sandbox=False).find(name)
    assert found is not None
    assert found.id == id_


@pytest.mark.parametrize(
    "name", ["", "/", ":floor", "gpt", "openai/", "gpt-4o:free", "anthropic/gpt-4o", "floor", "weird"]
)
def test_what_no_listing_is_called_is_not_found(name: str) -> None:
    assert build_catalogue(RELEASE, (), ALL, sandbox=False).find(name) is None


@given(st.permutations(RELEASE))
def test_a_shared_bare_name_is_the_makers_in_whatever_order_the_rows_come(rows: list[Listing]) -> None:
    found = build_catalogue(rows, (), ALL, sandbox=False).find("gpt-4o")
    assert found is not None
    assert found.id == "openai/gpt-4o"


def test_the_makers_name_stays_its_own_in_the_sandbox() -> None:
    found = build_catalogue(RELEASE, (), (), sandbox=True).find("gpt-4o")
    assert found is not None
    assert found.id == "openai/gpt-4o"


def test_a_model_goes_to_the_provider_called_as_its_maker_unless_it_says_otherwise() -> None:
    found = build_catalogue(RELEASE, (), ALL, sandbox=False).find("gpt-4o")
    assert found is not None
    assert found.routes == (RouteRow("openai", "gpt-4o"),)


def test_only_models_with_a_usable_route_are_listed_and_only_usable_routes_remain() -> None:
    catalogue = build_catalogue(RELEASE, (), ("openrouter", "cerebras"), sandbox=False)
    assert [listing.id for listing in catalogue.listings] == [
        "aaa/gpt-4o",
        "anthropic/claude-sonnet-4.6",
        "nobody/weird:floor",
        "openai/gpt-oss-20b",
    ]
    assert [listing.routes[0].provider for listing in catalogue.listings[1:4:2]] == ["openrouter", "cerebras"]
    assert len(catalogue.listings[1].routes) == 1


def test_the_sandbox_answers_for_every_listing_and_alone() -> None:
    catalogue = build_catalogue(RELEASE, (), ALL, sandbox=True)
    assert len(catalogue.listings) == len(RELEASE)
    for listing in catalogue.listings:
        assert listing.routes == (RouteRow("sandbox", listing.id),)


def test_without_providers_and_without_the_sandbox_nothing_is_for_sale() -> None:
    assert build_catalogue(RELEASE, (), (), sandbox=False).listings == ()


def test_a_configured_row_replaces_the_releases_whole_row() -> None:
    mine = chat("openai/gpt-4o", RouteRow("mine", "gpt-4o"), cost=DEARER)
    found = build_catalogue(RELEASE, (mine,), (*ALL, "mine"), sandbox=False).find("gpt-4o")
    assert found is not None
    assert (found.cost, found.routes) == (DEARER, mine.routes)


def test_a_configured_bare_id_takes_its_first_routes_provider_as_owner() -> None:
    mine = chat("llama", RouteRow("ollama", "llama3.2:3b"))
    found = build_catalogue((), (mine,), ("ollama",), sandbox=False).find("llama")
    assert found is not None
    assert (found.owner, found.name) == ("ollama", "llama")


def test_listings_are_sorted_by_id() -> None:
    ids = [listing.id for listing in build_catalogue(RELEASE, (), ALL, sandbox=False).listings]
    assert ids == sorted(ids)


def test_what_has_no_price_for_its_kind_is_not_for_sale() -> None:
    rows = (
        Listing("openai/free-by-mistake", "chat"),
        Listing("openai/no-output", "chat", cost=Rates("USD", input=1)),
        Listing("openai/picture", "image", cost=COST),
        Listing("openai/free-on-purpose", "chat", cost=Rates("USD", input=0, output=0)),
        Listing("openai/priced-by-hand", "chat", price=COST),
    )
    catalogue = build_catalogue(rows, (), ALL, sandbox=False)
    assert [listing.id for listing in catalogue.listings] == [
        "openai/free-on-purpose",
        "openai/priced-by-hand",
    ]


def test_routes_go_by_order_and_the_listing_costs_what_its_first_one_does() -> None:
    row = chat("m/x", RouteRow("b", "x", 2, cost=DEARER), RouteRow("a", "x", 1), RouteRow("c", "x", 3))
    found = build_catalogue((row,), (), ("a", "b", "c"), sandbox=False).find("x")
    assert found is not None
    assert found.cost == COST
    assert [(way.provider, way.cost or found.cost) for way in found.routes] == [
        ("a", COST),
        ("b", DEARER),
        ("c", COST),
    ]


def test_without_its_first_route_a_listing_costs_what_the_next_one_does_and_no_other_route_changes() -> None:
    row = chat("m/x", RouteRow("b", "x", 2, cost=DEARER), RouteRow("a", "x", 1), RouteRow("c", "x", 3))
    found = build_catalogue((row,), (), ("b", "c"), sandbox=False).find("x")
    assert found is not None
    assert found.cost == DEARER
    assert [(way.provider, way.cost or found.cost) for way in found.routes] == [("b", DEARER), ("c", COST)]


def test_a_listing_may_cost_only_by_its_routes() -> None:
    row = chat("m/x", RouteRow("a", "x", cost=DEARER), cost=None)
    found = build_catalogue((row,), (), ("a",), sandbox=False).find("x")
    assert found is not None
    assert found.cost == DEARER
