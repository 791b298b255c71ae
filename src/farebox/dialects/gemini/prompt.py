"""The body of a generateContent call ↔ Prompt. (Google's reference, GenerateContentRequest.)

At home, reading and writing again gives the request the relay would send, in this normal form: names in their first
spelling; a list where one object stands for it; a role and arguments where they were left out; all functions in one
tool, before what is no function; no empty settings. And contents of the model that follow one another are one, with the
texts joined where one breaks off and the next goes on: Google's clients keep a streamed answer as a content for each
chunk, and other providers would take each for a message. A thought that another provider signed is joined as well
where it lies in several parts, since its signature is for the whole.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import msgspec
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import (
    Members,
    Opaque,
    Part,
    Prompt,
    Role,
    Text,
    Thought,
    Tool,
    ToolCall,
    Turn,
)
from farebox.dialects.gemini.calls import Calls
from farebox.dialects.gemini.config import SETTINGS, TOOLS, Settings, is_bound, read_settings, write_settings
from farebox.dialects.gemini.openapi import json_schema
from farebox.dialects.gemini.part import NAME, Words, listed, read_part, write_part
from farebox.dialects.gemini.rules import FUNCTIONS, STRIPPED
from farebox.dialects.gemini.spelling import respelled
from farebox.dialects.members import RAW, TEXT, Fields, written
from farebox.dialects.own import OWN
from farebox.dialects.splice import UNREADABLE

_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user", "": "user"}
_WORDS: dict[Role, str] = {"user": "user", "assistant": "model", "system": "user"}
_SYSTEM = "systemInstruction"
_SCHEMA = "parameters"  # In Google's words; the other is JSON Schema.
_JSON_SCHEMA = "parametersJsonSchema"


class _Spoken(msgspec.Struct, forbid_unknown_fields=True):
    """What most contents are."""

    role: Literal["user", "model"]
    parts: list[Words]


_spoken = msgspec.json.Decoder(_Spoken)


def read_prompt(body: bytes) -> Prompt:
    """A caller's body → the conversation; Fault BAD_REQUEST names a member of the wrong shape."""
    with suppress(*UNREADABLE):  # What is no JSON is no object either: the next line says so.
        body = respelled(body)
    fields = Fields(body, "")
    settings = read_settings(fields)
    system = fields.open(_SYSTEM)
    turns = [] if system is None else [_read_system(system)]
    turns += _read_turns(fields)
    tools = [one for at, raw in enumerate(listed(fields, "tools")) for one in _read_tool(raw, f"tools[{at}]")]
    rest = fields.left()
    _check_names(rest)
    extra, bound = _sorted((*rest, *settings.rest))
    return Prompt(
        turns=tuple(turns),
        origin=NAME,
        tools=(
            *(one for one in tools if isinstance(one, Tool)),
            *(one for one in tools if isinstance(one, Opaque)),
        ),
        tool_choice=settings.tool_choice,
        sampling=settings.sampling,
        output=settings.output,
        reasoning=settings.reasoning,
        extra=extra,
        bound=bound,
    )


def write_prompt(prompt: Prompt, model: str, *, ask_usage: bool = True) -> bytes:
    """A fitted prompt → a provider's body. The path says the model and the form of the answer; usage comes unasked."""
    del model, ask_usage
    names = {part.id: part.name for turn in prompt.turns for part in turn.parts if isinstance(part, ToolCall)}
    wire: dict[str, object] = {}
    contents = []
    for turn in prompt.turns:
        parts = [write_part(part, names) for part in turn.parts]
        if turn.role == "system":
            role = {} if turn.native_role is None else {"role": turn.native_role}
            wire[_SYSTEM] = {"parts": parts, **role, **written(turn.extra)}
        else:
            contents.append(
                {"role": turn.native_role or _WORDS[turn.role], "parts": parts, **written(turn.extra)}
            )
    wire["contents"] = contents
    tools = _write_tools(prompt)
    if tools:
        wire["tools"] = tools
    top, rest = _split((*prompt.extra, *prompt.bound))
    settings = Settings(prompt.sampling, prompt.output, prompt.reasoning, prompt.tool_choice, rest)
    return msgspec.json.encode(wire | write_settings(settings) | written(top))


def _split(members: Members) -> tuple[Members, Members]:
    """Members of the body, and those of its settings."""
    inside = tuple((name, raw) for name, raw in members if name.startswith((f"{SETTINGS}.", f"{TOOLS}.")))
    return tuple(one for one in members if one not in inside), inside


def _check_names(members: Members) -> None:
    """A name with a dot in it would be taken for the path of a setting on the way home."""
    for name, _ in members:
        if "." in name:
            raise Fault(Kind.BAD_REQUEST, f"{name} is no name of a member.", param=name)


