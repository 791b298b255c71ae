"""Accounts over HTTP: made, listed, put on another plan, disabled and enabled."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from farebox.accounts.accounts import (
    Account,
    check_name,
    create_account,
    find_account,
    read_accounts,
    set_active,
)
from farebox.accounts.edits import set_plan
from farebox.accounts.plans import DEFAULT_PLAN
from farebox.api.admin.action import (
    Action,
    Ask,
    Done,
    Page,
    Post,
    Said,
    Words,
    bad,
    list_words,
    number_cursor,
    reading,
    writing,
)
from farebox.api.admin.shop import Shop
from farebox.api.admin.words import read_nano, seconds
from farebox.core.errors import Fault, Kind
from farebox.core.money import MAX_NANO, write_nano
from farebox.ledger.moves import Booked, Move, move
from farebox.ledger.rules import TransferKind
from farebox.store.database import Transaction

Name = Annotated[str, Meta(max_length=64)]


class Create(Post, frozen=True, kw_only=True):
    """The body of a POST to `accounts`."""

    name: Name
    plan: Name = DEFAULT_PLAN
    credit: Name | None = None  # Granted at once; the starter credit unless given.


class Patch(Said, frozen=True, kw_only=True):
    """The body of a PATCH of an account."""

    plan: Name | UnsetType = UNSET
    status: Literal["active", "disabled"] | UnsetType = UNSET


def account_actions(shop: Shop) -> list[Action]:
    """The rows of the table."""
    accounts = _Accounts(shop)
    return [
        writing("POST", "accounts", "account.create", Create, accounts.create),
        reading("accounts", Page, accounts.list),
        reading("accounts/{account}", Said, accounts.get),
        writing("PATCH", "accounts/{account}", "account.change", Patch, accounts.change),
    ]


def get_named(ask: Ask, view: Transaction) -> Account:
    """The account in the path, by its name or its id; Fault NOT_FOUND."""
    name = ask.names["account"]
    found = [] if (known := find_account(view, name)) is None else [known]
    if name.isascii() and name.isdigit() and len(name) < len(str(MAX_NANO)):
        found += [one for one in read_accounts(view, "WHERE id = ?", int(name)) if one not in found]
    if not found:
        raise Fault(Kind.NOT_FOUND, "There is no such account.", code="account_not_found", param="account")
    if len(found) > 1:
        raise bad("account", f"{name} is one account's name and another's id.")
    return found[0]


def account_words(view: Transaction, account: Account) -> Words:
    """An account with what is in its wallet."""
    row = view.one("SELECT balance, held, spent, currency FROM wallets WHERE account_id = ?", account.id)
    assert row is not None
    balance, held, spent = (int(value or 0) for value in row[:3])
    return {
        "id": account.id,
        "object": "account",
        "name": account.name,
        "plan": account.plan,
        "status": "active" if account.active else "disabled",
        "balance": write_nano(balance),
        "held": write_nano(held),
        "spendable": write_nano(balance - held),
        "spent": write_nano(spent),
        "currency": str(row[3]),
        "created": seconds(account.created_us),
    }


class _Accounts:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def create(self, ask: Ask, said: Create, work: Transaction) -> Done:
        self._check_plan(said.plan)
        granted = self._shop.starter_credit_nano
        if said.credit is not None:
            granted = read_nano("credit", said.credit)
        try:
            check_name(said.name)
        except ValueError as error:
            raise bad("name", f"{error}.") from error
        if said.name.isdigit():
            raise bad("name", "A name of nothing but digits would be taken for an id.")
        if find_account(work, said.name) is not None:
            raise Fault(
                Kind.CONFLICT,
                f"There is an account {said.name} already.",
                code="already_exists",
                param="name",
            )
        currency = self._shop.currency
        account = create_account(work, said.name, plan=said.plan, currency=currency, now_us=ask.now_us)
        if granted:
            kind = TransferKind.GRANT
            booked = move(
                work, Move(ask.ids.new(), account.id, kind, granted, currency, "credit", ask.now_us)
            )
            assert booked == Booked(new=True)
        return Done(f"account:{account.name}", account_words(work, account))

    def list(self, ask: Ask, said: Page, view: Transaction) -> Words:
        del ask
        found = read_accounts(
            view,
            "WHERE id IN (SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT ?)",
            number_cursor(said.cursor, 0),
            said.limit + 1,
        )
        shown = found[: said.limit]
        following = str(shown[-1].id) if len(found) > len(shown) else None
        return list_words([account_words(view, account) for account in shown], following)

    def get(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del said
        return account_words(view, get_named(ask, view))

    def change(self, ask: Ask, said: Patch, work: Transaction) -> Done:
        account = get_named(ask, work)
        before = account_words(work, account)
        if said.plan is not UNSET:
            self._check_plan(said.plan)
            set_plan(work, account.id, said.plan)
            account = msgspec.structs.replace(account, plan=said.plan)
        if said.status is not UNSET:
            account = msgspec.structs.replace(account, active=said.status == "active")
            set_active(work, account, active=account.active)
        return Done(f"account:{account.name}", account_words(work, account), before)

    def _check_plan(self, plan: str) -> None:
        if plan not in self._shop.plans:
            raise bad("plan", f"There is no such plan; there are {', '.join(self._shop.plans)}.")
