"""What the grid speaks of, free of any wire form: what a caller says, what a provider sees, what a caller hears."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

Schema: TypeAlias = dict[str, Any]
Finish: TypeAlias = Literal["stop", "length", "tool_calls"]


class Words(msgspec.Struct, frozen=True, tag=True):
    """What somebody says."""

    text: str


class Picture(msgspec.Struct, frozen=True, tag=True):
    """An image: as base64, or by its address."""

    data: str = ""
    url: str = ""
    media_type: str = "image/png"


class Call(msgspec.Struct, frozen=True, tag=True):
    """The model asks for a tool. A dialect without ids leaves the id empty."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


class Result(msgspec.Struct, frozen=True, tag=True):
    """What a tool answered. A dialect that names no ids names the tool, and the other way round."""

    text: str
    call_id: str = ""
    name: str = ""


Piece: TypeAlias = Words | Picture | Call | Result


Role: TypeAlias = Literal["user", "assistant"]


class Turn(msgspec.Struct, frozen=True):
    """What one side says before the other one speaks."""

    role: Role
    pieces: tuple[Piece, ...]


class Tool(msgspec.Struct, frozen=True):
    """A tool on offer."""

    name: str
    description: str
    parameters: Schema


class Tokens(msgspec.Struct, frozen=True):
    """What was counted, in classes that do not overlap. `thought` is None where a dialect has no word for it."""

    fresh: int
    cached: int
    visible: int
    thought: int | None = 0

    @property
    def out(self) -> int:
        return self.visible + (self.thought or 0)


class Reply(msgspec.Struct, frozen=True):
    """What a provider answers to one step."""

    tokens: Tokens
    words: str = ""
    calls: tuple[Call, ...] = ()
    thought: str = ""
    stop_sequence: str = ""

    @property
    def finish(self) -> Finish:
        return "tool_calls" if self.calls else "stop"


class Failure(msgspec.Struct, frozen=True):
    """How a provider fails: with a status, or in the middle of a stream that began well."""

    status: int
    message: str
    heard_status: int
    in_the_middle: bool = False


class Scenario(msgspec.Struct, frozen=True):
    """One conversation. `marker` stands in the user's words, so that a provider knows it again."""

    name: str
    words: str
    replies: tuple[Reply, ...] = ()  # One for each step; each but the last calls tools.
    results: tuple[str, ...] = ()  # What the called tools answer, in the order of the calls.
    system: str = "You are a courteous clerk of fares. Réponds poliment."
    history: tuple[Turn, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "required", "named"] | None = None
    parallel: bool = False
    schema: Schema | None = None
    effort: Literal["medium"] | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    limit: int = 2_000  # Tokens; more than the engine ever says, so that its calls are never half-written.
    failure: Failure | None = None

    @property
    def marker(self) -> str:
        return f"[{self.name}]"

    def turns(self) -> tuple[Turn, ...]:
        """What the caller says first, after everything that was said before."""
        return (*self.history, Turn("user", (*self.pictures, Words(self.words))))


class Seen(msgspec.Struct, frozen=True):
    """A request as a provider understood it."""

    model: str
    stream: bool
    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "required", "named", "none"] | None = None
    schema: Schema | None = None
    effort: str | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    limit: int | None = None
    signed: tuple[str, ...] = ()  # Signatures that came back, in their order.


class HeardFault(msgspec.Struct, frozen=True):
    """An error in the caller's own dialect, of a status or inside a stream (status 200)."""

    status: int
    type: str
    message: str
    param: str | None = None


class Heard(msgspec.Struct, frozen=True):
    """An answer as a caller understood it; `native` is the assistant's turn as its dialect would say it again."""

    model: str = ""
    words: str = ""
    calls: tuple[Call, ...] = ()
    thought: str = ""
    finish: str = ""
    stop_sequence: str = ""
    tokens: Tokens | None = None
    cost: float | None = None
    native: Any = None
    fault: HeardFault | None = None


class Asking(msgspec.Struct, frozen=True):
    """A request ready to be sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    model: str
    stream: bool


class Answered(msgspec.Struct, frozen=True):
    """What came back, as bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RefusedError(Exception):
    """A provider refuses a request, as the real one would: its sentence, and the status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
