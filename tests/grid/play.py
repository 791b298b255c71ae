"""Playing one cell: the caller asks, step by step, and what it hears is checked against the scenario."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from typing import Protocol

from jsonschema import Draft202012Validator

from tests.grid.callers import anthropic, gemini, openai_chat, openai_responses
from tests.grid.cells import CALLERS
from tests.grid.facts import Answered, Asking, Failure, Heard, Reply, Scenario
from tests.grid.lines import same

Send = Callable[[Asking], Awaitable[Answered]]


class Caller(Protocol):
    """One dialect, written and read naively."""

    NAME: str
    FAULT_TYPES: dict[int, str]  # By the status of the answer.

    def ask(self, scenario: Scenario, model: str, *, stream: bool) -> Asking:
        """The first request of a scenario."""

    def go_on(self, asking: Asking, heard: Heard, results: Sequence[str]) -> Asking:
        """The next request, with what the tools answered."""

    def hear(self, answer: Answered, asking: Asking) -> Heard:
        """Read an answer; AssertionError says what in it is not as the reference has it."""


_MODULES: tuple[Caller, ...] = (openai_chat, openai_responses, anthropic, gemini)
CALLER_MODULES: dict[str, Caller] = dict(zip(CALLERS, _MODULES, strict=True))
# What a provider says in the middle of a stream is told by its own status, or as a provider's failure.
_MIDDLE = {
    "openai_chat": {"service_unavailable_error"},
    "openai_responses": {"server_error"},
    "anthropic": {"api_error", "overloaded_error"},
    "gemini": {"UNAVAILABLE", "INTERNAL"},
}


async def converse(
    caller: Caller, scenario: Scenario, model: str, send: Send, *, streamed: bool
) -> list[Heard]:
    """Ask, and as long as tools are called, let them answer and go on; what was heard, step by step."""
    asking = caller.ask(scenario, model, stream=streamed)
    heard = [caller.hear(await send(asking), asking)]
    while heard[-1].calls and len(heard) < len(scenario.replies):
        # The engine calls as often as it likes, so its calls are answered by turns.
        results = [text for text, _ in zip(cycle(scenario.results), heard[-1].calls, strict=False)]
        asking = caller.go_on(asking, heard[-1], results)
        heard.append(caller.hear(await send(asking), asking))
    return heard


def check_heard(heard: Heard, reply: Reply, caller: Caller, provider: str) -> None:
    """The caller heard what the scripted provider answered."""
    assert heard.fault is None, heard.fault
    same("words", heard.words, reply.words)
    same(
        "calls",
        [(call.name, call.arguments) for call in heard.calls],
        [(call.name, call.arguments) for call in reply.calls],
    )
    same("thought", heard.thought, reply.thought)
    same("finish", heard.finish, reply.finish)
    if caller.NAME == provider == "anthropic":  # The one pair that has a word for it on both sides.
        same("stop sequence", heard.stop_sequence, reply.stop_sequence)
    told, tokens = heard.tokens, reply.tokens
    assert told is not None
    same("tokens", (told.fresh, told.cached, told.out), (tokens.fresh, tokens.cached, tokens.out))
    assert told.thought in (None, tokens.thought), f"tokens of thoughts: {told.thought}"


def check_form(heard: Heard, scenario: Scenario, step: int, caller: Caller) -> None:
    """The answer of somebody who says what he likes has the form that was asked for."""
    assert heard.fault is None, heard.fault
    last = step == len(scenario.replies) - 1
    reply = scenario.replies[step]
    assert heard.tokens is not None
    assert heard.tokens.fresh + heard.tokens.cached > 0
    assert heard.tokens.out > 0
    if not last:
        same("finish", heard.finish, "tool_calls")
        named = {call.name for call in heard.calls}
        assert named <= {call.name for call in reply.calls}, named
        for call in heard.calls:
            (tool,) = [tool for tool in scenario.tools if tool.name == call.name]
            Draft202012Validator(tool.parameters).validate(call.arguments)
        return
    assert heard.finish in ("stop", "length"), heard.finish
    assert not heard.calls, heard.calls
    assert not any(stop in heard.words for stop in scenario.stop)
    if scenario.schema is not None:
        same("finish", heard.finish, "stop")
        asked = anthropic.lowered(scenario.schema) if caller.NAME == anthropic.NAME else scenario.schema
        Draft202012Validator(asked).validate(json.loads(heard.words))


def check_fault(heard: Heard, failure: Failure, caller: Caller) -> None:
    """The failure was told in the caller's own dialect."""
    fault = heard.fault
    assert fault is not None, "nothing was said of the failure"
    if failure.in_the_middle:
        same("status", fault.status, 200)
        assert fault.type in _MIDDLE[caller.NAME], fault.type
        assert heard.words, "what came before the failure was lost"
        return
    same("status", fault.status, failure.heard_status)
    same("type", fault.type, caller.FAULT_TYPES[failure.heard_status])
    if failure.heard_status == 400:
        assert failure.message in fault.message, fault.message
    else:
        assert failure.message not in fault.message, "a provider's troubles are not the customer's to read"
