"""Administrators over HTTP: who runs the shop; another is made, or one ended, but never the last."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from farebox.accounts.administrators import (
    Administrator,
    mint_administrator,
    read_administrators,
    revoke_administrator,
)
from farebox.api.admin.action import Action, Ask, Done, Post, Said, Words, list_words, reading, writing
from farebox.api.admin.words import seconds
from farebox.core.errors import Fault, Kind
from farebox.store.database import Transaction

_ID_DIGITS = 18


class Create(Post, frozen=True, kw_only=True):
    """The body of a POST to `administrators`."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]


def administrator_actions() -> list[Action]:
    """The rows of the table."""
    return [
        writing("POST", "administrators", "administrator.create", Create, _create),
        reading("administrators", Said, _list),
        writing("POST", "administrators/{administrator}/revoke", "administrator.revoke", Post, _revoke),
    ]


def administrator_words(one: Administrator) -> Words:
    """An administrator without the key's secret."""
    return {
        "id": one.id,
        "object": "administrator",
        "name": one.name,
        "hint": one.hint,
        "status": "active" if one.revoked_us is None else "revoked",
        "created": seconds(one.created_us),
        "revoked": seconds(one.revoked_us),
    }


def _create(ask: Ask, said: Create, work: Transaction) -> Done:
    made, secret = mint_administrator(work, said.name, ask.now_us)
    return Done(f"administrator:{made.id}", administrator_words(made), secret=secret)


def _list(ask: Ask, said: Said, view: Transaction) -> Words:
    del ask, said
    return list_words([administrator_words(one) for one in read_administrators(view)], None)


def _revoke(ask: Ask, said: Post, work: Transaction) -> Done:
    del said
    before = _get(ask, work)
    if not revoke_administrator(work, before.id, ask.now_us):
        raise Fault(
            Kind.CONFLICT,
            "This is the last administrator. Make another one first.",
            code="last_administrator",
            param="administrator",
        )
    after = administrator_words(_get(ask, work))
    return Done(f"administrator:{before.id}", after, administrator_words(before))


def _get(ask: Ask, view: Transaction) -> Administrator:
    name = ask.names["administrator"]
    found = []
    if name.isascii() and name.isdigit() and len(name) <= _ID_DIGITS:
        found = read_administrators(view, "WHERE id = ?", int(name))
    if not found:
        raise Fault(
            Kind.NOT_FOUND,
            "There is no such administrator.",
            code="administrator_not_found",
            param="administrator",
        )
    return found[0]
