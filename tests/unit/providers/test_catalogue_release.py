"""The data that a release brings along."""

from __future__ import annotations

from importlib.resources import files

import pytest

from farebox.billing.prices.pricing import charge_nano
from farebox.core.rates import KINDS, read_rates, sellable
from farebox.core.usage import Usage
from farebox.providers.catalogue import build_catalogue, with_resellers
from farebox.providers.listing import load_release, maker_of, write_listings
from farebox.providers.quirks import QUIRKS
from farebox.providers.rows import load_providers

RELEASE = load_release()
SANDBOX = build_catalogue(RELEASE, (), (), sandbox=True)
# Its URL holds the operator's account, so there is no row of it; its routes wait for a provider configured so.
WITHOUT_A_ROW = {"cloudflare"}
# Providers whose row speaks their own language.
NATIVE = {"openai-responses", "anthropic", "google"}


def test_there_are_at_least_a_thousand_models_and_every_one_can_be_sold() -> None:
    assert len(SANDBOX.listings) == len(RELEASE) >= 1_000
    assert {listing.kind for listing in RELEASE} == set(KINDS)
    for listing in RELEASE:
        assert listing.cost is not None, listing.id
        assert sellable(listing.kind, listing.cost), listing.id


def test_the_file_is_written_as_the_import_writes_it() -> None:
    assert (files("farebox.providers") / "release" / "models.json").read_bytes() == write_listings(RELEASE)
    ids = [listing.id for listing in RELEASE]
    assert ids == sorted(set(ids))


def test_every_row_says_who_made_it_and_what_people_call_it() -> None:
    for listing in RELEASE:
        assert listing.owner == maker_of(listing.id) != "", listing.id
        assert listing.name, listing.id
        assert listing.id == listing.id.lower()


def test_the_whole_release_costs_dollars_so_that_it_starts_without_an_exchange_rate() -> None:
    costs = [
        cost for listing in RELEASE for cost in (listing.cost, *(way.cost for way in listing.routes)) if cost
    ]
    assert {cost.currency for cost in costs} == {"USD"}


def test_no_model_is_free_and_none_has_an_absurd_rate() -> None:
    for listing in RELEASE:
        cost = listing.cost
        assert cost is not None
        units = [cost.input, cost.output, cost.second, cost.character, cost.image_out]
        rates = [rate for rate in (*units, *(rate for _, rate in cost.images)) if rate is not None]
        assert max(rates) > 0, listing.id
        assert max(rates) <= 1_000 * 10**9, listing.id


def test_what_a_chat_model_may_answer_is_known_and_fits_its_context() -> None:
    for listing in RELEASE:
        if listing.kind == "chat":
            assert listing.max_output is not None, listing.id
            assert 0 < listing.max_output <= (listing.context_window or listing.max_output), listing.id


def test_no_name_of_a_listing_finds_another_makers_model() -> None:
    for listing in RELEASE:
        found = SANDBOX.find(listing.id)
        assert found is not None
        assert found.id == listing.id
        for alias in listing.aliases:
            under = SANDBOX.find(alias if "/" in alias else f"{listing.owner}/{alias}")
            assert under is not None, alias
            assert under.owner == listing.owner, alias


