"""The doctor: each thing that is wrong is found, told with what to do, and nothing is changed or given away."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from farebox.accounts.administrators import mint_administrator
from farebox.app.doctor import CHECKS, Finding, Patient, examine
from farebox.app.office import load_settings, open_office
from farebox.app.stock import Found
from farebox.config.settings import Settings
from farebox.core.clock import ManualClock
from farebox.ledger.moves import Move, move
from farebox.ledger.rules import TransferKind
from farebox.store.sqlite import SqliteDatabase
from tests.support.postgres import PostgresServer

NOW_US = 1_794_000_000_000_000
SECRET = "sk-not-to-be-told"
ENVIRONMENT: Mapping[str, str] = {}
FILE = f"""
[server]
port = 0

[[providers]]
name = "openai"
base_url = "https://api.openai.com/v1"
api_key = "{SECRET}"
"""


class Ward:
    """A deployment in a folder, well until a test makes it ill."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self._config = folder / "farebox.toml"
        self.clock = ManualClock(NOW_US)
        self.configure(FILE)
        self.database = self.data / "farebox.db"
        office = open_office(self.data, self.settings, ENVIRONMENT)
        with closing(office), office.database.transaction() as work:
            mint_administrator(work, "ada", NOW_US)

    def configure(self, text: str) -> None:
        self._config.write_text(text)
        self.settings: Settings = load_settings(self._config, ENVIRONMENT)

    def run(self, statement: str) -> None:
        with closing(SqliteDatabase(self.database)) as database, database.transaction() as work:
            work.run(statement)

    def examine(self, **changes: object) -> dict[str, list[Finding]]:
        patient = Patient(self.data, self.settings, ENVIRONMENT, Found(), self.clock)
        found: dict[str, list[Finding]] = {}
        for finding in examine(msgspec.structs.replace(patient, **changes)):
            found.setdefault(finding.name, []).append(finding)
            assert SECRET not in finding.text + finding.advice
        return found

    def ill(self) -> dict[str, str]:
        """What is wrong, by its name; there is advice for all of it and for nothing else."""
        found = [finding for findings in self.examine().values() for finding in findings]
        assert all(bool(finding.advice) != finding.ok for finding in found), found
        return {finding.name: finding.text for finding in found if not finding.ok}


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def test_a_deployment_that_is_well_gets_a_clean_bill(ward: Ward) -> None:
    assert ward.ill() == {}
    assert ward.examine().keys() >= CHECKS.keys() - {"port"} | {"database"}


def test_looking_changes_nothing(ward: Ward) -> None:
    before = ward.database.read_bytes()
    ward.examine()
    assert ward.database.read_bytes() == before


@pytest.mark.parametrize(("name", "mode"), [("", 0o755), ("secret.key", 0o644)])
def test_a_data_folder_that_others_can_read_is_found(ward: Ward, name: str, mode: int) -> None:
    (ward.data / name).chmod(mode)
    assert "can be reached by other users" in ward.ill()["data folder"]


def test_a_master_secret_that_is_gone_is_found_and_none_is_made(ward: Ward) -> None:
    (ward.data / "secret.key").unlink()
    assert "secret.key is not there" in ward.ill()["data folder"]
    assert not (ward.data / "secret.key").exists()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM migrations WHERE n = 12", "1 migrations are not applied"),
        ("INSERT INTO migrations (n, checksum) VALUES (9999, 'x')", "written by a newer Farebox"),
        ("UPDATE migrations SET checksum = 'x' WHERE n = 3", "its schema is not this release's"),
        ("DROP TABLE migrations", "no such table: migrations"),
    ],
)
def test_a_database_of_another_release_is_found_and_looked_at_no_further(
    ward: Ward, statement: str, told: str
) -> None:
    ward.run(statement)
    assert told in ward.ill()["database"]
    assert "books" not in ward.examine()


def test_a_database_that_cannot_be_opened_is_told(ward: Ward) -> None:
    for file in ward.data.glob("farebox.db*"):
        if file.is_file():
            file.unlink()
    ward.database.write_bytes(b"this is no database" * 1000)
    assert "database" in ward.ill()


def test_books_that_do_not_balance_are_found(ward: Ward) -> None:
    ward.run(
        "INSERT INTO holds (id, account_id, key_id, owner, model, amount, created) VALUES ('h', 9, 9, 'o', 'm', 1, 1)"
    )
    assert "NOT balanced" in ward.ill()["books"]


