"""A scripted provider on its stage: it reads each request, checks it against the scenario, and answers by it."""

from __future__ import annotations

import json
from typing import Any, Protocol

from tests.grid.cells import SCRIPTED
from tests.grid.facts import (
    Call,
    Picture,
    Piece,
    RefusedError,
    Reply,
    Result,
    Scenario,
    Schema,
    Seen,
    Tool,
    Turn,
    Words,
)
from tests.grid.lines import same
from tests.grid.providers import anthropic, gemini, openai_chat, openai_responses
from tests.grid.scenarios import SCENARIOS
from tests.support.answers import Answer
from tests.support.faulty import Recorded


class Provider(Protocol):
    """One dialect, read and written naively."""

    NAME: str
    BASE: str  # What follows host and port in its base URL.

    def read(self, request: Recorded) -> Seen:
        """What a request says; RefusedError where the real provider would refuse it."""

    def answer(self, reply: Reply, seen: Seen, scenario: Scenario) -> Answer:
        """A reply, streamed if it was asked for so."""

    def refuse(self, status: int, message: str) -> Answer:
        """An error with a status."""

    def break_off(self, message: str) -> Answer:
        """A stream that begins well and ends in an error."""

    def call_id(self, at: int) -> str:
        """The id of a reply's call; empty where calls have none."""

    def signatures(self, scenario: Scenario) -> tuple[str, ...]:
        """What it signed in its first answer, and wants back with the second request."""


_MODULES: tuple[Provider, ...] = (openai_chat, openai_responses, anthropic, gemini)
PROVIDER_MODULES: dict[str, Provider] = dict(zip(SCRIPTED, _MODULES, strict=True))


class Stage:
    """Answers for one provider. `complaints` are what it had to refuse: none is expected, ever."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.requests = 0
        self.complaints: list[str] = []

    @property
    def model(self) -> str:
        """What it calls its model."""
        return model_of(self.provider.NAME)

    def answer(self, request: Recorded) -> Answer:
        """The answer to one request."""
        self.requests += 1
        try:
            seen = self.provider.read(request)
            scenario = scenario_of(seen)
            step = check(seen, scenario, self.provider)
        except (RefusedError, AssertionError, KeyError, TypeError) as error:
            status = error.status if isinstance(error, RefusedError) else 400
            self.complaints.append(f"{type(error).__name__}: {error}\nin {request.body.decode()}")
            return self.provider.refuse(status, f"The stage refuses: {error}"[:500])
        failure = scenario.failure
        if failure is None:
            return self.provider.answer(scenario.replies[step], seen, scenario)
        if failure.in_the_middle:
            return self.provider.break_off(failure.message)
        return self.provider.refuse(failure.status, failure.message)


def model_of(provider: str) -> str:
    """What a scripted provider calls its model."""
    return f"grid-{provider}"


def scenario_of(seen: Seen) -> Scenario:
    """The scenario whose marker the user said last."""
    said = [
        piece.text
        for turn in seen.turns
        if turn.role == "user"
        for piece in turn.pieces
        if isinstance(piece, Words)
    ]
    name = said[-1].partition("]")[0].removeprefix("[")
    assert name in SCENARIOS, f"no scenario is called {name!r}"
    return SCENARIOS[name]


def check(seen: Seen, scenario: Scenario, provider: Provider) -> int:
    """Which step of the scenario this is; AssertionError says what did not arrive as it was sent."""
    step = int(any(isinstance(piece, Result) for turn in seen.turns for piece in turn.pieces))
    same("model", seen.model, model_of(provider.NAME))
    same("system", seen.system, scenario.system)
    same("turns", [_plain(turn) for turn in seen.turns], expected_turns(scenario, step, provider))
    same("tools", [_outline(tool) for tool in seen.tools], [_outline(tool) for tool in scenario.tools])
    same("tool choice", seen.choice or "auto", (scenario.choice if step == 0 else None) or "auto")
    same("schema", _shape_of(seen.schema), _shape_of(scenario.schema))
    same("effort", seen.effort, scenario.effort)
    same("stop", seen.stop, scenario.stop)
    same("temperature", seen.temperature, scenario.temperature)
    same("limit", seen.limit, scenario.limit)
    same("signatures", seen.signed, provider.signatures(scenario) if step else ())
    return step


def expected_turns(scenario: Scenario, step: int, provider: Provider) -> list[Turn]:
    """The conversation as this provider must see it."""
    turns = list(scenario.turns())
    if step:
        reply = scenario.replies[0]
        ids = [provider.call_id(at) for at in range(len(reply.calls))]
        words = (Words(reply.words),) if reply.words else ()
        called = [Call(call.name, call.arguments, id_) for call, id_ in zip(reply.calls, ids, strict=True)]
        answered = [
            # Where there are no ids, the name tells which call it answers.
            Result(text, call.id, "" if call.id else call.name)
            for call, text in zip(called, scenario.results, strict=True)
        ]
        turns += [Turn("assistant", (*words, *called)), Turn("user", tuple(answered))]
    return [_plain(turn) for turn in turns]


def _plain(turn: Turn) -> Turn:
    """A turn as it is compared: words in one piece, and results by what they tell."""
    pieces: list[Piece] = []
    for piece in turn.pieces:
        match piece:
            case Words() if pieces and isinstance(pieces[-1], Words):
                pieces[-1] = Words(pieces[-1].text + piece.text)
            case Result():  # An object may be wrapped around a text.
                pieces.append(Result(_told(piece.text), piece.call_id, piece.name))
            case Words() | Picture() | Call():
                pieces.append(piece)
    return Turn(turn.role, tuple(pieces))


def _told(text: str) -> str:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict) and value.keys() == {"result"}:
        value = value["result"]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _outline(tool: Tool) -> tuple[str, str, Any]:
    return tool.name, tool.description, shape(tool.parameters)


def _shape_of(schema: Schema | None) -> Any:
    return None if schema is None else shape(schema)


def shape(schema: Schema) -> Any:
    """What a schema means, whichever keywords and letters say it; limits of numbers are not looked at."""
    properties = schema.get("properties", {})
    return {
        "types": sorted(_types(schema)),
        "values": schema.get("enum", []),
        "required": sorted(schema.get("required", ())),
        "properties": {name: shape(inner) for name, inner in sorted(properties.items())},
    }


def _types(schema: Schema) -> set[str]:
    told = schema.get("type", [])
    types = {name.lower() for name in ([told] if isinstance(told, str) else told)}
    for inner in schema.get("anyOf", ()):
        types |= _types(inner)
    return types | ({"null"} if schema.get("nullable") else set())