@pytest.mark.parametrize(
    ("name", "id_", "kind"),
    [
        ("openai/gpt-4o-mini", "openai/gpt-4o-mini", "chat"),
        ("gpt-4o-mini", "openai/gpt-4o-mini", "chat"),
        ("gpt-4o", "openai/gpt-4o", "chat"),
        ("anthropic/claude-sonnet-4.6", "anthropic/claude-sonnet-4.6", "chat"),
        ("claude-sonnet-4-6", "anthropic/claude-sonnet-4.6", "chat"),
        ("claude-sonnet-4-20250514", "anthropic/claude-sonnet-4-20250514", "chat"),
        ("gemini-2.5-pro", "google/gemini-2.5-pro", "chat"),
        ("gemini-2.5-flash", "google/gemini-2.5-flash", "chat"),
        ("gpt-5.4-mini", "openai/gpt-5.4-mini", "chat"),
        ("gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini-2024-07-18", "chat"),
        ("sao10k/l3.3-euryale-70b", "sao10k/l3.3-euryale-70b", "chat"),
        ("deepseek-chat", "deepseek/deepseek-chat", "chat"),
        ("gpt-oss-120b", "openai/gpt-oss-120b", "chat"),
        ("dall-e-3", "openai/dall-e-3", "image"),
        ("dall-e-2", "openai/dall-e-2", "image"),
        ("stable-diffusion-xl", "stabilityai/stable-diffusion-xl-base-1.0", "image"),
        ("openai/tts-1", "openai/tts-1", "speech"),
        ("openai/tts-1-hd", "openai/tts-1-hd", "speech"),
        ("sarvam/bulbul-v2", "sarvam/bulbul-v2", "speech"),
        ("openai/whisper-1", "openai/whisper-1", "transcription"),
        ("sarvam/saarika-v2", "sarvam/saarika-v2", "transcription"),
        ("openai/text-embedding-3-small", "openai/text-embedding-3-small", "embedding"),
    ],
)
def test_the_names_that_clients_use_are_there(name: str, id_: str, kind: str) -> None:
    found = SANDBOX.find(name)
    assert found is not None
    assert (found.id, found.kind) == (id_, kind)


def test_well_known_rows_are_as_their_makers_say() -> None:
    rows = {listing.id: listing for listing in RELEASE}
    mini = rows["openai/gpt-4o-mini"]
    assert (mini.name, mini.context_window, mini.max_output) == ("GPT-4o Mini", 128_000, 16_384)
    assert mini.cost == read_rates("USD", input="0.15", output="0.60", cache_read="0.075")
    sonnet = rows["anthropic/claude-sonnet-4.6"].cost
    assert sonnet == read_rates(
        "USD", input="3", output="15", cache_read="0.3", cache_write="3.75", cache_write_1h="6"
    )
    assert rows["openai/whisper-1"].cost == read_rates("USD", second="0.0001")
    assert rows["openai/tts-1"].cost == read_rates("USD", character="0.000015")


def test_long_contexts_cost_what_their_tier_says() -> None:
    cost = next(listing.cost for listing in RELEASE if listing.id == "google/gemini-2.5-pro")
    assert cost is not None
    assert charge_nano(Usage(input_fresh=200_000), cost) == 250_000_000
    assert charge_nano(Usage(input_fresh=300_000), cost) == 750_000_000


def test_nothing_is_routed_to_a_provider_that_has_no_row() -> None:
    known = {row.name for row in load_providers()}
    used = {way.provider for listing in RELEASE for way in listing.routes}
    used |= {listing.owner for listing in RELEASE if not listing.routes}
    assert used - known == WITHOUT_A_ROW


def test_a_key_of_one_provider_is_enough_to_sell_its_models() -> None:
    for row in load_providers():
        if row.local:
            continue
        release = with_resellers(RELEASE, [row])
        listings = build_catalogue(release, (), (row.name,), sandbox=False).listings
        assert listings, row.name
        assert {way.provider for listing in listings for way in listing.routes} == {row.name}


def test_provider_rows_are_complete() -> None:
    rows = load_providers()
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert not row.base_url.endswith("/")
        assert (row.dialect == "openai_chat") == (row.name not in NATIVE)
        assert row.resells is None or row.resells in {other.name for other in rows}
        assert {quirk.name for quirk in row.quirks} <= set(QUIRKS)
        assert (row.key_variable is None) == row.local == (row.port is not None)
        if row.local:
            assert row.base_url == f"http://127.0.0.1:{row.port}/v1"
        else:
            assert row.base_url.startswith("https://")
    assert {row.port for row in rows if row.local} == {11434, 8080, 8000, 1234}
