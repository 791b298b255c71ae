"""A Messages request ↔ Prompt. (Anthropic, "Messages", Create a Message.)

At home, reading and writing again gives the request the relay would send, in this normal form: `output_format`, the
older word, becomes `output_config.format`; a tool's type `custom`, `is_error: false` and no stop sequences, which say
nothing, are left out. The system's words stand in a turn of their own at the beginning; where they stand among the
messages, they stay.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from farebox.dialects.anthropic.block import (
    NAME,
    read_block,
    read_content,
    read_mark,
    text_or_list,
    write_content,
    write_mark,
)
from farebox.dialects.anthropic.rules import STRIPPED
from farebox.dialects.conversation import (
    Members,
    Opaque,
    Output,
    Prompt,
    Reasoning,
    Role,
    Sampling,
    Schema,
    Text,
    Tool,
    ToolChoice,
    Turn,
)
from farebox.dialects.effort import BUDGET_MIN
from farebox.dialects.members import FLAG, LIST, NUMBER, RAW, TEXT, WHOLE, Fields, written
from farebox.dialects.own import OWN

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_SYSTEM, _CONFIG, _THINKING = "system", "output_config", "thinking"
_EFFORT = "output_config.effort"
_INSIDE = f"{_CONFIG}."  # What `output_config` holds goes by its path.
# Members without a field of ours that change the answer, each with the value that changes nothing.
_BOUND: dict[str, object] = {
    "tool_choice": None,
    "output_config.format": None,
    "output_format": None,
    "container": None,
    "mcp_servers": [],
    # The servers' own words for a schema: llama.cpp, vLLM.
    "grammar": None,
    "json_schema": None,
    "response_format": None,
}
_HIGHEST = {"max": "xhigh"}  # Anthropic's word beyond the common scale.
_MODES = {"disabled": False, "enabled": True, "adaptive": True, "between_tools": True}
_SHOWN = {"summarized": True, "omitted": False}
_NOTHING = (b"null", b"[]", b"{}")


class _Auto(msgspec.Struct, tag_field="type", tag="auto", forbid_unknown_fields=True, omit_defaults=True):
    disable_parallel_tool_use: bool | None = None


class _Any(msgspec.Struct, tag_field="type", tag="any", forbid_unknown_fields=True, omit_defaults=True):
    disable_parallel_tool_use: bool | None = None


class _Named(msgspec.Struct, tag_field="type", tag="tool", forbid_unknown_fields=True, omit_defaults=True):
    name: str
    disable_parallel_tool_use: bool | None = None


class _None(msgspec.Struct, tag_field="type", tag="none", forbid_unknown_fields=True, omit_defaults=True):
    pass


class _JsonSchema(
    msgspec.Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True, omit_defaults=True
):
    schema: msgspec.Raw


_Choice: TypeAlias = _Auto | _Any | _Named | _None
_choice: msgspec.json.Decoder[_Choice] = msgspec.json.Decoder(_Choice)
_format = msgspec.json.Decoder(_JsonSchema)
_stop: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])


def read_prompt(body: bytes) -> Prompt:
    """A caller's body → the conversation; Fault BAD_REQUEST names a member of the wrong shape."""
    fields = Fields(body, "")
    fields.take("model", TEXT)
    messages = fields.need("messages", LIST)
    system = _read_system(fields)
    tools = fields.items("tools")
    config = fields.open(_CONFIG)
    output, reasoning = _read_output(fields, config), _read_reasoning(fields, config)
    sampling, tool_choice = _read_sampling(fields), _read_tool_choice(fields)
    stream = fields.take("stream", FLAG)
    inside = config.left() if config is not None else ()
    extra, bound = _sorted((*fields.left(), *((_INSIDE + name, raw) for name, raw in inside)))
    return Prompt(
        turns=(*system, *(_read_message(raw, f"messages[{at}]") for at, raw in enumerate(messages))),
        origin=NAME,
        tools=tuple(_read_tool(raw, f"tools[{at}]") for at, raw in enumerate(tools)),
        tool_choice=tool_choice,
        sampling=sampling,
        output=output,
        reasoning=reasoning,
        stream=stream,
        extra=extra,
        bound=bound,
    )


