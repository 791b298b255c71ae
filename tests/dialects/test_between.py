"""From every dialect into every other: each recorded or written reply says the same, each prompt arrives or is refused.

The replies go through the target's writer and its own reader; the prompts are fitted to the target, written, and held
against the target's own checks of a caller's body, which are those of its providers.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects import DIALECTS
from farebox.dialects.conversation import (
    Event,
    Failed,
    Media,
    Part,
    Prompt,
    Reply,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    fold,
)
from farebox.dialects.dialect import Asked, Cost, Head, Names
from tests.dialects.forms import parsed
from tests.dialects.recordings import Exchange, over_exchanges
from tests.dialects.test_laws import forms, read_all, read_exchange

over_targets = pytest.mark.parametrize("target", DIALECTS)
over_requests = over_exchanges(lambda exchange: exchange.request)
over_replies = over_exchanges(lambda exchange: exchange.plain or exchange.stream)
LIMIT = 4_096  # What a gateway says where a target must know a limit, and the caller named none.


def words(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def calls(parts: tuple[Part, ...]) -> list[tuple[str, object]]:
    """Names and arguments; those that are no object are wrapped where a language has objects alone."""
    found = [part for part in parts if isinstance(part, ToolCall)]
    return [(call.name, parsed(call.arguments)) for call in found]


def unwrapped(found: list[tuple[str, object]]) -> list[tuple[str, object]]:
    def inner(value: object) -> object:
        if isinstance(value, dict) and value.keys() == {"_raw"}:
            return parsed(str(value["_raw"])) if isinstance(value["_raw"], str) else value["_raw"]
        return value or {}  # Nothing is an empty object.

    return [(name, inner(value)) for name, value in found]


def thoughts(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Thought))


def through(events: Sequence[Event], target: str, *, stream: bool) -> Reply:
    """A reply after the target's writer and its reader."""
    dialect = DIALECTS[target]
    head, names = Head(model="asked", stream=stream), Names("id-1", "asked", 1_700_000_000)
    writer = dialect.writer(head, names)
    body = b"".join(writer.write(event, Cost("0.5", "USD")) for event in events)
    body += dialect.done(head) if stream else b""
    return fold(read_all(dialect.reader(stream=stream), [body]))


@pytest.mark.recordings
@over_targets
@over_replies
def test_a_reply_says_the_same_in_every_language(exchange: Exchange, target: str) -> None:
    for came_as_stream in forms(exchange):
        events = read_exchange(exchange, stream=came_as_stream)
        if isinstance(events[-1], Failed):
            continue
        reply = fold(events)
        for stream in (True, False):
            again = through(events, target, stream=stream)
            assert words(again.parts) == words(reply.parts)
            assert unwrapped(calls(again.parts)) == unwrapped(calls(reply.parts))
            assert thoughts(again.parts) == thoughts(reply.parts)
            assert len({part.id for part in again.parts if isinstance(part, ToolCall)}) == len(
                calls(reply.parts)
            )
            assert same_end(again, reply)
            if reply.usage is not None and again.usage is not None:
                assert again.usage.total == reply.usage.total
                assert again.usage.output_total == reply.usage.output_total
                assert again.usage.cache_read == reply.usage.cache_read


def same_end(again: Reply, reply: Reply) -> bool:
    """Whether it ended for the same reason, as far as the target has words for it."""
    if again.reason == reply.reason:
        return True
    # "stop" and "tool_calls" are one word for some, told apart by whether there are calls; so are the two refusals.
    return {again.reason, reply.reason} in (
        {"refusal", "content_filter"},
        {"stop", "tool_calls"},
        {"refusal", "stop"},
    )


def asked_of(exchange: Exchange) -> Asked:
    """What stood outside the body: of a Gemini request the model, which this test does not mind."""
    return Asked(model="asked", stream=False) if exchange.dialect == "gemini" else Asked()


def fitted(exchange: Exchange, target: str) -> Prompt | Fault:
    source, request = DIALECTS[exchange.dialect], exchange.request or b""
    try:
        source.read_head(request, asked_of(exchange))
        prompt = replace(source.read_prompt(request), stream=None)
        prompt = DIALECTS[target].fit_prompt(prompt)
    except Fault as fault:
        return fault
    assert DIALECTS[target].fit_prompt(prompt) == prompt, "fitting twice does nothing more"
    if prompt.output.limit is None and DIALECTS[target].needs_limit:
        prompt = replace(prompt, output=replace(prompt.output, limit=LIMIT))
    return prompt


@pytest.mark.recordings
@over_targets
@over_requests
def test_a_prompt_arrives_in_every_language_or_is_refused_by_name(exchange: Exchange, target: str) -> None:
    prompt = fitted(exchange, target)
    if isinstance(prompt, Fault):
        assert prompt.kind is Kind.BAD_REQUEST
        assert prompt.param
        return
    dialect = DIALECTS[target]
    body = dialect.write_prompt(prompt, "their-model")
    if exchange.dialect != target:
        dialect.read_head(
            body, asked_of(replace(exchange, dialect=target))
        )  # A provider of the target would take it.
    again = dialect.read_prompt(body)
    assert said(again) == said(prompt)


def said(prompt: Prompt) -> tuple[object, ...]:
    """What a model reads: words by side, media, calls with their results, and the names of the tools."""
    parts = [(turn.role, part) for turn in prompt.turns for part in turn.parts]
    system = "".join(part.text for role, part in parts if role == "system" and isinstance(part, Text))
    user = "".join(part.text for role, part in parts if role == "user" and isinstance(part, Text))
    model = "".join(part.text for role, part in parts if role == "assistant" and isinstance(part, Text))
    results = [words(part.parts) for _, part in parts if isinstance(part, ToolResult)]
    media = [part.kind for _, part in parts if isinstance(part, Media)]
    made = unwrapped(calls(tuple(part for _, part in parts)))
    tools = [getattr(tool, "name", None) for tool in prompt.tools]
    return system, user, model, sorted(results), media, made, tools
