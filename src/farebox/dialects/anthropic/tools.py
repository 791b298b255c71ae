"""Tools from elsewhere, as Anthropic takes them."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic.block import NAME
from farebox.dialects.anthropic.parts import Fitting, check_name
from farebox.dialects.conversation import Opaque, Prompt, Tool, ToolCall, ToolChoice
from farebox.dialects.schema import lower_schema
from farebox.dialects.splice import UNREADABLE

STRICT_MOST: Final = 20  # Anthropic, "Structured outputs": strict tools in one request.
_NO_PARAMETERS = b'{"type":"object","properties":{}}'
_ANYTHING = b'{"type":"object"}'
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_type = msgspec.json.Decoder(str)


def fit_tools(prompt: Prompt, fitting: Fitting) -> tuple[Tool | Opaque, ...]:
    """The tools; and, where none are defined, those that were called before."""
    names: set[str] = set()
    tools: list[Tool | Opaque] = []
    strict = 0
    for tool in prompt.tools:
        if isinstance(tool, Tool):
            check_name(tool.name)
            if tool.name in names:
                raise _refused(tool.name, "two of the tools have this name")
            names.add(tool.name)
            strict += tool.strict is True
            if strict > STRICT_MOST and tool.strict:
                fitting.dropped.append("strict")
            tools.append(_fit_tool(tool, fitting, strict=tool.strict is True and strict <= STRICT_MOST))
    if not tools:
        called = [part.name for turn in prompt.turns for part in turn.parts if isinstance(part, ToolCall)]
        tools = [Tool(name, parameters=_ANYTHING) for name in dict.fromkeys(called)]
    return tuple(tools)


def fit_tool_choice(prompt: Prompt, tools: tuple[Tool | Opaque, ...]) -> ToolChoice:
    """The choice among them; it is said only where there are any."""
    choice = prompt.tool_choice
    if not prompt.tools:
        if choice.mode in ("required", "named"):
            raise Fault(
                Kind.BAD_REQUEST,
                "tool_choice is not right: there are no tools to choose from.",
                param="tool_choice",
            )
        return ToolChoice("none") if tools else ToolChoice()
    if choice.mode == "named" and not any(
        isinstance(tool, Tool) and tool.name == choice.name for tool in tools
    ):
        raise Fault(
            Kind.BAD_REQUEST,
            f"tool_choice is not right: tools has none of the name {choice.name!r}.",
            param="tool_choice",
        )
    return choice


def _fit_tool(tool: Tool, fitting: Fitting, *, strict: bool) -> Tool:
    return replace(
        tool,
        description=tool.description or None,
        parameters=_fit_parameters(tool, strict=strict),
        strict=True if strict else None,
        mark=fitting.mark(tool.mark),
        native=(),
    )


def _fit_parameters(tool: Tool, *, strict: bool) -> bytes:
    """Parameters whose root is an object, as it must be here."""
    if tool.parameters is None:
        return _NO_PARAMETERS
    schema = tool.parameters
    members = _members(schema)
    if strict or "allOf" in members:
        schema = lower_schema(schema, NAME).schema
        members = _members(schema)
    if "anyOf" in members or "oneOf" in members:
        raise _refused(tool.name, "its provider takes no parameters that are one of several at their root")
    if "type" not in members:
        return msgspec.json.encode({"type": "object", **members})
    try:
        kind = _type.decode(members["type"])
    except UNREADABLE:
        kind = ""
    if kind != "object":
        raise _refused(tool.name, "its parameters must be of type object")
    return schema


def _members(schema: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _object.decode(schema)
    except UNREADABLE:
        return {}


def _refused(name: str, reason: str) -> Fault:
    return Fault(
        Kind.BAD_REQUEST,
        f"The tool {name!r} cannot be passed on to this model: {reason}.",
        param=name or "tools",
    )
