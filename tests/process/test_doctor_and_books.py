"""The doctor, the seals and the reconciliation as an operator has them, by the command line."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.process import Up, cli, new_key, up

pytestmark = pytest.mark.process

DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A server on the sandbox whose first credit was given some days ago."""
    folder = tmp_path_factory.mktemp("shop")
    new_key(folder / "data", "acme", "--credit", "5")
    with closing(sqlite3.connect(folder / "data" / "farebox.db")) as books, books:
        books.execute(f"UPDATE transfers SET created = created - {3 * DAY_US}")
    with up(folder / "data") as farebox:
        yield farebox


def config_of(folder: Path, port: int) -> Path:
    file = folder / "farebox.toml"
    file.write_text(f"[server]\nport = {port}\n")
    return file


def port_line(data: Path, config: Path) -> tuple[bool, str]:
    told = cli("doctor", "--json", data=data, config=config)
    assert told.stderr == ""
    findings = {finding["name"]: finding for finding in map(json.loads, told.stdout.splitlines())}
    assert told.returncode == (0 if all(finding["ok"] for finding in findings.values()) else 1)
    return findings["port"]["ok"], findings["port"]["text"]


def test_the_doctor_finds_the_server_it_is_beside(shop: Up, tmp_path: Path) -> None:
    port = int(shop.url.rpartition(":")[2])
    ok, text = port_line(shop.data, config_of(tmp_path, port))
    assert (ok, text) == (True, f"a Farebox answers on port {port}: ready, database ok")


def test_the_doctor_tells_a_free_port_from_a_strangers(shop: Up, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        config = config_of(tmp_path, port)
        assert port_line(shop.data, config) == (False, f"something else answers on port {port}")
    assert port_line(shop.data, config) == (True, f"{port} is free")


def test_the_doctor_says_in_lines_what_to_do(shop: Up) -> None:
    told = cli("doctor", data=shop.data)
    assert told.returncode == 1
    assert "✗ administrator: there is none. `farebox admin link` makes one." in told.stdout.splitlines()
    assert any(line.startswith("✓ books: balanced: 1 wallets") for line in told.stdout.splitlines())


def test_the_doctor_makes_no_folder_where_there_is_none(tmp_path: Path) -> None:
    told = cli("doctor", data=tmp_path / "nowhere")
    assert (told.returncode, told.stdout) == (2, "")
    assert not (tmp_path / "nowhere").exists()


def test_the_days_that_are_over_are_sealed_and_listed(shop: Up) -> None:
    first, second = (
        [json.loads(line) for line in cli("books", "seals", "--json", data=shop.data).stdout.splitlines()]
        for _ in range(2)
    )
    assert first == second
    assert [seal["transfers"] for seal in first] == [1, 0, 0]
    assert [seal["previous"] for seal in first[1:]] == [seal["hash"] for seal in first[:-1]]
    table = cli("books", "seals", data=shop.data).stdout
    assert all(seal["hash"] in table for seal in first)


def test_a_sealed_transfer_that_was_changed_is_named_by_the_check(tmp_path: Path) -> None:
    data = tmp_path / "data"
    new_key(data, "acme", "--credit", "5")
    with closing(sqlite3.connect(data / "farebox.db")) as books, books:
        books.execute(f"UPDATE transfers SET created = created - {2 * DAY_US}")
    day = json.loads(cli("books", "seals", "--json", data=data).stdout.splitlines()[0])["day"]
    with closing(sqlite3.connect(data / "farebox.db")) as books, books:
        books.execute("UPDATE transfers SET reason = 'another'")
    told = cli("books", "check", data=data)
    assert told.returncode == 1
    assert f"a sealed day is as it was sealed: {day} has 1 transfers" in told.stdout


@pytest.mark.parametrize(
    ("sheet", "code"),
    [
        ("day,model,input_tokens,output_tokens\n2026-01-01,m,0,0\n", 0),
        ("day,model,input_tokens,output_tokens\n2026-01-01,m,10,1\n", 1),
        ("what,is,this\n1,2,3\n", 2),
        ('{"data": 1}', 2),
        ("day,model\xff", 2),
    ],
)
def test_an_export_is_compared_by_its_exit_code(shop: Up, tmp_path: Path, sheet: str, code: int) -> None:
    file = tmp_path / "export.csv"
    file.write_bytes(sheet.encode("latin-1"))
    told = cli("books", "reconcile", file, data=shop.data)
    assert told.returncode == code, told
    assert len(told.stderr.splitlines()) == (1 if code == 2 else 0)


def test_a_drift_is_told_as_json_with_what_may_be_behind_it(shop: Up, tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    file.write_text("day,model,input_tokens,output_tokens,cost\n2026-01-01,gpt-4o,10,1,0.5\n")
    told = cli("books", "reconcile", file, "--provider", "openai", "--json", data=shop.data)
    report = json.loads(told.stdout)
    assert (told.returncode, report["providers"], report["agreed"]) == (1, ["openai"], False)
    (line,) = report["lines"]
    assert (line["model"], line["drift_ppm"], line["theirs"]["cost"]) == ("gpt-4o", 1_000_000, "0.5")
    assert line["causes"] == ["no call of ours: is its key used elsewhere?"]
