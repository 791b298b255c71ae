"""What a dialect is: four codecs, a tap for the relay, and its own ways of saying an error. Sans-I/O throughout.

A dialect serves as the caller's language and as a provider's. Where both sides speak the same one, `gateway.relay`
uses `write_relayed` and `tap`; where they do not, `gateway.translate` uses `reader` and `writer`. The prompt is read
and written anew (`read_prompt`, `fit_prompt`, `write_prompt`) where the dialects differ or something rewrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Literal, Protocol

import msgspec

from farebox.core.errors import Fault
from farebox.core.usage import Usage
from farebox.dialects.conversation import Event, Prompt


class Asked(msgspec.Struct, frozen=True):
    """What a request says outside its body: in its path, its query and its headers."""

    model: str | None = None  # None: the body says it.
    stream: bool | None = None
    array: bool = False  # The stream is to be one JSON array instead of server-sent events.
    betas: tuple[str, ...] = ()  # Features that the caller turns on by header.
    version: str | None = None  # Of the language, as the caller's header has it.


ASKED = Asked()


class Head(msgspec.Struct, frozen=True):
    """What the gateway must know of a body before it spends anything; checked, so never absurd."""

    model: str
    stream: bool = False
    output_limit: int | None = None  # Tokens the caller allows for each choice.
    limited: bool = False  # The limit is the gateway's own, and must be written into what goes out.
    choices: int = 1
    wants_usage: bool = True  # Whether usage may be shown in the stream.
    has_system: bool = True  # Whether a system or developer message is there (OpenServ asks for one).
    session: str | None = None  # Sticky routing key.
    fallback_models: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()  # Members that will not travel; told in x-farebox-dropped.
    array: bool = False  # As in Asked.
    cache: bool = (
        False  # The prompt's stable beginning is to be kept in the provider's cache (`cache: true`).
    )
    sealed: bool = (
        False  # It holds another provider's seals (`dialects.seal`): the bytes may not go out as they are.
    )
    headers: tuple[tuple[str, str], ...] = ()  # To go along to a provider of the same dialect.
    echo: bytes = b""  # Members as written, without braces, that a reply of this dialect repeats.


class Names(msgspec.Struct, frozen=True):
    """How an answer is to be named: our id, the model as the caller asked for it, and when."""

    id: str
    model: str
    created_s: int
    status_codes: bool = (
        False  # An OpenAI error's `code` is the HTTP status, and its name stands in `metadata`.
    )


class Rule(msgspec.Struct, frozen=True):
    """What becomes of a member, tool, tier or header that costs money outside tokens or reaches a provider's state."""

    name: str
    verdict: Literal["priced", "refused", "stripped"]
    why: str


class Cost(msgspec.Struct, frozen=True):
    """What `usage.cost` says: the charge as a plain decimal in the wallet's currency."""

    charge: str
    currency: str


class Mark(Enum):
    """What one event of a stream means to the gateway."""

    EMPTY = "empty"  # A role, padding, a keep-alive: nothing a reader would miss.
    CONTENT = "content"  # Text, a thought, part of a tool call: something was delivered.
    FINISH = "finish"  # A choice is finished: the end begins here and is withheld.
    USAGE = "usage"  # Carries nothing but usage.
    DONE = "done"  # The stream's own end mark.
    FAULT = "fault"  # The provider reports an error inside the stream.


