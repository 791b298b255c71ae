from __future__ import annotations

import sys
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from farebox.core.rates import Rates
from farebox.providers.catalogue_import import import_catalogue
from farebox.providers.listing import Listing, read_listings
from farebox.providers.price_list import NoPriceListError, Sold, read_price_list

RELEASED_ON = date(2026, 11, 21)  # The day of the prices in release/models.json.


@pytest.fixture(scope="module")
def price_list() -> dict[tuple[str, str], Sold]:
    return {(one.provider, one.model): one for one in read_price_list(RELEASED_ON)}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Listing]:
    target = tmp_path_factory.mktemp("import") / "models.json"
    import_catalogue(target, RELEASED_ON)
    return {listing.id: listing for listing in read_listings(target.read_bytes())}


def test_the_release_is_what_the_import_writes_and_nobody_edited_it(tmp_path: Path) -> None:
    target = tmp_path / "models.json"
    report = import_catalogue(target, RELEASED_ON)
    assert target.read_bytes() == (files("farebox.providers") / "release" / "models.json").read_bytes()
    assert report.models == report.priced == sum(report.kinds.values()) >= 1_000
    assert all(report.skipped.values())


def test_without_the_development_dependency_the_import_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "genai_prices.data", None
    )  # How Python marks a module that cannot be imported.
    with pytest.raises(NoPriceListError, match="genai-prices"):
        import_catalogue(tmp_path / "models.json", RELEASED_ON)
    assert not (tmp_path / "models.json").exists()


def test_prices_are_those_in_force_on_the_day() -> None:
    def o3(on: date) -> Rates | None:
        return next(one.cost for one in read_price_list(on) if (one.provider, one.model) == ("openai", "o3"))

    before, after = o3(date(2025, 6, 9)), o3(date(2025, 6, 10))
    assert before is not None
    assert after is not None
    assert (before.input, after.input) == (10 * 10**9, 2 * 10**9)


def test_of_prices_by_the_clock_the_dearest_is_taken(price_list: dict[tuple[str, str], Sold]) -> None:
    cost = price_list["deepseek", "deepseek-chat"].cost
    assert cost is not None
    assert (cost.input, cost.output) == (270_000_000, 1_100_000_000)


def test_prices_by_the_hour_and_the_million_characters_become_prices_each(
    price_list: dict[tuple[str, str], Sold],
) -> None:
    assert price_list["openai", "whisper-1"].cost == Rates("USD", second=100_000)
    assert price_list["groq", "whisper-large-v3"].cost == Rates(
        "USD", second=30_834
    )  # $0.111 an hour, rounded up.
    assert price_list["openai", "tts-1"].cost == Rates("USD", character=15_000)


def test_a_request_fee_is_taken_over(price_list: dict[tuple[str, str], Sold]) -> None:
    cost = price_list["perplexity", "sonar"].cost
    assert cost is not None
    assert cost.request == 12_000_000


def test_what_is_billed_in_units_that_we_do_not_meter_is_left_with_the_reason(
    price_list: dict[tuple[str, str], Sold],
) -> None:
    ocr = price_list["mistral", "mistral-ocr-2512"]
    assert ocr.cost is None
    assert ocr.unmetered is not None
    assert "input_document_kpages" in ocr.unmetered


def test_nobody_who_asks_for_one_model_gets_another_that_costs_the_same(imported: dict[str, Listing]) -> None:
    assert imported["openai/gpt-5-chat-latest"].routes == ()  # Its own name at its own maker.
    assert imported["openai/gpt-4o-2024-08-06"].routes == ()
    assert "openai/gpt-4o-mini-search-preview" not in imported


def test_a_model_that_several_sell_has_its_maker_first_and_the_aggregator_last(
    imported: dict[str, Listing],
) -> None:
    gpt_4o = imported["openai/gpt-4o"]
    assert [way.provider for way in gpt_4o.routes] == ["openai", "openrouter"]
    oss = imported["openai/gpt-oss-120b"]
    assert oss.routes[0].provider == "groq"
    assert oss.routes[-1].provider == "openrouter"
    assert oss.routes[-1].cost is not None
    assert oss.routes[-1].cost != oss.cost
    for listing in imported.values():
        orders = [way.order for way in listing.routes]
        assert orders == sorted(set(orders)), listing.id


def test_hosts_with_another_spelling_are_found_again(imported: dict[str, Listing]) -> None:
    routes = {way.provider: way.model for way in imported["deepseek/deepseek-v3.2"].routes}
    assert routes["fireworks"] == "accounts/fireworks/models/deepseek-v3p2"
    assert "fireworks/deepseek-v3.2" not in imported


@pytest.mark.parametrize("end", [":free", ":batch", ":extended", ":thinking", ".ft-"])
def test_variants_are_not_taken_over(imported: dict[str, Listing], end: str) -> None:
    assert [id_ for id_ in imported if id_.endswith(end)] == []


def test_an_image_model_never_bills_its_images_at_the_rate_of_text(imported: dict[str, Listing]) -> None:
    for listing in imported.values():
        if listing.kind == "image":
            assert listing.cost is not None
            assert listing.cost.images or listing.cost.image_out, listing.id


def test_deprecated_models_are_marked(imported: dict[str, Listing]) -> None:
    assert imported["openai/gpt-3.5-turbo"].deprecated
    assert imported["google/gemini-2.0-flash"].deprecated
    assert not imported["openai/gpt-4o"].deprecated


@pytest.mark.parametrize(
    "id_",
    [
        "openai/gpt-5-codex",
        "openai/gpt-5.2-pro",
        "openai/o1-pro",
        "openai/o3-pro",
        "openai/codex-mini-latest",
    ],
)
def test_what_openai_sells_through_responses_alone_goes_there(imported: dict[str, Listing], id_: str) -> None:
    assert imported[id_].routes[0].provider == "openai-responses"
    assert imported[id_].routes[0].model == id_.removeprefix("openai/")
    assert "openai" not in {way.provider for way in imported[id_].routes}


def test_nothing_else_goes_there(imported: dict[str, Listing]) -> None:
    ids = {id_ for id_, one in imported.items() for way in one.routes if way.provider == "openai-responses"}
    assert all("codex" in id_ or "-pro" in id_ for id_ in ids)
