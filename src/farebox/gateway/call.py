"""The nouns of one call on its way through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from farebox.accounts.accounts import Account
from farebox.accounts.keys import Key
from farebox.accounts.plans import Plan
from farebox.billing.prices.pricing import PriceVersion
from farebox.billing.wallet import Hold
from farebox.core.errors import Fault
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Dialect, Head
from farebox.gateway.profiles import Profile
from farebox.gateway.troubles import Troubles
from farebox.limits.windows import Window
from farebox.providers.listing import Listing
from farebox.providers.quirks import Quirk, QuirkRow
from farebox.providers.upstream import Endpoint, Incoming, Upstream

# Gets the header lines and the end of an answer before it is charged, for a caller who may ask for it again: so a
# charge never stands without the reply it was for.
Pledge = Callable[[bytes, bytes], Awaitable[None]]


class Grant(msgspec.Struct, frozen=True):
    """A caller who may call: whose key it is, and the header lines about its window."""

    key: Key
    account: Account
    plan: Plan
    window: Window
    headers: bytes


class Call(msgspec.Struct, frozen=True):
    """One inbound model request. Its id is the hold's, the request's and the charge's."""

    id: str
    profile: Profile
    dialect: Dialect
    body: bytes
    head: Head
    grant: Grant
    began_us: int
    began_s: float  # Monotonic.
    headers: bytes = b""  # Lines that go on every answer to it.
    rewritten: bool = False  # Something changed the prompt, so the bytes as sent no longer say it.
    max_charge_nano: int | None = None  # The caller's own maximum, whatever the answer comes to.
    keep: Callable[[bytes], Awaitable[None]] | None = None  # Gets the end of a paid answer before it leaves.
    pledge: Pledge | None = None


class Provider(msgspec.Struct, frozen=True):
    """A provider the gateway can reach: where, how, and in which dialect."""

    endpoint: Endpoint
    upstream: Upstream
    dialect: Dialect
    keep_alive_s: float = 15.0
    sandbox: bool = False
    stream_usage: bool = True  # It reports usage in a stream when asked; the others refuse to be asked.
    cancel_stops_billing: bool = True  # Else a stream whose caller left is read on for its usage.
    quirks: tuple[QuirkRow, ...] = ()
    takes_marks: bool = False  # It wants to be told what to keep in its cache, by marks in the prompt.
    troubles: Troubles = msgspec.field(default_factory=Troubles)


class Route(msgspec.Struct, frozen=True):
    """One way to answer a call: a provider, its name for the model, and both sides' rates."""

    provider: Provider
    listing: Listing
    upstream_model: str
    price: PriceVersion
    cost: PriceVersion
    order: int = 1  # Lower goes first.
    weight: int = 1  # Shares calls among routes of the same order.
    quirks: tuple[Quirk, ...] = ()  # What this provider wants otherwise of this model's bodies.


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try at a provider, as the receipt tells it."""

    provider: str
    model: str
    status: int = 0
    error: str | None = None
    latency_ms: int = 0


class Taken(msgspec.Struct, frozen=True):
    """A hold that stands, and what it stands for."""

    call: Call  # With the gateway's own limit, where it set one.
    hold: Hold
    prompt: int  # Tokens of input as estimated, without the margin.
    output: int  # Tokens of output that are covered, over all choices.


class Answer(Protocol):
    """A provider's reply on its way to the caller, relayed or translated; the end is kept back until it is paid."""

    @property
    def usage(self) -> Usage | None:
        """The provider's own count, if it made sense."""

    @property
    def events(self) -> int:
        """Content events delivered or ready."""

    @property
    def delivered_bytes(self) -> int:
        """The size of their content."""

    @property
    def finished(self) -> bool:
        """Every choice has its finish reason: from here on everything is the end."""

    @property
    def finish_reason(self) -> str | None:
        """The provider's word for how it finished."""

    @property
    def ended(self) -> bool:
        """Nothing more is to be expected."""

    @property
    def fault(self) -> Fault | None:
        """The provider failed inside its reply."""

    def feed(self, data: bytes) -> None:
        """Take in a piece of the provider's reply."""

    def close(self) -> None:
        """The provider's body is over; a fault if the reply was not."""

    def ready(self) -> bytes:
        """What may leave now."""

    def discard(self) -> None:
        """Forget what is ready but has not left: it is not delivered, so it does not count."""

    def end(self, cost: Cost, usage: Usage) -> bytes:
        """The end of the answer, once it is paid for; `usage` is what was charged."""

    def fail(self, fault: Fault) -> bytes:
        """What ends a stream whose head has left, in place of its end."""


class Exchange(msgspec.Struct, frozen=True):
    """A provider's reply that has something to say, and the route it came by."""

    route: Route
    incoming: Incoming
    answer: Answer


class Caller(Protocol):
    """The connection a call came by, as the gateway sees it."""

    @property
    def gone(self) -> bool:
        """The caller has hung up."""

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that answers the caller."""

    def on_gone(self, action: Callable[[], object] | None) -> None:
        """What to do at once when the caller hangs up; None: nothing, the call is past the point of return."""

    def begin(self, status: int, headers: bytes) -> None:
        """Send the head of a streamed answer."""

    def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer; whole events only."""

    @property
    def slow(self) -> bool:
        """The caller has yet to read what was written."""

    async def drained(self) -> None:
        """Wait while the caller reads more slowly than the provider writes."""

    def finish(self, data: bytes) -> None:
        """Send the last piece and the end of the body in one write."""

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole answer in one write."""
