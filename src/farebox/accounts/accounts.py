"""Accounts: who pays. Each owns one wallet and any number of keys."""

from __future__ import annotations

import re

import msgspec

from farebox.accounts.changes import announce
from farebox.store.database import Transaction

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class Account(msgspec.Struct, frozen=True):
    """One account."""

    id: int
    name: str
    plan: str
    active: bool
    created_us: int


def check_name(name: str) -> str:
    """Give back a usable account name, or ValueError."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no account name: use 1 to 64 letters, digits, dots, dashes, _, + or @")
    return name


def create_account(work: Transaction, name: str, *, plan: str, currency: str, now_us: int) -> Account:
    """Add an account with an empty wallet. ValueError if the name is taken or unusable."""
    check_name(name)
    if find_account(work, name) is not None:
        raise ValueError(f"account {name!r} exists already")
    row = work.one(
        "INSERT INTO accounts (name, plan, status, created) VALUES (?, ?, 'active', ?) RETURNING id",
        name,
        plan,
        now_us,
    )
    assert row is not None
    account_id = int(row[0] or 0)
    work.run("INSERT INTO wallets (account_id, currency) VALUES (?, ?)", account_id, currency)
    announce(work, "account", account_id)
    return Account(account_id, name, plan, active=True, created_us=now_us)


def find_account(work: Transaction, name: str) -> Account | None:
    """The account of that name, if any."""
    rows = read_accounts(work, "WHERE name = ?", name)
    return rows[0] if rows else None


def get_account(work: Transaction, name: str) -> Account:
    """The account of that name. ValueError if there is none."""
    account = find_account(work, name)
    if account is None:
        raise ValueError(f"there is no account {name!r}")
    return account


def set_active(work: Transaction, account: Account, *, active: bool) -> None:
    """Open or close an account to calls."""
    work.run("UPDATE accounts SET status = ? WHERE id = ?", "active" if active else "disabled", account.id)
    announce(work, "account", account.id)


def read_accounts(work: Transaction, where: str = "", *values: str | int) -> list[Account]:
    """Accounts in the order they were made; `where` is a clause of this package's own."""
    return [
        Account(int(id_ or 0), str(name), str(plan), status == "active", int(created or 0))
        for id_, name, plan, status, created in work.all(
            f"SELECT id, name, plan, status, created FROM accounts {where} ORDER BY id",  # noqa: S608 -- as above
            *values,
        )
    ]
