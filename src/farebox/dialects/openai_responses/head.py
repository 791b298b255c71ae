"""The head of a Responses call: what is checked before any money moves.

Shapes and ranges are those of OpenAI's OpenAPI document (CreateResponse). Members that a reply repeats are kept as
they were written, so they are checked one by one, each by a decoder of its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.body import COSTS, Suspects, decode_body, refused
from farebox.dialects.dialect import ASKED, Asked, Head
from farebox.dialects.nesting import check_nesting
from farebox.dialects.openai_responses.input import Item, check_items
from farebox.dialects.openai_responses.rules import (
    CALLERS_TOOLS,
    CHOSEN_TOOLS,
    FREE_NAMES,
    INCLUDED,
    ORDINARY_TIERS,
    PLAIN_TOOLS,
    REFUSED,
    STATE_INSIDE,
)
from farebox.dialects.own import UNSERVED, OwnMembers
from farebox.dialects.seal import holds_seals

_ABSENT = msgspec.Raw()
_NULL = b"null"


class _Typed(msgspec.Struct):
    type: str


class _Tool(msgspec.Struct):
    type: str
    name: str | None = None
    environment: _Typed | None = None
    tools: list[_Typed] | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, msgspec.Raw] | None = None
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None
    verbosity: str | None = None


class _StreamOptions(msgspec.Struct):
    include_obfuscation: bool | None = None


class _Body(OwnMembers, kw_only=True):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    input: str | Annotated[list[Item], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    include: list[str] | None = None
    background: bool | None = None
    stop: str | list[str] | None = None  # The gateway's own extension, for models of other languages.
    # Repeated by the reply, so kept as written.
    instructions: msgspec.Raw = _ABSENT
    max_output_tokens: msgspec.Raw = _ABSENT
    max_tool_calls: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT
    parallel_tool_calls: msgspec.Raw = _ABSENT
    prompt_cache_key: msgspec.Raw = _ABSENT
    reasoning: msgspec.Raw = _ABSENT
    safety_identifier: msgspec.Raw = _ABSENT
    service_tier: msgspec.Raw = _ABSENT
    store: msgspec.Raw = _ABSENT
    temperature: msgspec.Raw = _ABSENT
    text: msgspec.Raw = _ABSENT
    tool_choice: msgspec.Raw = _ABSENT
    tools: msgspec.Raw = _ABSENT
    top_logprobs: msgspec.Raw = _ABSENT
    top_p: msgspec.Raw = _ABSENT
    truncation: msgspec.Raw = _ABSENT
    user: msgspec.Raw = _ABSENT


class _Said(msgspec.Struct):
    """The repeated members once more, understood."""

    instructions: str | None = None
    # OpenAI refuses less than 16, but it is not the only one who answers here.
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
    max_tool_calls: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
    metadata: Annotated[dict[str, str], msgspec.Meta(max_length=16)] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    reasoning: _Reasoning | None = None
    safety_identifier: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    service_tier: str | None = None
    store: bool | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    text: _Text | None = None
    tool_choice: str | _Choice | None = None
    tools: list[_Tool] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None


_suspects = Suspects(REFUSED, STATE_INSIDE, FREE_NAMES)
_body_decoder = msgspec.json.Decoder(_Body)
_said_decoder = msgspec.json.Decoder(_Said)
_ECHOED = tuple((name, b'"%b":' % name.encode()) for name in _Said.__struct_fields__)


def read_head(body: bytes, asked: Asked = ASKED) -> Head:
    """Check a body; Fault BAD_REQUEST names the member and what it must be."""
    assert asked.model is None
    wire = decode_body(body, _body_decoder)
    echo = _echo_of(wire)
    said = decode_body(b"{%b}" % echo, _said_decoder)
    check_nesting(body)
    _check_format(said.text)
    _check_tool_choice(said)
    _check_money_and_state(wire, said, body)
    found = check_items(wire.input)
    dropped = UNSERVED if wire.character_id is not None else ()
    return Head(
        model=wire.model,
        stream=wire.stream is True,
        output_limit=said.max_output_tokens,
        has_system=found.has_system or bool(said.instructions),
        session=wire.session_id or said.prompt_cache_key,
        fallback_models=tuple(wire.models or ()),
        dropped=(*dropped, "reasoning") if found.hollow else dropped,
        cache=wire.cache is True,
        # A provider of this language would refuse to know it, so it may not go out as it is either.
        sealed=holds_seals(body) or bool(wire.stop),
        echo=echo,
    )


def _echo_of(wire: _Body) -> bytes:
    members = []
    for name, key in _ECHOED:
        raw = bytes(getattr(wire, name))
        if raw and raw != _NULL:
            members.append(key + raw)
    return b",".join(members)


def _check_format(text: _Text | None) -> None:
    form = text.format if text is not None else None
    if form is None or form.type != "json_schema":
        return
    for member in ("name", "schema"):
        if getattr(form, member) is None:
            path = f"text.format.{member}"
            raise Fault(
                Kind.BAD_REQUEST, f"{path} is missing.", param=path, code="missing_required_parameter"
            )


def _check_tool_choice(said: _Said) -> None:
    """OpenAI refuses a choice of what is not there."""
    choice, tools = said.tool_choice, said.tools or ()
    if isinstance(choice, _Choice):
        if choice.type not in CHOSEN_TOOLS:
            raise refused("tool_choice", f"the hosted tool {choice.type!r} has no price here")
        known = any(tool.name == choice.name and tool.type == choice.type for tool in tools)
        wrong = choice.type in PLAIN_TOOLS and not known
        reason = f"tools has no {choice.type} of the name {choice.name!r}"
    else:
        wrong = choice not in (None, "none", "auto", "required") or (choice == "required" and not tools)
        reason = "it is one of none, auto and required, or names one of the tools"
    if wrong:
        raise Fault(Kind.BAD_REQUEST, f"tool_choice is not right: {reason}.", param="tool_choice")


def _check_money_and_state(wire: _Body, said: _Said, body: bytes) -> None:
    _suspects.check(body)
    if wire.background:
        raise refused("background", "the answer would be kept at a provider")
    if said.service_tier not in ORDINARY_TIERS:
        raise refused("service_tier", f"the tier {said.service_tier!r} has no price here")
    for name in wire.include or ():
        if name not in INCLUDED:
            raise refused("include", f"what {name} tells comes from hosted tools, which have no price here")
    for at, tool in enumerate(said.tools or ()):
        _check_tool(tool, f"tools[{at}]")


def _check_tool(tool: _Tool, path: str) -> None:
    if tool.type in PLAIN_TOOLS and not tool.name:
        member = f"{path}.name"
        raise Fault(
            Kind.BAD_REQUEST, f"{member} is missing.", param=member, code="missing_required_parameter"
        )
    if tool.type == "namespace":
        ours = all(inner.type in PLAIN_TOOLS for inner in tool.tools or ())
    elif tool.type == "shell":
        ours = tool.environment is not None and tool.environment.type == "local"
    else:
        ours = tool.type in CALLERS_TOOLS
    if not ours:
        raise refused(f"{path}.type", f"{tool.type} runs at a provider: {COSTS}")
