"""A Responses request ↔ Prompt. (OpenAI OpenAPI, CreateResponse.)

At home, reading and writing again gives the request the relay would send, in this normal form: `input` is a list,
messages say their type, `stop` is a list, ids and states of items are left out, and so are empty instructions.
`store: false` always goes out.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from farebox.dialects.conversation import (
    Members,
    Opaque,
    Output,
    Prompt,
    Reasoning,
    Schema,
    Text,
    Tool,
    ToolChoice,
    Turn,
)
from farebox.dialects.members import FLAG, RAW, TEXT, WHOLE, Fields, written
from farebox.dialects.openai_responses.content import NAME
from farebox.dialects.openai_responses.input import include_of
from farebox.dialects.openai_responses.item import INSTRUCTIONS, read_items, write_items
from farebox.dialects.openai_responses.rules import ENCRYPTED, LOGPROBS, STRIPPED
from farebox.dialects.openai_sampling import read_sampling, write_sampling
from farebox.dialects.own import OWN

# Members without a field of ours that change the answer, each with the value that changes nothing.
_BOUND: dict[str, object] = {
    "top_logprobs": 0,
    "tool_choice": "auto",
    "text.format": {"type": "text"},
    "n": 1,
    "logit_bias": {},
    "modalities": ["text"],
    "response_format": None,
    "grammar": None,
    "json_schema": None,
}
_TEXT = "text."  # What `text` holds goes by its path.
_INCLUDE, _REASONING = "include", "reasoning"
_SILENT = frozenset({INSTRUCTIONS, _INCLUDE})
# Said by `include`, which goes home whole: these only tell what is lost elsewhere.
_INCLUDED: dict[str, bool] = {LOGPROBS: True, "message.input_image.image_url": False}
_NULL = msgspec.Raw(b"null")
_ASK_ENCRYPTED = [ENCRYPTED]


class _NamedTool(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    name: str


class _JsonObject(msgspec.Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    pass


class _JsonSchema(msgspec.Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    name: str
    schema: msgspec.Raw = _NULL
    strict: bool | None = None
    description: str | None = None


_Choice: TypeAlias = Literal["auto", "none", "required"] | _NamedTool
_Format: TypeAlias = _JsonObject | _JsonSchema
_choice: msgspec.json.Decoder[_Choice] = msgspec.json.Decoder(_Choice)
_format: msgspec.json.Decoder[_Format] = msgspec.json.Decoder(_Format)
_input: msgspec.json.Decoder[str | list[msgspec.Raw]] = msgspec.json.Decoder(str | list[msgspec.Raw])
_names = msgspec.json.Decoder(list[str])


def read_prompt(body: bytes) -> Prompt:
    """A caller's body → the conversation; Fault BAD_REQUEST names a member of the wrong shape."""
    fields = Fields(body, "")
    fields.take("model", TEXT)
    turns = _read_turns(fields)
    tools = fields.items("tools")
    reasoning, told = _read_reasoning(fields)
    output, text = _read_output(fields)
    sampling, tool_choice = read_sampling(fields), _read_tool_choice(fields)
    stream = fields.take("stream", FLAG)
    extra, bound = _sorted((*fields.left(), *text, *told))
    return Prompt(
        turns=turns,
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
    """A fitted conversation → a provider's body."""
    del ask_usage  # Usage comes unasked.
    wire: dict[str, object] = {"model": model}
    turns = prompt.turns
    if turns and turns[0].native_role == INSTRUCTIONS:
        wire[INSTRUCTIONS] = "".join(part.text for part in turns[0].parts if isinstance(part, Text))
        turns = turns[1:]
    wire["input"] = [item for turn in turns for item in write_items(turn)]
    if prompt.tools:
        wire["tools"] = [_write_tool(tool) for tool in prompt.tools]
    wire |= _write_tool_choice(prompt.tool_choice)
    wire |= write_sampling(prompt.sampling)
    wire |= _write_output(prompt)
    wire |= _write_reasoning(prompt.reasoning)
    wire["store"] = False
    if prompt.stream is not None:
        wire["stream"] = prompt.stream
    for name, raw in (*prompt.extra, *prompt.bound):
        if not name.startswith(_TEXT) and name not in _INCLUDED:
            wire[name] = msgspec.Raw(raw)
    return msgspec.json.encode(wire)


def _read_turns(fields: Fields) -> tuple[Turn, ...]:
    instructions = fields.take(INSTRUCTIONS, TEXT)
    said = fields.need("input", _input)
    turns = (Turn("user", (Text(said),)),) if isinstance(said, str) else read_items(said)
    if not instructions:
        return turns
    return (Turn("system", (Text(instructions),), native_role=INSTRUCTIONS), *turns)


def _sorted(members: Members) -> tuple[Members, Members]:
    """What was not understood: harmless, and bound to this dialect. Our own members end here."""
    extra: list[tuple[str, bytes]] = []
    bound: list[tuple[str, bytes]] = []
    for name, raw in members:
        if name in OWN or name in STRIPPED or name == "store" or (name in _SILENT and raw == b"null"):
            continue
        if _INCLUDED.get(name) or _changes(name, raw):
            bound.append((name, raw))
        else:
            extra.append((name, raw))
    return tuple(extra), tuple(bound)


def _changes(name: str, raw: bytes) -> bool:
    return name in _BOUND and msgspec.json.decode(raw) not in (None, _BOUND[name])


def _read_tool(raw: msgspec.Raw, path: str) -> Tool | Opaque:
    fields = Fields(raw, path)
    if fields.take("type", TEXT) != "function":
        return Opaque(NAME, f"{path}.type", "tools", bytes(raw))
    name, description = fields.need("name", TEXT), fields.take("description", TEXT)
    parameters, strict = fields.take("parameters", RAW), fields.take("strict", FLAG)
    schema = None if parameters is None else bytes(parameters)
    return Tool(name, description, schema, strict, extra=fields.left())


def _write_tool(tool: Tool | Opaque) -> object:
    match tool:
        case Opaque():
            return msgspec.Raw(tool.raw)
        case Tool():
            parameters = None if tool.parameters is None else msgspec.Raw(tool.parameters)
            wire: dict[str, object] = {"type": "function", "name": tool.name}
            wire |= _said(description=tool.description, parameters=parameters, strict=tool.strict)
            return wire | written(tool.extra)


def _read_tool_choice(fields: Fields) -> ToolChoice:
    choice, parallel = fields.find("tool_choice", _choice), fields.take("parallel_tool_calls", FLAG)
    if isinstance(choice, _NamedTool):
        return ToolChoice("named", choice.name, parallel)
    return ToolChoice(choice, None, parallel)


def _write_tool_choice(choice: ToolChoice) -> dict[str, object]:
    mode: object = choice.mode
    if choice.mode == "named":
        mode = {"type": "function", "name": choice.name}
    return _said(tool_choice=mode, parallel_tool_calls=choice.parallel)


def _read_output(fields: Fields) -> tuple[Output, Members]:
    """The limit and the schema, and by their paths the members of `text` that are neither."""
    limit, text = fields.take("max_output_tokens", WHOLE), fields.open("text")
    if text is None:
        return Output(limit), ()
    wire = text.find("format", _format)
    left = tuple((text.at(name), raw) for name, raw in text.left())
    match wire:
        case _JsonObject():
            return Output(limit, schema=Schema()), left
        case _JsonSchema():
            schema = None if wire.schema == _NULL else bytes(wire.schema)
            return Output(limit, schema=Schema(wire.name, schema, wire.strict, wire.description)), left
        case None:
            return Output(limit), left


def _write_output(prompt: Prompt) -> dict[str, object]:
    output = prompt.output
    wire = _said(max_output_tokens=output.limit)
    text: dict[str, object] = {}
    if output.schema is not None:
        text["format"] = _write_schema(output.schema)
    for name, raw in (*prompt.extra, *prompt.bound):
        if name.startswith(_TEXT):
            text[name.removeprefix(_TEXT)] = msgspec.Raw(raw)
    return wire | {"text": text} if text else wire


def _write_schema(schema: Schema) -> dict[str, object]:
    if schema.schema is None and schema.name is None:
        return {"type": "json_object"}
    wire: dict[str, object] = {"type": "json_schema", "name": schema.name or "answer"}
    return wire | _said(
        schema=None if schema.schema is None else msgspec.Raw(schema.schema),
        strict=schema.strict,
        description=schema.description,
    )


def _read_reasoning(fields: Fields) -> tuple[Reasoning, Members]:
    """How hard to think, and what else `include` asks for."""
    raw, include = fields.take(_REASONING, RAW), fields.take(_INCLUDE, RAW)
    store = fields.take("store", RAW)
    goes_out = include_of(bytes(include or b""), bytes(raw or b""), bytes(store or b""))
    native: Members = () if raw is None else ((_REASONING, bytes(raw)),)
    told: Members = ()
    if goes_out:
        native += ((_INCLUDE, goes_out),)
        told = tuple((name, b"true") for name in _names.decode(goes_out) if name in _INCLUDED)
    said = Fields(raw, _REASONING) if raw is not None else None
    if said is None:
        return Reasoning(native=native), told
    effort, summary = said.take("effort", TEXT), said.take("summary", TEXT)
    older = said.take("generate_summary", TEXT)
    shown = True if summary or older else None
    return Reasoning(None, effort, None, shown, native), told


def _write_reasoning(reasoning: Reasoning) -> dict[str, object]:
    if reasoning.native:
        return {**written(reasoning.native)}
    if reasoning.enabled is None and reasoning.effort is None:
        return {}
    summary = None if reasoning.shown is False else "auto"
    # Without its thoughts the next turn would think all of it again.
    return {_REASONING: _said(effort=reasoning.effort, summary=summary), _INCLUDE: _ASK_ENCRYPTED}


def _said(**members: object) -> dict[str, object]:
    """The members that say something."""
    return {name: value for name, value in members.items() if value is not None}
