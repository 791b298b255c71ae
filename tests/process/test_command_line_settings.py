"""Catalogue and configuration by the command line: what is for sale, what is in force, and where a file is wrong."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.answers import chat
from tests.support.clients import call
from tests.support.faulty import serve_faulty
from tests.support.process import cli, new_key, up
from tests.support.shop import CALL_NANO, nano, open_shop

pytestmark = pytest.mark.process

MODELS_MIN = 1_000


def test_the_catalogue_shows_a_thousand_priced_models_a_line_each(tmp_path: Path) -> None:
    told = cli("catalogue", "show", data=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    head, *lines = told.stdout.splitlines()
    models = [line for line in lines if "sandbox" in line]
    assert head.split()[:4] == ["model", "kind", "input", "output"]
    assert len(models) >= MODELS_MIN
    assert len({line.split()[0] for line in models}) == len(models)
    assert lines[-1].startswith(f"{len(models)} models with a price, in USD")
    (line,) = [line for line in models if line.split()[0] == "openai/gpt-4o-mini"]
    assert line.split()[1:4] == ["chat", "0.15", "0.6"]
    rows = [
        json.loads(line) for line in cli("catalogue", "show", "--json", data=tmp_path).stdout.splitlines()
    ]
    assert [row["id"] for row in rows] == [line.split()[0] for line in models]


def test_the_catalogue_shows_the_sale_price_of_the_models_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "farebox.toml"
    config.write_text(
        '[wallet]\ncurrency = "INR"\nmarkup = "1.20"\nfx = { USD = "88" }\n'
        '[[providers]]\nname = "openai"\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "sk-x"\n'
    )
    told = cli("catalogue", "show", "gpt-4o-mini", "--json", data=tmp_path, config=config)
    rows = {row["id"]: row for row in map(json.loads, told.stdout.splitlines())}
    assert all("gpt-4o-mini" in id_ for id_ in rows)
    row = rows["openai/gpt-4o-mini"]
    assert (row["currency"], row["input"], row["output"]) == ("INR", "15.84", "63.36")
    assert row["routes"] == ["openai:gpt-4o-mini"]


async def test_what_the_file_says_is_what_is_charged_and_what_is_shown(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        upstream.script(chat())
        config = open_shop(tmp_path, upstream.base_url)
        data = tmp_path / "data"
        checked = cli("config", "check", data=data, config=config)
        assert (checked.returncode, checked.stderr) == (0, "")
        shown = cli("config", "show", data=data, config=config).stdout
        assert 'currency = "USD"' in shown
        assert "farebox.toml:" in shown
        assert "sk-upstream-secret" not in shown
        assert not data.exists()
        with up(data, config=config) as farebox:
            receipt = await call(farebox.url, new_key(data, "acme", "--credit", "1", config=config))
            assert nano(receipt.json["usage"]["cost"]) == CALL_NANO
        other = cli(
            "keys", "list", data=data
        )  # Without its file the currency is the same, so nothing is refused.
        assert other.returncode == 0


def test_one_deployment_has_one_currency(tmp_path: Path) -> None:
    data = tmp_path / "data"
    new_key(data, "acme")
    config = tmp_path / "farebox.toml"
    config.write_text('[wallet]\ncurrency = "INR"\nfx = { USD = "88" }\n')
    told = cli("keys", "list", data=data, config=config)
    assert told.returncode == 1
    assert "started in USD" in told.stderr
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "line", "names"),
    [
        ("[server]\nprot = 1\n", 2, "server.prot"),
        ('[server]\n\nport = "a"\n', 3, "server.port"),
        ("[wallet]\nmarkup = 1.2\n", 2, "wallet.markup"),
        ('[[providers]]\nname = "x"\n', 1, "base_url"),
        ("[server\n", 1, ""),
        ('[[models]]\nid = "a/b"\ncost = { currency = "EUR", input = "1", output = "1" }\n', 3, "EUR"),
    ],
    ids=["unknown key", "wrong type", "float", "missing member", "no TOML", "currency without fx"],
)
def test_a_wrong_file_is_named_with_its_line_and_nothing_starts_with_it(
    tmp_path: Path, text: str, line: int, names: str
) -> None:
    config, data = tmp_path / "farebox.toml", tmp_path / "data"
    config.write_text(text)
    for verb in (["config", "check"], ["up", "--port", "0"]):
        told = cli(*verb, data=data, config=config)
        assert (told.returncode, told.stdout) == (2, ""), told
        assert told.stderr.startswith("farebox: ")
        assert told.stderr.count("\n") == 1
        assert f"farebox.toml:{line}" in told.stderr, told.stderr
        assert names in told.stderr
    assert not data.exists()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    told = cli("config", "check", data=tmp_path, config=tmp_path / "absent.toml")
    assert told.returncode == 2
    assert "absent.toml" in told.stderr


def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:

    new_key(tmp_path, "acme")
    with closing(sqlite3.connect(tmp_path / "farebox.db")) as database:
        database.execute("INSERT INTO migrations (n, checksum) VALUES (9999, 'x')")
        database.commit()
    for verb in (["keys", "list"], ["books", "check"], ["up", "--port", "0"]):
        told = cli(*verb, data=tmp_path)
        assert (told.returncode, told.stdout) == (2, ""), told
        assert "newer Farebox" in told.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with up(tmp_path / "data") as farebox:
        port = farebox.url.rpartition(":")[2]
        told = cli("up", "--port", port, data=tmp_path / "other")
        assert told.returncode == 1
        assert f"port {port}" in told.stderr
        assert told.stderr.count("\n") == 1
