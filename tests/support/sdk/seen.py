"""What every client says of what it saw, in one form, so that one test reads them all.

A client is a process of its own: its sockets, warnings and imports are nobody else's. It may use the standard library
and its SDK alone, because some of them run where nothing else is installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NamedTuple, TypedDict

SYSTEM = "You are a concise assistant."
QUESTION = "What is the capital of France?"  # The sandbox knows: a short answer is soon streamed.
WEATHER_QUESTION = "What is the weather in Paris?"
COUNTRY_QUESTION = "Tell me about France."
LIMIT = 400  # Tokens of one answer.


class Ask(NamedTuple):
    """Where to call, as whom, and for which model."""

    url: str  # Scheme, host and port.
    key: str
    model: str
    form: str = ""  # Which of its models a framework is to call with.


class Said(TypedDict):
    """One answer."""

    text: str
    finish: str | None  # In the SDK's own word; None where the SDK does not tell.
    tokens: list[int]  # Of the prompt, of the answer.


class Called(TypedDict):
    """One tool call, its arguments parsed."""

    name: str
    arguments: dict[str, object]


class Looped(TypedDict):
    """A loop of tool calls to its last words."""

    calls: list[Called]
    finishes: list[str | None]
    text: str
    tokens: list[int]  # Of the last step, or of the whole where the SDK adds them up.


class Seen(TypedDict):
    """All that a client tried; None where its SDK has no such thing."""

    plain: Said
    streamed: Said
    loop: Looped
    structured: dict[str, object] | None
    errors: dict[str, str] | None


def weather(city: str) -> str:
    """What the tool answers."""
    return f"rain, 12 degrees in {city}"


def failure(kind: type[Exception], call: Callable[[], object]) -> str:
    """The class and the status of the exception, one of its SDK's, that a call ends in."""
    try:
        call()
    except kind as error:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        return f"{type(error).__name__} {status}" if isinstance(status, int) else type(error).__name__
    return "no error"


def show(look: Callable[[Ask], Seen]) -> None:
    """Be the process: read the arguments, look, print."""
    print(json.dumps(look(Ask(*sys.argv[1:]))))