def write_prompt(prompt: Prompt, model: str, *, ask_usage: bool = True) -> bytes:
    """A fitted prompt → a provider's body."""
    del ask_usage  # Usage comes unasked.
    wire: dict[str, object] = {"model": model}
    if prompt.output.limit is not None:
        wire["max_tokens"] = prompt.output.limit
    system = [turn for turn in prompt.turns if _is_system(turn)]
    if system:
        wire[_SYSTEM] = _write_system(system)
    wire["messages"] = [_write_message(turn) for turn in prompt.turns if not _is_system(turn)]
    if prompt.tools:
        wire["tools"] = [_write_tool(tool) for tool in prompt.tools]
    choice = _write_tool_choice(prompt.tool_choice)
    if choice is not None:
        wire["tool_choice"] = choice
    wire |= _write_sampling(prompt.sampling)
    if prompt.stream is not None:
        wire["stream"] = prompt.stream
    others = (*_write_reasoning(prompt), *_write_schema(prompt.output.schema), *prompt.extra, *prompt.bound)
    config: dict[str, msgspec.Raw] = {}
    for name, raw in others:
        if name.startswith(_INSIDE):
            config[name.removeprefix(_INSIDE)] = msgspec.Raw(raw)
        else:
            wire[name] = msgspec.Raw(raw)
    if config:
        wire[_CONFIG] = config
    return msgspec.json.encode(wire)