def test_a_clock_that_is_behind_the_books_is_found(ward: Ward) -> None:
    with (
        closing(open_office(ward.data, ward.settings, ENVIRONMENT)) as office,
        office.database.transaction() as work,
    ):
        work.run(
            "INSERT INTO accounts (id, name, plan, status, created) VALUES (1, 'a', 'standard', 'active', 1)"
        )
        work.run("INSERT INTO wallets (account_id, currency) VALUES (1, 'USD')")
        move(work, Move("m", 1, TransferKind.GRANT, 5, "USD", None, NOW_US + 3_600_000_000))
    assert ward.ill() == {"clock": "the newest entry of the books is 3600 s from now"}
    ward.clock.forward(3_550)
    assert ward.ill() == {}


def test_a_clock_that_has_lost_its_year_is_found(ward: Ward) -> None:
    ward.clock = ManualClock(1)
    assert ward.ill()["clock"] == "this machine's clock is behind"


def test_a_shop_without_an_administrator_is_found(ward: Ward) -> None:
    ward.run("DELETE FROM administrators")
    assert ward.ill() == {"administrator": "there is none"}


ILL = [
    (FILE.replace(f'api_key = "{SECRET}"', ""), "providers", "openai has no key"),
    (
        FILE + '[[models]]\nid = "acme/x"\n',
        "models",
        "acme/x cannot be sold: no provider of its routes is configured (acme)",
    ),
    (
        FILE + '[[models]]\nid = "acme/x"\nroutes = [{ provider = "openai", model = "x" }]\n',
        "models",
        "acme/x cannot be sold: what a chat model delivers has no price",
    ),
    (FILE + '[wallet]\ncurrency = "INR"\n', "exchange rates", "nothing says what one USD is worth in INR"),
    (
        FILE
        + '[[models]]\nid = "openai/gpt-4o-mini"\nprice = { currency = "USD", input = "0.01", output = "0.01" }\n',
        "prices",
        "1 models would sell below cost: openai/gpt-4o-mini",
    ),
    (FILE.replace("port = 0", 'port = 0\nhost = "0.0.0.0"'), "address", "0.0.0.0 is a public address"),
    (
        FILE + f'[payments]\nprocessors = ["stripe"]\n[payments.stripe]\nsecret_key = "{SECRET}"\n',
        "payments",
        "stripe has no webhook_secret",
    ),
    (FILE.replace("port = 0", "port = 0\nmax_in_flight = 1000000000"), "open files", "may be needed"),
]


@pytest.mark.parametrize(
    ("text", "name", "told"), ILL, ids=[f"{name}-{n}" for n, (_, name, _) in enumerate(ILL)]
)
def test_settings_that_will_not_do_are_found(ward: Ward, text: str, name: str, told: str) -> None:
    ward.configure(text)
    assert told in ward.ill()[name]


def test_a_price_below_cost_is_no_illness_where_a_guard_keeps_it(ward: Ward) -> None:
    ward.configure(ILL[4][0] + '[wallet]\nmargin_factor = "1"\n')
    (finding,) = ward.examine()["prices"]
    assert finding.ok
    assert "the margin guard keeps them from it" in finding.text


def test_books_on_a_server_are_looked_at_as_well(ward: Ward, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    try:
        ward.configure(f'{FILE}[store]\ndatabase = "{url}"\n')
        assert set(ward.ill()) == {"database"}
        office = open_office(ward.data, ward.settings, ENVIRONMENT)
        with closing(office), office.database.transaction() as work:
            mint_administrator(work, "ada", NOW_US)
        assert ward.ill() == {}
        assert ward.examine().keys() >= {"books", "administrator"}
    finally:
        postgres.drop(url)


def test_a_server_that_is_away_is_told_without_its_password(ward: Ward) -> None:
    ward.configure(f'{FILE}[store]\ndatabase = "postgresql://farebox:{SECRET}@127.0.0.1:1/books"\n')
    assert set(ward.ill()) == {"database"}


def test_a_provider_of_ones_own_needs_no_key(ward: Ward) -> None:
    ward.configure(FILE.replace('"openai"', '"rack"').replace(f'api_key = "{SECRET}"', ""))
    assert "providers" not in ward.ill()