def _sorted(members: Members) -> tuple[Members, Members]:
    """What was not understood: harmless, and bound to this dialect. Our own members end here."""
    extra: list[tuple[str, bytes]] = []
    bound: list[tuple[str, bytes]] = []
    for name, raw in members:
        if name in OWN or name in STRIPPED:
            continue
        if name == "store":
            extra.append((name, b"false"))  # Customers share the operator's account: nothing is kept there.
        else:
            (bound if is_bound(name, raw) else extra).append((name, raw))
    return tuple(extra), tuple(bound)


def _read_system(fields: Fields) -> Turn:
    calls = Calls()
    role = fields.take("role", TEXT)
    raws = listed(fields, "parts")
    parts = [read_part(raw, f"{fields.at('parts')}[{at}]", calls) for at, raw in enumerate(raws)]
    return Turn("system", tuple(parts), native_role=role, extra=fields.left())


def _read_turns(fields: Fields) -> list[Turn]:
    calls = Calls()
    turns: list[Turn] = []
    raws = listed(fields, "contents")
    if not raws:
        raise Fault(
            Kind.BAD_REQUEST, "contents is missing.", param="contents", code="missing_required_parameter"
        )
    for at, raw in enumerate(raws):
        turn = _read_turn(raw, f"contents[{at}]", calls)
        last = turns[-1] if turns else None
        if last is not None and last.role == turn.role == "assistant" and not (last.extra or turn.extra):
            turns[-1] = replace(last, parts=_joined(last.parts, turn.parts))
        else:
            turns.append(turn)
    return turns


def _read_turn(raw: msgspec.Raw, path: str, calls: Calls) -> Turn:
    with suppress(*UNREADABLE):
        spoken = _spoken.decode(raw)
        return Turn(_ROLES[spoken.role], tuple([Text(part.text) for part in spoken.parts]))
    fields = Fields(raw, path)
    word = fields.take("role", TEXT) or ""
    parts: list[Part] = []
    for at, one in enumerate(listed(fields, "parts")):
        part = read_part(one, f"{path}.parts[{at}]", calls)
        if isinstance(part, Thought) and part.signature is not None and part.signed_by != NAME:
            while parts and (grown := _grown(parts[-1], part)) is not None:
                part, parts = grown, parts[:-1]
        parts.append(part)
    if word not in _ROLES:
        raise Fault(Kind.BAD_REQUEST, f"{path}.role must be user or model.", param=f"{path}.role")
    role = _ROLES[word]
    return Turn(
        role, tuple(parts), native_role="function" if word == "function" else None, extra=fields.left()
    )


def _joined(before: tuple[Part, ...], behind: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of two contents, with a text or thought put together that lies across the seam."""
    grown = _grown(before[-1], behind[0]) if before and behind else None
    return before + behind if grown is None else (*before[:-1], grown, *behind[1:])


def _grown(first: Part, second: Part) -> Part | None:
    """Two pieces as one; None where they are parts of their own, as everything is that its signature closed."""
    match first, second:
        case (Text(signature=None, extra=()), Text(extra=())):
            return Text(first.text + second.text, signature=second.signature)
        case (Thought(signature=None, extra=()), Thought(redacted=False, extra=())):
            return replace(second, text=first.text + second.text)
        case _:
            return None


def _read_tool(raw: msgspec.Raw, path: str) -> list[Tool | Opaque]:
    fields = Fields(raw, path)
    found: list[Tool | Opaque] = [
        _read_function(one, f"{path}.{FUNCTIONS}[{at}]") for at, one in enumerate(listed(fields, FUNCTIONS))
    ]
    if not fields.exhausted:
        rest = fields.left()
        found.append(Opaque(NAME, f"{path}.{rest[0][0]}", "tools", msgspec.json.encode(written(rest))))
    return found


def _read_function(raw: msgspec.Raw, path: str) -> Tool:
    fields = Fields(raw, path)
    name, description = fields.need("name", TEXT), fields.take("description", TEXT)
    own, general = fields.take(_SCHEMA, RAW), fields.take(_JSON_SCHEMA, RAW)
    native = tuple(
        (key, bytes(one)) for key, one in ((_SCHEMA, own), (_JSON_SCHEMA, general)) if one is not None
    )
    schema = json_schema(bytes(own)) if own is not None else None if general is None else bytes(general)
    return Tool(name, description, schema, extra=fields.left(), native=native)


def _write_tools(prompt: Prompt) -> list[object]:
    functions = [_write_function(tool) for tool in prompt.tools if isinstance(tool, Tool)]
    rest: list[object] = [msgspec.Raw(tool.raw) for tool in prompt.tools if isinstance(tool, Opaque)]
    return [{FUNCTIONS: functions}, *rest] if functions else rest


def _write_function(tool: Tool) -> dict[str, object]:
    wire: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    if tool.native:
        wire |= written(tool.native)
    elif tool.parameters is not None:
        wire[_SCHEMA] = msgspec.Raw(tool.parameters)
    return wire | written(tool.extra)
