"""Stored responses over HTTP: to read, to list what they were made of, and to delete; free, and only one's own."""

from __future__ import annotations

import re

from farebox.api.visit import JSON, Visit
from farebox.core.errors import Fault, Kind
from farebox.features.stored_responses.feature import StoredResponses
from farebox.features.stored_responses.items import Entry, listed_item
from farebox.gateway.admit import authenticate, check_grant
from farebox.gateway.house import House

PAGE_MOST = 100
_PAGE_SIZE = re.compile(r"[1-9][0-9]?|100")
_PAGE_USUAL = "20"
_INPUT_ITEMS, _CANCEL = "input_items", "cancel"
_ORDERS = ("asc", "desc")


class Responses:
    """The surfaces below `…/responses/`."""

    def __init__(self, house: House, stored: StoredResponses) -> None:
        self._house = house
        self._stored = stored

    async def get(self, visit: Visit) -> None:
        """`GET …/responses/{id}`, as it was delivered; `GET …/responses/{id}/input_items`."""
        account_id = self._admit(visit)
        id_, what = _split(visit, ("", _INPUT_ITEMS))
        if what:
            await self._list_input(visit, account_id, id_)
            return
        if visit.query("stream") == "true":
            raise Fault(
                Kind.BAD_REQUEST,
                "stream is not available: a stored response is whole, and comes in one piece. Leave it out.",
                param="stream",
            )
        reply = await self._stored.find_reply(account_id, id_)
        if reply is None:
            raise _no_response()
        visit.exchange.answer(200, visit.headers + JSON, reply)

    async def delete(self, visit: Visit) -> None:
        """`DELETE …/responses/{id}`."""
        account_id = self._admit(visit)
        id_, _ = _split(visit, ("",))
        if not await self._stored.delete(account_id, id_):
            raise _no_response()
        visit.answer({"id": id_, "object": "response", "deleted": True})

    async def cancel(self, visit: Visit) -> None:
        """`POST …/responses/{id}/cancel`: there is never one that could be cancelled."""
        account_id = self._admit(visit)
        id_, _ = _split(visit, (_CANCEL,))
        if await self._stored.find_reply(account_id, id_) is None:
            raise _no_response()
        raise Fault(
            Kind.BAD_REQUEST,
            "Only a response made in the background can be cancelled, and this one is complete.",
            param="id",
        )

    async def _list_input(self, visit: Visit, account_id: int, id_: str) -> None:
        limit, order = visit.query("limit") or _PAGE_USUAL, visit.query("order") or "desc"
        if _PAGE_SIZE.fullmatch(limit) is None:
            raise Fault(
                Kind.BAD_REQUEST, f"limit must be a whole number from 1 to {PAGE_MOST}.", param="limit"
            )
        if order not in _ORDERS:
            raise Fault(Kind.BAD_REQUEST, "order must be asc or desc.", param="order")
        entries = await self._stored.find_input(account_id, id_)
        if entries is None:
            raise _no_response()
        if order == "desc":
            entries.reverse()
        after = visit.query("after")
        if after is not None:
            entries = _behind(entries, after)
        shown = entries[: int(limit)]
        visit.answer(
            {
                "object": "list",
                "data": [listed_item(entry) for entry in shown],
                "first_id": shown[0].id if shown else None,
                "last_id": shown[-1].id if shown else None,
                "has_more": len(entries) > len(shown),
            }
        )

    def _admit(self, visit: Visit) -> int:
        grant = visit.grant = authenticate(visit.secret(), self._house, counts=False)
        visit.headers += grant.headers
        check_grant(grant, visit.profile)
        return grant.account.id


def _split(visit: Visit, known: tuple[str, ...]) -> tuple[str, str]:
    """The id in a path and what follows it; Fault NOT_FOUND where that is nothing we know."""
    id_, _, what = visit.rest.partition("/")
    if what not in known:
        raise Fault(
            Kind.NOT_FOUND,
            f"There is nothing at {visit.request.path[:200]!r}. Check the path and your client's base URL.",
        )
    return id_, what


def _behind(entries: list[Entry], after: str) -> list[Entry]:
    """What follows the item of this id."""
    for at, entry in enumerate(entries):
        if entry.id == after:
            return entries[at + 1 :]
    raise Fault(Kind.BAD_REQUEST, "after names no input item of this response.", param="after")


def _no_response() -> Fault:
    return Fault(
        Kind.NOT_FOUND, "There is no such response of this account.", param="id", code="response_not_found"
    )
