"""The command line beside a running server: each verb does what the operator's guide says, and says why when not."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.books import assert_balanced, requests
from tests.support.clients import call, get
from tests.support.process import COMMAND, Up, clean_environment, cli, new_key, statement, up
from tests.support.shop import nano

pytestmark = pytest.mark.process

MODEL = "openai/gpt-4o-mini"
KEY = re.compile(r"sk-[0-9a-f]{64}")
ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One server on the sandbox for every test here; each test has accounts of its own."""
    with up(tmp_path_factory.mktemp("shop") / "data") as farebox:
        yield farebox


def done(*arguments: str | Path, data: Path) -> str:
    """What a verb prints that does its work."""
    told = cli(*arguments, data=data)
    assert (told.returncode, told.stderr) == (0, ""), told
    return told.stdout


def refused(*arguments: str | Path, data: Path, code: int = 1) -> str:
    """The one line of a verb that does not."""
    told = cli(*arguments, data=data)
    assert (told.returncode, told.stdout) == (code, ""), told
    (line,) = told.stderr.splitlines()
    assert line.startswith("farebox: ")
    return line.removeprefix("farebox: ")


async def status(shop: Up, key: str) -> int:
    return (await get(shop.url, "/v1/key", key)).status


async def test_a_new_key_works_at_once_and_names_its_account_plan_and_label(shop: Up) -> None:
    said = done("keys", "create", "--account", "ada", "--plan", "pro", "--name", "laptop", data=shop.data)
    (key,) = KEY.findall(said)
    told = (await get(shop.url, "/v1/key", key)).json["data"]
    assert (told["label"], told["plan"], told["rate_limit"]["requests"]) == ("laptop", "pro", 300)
    (line,) = [
        line
        for line in done("keys", "list", "--account", "ada", data=shop.data).splitlines()
        if "laptop" in line
    ]
    assert ULID.match(line)
    assert "active" in line
    assert key not in line
    assert f"{key[:7]}…{key[-4:]}" in line


def test_a_quiet_key_is_all_that_is_printed(shop: Up) -> None:
    assert KEY.fullmatch(done("keys", "create", "--account", "quiet", "--quiet", data=shop.data).rstrip("\n"))


def test_a_new_account_has_the_standard_plan_and_the_starter_credit_or_what_is_said(shop: Up) -> None:
    new_key(shop.data, "starter")
    new_key(shop.data, "given", "--credit", "0.000000001")
    new_key(shop.data, "poor", "--credit", "0")
    listed = {
        line.split()[0]: line.split()[1:5] for line in done("accounts", "list", data=shop.data).splitlines()
    }
    assert listed["starter"] == ["standard", "active", "10", "0"]
    assert listed["given"] == ["standard", "active", "0.000000001", "0"]
    assert statement(shop.data, "poor") == []


def test_credit_for_an_account_that_exists_is_a_grant_and_another_plan_an_error(shop: Up) -> None:
    new_key(shop.data, "twice", "--plan", "pro", "--credit", "1")
    new_key(shop.data, "twice", "--plan", "pro", "--credit", "0.5")
    new_key(shop.data, "twice")
    lines = [(line["kind"], line["amount"]) for line in statement(shop.data, "twice")]
    assert lines == [("grant", "1"), ("grant", "0.5")]
    why = refused("keys", "create", "--account", "twice", "--plan", "free", data=shop.data)
    assert "'pro'" in why


async def test_a_revoked_key_is_refused_within_a_second_by_whatever_name_it_was_meant(shop: Up) -> None:
    secret = new_key(shop.data, "revoker", "--name", "ci-runner")
    other = new_key(shop.data, "revoker")
    third = new_key(shop.data, "revoker", "--name", "third")
    listed = done("keys", "list", "--account", "revoker", data=shop.data).splitlines()[1:]
    id_of_third = listed[2].split()[0]
    for name in ("ci-runner", other, id_of_third):
        done("keys", "revoke", name, data=shop.data)
    time.sleep(1.0)
    assert [await status(shop, key) for key in (secret, other, third)] == [401] * 3
    assert all(
        "revoked" in line
        for line in done("keys", "list", "--account", "revoker", data=shop.data).splitlines()[1:]
    )
    assert "keys list" in refused("keys", "revoke", "no-such-key", data=shop.data)


