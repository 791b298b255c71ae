"""What a dialect is: four codecs, a tap for the relay, and its own ways of saying an error. Sans-I/O throughout.

A dialect serves as the caller's language and as a provider's. `gateway.relay` uses `read_head`, `write_relayed` and
`tap` when both sides speak the same one; `gateway.translate` uses `read_prompt`, `write_prompt`, `reader` and `writer`
when they do not, or when something rewrote the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import msgspec

from farebox.core.errors import Fault
from farebox.core.usage import Usage
from farebox.dialects.conversation import Event, Prompt


class Head(msgspec.Struct, frozen=True):
    """What the gateway must know of a body before it spends anything; checked, so never absurd."""

    model: str
    stream: bool = False
    output_limit: int | None = None  # Tokens the caller allows for each choice.
    choices: int = 1
    wants_usage: bool = True  # Whether usage may be shown in the stream.
    has_system: bool = True  # Whether a system or developer message is there (OpenServ asks for one).
    session: str | None = None  # Sticky routing key.
    fallback_models: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()  # Members that will not travel; told in x-farebox-dropped.


class Names(msgspec.Struct, frozen=True):
    """How an answer is to be named: our id, the model as the caller asked for it, and when."""

    id: str
    model: str
    created_s: int


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


class Dialect(Protocol):
    """One wire language, in both directions."""

    name: str
    path: str  # Below a provider's base URL.
    keep_alive: bytes  # What may be written between two events of a stream to keep the line open.
    done: bytes  # What follows the last event of a stream.

    def reply_id(self, call_id: str) -> str:
        """The id a reply carries, derived from the call's."""

    def read_head(self, body: bytes) -> Head:
        """Check what must be checked before any money moves; Fault BAD_REQUEST names the member."""

    def write_relayed(self, body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
        """The caller's body for a provider of the same dialect: the original members, declared splices only.

        `ask_usage`: this provider is to be asked for the usage of a stream.
        """

    def tap(self, head: Head, names: Names) -> Tap:
        """A tap for one relayed reply."""

    def read_prompt(self, body: bytes) -> Prompt:
        """A caller's body → the conversation; Fault BAD_REQUEST names what it cannot say."""

    def write_prompt(self, prompt: Prompt, model: str) -> bytes:
        """The conversation → a provider's body; Fault BAD_REQUEST names what this dialect cannot say."""

    def reader(self, *, stream: bool) -> Reader:
        """A reader of one provider's reply, streamed or plain."""

    def writer(self, head: Head, names: Names) -> Writer:
        """A writer of one reply to a caller, streamed or plain as the head says."""

    def stream_error(self, names: Names, error: bytes) -> bytes:
        """An error inside a stream whose head has left; `error` is the error object as the profile writes it."""