def fitting_budget(budget: int, limit: int | None) -> int | None:
    """A budget that leaves a quarter of the limit for the answer; None where that is less than Anthropic takes."""
    most = budget if limit is None else min(budget, limit - limit // 4)
    return most if most >= BUDGET_MIN and (limit is None or most < limit) else None


def _is_system(turn: Turn) -> bool:
    """Whether it belongs into the body's `system`; one that was a message of its own stays one."""
    return turn.role == _SYSTEM and turn.native_role is None


def _sorted(members: Members) -> tuple[Members, Members]:
    """What was not understood: harmless, and bound to this dialect. Our own members and ordinary tiers end here."""
    extra: list[tuple[str, bytes]] = []
    bound: list[tuple[str, bytes]] = []
    for name, raw in members:
        if name in OWN or name in STRIPPED:
            continue
        if name in _BOUND and raw not in _NOTHING:
            bound.append((name, raw))
        else:
            extra.append((name, raw))
    return tuple(extra), tuple(bound)


def _read_system(fields: Fields) -> tuple[Turn, ...]:
    said = fields.take(_SYSTEM, text_or_list)
    if said is None:
        return ()
    if isinstance(said, str):
        return (Turn("system", (Text(said),)),)
    parts = tuple(read_block(raw, f"{_SYSTEM}[{at}]") for at, raw in enumerate(said))
    return (Turn("system", parts, listed=True),)


def _write_system(turns: list[Turn]) -> object:
    if len(turns) == 1:
        return write_content(turns[0].parts, listed=turns[0].listed)
    return write_content([part for turn in turns for part in turn.parts], listed=True)


def _read_message(raw: msgspec.Raw, path: str) -> Turn:
    fields = Fields(raw, path)
    role = _ROLES.get(fields.need("role", TEXT))
    if role is None:
        return Turn("user", (Opaque(NAME, f"{path}.role", "message", bytes(raw)),))
    parts, listed = read_content(fields)
    return Turn(role, parts, None, _SYSTEM if role == _SYSTEM else None, listed, fields.left())


def _write_message(turn: Turn) -> object:
    if len(turn.parts) == 1 and isinstance(only := turn.parts[0], Opaque) and only.place == "message":
        return msgspec.Raw(only.raw)
    wire: dict[str, object] = {"role": turn.role, "content": write_content(turn.parts, listed=turn.listed)}
    return wire | written(turn.extra)


def _read_tool(raw: msgspec.Raw, path: str) -> Tool | Opaque:
    """One of `tools`; one whose schema is built into the model is an Opaque."""
    fields = Fields(raw, path)
    if fields.take("type", TEXT) not in (None, "custom"):
        return Opaque(NAME, f"{path}.type", "tools", bytes(raw))
    name, description = fields.need("name", TEXT), fields.take("description", TEXT)
    schema, strict = fields.take("input_schema", RAW), fields.take("strict", FLAG)
    parameters = None if schema is None else bytes(schema)
    return Tool(name, description, parameters, strict, read_mark(fields), fields.left())


def _write_tool(tool: Tool | Opaque) -> object:
    match tool:
        case Opaque():
            return msgspec.Raw(tool.raw)
        case Tool():
            wire: dict[str, object] = {"name": tool.name}
            if tool.description is not None:
                wire["description"] = tool.description
            if tool.parameters is not None:
                wire["input_schema"] = msgspec.Raw(tool.parameters)
            if tool.strict is not None:
                wire["strict"] = tool.strict
            return wire | write_mark(tool.mark) | written(tool.extra)


def _read_tool_choice(fields: Fields) -> ToolChoice:
    choice = fields.find("tool_choice", _choice)
    match choice:
        case None:
            return ToolChoice()
        case _None():
            return ToolChoice("none")
        case _Named():
            return ToolChoice("named", choice.name, _parallel(choice))
        case _Any():
            return ToolChoice("required", None, _parallel(choice))
        case _Auto():
            return ToolChoice("auto", None, _parallel(choice))


def _parallel(choice: _Auto | _Any | _Named) -> bool | None:
    disabled = choice.disable_parallel_tool_use
    return None if disabled is None else not disabled


def _write_tool_choice(choice: ToolChoice) -> _Choice | None:
    disabled = None if choice.parallel is None else not choice.parallel
    match choice.mode:
        case "none":
            return _None()
        case "named":
            return _Named(choice.name or "", disabled)
        case "required":
            return _Any(disabled)
        case "auto":
            return _Auto(disabled)
        case None:
            return _Auto(disabled) if disabled else None


def _read_sampling(fields: Fields) -> Sampling:
    stop = fields.take("stop_sequences", _stop)
    return Sampling(
        temperature=fields.take("temperature", NUMBER),
        top_p=fields.take("top_p", NUMBER),
        top_k=fields.take("top_k", WHOLE),
        stop=tuple(stop or ()),
    )


def _write_sampling(sampling: Sampling) -> dict[str, object]:
    wire: dict[str, object] = {}
    if sampling.temperature is not None:
        wire["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        wire["top_p"] = sampling.top_p
    if sampling.top_k is not None:
        wire["top_k"] = sampling.top_k
    if sampling.stop:
        wire["stop_sequences"] = sampling.stop
    return wire


def _read_output(fields: Fields, config: Fields | None) -> Output:
    limit = fields.take("max_tokens", WHOLE)
    found = config.find("format", _format) if config is not None else None
    if found is None:
        found = fields.find("output_format", _format)
    return Output(limit, schema=None if found is None else Schema(schema=bytes(found.schema)))


def _write_schema(schema: Schema | None) -> Members:
    if schema is None or schema.schema is None:
        return ()
    return ((f"{_INSIDE}format", b'{"type":"json_schema","schema":%b}' % schema.schema),)


def _read_reasoning(fields: Fields, config: Fields | None) -> Reasoning:
    effort = config.take("effort", TEXT) if config is not None else None
    raw = fields.take(_THINKING, RAW)
    native: list[tuple[str, bytes]] = []
    enabled = budget = shown = None
    if raw is not None:
        native.append((_THINKING, bytes(raw)))
        thinking = Fields(raw, _THINKING)
        enabled = _MODES.get(thinking.find("type", TEXT) or "")
        budget = thinking.find("budget_tokens", WHOLE)
        shown = _SHOWN.get(thinking.find("display", TEXT) or "")
    if effort is not None:
        native.append((_EFFORT, msgspec.json.encode(effort)))
        effort = _HIGHEST.get(effort, effort)
    return Reasoning(enabled, effort, budget, shown, tuple(native))


def _write_reasoning(prompt: Prompt) -> Members:
    reasoning = prompt.reasoning
    if reasoning.native:
        return reasoning.native
    members: list[tuple[str, bytes]] = []
    if reasoning.effort is not None:
        members.append((_EFFORT, msgspec.json.encode(reasoning.effort)))
    if reasoning.enabled is False:
        members.append((_THINKING, b'{"type":"disabled"}'))
    elif reasoning.budget is not None:
        # The limit may be the gateway's, which was not known when the prompt was fitted.
        budget = fitting_budget(reasoning.budget, prompt.output.limit)
        if budget is not None:
            members.append((_THINKING, b'{"type":"enabled","budget_tokens":%d}' % budget))
    return tuple(members)