async def test_a_rotated_key_stays_good_for_its_overlap(shop: Up) -> None:
    old = new_key(shop.data, "rotator", "--name", "prod")
    new = done("keys", "rotate", old, "--overlap-s", "3", "--quiet", data=shop.data).strip()
    began_s = time.monotonic()
    assert KEY.fullmatch(new)
    assert [await status(shop, key) for key in (old, new)] == [200, 200]
    time.sleep(max(0.0, began_s + 4 - time.monotonic()))
    assert [await status(shop, key) for key in (old, new)] == [401, 200]
    last = done("keys", "rotate", new, "--overlap-s", "0", "--quiet", data=shop.data).strip()
    time.sleep(1.0)
    assert [await status(shop, key) for key in (new, last)] == [401, 200]
    assert "revoked already" in refused("keys", "rotate", old, data=shop.data)


async def test_a_disabled_account_is_refused_until_it_is_enabled(shop: Up) -> None:
    done("accounts", "create", "club", "--plan", "pro", data=shop.data)
    key = new_key(shop.data, "club", "--credit", "1")
    done("accounts", "disable", "club", data=shop.data)
    time.sleep(1.0)
    assert await status(shop, key) == 403
    done("accounts", "enable", "club", data=shop.data)
    time.sleep(1.0)
    assert await status(shop, key) == 200
    assert "exists already" in refused("accounts", "create", "club", data=shop.data)
    assert "no account" in refused("accounts", "disable", "nobody", data=shop.data)


