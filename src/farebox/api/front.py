"""The front: every request goes through here, and every fault becomes an answer in its profile's form."""

from __future__ import annotations

import logging

from farebox.api.exchange import Exchange
from farebox.api.http import HttpError, Request
from farebox.api.observe import Observer
from farebox.api.router import Router
from farebox.api.visit import CHAT, JSON, Surface, Visit, secret_of
from farebox.core.errors import Fault, Kind
from farebox.dialects.dialect import Dialect
from farebox.gateway.admit import authenticate
from farebox.gateway.faults import error_headers
from farebox.gateway.house import House
from farebox.gateway.profiles import STANDARD, CodeStyle, Profile
from farebox.store.database import StoreUnavailableError

log = logging.getLogger("farebox")
_NO_STORE = Fault(
    Kind.LEDGER_UNAVAILABLE, "The ledger cannot be read right now. Try again shortly.", retry_after_s=1
)


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
            surface = self._find_surface(visit)
            await surface.handler(visit)
        except Fault as fault:
            _answer(visit, fault)
        except StoreUnavailableError:
            _answer(visit, _NO_STORE)
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
        secret, house = secret_of(request), self._house
        try:
            return secret is not None and house.directory.find(secret, house.clock.now_us()) is not None
        except StoreUnavailableError:
            return False  # The same happens once more where it can be answered.

    def refuse(self, error: HttpError, exchange: Exchange) -> None:
        """Answer something that is no HTTP request; the connection closes after it."""
        fault = Fault(Kind.BAD_REQUEST, error.message, status=error.status, code="invalid_http")
        call_id = self._house.ids.new()
        headers = b"x-request-id: %b\r\n" % call_id.encode()
        exchange.answer(fault.status, headers + JSON, _body(fault, call_id, STANDARD, CHAT))

    def _find_surface(self, visit: Visit) -> Surface:
        """The surface of a visit. Where there is none, the answer still has the form of its base, and a known key's
        window.
        """
        router, request = self._router, visit.request
        try:
            surface, visit.profile, visit.rest = router.find(request)
            visit.dialect = surface.dialect
        except Fault as fault:
            visit.profile = router.profile_of(request)
            if fault.kind is Kind.WRONG_METHOD:
                visit.headers += b"allow: %b\r\n" % router.allowed(request).encode()
            if self.gate(request):
                visit.headers += authenticate(visit.secret(), self._house, counts=False).headers
            raise
        return surface

    def _visit(self, request: Request, exchange: Exchange) -> Visit:
        id_, clock = self._house.ids.new(), self._house.clock
        headers = b"x-request-id: %b\r\n" % id_.encode()
        return Visit(id_, request, exchange, STANDARD, clock.now_us(), clock.monotonic_s(), headers)


def _answer(visit: Visit, fault: Fault) -> None:
    if visit.exchange.begun:
        visit.exchange.break_off()
        return
    visit.exchange.answer(
        fault.status,
        visit.headers + error_headers(fault) + JSON,
        _body(fault, visit.id, visit.profile, visit.dialect),
    )


def _body(fault: Fault, call_id: str, profile: Profile, dialect: Dialect) -> bytes:
    return dialect.error_body(fault, call_id, status_codes=profile.code_style is CodeStyle.STATUS)
