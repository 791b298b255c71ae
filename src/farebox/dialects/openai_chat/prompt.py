"""A chat completion's request ↔ Prompt. (OpenAI OpenAPI, CreateChatCompletionRequest, and its compatible dialects.)

At home, reading and writing again gives the request the relay would send, in this normal form: `stop` is a list, a
tool call says its type and arguments, and a null inside an object that is understood is left out. A provider of this
language gets from elsewhere only what OpenAI documents, for many refuse members they do not know.
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
    Tool,
    ToolChoice,
)
from farebox.dialects.members import FLAG, LIST, RAW, TEXT, WHOLE, Fields, written
from farebox.dialects.openai_chat.message import read_mark, read_message, write_mark, write_messages
from farebox.dialects.openai_chat.thought import NAME
from farebox.dialects.openai_sampling import read_sampling, write_sampling
from farebox.dialects.own import OWN

# Members without a field of ours that change the answer, each with the value that changes nothing.
_BOUND: dict[str, object] = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "modalities": ["text"],
    "audio": None,
    "functions": [],
    "function_call": "auto",
    "response_format": {"type": "text"},
    "tool_choice": None,
    "max_tokens": None,  # Beside max_completion_tokens.
    "prediction": None,
    "web_search_options": None,
    # The servers' own words for a schema: vLLM, llama.cpp, SGLang.
    "guided_json": None,
    "guided_choice": None,
    "guided_regex": None,
    "guided_grammar": None,
    "structured_outputs": None,
    "json_schema": None,
    "grammar": None,
    "regex": None,
    "ebnf": None,
}
_EFFORT = "reasoning_effort"
_REASONING = (_EFFORT, "reasoning", "thinking")  # OpenAI's, OpenRouter's, and DeepSeek's and z.ai's word.
# What most bodies have none of: then there is nothing to take.
_CHOICES = frozenset({"tool_choice", "parallel_tool_calls"})
_SPEAKS_OF_REASONING = frozenset(_REASONING)
_NO_CHOICE, _NO_REASONING = ToolChoice(), Reasoning()
_THINKING_MODES = {"enabled": True, "disabled": False}
_NULL = msgspec.Raw(b"null")
_USAGE_ON = msgspec.Raw(b'{"include_usage":true}')


class _NamedFunction(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _NamedTool(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    function: _NamedFunction


class _SchemaOf(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    schema: msgspec.Raw = _NULL  # msgspec has no `Raw | None`.
    strict: bool | None = None
    description: str | None = None


class _JsonObject(msgspec.Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    pass


class _JsonSchema(msgspec.Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    json_schema: _SchemaOf


_Choice: TypeAlias = Literal["auto", "none", "required"] | _NamedTool
_Format: TypeAlias = _JsonObject | _JsonSchema
_choice: msgspec.json.Decoder[_Choice] = msgspec.json.Decoder(_Choice)
_format: msgspec.json.Decoder[_Format] = msgspec.json.Decoder(_Format)


def read_prompt(body: bytes) -> Prompt:
    """A caller's body → the conversation; Fault BAD_REQUEST names a member of the wrong shape."""
    fields = Fields(body, "")
    fields.take("model", TEXT)
    messages = fields.need("messages", LIST)
    tools = fields.items("tools")
    reasoning, output = _read_reasoning(fields), _read_output(fields)
    sampling, tool_choice = read_sampling(fields), _read_tool_choice(fields)
    stream = fields.take("stream", FLAG)
    if stream:
        fields.take("stream_options", RAW)  # Ours are written instead.
    extra, bound = _sorted(fields.left())
    return Prompt(
        turns=tuple(read_message(raw, f"messages[{at}]") for at, raw in enumerate(messages)),
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
    wire: dict[str, object] = {
        "model": model,
        "messages": [message for turn in prompt.turns for message in write_messages(turn)],
    }
    if prompt.tools:
        wire["tools"] = [_write_tool(tool) for tool in prompt.tools]
    wire |= _write_tool_choice(prompt.tool_choice)
    wire |= write_sampling(prompt.sampling)
    wire |= _write_output(prompt.output)
    wire |= _write_reasoning(prompt.reasoning)
    if prompt.stream is not None:
        wire["stream"] = prompt.stream
    if prompt.stream and ask_usage:
        wire["stream_options"] = _USAGE_ON  # Without it there is nothing to charge by.
    return msgspec.json.encode(wire | written(prompt.extra) | written(prompt.bound))


def _sorted(members: Members) -> tuple[Members, Members]:
    """What was not understood: harmless, and bound to this dialect. Our own members end here."""
    extra: list[tuple[str, bytes]] = []
    bound: list[tuple[str, bytes]] = []
    for name, raw in members:
        if name in OWN or name == "service_tier":  # Only the provider's ordinary tier gets here.
            continue
        if name == "store":
            extra.append((name, b"false"))  # Customers share the operator's account: nothing is kept there.
        elif name in _BOUND and msgspec.json.decode(raw) not in (None, _BOUND[name]):
            bound.append((name, raw))
        else:
            extra.append((name, raw))
    return tuple(extra), tuple(bound)


def _read_tool(raw: msgspec.Raw, path: str) -> Tool | Opaque:
    fields = Fields(raw, path)
    kind, function = fields.take("type", TEXT), fields.open("function")
    if kind != "function" or function is None:
        return Opaque(NAME, f"{path}.type", "tools", bytes(raw))
    name, description = function.need("name", TEXT), function.take("description", TEXT)
    parameters, strict = function.take("parameters", RAW), function.take("strict", FLAG)
    if not function.exhausted:
        return Opaque(NAME, f"{path}.function", "tools", bytes(raw))
    schema = None if parameters is None else bytes(parameters)
    return Tool(name, description, schema, strict, read_mark(fields), fields.left())


def _write_tool(tool: Tool | Opaque) -> object:
    match tool:
        case Opaque():
            return msgspec.Raw(tool.raw)
        case Tool():
            parameters = None if tool.parameters is None else msgspec.Raw(tool.parameters)
            function = _said(
                name=tool.name, description=tool.description, parameters=parameters, strict=tool.strict
            )
            return {"type": "function", "function": function} | write_mark(tool.mark) | written(tool.extra)


def _read_tool_choice(fields: Fields) -> ToolChoice:
    if not fields.says(_CHOICES):
        return _NO_CHOICE
    choice, parallel = fields.find("tool_choice", _choice), fields.take("parallel_tool_calls", FLAG)
    if isinstance(choice, _NamedTool):
        return ToolChoice("named", choice.function.name, parallel)
    return ToolChoice(choice, None, parallel)


def _write_tool_choice(choice: ToolChoice) -> dict[str, object]:
    mode: object = choice.mode
    if choice.mode == "named":
        mode = {"type": "function", "function": {"name": choice.name}}
    return _said(tool_choice=mode, parallel_tool_calls=choice.parallel)


def _read_output(fields: Fields) -> Output:
    member, limit = "max_completion_tokens", fields.take("max_completion_tokens", WHOLE)
    if limit is None:
        member, limit = "max_tokens", fields.take("max_tokens", WHOLE)
    return Output(limit, None if limit is None else member, _read_schema(fields))


def _read_schema(fields: Fields) -> Schema | None:
    """A `response_format` that is understood in whole; any other stays among the members bound to this dialect."""
    wire = fields.find("response_format", _format)
    match wire:
        case _JsonObject():
            return Schema()
        case _JsonSchema():
            inner = wire.json_schema
            schema = None if inner.schema == _NULL else bytes(inner.schema)
            return Schema(inner.name, schema, inner.strict, inner.description)
        case None:
            return None


def _write_output(output: Output) -> dict[str, object]:
    # Every compatible server knows `max_tokens`; a provider that wants the newer word has a quirk in its row.
    wire = _said(**{output.limit_member or "max_tokens": output.limit})
    schema = output.schema
    if schema is None:
        return wire
    if schema.schema is None and schema.name is None:
        return wire | {"response_format": {"type": "json_object"}}
    inner = _said(
        name=schema.name or "answer",
        schema=None if schema.schema is None else msgspec.Raw(schema.schema),
        strict=schema.strict,
        description=schema.description,
    )
    return wire | {"response_format": {"type": "json_schema", "json_schema": inner}}


def _read_reasoning(fields: Fields) -> Reasoning:
    if not fields.says(_SPEAKS_OF_REASONING):
        return _NO_REASONING
    native = tuple((name, bytes(raw)) for name in _REASONING if (raw := fields.take(name, RAW)) is not None)
    if not native:
        return _NO_REASONING
    said = {name: Fields(b'{"said":%b}' % raw, name) for name, raw in native}
    effort = said[_EFFORT].take("said", TEXT) if _EFFORT in said else None
    enabled, budget = None, None
    thinking = said["thinking"].open("said") if "thinking" in said else None
    if thinking is not None:
        enabled = _THINKING_MODES.get(thinking.find("type", TEXT) or "")
        budget = thinking.find("budget_tokens", WHOLE)
    reasoning = said["reasoning"].open("said") if "reasoning" in said else None
    if reasoning is not None:
        enabled, effort = reasoning.find("enabled", FLAG), reasoning.find("effort", TEXT) or effort
        budget = reasoning.find("max_tokens", WHOLE)
    return Reasoning(enabled, effort, budget, native=native)


def _write_reasoning(reasoning: Reasoning) -> dict[str, object]:
    if reasoning.native:
        return {**written(reasoning.native)}
    return _said(reasoning_effort=reasoning.effort)


def _said(**members: object) -> dict[str, object]:
    """The members that say something."""
    return {name: value for name, value in members.items() if value is not None}
