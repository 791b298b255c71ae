"""The one handler behind every surface that asks a model."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec.structs import replace

from farebox.api.asked import max_charge_asked
from farebox.api.http import Request
from farebox.api.once import HEADER, Once
from farebox.api.visit import Visit
from farebox.core.errors import Fault, Kind
from farebox.dialects.dialect import Asked, Dialect
from farebox.dialects.own import SESSION_MAX
from farebox.features.idempotency.feature import CALLS
from farebox.features.stored_responses.feature import StoredResponses
from farebox.gateway.admit import authenticate, check_grant, check_window
from farebox.gateway.call import Call
from farebox.gateway.house import House
from farebox.gateway.serve import serve

_SESSION = b"x-session-id"  # OpenRouter's name for it, where the body says none.
_JSON_KIND = re.compile(rb"(?:(?:application|text)/(?:[^/ ]+\+)?json)?")  # Or none at all.


class InFlight:
    """How many calls are being served, and how many may be: beyond that the newest is refused, nothing queues."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0


class Inference:
    """Opens calls of one dialect and serves them; `read_asked` tells what a request says outside its body.

    `once`: how calls with a key of their callers' are served once; `stored`: what this dialect's callers leave with us.
    """

    def __init__(
        self,
        house: House,
        dialect: Dialect,
        in_flight: InFlight,
        read_asked: Callable[[Visit], Asked],
        *,
        once: Once,
        stored: StoredResponses | None = None,
    ) -> None:
        self._house = house
        self._dialect = dialect
        self._in_flight = in_flight
        self._read_asked = read_asked
        self._once = once
        self._stored = stored

    async def handle(self, visit: Visit) -> None:
        """Admit the caller, check the request, serve the call."""
        house, profile = self._house, visit.profile
        if visit.exchange.draining:
            raise Fault(Kind.DRAINING, "This server is restarting. Try again shortly.", retry_after_s=1)
        grant = visit.grant = authenticate(visit.secret(), house, counts=True)
        window = grant.window
        own = self._dialect.answer_headers(visit.id, window.limit, window.remaining, window.reset_s)
        visit.headers += grant.headers + own
        check_grant(grant, profile)
        check_window(grant, house)
        if self._in_flight.count >= self._in_flight.most:
            raise Fault(
                Kind.OVERLOADED,
                "This server has too many calls in flight. Try again shortly.",
                retry_after_s=1,
            )
        check_body(visit.request)
        if HEADER in visit.request.headers:
            await self._once.handle(visit, grant.account.id, CALLS, self._serve)
        else:
            await self._serve(visit)

    async def _serve(self, visit: Visit) -> None:
        grant = visit.grant
        assert grant is not None
        stored, body, asked = self._stored, visit.request.body, self._read_asked(visit)
        if stored is None:
            call = open_call(visit, self._dialect, body, asked)
        else:
            prepared = await stored.prepare(grant.account.id, body)
            call = stored.follow(open_call(visit, self._dialect, prepared.body, asked), prepared)
        self._in_flight.count += 1
        try:
            visit.row = (await serve(call, self._house, visit.exchange)).row
        finally:
            self._in_flight.count -= 1


def open_call(visit: Visit, dialect: Dialect, body: bytes, asked: Asked) -> Call:
    """Read the head of a body, and keep the bytes."""
    head = dialect.read_head(body, asked)
    if visit.profile.needs_system and not head.has_system:
        raise Fault(
            Kind.BAD_REQUEST,
            "messages must include a system or developer message. Add one, such as"
            ' {"role": "system", "content": "You are a concise assistant."}.',
            param="messages",
            code="missing_system_message",
        )
    session = visit.request.headers.get(_SESSION)
    if session is not None and head.session is None:
        head = replace(head, session=session[:SESSION_MAX].decode("latin-1"))
    assert visit.grant is not None
    return Call(
        id=visit.id,
        profile=visit.profile,
        dialect=dialect,
        body=body,
        head=head,
        grant=visit.grant,
        began_us=visit.began_us,
        began_s=visit.began_s,
        headers=visit.headers + b"x-generation-id: %b\r\n" % visit.id.encode(),  # OpenRouter's name for it.
        max_charge_nano=max_charge_asked(visit),
        pledge=visit.pledge,
    )


def check_body(request: Request) -> None:
    """Refuse what was not read, and what is not JSON as it is written; in that order."""
    if request.too_large:
        raise Fault(Kind.TOO_LARGE, "The request body is larger than this server accepts. Send less at once.")
    if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Fault(Kind.WRONG_MEDIA, "Compressed request bodies are not accepted. Send the JSON as it is.")
    if request.headers.get(b"content-type") == b"application/json":  # What nearly every client sends.
        return
    kind, *parameters = request.headers.get(b"content-type", b"").lower().split(b";")
    if not _JSON_KIND.fullmatch(kind.strip()):
        raise Fault(Kind.WRONG_MEDIA, "The request body must be JSON: send content-type: application/json.")
    for parameter in parameters:
        name, _, value = parameter.strip().partition(b"=")
        if name == b"charset" and value.strip(b'"') not in (b"utf-8", b"utf8", b"us-ascii"):
            raise Fault(Kind.WRONG_MEDIA, "The request body must be in UTF-8.")
