"""Count: how many tokens a prompt has, without asking a model anything. It costs nothing and moves no money.

Where the first route's provider speaks the caller's dialect, it is asked: only it knows its tokenizer. Elsewhere, and
where it does not answer, the count is estimated from the words.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import (
    Media,
    Opaque,
    Part,
    Prompt,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from farebox.gateway.call import Call, Route
from farebox.gateway.house import House
from farebox.gateway.route import routes_for
from farebox.gateway.say import headers_for
from farebox.gateway.send import refusal_of
from farebox.gateway.settle import BYTES_PER_TOKEN
from farebox.providers.upstream import Outgoing

MEDIA_TOKENS = 1_000  # About what providers count for one picture of usual size.
TURN_TOKENS = 4  # What providers add for each turn.
_COUNT_BYTES_MAX = 64 << 10
_OK = 200


class Counter(msgspec.Struct, frozen=True):
    """How one dialect asks for a count and tells it."""

    path: Callable[[str], str]  # Of a model, below the provider's base URL.
    write_count: Callable[[bytes, str], bytes]  # The caller's body, and the provider's name of the model.
    read_count: Callable[[bytes], int | None]
    write_counted: Callable[[int], bytes]


async def count_tokens(call: Call, body: bytes, counter: Counter, house: House) -> int:
    """Tokens of a call's prompt, which `body` asks for; a Fault where the call would be refused before it is sent."""
    route = routes_for(call, house)[0]
    if route.provider.dialect is call.dialect:
        try:
            found = await _asked(call, route, counter, body)
        except Fault as fault:
            if fault.kind is Kind.PROVIDER_REFUSED:
                raise
            found = None
        if found is not None:
            return found
    return estimated(call.dialect.read_prompt(call.body))


def estimated(prompt: Prompt) -> int:
    """About how many tokens a prompt has."""
    tools = sum(_tool_bytes(tool) for tool in prompt.tools if isinstance(tool, Tool))
    parts = [part for turn in prompt.turns for part in turn.parts]
    size, media = tools + sum(map(_bytes_of, parts)), sum(map(_media_in, parts))
    return -(-size // BYTES_PER_TOKEN) + media * MEDIA_TOKENS + len(prompt.turns) * TURN_TOKENS


async def _asked(call: Call, route: Route, counter: Counter, body: bytes) -> int | None:
    provider, model = route.provider, route.upstream_model
    headers = headers_for(call, provider.dialect)
    outgoing = Outgoing(counter.path(model), counter.write_count(body, model), headers=headers)
    incoming = await provider.upstream.send(provider.endpoint, outgoing)
    try:
        counted = await incoming.read_whole(_COUNT_BYTES_MAX)
    finally:
        incoming.cancel()
    if incoming.status != _OK:
        raise refusal_of(route, incoming, counted)
    return counter.read_count(counted)


def _tool_bytes(tool: Tool) -> int:
    return len(tool.name) + len(tool.description or "") + len(tool.parameters or b"")


def _bytes_of(part: Part) -> int:
    match part:
        case Text() | Thought():
            return len(part.text.encode())
        case ToolCall():
            return len(part.name) + len(part.arguments.encode())
        case ToolResult():
            return sum(map(_bytes_of, part.parts))
        case Opaque():
            return len(part.raw)
        case Media():
            return 0


def _media_in(part: Part) -> int:
    match part:
        case Media():
            return 1
        case ToolResult():
            return sum(map(_media_in, part.parts))
        case Text() | Thought() | ToolCall() | Opaque():
            return 0
