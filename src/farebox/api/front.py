"""The front: every request goes through here, and every fault becomes an answer in its profile's form."""

from __future__ import annotations

import logging

from farebox.api.http import Exchange, HttpError, Request
from farebox.api.observe import Observer
from farebox.api.router import Router
from farebox.api.visit import JSON, Visit, secret_of
from farebox.core.errors import Fault, Kind
from farebox.gateway.faults import error_body, error_headers
from farebox.gateway.house import House
from farebox.gateway.profiles import STANDARD

log = logging.getLogger("farebox")


class Front:
    """Turns requests into visits, and whatever is raised on one into an answer."""

    def __init__(self, observer: Observer, house: House) -> None:
        self._router = Router([], {})
        self._observer = observer
        self._house = house

    def open(self, router: Router) -> None:
        """Let requests through to these surfaces."""
        self._router = router

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request, whatever happens."""
        clock, visit = self._house.clock, self._visit(request, exchange)
        try:
            surface, visit.profile, visit.rest = self._router.find(request)
            await surface.handler(visit)
        except Fault as fault:
            if fault.kind in (Kind.NOT_FOUND, Kind.WRONG_METHOD):
                visit.profile = self._router.profile_of(request)
            _answer(visit, fault)
        except Exception:  # A bug of ours: the caller gets fixed words and the id, the log gets the rest.
            log.exception("call %s broke", visit.id)
            _answer(
                visit,
                Fault(
                    Kind.BROKEN, f"Something broke on our side. Say request {visit.id} when you report it."
                ),
            )
        if not exchange.done:
            exchange.break_off()
        self._observer.note(visit, clock.monotonic_s())

    def gate(self, request: Request) -> bool:
        """A large body is read only for a key that is good."""
        secret = secret_of(request)
        return (
            secret is not None and self._house.directory.find(secret, self._house.clock.now_us()) is not None
        )

    def refuse(self, error: HttpError) -> bytes:
        """The whole answer to something that is no HTTP request; the connection closes after it."""
        fault = Fault(Kind.BAD_REQUEST, error.message, status=error.status, code="invalid_http")
        body = error_body(fault, STANDARD)
        head = b"HTTP/1.1 %d Bad Request\r\nx-request-id: %b\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n"
        return head % (error.status, self._house.ids.new().encode(), JSON, len(body)) + body

    def _visit(self, request: Request, exchange: Exchange) -> Visit:
        id_, clock = self._house.ids.new(), self._house.clock
        headers = b"x-request-id: %b\r\n" % id_.encode()
        return Visit(id_, request, exchange, STANDARD, clock.now_us(), clock.monotonic_s(), headers)


def _answer(visit: Visit, fault: Fault) -> None:
    if visit.exchange.begun:
        visit.exchange.break_off()
        return
    visit.exchange.answer(
        fault.status, visit.headers + error_headers(fault) + JSON, error_body(fault, visit.profile)
    )
