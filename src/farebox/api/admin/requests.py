"""Calls over HTTP: everybody's or one account's, newest first, each with its charge and what it cost us.

Calls stand in the books by account and id, and an id tells its time. So a page goes through each account's calls from
new to old; where a filter lets little through it stops after LOOKED_MOST of them and gives what it has found, with a
cursor to go on from. A page therefore never costs more, however many calls there are.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from farebox.accounts.accounts import Account, find_account, read_accounts
from farebox.api.admin.action import Action, Ask, Page, Said, Words, bad, list_words, reading
from farebox.api.admin.words import as_texts
from farebox.billing.receipts import Receipts, read_row
from farebox.core.clock import first_ulid
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.ledger.books import RequestRow
from farebox.store.database import Transaction, Value

LOOKED_MOST = 20_000
_NEWEST = "~"  # Beyond any id.
_COLUMNS = ", ".join(RequestRow.__struct_fields__)
_OF_CALL = "a.name, " + ", ".join(f"r.{name}" for name in RequestRow.__struct_fields__)
_ULID_LENGTH = 26
_LAST_S = 253_402_300_799  # The end of the year 9999.
Text = Annotated[str, Meta(max_length=200)]


class Filter(Page, frozen=True, kw_only=True):
    """The query of a list of calls: an account's name or nothing, and what they must be like."""

    account: Text | None = None
    key: Text | None = None
    model: Text | None = None
    provider: Text | None = None
    state: Literal["posted", "voided"] | None = None
    status: Annotated[int, Meta(ge=100, le=599)] | None = None
    since: Annotated[int, Meta(ge=0, le=_LAST_S)] | None = None  # Seconds since the epoch.
    until: Annotated[int, Meta(ge=0, le=_LAST_S)] | None = None


class _Range(msgspec.Struct, frozen=True):
    """Which calls of an account are looked at: ids below one and from another on, so many at most."""

    below: str
    least: str
    most: int


def request_actions(receipts: Receipts, *, looked_most: int = LOOKED_MOST) -> list[Action]:
    """The rows of the table; `looked_most` calls are looked at for one page."""
    requests = _Requests(receipts, looked_most)
    return [reading("requests", Filter, requests.list), reading("requests/{request}", Said, requests.get)]


class _Requests:
    def __init__(self, receipts: Receipts, looked_most: int) -> None:
        self._receipts = receipts
        self._looked_most = looked_most

    def list(self, ask: Ask, said: Filter, view: Transaction) -> Words:
        del ask
        accounts = _accounts(view, said.account)
        clause, values = _conditions(view, said)
        most = max(said.limit + 1, self._looked_most // max(len(accounts), 1)) if values else said.limit + 1
        until = _NEWEST if said.until is None else first_ulid(said.until * 1_000_000)
        since = "" if said.since is None else first_ulid(said.since * 1_000_000)
        looked = _Range(min(said.cursor or _NEWEST, until), since, most)
        # Below the highest of these ids some account has calls that were not looked at.
        bounds = [_bound(view, account.id, looked) for account in accounts]
        bound = max(bounds, default="")
        wanted = _Range(looked.below, max(bound, since), said.limit + 1)
        found = [
            (row.id, account, row)
            for account in accounts
            for row in _rows(view, account.id, wanted, clause, values)
        ]
        found.sort(key=lambda one: one[0], reverse=True)
        shown = found[: said.limit]
        following = shown[-1][0] if len(found) > len(shown) else bound or None
        return list_words([_summary(row, account) for _, account, row in shown], following)

    def get(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del said
        # An order of joining: each account is asked for the call by its key, instead of all calls for theirs.
        joined = "FROM accounts a CROSS JOIN requests r WHERE r.account_id = a.id AND r.id = ?"
        row = view.one(f"SELECT {_OF_CALL} {joined}", ask.names["request"][-_ULID_LENGTH:])
        if row is None:
            raise Fault(
                Kind.NOT_FOUND, "There is no such request.", code="request_not_found", param="request"
            )
        name, *call = row
        receipt = as_texts(self._receipts.receipt(read_row(tuple(call)), internal=True))
        assert isinstance(receipt, dict)
        return {"account": str(name), **receipt}


def _accounts(view: Transaction, name: str | None) -> list[Account]:
    if name is None:
        return read_accounts(view)
    found = find_account(view, name)
    if found is None:
        raise Fault(Kind.NOT_FOUND, "There is no such account.", code="account_not_found", param="account")
    return [found]


def _conditions(view: Transaction, said: Filter) -> tuple[str, tuple[Value, ...]]:
    """What calls must be like beside their account and time."""
    given: dict[str, Value] = {
        "model": said.model,
        "provider": said.provider,
        "state": said.state,
        "status": said.status,
    }
    if said.key is not None:
        row = view.one("SELECT id FROM keys WHERE public_id = ?", said.key)
        if row is None:
            raise bad("key", "There is no such key.")
        given["key_id"] = row[0]
    named = {name: value for name, value in given.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in named), tuple(named.values())


def _bound(view: Transaction, account_id: int, looked: _Range) -> str:
    """The last of the calls that are looked at, where there are more behind it; else nothing."""
    row = view.one(
        "SELECT id FROM requests WHERE account_id = ? AND id < ? AND id >= ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        *(account_id, looked.below, looked.least, looked.most - 1),
    )
    return "" if row is None else str(row[0])


def _rows(
    view: Transaction, account_id: int, looked: _Range, clause: str, values: tuple[Value, ...]
) -> list[RequestRow]:
    rows = view.all(
        f"SELECT {_COLUMNS} FROM requests WHERE account_id = ? AND id < ? AND id >= ?{clause}"  # noqa: S608 -- as above
        " ORDER BY id DESC LIMIT ?",
        *(account_id, looked.below, looked.least, *values, looked.most),
    )
    return [read_row(row) for row in rows]


def _summary(row: RequestRow, account: Account) -> Words:
    return {
        "id": row.id,
        "object": "request",
        "account": account.name,
        "model": row.model,
        "provider": row.provider,
        "state": row.state,
        "status": row.status,
        "error": row.error,
        "usage": msgspec.Raw(row.usage.encode()),
        "charge": write_nano(row.charge),
        "currency": row.currency,
        "cost": write_nano(row.cost),
        "cost_currency": row.cost_currency,
        "leakage": write_nano(row.leakage),
        "estimated": bool(row.estimated),
        "partial": bool(row.partial),
        "created": row.created // 1_000_000,
        "latency_ms": row.latency_us // 1000,
    }
