"""Keys over HTTP: made, listed, relabelled, given budgets and an end, rotated and revoked. A secret is told once."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from farebox.accounts.accounts import Account
from farebox.accounts.budgets import Budget, end_budget, set_budget
from farebox.accounts.edits import rename_key, set_expiry
from farebox.accounts.keys import Key, end_key, mint_key, read_keys, rotate_key
from farebox.api.admin.accounts import get_named
from farebox.api.admin.action import (
    Action,
    Ask,
    Done,
    Label,
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
from farebox.api.admin.words import read_nano, seconds
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.store.database import Transaction

OVERLAP_MOST_S = 90 * 86_400
_LAST_S = 253_402_300_799  # The end of the year 9999.
Moment = Annotated[int, Meta(ge=0, le=_LAST_S)]
Amount = Annotated[str, Meta(max_length=64)]
Period = Literal["day", "week", "month", "total"]


class Create(Post, frozen=True, kw_only=True):
    """The body of a POST to `keys`."""

    name: Label = ""
    expires: Moment | None = None  # Seconds since the epoch; null: never.


class Patch(Said, frozen=True, kw_only=True):
    """The body of a PATCH of a key. A budget of null is taken away; one that is not named stays."""

    name: Label | UnsetType = UNSET
    expires: Moment | UnsetType | None = UNSET
    budgets: dict[Period, Amount | None] | UnsetType = UNSET


class Rotate(Post, frozen=True, kw_only=True):
    """The body of a POST to a key's `rotate`."""

    overlap_s: Annotated[int, Meta(ge=0, le=OVERLAP_MOST_S)] = 86_400


def key_actions() -> list[Action]:
    """The rows of the table."""
    keys, one = "accounts/{account}/keys", "accounts/{account}/keys/{key}"
    return [
        writing("POST", keys, "key.create", Create, _create),
        reading(keys, Page, _list),
        reading(one, Said, _get),
        writing("PATCH", one, "key.change", Patch, _change),
        writing("POST", f"{one}/rotate", "key.rotate", Rotate, _rotate),
        writing("POST", f"{one}/revoke", "key.revoke", Post, _revoke),
    ]


def key_words(key: Key, account: Account, now_us: int) -> Words:
    """A key without its secret."""
    state = "revoked" if not key.usable_at(now_us) else "paused" if key.paused_us is not None else "active"
    return {
        "id": key.public_id,
        "object": "key",
        "account": account.name,
        "name": key.name,
        "hint": key.hint,
        "status": state,
        "created": seconds(key.created_us),
        "expires": seconds(key.expires_us),
        "revoked": seconds(key.revoked_us),
        "last_used": seconds(key.last_used_us),
        "budgets": {budget.period: write_nano(budget.amount_nano) for budget in key.limits.budgets},
    }


def _create(ask: Ask, said: Create, work: Transaction) -> Done:
    account = get_named(ask, work)
    if said.expires is not None and said.expires * 1_000_000 <= ask.now_us:
        raise bad("expires", "expires is over already.")
    key, secret = mint_key(work, ask.ids, account_id=account.id, name=said.name, now_us=ask.now_us)
    if said.expires is not None:
        set_expiry(work, key.id, said.expires * 1_000_000)
    return Done(f"key:{key.public_id}", _again(ask, work, account, key), secret=secret)


def _list(ask: Ask, said: Page, view: Transaction) -> Words:
    account = get_named(ask, view)
    found = read_keys(
        view,
        "WHERE id IN (SELECT id FROM keys WHERE account_id = ? AND id > ? ORDER BY id LIMIT ?)",
        *(account.id, number_cursor(said.cursor, 0), said.limit + 1),
    )
    shown = found[: said.limit]
    following = str(shown[-1].id) if len(found) > len(shown) else None
    return list_words([key_words(key, account, ask.now_us) for key in shown], following)


def _get(ask: Ask, said: Said, view: Transaction) -> Words:
    del said
    account, key = _find(ask, view)
    return key_words(key, account, ask.now_us)


def _change(ask: Ask, said: Patch, work: Transaction) -> Done:
    account, key = _find(ask, work)
    before = key_words(key, account, ask.now_us)
    if said.name is not UNSET:
        rename_key(work, key.id, said.name)
    if said.expires is not UNSET:
        set_expiry(work, key.id, None if said.expires is None else said.expires * 1_000_000)
    if said.budgets is not UNSET:
        for period, amount in said.budgets.items():
            if amount is None:
                end_budget(work, key.id, period)
            else:
                budget = Budget(period, read_nano(f"budgets.{period}", amount))
                set_budget(work, key_id=key.id, account_id=account.id, budget=budget, now_us=ask.now_us)
    return Done(f"key:{key.public_id}", _again(ask, work, account, key), before)


def _rotate(ask: Ask, said: Rotate, work: Transaction) -> Done:
    account, old = _find(ask, work)
    if not old.usable_at(ask.now_us):
        raise bad("key", "This key is revoked already. Make a new one instead.")
    key, secret = rotate_key(work, ask.ids, old, overlap_s=said.overlap_s, now_us=ask.now_us)
    words = _again(ask, work, account, key) | {"replaces": old.public_id}
    return Done(f"key:{old.public_id}", words, key_words(old, account, ask.now_us), secret=secret)


def _revoke(ask: Ask, said: Post, work: Transaction) -> Done:
    del said
    account, key = _find(ask, work)
    end_key(work, key, ask.now_us)
    return Done(f"key:{key.public_id}", _again(ask, work, account, key), key_words(key, account, ask.now_us))


def _find(ask: Ask, view: Transaction) -> tuple[Account, Key]:
    account = get_named(ask, view)
    found = read_keys(view, "WHERE public_id = ? AND account_id = ?", ask.names["key"], account.id)
    if not found:
        raise Fault(
            Kind.NOT_FOUND, "There is no such key of this account.", code="key_not_found", param="key"
        )
    return account, found[0]


def _again(ask: Ask, view: Transaction, account: Account, key: Key) -> Words:
    """A key as it is after a change."""
    (read,) = read_keys(view, "WHERE id = ?", key.id)
    return key_words(read, account, ask.now_us)
