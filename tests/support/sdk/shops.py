"""Gateways for the official clients: one over the sandbox, one over a scripted Claude; and how a client is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.books import assert_balanced, holds
from tests.support.process import new_key, up
from tests.support.sdk import claude

ROOT = Path(__file__).parents[3]
_MODEL = "anthropic/claude-scripted"
_CLAUDE = """
[[providers]]
name = "claude"
base_url = "{base_url}"
api_key = "sk-upstream-secret"
dialect = "anthropic"
[[models]]
id = "{model}"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "0.5", output = "1" }}
price = {{ currency = "USD", input = "1", output = "2" }}
routes = [{{ provider = "claude", model = "claude-scripted" }}]
"""


class Shop(NamedTuple):
    """A running gateway, and what the model behind it is known to answer."""

    url: str
    key: str
    data: Path
    config: Path | None
    model: str
    city: str  # What it asks the weather of.
    country: Mapping[str, object]
    tokens: tuple[int, int] | None  # Of every prompt and answer; None where they differ from call to call.


@contextmanager
def open_sandbox(folder: Path) -> Iterator[Shop]:
    """A gateway with no provider: whatever is asked, what is behind it speaks OpenAI's chat completions."""
    data = folder / "data"
    with up(data) as farebox:
        key = new_key(data, "acme", "--plan", "enterprise", "--credit", "10")
        country = {"capital": "sandbox", "population": 0, "languages": []}
        yield Shop(farebox.url, key, data, None, "openai/gpt-4o-mini", "sandbox", country, None)
        check_books(data, None)


@contextmanager
def open_claude(folder: Path) -> Iterator[Shop]:
    """A gateway with one provider, who speaks Anthropic's messages alone."""
    config, data = folder / "farebox.toml", folder / "data"
    with claude.serve_claude() as upstream:
        config.write_text(_CLAUDE.format(base_url=upstream.url, model=_MODEL))
        with up(data, config=config) as farebox:
            key = new_key(data, "acme", "--plan", "enterprise", "--credit", "10", config=config)
            yield Shop(farebox.url, key, data, config, _MODEL, claude.CITY, claude.COUNTRY, claude.TOKENS)
            check_books(data, config)


def check_books(data: Path, config: Path | None) -> None:
    """When all have called, no hold stands and the books balance."""
    assert holds(data) == {}
    assert_balanced(data, config)


def python(client: str, *, alone_with: str | None = None) -> tuple[str, ...]:
    """The command that runs a client of this folder; `alone_with` sees that folder of .venv and no other package."""
    if alone_with is None:
        return (sys.executable, "-m", f"tests.support.sdk.{client}")
    packages = Path(sys.prefix) / alone_with
    assert packages.is_dir(), f"{packages} is not there: `make test` installs it"
    begin = f"import sys; sys.path.insert(1, {str(packages)!r}); import runpy; "
    return (
        sys.executable,
        "-S",
        "-c",
        f"{begin}runpy.run_module('tests.support.sdk.{client}', None, '__main__')",
    )


def run(command: tuple[str, ...], shop: Shop, form: str, home: Path) -> Any:
    """What a client says it saw. Its environment is bare: no other key, proxy or setting reaches it."""
    done = subprocess.run(
        [*command, shop.url, shop.key, shop.model, form],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*", "no_proxy": "*"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def check(saw: Any, shop: Shop, finishes: tuple[str | None, str | None]) -> None:
    """A client saw two equal answers, a loop of two steps with one call, and a country."""
    plain, streamed, loop = saw["plain"], saw["streamed"], saw["loop"]
    assert plain["text"]
    assert streamed == plain
    assert plain["finish"] == finishes[1]
    assert min(plain["tokens"]) > 0
    assert loop["calls"] == [{"name": "get_weather", "arguments": {"city": shop.city}}]
    assert loop["finishes"] == list(finishes)
    assert f"rain, 12 degrees in {shop.city}" in loop["text"]
    assert saw["structured"] in (None, shop.country)
    if shop.tokens is not None:
        once, twice = list(shop.tokens), [2 * count for count in shop.tokens]
        assert plain["tokens"] == once
        assert loop["tokens"] in (once, twice)  # Some add up the steps of a loop.
