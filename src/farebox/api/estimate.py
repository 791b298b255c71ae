"""`POST …/estimate`: what a call would cost, without the call; nothing is held, nobody is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from farebox.api.asked import GENERATE, STREAM, betas_asked
from farebox.api.inference import check_body, open_call
from farebox.api.visit import Visit
from farebox.billing.receipts import Receipts
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import ASKED, Asked, Dialect
from farebox.dialects.splice import UNREADABLE
from farebox.features.stored_responses.feature import StoredResponses
from farebox.gateway.admit import authenticate, check_grant
from farebox.gateway.estimate import Estimate, estimate, routes_of
from farebox.gateway.house import House

_ENDS = {"/chat/completions": "chat", "/responses": "responses", "/messages": "anthropic"}
_VERBS = {GENERATE: False, STREAM: True}
_MODELS = "models/"


class _Wrapped(msgspec.Struct):
    endpoint: str | None = None
    body: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    stream: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Wrapped)
_text = msgspec.json.Decoder(str)


def _nothing(wrapped: _Wrapped, visit: Visit) -> Asked:
    del wrapped, visit
    return ASKED


def _betas(wrapped: _Wrapped, visit: Visit) -> Asked:
    del wrapped
    return betas_asked(visit)


def _path(wrapped: _Wrapped, visit: Visit) -> Asked:
    """What stands in the path of Google's calls, where nothing but the body was sent."""
    try:
        model: str | None = _text.decode(wrapped.model).removeprefix(_MODELS)
    except UNREADABLE:
        model = visit.query("model")
    if not model:
        raise Fault(Kind.BAD_REQUEST, "model is missing.", param="model", code="missing_required_parameter")
    return Asked(model=model, stream=bytes(wrapped.stream) == b"true")


class _Way(msgspec.Struct, frozen=True):
    """How the calls of one dialect are read."""

    dialect: Dialect
    read_asked: Callable[[_Wrapped, Visit], Asked]
    goes_on: bool = False  # From what is stored of earlier calls.


WAYS = {
    "chat": _Way(DIALECTS["openai_chat"], _nothing),
    "responses": _Way(DIALECTS["openai_responses"], _nothing, goes_on=True),
    "anthropic": _Way(DIALECTS["anthropic"], _betas),
    "gemini": _Way(DIALECTS["gemini"], _path),
}


class Estimating:
    """The surface; `stored` completes a Responses call that goes on from an earlier one."""

    def __init__(self, house: House, receipts: Receipts, stored: StoredResponses) -> None:
        self._house = house
        self._receipts = receipts
        self._stored = stored

    async def handle(self, visit: Visit) -> None:
        """Check the caller and the request as a call's, then price it."""
        house = self._house
        grant = visit.grant = authenticate(visit.secret(), house, counts=False)
        visit.headers += grant.headers
        check_grant(grant, visit.profile)
        check_body(visit.request)
        way, body, asked = _read(visit)
        if way.goes_on:
            body = (await self._stored.prepare(grant.account.id, body)).body
        call = open_call(visit, way.dialect, body, asked)
        routes = routes_of(call, house)
        account_id, model = grant.account.id, routes[0].listing.id
        typical = await asyncio.to_thread(self._receipts.typical_output, account_id, grant.key.id, model)
        wallet = self._receipts.wallet(account_id)
        free_nano = wallet.balance_nano - wallet.held_nano
        house.room.note(account_id, free_nano)
        found = estimate(call, routes, house, typical=typical, free_nano=free_nano)
        visit.answer(_told(found, typical=typical, free_nano=free_nano))


def _read(visit: Visit) -> tuple[_Way, bytes, Asked]:
    """How the call is read, its body, and what it says outside that."""
    body, name = visit.request.body, visit.query("dialect") or "chat"
    try:
        wrapped = _decoder.decode(body)
    except UNREADABLE:
        wrapped = _Wrapped()  # The reader of the call says what is wrong with it.
    asked = None
    if wrapped.endpoint is not None and bytes(wrapped.body):
        name, asked = _of_endpoint(wrapped.endpoint)
        body = bytes(wrapped.body)
    way = WAYS.get(name)
    if way is None:
        raise Fault(
            Kind.BAD_REQUEST, f"dialect is not right: it is one of {', '.join(WAYS)}.", param="dialect"
        )
    return way, body, asked or way.read_asked(wrapped, visit)


def _of_endpoint(endpoint: str) -> tuple[str, Asked | None]:
    path = endpoint.partition("?")[0]
    for end, name in _ENDS.items():
        if path.endswith(end):
            return name, None
    model, _, verb = path.rpartition(":")
    if verb in _VERBS and model:
        return "gemini", Asked(model=model.rpartition("/" + _MODELS)[2], stream=_VERBS[verb])
    raise Fault(
        Kind.BAD_REQUEST,
        "endpoint is not right: name the path the call would go to, such as /v1/chat/completions.",
        param="endpoint",
    )


def _told(found: Estimate, *, typical: int | None, free_nano: int) -> dict[str, object]:
    price = found.route.price
    return {
        "object": "estimate",
        "model": found.route.listing.id,
        "provider": found.route.provider.endpoint.provider,
        "usage": {"input_fresh": found.prompt, "output_visible": found.likely},
        "output_limit": found.limit,
        "output_limit_set_by": "farebox" if found.limited else "caller_or_model",
        "likely": _amount(found.likely_nano),
        "likely_from": "recent_calls" if typical is not None else "quarter_of_limit",
        "worst": _amount(found.worst_nano),
        "hold": _amount(found.hold_nano),
        "currency": price.rates.currency,
        "price_version": price.id,
        "affordable": found.affordable,
        "affordable_max_tokens": found.affordable_output,
        "balance": _amount(free_nano),
    }


def _amount(nano: int) -> msgspec.Raw:
    return msgspec.Raw(write_nano(nano).encode())
