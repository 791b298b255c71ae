"""A visit: one HTTP request on its way through the surfaces, and how to answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import msgspec

from farebox.api.exchange import Exchange
from farebox.api.http import Request
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Dialect
from farebox.gateway.call import Grant, Pledge
from farebox.gateway.profiles import Profile
from farebox.ledger.books import RequestRow

JSON = b"content-type: application/json\r\n"
CHAT = DIALECTS["openai_chat"]  # Whose errors all surfaces use that have no dialect of their own.


class Visit(msgspec.Struct):
    """What is known of a request while it is handled."""

    id: str
    request: Request
    exchange: Exchange
    profile: Profile
    began_us: int
    began_s: float
    headers: bytes  # Lines that go on its answer.
    rest: str = ""  # What stands in the path after the surface's own part: an id.
    grant: Grant | None = None
    row: RequestRow | None = None  # What was settled, for the access log.
    dialect: Dialect = CHAT  # In whose words an error is told.
    pledge: Pledge | None = None  # Where its reply is kept before it is charged.

    def answer(self, body: object, status: int = 200) -> None:
        """Answer with JSON."""
        self.exchange.answer(status, self.headers + JSON, msgspec.json.encode(body))

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return _query(self.request, name)

    def secret(self) -> str | None:
        """The key the caller shows."""
        return secret_of(self.request)


def secret_of(request: Request) -> str | None:
    """The key a caller shows, by any of the four ways clients send one."""
    headers = request.headers
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and token:
        return token.strip().decode("latin-1")
    shown = headers.get(b"x-api-key") or headers.get(b"x-goog-api-key")
    if shown is not None:
        return shown.decode("latin-1")
    return _query(request, "key") if b"key=" in request.query else None


def _query(request: Request, name: str) -> str | None:
    values = parse_qs(request.query.decode("latin-1")).get(name)
    return values[0] if values else None


Handler = Callable[[Visit], Awaitable[None]]


class Surface(msgspec.Struct, frozen=True):
    """A public method and path. A path that ends in a slash takes the rest as an id."""

    method: str
    path: str
    profile: Profile
    handler: Handler
    dialect: Dialect = CHAT
