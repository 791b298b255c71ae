"""Whether the sandbox calls a tool, which one, and with what arguments."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from msgspec import Struct

from farebox.providers.sandbox.request import MalformedError, NamedTool, Request, Tool
from farebox.providers.sandbox.schema import SchemaError, smallest_json
from farebox.providers.sandbox.talk import Talk

_SEVERAL = re.compile(r"\b(?:both|each|all|every|two|parallel)\b", re.IGNORECASE)


class Call(Struct, frozen=True):
    """One tool call of an answer."""

    id: str
    name: str
    arguments: str  # JSON.


def calls_for(request: Request, talk: Talk) -> tuple[Call, ...]:
    """The calls that answer a request, none where words do.

    A tool is called once for each thing the user says. Its result is answered in words, whatever `tool_choice`
    asks, so that every agent's loop comes to an end. MalformedError names a tool whose schema no value satisfies.
    """
    if talk.results:
        return ()
    return tuple(_call(tool, talk.seed, index) for index, tool in enumerate(_wanted(request, talk)))


def _wanted(request: Request, talk: Talk) -> Sequence[Tool]:
    tools = request.tools or []
    choice = request.tool_choice
    if choice == "none":
        return []
    if isinstance(choice, NamedTool):
        return [tool for tool in tools if tool.function.name == choice.function.name][:1]
    several = request.parallel_tool_calls is not False and _SEVERAL.search(talk.words)
    return tools[: 2 if several else 1]


def _call(tool: Tool, seed: int, index: int) -> Call:
    function = tool.function
    parameters = {"type": "object", **(function.parameters or {})}
    try:
        arguments = smallest_json(parameters)
    except SchemaError as error:
        raise MalformedError(f"Invalid schema for function '{function.name}': {error}.", "tools") from None
    if not arguments.startswith("{"):
        raise MalformedError(
            f"Invalid schema for function '{function.name}': it must be of type object.", "tools"
        )
    number = zlib.crc32(function.name.encode(errors="replace"), seed + index & 0xFFFFFFFF)
    return Call(f"call_{number:08x}{seed:08x}{index:02d}", function.name, arguments)