class Tap(Protocol):
    """Watches one relayed reply go by, and applies the declared splices (id, model, usage.cost)."""

    usage: Usage | None  # The last usage that made sense.
    fault: Fault | None  # Set with Mark.FAULT.
    finished: bool  # Every choice has its finish reason.
    finish_reason: str | None
    events: int  # Content events so far, for an estimate where the provider reports no usage.
    delivered_bytes: int  # Bytes of content so far, for the same.

    def see(self, event: bytes) -> Mark:
        """Classify one whole event (its blank line included)."""

    def splice(self, event: bytes, cost: Cost | None) -> bytes:
        """The event as the caller gets it; empty where it is withheld. `cost` only where the end leaves."""

    def whole(self, body: bytes) -> bool:
        """Take in a plain reply; False if it is no reply of this dialect at all."""

    def usage_event(self, usage: Usage, cost: Cost) -> bytes:
        """A usage event of our own, for a caller who asked for one where the provider sent none."""

    def splice_whole(self, body: bytes, cost: Cost) -> bytes:
        """The plain reply as the caller gets it."""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left. Nothing follows it, not even `done`."""


class Reader(Protocol):
    """A provider's bytes → events. Holds one reply's state, and no socket."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """Events that `data` completes; any cut of the bytes gives the same events."""

    def end(self) -> Sequence[Event]:
        """Events at the end of the body; a Failed event if the reply is not whole."""


class Writer(Protocol):
    """Events → bytes in the caller's dialect. Holds one reply's state."""

    def write(self, event: Event, cost: Cost | None = None) -> bytes:
        """Bytes for one event; `cost` goes with Finished."""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left. Nothing follows it, not even `done`."""


class Dialect(Protocol):
    """One wire language, in both directions."""

    name: str
    keep_alive: bytes  # What may be written between two events of a stream to keep the line open.
    auth_header: (
        str  # Where its providers want the key; "authorization" sends `Bearer KEY`, any other the key alone.
    )
    headers: tuple[tuple[str, str], ...]  # What every request to a provider must say.
    takes_marks: bool  # Its providers want to be told what to keep in their cache, by marks in the prompt.
    needs_limit: bool  # A body to a provider must say how long the answer may be.
    rules: tuple[Rule, ...]  # What never passes as it came; printed in the docs.

    def path(self, model: str, *, stream: bool) -> str:
        """Where a provider answers, below its base URL."""

    def done(self, head: Head) -> bytes:
        """What follows the last event of a stream."""

    def reply_id(self, call_id: str) -> str:
        """The id a reply carries, derived from the call's."""

    def answer_headers(self, call_id: str, limit: int, remaining: int, reset_s: int) -> bytes:
        """Header lines in this dialect's own form, beside those on every answer: the call's id, and its window.

        `limit` and `remaining` are calls of the minute that ends at `reset_s`, UTC epoch seconds.
        """

    def error_body(self, fault: Fault, call_id: str, *, status_codes: bool) -> bytes:
        """The whole body of an answer that failed; `status_codes` as in Names."""

    def read_head(self, body: bytes, asked: Asked = ASKED) -> Head:
        """Check what must be checked before any money moves; Fault BAD_REQUEST names the member."""

    def write_relayed(self, body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
        """The caller's body for a provider of the same dialect: the original members, declared splices only.

        `ask_usage`: this provider is to be asked for the usage of a stream. Where the head is `limited`, its limit is
        written in.
        """

    def tap(self, head: Head, names: Names) -> Tap:
        """A tap for one relayed reply."""

    def read_prompt(self, body: bytes) -> Prompt:
        """A caller's body → the conversation; Fault BAD_REQUEST names what it cannot say.

        Seals of other providers are opened. `stream` is None where the body does not say it.
        """

    def fit_prompt(self, prompt: Prompt) -> Prompt:
        """The prompt as this dialect can say it: what is lost is in `dropped`, or a Fault BAD_REQUEST names it.

        Applied twice, it does nothing more; at home it changes nothing but seals that are not its own.
        """

    def write_prompt(self, prompt: Prompt, model: str, *, ask_usage: bool = True) -> bytes:
        """A fitted prompt → a provider's body. `ask_usage` as in `write_relayed`."""

    def reader(self, *, stream: bool) -> Reader:
        """A reader of one provider's reply, streamed or plain."""

    def writer(self, head: Head, names: Names) -> Writer:
        """A writer of one reply to a caller, streamed or plain as the head says."""
