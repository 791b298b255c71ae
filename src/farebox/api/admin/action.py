"""Actions: what an administrator may do, each a row of a table: method, path, what must be said, and a function.

A function gets one transaction and nothing of HTTP. One that reads gives what to answer; one that writes gives a
`Done`, of which the same transaction keeps the line of the audit log and the answer for a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from farebox.accounts.administrators import Administrator
from farebox.core.clock import Ids
from farebox.core.errors import Fault, Kind
from farebox.store.database import Transaction

Words = dict[str, object]
GivenId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Label = Annotated[str, Meta(max_length=100)]
PAGE_MOST = 100
_CURSOR_DIGITS = 18  # Of 64 bits.


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body or a query: what may stand in it, strictly. This one takes nothing."""


class Post(Said, frozen=True, kw_only=True):
    """The body of a POST; the same `id` again is the same POST again."""

    id: GivenId | None = None


class Page(Said, frozen=True, kw_only=True):
    """The query of a list."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MOST)] = 20
    cursor: Annotated[str, Meta(max_length=128)] | None = None


class Ask(msgspec.Struct, frozen=True):
    """One request, as an action sees it."""

    administrator: Administrator
    ip: str
    names: Mapping[str, str]  # From the path.
    now_us: int
    ids: Ids


class Done(msgspec.Struct, frozen=True):
    """What was changed: `words` is the answer. A `secret` goes into the first answer as `key`, and nowhere else."""

    changed: str  # For the audit log, such as "key:01M7…".
    words: Words
    before: Words | None = None
    secret: str | None = None
    after: Words | None = None  # What the audit log says instead of the answer.


class Prepared(msgspec.Struct, frozen=True):
    """A write that only wants its transaction; `said` is its body in one form, whatever its spaces were."""

    said: bytes
    given_id: str | None
    run: Callable[[Transaction], Done]


SaidT = TypeVar("SaidT", bound=Said)


class Reading(msgspec.Struct, frozen=True):
    """An action that changes nothing."""

    path: str  # Parts in braces are names; the last may end in "..." and then takes slashes as well.
    run: Callable[[Ask, Mapping[str, str], Transaction], Words]
    method: str = "GET"


class Writing(msgspec.Struct, frozen=True):
    """An action that changes something; `name` is the audit log's. `ahead` is done before the transaction begins."""

    method: str
    path: str
    name: str
    prepare: Callable[[Ask, bytes], Prepared]
    ahead: Callable[[], object] | None = None


Action = Reading | Writing


def reading(path: str, said: type[SaidT], run: Callable[[Ask, SaidT, Transaction], Words]) -> Reading:
    """A row of the table."""

    def decoded(ask: Ask, query: Mapping[str, str], view: Transaction) -> Words:
        try:
            asked = msgspec.convert(dict(query), said, strict=False)
        except msgspec.ValidationError as error:
            raise _unusable("The query", error) from error
        return run(ask, asked, view)

    return Reading(path, decoded)


def writing(
    method: str,
    path: str,
    name: str,
    said: type[SaidT],
    run: Callable[[Ask, SaidT, Transaction], Done],
    *,
    ahead: Callable[[], object] | None = None,
) -> Writing:
    """A row of the table."""

    def prepare(ask: Ask, body: bytes) -> Prepared:
        try:
            asked = msgspec.json.decode(body or b"{}", type=said)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _unusable("The body", error) from error
        given_id = asked.id if isinstance(asked, Post) else None
        return Prepared(msgspec.json.encode(asked), given_id, partial(run, ask, asked))

    return Writing(method, path, name, prepare, ahead)


def list_words(data: list[Words], following: str | None) -> Words:
    """A page of a list; `following` is the cursor of the next."""
    return {"object": "list", "data": data, "has_more": following is not None, "next": following}


def bad(param: str, message: str) -> Fault:
    """Something said cannot be used."""
    return Fault(Kind.BAD_REQUEST, message, param=param)


def number_cursor(cursor: str | None, usual: int) -> int:
    """A cursor that is a number; what a list begins with where there is none."""
    if cursor is None:
        return usual
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _CURSOR_DIGITS):
        raise bad("cursor", "cursor must be the `next` of a list.")
    return int(cursor)


def _unusable(what: str, error: Exception) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{what} cannot be used: {error}.")