async def test_a_statement_is_every_movement_oldest_first_with_the_balance_after_it(shop: Up) -> None:
    key = new_key(shop.data, "ledger", "--credit", "1")
    done("wallet", "credit", "ledger", "41.250000001", "--reason", "invoice 7", data=shop.data)
    receipt = await call(shop.url, key, model=MODEL)
    failed = await call(shop.url, key, model="nobody/knows-it")
    done("wallet", "credit", "ledger", "-0.25", data=shop.data)
    assert (receipt.status, failed.status) == (200, 404)
    usage = receipt.json["usage"]
    charge = usage["cost"]
    lines = statement(shop.data, "ledger")
    assert [line["kind"] for line in lines] == ["grant", "top_up", "charge", "correction"]
    assert [line["amount"] for line in lines] == ["1", "41.250000001", f"-{charge}", "-0.25"]
    balance = 0
    for line in lines:
        balance += nano(line["amount"])
        assert nano(line["balance_after"]) == balance
        assert UTC_TIME.fullmatch(str(line["at"]))
        assert set(line) >= {
            *("id", "kind", "amount", "balance_after", "request_id", "input_tokens", "output_tokens", "at")
        }
    assert [line["request_id"] for line in lines] == [None, None, receipt.id, None]
    assert (lines[2]["input_tokens"], lines[2]["output_tokens"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    told = (await get(shop.url, "/v1/credits", key)).json
    assert nano(told["balance"]) == balance
    assert receipt.id in done("wallet", "statement", "ledger", data=shop.data)


def test_a_wallet_is_never_drawn_below_zero_nor_filled_beyond_what_can_be_counted(shop: Up) -> None:
    new_key(shop.data, "floor", "--credit", "1")
    assert "less than 1.000000001" in refused("wallet", "credit", "floor", "-1.000000001", data=shop.data)
    assert done("wallet", "credit", "floor", "-1", data=shop.data) == "floor has 0 USD now.\n"
    assert "no account" in refused("wallet", "credit", "nobody", "1", data=shop.data)
    done("wallet", "credit", "floor", "9223372036", data=shop.data)
    assert "more than the ledger can" in refused("wallet", "credit", "floor", "1", data=shop.data)
    assert_balanced(shop.data)
    assert "no account" in refused("wallet", "statement", "nobody", "--json", data=shop.data)


async def test_requests_are_exported_with_usage_charge_and_cost_side_by_side(shop: Up) -> None:
    key = new_key(shop.data, "exporter", "--credit", "1")
    first = await call(shop.url, key, model=MODEL)
    time.sleep(0.01)
    between = datetime.fromisoformat(requests(shop.data)[first.id]["created"])
    second = await call(shop.url, key, model=MODEL, stream=True)
    told = done("requests", "export", "--account", "exporter", data=shop.data)
    rows = [json.loads(line) for line in told.splitlines()]
    assert [row["id"] for row in rows] == [first.id, second.id]
    usage = first.json["usage"]
    assert rows[0] | {"created": "", "latency_ms": 0} == {
        "id": first.id,
        "account": "exporter",
        "key": f"{key[:7]}…{key[-4:]}",
        "model": MODEL,
        "provider": "sandbox",
        "state": "posted",
        "usage": {"input_fresh": usage["prompt_tokens"], "output_visible": usage["completion_tokens"]},
        "charge": usage["cost"],
        "cost": usage["cost"],
        "currency": "USD",
        "cost_currency": "USD",
        "estimated": False,
        "partial": False,
        "streamed": False,
        "status": 200,
        "error": None,
        "finish_reason": "stop",
        "hold": rows[0]["hold"],
        "leakage": "0",
        "created": "",
        "latency_ms": 0,
    }
    assert nano(rows[0]["hold"]) >= nano(rows[0]["charge"]) > 0
    assert rows[0]["latency_ms"] >= 0
    assert UTC_TIME.fullmatch(rows[0]["created"])
    assert rows[1]["streamed"] is True
    since = between.isoformat().replace("+00:00", "Z")
    assert (
        len(
            done("requests", "export", "--account", "exporter", "--since", since, data=shop.data).splitlines()
        )
        == 2
    )
    later = datetime.fromisoformat(rows[1]["created"]).replace(year=2990).isoformat()
    assert done("requests", "export", "--since", later, data=shop.data) == ""
    assert "no account" in refused("requests", "export", "--account", "nobody", data=shop.data)


def test_balanced_books_are_0_broken_ones_1_with_their_rows_and_unreadable_ones_2(
    shop: Up, tmp_path: Path
) -> None:
    new_key(shop.data, "auditor", "--credit", "1")
    assert_balanced(shop.data)
    report = json.loads(done("books", "check", "--json", data=shop.data))
    assert (report["balanced"], report["breaches"]) == (True, [])
    broken = tmp_path / "broken"
    broken.mkdir()
    with (
        closing(sqlite3.connect(f"file:{shop.data / 'farebox.db'}?mode=ro", uri=True)) as books,
        closing(sqlite3.connect(broken / "farebox.db")) as copy,
    ):
        books.backup(copy)
        (account,) = copy.execute("SELECT id FROM accounts WHERE name = 'auditor'").fetchone()
        copy.execute("UPDATE wallets SET balance = balance + 1 WHERE account_id = ?", (account,))
        copy.commit()
    told = cli("books", "check", data=broken)
    assert told.returncode == 1
    assert f"wallet:{account} has 1000000001, not 1000000000" in told.stdout
    report = json.loads(cli("books", "check", "--json", data=broken).stdout)
    assert [breach["row"] for breach in report["breaches"]] == [f"wallet:{account}"]
    shutil.rmtree(broken)
    broken.mkdir()
    (broken / "farebox.db").write_bytes(b"This is not a database, whatever it is called." * 100)
    assert "not a database" in refused("books", "check", data=broken, code=2)
    assert "no database" in refused("books", "check", data=tmp_path / "nowhere", code=2)
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_database_cannot_be_checked(shop: Up, tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{shop.data / 'farebox.db'}?mode=ro", uri=True)) as books,
        closing(sqlite3.connect(tmp_path / "farebox.db")) as copy,
    ):
        books.backup(copy)
        (root, size) = copy.execute(
            "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name = 'transfers'"
        ).fetchone()
    with (tmp_path / "farebox.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    refused("books", "check", data=tmp_path, code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "create"],
        ["keys", "create", "--account"],
        ["keys", "create", "--account", "x", "--credit", "ten"],
        ["keys", "create", "--account", "x", "--credit", "-1"],
        ["keys", "rotate", "x", "--overlap-s", "soon"],
        ["wallet", "credit", "x", "1e3"],
        ["wallet", "credit", "x", "0.0000000001"],
        ["wallet", "credit", "x", "0"],
        ["wallet", "credit", "x"],
        ["requests", "export", "--since", "yesterday"],
        ["books", "inspect"],
        ["up", "--port", "65536"],
        ["up", "--workers", "0"],
        ["frobnicate"],
        ["books", "check", "--verbose"],
    ],
    ids=" ".join,
)
def test_a_verb_used_wrongly_says_so_in_one_line_and_ends_with_2(shop: Up, arguments: list[str]) -> None:
    assert refused(*arguments, data=shop.data, code=2)


def test_names_and_plans_that_cannot_be_are_refused(shop: Up) -> None:
    assert "account name" in refused("accounts", "create", "two words", data=shop.data)
    assert "no plan 'gold'" in refused("keys", "create", "--account", "y", "--plan", "gold", data=shop.data)
    assert "no plan" in refused("accounts", "create", "y", "--plan", "gold", data=shop.data)


def test_whoever_has_read_enough_of_a_listing_is_not_told_of_a_broken_pipe(shop: Up) -> None:
    command = " ".join([*COMMAND, "catalogue", "show", "--json", "--data", str(shop.data)])
    told = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=clean_environment(),
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["id"]
