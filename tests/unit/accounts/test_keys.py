from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.accounts.accounts import (
    Account,
    check_name,
    create_account,
    find_account,
    get_account,
    read_accounts,
)
from farebox.accounts.administrators import (
    LINK_LIFE_US,
    has_administrator,
    link_is_good,
    new_link,
    use_link,
)
from farebox.accounts.keys import Key, find_key, mint_key, read_keys
from farebox.core.clock import ManualIds
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase

NOW_US = 1_700_000_000_000_000
IDS = ManualIds()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "farebox.db")
    migrate(database, load_migrations())
    yield database
    database.close()


@pytest.fixture
def account(database: SqliteDatabase) -> Account:
    with database.transaction() as work:
        return create_account(work, "acme", plan="pro", currency="INR", now_us=NOW_US)


def mint(database: SqliteDatabase, account: Account, name: str = "") -> tuple[Key, str]:
    with database.transaction() as work:
        return mint_key(work, IDS, account_id=account.id, name=name, now_us=NOW_US)


def found(database: SqliteDatabase, name: str) -> Key | None:
    with database.read() as view:
        return find_key(view, name)


def test_a_key_is_sk_and_sixty_four_hexadecimal_digits(database: SqliteDatabase, account: Account) -> None:
    secrets = {mint(database, account)[1] for _ in range(50)}
    assert len(secrets) == 50
    assert all(re.fullmatch(r"sk-[0-9a-f]{64}", secret) for secret in secrets)


def test_a_secret_is_nowhere_on_disk(database: SqliteDatabase, account: Account) -> None:
    secrets = [mint(database, account)[1] for _ in range(5)]
    with database.transaction() as work:
        token = new_link(work, NOW_US)
        secrets += [token, use_link(work, token, name="root", now_us=NOW_US) or ""]
    database.checkpoint()
    secrets.append(mint(database, account)[1])  # In the log alone.
    files = [path for path in database.path.parent.iterdir() if path.is_file()]
    text = b"".join(path.read_bytes() for path in files)
    assert {path.suffix for path in files} >= {".db", ".db-wal"}
    assert b"acme" in text  # It is the right place to look.
    for secret in secrets:
        assert secret
        assert secret.encode() not in text
        assert secret[12:36].encode() not in text


def test_a_hint_is_what_one_recognises_a_key_by_and_no_more(
    database: SqliteDatabase, account: Account
) -> None:
    key, secret = mint(database, account)
    start, _, end = key.hint.partition("…")
    assert (start, end) == (secret[:7], secret[-4:])
    assert (key.account_id, key.created_us, key.revoked_us, key.last_used_us) == (1, NOW_US, None, None)


def test_a_key_is_found_by_secret_id_hint_or_label(database: SqliteDatabase, account: Account) -> None:
    key, secret = mint(database, account, "laptop")
    mint(database, account, "phone")
    for name in (secret, key.public_id, key.hint, "laptop"):
        assert found(database, name) == key
    assert found(database, "tablet") is None


def test_a_label_of_two_keys_means_neither(database: SqliteDatabase, account: Account) -> None:
    key, _ = mint(database, account, "laptop")
    mint(database, account, "laptop")
    assert found(database, "laptop") is None
    assert found(database, key.public_id) == key


def test_keys_are_listed_as_they_were_made(database: SqliteDatabase, account: Account) -> None:
    keys = [mint(database, account)[0] for _ in range(3)]
    with database.read() as view:
        assert read_keys(view, "WHERE account_id = ?", account.id) == keys


@pytest.mark.parametrize(
    ("expires_us", "revoked_us", "last_us"),
    [(None, None, None), (10, None, 9), (None, 10, 9), (20, 10, 9), (10, 20, 9)],
)
def test_a_key_is_usable_until_its_first_end(
    expires_us: int | None, revoked_us: int | None, last_us: int | None
) -> None:
    key = Key(1, "id", 1, "hint", "", 0, expires_us, revoked_us, None)
    assert key.usable_at(last_us if last_us is not None else 2**62)
    assert last_us is None or not key.usable_at(last_us + 1)


def test_an_account_has_an_empty_wallet_and_a_name_of_its_own(
    database: SqliteDatabase, account: Account
) -> None:
    assert list(database.rows("SELECT account_id, currency, balance, held, spent FROM wallets")) == [
        (account.id, "INR", 0, 0, 0)
    ]
    with pytest.raises(ValueError, match="'acme' exists"), database.transaction() as work:
        create_account(work, "acme", plan="free", currency="INR", now_us=NOW_US)
    with database.read() as view:
        assert read_accounts(view) == [account]
        assert find_account(view, "acme") == get_account(view, "acme") == account
        assert find_account(view, "nobody") is None
        with pytest.raises(ValueError, match="'nobody'"):
            get_account(view, "nobody")


@pytest.mark.parametrize("name", ["a", "A.b_c-d+1@example.com", "7", "x" * 64])
def test_a_usable_name_is_given_back(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a/b", "x" * 65, "é", "a\n", "sk'--"])
def test_a_name_that_would_need_quoting_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no account name"):
        check_name(name)


def test_a_link_makes_one_administrator_within_a_day(database: SqliteDatabase) -> None:
    with database.transaction() as work:
        assert not has_administrator(work)
        old, token = new_link(work, NOW_US), new_link(work, NOW_US)
        last_us = NOW_US + LINK_LIFE_US - 1
        assert not link_is_good(work, old, NOW_US)  # The newest is the only one.
        assert link_is_good(work, token, last_us)
        assert not link_is_good(work, token, last_us + 1)
        assert use_link(work, token, name="root", now_us=last_us + 1) is None
        secret = use_link(work, token, name="root", now_us=last_us)
        assert secret is not None
        assert secret.startswith("sk-admin-")
        assert use_link(work, token, name="again", now_us=last_us) is None
        assert has_administrator(work)
