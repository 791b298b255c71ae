from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.accounts.accounts import create_account, get_account, set_active
from farebox.accounts.directory import Directory
from farebox.accounts.keys import Key, end_key, mint_key, note_use
from farebox.core.clock import ManualIds
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase

NOW_US = 1_700_000_000_000_000


class Office:
    """A deployment's database as another process has it: every change is made here, none through the directory."""

    def __init__(self, path: Path) -> None:
        self.database = SqliteDatabase(path)
        migrate(self.database, load_migrations())
        self.ids = ManualIds()

    def mint(self, account: str) -> tuple[Key, str]:
        with self.database.transaction() as work:
            return mint_key(work, self.ids, account_id=get_account(work, account).id, name="", now_us=NOW_US)

    def create(self, account: str) -> None:
        with self.database.transaction() as work:
            create_account(work, account, plan="standard", currency="INR", now_us=NOW_US)

    def set_active(self, account: str, *, active: bool) -> None:
        with self.database.transaction() as work:
            set_active(work, get_account(work, account), active=active)

    def end(self, key: Key, at_us: int) -> None:
        with self.database.transaction() as work:
            end_key(work, key, at_us)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "farebox.db")
    office.create("acme")
    yield office
    office.database.close()


@pytest.fixture
def directory(office: Office) -> Iterator[Directory]:
    database = SqliteDatabase(office.database.path)
    yield Directory(database)
    database.close()


def test_what_was_there_at_the_start_is_known(office: Office) -> None:
    key, secret = office.mint("acme")
    found = Directory(office.database).find(secret, NOW_US)
    assert found is not None
    assert found[0] == key
    assert (found[1].name, found[1].plan, found[1].active) == ("acme", "standard", True)


def test_a_key_that_another_process_minted_works_at_once(office: Office, directory: Directory) -> None:
    office.create("new")
    for account in ("acme", "new"):
        key, secret = office.mint(account)
        found = directory.find(secret, NOW_US)
        assert found is not None
        assert (found[0].id, found[1].name) == (key.id, account)


def test_no_other_secret_opens_anything(office: Office, directory: Directory) -> None:
    key, secret = office.mint("acme")
    for wrong in ("", "sk-", secret[:-1], secret + " ", secret.upper(), key.hint, key.public_id):
        assert directory.find(wrong, NOW_US) is None


def test_a_key_that_another_process_revoked_is_refused_after_one_refresh(
    office: Office, directory: Directory
) -> None:
    key, secret = office.mint("acme")
    _, other = office.mint("acme")
    assert directory.find(secret, NOW_US)
    office.end(key, NOW_US)
    assert directory.refresh()
    assert directory.find(secret, NOW_US) is None
    assert directory.find(other, NOW_US)


def test_a_key_works_until_the_end_that_a_rotation_gave_it(office: Office, directory: Directory) -> None:
    key, secret = office.mint("acme")
    office.end(key, NOW_US + 1000)
    directory.refresh()
    assert directory.find(secret, NOW_US + 999)
    assert directory.find(secret, NOW_US + 1000) is None
    office.end(key, NOW_US + 5000)  # A later end does not open it again.
    directory.refresh()
    assert directory.find(secret, NOW_US + 1000) is None
    office.end(key, NOW_US + 500)  # An earlier one closes it sooner.
    directory.refresh()
    assert directory.find(secret, NOW_US + 999) is None


def test_an_account_that_another_process_disabled_is_known_after_one_refresh(
    office: Office, directory: Directory
) -> None:
    _, secret = office.mint("acme")
    for active in (False, True):
        office.set_active("acme", active=active)
        directory.refresh()
        found = directory.find(secret, NOW_US)
        assert found is not None
        assert found[1].active is active


def test_a_refresh_tells_whether_anything_changed(office: Office, directory: Directory) -> None:
    assert not directory.refresh()
    office.mint("acme")
    assert directory.refresh()
    assert not directory.refresh()


def test_a_change_that_was_undone_is_never_seen(office: Office, directory: Directory) -> None:
    with office.database.transaction() as work:
        _, secret = mint_key(work, office.ids, account_id=1, name="", now_us=NOW_US)
        work.run("ROLLBACK")
        work.run("BEGIN")
    assert directory.find(secret, NOW_US) is None


def test_the_use_of_a_key_is_noted_for_who_writes_it_down(office: Office, directory: Directory) -> None:
    key, secret = office.mint("acme")
    directory.find("sk-nobody", NOW_US)
    assert directory.used_us == {}
    directory.find(secret, NOW_US + 7)
    assert directory.used_us == {key.id: NOW_US + 7}
    with office.database.transaction() as work:
        note_use(work, directory.used_us)
    assert list(office.database.rows("SELECT last_used FROM keys")) == [(NOW_US + 7,)]
