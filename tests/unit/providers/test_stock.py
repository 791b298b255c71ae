"""What a deployment can reach: rows of a file and of the release, by their own words and their dialects'."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farebox.app.office import load_settings
from farebox.app.stock import Found, Stock, take_stock
from farebox.config.origin import ConfigError
from farebox.dialects import DIALECTS
from farebox.gateway.call import Provider
from farebox.providers.discovery import discover_by_key
from farebox.providers.rows import load_providers


def stock_of(folder: Path, text: str) -> Stock:
    """What a farebox.toml gives."""
    file = folder / "farebox.toml"
    file.write_text(text)
    return _closed(take_stock(load_settings(file, {}), Found(), {}))


def found_by(**environment: str) -> Stock:
    """What a start without a file finds in the environment."""
    keys = discover_by_key(environment, load_providers())
    return _closed(take_stock(load_settings(None, {}), Found(keys), {}))


def _closed(stock: Stock) -> Stock:
    async def close() -> None:
        for upstream in stock.upstreams:
            await upstream.close()

    asyncio.run(close())
    return stock


def row(name: str, *lines: str) -> str:
    return "\n".join(["[[providers]]", f'name = "{name}"', 'base_url = "http://127.0.0.1:9/v1"', *lines, ""])


def names_of(provider: Provider) -> list[str]:
    return [quirk.name for quirk in provider.quirks]


MODEL = """
[[models]]
id = "acme/one"
cost = { currency = "USD", input = "1", output = "2" }
routes = [ { provider = "acme", model = "one-upstream" } ]
"""


def test_a_compatible_provider_is_a_row_and_nothing_else(tmp_path: Path) -> None:
    stock = stock_of(tmp_path, row("acme", 'api_key = "k"') + MODEL)
    acme = stock.providers["acme"]
    assert (acme.dialect.name, acme.endpoint.auth_header) == ("openai_chat", "authorization")
    assert (acme.quirks, acme.takes_marks, acme.stream_usage) == ((), False, True)
    found = stock.catalogue.find("acme/one")
    assert found is not None
    assert [(way.provider, way.model) for way in found.routes] == [("acme", "one-upstream")]


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_row_of_any_dialect_wants_its_key_where_that_dialect_has_it(tmp_path: Path, name: str) -> None:
    text = (
        row("acme", f'dialect = "{name}"')
        + row("other", f'dialect = "{name}"', 'auth_header = "X-Own"')
        + MODEL
    )
    stock = stock_of(tmp_path, text)
    assert stock.providers["acme"].endpoint.auth_header == DIALECTS[name].auth_header
    assert stock.providers["other"].endpoint.auth_header == "x-own"


def test_a_row_of_a_known_name_brings_its_quirks_unless_others_are_named(tmp_path: Path) -> None:
    text = (
        row("mistral")
        + row("deepseek", 'quirks = ["random_seed"]')
        + row("groq", "quirks = []")
        + row("openrouter")
    )
    stock = stock_of(tmp_path, text)
    assert names_of(stock.providers["mistral"]) == ["max_tokens", "random_seed", "no_store"]
    assert names_of(stock.providers["deepseek"]) == ["random_seed"]
    assert names_of(stock.providers["groq"]) == []
    assert stock.providers["openrouter"].takes_marks
    assert not stock.providers["mistral"].takes_marks


def test_marks_may_be_switched_by_the_operator(tmp_path: Path) -> None:
    text = row("openrouter", "cache_marks = false") + row("acme", "cache_marks = true")
    stock = stock_of(tmp_path, text + MODEL)
    assert (stock.providers["openrouter"].takes_marks, stock.providers["acme"].takes_marks) == (False, True)


def test_a_quirk_that_there_is_not_stops_the_start_and_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"farebox\.toml:4: providers\[0\]\.quirks\[1\]: 'max_token': no such quirk"
    ):
        stock_of(tmp_path, row("acme", 'quirks = ["max_tokens", "max_token"]') + MODEL)


def test_one_key_finds_every_row_that_reads_it() -> None:
    stock = found_by(OPENAI_API_KEY="sk-1")
    assert set(stock.providers) == {"openai", "openai-responses"}
    assert {one.endpoint.api_key for one in stock.providers.values()} == {"sk-1"}
    codex = stock.catalogue.find("gpt-5.2-codex")
    assert codex is not None
    assert [way.provider for way in codex.routes] == ["openai-responses"]
    assert stock.providers["openai-responses"].dialect is DIALECTS["openai_responses"]


def test_a_reseller_is_the_last_way_to_its_makers_models_at_their_cost() -> None:
    azure = {"AZURE_OPENAI_API_KEY": "a", "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com"}
    alone, beside = found_by(**azure), found_by(**azure, OPENAI_API_KEY="b")
    endpoint = alone.providers["azure"].endpoint
    assert (endpoint.base_url, endpoint.auth_header) == ("https://mine.openai.azure.com/openai/v1", "api-key")
    mini, both = alone.catalogue.find("gpt-4o-mini"), beside.catalogue.find("gpt-4o-mini")
    assert mini is not None
    assert both is not None
    assert [(way.provider, way.model) for way in mini.routes] == [("azure", "gpt-4o-mini")]
    assert [way.provider for way in both.routes] == ["openai", "azure"]
    assert mini.cost == both.cost
    assert alone.catalogue.find("claude-opus-4-8") is None
